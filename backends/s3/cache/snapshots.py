"""Snapshots and notes: caches that may vanish, each published by a single PUT.

A small snapshot is a single object. A large snapshot has chunks in objects under ``data/``, written first, and an index
under ``snap/``, written last. Chunks that name the next chunk (inner nodes of a tree, on the way to all others) are in
the index, so any leaf needs only one more read. The name of the index carries all data for a list of snapshots.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kbstore.backends import packing
from kbstore.backends.base import Chunk, Snapshot
from kbstore.backends.s3.cache.chunk_index import Chunks, Shelf, piece_of
from kbstore.backends.s3.format import container, keys
from kbstore.backends.s3.format.keys import SnapshotName
from kbstore.backends.s3.format.slot import ChunkPiece, Piece, leads_of, piece_at
from kbstore.backends.s3.log.objects import checked
from kbstore.backends.s3.transport.client import Client, Listed, Want
from kbstore.kit.errors import BackendError, CorruptStore

KIND = b"snap1"
_ONE_OBJECT_BYTES = 512 * 1024
_INNER_RAW_BYTES = 1024 * 1024
_INNER_PIECE_RAW_BYTES = 16 * 1024
_LEAF_PIECE_RAW_BYTES = 64 * 1024
_WHOLE_BYTES = 16 * 1024
_TOP_BYTES = 16 * 1024
_DATA_BYTES = 32 * 1024 * 1024
_DIRECT_NOTES = 48
LARGEST_NOTE_BYTES = 16 * 1024 * 1024
"""A larger note counts as damaged: many notes are read at once."""
_FRESH_S = 5.0
_Part = tuple[str, bytes, Any]


class Snapshots:
    """The snapshots of a store.

    Args:
        client: Client for the store.
        chunks: Chunk index, which learns the content of snapshots.
        store: The id of the store.
    """

    def __init__(self, client: Client, chunks: Chunks, store: str) -> None:
        self._client = client
        self._store = store
        self._chunks = chunks
        self._listed: dict[str, dict[str, SnapshotName]] = {}
        self._unusable: set[str] = set()
        self._open: dict[str, tuple[str, int]] = {}
        self._ahead: dict[str, tuple[float, Callable[[], dict[str, SnapshotName]]]] = {}

    # ---- which there are ---------------------------------------------------------------------------------------------

    def expect_list(self, log: str) -> None:
        """Begin a listing for the next call of `names`."""
        self._ahead[log] = (self._client.chance.monotonic(), self._client.submit(lambda: self._names(log)))

    def names(self, log: str) -> dict[str, SnapshotName]:
        """Return the current snapshots of a log by key; of two with the same number, the higher in rank."""
        begun, ahead = self._ahead.pop(log, (0.0, None))
        fresh = ahead is not None and self._client.chance.monotonic() - begun < _FRESH_S
        found = ahead() if ahead is not None and fresh else self._names(log)
        self._listed[log] = found
        return found

    def _names(self, log: str) -> dict[str, SnapshotName]:
        best: dict[int, tuple[str, SnapshotName]] = {}
        for key, name in self.indexes(log).items():
            if key in self._unusable:
                continue
            if name.number not in best or rank(best[name.number][1]) < rank(name):
                best[name.number] = (key, name)
        return {key: name for _, (key, name) in sorted(best.items())}

    def indexes(self, log: str) -> dict[str, SnapshotName]:
        """Return all current indexes by key; two writers may each have made an index of the same record."""
        folder = f"snap/{keys.log_segment(log)}/"
        named = ((one.key, keys.snapshot_of(one.key[len(folder) :])) for one in self._client.listing(folder))
        return {key: name for key, name in named if name is not None}

    def tokens(self) -> set[str]:
        """Return the tokens of all current snapshots of all logs."""
        keys_ = (one.key.removeprefix("snap/").partition("/")[2] for one in self._client.listing("snap/"))
        return {name.token for name in map(keys.snapshot_of, keys_) if name is not None}

    def all(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log, with a LIST, and a GET for each note too long for a name."""
        named = self.names(log)
        notes = self._notes(named)
        return [
            Snapshot(name.number, name.tier, note, name.size_bytes)
            for name, note in zip(named.values(), notes, strict=True)
            if note is not None
        ]

    def _notes(self, named: Mapping[str, SnapshotName]) -> list[bytes | None]:
        """Return the note of each snapshot, reading objects only if a name had no room for the note."""
        inside = [(key, name) for key, name in named.items() if name.note is None]
        read = dict(zip(inside, self._client.map(lambda one: self._note_inside(*one), inside), strict=True))
        return [read[key, name] if name.note is None else name.note for key, name in named.items()]

    def _note_inside(self, key: str, name: SnapshotName) -> bytes | None:
        got = self._client.get(key, 0, name.leads_bytes)
        try:
            contents = container.unpack(KIND, got.data, f"snapshot {name.number}") if got is not None else None
        except (CorruptStore, container.Incomplete):
            return None
        return base64.b64decode(contents.description["note"]) if contents is not None else None

    # ---- writing -----------------------------------------------------------------------------------------------------

    def put(
        self,
        log: str,
        number: int,
        *,
        tier: int,
        note: bytes,
        chunks: Iterable[Chunk],
        requires: Mapping[int, bytes],
        token: str,
    ) -> bool:
        """Write a snapshot, the chunks first (`Backend.put_snapshot`)."""
        writing = _Writing(self._client, self._store, token)
        for chunk, depth in _with_depth(chunks):
            writing.add(chunk, depth)
        there = self.indexes(log)
        needed = {key: name for key, name in there.items() if name.number in requires}
        found = {(name.number, its) for name, its in zip(needed.values(), self._notes(needed), strict=True)}
        if not requires.items() <= found:
            return False
        lead, parts, size = writing.finish()
        described = {
            "log": log,
            "number": number,
            "tier": tier,
            "token": token,
            "requires": list(requires),
            "note": base64.b64encode(note).decode(),
        }
        data = container.pack(KIND, described, [part for part, _ in parts])
        leads_bytes = len(data) - sum(len(part[1]) for part, _ in parts[1:])
        inner_bytes = leads_bytes + sum(len(part[1]) for part, inner in parts if inner)
        sizes = (size, len(data), leads_bytes, inner_bytes)
        name = SnapshotName(number, tier, token, *sizes, lead, tuple(requires), note)
        key = keys.snapshot_key(log, name)
        self._client.put_new(key, data)
        if outside_bytes(name) and not self._is_whole(name):
            # This writer slept for so long that a collection took the data for a dead writer's, and removed it.
            self._client.remove([key])
            return False
        self.withdraw(log, {k: n for k, n in there.items() if n.number == number})
        self._adopt(key, name, data, log)
        return True

    def drop(self, log: str, numbers: Iterable[int]) -> int:
        """Unpublish snapshots, and return how many there were.

        Garbage collection removes their data after the grace period.
        """
        gone = set(numbers)
        found = {key: name for key, name in self.indexes(log).items() if name.number in gone}
        kept = self.withdraw(log, found)
        return len({name.number for key, name in found.items() if key not in kept})

    def withdraw(self, log: str, indexes: Mapping[str, SnapshotName]) -> dict[str, BackendError]:
        """Remove these indexes, and forget the snapshots read for these records.

        Returns:
            The indexes that the server refuses to remove, each with the reason.
        """
        kept = self._client.remove(list(indexes))
        gone = {(log, name.number) for name in indexes.values()}
        for owner in gone:
            self._chunks.drop(owner)
        self._open = {key: owner for key, owner in list(self._open.items()) if owner not in gone}
        for key in indexes:
            self._listed.get(log, {}).pop(key, None)
        return kept

    def _is_whole(self, name: SnapshotName) -> bool:
        return sum(one.size for one in self._client.listing(f"data/{self._store}/{name.token}/")) == outside_bytes(name)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def open_likely(self, logs: Sequence[str], leads: set[bytes]) -> None:
        """Open the snapshots whose first chunk has one of the given leads, and the required snapshots."""
        likely = self._closed(logs, leads)
        if not likely:
            for log in logs:
                self.names(log)
            likely = self._closed(logs, leads)
        self.open(likely, inner={key for _, key, name in likely if name.lead in leads})

    def open_all(self, logs: Sequence[str]) -> None:
        """Open all unopened snapshots."""
        for log in logs:
            self.names(log)
        self.open(self._closed(logs, None))

    def _closed(self, logs: Sequence[str], leads: set[bytes] | None) -> list[tuple[str, str, SnapshotName]]:
        """Return unopened snapshots: all, or snapshots with the given leads and their requirements."""
        found = {}
        for log in logs:
            listed = self._listed.get(log, {})
            chosen = {k: n for k, n in listed.items() if leads is None or n.lead in leads}
            needed = {r for n in chosen.values() for r in n.requires}
            chosen |= {k: n for k, n in listed.items() if n.number in needed}
            found.update({key: (log, key, name) for key, name in chosen.items() if key not in self._open})
        return list(found.values())

    def open(self, wanted: Sequence[tuple[str, str, SnapshotName]], *, inner: set[str] | None = None) -> None:
        """Read the lists of chunks of the given snapshots, all at once.

        Args:
            wanted: Log, key and name of each.
            inner: Keys of the snapshots to read with inner chunks; None for all.
        """
        ends = [
            name.index_bytes
            if name.index_bytes <= _WHOLE_BYTES
            else name.inner_bytes
            if inner is None or key in inner
            else name.leads_bytes
            for _, key, name in wanted
        ]
        got = self._client.get_many([Want(key, 0, end) for (_, key, _), end in zip(wanted, ends, strict=True)])
        for (log, key, name), answer in zip(wanted, got, strict=True):
            self._open[key] = (log, name.number)
            if answer is None:
                self._pass_over(log, key)
                continue
            try:
                self._adopt(key, name, answer.data, log)
            except CorruptStore:  # counts as gone; `check` reports the damage
                self._pass_over(log, key)

    def _pass_over(self, log: str, key: str) -> None:
        """Stop listing a snapshot with an unreadable index, so that folds begin with an older snapshot."""
        self._unusable.add(key)
        self._listed.get(log, {}).pop(key, None)

    def open_number(self, log: str, number: int) -> None:
        """Open the snapshot of a record, if listed, and the required snapshots."""
        listed = self._listed.get(log, {})
        chosen = {k: n for k, n in listed.items() if n.number == number}
        needed = {r for n in chosen.values() for r in n.requires}
        chosen |= {k: n for k, n in listed.items() if n.number in needed}
        wanted = [(log, key, name) for key, name in chosen.items() if key not in self._open]
        if wanted:
            self.open(wanted, inner={key for _, key, name in wanted if name.number == number})

    def _adopt(self, key: str, name: SnapshotName, data: bytes, log: str) -> None:
        pieces, leads = read_index(key, name, data, log)
        shelf = Shelf(name.tier, (log, name.number), pieces)
        self._chunks.add(shelf, leads)
        self._open[key] = (log, name.number)
        self._listed.setdefault(log, {})[key] = name
        for chunk in pieces:
            piece = chunk.piece
            if piece.key == key and piece.start + piece.size <= len(data):
                self._chunks.keep(piece, checked(piece, data[piece.start : piece.start + piece.size]))


