"""Repacking chunks of truth: many small fresh packs become few cold packs, in which versions share a base.

Fresh packs are repacked. Short cold packs are repacked too, unless another pack has the pack as base, so that frequent
collections leave no crumbs. Chunks keep the order of writing, as this is the order of reading, and have the store's
first pack as base if this saves space. But long texts with a resemblance (`kbstore.backends.families`) are packed
together, and later texts have the first pack of the family as base, so that an edit costs only the edit. The work is
cut into windows; a transaction moves each window.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from kbstore.backends import packing
from kbstore.backends.base import TRUTH, Chunk
from kbstore.backends.families import sketch
from kbstore.backends.sqlite.chunks import insert_packs, prefix_of
from kbstore.backends.sqlite.connection import Connection
from kbstore.backends.sqlite.digests import base_bytes, pack_digest
from kbstore.backends.sqlite.errors import RESTORE_HINT
from kbstore.backends.sqlite.schema import MOVED
from kbstore.kit.errors import CorruptStore

_WINDOW_BYTES = 32 * 1024 * 1024
_LONG_BYTES = 8 * 1024
_GAIN = 0.9


class _Source(NamedTuple):
    """A pack of truth, as described by the directory."""

    ident: int
    base: int | None
    addresses: tuple[bytes, ...]
    raw_bytes: int
    longest_bytes: int


class _Cold(NamedTuple):
    """A pack to write: directory, frame and base. The base is a pack's id, or -1 minus an index of a new pack."""

    directory: bytes
    frame: bytes
    base: int


