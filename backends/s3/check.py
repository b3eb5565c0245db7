"""Reads every object of a store and reports damage.

Slots are read directly, never through packs. Packs are then compared with the slots, to find a pack that looks sound
but has other content.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kbstore.backends import packing
from kbstore.backends.base import Damage
from kbstore.backends.s3.cache.chunk_index import undo_piece
from kbstore.backends.s3.cache.snapshots import Notes, read_index
from kbstore.backends.s3.format import keys
from kbstore.backends.s3.format.keys import SnapshotName
from kbstore.backends.s3.format.pack import PackId, decode_pack
from kbstore.backends.s3.format.slot import Piece, Place, Run, decode_slot, split_bodies, whole
from kbstore.backends.s3.log import head
from kbstore.backends.s3.log.manifest import listed_packs
from kbstore.backends.s3.log.objects import checked, read_pieces
from kbstore.backends.s3.transport.client import Client, Got, Listed, Want
from kbstore.kit.errors import CorruptStore, StoreUnavailable

_AT_ONCE = 32
_MOST_FOREIGN = 20
_Records = dict[int, tuple[bytes, bytes]]


def damage_of_store(client: Client, notes: Notes, store: str) -> Iterator[Damage]:
    """Yield all damage of a store."""
    for one in client.listing("log/", folders=True):
        if keys.log_of(one.key.removeprefix("log/").rstrip("/")) is None:
            yield Damage(f"{one.key} is not a log", cache=True)
    for log in sorted(logs_below(client, ("hint", "pack", "snap", "log"))):
        records: _Records = {}
        # Before the slots, so that all slots that packs and hints name are read.
        packs = listed_packs(client, log)
        promises = _promises(client, log, packs)
        end = _End()
        places: dict[int, Place] = {}
        yield from _slots(client, log, records, places, end)
        if (lost := _lost(log, promises, end)) is not None:
            yield lost
        yield from _packs(client, log, packs, records, places)
        yield from _snapshots(client, log)
        yield from _hint(client, log)
    yield from _blobs(client)
    for one in client.listing("note/"):
        if notes.damaged(one):
            yield Damage(f"the note {one.key} is damaged", cache=True)
    yield from _foreign(client, store)


def logs_below(client: Client, kinds: Iterable[str]) -> set[str]:
    """Return the logs with objects of the given kinds: slots, packs, hints, snapshots."""
    found = (
        one.key.partition("/")[2].rstrip("/") for kind in kinds for one in client.listing(f"{kind}/", folders=True)
    )
    return {log for log in map(keys.log_of, found) if log is not None}


@dataclass(slots=True)
class _End:
    """Newest listed slot, last record of the newest readable slot, and whether later slots could not be read."""

    slot: int = 0
    record: int = 0
    unread: bool = False


class _Promises(NamedTuple):
    """Slots and records that caches name: a slot for each kind of cache, and the newest record with a snapshot."""

    slots: dict[str, int]
    record: int


def _promises(client: Client, log: str, packs: list[tuple[str, int | None, str]]) -> _Promises:
    got = client.get(keys.hint_key(log))
    hinted = head.decode_hint(log, got.data).slot if got is not None else 0
    packed = max((PackId(log, tier, at).slots[-1] for tier, at, _ in packs if at is not None), default=0)
    folder = f"snap/{keys.log_segment(log)}/"
    names = (keys.snapshot_of(one.key[len(folder) :]) for one in client.listing(folder))
    record = max((name.number for name in names if name is not None), default=0)
    return _Promises({"its hint names": hinted, "its packs hold": packed}, record)


def _lost(log: str, promises: _Promises, end: _End) -> Damage | None:
    """Return the damage if caches name a missing slot or record: caches are written after the slots."""
    what, slot = max(promises.slots.items(), key=lambda one: one[1])
    if slot > end.slot:
        told = f"{what} slot {slot}"
    elif promises.record > end.record and not end.unread:
        told = f"a snapshot is of record {promises.record}"
    else:
        return None
    where = f"ends at slot {end.slot}" if end.slot else "has no slot"
    return Damage(
        f"log {log} {where}, but {told}: slots are missing (kbstore salvage saves what caches hold of them)",
        cache=False,
    )


def _foreign(client: Client, store: str) -> Iterator[Damage]:
    """Yield objects of other origin below the store's prefix; ``gc`` leaves such objects alone."""
    ours = {keys.MARKER, *(f"{kind}/" for kind in keys.KINDS)}
    found = [one.key for one in client.listing("", folders=True) if one.key not in ours]
    for kind in ("data", "trash"):
        own = f"{kind}/{store}/"
        found += [one.key for one in client.listing(f"{kind}/", folders=True) if one.key != own]
    for key in found[:_MOST_FOREIGN]:
        yield Damage(f"{key} is not of this store, and is left alone", cache=False, note=True)
    if len(found) > _MOST_FOREIGN:
        yield Damage(f"{len(found) - _MOST_FOREIGN} more are not of this store", cache=False, note=True)