def rank(name: SnapshotName) -> tuple[int, str]:
    """Return the rank of a snapshot. Of two snapshots of a record, readers use the higher, more lasting snapshot."""
    return name.tier, name.token


def outside_bytes(name: SnapshotName) -> int:
    """Return how many bytes of chunks a snapshot has under ``data/``, outside the index."""
    return name.size_bytes - (name.index_bytes - name.leads_bytes)


def read_index(key: str, name: SnapshotName, data: bytes, log: str) -> tuple[list[ChunkPiece], bytes]:
    """Return the pieces in an index, and the leads of the addresses of their chunks.

    Raises:
        CorruptStore: The index is damaged, or of another snapshot.
    """
    where = key
    try:
        contents = container.unpack(KIND, data, where)
        told = contents.description
        if (told["log"], told["number"], told["tier"], told["token"]) != (log, name.number, name.tier, name.token):
            raise CorruptStore(f"{where} holds another snapshot", hint="run: kbstore gc")
        leads = container.part_in(contents.parts[0], data, where)
        pieces = []
        for part in contents.parts[1:]:
            directory, *outside = part.detail
            piece = Piece(key, part.start, part.size, part.digest)
            if outside:
                piece = piece_at(*outside)
            pieces.append(ChunkPiece(container.count(directory), piece))
    except container.Incomplete:
        raise CorruptStore(f"{where} is cut off", hint="run: kbstore gc") from None
    except (KeyError, TypeError, ValueError, IndexError) as fault:
        raise CorruptStore(f"{where} is malformed: {fault!r}", hint="run: kbstore gc") from None
    return pieces, leads


