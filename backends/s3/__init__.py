"""Stores on S3 and compatible servers: one bucket, many writers, no server of our own and no lock.

`S3Backend` combines the parts: requests (`transport`), logs and their head (`log`), the commit (`log.append`), packs
(`log.compactor`), chunks, snapshots and notes (`cache`), and `collect` and `check` for all parts. docs/s3.md lists what
a server must keep; docs/format.md describes the objects.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kbstore.backends.base import (
    NOTHING,
    TRUTH,
    Chunk,
    Collection,
    Damage,
    Found,
    Record,
    Snapshot,
    StoredRecord,
    Tail,
)
from kbstore.backends.names import check_address, check_log, check_note, check_write_id
from kbstore.backends.s3 import probe
from kbstore.backends.s3.cache import gc
from kbstore.backends.s3.cache.chunk_index import Chunks
from kbstore.backends.s3.cache.disk_cache import Cache
from kbstore.backends.s3.cache.snapshots import Notes, Snapshots
from kbstore.backends.s3.check import damage_of_store, logs_below
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.slot import FIRST_BYTES, decode_slot, encode_slot
from kbstore.backends.s3.log.append import create_slot, put_blob
from kbstore.backends.s3.log.compactor import Keeper
from kbstore.backends.s3.log.head import read_hint
from kbstore.backends.s3.log.reader import Log
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import Chance, SystemChance
from kbstore.backends.s3.transport.url import Options, parse_location
from kbstore.kit.errors import BackendError, CorruptStore, ReadOnlyStore, SlotTaken, StoreUnavailable
from kbstore.kit.forks import tell_of_forks

__all__ = ["S3Backend", "create", "open_existing"]

_MOST_EXPECTED_BYTES = 1024 * 1024
_inherited: list[Cache | None] = []
"""Caches of a parent process."""
_FIRST_LOG = "main"
"""The log for which a store is nearly always opened: the hint is read along with the marker."""


def create(location: str, mode: int = 0o666, *, insecure: bool = False) -> "S3Backend":  # noqa: ARG001 - the mode is for files
    """Make and open an empty store (`backends.create_backend`)."""
    options = replace(parse_location(location), insecure=insecure)
    chance = SystemChance()
    client = Client(options, chance)
    try:
        store = probe.begin_store(client, chance.token())
    except BaseException:
        client.close()
        raise
    return S3Backend(options, chance=chance, client=client, store=store)


def open_existing(location: str, *, read_only: bool = False, insecure: bool = False) -> "S3Backend":
    """Open the store at a URL (`backends.open_backend`)."""
    return S3Backend(replace(parse_location(location), insecure=insecure), read_only=read_only)


class S3Backend:
    """A store on S3, as `kbstore.backends.base.Backend` describes.

    Threads share a store; after a fork, the child uses new connections.

    Attributes:
        client: The store's requests, for tools that count requests.
    """

    def __init__(
        self,
        options: Options,
        *,
        read_only: bool = False,
        chance: Chance | None = None,
        client: Client | None = None,
        store: str | None = None,
    ) -> None:
        self._options = options
        self._chance = chance or SystemChance()
        self.client = client or Client(options, self._chance)
        self._read_only = read_only
        self._closed = False
        self._proven = store is not None
        self._confirmed = False
        self._recalling = False
        self._stopped = ""
        self._cache: Cache | None = None
        hint = None
        if store is None:
            try:
                hint = self.client.submit(lambda: read_hint(self.client, _FIRST_LOG))
                above = self.client.submit(lambda: probe.warn_of_outer(self.client))
                store = probe.read_marker(self.client)
                above()
            except BaseException:
                self.client.close()
                raise
        self._store = store
        self._begin()
        tell_of_forks(self)
        if hint is not None:
            try:
                self._log(_FIRST_LOG).hint = hint()
            except BaseException:
                self.client.close()
                raise

    def _begin(self) -> None:
        """Start without any knowledge of the store."""
        self._lock = threading.RLock()
        self._logs: dict[str, Log] = {}
        self._keepers: dict[str, Keeper] = {}
        self._wrote: set[str] = set()
        folder = self._options.cache_folder()
        self._cache = Cache(folder, int(self._options.cache_mb * 1e6)) if folder is not None else None
        self._chunks = Chunks(self.client, self._cache)
        self._chunks.search = self._search
        self._chunks.distrust = self._distrust
        self._snapshots = Snapshots(self.client, self._chunks, self._store)
        self._notes = Notes(self.client)
        self._searched: dict[str, int] = {}

    def after_fork(self) -> None:
        """Start without any knowledge, since the parent's threads are missing here (`kbstore.kit.forks.Forked`)."""
        # The cache stays open: closing the file here would also release the parent's SQLite locks.
        _inherited.append(self._cache)
        self._begin()

    @property
    def location(self) -> str:
        """Return the URL of the store, without secrets."""
        return self._options.location

    @property
    def read_only(self) -> bool:
        """Return True if every writing method raises `ReadOnlyStore`."""
        return self._read_only

    @property
    def shares_slots(self) -> bool:
        """Return True, unless the URL says ``group=false``."""
        return self._options.group

    @property
    def remote(self) -> bool:
        """Return True: chunks missing from a snapshot would be read from as many slots as wrote the chunks."""
        return True

    def server_time(self) -> datetime | None:
        """Return the present by the server's clock (`Backend.server_time`)."""
        return self.client.server_time()

    def expect(
        self,
        log: str,
        *,
        listing: bool = False,
        snapshot: int | None = None,
        bodies: Sequence[int] = (),
        notes: tuple[str, int, int] | None = None,
    ) -> None:
        """Fetch the announced data, all at once (`Backend.expect`)."""
        self._check_open()
        if listing:
            self._snapshots.expect_list(log)
        jobs: list[Callable[[], object]] = []
        if snapshot is not None:
            jobs.append(lambda: self._snapshots.open_number(log, snapshot))
        if bodies:
            jobs.append(lambda: self._expect_bodies(log, bodies))
        if notes is not None:
            jobs.append(lambda: self._notes.expect(*notes))
        waiting = [self.client.submit(job) for job in jobs[1:]]
        for job in (*jobs[:1], *waiting):
            try:
                job()
            except BackendError:  # the real read will raise the error
                continue

    # ---- logs --------------------------------------------------------------------------------------------------------

    def append(
        self,
        log: str,
        slot: int,
        records: Sequence[Record],
        *,
        write_id: str,
        chunks: Sequence[Chunk] = (),
        writes: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Create slot `slot` of `log` (`Backend.append`). Warm and uncontended, this is one request."""
        self._check_writable()
        state = self._log(check_log(log))
        writes = writes or [(write_id, len(records))]
        for ident, _ in writes:
            check_write_id(ident)
        if not records or sum(count for _, count in writes) != len(records) or writes[0][0] != write_id:
            raise ValueError("a slot holds at least one record, and each belongs to one write")
        known = state.known if state.known.slot else state.tail()
        if slot > known.slot + 1:
            known = state.tail()
        if state.damaged is not None:
            raise state.damaged  # the number of the next record is not known
        if slot != known.slot + 1 or slot >= keys.NUMBER_LIMIT:
            raise _taken(log, slot, known.slot)
        state.chain.require_whole()
        if slot == 1:
            state.chain.require_nothing()
        self._require_conditions()
        fresh = [chunk for chunk in chunks if not self._chunks.is_truth(chunk.address)]
        written = encode_slot(log, slot, known.number + 1, records, fresh, writes, state.mark(known.slot))
        self.client.map(lambda blob: put_blob(self.client, *blob), list(written.blobs.items()))
        key = keys.slot_key(log, slot)
        there = create_slot(self.client, key, written.data, write_id=write_id, look_bytes=FIRST_BYTES)
        if there is not None:
            state.lost(slot, there)
            state.chain.require_whole()
            raise _taken(log, slot, state.known.slot)
        self._confirm(key, written.data)
        state.landed(decode_slot(log, slot, written.data))
        self._wrote.add(log)
        self._keeper(log).landed(state.known)

    def tail(self, log: str, *, fresh: bool = True) -> Tail:
        """Return the newest slot and record number (`Backend.tail`). Warm, this is one request."""
        self._check_open()
        return self._log(check_log(log)).tail(fresh=fresh)

    def look(self, log: str) -> Callable[[], Tail]:
        """Begin to look for the end of a log (`Backend.look`)."""
        self._check_open()
        return self.client.submit(self._log(check_log(log)).tail)

    def logs(self) -> list[str]:
        """Return the names of all logs, sorted (`Backend.logs`)."""
        self._check_open()
        kinds = ("log", "pack") if self._recalling else ("log",)
        return sorted(logs_below(self.client, kinds))

    def recalled(self) -> "S3Backend":
        """Return a handle that also reads the records of lost slots from caches (`Backend.recalled`)."""
        self._check_open()
        found = S3Backend(self._options, read_only=True, chance=self._chance, client=self.client, store=self._store)
        found._recalling = True
        return found

    def read(
        self, log: str, first: int = 1, last: int | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredRecord]:
        """Yield the headers of a range of records (`Backend.read`)."""
        self._check_open()
        return self._log(check_log(log)).read(first, last, newest_first=newest_first)

    def bodies(self, log: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bodies of these records (`Backend.bodies`)."""
        self._check_open()
        return self._log(check_log(log)).bodies(numbers)

    def find_write(self, log: str, write_id: str, *, after: int | None = None) -> tuple[int, int] | None:
        """Return the first and last record of a write, or None (`Backend.find_write`)."""
        self._check_open()
        return self._log(check_log(log)).find_write(write_id, after)

    # ---- chunks ------------------------------------------------------------------------------------------------------

    def get_chunks(self, addresses: Iterable[bytes], *, in_order: bool = False) -> Iterator[Found]:
        """Yield the wanted chunks and their neighbours (`Backend.get_chunks`)."""
        self._check_open()
        return self._chunks.get(list(map(check_address, addresses)), in_order=in_order)

    def put_snapshot(
        self,
        log: str,
        number: int,
        *,
        tier: int,
        note: bytes,
        chunks: Iterable[Chunk],
        requires: Mapping[int, bytes] = NOTHING,
    ) -> bool:
        """Cache chunks as a snapshot (`Backend.put_snapshot`)."""
        self._check_writable()
        state = self._log(check_log(log))
        if not 1 <= tier < TRUTH:
            raise ValueError(f"a snapshot's tier is 1, 2 or 3, not {tier}")
        if number < 1 or (number > state.known.number and number > state.tail().number):
            raise ValueError(f"log {log} has no record {number} to snapshot")
        token = self._chance.token()
        truth = self._truth_since(log, max(requires) + 1, number) if requires else ()
        return self._snapshots.put(
            log, number, tier=tier, note=note, chunks=_each_once(chunks, truth), requires=requires, token=token
        )

    def snapshots(self, log: str) -> list[Snapshot]:
        """Return all snapshots of a log (`Backend.snapshots`)."""
        self._check_open()
        return self._snapshots.all(check_log(log))

    def drop_snapshots(self, log: str, numbers: Iterable[int]) -> int:
        """Drop snapshots (`Backend.drop_snapshots`)."""
        self._check_writable()
        return self._snapshots.drop(check_log(log), numbers)

    # ---- notes -------------------------------------------------------------------------------------------------------

    def put_note(self, name: str, number: int, data: bytes) -> None:
        """Cache a small record (`Backend.put_note`)."""
        self._check_writable()
        self._notes.put(check_note(name), number, data)

    def notes(self, name: str, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the cached records of a name (`Backend.notes`)."""
        self._check_open()
        return self._notes.get(check_note(name), first, last)

    def drop_notes(self, name: str) -> int:
        """Drop cached records (`Backend.drop_notes`)."""
        self._check_writable()
        return self._notes.drop(check_note(name))

    def note_names(self) -> list[str]:
        """Return the names with cached notes (`Backend.note_names`)."""
        self._check_open()
        return self._notes.names()

    # ---- care --------------------------------------------------------------------------------------------------------

    def collect(self, keep: Mapping[str, Iterable[int]], *, dry_run: bool = False) -> Collection:
        """Drop snapshots, and make due packs (`Backend.collect`)."""
        self._check_open()
        if not dry_run:
            self._check_writable()
        before = gc.size_bytes(self.client)
        logs = self.logs()
        for log in logs_below(self.client, ("log", "pack", "hint", "snap")):
            # If slots are gone, only caches still have their content, so nothing is dropped.
            if not self._log(log).tail().slot:
                self._log(log).chain.require_nothing()
            self._log(log).chain.require_whole()
        plan = gc.plan_collection(self.client, self._snapshots, self._store, logs, keep)
        if dry_run:
            packed = sum(self._keeper(log).due_records() for log in logs)
            return gc.result_of(plan, packed, before, None, {})
        kept = gc.run_plan(self.client, self._snapshots, plan, self._store, self._chance.token)
        packed = 0
        for log in logs:
            self._keeper(log).settle()
            self._log(log).tail()
            packed += self._keeper(log).keep_up(keys.NUMBER_LIMIT)
        return gc.result_of(plan, packed, before, gc.size_bytes(self.client), kept)

    def check(self) -> Iterator[Damage]:
        """Read every object and report damage (`Backend.check`)."""
        self._check_open()
        return damage_of_store(self.client, self._notes, self._store)

    def intact(self, log: str, number: int) -> bool:  # noqa: ARG002 - an object whose bytes changed is not read
        """Return True: objects are checked on each read, so a header that can be read is intact (`Backend.intact`)."""
        return True

    def size_bytes(self) -> int:
        """Return the bytes of all objects."""
        self._check_open()
        return gc.size_bytes(self.client)

    def settle(self) -> None:
        """Wait until all packs and hints in progress are written."""
        for keeper in list(self._keepers.values()):
            keeper.settle()

    def close(self) -> None:
        """Finish background work and end the threads (`Backend.close`)."""
        if self._closed:
            return
        self._closed = True
        logs = list(self._logs.values())
        for log in logs:
            if log.name in self._wrote or (log.told_too_little and not self._read_only):
                self._keeper(log.name).close()
        if self._cache is not None:
            self._cache.close()
        if not self._recalling:  # a recalled handle uses the client of the handle that made it
            self.client.close()
        for log in logs:
            if log.chain.lost:  # an acknowledged commit is gone, and this is the last moment to report the loss
                log.chain.require_whole()

    # ---- within ------------------------------------------------------------------------------------------------------

    def _log(self, log: str) -> Log:
        with self._lock:
            if log not in self._logs:
                self._logs[log] = Log(self.client, log, self._chunks.saw, recalling=self._recalling)
            return self._logs[log]

    def _keeper(self, log: str) -> Keeper:
        with self._lock:
            if log not in self._keepers:
                self._keepers[log] = Keeper(self.client, self._log(log))
            return self._keepers[log]

    def _search(self, leads: set[bytes], turn: int) -> bool:
        """Read more directories: of the likely snapshots, then of all slots, then of all snapshots."""
        if turn == 0:
            self._snapshots.open_likely(list(self._logs), leads)
            return True
        logs = self.logs()
        if turn == 1:
            for name in logs:
                log = self._log(name)
                tail = log.tail()
                done = self._searched.get(name, 0)
                if tail.number > done:
                    log.load(log.cover(done + 1, tail.number, bodies=True), gaps=True)
                    self._searched[name] = tail.number
            return True
        if turn == 2:
            self._snapshots.open_all(logs)
            return True
        return False

    def _distrust(self, key: str) -> bool:
        """Stop reading the pack of a damaged piece, so that slots are read instead; return False if nothing changed."""
        with self._lock:
            logs = list(self._logs.values())
        for log in logs:
            if log.distrust(key):
                self._searched.pop(log.name, None)
                return True
        return False

    def _expect_bodies(self, log: str, numbers: Sequence[int]) -> None:
        """Read bodies ahead, and the chunks from the same writes: the bodies probably name the chunks."""
        runs = self._log(log).expect(numbers)
        pieces = [chunk.piece for run in runs for chunk in run.chunks if Log.held(run, chunk.piece) is None]
        if sum(piece.size for piece in pieces) <= _MOST_EXPECTED_BYTES:
            self._chunks.fetch(pieces)

    def _truth_since(self, log: str, first: int, last: int) -> Iterator[Chunk]:
        """Yield the chunks written with these records, to complete a snapshot that builds on earlier snapshots."""
        if first <= last:
            state = self._log(log)
            runs = state.load(state.with_chunks(first, last))
            chunks = [(run, chunk) for run in runs for chunk in run.chunks]
            self._chunks.fetch(chunk.piece for run, chunk in chunks if Log.held(run, chunk.piece) is None)
            for run, chunk in chunks:
                yield from self._chunks.chunks_of(chunk, Log.held(run, chunk.piece))

    def _confirm(self, key: str, data: bytes) -> None:
        """Read back the first slot of this process; if the bytes are not as sent, nothing more is written.

        Raises:
            StoreUnavailable: The bytes differ.
        """
        if self._confirmed:
            return
        try:
            there = self.client.get(key, 0, FIRST_BYTES)
        except CorruptStore:
            there = None
        except BackendError:  # the commit landed; the next commit is read back
            return
        self._confirmed = True
        if there is None or there.size != len(data) or there.data != data[:FIRST_BYTES]:
            self._stopped = f"{key} in {self._options.place} is not what this process wrote"
            self._check_writable()

    def _require_conditions(self) -> None:
        """Check, before the first write of this process, that the server still keeps the promises."""
        if not self._proven:
            probe.require_still(self.client)
            if not probe.is_known_server(self.client):
                probe.require_sound_server(self.client, self._chance.token())
            self._proven = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store {self._options.place} is closed", hint="open it again")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise ReadOnlyStore(f"the store {self._options.place} was opened read-only", hint="open it for writing")
        if self._stopped:
            raise StoreUnavailable(
                f"nothing more is written: {self._stopped}",
                hint="run kbstore verify, and see in docs/s3.md what the server must keep",
            )


def _each_once(*groups: Iterable[Chunk]) -> Iterator[Chunk]:
    seen: set[bytes] = set()
    for chunk in itertools.chain(*groups):
        if chunk.address not in seen:
            seen.add(chunk.address)
            yield chunk


def _taken(log: str, slot: int, newest: int) -> SlotTaken:
    return SlotTaken(
        f"slot {slot} of log {log} cannot be written: the newest is {newest}",
        hint="read what was written, then try with the next slot",
    )