def _slots(client: Client, log: str, records: _Records, places: dict[int, Place], end: _End) -> Iterator[Damage]:
    folder = f"log/{keys.log_segment(log)}/"
    expected = number = 1
    mark: str | None = ""
    # Damage of slots after the last readable slot: only the next readable slot shows which records they held.
    unread: list[Damage] = []
    for batch in _batches(client.listing(folder)):
        got = client.get_many([Want(one.key) for one in batch])
        for one, answer in zip(batch, got, strict=True):
            slot = keys.number_of(one.key[len(folder) :])
            if slot is None:
                yield Damage(f"{one.key} is not a slot", cache=True)
                continue
            if slot != expected and client.get(keys.slot_key(log, expected)) is None:  # a listing may lag
                unread.append(Damage(f"slots {expected} to {slot - 1} of log {log} are missing", cache=False))
            mark = mark if slot == expected else None
            expected, end.slot = slot + 1, slot
            run, damage = _read_slot(client, log, slot, answer, records)
            if run is None:
                unread, mark = [*unread, *damage], None
                continue
            yield from (found._replace(records=(log, number, run.first - 1)) for found in unread)
            if mark is not None and run.before != mark:
                yield Damage(
                    f"slot {slot} of log {log} was not written behind slot {slot - 1} as it is there: it was replaced",
                    cache=False,
                )
            if run.first != number and not unread:
                yield Damage(f"slot {slot} of log {log} begins with record {run.first}, not {number}", cache=False)
            places[slot] = run.places[0]
            unread, number, mark = [], run.last + 1, run.mark
    end.record, end.unread = number - 1, bool(unread)
    yield from (found._replace(records=(log, number, number + len(unread) - 1)) for found in unread)


def damage_of_slot(client: Client, log: str, slot: int) -> Iterator[Damage]:
    """Yield the damage of a slot."""
    _, damage = _read_slot(client, log, slot, client.get(keys.slot_key(log, slot)), {})
    yield from damage


def _read_slot(
    client: Client, log: str, slot: int, answer: Got | None, records: _Records
) -> tuple[Run | None, list[Damage]]:
    try:
        if answer is None:
            raise CorruptStore(f"slot {slot} of log {log} is missing")
        run = whole(lambda _: b"", lambda data: decode_slot(log, slot, data), answer.data)
        if len(answer.data) != run.size:
            raise CorruptStore(f"slot {slot} of log {log} has {len(answer.data)} bytes, not {run.size}")
        _read_all(client, run, records)
    except CorruptStore as fault:
        return None, [Damage(str(fault), cache=False)]
    return run, []


def _packs(
    client: Client,
    log: str,
    packs: list[tuple[str, int | None, str]],
    records: _Records,
    places: Mapping[int, Place],
) -> Iterator[Damage]:
    for tier, index, key in packs:
        got = client.get(key)
        if index is None:
            yield Damage(f"{key} is not a pack", cache=True)
        elif got is not None:  # else the pack was removed meanwhile
            try:
                ident = PackId(log, tier, index)
                run = whole(lambda _: b"", lambda data, i=ident: decode_pack(i, data), got.data)  # type: ignore[misc]
                if len(got.data) != run.size:
                    raise CorruptStore(f"{key} has {len(got.data)} bytes, not {run.size}")
                told: _Records = {}
                _read_all(client, run, told)
            except CorruptStore as fault:
                yield Damage(str(fault), cache=True)
                continue
            if (other := _other(run, told, records, places, tier)) is not None:
                # Readers trust a pack like the slots, so this damage is not a harmless fault of a cache.
                what = f"{key} does not have {other}: versions are read otherwise than they were committed"
                yield Damage(f"{what} (remove this object: it only repeats what slots hold)", cache=False)