def _with_depth(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, int | None]]:
    """Yield each chunk with its depth, the number of chunks above; None if the chunk does not name the next chunk."""
    above: list[Chunk] = []
    before: Chunk | None = None
    for chunk in chunks:
        if before is not None:
            while above and not _names(above[-1], before):
                above.pop()
            inner = _names(before, chunk)
            yield before, len(above) if inner else None
            if inner:
                above.append(before)
        before = chunk
    if before is not None:
        yield before, None


def _names(chunk: Chunk, other: Chunk) -> bool:
    return other.address.hex().encode() in chunk.data or other.address in chunk.data


class _Writing:
    """The chunks of a snapshot during writing: a large snapshot leaves memory piece by piece."""

    def __init__(self, client: Client, store: str, token: str) -> None:
        self._client = client
        self._store = store
        self._token = token
        self._lead: bytes | None = None
        self._inner: list[tuple[int, Chunk]] = []
        self._inner_bytes = 0
        self._leaves: list[Chunk] = []
        self._leaf_bytes = 0
        self._pieces: list[tuple[int, bytes, bytes]] = []  # directory, data, leads: not written yet
        self._waiting_bytes = 0
        self._written: list[_Part] = []
        self._written_leads: list[bytes] = []
        self._objects = 0
        self._size = 0

    def add(self, chunk: Chunk, depth: int | None) -> None:
        """Take a chunk, with its depth if the chunk is on the way to others."""
        if self._lead is None:
            self._lead = keys.lead_of(chunk.address)
        size = len(chunk.data)
        if depth is not None and self._inner_bytes + size <= _INNER_RAW_BYTES:
            self._inner.append((depth, chunk))
            self._inner_bytes += size
            return
        if self._leaves and self._leaf_bytes + size > _LEAF_PIECE_RAW_BYTES:
            self._flush_leaves()
        self._leaves.append(chunk)
        self._leaf_bytes += size

    def finish(self) -> tuple[bytes, list[tuple[_Part, bool]], int]:
        """Write the last data; return the lead, the parts of the index, and the stored bytes of all chunks.

        Each part has a flag: true if the part is read along with the beginning of the index.
        """
        self._flush_leaves()
        inner = []
        top = 0
        upper = [chunk for _, chunk in sorted(self._inner, key=lambda one: one[0])]
        for group in packing.grouped(upper, _INNER_PIECE_RAW_BYTES):
            directory, data = piece_of(group)
            self._size += len(data)
            inner.append((directory, data, leads_of(c.address for c in group), top < _TOP_BYTES))
            top += len(data)
        if self._written or self._waiting_bytes > _ONE_OBJECT_BYTES:
            self._write_out()
        leads = b"".join(
            [*(lead for _, _, lead, _ in inner), *self._written_leads, *(lead for *_, lead in self._pieces)]
        )
        parts: list[tuple[_Part, bool]] = [(("d", leads, None), False)]
        parts += [(("c", data, [directory]), first) for directory, data, _, first in inner]
        parts += [(part, False) for part in self._written]
        parts += [(("c", data, [directory]), False) for directory, data, _ in self._pieces]
        return self._lead or b"", parts, self._size

    def _flush_leaves(self) -> None:
        if self._leaves:
            directory, data = piece_of(self._leaves)
            self._pieces.append((directory, data, leads_of(c.address for c in self._leaves)))
            self._size += len(data)
            self._waiting_bytes += len(data)
            self._leaves, self._leaf_bytes = [], 0
            if self._waiting_bytes > _DATA_BYTES:
                self._write_out()

    def _write_out(self) -> None:
        if not self._pieces:
            return
        key = keys.data_key(self._store, self._token, self._objects)
        start = 0
        for directory, data, leads in self._pieces:
            self._written.append(("c", b"", [directory, key, start, len(data), packing.digest(data).hex()]))
            self._written_leads.append(leads)
            start += len(data)
        self._client.put_new(key, b"".join(data for _, data, _ in self._pieces))
        self._objects += 1
        self._pieces, self._waiting_bytes = [], 0


