"""Find states without all patches before: stored whole states, and the readable parts of patches.

Folds need such a state after a damaged version. The hash in the event alone proves a found state: if a later patch
replaced everything from a lost patch, the fold without the lost patch leads to the right state.
"""

from kbstore.errors import CorruptStore, TooLarge
from kbstore.history.event import decode_body
from kbstore.jsondoc.patch import Operation
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes

UNREADABLE_VALUE = "a long value in its patch cannot be read"
LOST_VALUE = b"null"
"""Replaces a lost long value, until a later patch replaces the value."""


def stored_root(state: str, nodes: Nodes) -> Ref | None:
    """Return the tree with this hash if every node is stored, in a snapshot or as truth; else None."""
    try:
        root = nodes.root(bytes.fromhex(state))
        prove(root, nodes, set())
    except (CorruptStore, ValueError, TooLarge):
        return None
    return root


def prove(ref: Ref, nodes: Nodes, sound: set[bytes]) -> None:
    """Make sure that every node of a tree is stored; nodes not yet in memory are not kept there.

    Args:
        ref: The tree.
        nodes: Source of nodes.
        sound: Addresses of nodes with nothing missing below; newly proved nodes are added.

    Raises:
        CorruptStore: A node is missing or damaged, or nodes are nested too deep.
    """
    try:
        _prove(ref, nodes, sound)
    except RecursionError:
        raise CorruptStore("a value is nested too deep to be read") from None


def _prove(ref: Ref, nodes: Nodes, sound: set[bytes]) -> None:
    if ref.address in sound:
        return
    loaded = ref.node is None
    node = ref.node or nodes.load(ref)
    if loaded:
        ref.node = None
    for child in node.refs():
        _prove(child, nodes, sound)
    sound.add(ref.address)


def readable_part(body: bytes | None, nodes: Nodes) -> list[Operation]:
    """Return the readable part of a patch: all operations, with `LOST_VALUE` for lost long values, or nothing."""
    try:
        operations = decode_body(body, nodes, instead=LOST_VALUE) if body is not None else []
    except CorruptStore:
        return []
    return [op._replace(value=LOST_VALUE) if _is_lost(op.value, nodes) else op for op in operations]


def _is_lost(value: object, nodes: Nodes) -> bool:
    try:
        if isinstance(value, Ref):
            prove(value, nodes, set())
    except CorruptStore:
        return True
    return False


def on_nothing(operations: list[Operation]) -> list[Operation] | None:
    """Return the patch in a form for an empty store; None unless the patch sets the whole document first."""
    if not operations or operations[0].path or operations[0].op not in ("add", "replace"):
        return None
    return [operations[0]._replace(op="add"), *operations[1:]]
