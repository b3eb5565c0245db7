"""What the programs of this folder share: they say what they were promised, and let another process act.

A program runs by path, in a process of its own, since locks, forks and handlers of signals belong to a process.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbstore import Store


def say(*words: object) -> None:
    """Write one line at once: a line that was said before a kill was said."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def put(kb: Store, member: str, value: Any) -> None:
    """Commit an entry below a member, and say which version was acknowledged."""
    patch = [{"op": "add", "path": f"/{member}/{os.getpid()}-{value}", "value": value}]
    say("ack", kb.commit(patch=patch, message=f"{member} {value}").id)


def holds(path: str) -> bool:
    """Whether this process holds a POSIX lock on a file."""
    inode = str(os.stat(path).st_ino)
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "POSIX" and line[4] == str(os.getpid()) and line[5].endswith(f":{inode}") for line in lines)


class Elsewhere:
    """Another process, which opens the store for each request, commits, and closes it.

    It is forked before this one has opened any store, so the two have nothing in common.
    """

    def __init__(self, location: str) -> None:
        requests, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(requests)
            os.close(answer)
            return
        os.close(self._ask)
        while asked := os.read(requests, 1):
            with Store.open(location, author="other") as kb:
                for n in range(asked[0]):
                    patch = [{"op": "add", "path": "/other/-", "value": n}]
                    say("ack", kb.commit(patch=patch, message=f"other {n}").id)
            os.write(answer, b".")
        os._exit(0)

    def __call__(self, commits: int = 3) -> None:
        """Let it commit so many times."""
        os.write(self._ask, bytes([commits]))
        if not os.read(self._answers, 1):
            raise RuntimeError("the other process has ended")


def main(roles: dict[str, Callable[..., None]]) -> None:
    """Run the role that the command line names: ROLE LOCATION [ARGUMENT...]."""
    role, location, *rest = sys.argv[1:]
    roles[role](location, *(int(word) if word.isdigit() else word for word in rest))
