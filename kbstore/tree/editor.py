"""A state during operations: only touched values are decoded, and they are encoded once at the end.

A value in a draft has one of three forms. *Stored*: canonical bytes or a `Ref`, as in the tree. *Plain*: a Python
value that the draft owns and may change. *Open*: a large container with some changed items.
"""

from collections.abc import Sequence
from typing import Any

from kbstore.errors import PatchError, PointerError
from kbstore.jsondoc.canonical import MISSING, decode, encode
from kbstore.jsondoc.edits import PRINTING_WORK
from kbstore.jsondoc.patch import Budget, Operation, add, check_move, check_test, located, remove, replace, resolve
from kbstore.jsondoc.pointer import MAX_DEPTH, array_index, shorten
from kbstore.tree.builder import Builder, build_value
from kbstore.tree.container_edit import ArraySplice, Member, edit_array, edit_object
from kbstore.tree.node import ARRAY, INLINE_BYTES, OBJECT, VALUE, Blob, Ref, canonical_length, leaf_of
from kbstore.tree.reader import Source, canonical, find_element, find_member, leaf_refs, materialise
from kbstore.tree.weight import Weights

_FLAT_AFTER_SPLICES = 64
"""After this many insertions and removals a draft turns an array into a list: cheaper than a path copy for each."""
_REBUILDING_WORK = 4000
"""The cost of an element when such a list is cut into nodes again, in shifted elements."""


class _OpenObject:
    __slots__ = ("_base", "_budget", "_members", "_source")

    def __init__(self, base: Ref, source: Source, budget: Budget | None) -> None:
        self._base: Ref | None = base
        self._source = source
        self._budget = budget
        self._members: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        found = self._members.get(key)
        if found is None and key not in self._members:
            found = find_member(self._base, key, self._source) if self._base is not None else None
            if found is None:
                raise PointerError(f"there is no member {shorten(key)!r}")
            return found
        if found is MISSING:
            raise PointerError(f"there is no member {shorten(key)!r}")
        return found

    def open(self, key: str) -> Any:
        found = self.get(key)
        if type(found) is bytes or type(found) is Ref:
            found = self._members[key] = _open(found, self._source, self._budget)
        return found

    def set(self, key: str, value: Any) -> None:
        self._members[key] = value

    def add(self, token: str, value: Any) -> None:
        self._members[token] = value

    def replace(self, token: str, value: Any) -> None:
        self.get(token)
        self._members[token] = value

    def remove(self, token: str) -> Any:
        found = self.get(token)
        self._members[token] = MISSING
        return found

    def close(self) -> bytes | Ref:
        if self._members:
            members: list[Member] = []
            for key in sorted(self._members):
                value = self._members[key]
                members.append((key, None if value is MISSING else _close(value)))
            if self._base is not None:
                self._base = edit_object(self._base, members, self._source.load)
            else:  # every member was removed before
                kept = {k: canonical(v, self._source) for k, v in members if v is not None}
                text = b"{" + b",".join(encode(k) + b":" + v for k, v in kept.items()) + b"}"
                closed = build_value(text)
                self._base = closed if isinstance(closed, Ref) else None
                if isinstance(closed, bytes):
                    self._members = {k: v for k, v in members if v is not None}
                    return closed
            self._members = {}
        return _inlined(self._base, b"{}", self._source)


