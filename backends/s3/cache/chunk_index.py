"""Finding chunks by address: in slots (truth) and in snapshots (caches).

The server has no map from addresses to objects. Each slot, pack and snapshot carries the leads (first bytes)
of the chunks' addresses, so objects show their chunks when read. The root of a state is the first chunk of the
snapshot, and the snapshot's name carries the lead of that address. So a cold reader goes from a listing to the right
snapshot at once. Only if all of this fails, everything is searched.
"""

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kbstore.backends import packing
from kbstore.backends.base import TRUTH, Chunk, Found
from kbstore.backends.packing import ChunkPack
from kbstore.backends.s3.cache.disk_cache import Cache
from kbstore.backends.s3.format.keys import lead_of
from kbstore.backends.s3.format.slot import ChunkPiece, Piece, Run
from kbstore.backends.s3.log.objects import read_pieces
from kbstore.backends.s3.log.reader import Log
from kbstore.backends.s3.transport.client import Client
from kbstore.kit.errors import CorruptStore

_KEPT_BYTES = 24 * 1024 * 1024
_FETCHED_BYTES = 64 * 1024 * 1024
_AHEAD_BYTES = 16 * 1024 * 1024
_AHEAD_PIECES = 8
_DIRECTORY_ENTRY = 36
_LEAD = len(lead_of(bytes(32)))


class Shelf(NamedTuple):
    """Some chunks, stored together.

    Attributes:
        tier: 1 to 3, or `TRUTH`.
        owner: Log and number of the snapshot; None for truth.
        pieces: The pieces, in the order of writing.
    """

    tier: int
    owner: tuple[str, int] | None
    pieces: list[ChunkPiece]


class _Spot(NamedTuple):
    shelf: Shelf
    at: int  # which of its pieces


Search = Callable[[set[bytes], int], bool]
"""Reads more directories, given leads and the count of earlier calls; returns False if no directory is left."""


