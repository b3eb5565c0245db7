"""Load the nodes on the way to many pointers, level by level: few large reads instead of many small reads."""

from bisect import bisect_right
from collections.abc import Iterable

from kbstore.tree.node import ARRAY, OBJECT, Index, Leaf, Ref
from kbstore.tree.reader import Source

Path = tuple[str, ...]
_DIGITS = 18


def load_ahead(root: Ref, paths: Iterable[Path], source: Source) -> None:
    """Load and remember the nodes on the way to these pointers, as far as the state has them."""
    level = [(root, sorted({path for path in paths if path}))]
    while level:
        source.prefetch([ref for ref, _ in level])
        level = [below for ref, wanted in level for below in _below(ref, wanted)]


def _below(ref: Ref, paths: list[Path]) -> list[tuple[Ref, list[Path]]]:
    node = ref.node
    found: dict[int, list[Path]] = {}
    if isinstance(node, Index):
        for path in paths:
            at, rest = _step(node, path)
            if at < len(node.children):
                found.setdefault(at, []).append(rest)
        return [(node.children[at], wanted) for at, wanted in found.items()]
    if not isinstance(node, Leaf) or not node.is_object:
        return []
    places = {key: at for at, key in enumerate(node.keys)}
    for path in paths:
        at = places.get(path[0], -1)
        if at >= 0 and len(path) > 1:
            found.setdefault(at, []).append(path[1:])
    below = ((node.values[at], wanted) for at, wanted in found.items())
    return [(value, wanted) for value, wanted in below if isinstance(value, Ref) and value.kind in (OBJECT, ARRAY)]


def _step(node: Index, path: Path) -> tuple[int, Path]:
    """Return the index of the child on a pointer's way, and the pointer relative to the child: positions begin anew."""
    token = path[0]
    if node.is_object:
        return max(bisect_right(node.firsts, token) - 1, 0), path
    if not (token.isascii() and token.isdigit()):
        return len(node.children) - 1, path
    position = int(token[:_DIGITS])
    at = bisect_right(node.ends, position)
    return at, (str(position - (node.ends[at - 1] if at else 0)), *path[1:])