class _OpenArray:
    __slots__ = ("_base", "_budget", "_elements", "_flat", "_source", "_splices")

    def __init__(self, base: Ref, source: Source, budget: Budget | None) -> None:
        self._base: Ref | None = base
        self._source = source
        self._budget = budget
        self._elements: dict[int, Any] = {}
        self._flat: list[Any] | None = None
        self._splices = 0

    def _count(self) -> int:
        if self._flat is not None:
            return len(self._flat)
        return self._base.count if self._base is not None else 0

    def _at(self, token: str, *, append: bool = False) -> int:
        return array_index(token, self._count(), append=append)

    def _get(self, at: int) -> Any:
        if self._flat is not None:
            return self._flat[at]
        if at in self._elements:
            return self._elements[at]
        return find_element(self._held(), at, self._source)

    def _held(self) -> Ref:
        if self._base is None:
            raise PointerError("the array is empty")
        return self._base

    def get(self, token: str) -> Any:
        return self._get(self._at(token))

    def open(self, token: str) -> Any:
        at = self._at(token)
        found = self._get(at)
        if type(found) is bytes or type(found) is Ref:
            found = _open(found, self._source, self._budget)
            self._set(at, found)
        return found

    def _set(self, at: int, value: Any) -> None:
        if self._flat is not None:
            self._flat[at] = value
        else:
            self._elements[at] = value

    def set(self, token: str, value: Any) -> None:
        self._set(self._at(token), value)

    def replace(self, token: str, value: Any) -> None:
        self._set(self._at(token), value)

    def add(self, token: str, value: Any) -> None:
        at = self._at(token, append=True)
        if (flat := self._as_list()) is not None:
            self._pay(len(flat) - at)
            flat.insert(at, value)
        else:
            self._splice(ArraySplice(at, 0, [_close(value)]))

    def remove(self, token: str) -> Any:
        at = self._at(token)
        found = self._get(at)
        if (flat := self._as_list()) is not None:
            self._pay(len(flat) - at)
            del flat[at]
        else:
            if type(found) is not bytes and type(found) is not Ref:
                found = _close(found)
            self._splice(ArraySplice(at, 1, ()))
        return found

    def _as_list(self) -> list[Any] | None:
        self._splices += 1
        if self._flat is None and (self._splices > _FLAT_AFTER_SPLICES or self._base is None):
            self._settle()
            if self._budget is not None:
                self._budget.rebuilt(_REBUILDING_WORK * self._count())
            self._flat = []
            if self._base is not None:
                for refs in leaf_refs(self._base, self._source):
                    for ref in refs:
                        self._flat.extend(leaf_of(ref, ref.node or self._source.load(ref)).values)
        return self._flat

    def _pay(self, work: int) -> None:
        if self._budget is not None:
            self._budget.worked(work)

    def _splice(self, splice: ArraySplice) -> None:
        self._settle()
        self._base = edit_array(self._held(), [splice], self._source.load)

    def _settle(self) -> None:
        """Put opened elements back into the tree, since positions are about to move."""
        if self._elements:
            splices = [ArraySplice(at, 1, [_close(self._elements[at])]) for at in sorted(self._elements)]
            self._elements = {}
            self._base = edit_array(self._held(), splices, self._source.load)

    def close(self) -> bytes | Ref:
        if self._flat is None:
            self._settle()
            return _inlined(self._base, b"[]", self._source)
        elements = [_close(v) for v in self._flat]
        self._flat = list(elements)
        length = sum(map(canonical_length, elements)) + len(elements) + 1
        if length <= max(INLINE_BYTES, 2):
            return b"[" + b",".join([canonical(v, self._source) for v in elements]) + b"]"
        # Make the list a tree again, so that closing the array again without a change in between costs nothing.
        self._base, self._flat, self._splices = _rebuilt(elements, self._source), None, 0
        return self._base


def _rebuilt(elements: list[bytes | Ref], source: Source) -> Ref:
    builder = Builder(False, source.load)
    for value in elements:
        builder.add("", b"", value)
    return builder.root()


def _inlined(root: Ref | None, empty: bytes, source: Source) -> bytes | Ref:
    if root is None:
        return empty
    return canonical(root, source) if root.canonical_bytes <= INLINE_BYTES else root


def _open(stored: bytes | Ref, source: Source, budget: Budget | None) -> Any:
    if isinstance(stored, bytes):
        return decode(stored)
    if stored.kind == OBJECT:
        return _OpenObject(stored, source, budget)
    if stored.kind == ARRAY:
        return _OpenArray(stored, source, budget)
    return materialise(stored, source)


def _close(value: Any) -> bytes | Ref:
    kind = type(value)
    if kind is bytes or kind is Ref:
        return value  # type: ignore[no-any-return]
    if kind is _OpenObject or kind is _OpenArray:
        return value.close()  # type: ignore[no-any-return]
    return build_value(encode(value))


