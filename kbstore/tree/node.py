"""Nodes of the state tree, as bytes and as objects in memory.

Invariants, on which every address in every store depends:

1. A value with a canonical form of at most `INLINE_BYTES` is inline in the parent. A longer string is a node. A longer
   container is leaves of items with index nodes above, in as few levels as give a single root.
2. `ends_leaf` and `ends_index` alone decide how items are cut into leaves, and nodes into index nodes.
   So the same content has the same nodes, after any edits.
3. The hashed bytes begin with a kind byte, and references are in a part of their own before the inline
   values. So a user's string cannot pass for a node or for a reference.
4. A node never changes once a parent refers to it, but results of lazy loading and hashing are remembered.

Bytes (``\\n`` is one line feed, never part of canonical JSON)::

    v<json>                     a whole state of at most INLINE_BYTES
    s<json string>              a long string
    o<refs>\\n<json object>      a leaf of members; refs: [[key, kind, address, count, size], ...] or nothing
    a<refs>\\n<json array>       a leaf of elements; refs: [[position, kind, address, count, size], ...] or nothing
    O<level>\\n<entries>         an index: [[first key, address, count, size], ...]
    A<level>\\n<entries>         an index: [[address, count, size], ...]

``count`` is the number of items below, ``size`` their length in bytes in canonical form with a comma after each item
(for a string: the length of the JSON form). The canonical form of a container is therefore ``size + 1`` long.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from operator import add
from typing import Any, Final

import msgspec
import orjson

from kbstore.errors import CorruptStore

INLINE_BYTES: Final = 2048
LEAF_BYTES: Final = 4096
INDEX_FANOUT: Final = 32

REF_BYTES: Final = 100
"""The size of a reference when leaves are cut: about the true size, and constant, so that cuts are stable."""

STRING: Final = "s"
OBJECT: Final = "o"
ARRAY: Final = "a"
VALUE: Final = "v"

_MOST_LEVELS: Final = 40
_INDEX_LIMIT: Final = (1 << 32) // INDEX_FANOUT
_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


@lru_cache(maxsize=1 << 14)
def _hash32(data: bytes) -> int:
    return int.from_bytes(sha256(data).digest()[:4], "big")


def ends_leaf(name: bytes, size_bytes: int) -> bool:
    """Return whether an item is the last of a leaf, from the item alone.

    Args:
        name: A member's encoded key with the colon; an element's canonical form, or the address of an element's node.
        size_bytes: The item's size in the leaf; longer items end leaves more often.
    """
    return _hash32(name) * LEAF_BYTES < size_bytes << 32


def leaf_ends(names: Sequence[bytes | msgspec.Raw], sizes: Sequence[int]) -> list[int]:
    """Return the number of items up to each end of a leaf, decided as by `ends_leaf`."""
    number = int.from_bytes
    return [
        end
        for end, (name, size) in enumerate(zip(names, sizes, strict=True), 1)
        if number(sha256(name).digest()[:4]) * LEAF_BYTES < size << 32
    ]


def ends_index(level: int, name: bytes) -> bool:
    """Return whether a node is the last below an index node of `level`; each level is cut independently."""
    return _hash32(b"%d " % level + name) < _INDEX_LIMIT


class Ref:
    """A reference to a node: the facts known without loading the node.

    Attributes:
        kind: `STRING`, `OBJECT`, `ARRAY` or (for a whole small state) `VALUE`.
        count: Items below.
        size: Bytes below in canonical form, with a comma after each item; for a string, bytes of the JSON form.
        first: The first key below, for nodes of an object.
        level: The node's level, if known from the index node above; else -1.
        floor: The node is stored in this tier or a higher tier, as the node with this reference was when read.
        node: The node, after loading or while the node is new.
    """

    __slots__ = ("_address", "_entry", "count", "first", "floor", "kind", "level", "node", "size")

    def __init__(
        self,
        kind: str,
        address: bytes | None,
        count: int,
        size: int,
        first: str | None = None,
        node: "Node | None" = None,
        floor: int = 0,
        level: int = -1,
    ) -> None:
        self.kind = kind
        self._address = address
        self.count = count
        self.size = size
        self.first = first
        self.node = node
        self.floor = floor
        self.level = level
        self._entry: bytes | None = None

    @property
    def address(self) -> bytes:
        """SHA-256 of the node's bytes; computed on first use, with the addresses of all new nodes below."""
        if self._address is None:
            if self.node is None:
                raise ValueError("a reference has an address or a node")
            self._address = sha256(self.node.encode()).digest()
        return self._address

    @property
    def mark(self) -> "bytes | Ref":
        """A cheap identity of the node: the address of a node not in memory, else the reference."""
        return self.address if self.node is None else self

    @property
    def canonical_bytes(self) -> int:
        """Length of the value's canonical form."""
        return self.size if self.kind in (STRING, VALUE) else self.size + 1

    def entry(self) -> bytes:
        """Return this reference as an entry of an index node."""
        if self._entry is None:
            tail = b'"%s",%d,%d]' % (self.address.hex().encode(), self.count, self.size)
            self._entry = (b"[" + orjson.dumps(self.first) + b"," if self.kind == OBJECT else b"[") + tail
        return self._entry


