"""A wrapping backend that counts the calls to a store and the bytes in each direction.

Tests use the counts to state costs ("a warm commit is one request"), so that a cost is a number and not a wall time. A
request is a call that reaches the store. An iterator counts as soon as the first item is asked for; bytes count item by
item.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kbstore.backends.base import Backend, Chunk, Record, Tail

_ITERATORS: dict[str, Callable[[Any], int]] = {
    "read": lambda record: len(record.header),
    "bodies": lambda pair: len(pair[1]),
    "get_chunks": lambda found: len(found.data),
    "notes": lambda pair: len(pair[1]),
    "check": lambda damage: 0,
}
"""Methods that give items one by one, with the bytes of an item."""
_FREE = frozenset(("close", "expect", "server_time"))
"""Methods that reach no store."""


@dataclass(slots=True)
class Counts:
    """The counts since the last reset.

    Attributes:
        calls: The number of calls of each method, by name.
        read_bytes: Bytes of headers, bodies, chunks (gifts too) and notes that came back.
        written_bytes: Bytes of the same kinds that were handed over.
        items: Records, bodies, chunks and notes that came back, by method.
    """

    calls: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    read_bytes: int = 0
    written_bytes: int = 0

    @property
    def requests(self) -> int:
        """All calls together."""
        return self.calls.total()


class CountingBackend:
    """A backend that passes on every call and counts in `counts`; `kbstore.backends.base.Backend` describes all."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.counts = Counts()

    def __getattr__(self, name: str) -> Any:
        """Return what the inner backend has under this name; a method counts when it is called."""
        value = getattr(self.inner, name)
        if name in _FREE or not callable(value):
            return value
        return partial(self._items if name in _ITERATORS else self._called, name, value)

    def reset(self) -> Counts:
        """Start from zero; return the counts until now."""
        done, self.counts = self.counts, Counts()
        return done

    def append(
        self, log: str, slot: int, records: Sequence[Record], *, chunks: Sequence[Chunk] = (), **more: Any
    ) -> None:
        """Create a slot; count the bytes of records and chunks."""
        size = sum(len(header) + len(body) for header, body in records) + sum(len(chunk.data) for chunk in chunks)
        self._count("append", size)
        self.inner.append(log, slot, records, chunks=chunks, **more)

    def look(self, log: str) -> Callable[[], Tail]:
        """Start to look for the end of a log; counted as a `tail`."""
        self._count("tail")
        return self.inner.look(log)

    def recalled(self) -> Backend:
        """Return this backend if the inner one returns itself; not counted."""
        found = self.inner.recalled()
        return self if found is self.inner else found

    def put_snapshot(self, log: str, number: int, *, note: bytes, chunks: Iterable[Chunk], **more: Any) -> bool:
        """Cache chunks as a snapshot; count the bytes of the note and the chunks."""
        self._count("put_snapshot", len(note))
        return self.inner.put_snapshot(log, number, note=note, chunks=self._going(chunks), **more)

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record; count its bytes."""
        self._count("put_note", len(data))
        self.inner.put_note(name, number, data)

    def _called(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._count(name)
        return method(*arguments, **options)

    def _items(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
        self._count(name)
        for item in method(*arguments, **options):
            self.counts.items[name] += 1
            self.counts.read_bytes += _ITERATORS[name](item)
            yield item

    def _count(self, name: str, written_bytes: int = 0) -> None:
        self.counts.calls[name] += 1
        self.counts.written_bytes += written_bytes

    def _going(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self.counts.written_bytes += len(chunk.data)
            yield chunk
