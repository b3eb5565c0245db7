"""The weight of a stored value before a copy or move: the depth of nesting, and the memory when decoded.

A node in many places, as after a copy, is examined once. So if a patch copies its own copies, the cost depends on the
size of the nodes, not on the size of the written-out value.
"""

import re
from typing import NamedTuple

from kbstore.jsondoc.edits import ELEMENT_BYTES, PRINTING_WORK, Budget, memory_of
from kbstore.tree.node import STRING, Blob, Leaf, Ref
from kbstore.tree.reader import Source

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")


class Weight(NamedTuple):
    """A value's weight.

    Attributes:
        depth: The number of nested containers; 0 for a value that is not a container.
        memory_bytes: As estimated by `kbstore.jsondoc.edits.memory_of`.
    """

    depth: int
    memory_bytes: int


def depth_of(data: bytes) -> int:
    """Return the depth of nested containers in canonical bytes."""
    if not data.startswith((b"{", b"[")):
        return 0
    brackets = _STRINGS.sub(b"", data).translate(_AS_ARRAYS, _NO_BRACKETS)
    depth = 0
    while brackets:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


class Weights:
    """The weights of the stored values of a draft.

    Args:
        source: The source of nodes.
        budget: The budget that pays for examining nodes.
    """

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._known: dict[bytes | Ref, Weight] = {}
        self._last: tuple[bytes, Weight] = b"", Weight(0, 0)

    def of(self, value: bytes | Ref) -> Weight:
        """Return the weight of a value. Cost: linear in the nodes not weighed before.

        Raises:
            PatchError: The budget is spent.
        """
        if isinstance(value, bytes):
            if value is not self._last[0]:  # a patch that copies one value over and over weighs it once
                self._last = value, Weight(depth_of(value), memory_of(value))
            return self._last[1]
        key = value.mark
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._weighed(value)
        return found

    def _weighed(self, ref: Ref) -> Weight:
        node = ref.node or self._source.load(ref)
        if isinstance(node, Blob):
            self._budget.worked(PRINTING_WORK * len(node.data))
            return Weight(0, len(node.data)) if node.kind == STRING else self.of(node.data)
        if not isinstance(node, Leaf):
            below = list(map(self.of, node.children))
            return Weight(max(w.depth for w in below), sum(w.memory_bytes for w in below))
        self._budget.worked(2 * PRINTING_WORK * sum([len(v) for v in node.values if isinstance(v, bytes)]))
        below = list(map(self.of, node.values))
        # As `memory_of` counts in the printed value, with commas between items.
        items = memory_of(b",".join(node.names)) if node.is_object else ELEMENT_BYTES * len(node.values)
        return Weight(1 + max(w.depth for w in below), items + sum(w.memory_bytes for w in below))