class Blob:
    """A node without items: a long string, or a small whole state."""

    __slots__ = ("data", "kind", "tier")
    level: Final = 0

    def __init__(self, kind: str, data: bytes, tier: int = 0) -> None:
        self.kind = kind
        self.data = data
        self.tier = tier

    def encode(self) -> bytes:
        """Return the bytes to store and to hash."""
        return self.kind.encode() + self.data

    def refs(self) -> list[Ref]:
        """Return an empty list: such a node has no references."""
        return []


class Leaf:
    """A run of an object's members or of an array's elements.

    Attributes:
        tier: The lowest storage tier known to have the node and all nodes below; 0 for a new node.
    """

    __slots__ = ("_keys", "_names", "_text", "_values", "is_object", "tier")
    level: Final = 0

    def __init__(
        self, is_object: bool, keys: list[str], names: list[bytes], values: list[bytes | Ref], tier: int = 0
    ) -> None:
        self.is_object = is_object
        self.tier = tier
        self._keys = keys
        self._names = names
        self._values = values
        self._text: bytes | None = None

    @classmethod
    def of_items(cls, first: str | None, names: Sequence[bytes], values: Sequence[bytes | msgspec.Raw]) -> "Ref":
        """Return the reference to a new leaf of one or more items, all inline.

        The items are joined, and cut apart again on first use: most leaves of a new document are never used.

        Args:
            first: The first member's key; None for an array.
            names: The property `names` of the leaf.
            values: The property `values` of the leaf.
        """
        is_object = first is not None
        items = b",".join(map(add, names, values) if is_object else values)
        leaf = cls.__new__(cls)
        leaf.is_object = is_object
        leaf.tier = 0
        leaf._text = b"o\n{%b}" % items if is_object else b"a\n[%b]" % items
        return Ref(OBJECT if is_object else ARRAY, None, len(values), len(items) + 1, first, leaf)

    def _cut(self, text: bytes) -> None:
        body = memoryview(text)[2:]
        if self.is_object:
            self._keys, self._names, self._values = split_members(body)
        else:
            self._keys, self._names, self._values = [], [], split_elements(body)
        self._text = None

    @property
    def keys(self) -> list[str]:
        """The members' keys, ascending; empty for an array."""
        if self._text is not None:
            self._cut(self._text)
        return self._keys

    @property
    def names(self) -> list[bytes]:
        """The members' encoded keys with colons; empty for an array."""
        if self._text is not None:
            self._cut(self._text)
        return self._names

    @property
    def values(self) -> list[bytes | Ref]:
        """The canonical form of each value, or a reference for a value in a node of its own."""
        if self._text is not None:
            self._cut(self._text)
        return self._values

    def items(self) -> tuple[list[str], list[bytes], list[bytes | Ref]]:
        """Return `keys`, `names` and `values`."""
        if self._text is not None:
            self._cut(self._text)
        return self._keys, self._names, self._values

    def encode(self) -> bytes:
        """Return the bytes to store and to hash."""
        if self._text is not None:
            return self._text
        values = self._values
        plain: list[bytes]
        if self.is_object:
            try:
                return b"o\n{" + b",".join([n + v for n, v in zip(self._names, values, strict=True)]) + b"}"  # type: ignore[operator]
            except TypeError:
                plain = [n + v for n, v in zip(self._names, values, strict=True) if type(v) is bytes]
            refs = [
                [k, v.kind, v.address.hex(), v.count, v.size]
                for k, v in zip(self._keys, values, strict=True)
                if type(v) is Ref
            ]
            return b"o" + orjson.dumps(refs) + b"\n{" + b",".join(plain) + b"}"
        plain = [v for v in values if type(v) is bytes]
        if len(plain) == len(values):
            return b"a\n[" + b",".join(plain) + b"]"
        at = [[i, v.kind, v.address.hex(), v.count, v.size] for i, v in enumerate(values) if type(v) is Ref]
        return b"a" + orjson.dumps(at) + b"\n[" + b",".join(plain) + b"]"

    def refs(self) -> list[Ref]:
        """Return the references to values in nodes of their own."""
        return [] if self._text is not None else [v for v in self._values if type(v) is Ref]


