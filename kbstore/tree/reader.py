"""Read a state: a member or an element, the canonical form, or the whole state as a Python value.

Only requested values are decoded; a whole state is decoded in large pieces, not node by node.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from kbstore.errors import CorruptStore, PointerError
from kbstore.jsondoc.canonical import decode_large, encode
from kbstore.jsondoc.patch import resolve
from kbstore.jsondoc.pointer import MAX_DEPTH, array_index
from kbstore.tree.node import ARRAY, OBJECT, VALUE, Blob, Index, Leaf, Node, Ref, check_loaded, leaf_of, parse_node

_DECODE_BYTES = 1 << 16
"""Leaves are decoded together up to about this size: few calls, and no second copy of a large state in memory."""


class Source(Protocol):
    """A source of nodes."""

    def load(self, ref: Ref) -> Node:
        """Return the node of a reference, and remember the node in ``ref.node``."""
        ...

    def prefetch(self, refs: list[Ref]) -> None:
        """Load and remember these nodes with as few reads as possible; nodes at hand already cost nothing."""
        ...

    def walk(self, refs: list[Ref]) -> Iterator[bytes | Node]:
        """Yield these nodes in order, for reading much once; nodes not in memory come as bytes, not remembered."""
        ...


def find_member(root: Ref, key: str, source: Source) -> bytes | Ref | None:
    """Return the value of a member in stored form; None if the member does not exist."""
    node = root.node or source.load(root)
    while isinstance(node, Index):
        at = bisect_right(node.firsts, key) - 1
        if at < 0:
            return None
        root = node.children[at]
        node = root.node or source.load(root)
    leaf = leaf_of(root, node)
    at = bisect_left(leaf.keys, key)
    return leaf.values[at] if at < len(leaf.keys) and leaf.keys[at] == key else None


def find_element(root: Ref, position: int, source: Source) -> bytes | Ref:
    """Return the element at a position (0 to ``root.count`` - 1) in stored form."""
    node = root.node or source.load(root)
    while isinstance(node, Index):
        at = bisect_right(node.ends, position)
        if at:
            position -= node.ends[at - 1]
        root = node.children[at]
        node = root.node or source.load(root)
    return leaf_of(root, node).values[position]


def opened(root: Ref, source: Source) -> bytes | Ref:
    """Return a state's root in the stored form of any other value: a short document is canonical bytes."""
    node = (root.node or source.load(root)) if root.kind == VALUE else None
    return node.data if isinstance(node, Blob) else root


def find(root: Ref, path: tuple[str, ...], source: Source) -> bytes | Ref | None:
    """Return the value at a pointer in stored form; None if the place does not exist."""
    value: bytes | Ref | None = opened(root, source)
    for used, token in enumerate(path):
        if isinstance(value, Ref) and value.kind == OBJECT:
            value = find_member(value, token, source)
        elif isinstance(value, Ref) and value.kind == ARRAY:
            try:
                value = find_element(value, array_index(token, value.count), source)
            except PointerError:
                return None
        elif value is not None:
            try:
                return encode(resolve(materialise(value, source), path[used:]))
            except PointerError:
                return None
        else:
            return None
    return value


def leaf_refs(root: Ref, source: Source) -> Iterator[list[Ref]]:
    """Yield references to all leaves of a container, in order, as many at a time as an index node has."""
    node = root.node or source.load(root)
    if not isinstance(node, Index):
        yield [root]
    elif node.level == 1:
        yield node.children
    else:
        for child in node.children:
            yield from leaf_refs(child, source)


class _Apart(NamedTuple):
    """An item with a value in a node of its own."""

    key: str
    name: bytes
    ref: Ref


