"""A node of another kind than its place asks for is damage of the store, whoever finds it there."""

from collections.abc import Callable, Iterator

import pytest

from kbstore.diff.collection import find_collection
from kbstore.errors import CorruptStore, PatchError
from kbstore.jsondoc.operation import Operation
from kbstore.jsondoc.patch import apply_operations
from kbstore.tree.builder import root_of
from kbstore.tree.container_edit import ArraySplice, edit_array, edit_object
from kbstore.tree.diff import compare
from kbstore.tree.editor import Draft
from kbstore.tree.node import ARRAY, OBJECT, STRING, Blob, Node, Ref
from kbstore.tree.reader import find


class Liar:
    """Gives a long text in place of every node."""

    def load(self, ref: Ref) -> Node:
        """Return the text, whatever was asked for."""
        ref.node = Blob(STRING, b'"%b"' % (b"x" * 3000))
        return ref.node

    def prefetch(self, refs: list[Ref]) -> None:
        """Load each of them."""
        for ref in refs:
            self.load(ref)

    def walk(self, refs: list[Ref]) -> Iterator[bytes | Node]:
        """Give each of them."""
        yield from map(self.load, refs)


def _lost(kind: str) -> Ref:
    return Ref(kind, b"\1" * 32, 900, 9000, "a" if kind == OBJECT else None)


def _drafted(kind: str, op: str, times: int = 1) -> None:
    draft = Draft(_lost(kind), Liar())
    draft.apply([Operation(op, ("3",), value=b"1")] * times)
    draft.seal()


READERS: dict[str, Callable[[], object]] = {
    "a member": lambda: find(_lost(OBJECT), ("k",), Liar()),
    "an element": lambda: find(_lost(ARRAY), ("3",), Liar()),
    "two objects": lambda: compare(_lost(OBJECT), root_of({f"k{n}": "x" * 50 for n in range(200)}), Liar()),
    "two arrays": lambda: compare(_lost(ARRAY), root_of(["x" * 50] * 200), Liar()),
    "the collection": lambda: find_collection([_lost(OBJECT)], Liar()),
    "a changed member": lambda: edit_object(_lost(OBJECT), [("k", b"1")], Liar().load),
    "changed members": lambda: edit_object(_lost(OBJECT), [("k", b"1"), ("l", None)], Liar().load),
    "an inserted element": lambda: edit_array(_lost(ARRAY), [ArraySplice(3, 0, [b"1"])], Liar().load),
    "a draft of an object": lambda: _drafted(OBJECT, "add"),
    "a draft of an array": lambda: _drafted(ARRAY, "add"),
    "many insertions": lambda: _drafted(ARRAY, "add", 100),
}


@pytest.mark.parametrize("name", READERS)
def test_a_node_of_another_kind_is_damage(name: str) -> None:
    """Each reader says so with the node's address, and says what to run."""
    with pytest.raises(CorruptStore, match="01" * 32):
        READERS[name]()


@pytest.mark.parametrize("op", ["move", "copy"])
def test_a_move_from_nowhere_is_refused(op: str) -> None:
    """An operation without a source is refused wherever it is applied."""
    operations = [Operation(op, ("a",))]
    with pytest.raises(PatchError, match="names no place"):
        apply_operations({"a": 1}, operations)
    with pytest.raises(PatchError, match="names no place"):
        Draft(root_of({"a": 1}), Liar()).apply(operations)