class Index:
    """A node above a run of nodes of the next lower level.

    Attributes:
        level: 1 above leaves, 2 above level 1, and so on.
        children: References to the nodes below, in order.
        tier: As `Leaf.tier`.
    """

    __slots__ = ("_ends", "_firsts", "_stale", "_text", "children", "is_object", "level", "tier")

    def __init__(self, is_object: bool, level: int, children: list[Ref], tier: int = 0) -> None:
        self.is_object = is_object
        self.level = level
        self.children = children
        self.tier = tier
        self._firsts: list[str] | None = None
        self._ends: list[int] | None = None
        self._text: bytes | None = None
        self._stale: dict[int, Ref] = {}

    @property
    def firsts(self) -> list[str]:
        """The first key below each child (objects only)."""
        if self._firsts is None:
            self._firsts = [c.first or "" for c in self.children]
        return self._firsts

    @property
    def ends(self) -> list[int]:
        """The number of items before the end of each child."""
        if self._ends is None:
            self._ends = list(accumulate(c.count for c in self.children))
        return self._ends

    def with_child(self, at: int, child: Ref) -> "Index":
        """Return the same node with another child at `at`; the new child begins with the same key."""
        children = self.children.copy()
        children[at] = child
        changed = Index(self.is_object, self.level, children)
        changed._firsts = self._firsts
        changed._text = self._text
        changed._stale = self._stale if at in self._stale else {**self._stale, at: self.children[at]}
        return changed

    def encode(self) -> bytes:
        """Return the bytes to store and to hash."""
        text = self._text
        if text is None:
            kind = b"O" if self.is_object else b"A"
            text = kind + b"%d\n[" % self.level + b",".join([c._entry or c.entry() for c in self.children]) + b"]"
        else:
            # Few children differ from the children in the text. Each entry is in the text once, since it begins with a
            # key of its own. An entry is never inside a key: there, a quotation mark after a bracket is escaped.
            for at, old in self._stale.items():
                text = text.replace(old.entry(), self.children[at].entry(), 1)
        self._text, self._stale = text, {}
        return text

    def refs(self) -> list[Ref]:
        """Return the references to the nodes below."""
        return self.children


Node = Blob | Leaf | Index


def encode_name(key: str) -> bytes:
    """Return a key as written in a canonical object, with the colon."""
    return orjson.dumps(key) + b":"


def cut_apart(data: memoryview) -> tuple[list[str], list[bytes], list[msgspec.Raw]]:
    """Cut a container into keys, names and values as views of `data`; an array has no keys and names."""
    if bytes(data[:1]) == b"{":
        members = _split_object(data)
        keys = list(members)
        return keys, [encode_name(k) for k in keys], list(members.values())
    return [], [], _split_array(data)


def split_members(data: bytes | memoryview) -> tuple[list[str], list[bytes], list[bytes | Ref]]:
    """Cut a canonical object into keys, encoded names and encoded values, without decoding the values."""
    members = _split_object(data)
    keys = list(members)
    return keys, [encode_name(k) for k in keys], [bytes(r) for r in members.values()]


def split_elements(data: bytes | memoryview) -> list[bytes | Ref]:
    """Cut a canonical array into encoded elements."""
    return [bytes(r) for r in _split_array(data)]


def parse_node(data: bytes, tier: int) -> Node:
    """Return the node with these bytes; the inverse of ``encode``.

    Raises:
        ValueError: The bytes are not a node (also as a subclass from a decoder).
        TypeError: A reference in the bytes has parts of a wrong type.
    """
    kind = data[:1]
    if kind in (b"v", b"s"):
        if kind == b"s" and data[1:2] != b'"':
            raise ValueError("a text that is none")
        return Blob(kind.decode(), data[1:], tier)
    head, sep, body = data[1:].partition(b"\n")
    if not sep:
        raise ValueError("not a node of a state tree")
    if kind in (b"O", b"A"):
        rows: list[list[Any]] = orjson.loads(body)
        level = int(head)
        if kind == b"O":
            children = [
                Ref(OBJECT, bytes.fromhex(a), n, size, first, None, tier, level - 1) for first, a, n, size in rows
            ]
            _check_ascending([c.first for c in children])  # type: ignore[misc]
        else:
            children = [Ref(ARRAY, bytes.fromhex(a), n, size, None, None, tier, level - 1) for a, n, size in rows]
        if not 0 < level <= _MOST_LEVELS or min([c.count for c in children]) < 1 or min([c.size for c in children]) < 1:
            raise ValueError("an index node without items, or of no level")
        index = Index(kind == b"O", level, children, tier)
        index._text = data
        return index
    if kind == b"o":
        keys, names, values = split_members(body)
        if head:
            _check_refs(head)
            for key, ref_kind, address, count, size in orjson.loads(head):
                keys.append(key)
                names.append(encode_name(key))
                values.append(Ref(ref_kind, bytes.fromhex(address), count, size, None, None, tier))
            order = sorted(range(len(keys)), key=keys.__getitem__)
            keys, names, values = [keys[i] for i in order], [names[i] for i in order], [values[i] for i in order]
        _check_ascending(keys)
        return Leaf(True, keys, names, values, tier)
    if kind == b"a":
        values = split_elements(body)
        if head:
            _check_refs(head)
        for position, ref_kind, address, count, size in orjson.loads(head) if head else ():
            values.insert(position, Ref(ref_kind, bytes.fromhex(address), count, size, None, None, tier))
        if not values:
            raise ValueError("a leaf without items")
        return Leaf(False, [], [], values, tier)
    raise ValueError("not a node of a state tree")