def _other(run: Run, told: _Records, records: _Records, places: Mapping[int, Place], tier: str) -> str | None:
    """Return the difference between a pack and the slots; None if equal. Unreadable slots were reported before."""
    for number in range(run.first, run.last + 1):
        if number in records:
            header, body = records[number]
            mine = told.get(number, (b"", b""))
            if (tier != "b" and mine[0] != header) or (tier != "h" and mine[1] != body):
                return f"record {number} as its slot has it"
    for place in run.places:
        there = places.get(place.slot, place)
        if place[:3] != there[:3] or (tier != "b" and place.writes != there.writes):
            return f"the records of slot {place.slot} as the slot has them"
    return None


def _read_all(client: Client, run: Run, records: _Records) -> None:
    """Decode all content of a run, and add digests of the records to `records`.

    Raises:
        CorruptStore: Something is missing or damaged.
    """
    headers = [digest_of(h) for h in run.headers] or [b""] * len(run.sizes)
    bodies = [b""] * len(run.sizes)
    pieces = {group.piece for group in run.bodies} | {chunk.piece for chunk in run.chunks}
    content = _content(client, run, pieces | ({run.leads} if run.leads is not None else set()))
    for group in run.bodies:
        begin = group.first - run.first
        sizes = run.sizes[begin : begin + group.records]
        raw = split_bodies(sizes, content[group.piece], run.key)
        bodies[begin : begin + group.records] = map(digest_of, raw)
    leads = b""
    for chunk in run.chunks:
        pack = undo_piece(chunk, content[chunk.piece])
        leads += b"".join(map(keys.lead_of, pack.addresses))
    if run.leads is not None and content[run.leads] != leads:
        raise CorruptStore(f"the list of chunks in {run.key} is not of its chunks")
    records.update(zip(range(run.first, run.last + 1), zip(headers, bodies, strict=True), strict=True))


def _content(client: Client, run: Run, pieces: set[Piece]) -> dict[Piece, bytes]:
    found: dict[Piece, bytes] = {}
    outside = []
    for piece in pieces:
        if piece.key == run.key:
            found[piece] = checked(piece, run.held[piece.start : piece.start + piece.size])
        else:
            outside.append(piece)
    for piece, data in read_pieces(client, outside).items():
        if data is None:
            raise CorruptStore(f"{piece.key}, which {run.key} refers to, is missing")
        found[piece] = data
    return found


def _snapshots(client: Client, log: str) -> Iterator[Damage]:
    folder = f"snap/{keys.log_segment(log)}/"
    for one in client.listing(folder):
        name = keys.snapshot_of(one.key[len(folder) :])
        if name is None:
            yield Damage(f"{one.key} is not a snapshot", cache=True)
            continue
        got = client.get(one.key)
        if got is None:
            continue  # withdrawn since it was listed
        try:
            _read_snapshot(client, log, one.key, name, got.data)
        except CorruptStore as fault:
            if client.get(one.key) is not None:  # else it was withdrawn meanwhile, and its data may be gone
                yield Damage(f"the snapshot of record {name.number} of log {log} is damaged: {fault}", cache=True)


def _read_snapshot(client: Client, log: str, key: str, name: SnapshotName, index: bytes) -> None:
    """Decode all content of a snapshot.

    Raises:
        CorruptStore: Something is missing or damaged.
    """
    pieces, leads = read_index(key, name, index, log)
    told = b""
    for chunk in pieces:
        piece = chunk.piece
        data: bytes | None = index[piece.start : piece.start + piece.size]
        if piece.key != key:
            data = read_pieces(client, [piece])[piece]
        if data is None:
            raise CorruptStore(f"{piece.key}, which the snapshot at record {name.number} needs, is missing")
        pack = undo_piece(chunk, checked(piece, data))
        told += b"".join(map(keys.lead_of, pack.addresses))
    if told != leads:
        raise CorruptStore(f"the list of chunks in {key} is not of its chunks")


def _hint(client: Client, log: str) -> Iterator[Damage]:
    got = client.get(keys.hint_key(log))
    if got is not None and head.decode_hint(log, got.data) == head.NO_HINT:
        yield Damage(f"the hint of log {log} is damaged", cache=True)


def _blobs(client: Client) -> Iterator[Damage]:
    for one in client.listing("blob/"):
        got = client.get(one.key)
        if got is None:
            raise StoreUnavailable(f"{one.key} cannot be read")
        if hashlib.sha256(got.data).hexdigest() != one.key.removeprefix("blob/"):
            yield Damage(f"{one.key} does not match its name", cache=False)


def _batches(listed: Iterator[Listed]) -> Iterator[list[Listed]]:
    batch: list[Listed] = []
    for one in listed:
        batch.append(one)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def digest_of(data: bytes) -> bytes:
    """Return a digest to distinguish records here."""
    return packing.digest(data)