class Chunks:
    """Knowledge of a process about the place of chunks.

    Args:
        client: Client for the store.
        cache: This machine's cache, or None.
    """

    def __init__(self, client: Client, cache: Cache | None) -> None:
        self._client = client
        self._cache = cache
        self._lock = threading.RLock()
        self._spots: dict[bytes, list[_Spot]] = defaultdict(list)
        self._unread: list[Run] = []
        self._runs_seen: set[str] = set()
        self._undone: OrderedDict[Piece, ChunkPack] = OrderedDict()
        self._undone_bytes = 0
        self._fetched: OrderedDict[Piece, bytes] = OrderedDict()
        self._fetched_bytes = 0
        self._shelves: dict[tuple[str, int], Shelf] = {}
        self.distrust: Callable[[str], bool] = lambda key: False  # noqa: ARG005 - replaced by the backend
        self.search: Search = lambda leads, round_: False  # noqa: ARG005 - replaced by the backend

    # ---- what there is -----------------------------------------------------------------------------------------------

    def saw(self, run: Run) -> None:
        """Take in a slot or pack after reading, so that readers find the chunks."""
        if run.chunks:
            with self._lock:
                if run.key not in self._runs_seen:
                    self._runs_seen.add(run.key)
                    self._unread.append(run)

    def add(self, shelf: Shelf, leads: bytes) -> None:
        """Take in chunks, so that readers find the chunks; `leads` are the leads of the addresses, joined."""
        with self._lock:
            if shelf.owner is not None:
                self._shelves[shelf.owner] = shelf
            start = 0
            for at, piece in enumerate(shelf.pieces):
                spot = _Spot(shelf, at)
                for _ in range(piece.directory_bytes // _DIRECTORY_ENTRY):
                    self._spots[leads[start : start + _LEAD]].append(spot)
                    start += _LEAD

    def drop(self, owner: tuple[str, int]) -> None:
        """Forget the chunks of a snapshot."""
        with self._lock:
            self._shelves.pop(owner, None)
            for lead in [lead for lead, spots in self._spots.items() if any(s.shelf.owner == owner for s in spots)]:
                left = [s for s in self._spots[lead] if s.shelf.owner != owner]
                if left:
                    self._spots[lead] = left
                else:
                    del self._spots[lead]

    def keep(self, piece: Piece, data: bytes) -> None:
        """Keep the bytes of a piece at hand, since another read brought the bytes."""
        self._keep_bytes(piece, data)

    def is_truth(self, address: bytes) -> bool:
        """Return whether a chunk is certainly truth already: the bytes were read or written here."""
        if self._unread:
            self._read_directories()
        with self._lock:
            for spot in self._spots.get(lead_of(address), ()):
                chunk = spot.shelf.pieces[spot.at]
                if spot.shelf.tier == TRUTH and self._at_hand(chunk.piece):
                    pack = self._read([chunk]).get(chunk.piece)
                    if pack is not None and address in pack.addresses:
                        return True
        return False

    # ---- reading -----------------------------------------------------------------------------------------------------

    def get(self, asked: Sequence[bytes], *, in_order: bool) -> Iterator[Found]:
        """Yield the wanted chunks that exist, and their neighbours (`Backend.get_chunks`)."""
        wanted = dict.fromkeys(asked)
        given: set[tuple[Piece, tuple[str, int] | None]] = set()
        gone: set[Piece] = set()
        damaged: CorruptStore | None = None
        turn = 0
        while wanted:
            chosen = self._choose(wanted, gone)
            missing = {lead_of(a) for a in wanted if a not in chosen}
            if missing and not chosen:
                if not (self._read_directories() or self.search(missing, turn)):
                    break
                turn += 1
                continue
            here, wanted_pieces = self._from_cache(chosen), {}
            for address, data in here.items():
                spot = chosen[address]
                del wanted[address]
                yield Found(address, data, spot.shelf.tier, spot.shelf.owner)
            for address, spot in chosen.items():
                if address not in here:
                    wanted_pieces[spot.shelf.pieces[spot.at]] = spot
            if in_order:
                self._fetch_family(wanted_pieces)
                self._look_ahead(wanted_pieces)
            try:
                read = self._read(wanted_pieces.keys())
            except CorruptStore as fault:
                damaged = fault
                read = self._read_each(wanted_pieces)
                for chunk_piece in wanted_pieces:
                    if chunk_piece.piece not in read and self.distrust(chunk_piece.piece.key):
                        turn = 0
            for chunk_piece, spot in wanted_pieces.items():
                pack = read.get(chunk_piece.piece)
                if pack is None:
                    gone.add(chunk_piece.piece)
                    continue
                mark = (chunk_piece.piece, spot.shelf.owner)
                held = set(pack.addresses)
                if any(s is spot and a in wanted and a not in held for a, s in chosen.items()):
                    # The piece has another address with the same lead, so this is not the wanted copy.
                    gone.add(chunk_piece.piece)
                gifts = mark not in given
                given.add(mark)
                for address, data in pack.chunks():
                    if address in wanted and chosen.get(address) is spot:
                        del wanted[address]
                        yield Found(address, data, spot.shelf.tier, spot.shelf.owner)
                    elif gifts and address not in chosen:
                        yield Found(address, data, spot.shelf.tier, spot.shelf.owner)
        if wanted and damaged is not None:
            raise damaged

    def _choose(self, wanted: Iterable[bytes], gone: set[Piece]) -> dict[bytes, _Spot]:
        """Choose a copy of each chunk: at hand, else the most lasting; truth last, since truth is scattered."""
        chosen = {}
        with self._lock:
            for address in wanted:
                spots = [s for s in self._spots.get(lead_of(address), ()) if s.shelf.pieces[s.at].piece not in gone]
                if spots:
                    chosen[address] = max(spots, key=self._worth)
        return chosen

    def _worth(self, spot: _Spot) -> tuple[bool, int, tuple[str, int]]:
        shelf = spot.shelf
        return self._at_hand(shelf.pieces[spot.at].piece), shelf.tier % TRUTH, shelf.owner or ("", 0)

    def _at_hand(self, piece: Piece) -> bool:
        return piece in self._undone or piece in self._fetched

    def _read_directories(self) -> bool:
        """Take in the chunks of slots and packs read so far; return False if nothing is new."""
        with self._lock:
            runs, self._unread = self._unread, []
        if not runs:
            return False
        held: dict[Piece, bytes | None] = {}
        for run in runs:
            if run.leads is not None:
                held[run.leads] = self._held(run, run.leads)
        fetched = self._read_sound([piece for piece, data in held.items() if data is None])
        for run in runs:
            leads = (held[run.leads] or fetched.get(run.leads)) if run.leads is not None else None
            if leads is None:
                continue  # damaged: the chunks are found elsewhere, or are missing when a caller asks for them
            self.add(Shelf(TRUTH, None, run.chunks), leads)
            for chunk in run.chunks:
                data = self._held(run, chunk.piece)
                if data is not None:
                    self._keep_bytes(chunk.piece, data)
        return True

    def _held(self, run: Run, piece: Piece) -> bytes | None:
        try:
            return Log.held(run, piece)
        except CorruptStore:
            self.distrust(run.key)
            return None

    def _read_sound(self, pieces: Sequence[Piece]) -> dict[Piece, bytes | None]:
        """Return the bytes of pieces, without damaged pieces."""
        try:
            return read_pieces(self._client, pieces)
        except CorruptStore:
            found: dict[Piece, bytes | None] = {}
            for piece in pieces:
                try:
                    found.update(read_pieces(self._client, [piece]))
                except CorruptStore:
                    self.distrust(piece.key)
            return found

    def _from_cache(self, chosen: dict[bytes, _Spot]) -> dict[bytes, bytes]:
        with self._lock:
            asked = [a for a, s in chosen.items() if s.shelf.pieces[s.at].piece not in self._undone]
        return self._cache.get(asked) if self._cache is not None and asked else {}

    def _look_ahead(self, wanted: dict[ChunkPiece, _Spot]) -> None:
        """Add some pieces that follow in the order of writing."""
        for spot in list(wanted.values())[:1]:
            for at in range(spot.at + 1, min(spot.at + 1 + _AHEAD_PIECES, len(spot.shelf.pieces))):
                wanted.setdefault(spot.shelf.pieces[at], _Spot(spot.shelf, at))

    def _fetch_family(self, wanted: Mapping[ChunkPiece, _Spot]) -> None:
        """Read ahead at once the pieces for a walk through a whole state: its snapshot and the snapshots below."""
        ahead: list[Piece] = []
        with self._lock:
            if all(self._at_hand(chunk.piece) for chunk in wanted):
                return
            begin: dict[int, tuple[Shelf, int]] = {}
            for spot in wanted.values():
                shelf, at = begin.get(id(spot.shelf), (spot.shelf, spot.at))
                begin[id(shelf)] = (shelf, min(at, spot.at))
                for other in self._shelves.values() if shelf.owner is not None else ():
                    begin.setdefault(id(other), (other, 0))
            size = 0
            for shelf, at in sorted(begin.values(), key=lambda one: one[0].tier):
                for chunk in (*shelf.pieces[at:], *shelf.pieces[:at]):
                    if not self._at_hand(chunk.piece) and size + chunk.piece.size <= _AHEAD_BYTES:
                        ahead.append(chunk.piece)
                        size += chunk.piece.size
        self.fetch(ahead)

    def chunks_of(self, chunk: ChunkPiece, data: bytes | None) -> Iterator[Chunk]:
        """Yield the chunks in a piece, from the piece's bytes if given, else after a read."""
        pack = self._undo(chunk, data) if data is not None else self._read([chunk]).get(chunk.piece)
        if pack is not None:
            yield from pack.chunks()

    def fetch(self, pieces: Iterable[Piece]) -> None:
        """Bring the bytes of pieces into memory."""
        with self._lock:
            missing = [piece for piece in pieces if not self._at_hand(piece)]
        for piece, data in self._read_sound(missing).items():
            if data is not None:
                self._keep_bytes(piece, data)

    def _keep_bytes(self, piece: Piece, data: bytes) -> None:
        with self._lock:
            if piece not in self._fetched:
                self._fetched[piece] = data
                self._fetched_bytes += len(data)
                while self._fetched_bytes > _FETCHED_BYTES and len(self._fetched) > 1:
                    _, dropped = self._fetched.popitem(last=False)
                    self._fetched_bytes -= len(dropped)

    def _read(self, wanted: Collection[ChunkPiece]) -> dict[Piece, ChunkPack]:
        with self._lock:
            found = {c.piece: self._undone[c.piece] for c in wanted if c.piece in self._undone}
            for piece in found:
                self._undone.move_to_end(piece)
            near = {c: self._fetched[c.piece] for c in wanted if c.piece not in found and c.piece in self._fetched}
        for chunk, held in near.items():
            found[chunk.piece] = self._undo(chunk, held)
        if self._cache is not None and near:
            self._cache.put(c for chunk in near for c in found[chunk.piece].chunks())
        missing = {c.piece: c for c in wanted if c.piece not in found}
        for piece, data in read_pieces(self._client, missing).items():
            if data is not None:
                found[piece] = self._undo(missing[piece], data)
                if self._cache is not None:
                    self._cache.put(found[piece].chunks())
        return found

    def _read_each(self, wanted: Iterable[ChunkPiece]) -> dict[Piece, ChunkPack]:
        found: dict[Piece, ChunkPack] = {}
        for chunk in wanted:
            try:
                found.update(self._read([chunk]))
            except CorruptStore:
                continue
        return found

    def _undo(self, chunk: ChunkPiece, data: bytes) -> ChunkPack:
        pack = undo_piece(chunk, data)
        with self._lock:
            if chunk.piece not in self._undone:
                self._undone[chunk.piece] = pack
                self._undone_bytes += len(pack.raw)
                while self._undone_bytes > _KEPT_BYTES and len(self._undone) > 1:
                    _, dropped = self._undone.popitem(last=False)
                    self._undone_bytes -= len(dropped.raw)
        return pack


def undo_piece(chunk: ChunkPiece, data: bytes) -> ChunkPack:
    """Return the chunks of a piece, each checked against the address.

    Raises:
        CorruptStore: A chunk is damaged.
    """
    pack = packing.undo_chunks(data[: chunk.directory_bytes], data[chunk.directory_bytes :], None)
    for address, content in pack.chunks():
        if hashlib.sha256(content).digest() != address:
            raise CorruptStore(f"chunk {address.hex()} in {chunk.piece.key} is damaged", hint="run: kbstore verify")
    return pack


def piece_of(group: Sequence[Chunk]) -> tuple[int, bytes]:
    """Return a piece with the given chunks: length of the directory, and directory and frame."""
    directory = packing.directory_of(group)
    frame = packing.compress(b"".join(c.data for c in group), packing.FRESH_LEVEL)
    return len(directory), directory + frame
