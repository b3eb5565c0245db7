"""Finds states without all the patches that lead to them: whole ones that are stored, and what is left of the patches.

Folds need it behind a damaged version. A state is named by its hash, so what is found is proved by that alone: if a
later patch replaced all that a lost one brought, the fold without the lost one leads to the right state.
"""

from kbstore.errors import CorruptStore, TooLarge
from kbstore.history.event import decode_body
from kbstore.jsondoc.patch import Operation
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes

UNREADABLE_VALUE = "a long value in its patch cannot be read"
LOST_VALUE = b"null"
"""Stands for a long value that is lost, until a later patch replaces it."""


def stored_root(state: str, nodes: Nodes) -> Ref | None:
    """The tree with this hash if every node of it is stored, be it in a snapshot or for good."""
    try:
        root = nodes.root(bytes.fromhex(state))
        prove(root, nodes, set())
    except (CorruptStore, ValueError, TooLarge):
        return None
    return root


def prove(ref: Ref, nodes: Nodes, sound: set[bytes]) -> None:
    """Make sure that every node of a tree is there; nodes that are not in memory yet are not kept there.

    Args:
        ref: The tree.
        nodes: Where nodes come from.
        sound: Addresses of nodes below which nothing is missing; those that are found are added.

    Raises:
        CorruptStore: A node is missing or damaged, or nodes stand inside each other too deep.
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
    """What can be read of a patch: all but long values that are lost, or nothing."""
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
    """The same patch for no document at all; None unless it sets the whole document, and so needs none."""
    if not operations or operations[0].path or operations[0].op not in ("add", "replace"):
        return None
    return [operations[0]._replace(op="add"), *operations[1:]]
