"""The value of a single pointer at any version, without folding unrelated events.

The value is read from the nearest snapshot before the version. Only later events that touched the entry of the value
are applied, newest first up to an event that sets the entry outright.
"""

from contextlib import suppress
from typing import Any

from kbstore.errors import CorruptStore, PointerError
from kbstore.history.branch import Line
from kbstore.history.event import Event, decode_body
from kbstore.history.index.paths import Touched, is_position
from kbstore.history.snapshots import Start
from kbstore.history.state_cache import States
from kbstore.jsondoc.canonical import MISSING, decode, same
from kbstore.jsondoc.patch import Operation, apply_operations
from kbstore.jsondoc.pointer import format_pointer
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import find, materialise

_ENTRY_TOKENS = 2
_AHEAD = 64


class Lookup:
    """Reads single values of a line.

    Args:
        line: The versions.
        nodes: Source of nodes.
        states: Folds, if the entry's own events are not enough.
        touched: The index of events that touched an entry.
    """

    def __init__(self, line: Line, nodes: Nodes, states: States, touched: Touched) -> None:
        self._line = line
        self._nodes = nodes
        self._states = states
        self._touched = touched

    def get(self, path: tuple[str, ...], event: Event) -> Any:
        """Return the value at a pointer after an event as a new Python value; `MISSING` if there is no value."""
        start = self._states.nearest(event.seq)
        value: Any = MISSING
        place = (start.log, start.number) if start.log is not None else None
        self._touched.expect(start.seq + 1, event.seq, place)
        if start.seq < event.seq and path:
            with suppress(CorruptStore):  # a fold of everything may get around what is damaged
                told = self._from_events(path, start, event)
                if told is not None:
                    return told[0]
        root = self._states.tree(event).root if start.seq < event.seq else self._states.root(start)
        if root is not None:
            stored = find(root, path, self._nodes)
            value = MISSING if stored is None else materialise(stored, self._nodes)
        return value

    def touching(self, path: tuple[str, ...], first: int, last: int) -> list[int]:
        """Return versions `first` to `last`, ascending, that wrote at or below a pointer or changed it from above."""
        candidates = self._touched.events(format_pointer(path), first, last)
        return [seq for seq, certain in candidates if certain or self._changed(path, seq)]

    def _changed(self, path: tuple[str, ...], seq: int) -> bool:
        operations = [op for _, body in self._line.bodies([seq]) for op in decode_body(body, self._nodes)]
        effects = [_effect(op, path) for op in operations if op.op != "test"]
        if "unclear" not in effects and "sets" not in effects:
            return "within" in effects
        before = self.get(path, self._line.entry(seq - 1).event) if seq > 1 else MISSING
        after = self.get(path, self._line.entry(seq).event)
        return (before is MISSING) != (after is MISSING) or (before is not MISSING and not same(before, after))

    def _from_events(self, path: tuple[str, ...], start: Start, event: Event) -> tuple[Any] | None:
        """Return the value in a 1-tuple; None if only a fold of all events can give the value."""
        entry = path[:_ENTRY_TOKENS]
        pending: list[list[Operation]] = []
        candidates = self._touched.events(format_pointer(entry), start.seq + 1, event.seq)
        self._line.expect(seqs=[seq for seq, _ in candidates[-_AHEAD:]])
        for seq, _ in reversed(candidates):
            operations = [
                op for _, body in self._line.bodies([seq]) for op in decode_body(body, self._nodes) if op.op != "test"
            ]
            kept = []
            base: Any = None
            for op in reversed(operations):
                effect = _effect(op, entry)
                if effect == "unclear" or (effect == "within" and len(entry) < _ENTRY_TOKENS):
                    return None
                if effect == "sets":
                    base = self._set_by(op, entry)
                    break
                if effect == "within":
                    kept.append(op)
            pending.append(kept[::-1])
            if base is not None:
                return self._applied(base[0], pending, path)
        root = self._states.root(start)
        stored = find(root, entry, self._nodes) if root is not None else None
        return self._applied(MISSING if stored is None else materialise(stored, self._nodes), pending, path)

    def _set_by(self, op: Operation, entry: tuple[str, ...]) -> tuple[Any]:
        if op.op == "remove":
            return (MISSING,)
        value = op.value
        below = entry[len(op.path) :]
        if isinstance(value, Ref):
            value = find(value, below, self._nodes)
            return (MISSING if value is None else materialise(value, self._nodes),)
        return (_inside(decode(value), below),)

    def _applied(self, value: Any, pending: list[list[Operation]], path: tuple[str, ...]) -> tuple[Any] | None:
        for operations in reversed(pending):
            plain = [
                op._replace(
                    path=op.path[_ENTRY_TOKENS:],
                    value=materialise(op.value, self._nodes) if op.value is not MISSING else MISSING,
                )
                for op in operations
            ]
            if plain and value is MISSING:
                return None
            value = apply_operations(value, plain) if plain else value
        return (_inside(value, path[_ENTRY_TOKENS:]),)


def _effect(op: Operation, entry: tuple[str, ...]) -> str:
    """Return the effect of an operation on an entry: ``none``, ``sets`` (as a whole), ``within``, or ``unclear``."""
    touches = [op.path] if op.source is None else [op.path, op.source]
    meets = [p for p in touches if p[: len(entry)] == entry or entry[: len(p)] == p or _may_shift(op, p, entry)]
    if not meets:
        return "none"
    if op.source is not None or _may_shift(op, op.path, entry):
        return "unclear"
    return "sets" if len(op.path) <= len(entry) else "within"


def _may_shift(op: Operation, path: tuple[str, ...], entry: tuple[str, ...]) -> bool:
    """Return whether an insertion or removal at a path may move the positions on the way to an entry."""
    n = len(path)
    return (
        op.op != "replace"
        and 0 < n <= len(entry)
        and path[:-1] == entry[: n - 1]
        and is_position(path[-1])
        and is_position(entry[n - 1])
    )


def _inside(value: Any, path: tuple[str, ...]) -> Any:
    for token in path:
        if isinstance(value, dict):
            value = value.get(token, MISSING)
        elif isinstance(value, list) and is_position(token) and token != "-" and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


def require(value: Any, pointer: str, where: str) -> Any:
    """Return the value if there is a value.

    Raises:
        PointerError: The value is `MISSING`.
    """
    if value is MISSING:
        raise PointerError(f"there is nothing at {pointer!r} in {where}", pointer=pointer)
    return value
