"""The state tree once more, straight from the words of docs/format.md: slow, whole, no code shared with kbstore."""

import json
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple


class _Ref(NamedTuple):
    kind: str
    address: bytes
    count: int
    size: int
    first: str


def canonical(value: Any) -> bytes:
    """Canonical JSON, for values whose floats Python prints in the shortest way too."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode())
        return b"{" + b",".join(canonical(key) + b":" + canonical(item) for key, item in members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def nodes_of(document: Any) -> tuple[str, dict[str, bytes]]:
    """State hash of a document, and all nodes by their addresses in hexadecimal."""
    nodes: dict[str, bytes] = {}
    root = _stored(document, nodes)
    address = _put(b"v" + root, nodes) if isinstance(root, bytes) else root.address
    return address.hex(), nodes


def _put(data: bytes, nodes: dict[str, bytes]) -> bytes:
    address = sha256(data).digest()
    nodes[address.hex()] = data
    return address


def _stored(value: Any, nodes: dict[str, bytes]) -> bytes | _Ref:
    text = canonical(value)
    if len(text) <= 2048:
        return text
    if isinstance(value, str):
        return _Ref("s", _put(b"s" + text, nodes), 0, len(text), "")
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode())
        items = [(key, canonical(key) + b":", _stored(item, nodes)) for key, item in members]
    else:
        items = [("", b"", _stored(item, nodes)) for item in value]
    return _tree(isinstance(value, dict), items, nodes)


def _tree(is_object: bool, items: list[tuple[str, bytes, bytes | _Ref]], nodes: dict[str, bytes]) -> _Ref:
    ends = [0]
    for at, (_, name, item) in enumerate(items, 1):
        size = len(name) + (len(item) if isinstance(item, bytes) else 100)
        told_by = name if is_object else item if isinstance(item, bytes) else item.address
        if int.from_bytes(sha256(told_by).digest()[:4], "big") * 4096 < size << 32:
            ends.append(at)
    if ends[-1] != len(items):
        ends.append(len(items))
    level = [_leaf(is_object, items[low:high], nodes) for low, high in pairwise(ends)]
    height = 0
    while len(level) > 1:
        height += 1
        ends = [0]
        for at, ref in enumerate(level, 1):
            told_by = b"%d " % height + (ref.first.encode() if is_object else ref.address)
            if int.from_bytes(sha256(told_by).digest()[:4], "big") < 2**32 // 32:
                ends.append(at)
        if ends[-1] != len(level):
            ends.append(len(level))
        level = [_index(is_object, height, level[low:high], nodes) for low, high in pairwise(ends)]
    (root,) = level
    while (data := nodes[root.address.hex()])[:1] in b"OA" and len(json.loads(data.split(b"\n", 1)[1])) == 1:
        *first, address, count, size = json.loads(data.split(b"\n", 1)[1])[0]
        root = _Ref(root.kind, bytes.fromhex(address), count, size, first[0] if first else "")
    return root


def _leaf(is_object: bool, items: list[tuple[str, bytes, bytes | _Ref]], nodes: dict[str, bytes]) -> _Ref:
    refs = [
        [key if is_object else at, item.kind, item.address.hex(), item.count, item.size]
        for at, (key, _, item) in enumerate(items)
        if isinstance(item, _Ref)
    ]
    inline = b",".join(name + item for _, name, item in items if isinstance(item, bytes))
    kind = "o" if is_object else "a"
    head = kind.encode() + (canonical(refs) if refs else b"") + b"\n"
    address = _put(head + (b"{%b}" if is_object else b"[%b]") % inline, nodes)
    size = sum(len(name) + _length(item) + 1 for _, name, item in items)
    return _Ref(kind, address, len(items), size, items[0][0])


def _length(item: bytes | _Ref) -> int:
    if isinstance(item, bytes):
        return len(item)
    return item.size if item.kind == "s" else item.size + 1


def _index(is_object: bool, height: int, children: list[_Ref], nodes: dict[str, bytes]) -> _Ref:
    entries = [[*([c.first] if is_object else []), c.address.hex(), c.count, c.size] for c in children]
    kind = "O" if is_object else "A"
    address = _put(b"%b%d\n" % (kind.encode(), height) + canonical(entries), nodes)
    count, size = sum(c.count for c in children), sum(c.size for c in children)
    return _Ref(kind.lower(), address, count, size, children[0].first)
