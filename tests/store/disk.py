"""What a disk may hold after the power went: from a recording of every write and sync, the states that are allowed.

A recording is what strace wrote of one process. Only what was synced is sure to be on the disk; of the rest any part
may be there, whole or torn at a sector's edge, in any order. Names of files count as written when their folder is
synced, and before that in the order in which they were made. A sync that failed writes nothing, and what it was to
write is never written by a later one, although the process goes on to read it: that is how kernels do it.
"""

import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SYSCALLS = "openat,write,pwrite64,ftruncate,fdatasync,fsync,unlink,link,rename"
_SECTOR_BYTES = 512
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(?:<[^>]*>)?(?: (\w+).*)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"^(\d+)<([^>]*)>")


class Call(NamedTuple):
    """One recorded call: its name, its first argument's file, what it did."""

    name: str
    path: str
    data: bytes = b""
    at: int = 0
    target: str = ""
    failed: bool = False


def recorded(text: str, folder: Path) -> Iterator[Call]:
    """The calls of a recording that concern a folder, and writes to standard output."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            assert line.endswith(("+++", "---")) or " +++ " in line or " --- " in line, f"cannot read {line[:200]}"
            continue
        name, arguments, result = found[1], found[2], int(found[3])
        texts = [_bytes(t) for t in _TEXT.findall(arguments)]
        fd = _FD.match(arguments)
        path = os.fsdecode(_bytes(fd[2])) if fd else (os.fsdecode(texts[0]) if texts else "")
        failed = result < 0
        if name == "write":
            if fd and fd[1] == "1" and not failed:
                yield Call("said", "", texts[0])
        elif not Path(path).is_relative_to(folder):
            continue
        elif name == "openat":
            if not failed and "O_CREAT" in arguments:
                yield Call("create", path)
        elif name == "pwrite64":
            assert failed or result == len(texts[0]), line[:200]
            if not failed:
                yield Call(name, path, texts[0], int(arguments.rsplit(", ", 1)[1]))
        elif name == "ftruncate":
            if not failed:
                yield Call(name, path, at=int(arguments.rsplit(", ", 1)[1]))
        elif name in ("fdatasync", "fsync"):
            yield Call("sync", path, failed=failed)
        elif not failed:
            yield Call(name, path, target=os.fsdecode(texts[1]) if len(texts) > 1 else "")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(slots=True)
class File:
    """A file's content on the disk, and what waits to be written there: data and place, or a new size."""

    content: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)


def apply(content: bytearray, at: int, data: bytes | None) -> None:
    """Write at a place, or cut to a size where there is no data."""
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class Disk:
    """A folder's files while calls are made on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now: dict[str, File] = {}
        self._names: dict[str, File] = {}
        self._waiting: list[dict[str, File]] = []

    def make(self, call: Call) -> None:
        """Carry out one call."""
        name = os.path.basename(call.path)
        if call.name == "create":
            if name not in self._now:
                self._now[name] = File()
                self._renamed()
        elif call.name == "pwrite64":
            self._now[name].waiting.append((call.at, call.data))
        elif call.name == "ftruncate":
            self._now[name].waiting.append((call.at, None))
        elif call.name == "sync":
            self._sync(call, name)
        elif call.name == "unlink":
            del self._now[name]
            self._renamed()
        elif call.name in ("link", "rename"):
            self._now[os.path.basename(call.target)] = self._now[name]
            if call.name == "rename":
                del self._now[name]
            self._renamed()

    def _sync(self, call: Call, name: str) -> None:
        if Path(call.path) == self._folder:
            if not call.failed:
                self._names = dict(self._now)
                self._waiting = []
            return
        file = self._now[name]
        if not call.failed:
            for at, data in file.waiting:
                apply(file.content, at, data)
        file.waiting = []

    def _renamed(self) -> None:
        self._waiting.append(dict(self._now))

    def sure(self) -> dict[str, bytes]:
        """The files where nothing is there that was not synced."""
        return {name: bytes(file.content) for name, file in self._names.items()}

    def possible(self, dice: random.Random) -> dict[str, bytes]:
        """One of the other states: some waiting writes are there, some of them torn."""
        names = dice.choice([self._names, *self._waiting])
        share = dice.choice([0.1, 0.5, 0.9, 1.0])
        found = {}
        for name, file in names.items():
            content = bytearray(file.content)
            for at, data in file.waiting:
                if dice.random() >= share:
                    continue
                if data is None or dice.random() < 0.7:
                    apply(content, at, data)
                    continue
                for start in range(0, len(data), _SECTOR_BYTES):
                    if dice.random() < 0.5:
                        apply(content, at + start, data[start : start + _SECTOR_BYTES])
            found[name] = bytes(content)
        return found


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Put such a state into an empty folder; what SQLite keeps in shared memory is gone with the power."""
    for name in os.listdir(folder):
        (folder / name).unlink()
    for name, content in files.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(content)


def words(calls: Sequence[Call]) -> list[list[str]]:
    """What the process said so far."""
    return [line.split() for line in b"".join(c.data for c in calls if c.name == "said").decode().splitlines()]
