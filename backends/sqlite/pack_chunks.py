"""Repacking chunks of truth: fresh packs, many and small, become few and cold, where versions lean on one base.

What is repacked: every pack as first written, and cold ones that are short and that nothing leans on, so that often
collecting leaves no crumbs. Chunks keep their order, which is the order in which they are read, and lean on the
store's first pack where that helps. But long texts that resemble each other (`kbstore.backends.families`) stand
together, and later ones lean on the first pack of their family, so that an edit costs the edit. The work is cut into
windows, each moved in one transaction.
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
    """A pack of truth, by what its directory tells."""

    ident: int
    base: int | None
    addresses: tuple[bytes, ...]
    raw_bytes: int
    longest_bytes: int


class _Cold(NamedTuple):
    """A pack to write: its chunks, and where they lean: a pack's id, or minus one more than an index among the new."""

    directory: bytes
    frame: bytes
    base: int


def eligible(connection: sqlite3.Connection) -> list[_Source]:
    """Packs worth repacking, oldest first; none where nothing is fresh."""
    sources = _sources(connection)
    leaned_on = _bases(connection)
    found = [
        source
        for source in sources
        if source.base is None or (source.raw_bytes < packing.COLD_RAW_BYTES // 2 and source.ident not in leaned_on)
    ]
    return found if any(source.base is None for source in found) else []


def first_base(connection: sqlite3.Connection) -> int | None:
    """The oldest cold pack that leans on nothing: what bodies may lean on, since patches resemble what they patch."""
    row = connection.execute("SELECT min(id) FROM packs WHERE tier=? AND base=0", (TRUTH,)).fetchone()
    return row[0] if row else None


def repack(owner: Connection) -> int:
    """Repack what is eligible; returns how many chunks were moved.

    Raises:
        CorruptStore: A pack is damaged; it and what follows it are left as they are.
    """
    sources = owner.read(eligible)
    bases = _Bases(owner, sources)
    moved = 0
    for window in _windows(sources):
        chunks = owner.read(partial(_read, sources=window))
        if chunks is None:
            break  # another collector is at it
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
    """All chunks of these packs, each once and each checked; None where a pack is gone."""
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
    """What new packs may lean on: of a family of long texts its newest own pack, of all else the store's first pack."""

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
        """From now on texts with one of these marks may lean on this new pack."""
        self._known.update(dict.fromkeys(marks, base))
        self._raw[base] = raw
        if self._first is None:
            self._first = base

    def knows(self, marks: Iterable[int]) -> bool:
        """Whether a pack holds a text with one of these marks."""
        return any(mark in self._known for mark in marks)

    def base_of(self, marks: Iterable[int] | None) -> tuple[int, bytes] | None:
        """The pack that texts with these marks may lean on, or (without marks) all others, and its raw bytes."""
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
        """Bases that were new, and known by minus one more than their index, now have ids from `first` on."""
        self._known = {mark: resolved(base, first) for mark, base in self._known.items()}
        self._first = None if self._first is None else resolved(self._first, first)
        self._raw.clear()


def resolved(base: int, first: int) -> int:
    """The id of a base, where new packs got ids from `first` on."""
    return first - base - 1 if base < 0 else base


def _cold_packs(chunks: Sequence[Chunk], bases: _Bases) -> Iterator[_Cold]:
    """The packs that these chunks make: families of long texts last, since what comes before may be their base."""
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
    """The marks of the long texts among these."""
    return {mark for chunk in chunks if len(chunk.data) >= _LONG_BYTES for mark in sketch(chunk.data)}


def _families(chunks: Sequence[Chunk], bases: _Bases) -> list[tuple[frozenset[int], list[Chunk]]]:
    """Long texts that resemble each other or a base, those and their members in order of appearance, with their marks.

    A text that resembles none stays with its neighbours: it is read with them, and compresses no better alone.
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
    """Put cold packs in the place of others, in one transaction; 0 where another collector was there first."""

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
    """Undo a pack as it was just written and hash every chunk of it, before what it replaces is deleted."""
    pack = _undo(connection, ident)
    if pack is None or pack.addresses != packing.addresses_in(directory):
        raise CorruptStore(f"pack {ident} is not what was written", hint="report this, nothing was changed")
    for chunk in pack.chunks():
        if hashlib.sha256(chunk.data).digest() != chunk.address:
            raise CorruptStore(f"pack {ident} cannot be read back", hint="report this, nothing was changed")