class Draft:
    """A state changed by successive operations, then sealed into a new state.

    Args:
        root: The state's root, or None if there is no document yet.
        source: The source of nodes.
        budget: The budget of each patch; None for a patch just made by kbstore.
    """

    def __init__(self, root: Ref | None, source: Source, budget: Budget | None = None) -> None:
        self._source = source
        self._budget = budget
        self._weights = Weights(source, budget) if budget is not None else None
        self._value: Any = MISSING if root is None else _open(root, source, budget)
        self._near_path: tuple[str, ...] | None = None
        self._near: dict[str, Any] = {}

    def apply(self, operations: Sequence[Operation]) -> None:
        """Make these operations in order. Values are in stored form, so that the draft never changes a patch.

        Raises:
            PatchError: An operation does not apply; the error has its index and pointer. The draft is then useless.
        """
        if self._budget is not None:
            self._budget.renew()
        for at, operation in enumerate(operations):
            try:
                self._apply(operation)
            except (PointerError, PatchError) as fault:
                raise located(fault, at, operation) from fault

    def seal(self) -> Ref:
        """Return the root of the new state; the root's address is the hash of the state.

        Raises:
            PatchError: There is no document.
        """
        if self._value is MISSING:
            raise PatchError("the patch leaves no document", index=None, pointer="")
        self._near_path = None  # open containers get closed
        closed = _close(self._value)
        return closed if isinstance(closed, Ref) else Ref(VALUE, None, 0, len(closed), None, Blob(VALUE, closed))

    def holds(self, path: tuple[str, ...], value: bytes | Ref) -> bool:
        """Return whether this value, in stored form, is now at a place."""
        self._near_path = None
        try:
            found = _close(self._peek(path))
        except PointerError:
            return False
        if isinstance(found, Ref) and isinstance(value, Ref):
            return found.address == value.address
        return found == value

    def _apply(self, operation: Operation) -> None:
        op = operation.op
        if op == "replace" or op == "add":
            if self._budget is not None and isinstance(operation.value, bytes):
                self._check_depth(operation.value, len(operation.path))
            self._put(operation.path, operation.value, must_exist=op == "replace")
            return
        self._near_path = None
        if op == "remove":
            self._remove(operation.path)
        elif op == "test":
            self._test(operation)
        elif (source := operation.source) is None:
            raise PatchError(f"{op} names no place to take from")
        else:
            if op == "move":
                check_move(source, operation.path)
                value = self._peek(source)
                if operation.path == source:
                    return
                if self._budget is not None and len(operation.path) > len(source):
                    self._check_depth(_close(value), len(operation.path))
                value = self._remove(source)
            else:
                value = _close(self._peek(source))
                if self._budget is not None and self._weights is not None:
                    self._budget.copied(self._weights.of(value).memory_bytes)
                    self._check_depth(value, len(operation.path))
            self._put(operation.path, value, must_exist=False)

    def _test(self, operation: Operation) -> None:
        found, expected = self._peek(operation.path), operation.value
        if self._budget is not None and isinstance(expected, Ref):
            self._budget.worked(PRINTING_WORK * expected.size)
        check_test(self._plain(found), self._plain(expected))

    def _check_depth(self, value: bytes | Ref, depth: int) -> None:
        # Few brackets prove that the value is shallow, without entering it.
        if isinstance(value, bytes) and value.count(b"[") + value.count(b"{") + depth <= MAX_DEPTH:
            return
        if self._weights is not None and self._weights.of(value).depth + depth > MAX_DEPTH:
            raise PatchError(f"the document would be nested deeper than {MAX_DEPTH} containers")

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is _OpenObject or kind is _OpenArray:
            value = value.close()
            kind = type(value)
        return materialise(value, self._source) if kind is bytes or kind is Ref else value

    def _holder(self, path: tuple[str, ...]) -> tuple[Any, str, Any, int]:
        """Return the innermost open container on a path, the token there, the value, and the number of used tokens."""
        parent: Any = None
        token = ""
        value = self._value
        used = 0
        for token_next in path:
            if type(value) is not _OpenObject and type(value) is not _OpenArray:
                break
            if used == len(path) - 1:
                return value, token_next, MISSING, used + 1
            parent, token = value, token_next
            value = value.open(token_next)
            used += 1
        return parent, token, value, used

    def _put(self, path: tuple[str, ...], new: Any, *, must_exist: bool) -> None:
        if path and self._near_path == path[:-1] and (not must_exist or path[-1] in self._near):
            # Operations on members of one object are mostly consecutive; no operation in between moved the object.
            self._near[path[-1]] = self._plain(new)
            return
        self._near_path = None
        if not path:
            if must_exist and self._value is MISSING:
                raise PointerError("there is no document")
            self._value = _open(new, self._source, self._budget) if type(new) is bytes or type(new) is Ref else new
            return
        if self._value is MISSING:
            raise PointerError("there is no document")
        parent, token, value, used = self._holder(path)
        if value is MISSING:
            (parent.replace if must_exist else parent.add)(token, new)
            return
        changed = (replace if must_exist else add)(value, path[used:], self._plain(new))
        self._store(parent, token, value, changed)
        if used < len(path):
            holder = resolve(value, path[used:-1])
            if type(holder) is dict:
                self._near_path, self._near = path[:-1], holder

    def _remove(self, path: tuple[str, ...]) -> Any:
        if self._value is MISSING:
            raise PointerError("there is no document")
        if not path:
            raise PatchError("the whole document cannot be removed", hint="replace it, for example by null")
        parent, token, value, used = self._holder(path)
        if value is MISSING:
            return parent.remove(token)
        changed, removed = remove(value, path[used:])
        self._store(parent, token, value, changed)
        return removed

    def _store(self, parent: Any, token: str, value: Any, changed: Any) -> None:
        if changed is not value:
            if parent is None:
                self._value = changed
            else:
                parent.set(token, changed)

    def _peek(self, path: tuple[str, ...]) -> Any:
        if self._value is MISSING:
            raise PointerError("there is no document")
        value = self._value
        for used, token in enumerate(path):
            kind = type(value)
            if kind is bytes or kind is Ref:
                value = _open(value, self._source, self._budget)
                kind = type(value)
            if kind is _OpenObject or kind is _OpenArray:
                value = value.get(token)
            else:
                return resolve(value, path[used:])
        return value