def _check_ascending(keys: list[str]) -> None:
    """Refuse unordered or duplicate keys, and an empty list."""
    if not keys or sorted(keys) != keys or len(set(keys)) != len(keys):
        raise ValueError("its keys are not in order")


def _check_refs(head: bytes) -> None:
    """Refuse references in a leaf that are never written."""
    for _, kind, _, count, size in orjson.loads(head):
        if kind not in (STRING, OBJECT, ARRAY) or type(count) is not int or type(size) is not int or size < 0:
            raise ValueError("a reference that is none")


def check_loaded(ref: Ref, node: Node) -> None:
    """Check that a node agrees with the reference; in data from another store, both may be wrong.

    Args:
        ref: The reference; a reference without a kind is not compared.
        node: The node read for the reference.

    Raises:
        ValueError: The node and the reference differ.
    """
    if not ref.kind:
        return
    if isinstance(node, Blob):
        sound = node.kind == ref.kind and ref.size == len(node.data)
    elif isinstance(node, Leaf):
        # A leaf of an array has no first key; references to values have no first key either.
        first = ref.first is None or ref.first == node.keys[0]
        sound = first and ref.count == len(node.values) and ref.size == leaf_size(node) and ref.level <= 0
    else:
        children = node.children
        first = ref.first is None or ref.first == children[0].first
        count, size = sum([c.count for c in children]), sum([c.size for c in children])
        sound = first and ref.count == count and ref.size == size and ref.level in (-1, node.level)
    if not sound or (not isinstance(node, Blob) and node.is_object != (ref.kind == OBJECT)):
        raise ValueError("it is not what the node above it says")


def leaf_of(ref: Ref, node: Node) -> Leaf:
    """Return the node of a reference as a leaf.

    Raises:
        CorruptStore: The node is of another kind.
    """
    if not isinstance(node, Leaf):
        raise _misplaced(ref)
    return node


def index_of(ref: Ref, node: Node) -> Index:
    """Return the node of a reference as an index node; raises as `leaf_of`."""
    if not isinstance(node, Index):
        raise _misplaced(ref)
    return node


def _misplaced(ref: Ref) -> CorruptStore:
    what = f"state node {ref.address.hex()} is of another kind than the node above it says"
    return CorruptStore(what, hint="run: kbstore verify")


def item_bytes(value: bytes | Ref) -> int:
    """Return the size of a value for cutting leaves."""
    return len(value) if type(value) is bytes else REF_BYTES


def canonical_length(value: bytes | Ref) -> int:
    """Return the length of a value's canonical form."""
    return value.canonical_bytes if isinstance(value, Ref) else len(value)


def leaf_size(leaf: Leaf) -> int:
    """Return the `Ref.size` of a leaf."""
    values = leaf.values
    try:
        return sum(map(len, leaf.names)) + sum(map(len, values)) + len(values)  # type: ignore[arg-type]
    except TypeError:  # a reference among them, which is rare
        return sum(map(len, leaf.names)) + sum(map(canonical_length, values)) + len(values)


def make_leaf(is_object: bool, keys: list[str], names: list[bytes], values: list[bytes | Ref]) -> Ref:
    """Return the reference to a new leaf of one or more items."""
    leaf = Leaf(is_object, keys, names, values)
    return Ref(OBJECT if is_object else ARRAY, None, len(values), leaf_size(leaf), keys[0] if is_object else None, leaf)


def make_index(is_object: bool, level: int, children: list[Ref]) -> Ref:
    """Return the reference to a new index node above one or more nodes."""
    count = size = 0
    for child in children:
        count += child.count
        size += child.size
    first = children[0].first if is_object else None
    return Ref(OBJECT if is_object else ARRAY, None, count, size, first, Index(is_object, level, children))


def index_name(child: Ref) -> bytes:
    """Return the bytes by which a node may end an index node: an object's first key, an array's address."""
    return child.first.encode() if child.first is not None else child.address