def eligible(connection: sqlite3.Connection) -> list[_Source]:
    """Return the packs worth repacking, oldest first; an empty list if no pack is fresh."""
    sources = _sources(connection)
    leaned_on = _bases(connection)
    found = [
        source
        for source in sources
        if source.base is None or (source.raw_bytes < packing.COLD_RAW_BYTES // 2 and source.ident not in leaned_on)
    ]
    return found if any(source.base is None for source in found) else []


def first_base(connection: sqlite3.Connection) -> int | None:
    """Return the oldest cold pack without a base, as a base for bodies: patches resemble the changed texts."""
    row = connection.execute("SELECT min(id) FROM packs WHERE tier=? AND base=0", (TRUTH,)).fetchone()
    return row[0] if row else None


def repack(owner: Connection) -> int:
    """Repack all eligible packs; return the number of chunks moved.

    Raises:
        CorruptStore: A pack is damaged; this pack and all later packs stay unchanged.
    """
    sources = owner.read(eligible)
    bases = _Bases(owner, sources)
    moved = 0
    for window in _windows(sources):
        chunks = owner.read(partial(_read, sources=window))
        if chunks is None:
            break  # another collector is working
        cold = list(_cold_packs(chunks, bases))
        moved += _replace(owner, window, cold, bases)
    return moved


def _sources(connection: sqlite3.Connection) -> list[_Source]:
    found = []
    for ident, base, directory in connection.execute(
        "SELECT id, base, directory FROM packs WHERE tier=? ORDER BY id", (TRUTH,)
    ):
        addresses, sizes = packing.entries_in(directory)
        found.append(_Source(ident, base, addresses, sum(sizes), max(sizes, default=0)))
    return found


def _bases(connection: sqlite3.Connection) -> set[int]:
    return {
        base for (base,) in connection.execute("SELECT base FROM packs WHERE base>0 UNION SELECT base FROM body_packs")
    }


def _windows(sources: Sequence[_Source]) -> Iterator[list[_Source]]:
    window: list[_Source] = []
    size = 0
    for source in sources:
        if window and size + source.raw_bytes > _WINDOW_BYTES:
            yield window
            window, size = [], 0
        window.append(source)
        size += source.raw_bytes
    if window:
        yield window


def _read(connection: sqlite3.Connection, sources: Sequence[_Source]) -> list[Chunk] | None:
    """Return all chunks of these packs, without duplicates and each checked; None if a pack is gone."""
    found: dict[bytes, Chunk] = {}
    for source in sources:
        pack = _undo(connection, source.ident)
        if pack is None:
            return None
        for chunk in pack.chunks():
            if hashlib.sha256(chunk.data).digest() != chunk.address:
                raise CorruptStore(f"chunk {chunk.address.hex()} is damaged", hint=RESTORE_HINT)
            found.setdefault(chunk.address, chunk)
    return list(found.values())


def _undo(connection: sqlite3.Connection, ident: int) -> packing.ChunkPack | None:
    row = connection.execute(
        "SELECT tier, owner, base, directory, frame, digest FROM packs WHERE id=?", (ident,)
    ).fetchone()
    if row is None:
        return None
    tier, owner, base, directory, frame, digest = row
    if digest != pack_digest(tier, owner, base, directory, frame):
        raise CorruptStore(f"pack {ident} is damaged", hint=RESTORE_HINT)
    return packing.undo_chunks(directory, frame, base_bytes(connection, base))


class _Bases:
    """The bases for new packs: for a family of long texts the family's newest base, else the store's first pack."""

    def __init__(self, owner: Connection, leaving: Sequence[_Source]) -> None:
        self._owner = owner
        self._known: dict[int, int] = {}
        self._raw: dict[int, bytes] = {}  # of bases that have no id yet
        self._last: tuple[int, bytes] | None = None
        gone = {source.ident for source in leaving}

        def learn(connection: sqlite3.Connection) -> int | None:
            staying = [source for source in _sources(connection) if source.base == 0 and source.ident not in gone]
            for source in staying:
                if source.longest_bytes >= _LONG_BYTES:
                    pack = _undo(connection, source.ident)
                    self._known.update(dict.fromkeys(_marks(pack.chunks() if pack else ()), source.ident))
            return staying[0].ident if staying else None

        self._first = owner.read(learn)

    def learn(self, marks: Iterable[int], base: int, raw: bytes) -> None:
        """Let texts with any of these marks have this new pack as base from now on."""
        self._known.update(dict.fromkeys(marks, base))
        self._raw[base] = raw
        if self._first is None:
            self._first = base

    def knows(self, marks: Iterable[int]) -> bool:
        """Return whether a base holds a text with any of these marks."""
        return any(mark in self._known for mark in marks)

    def base_of(self, marks: Iterable[int] | None) -> tuple[int, bytes] | None:
        """Return id and bytes of the base for texts with these marks, or (without marks) for all other chunks."""
        if marks is None:
            base = self._first
        else:
            base = next((self._known[mark] for mark in marks if mark in self._known), None)
        if base is None:
            return None
        if base in self._raw:
            return base, self._raw[base]
        if self._last is None or self._last[0] != base:
            self._last = (base, self._owner.read(partial(base_bytes, base=base)) or b"")
        return self._last

    def settle(self, first: int) -> None:
        """Replace the provisional numbers of new bases (-1 minus an index) by the ids given from `first` on."""
        self._known = {mark: resolved(base, first) for mark, base in self._known.items()}
        self._first = None if self._first is None else resolved(self._first, first)
        self._raw.clear()


def resolved(base: int, first: int) -> int:
    """Return the id of a base, if new packs got ids from `first` on."""
    return first - base - 1 if base < 0 else base


def _cold_packs(chunks: Sequence[Chunk], bases: _Bases) -> Iterator[_Cold]:
    """Yield the packs for these chunks: families of long texts last, because an earlier pack may be their base."""
    families = _families(chunks, bases)
    apart = {chunk.address for _, texts in families for chunk in texts}
    ordinary = [chunk for chunk in chunks if chunk.address not in apart]
    groups: list[tuple[frozenset[int] | None, list[Chunk]]] = [
        *((None, group) for group in packing.grouped(ordinary, packing.COLD_RAW_BYTES)),
        *((marks, group) for marks, texts in families for group in packing.grouped(texts, packing.COLD_RAW_BYTES)),
    ]
    for index, (marks, group) in enumerate(groups):
        raw = b"".join(chunk.data for chunk in group)
        frame = packing.compress(raw, packing.COLD_LEVEL)
        base = bases.base_of(marks)
        if base is not None:
            leaner = packing.compress(raw, packing.COLD_LEVEL, base[1])
            if len(leaner) < _GAIN * len(frame):
                yield _Cold(packing.directory_of(group), leaner, base[0])
                continue
        yield _Cold(packing.directory_of(group), frame, 0)
        bases.learn(_marks(group) if marks is None else marks, -1 - index, raw)


def _marks(chunks: Iterable[Chunk]) -> set[int]:
    """Return the marks of the long texts among these chunks."""
    return {mark for chunk in chunks if len(chunk.data) >= _LONG_BYTES for mark in sketch(chunk.data)}


def _families(chunks: Sequence[Chunk], bases: _Bases) -> list[tuple[frozenset[int], list[Chunk]]]:
    """Return the families of long texts that resemble each other or a base, with marks, in order of appearance.

    A text without a resemblance stays with the neighbours: all are read together, and the text compresses no better
    alone.
    """
    families: list[tuple[set[int], list[Chunk]]] = []
    known: dict[int, int] = {}
    for chunk in chunks:
        if len(chunk.data) < _LONG_BYTES:
            continue
        marks = sketch(chunk.data)
        index = next((known[mark] for mark in marks if mark in known), len(families))
        if index == len(families):
            families.append((set(), []))
        families[index][0].update(mark for mark in marks if mark not in known)
        families[index][1].append(chunk)
        for mark in marks:
            known.setdefault(mark, index)
    return [(frozenset(marks), texts) for marks, texts in families if len(texts) > 1 or bases.knows(marks)]


def _replace(owner: Connection, sources: Sequence[_Source], cold: Sequence[_Cold], bases: _Bases) -> int:
    """Replace packs by cold packs, in a single transaction; 0 if another collector was faster."""

    def replace(connection: sqlite3.Connection) -> int:
        (newest,) = connection.execute("SELECT max(id) FROM packs").fetchone()
        for source in sources:
            if not connection.execute(
                "SELECT 1 FROM packs WHERE id=? AND base IS ?", (source.ident, source.base)
            ).fetchone():
                return 0
        leaned_on = _bases(connection)
        if any(source.ident in leaned_on for source in sources):
            return 0
        for base in {pack.base for pack in cold if pack.base > 0}:
            if not connection.execute("SELECT 1 FROM packs WHERE id=? AND base=0", (base,)).fetchone():
                return 0
        for pack in cold:
            base = resolved(pack.base, newest + 1)
            insert_packs(connection, TRUTH, 0, [(pack.directory, pack.frame)], base)
        for pack, ident in zip(cold, range(newest + 1, newest + 1 + len(cold)), strict=True):
            _prove(connection, ident, pack.directory)
        for source in sources:
            connection.execute("INSERT INTO notes VALUES(?,?,x'',x'')", (MOVED, source.ident))
            connection.executemany(
                "DELETE FROM chunks WHERE prefix=? AND pack=?",
                [(prefix_of(address), source.ident) for address in source.addresses],
            )
            connection.execute("DELETE FROM packs WHERE id=?", (source.ident,))
        connection.execute("DELETE FROM notes WHERE name=?", (MOVED,))
        bases.settle(newest + 1)
        return sum(len(source.addresses) for source in sources)

    return owner.write(replace)


def _prove(connection: sqlite3.Connection, ident: int, directory: bytes) -> None:
    """Decompress a pack just written and hash every chunk, before the replaced packs are deleted."""
    pack = _undo(connection, ident)
    if pack is None or pack.addresses != packing.addresses_in(directory):
        raise CorruptStore(f"pack {ident} is not what was written", hint="report this, nothing was changed")
    for chunk in pack.chunks():
        if hashlib.sha256(chunk.data).digest() != chunk.address:
            raise CorruptStore(f"pack {ident} cannot be read back", hint="report this, nothing was changed")
