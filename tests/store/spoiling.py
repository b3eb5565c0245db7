"""Spoils the file of a store byte by byte and holds what is found and read against the original; run by path.

A child does it, under limits: whoever asks for much memory or time because of one bad byte is stopped, and told.
"""

import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kbstore import KBStoreError, Store, dumps, loads
from kbstore.sync.jsonl import export_all
from kbstore.verify.salvage import salvage

MEMORY_BYTES = 768 << 20
LOOK_S = 10.0
_SEQUENCES = ("-wal", "-shm", "-journal")


class Ticks:
    """A clock that gives the same times and tokens in every run."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def now(self) -> datetime:
        """A second later than before."""
        return datetime(2025, 1, 27, 12, tzinfo=UTC) + timedelta(seconds=next(self._count))

    def token(self) -> str:
        """The next token, of digits well apart."""
        return f"{(next(self._count) * 0x9E3779B97F4A7C15) % 2**64:016x}"


def furnish(path: Path) -> None:
    """A small store with something of everything: packed and fresh bodies, long values, caches, tags, a branch."""
    document: dict[str, Any] = {"title": "kb", "n": 1, "items": {f"i{n}": {"t": f"item {n}"} for n in range(12)}}
    with Store.create(path, document, clock=Ticks(), author="ann@example.com") as kb:
        for n in range(2, 8):
            document["n"] = n
            document["items"][f"i{n}"]["text"] = f"word {n} " * (400 if n == 4 else 3)
            kb.commit(document, message=f"change {n}", tags=["label"])
        kb.tag("stable", "v3")
        kb.tag("late", "v7")
        kb.create_branch("dev", "v5")
        kb.snapshot()
        kb.gc()
        kb.commit(patch=[{"op": "replace", "path": "/title", "value": "new " * 600}], message="fresh")
        kb.snapshot()
        kb.tag("late", "v8", force=True)
        list(kb.log(path="/items/i3"))
    with Store.open(path, branch="dev", clock=Ticks(), author="bob@example.com") as kb:
        kb.commit(patch=[{"op": "remove", "path": "/items/i1"}], message="on a branch")


def told(path: Path, branch: str = "main") -> dict[str, bytes]:
    """All that a user can be told: each version's document, patch and header, tags and branches."""
    with Store.open(path, branch=branch) as kb:
        found = {name: dumps(v.id) for name, v in kb.tags().items()}
        found["branches"] = dumps(kb.branches())
        for v in kb.log(newest_first=False):
            found[f"v{v.seq}"] = dumps([v.as_dict(), v.patch, v.name])
            found[f"v{v.seq} document"] = dumps(kb.checkout(v))
            found[f"v{v.seq} title"] = dumps(kb.get("/title", at=v))
    return found


def everything(path: Path) -> dict[str, bytes]:
    """What is told of both branches."""
    return {f"{branch} {name}": data for branch in ("main", "dev") for name, data in told(path, branch).items()}