def _runs(root: Ref, source: Source) -> Iterator[bytes | _Apart]:
    """Yield the items in order; a run of inline items comes as JSON without the brackets around."""
    opening = b"o\n" if root.kind == OBJECT else b"a\n"
    for refs in leaf_refs(root, source):
        for ref, found in zip(refs, source.walk(refs), strict=True):
            if isinstance(found, bytes) and found.startswith(opening):  # no references: all of it is one run
                if len(found) - 3 != ref.size:
                    raise _not_sound(ref, "it is not as long as the node above it says")
                yield found[3:-1]
                continue
            leaf = _leaf(ref, found)
            inline: list[bytes] = []
            for at, value in enumerate(leaf.values):
                name = leaf.names[at] if leaf.is_object else b""
                if isinstance(value, Ref):
                    if inline:
                        yield b",".join(inline)
                        inline = []
                    yield _Apart(leaf.keys[at] if leaf.is_object else "", name, value)
                else:
                    inline.append(name + value)
            if inline:
                yield b",".join(inline)


def _leaf(ref: Ref, found: bytes | Node) -> Leaf:
    try:
        leaf = parse_node(found, 0) if isinstance(found, bytes) else found
        check_loaded(ref, leaf)
    except (ValueError, KeyError, TypeError, IndexError) as fault:
        raise _not_sound(ref, str(fault)) from None
    if not isinstance(leaf, Leaf):
        raise _not_sound(ref, "it is not a leaf")
    return leaf


def _not_sound(ref: Ref, why: str) -> CorruptStore:
    return CorruptStore(f"state node {ref.address.hex()} is not what it should be: {why}", hint="run: kbstore verify")


def canonical(value: bytes | Ref, source: Source) -> bytes:
    """Return the canonical form of a stored value."""
    return value if isinstance(value, bytes) else b"".join(_pieces(value, source))


def _pieces(root: Ref, source: Source, depth: int = 0) -> Iterator[bytes]:
    if root.kind not in (OBJECT, ARRAY):
        yield _blob(root, source)
        return
    if depth >= MAX_DEPTH:
        raise _not_sound(root, f"it is nested deeper than {MAX_DEPTH} containers")
    yield b"{" if root.kind == OBJECT else b"["
    comma = b""
    for run in _runs(root, source):
        yield comma
        comma = b","
        if isinstance(run, bytes):
            yield run
        else:
            yield run.name
            yield from _pieces(run.ref, source, depth + 1)
    yield b"}" if root.kind == OBJECT else b"]"


def _blob(ref: Ref, source: Source) -> bytes:
    node = ref.node or source.load(ref)
    if not isinstance(node, Blob):
        raise _not_sound(ref, "it is not a text")
    return node.data


def materialise(value: bytes | Ref, source: Source) -> Any:
    """Return a stored value as a new Python value that shares nothing with the tree. Members ascend by key.

    Raises:
        CorruptStore: A node is missing, or disagrees with the node above.
    """
    try:
        return _materialised(value, source, 0)
    except ValueError as fault:  # the content of the nodes is not JSON
        raise CorruptStore(f"a state node cannot be read: {fault}", hint="run: kbstore verify") from None


def _materialised(value: bytes | Ref, source: Source, depth: int) -> Any:
    if isinstance(value, bytes):
        return decode_large(value)
    if value.kind not in (OBJECT, ARRAY):
        return decode_large(_blob(value, source))
    if depth >= MAX_DEPTH:
        raise _not_sound(value, f"it is nested deeper than {MAX_DEPTH} containers")
    is_object = value.kind == OBJECT
    members: dict[str, Any] = {}
    elements: list[Any] = []
    opening, closing = (b"{", b"}") if is_object else (b"[", b"]")
    take = members.update if is_object else elements.extend
    waiting: list[bytes] = []
    waiting_bytes = 0
    for run in _runs(value, source):
        if isinstance(run, bytes):
            waiting.append(run)
            waiting_bytes += len(run)
            if waiting_bytes < _DECODE_BYTES:
                continue
        take(decode_large(opening + b",".join(waiting) + closing))
        waiting, waiting_bytes = [], 0
        if isinstance(run, _Apart):
            part = _materialised(run.ref, source, depth + 1)
            if is_object:
                members[run.key] = part
            else:
                elements.append(part)
    take(decode_large(opening + b",".join(waiting) + closing))
    if len(members if is_object else elements) != value.count:
        raise _not_sound(value, f"it does not hold the {value.count} items that it promises")
    if is_object and (keys := list(members)) != sorted(keys):
        raise _not_sound(value, "its keys are not in order")
    return members if is_object else elements