class Notes:
    """Small records by name and number, each an object.

    Args:
        client: Client for the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ahead: dict[tuple[str, int, int | None], list[tuple[int, bytes]]] = {}

    def expect(self, name: str, first: int, last: int) -> None:
        """Read notes ahead, for the next call of `get` with the same arguments."""
        self._ahead[name, first, last] = list(self.get(name, first, last))

    def put(self, name: str, number: int, data: bytes) -> None:
        """Write a note, over an existing note; a note too large to be read is not written."""
        sealed = _sealed(data)
        if len(sealed) <= LARGEST_NOTE_BYTES:
            self._client.put(keys.note_folder(name) + keys.number_segment(number), sealed)

    def get(self, name: str, first: int, last: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield the notes of a name within a range, in order: a few are read directly, many after a listing."""
        ahead = self._ahead.pop((name, first, last), None)
        if ahead is not None:
            yield from ahead
            return
        folder = keys.note_folder(name)
        if last is not None and last - first < _DIRECT_NOTES:
            numbers = list(range(max(first, 0), last + 1))
        else:
            after = folder + keys.number_segment(first - 1) if first > 0 else None
            listed = (keys.number_of(one.key[len(folder) :]) for one in self._client.listing(folder, after=after))
            numbers = [n for n in listed if n is not None and n >= first and (last is None or n <= last)]
        for start in range(0, len(numbers), 64):
            batch = numbers[start : start + 64]
            got = self._client.get_many([Want(folder + keys.number_segment(n), 0, LARGEST_NOTE_BYTES) for n in batch])
            for number, answer in zip(batch, got, strict=True):
                data = _opened(answer.data) if answer is not None else None
                if data is not None:
                    yield number, data

    def drop(self, name: str) -> int:
        """Remove all notes of a name, and return how many there were."""
        folder = keys.note_folder(name)
        listed = self._client.listing(folder)
        found = [one.key for one in listed if keys.number_of(one.key[len(folder) :]) is not None]
        self._client.delete(found)
        return len(found)

    def names(self) -> list[str]:
        """Return the names with notes, sorted."""
        listed = self._client.listing("note/", folders=True)
        names = (keys.note_name(one.key.removeprefix("note/").rstrip("/")) for one in listed if one.size < 0)
        return sorted(name for name in names if name is not None and self._has(name))

    def _has(self, name: str) -> bool:
        folder = keys.note_folder(name)
        listed = self._client.listing(folder)
        return any(keys.number_of(one.key[len(folder) :]) is not None for one in listed)

    def damaged(self, one: Listed) -> bool:
        """Return whether a note's object was damaged after writing."""
        got = self._client.get(one.key, 0, LARGEST_NOTE_BYTES)
        return got is not None and _opened(got.data) is None


def _sealed(data: bytes) -> bytes:
    return packing.digest(data) + data


def _opened(stored: bytes) -> bytes | None:
    return stored[8:] if packing.digest(stored[8:]) == stored[:8] else None