def documents_or_errors(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each document that can be read without asking for proof first; what cannot is left out."""
    with Store.open(path) as kb:
        for seq in range(1, 9):
            try:
                yield f"main v{seq} document", dumps(kb.checkout(seq))
            except KBStoreError:
                continue


class TooLong(BaseException):
    """One look took longer than it may; no handler of ordinary errors swallows it."""


def _stop(number: int, frame: object) -> None:
    raise TooLong


def salvaged(path: Path, sound: dict[str, bytes], lines: dict[str, bytes]) -> str:
    """What is wrong with what is salvaged of a spoilt store: all of it must have been in the sound one."""
    folder = path.with_name("salvaged")
    shutil.rmtree(folder, ignore_errors=True)
    with Store.open(path, read_only=True) as kb:
        salvage(kb, folder)
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        value = loads(line)
        there = loads(lines.get(value["id"], b"null"))
        if there is None:
            return f"salvaged {value['id'][:12]}, which never was"
        if "event" in value and value["patch"] not in (None, there["patch"]):
            return f"the patch of {value['id'][:12]} is another one"
    for file in (folder / "documents").rglob("v*.json"):
        name = f"{file.parent.name} {file.stem} document"
        if dumps(loads(file.read_bytes())) != sound[name]:
            return f"{name} was salvaged as something else"
    return ""


def look(
    path: Path, sound: dict[str, bytes], lines: dict[str, bytes], *, read_first: bool, salvage_too: bool
) -> tuple[str, str]:
    """What becomes of a spoilt store: ``refused``, ``found``, ``cache``, ``harmless``; and what is wrong with that."""
    try:
        if read_first:
            for name, data in documents_or_errors(path):
                if sound.get(name) != data:
                    return "wrong", f"{name} reads as something else"
        with Store.open(path) as kb:
            report = kb.verify()
    except KBStoreError as fault:
        return "refused", "" if fault.hint or str(fault) else "nothing is said of it"
    if not report.ok:
        if not all(report.problems):
            return "found", "an empty sentence"
        return "found", salvaged(path, sound, lines) if salvage_too else ""
    try:
        if everything(path) == sound:
            return ("cache" if report.caches else "harmless"), ""
    except KBStoreError as fault:
        return "wrong", f"verify found {report.caches}, but reading: {fault}"
    return "wrong", f"verify found {report.caches}, and something reads differently"


def flip(data: bytearray, at: int, dice: random.Random) -> None:
    """Change some bits of one byte."""
    data[at] ^= dice.choice((1, 128, 255, dice.randrange(1, 256)))


def remove(data: bytearray, at: int, dice: random.Random) -> None:
    """Take a few bytes out, so that all behind them moves."""
    del data[at : at + dice.choice((1, 1, 2, 16, 512))]


def swap(data: bytearray, at: int, dice: random.Random) -> None:
    """Exchange two short runs of bytes."""
    size, other = dice.choice((1, 2, 8, 64)), dice.randrange(len(data))
    first, second = sorted((at, other))
    if second + size <= len(data) and first + size <= second:
        data[first : first + size], data[second : second + size] = (
            data[second : second + size],
            data[first : first + size],
        )


def cut(data: bytearray, at: int, dice: random.Random) -> None:
    """Drop the end."""
    del data[at:]


def zero(data: bytearray, at: int, dice: random.Random) -> None:
    """A sector of zeros."""
    data[at : at + 512] = bytes(len(data[at : at + 512]))


WAYS: dict[str, Callable[[bytearray, int, random.Random], None]] = {
    way.__name__: way for way in (flip, remove, swap, cut, zero)
}


def spoil(path: Path, samples: int, seed: int) -> dict[str, Any]:
    """Spoil the store in many ways, one at a time; so many samples a way, or everywhere where that is 0."""
    furnish(path)
    data = path.read_bytes()
    sound = everything(path)
    with Store.open(path) as kb:
        lines = {loads(line)["id"]: line for line in export_all(kb)}
    dice = random.Random(seed)
    page = int.from_bytes(data[16:18])
    counts: dict[str, int] = {}
    wrong: list[str] = []
    signal.signal(signal.SIGVTALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    plan: list[tuple[str, Iterable[int]]] = [
        ("flip", _some(dice, len(data), samples)),
        ("remove", _some(dice, len(data), samples // 4, 40)),
        ("swap", _some(dice, len(data), samples // 4, 20)),
        ("cut", [*range(0, len(data), page), *(n - 1 for n in range(page, len(data), 4 * page))]),
        ("zero", _some(dice, len(data), samples // 8, 512)),
    ]
    for way, places in plan:
        for at in places:
            spoilt = bytearray(data)
            WAYS[way](spoilt, at, dice)
            if spoilt == data:
                continue
            for suffix in _SEQUENCES:
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            path.write_bytes(spoilt)
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, LOOK_S)
                kind, fault = look(path, sound, lines, read_first=at % 8 == 0, salvage_too=at % 4 == 0)
            except (Exception, TooLong) as error:  # noqa: BLE001 - whatever is not ours is what is looked for
                kind, fault = "wrong", f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            counts[kind] = counts.get(kind, 0) + 1
            if fault:
                wrong.append(f"{way} at {at} (page {at // page}): {fault}")
    return {"counts": counts, "wrong": wrong[:40], "bytes": len(data)}


def _some(dice: random.Random, size: int, samples: int, every: int = 1) -> Iterable[int]:
    return sorted(dice.sample(range(size), samples)) if samples else range(0, size, every)


if __name__ == "__main__":
    print(json.dumps(spoil(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
    os._exit(0 if sys.stdout.flush() is None else 1)
