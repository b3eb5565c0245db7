"""Bytes to store: chunks with their addresses, and a small store with something of everything."""

import hashlib
import random

from kbstore.backends.base import Backend, Chunk, Record


def chunk(data: bytes) -> Chunk:
    """A chunk with its address."""
    return Chunk(hashlib.sha256(data).digest(), data)


def chunks(count: int, size: int = 3000, seed: int = 1) -> list[Chunk]:
    """Distinct chunks that compress as text does."""
    source = random.Random(seed)
    words = [bytes(source.choices(b"abcdefghij", k=6)) for _ in range(400)]
    return [chunk(b"%d " % n + b" ".join(source.choices(words, k=size // 7))) for n in range(count)]


def header(number: int) -> bytes:
    """A header as a log of events has it."""
    return b'{"seq":%d,"author":"dev%d@example.com","message":"change %d","time":"2025-01-%02dT00:00:00.000000Z"}' % (
        number,
        number % 3,
        number,
        number % 28 + 1,
    )


def body(number: int) -> bytes:
    """A body as a log of patches has it; every seventh is empty."""
    return b"" if number % 7 == 0 else b'[{"op":"replace","path":"/problems/p%d/votes","value":%d}]' % (number, number)


def fill(backend: Backend, count: int = 40, *, log: str = "main", first: int = 1) -> None:
    """Append one-record slots; each has a header, most a body, some chunks."""
    for number in range(first, first + count):
        backend.append(
            log,
            number,
            [Record(header(number), body(number))],
            write_id=f"{number:016x}",
            chunks=chunks(2, 1500, seed=number) if number % 10 == 0 else (),
        )


def furnish(backend: Backend) -> None:
    """Something of everything: two logs, slots of several records, chunks, snapshots that need each other, notes."""
    fill(backend, 30)
    backend.append("main", 31, [Record(header(n), body(n)) for n in range(31, 36)], write_id="a batch")
    backend.append("refs", 1, [Record(b'{"tag":"stable"}')], write_id="ff")
    backend.put_snapshot("main", 10, tier=3, note=b"root a", chunks=chunks(12, seed=99))
    backend.put_snapshot("main", 20, tier=1, note=b"root b", chunks=chunks(3, seed=98), requires={10: b"root a"})
    backend.put_note("touched/main", 1, b"p1 p2 p3" * 20)
    backend.put_note("touched/main", 2, b"p4")


def everything(backend: Backend) -> dict[str, object]:
    """All that can be read back of what `furnish` wrote, but for what caches may forget."""
    logs = backend.logs()
    return {
        "logs": logs,
        "tails": [backend.tail(log) for log in logs],
        "records": {log: list(backend.read(log)) for log in logs},
        "bodies": {log: list(backend.bodies(log, range(1, backend.tail(log).number + 1))) for log in logs},
        "writes": [backend.find_write("main", f"{n:016x}") for n in range(1, 31)]
        + [backend.find_write("main", "a batch"), backend.find_write("refs", "ff")],
        "truth": truth(backend),
    }


def truth(backend: Backend) -> dict[bytes, bytes]:
    """Chunks that `furnish` wrote with slots, as read back one by one."""
    wanted = [c for n in (10, 20, 30) for c in chunks(2, 1500, seed=n)]
    found = {f.address: f.data for c in wanted for f in backend.get_chunks([c.address])}
    return {c.address: found[c.address] for c in wanted}
