"""Checks of stored bytes: the chain of events, the snapshots, every byte.

A round must be short, and a history may be long. So `store.chain` continues after the events checked before, and reads
some old events again at random. `store.bytes` reads everything if the store is small enough. ``kbstore verify`` proves
the whole store.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kbstore.health.checks import built_in, spell
from kbstore.health.context import Context
from kbstore.health.model import Result

if TYPE_CHECKING:
    from kbstore.history.branch import Entry, Line
    from kbstore.history.snapshots import Note
    from kbstore.store import Store

_VERIFY = "run: kbstore verify"
_WHOLE_BYTES = 64 * 1024 * 1024
_AT_ONCE = 256
_REMOTE_SAMPLE = 4
"""Old events to read again on a server, where each event costs more requests."""


@built_in(
    "store.chain",
    tags={"deep"},
    timeout=20,
    every=300,
    needs=("store.reachable",),
    fall=1,
    thresholds=("chain_sample", "chain_batch"),
)
def chain(ctx: Context) -> Result:
    """Each event names the event before it and has its committed patch; all new and some old events are checked."""
    with ctx.open_store() as store:
        line = store.line
        _, newest = line.tail()
        about = f"{store.location}#{store.branch}"
        remembered = ctx.remembered if ctx.remembered.get("store") == about else {}
        seq, known = int(remembered.get("seq", 0)), remembered.get("id")
        if seq > newest:
            return Result.unhealthy(f"the history ends at v{newest}, but v{seq} was there before", hint=_VERIFY)
        if seq and line.entry(seq).id != known:
            return Result.unhealthy(f"v{seq} is not the version of that number that was there before", hint=_VERIFY)
        last = min(newest, seq + ctx.thresholds.chain_batch)
        sample = min(ctx.thresholds.chain_sample, _REMOTE_SAMPLE if ctx.is_remote else seq)
        old = pick(range(1, seq + 1), sample, ctx.clock.token())
        problem = next(_new_problems(line, seq, known, last), None) or next(_old_problems(line, old, newest), None)
        if problem is not None:
            return Result.unhealthy(problem, hint=_VERIFY)
        remember = {"store": about, "seq": last, "id": line.entry(last).id if last else None}
    text = f"{last - seq} new and {len(old)} old events are whole"
    if last < newest:
        text += f"; v{last + 1} to v{newest} follow in the next rounds"
    metrics = {"checked_total": last, "behind_total": newest - last}
    return Result.healthy(text, metrics=metrics, remember=remember)


def _new_problems(line: "Line", seq: int, parent: str | None, last: int) -> Iterator[str]:
    for first in range(seq + 1, last + 1, _AT_ONCE):
        until = min(first + _AT_ONCE - 1, last)
        bodies = dict(line.bodies(range(first, until + 1)))
        expected = first
        for entry in line.entries(first, until):
            if entry.event.seq != expected:
                break
            if (entry.event.parents[0] if entry.event.parents else None) != parent:
                yield f"v{expected} does not name the version before it as its parent"
            yield from _own_problems(entry, bodies.get(expected))
            parent = entry.id
            expected += 1
        if expected != until + 1:
            yield f"the record of v{expected} is missing"


def _old_problems(line: "Line", seqs: list[int], newest: int) -> Iterator[str]:
    bodies = dict(line.bodies(seqs)) if seqs else {}
    for seq in seqs:
        entry = line.entry(seq)
        yield from _own_problems(entry, bodies.get(seq))
        if seq < newest and line.entry(seq + 1).event.parents[:1] != (entry.id,):
            yield f"v{seq + 1} does not name the version before it as its parent"


def _own_problems(entry: "Entry", body: bytes | None) -> Iterator[str]:
    if entry.event.encode() != entry.header:
        yield f"the header of v{entry.event.seq} is not in canonical form"
    if body is None or sha256(body).hexdigest() != entry.event.patch:
        yield f"the patch of v{entry.event.seq} is missing or is not the one that was committed"


@built_in(
    "store.snapshot",
    tags={"deep"},
    timeout=20,
    every=900,
    needs=("store.reachable",),
    impact="degraded",
    remedy=("kbstore", "gc"),
    thresholds=("snapshot_replay_events",),
)
def snapshot(ctx: Context) -> Result:
    """Each snapshot holds the state that its event names; replaying the events to a random snapshot confirms this."""
    from kbstore.errors import CorruptStore, DamagedVersion

    with ctx.open_store() as store:
        found = _snapshots(store)
        while found and None not in found.values():
            (seq,) = pick(sorted(found), 1, ctx.clock.token())
            before = max((other for other in found if other < seq), default=0)
            try:
                return _compared(store, found, before, seq, ctx.thresholds.snapshot_replay_events)
            except DamagedVersion:
                raise
            except CorruptStore as fault:
                there, found = found, _snapshots(store)
                if all(there.get(each) == found.get(each) for each in (before, seq)):
                    return _cache(f"the snapshot at v{seq} is damaged: {fault}")
                # Another process dropped a snapshot while this process read it.
    if not found:
        return Result.healthy("there are no snapshots; every state is replayed")
    wrong = min(seq for seq, one in found.items() if one is None)
    return _cache(f"the snapshot at v{wrong} is not of the state that its event names")


def _snapshots(store: "Store") -> "dict[int, Note | None]":
    """Return the snapshots that readers use, by version; None for a snapshot of a wrong document."""
    from kbstore.history.snapshots import read_note, usable

    found: dict[int, Note | None] = {}
    for segment in store.line.segments:
        there = store.backend.snapshots(segment.log)
        used = {each.snapshot for each in usable(there)}
        for one in there:
            seq = segment.offset + one.number
            if segment.last is not None and seq > segment.last:
                continue
            note = read_note(one)
            if note is None or store.line.entry(seq).event.state != note.root.hex():
                found[seq] = None
            elif one in used:
                found[seq] = note
    return found


def _compared(store: "Store", found: "dict[int, Note | None]", before: int, seq: int, most_events: int) -> Result:
    """Check that the snapshot of a version is whole, and equals the replay from the snapshot before."""
    from kbstore.history.event import decode_body
    from kbstore.tree.editor import Draft
    from kbstore.tree.node_store import Nodes
    from kbstore.tree.reader import materialise

    notes = {each: note for each, note in found.items() if note is not None}
    note = notes[seq]
    nodes = Nodes(store.backend)
    root = nodes.root(note.root)
    if note.size <= _WHOLE_BYTES:
        materialise(root, nodes)
    if seq - before > most_events:
        return Result.healthy(
            f"{len(notes)} snapshots; that of v{seq} is whole, and too far from the one before to replay"
        )
    nodes = Nodes(store.backend)
    draft = Draft(nodes.root(notes[before].root) if before else None, nodes)
    for _, body in store.line.bodies(range(before + 1, seq + 1)):
        draft.apply(decode_body(body, nodes))
    if draft.seal().address != note.root:
        return Result.unhealthy(f"the events up to v{seq} do not lead to the state that it names", hint=_VERIFY)
    return Result.healthy(
        f"{len(notes)} snapshots; that of v{seq} is whole and equals the replay of {seq - before} events",
        metrics={"snapshots_total": len(notes)},
    )


@built_in(
    "store.bytes",
    tags={"deep"},
    timeout=30,
    every=3600,
    needs=("store.reachable",),
    fall=1,
    thresholds=("bytes_limit_bytes",),
)
def every_byte(ctx: Context) -> Result:
    """All stored bytes match the stored digests; only for local stores."""
    if ctx.is_remote:
        return Result.skipped("reading all of a store on a server in each round is too dear; run: kbstore verify")
    with ctx.open_store() as store:
        size = store.backend.size_bytes()
        if size > ctx.thresholds.bytes_limit_bytes:
            return Result.skipped(f"{spell(size)} are too many to read in each round; run: kbstore verify")
        damages = [damage for damage in store.backend.check() if not damage.note]
    for damage in damages:
        if not damage.cache:
            return Result.unhealthy(damage.what, hint=_VERIFY, details=_all(d.what for d in damages))
    if damages:
        return _cache(damages[0].what)
    return Result.healthy(f"all of {spell(size)} are what was written", metrics={"read_bytes": size})


def pick(population: "range | list[int]", count: int, token: str) -> list[int]:
    """Return `count` of these numbers in ascending order, picked by a hash of the token."""
    if count >= len(population):
        return list(population)
    found: set[int] = set()
    turn = 0
    while len(found) < count:
        digest = sha256(f"{token}:{turn}".encode()).digest()
        found.add(population[int.from_bytes(digest[:8]) % len(population)])
        turn += 1
    return sorted(found)


def _cache(text: str) -> Result:
    return Result.degraded(text, hint="nothing is lost: a damaged cache is dropped and rebuilt when it is used")


def _all(texts: Iterable[str]) -> dict[str, Any]:
    return {"damage": list(texts)[:20]}
