"""What child processes do to a store, each told by one line of JSON on stdin, and telling what they did on stdout.

Run by path, apart from the tests: a child has no pytest, no threads and nobody else's state.
"""

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

from kbstore import ConflictError, Store


def say(*words: object) -> None:
    """One line, at once: what was said before a kill was said."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def replacing(path: str, value: Any) -> list[dict[str, Any]]:
    """A patch of one replacement."""
    return [{"op": "replace", "path": path, "value": value}]


def disjoint(location: str, name: str, commits: int) -> None:
    """Commit to a pointer of one's own; the base is whatever was seen last, so nearly every commit is rebased."""
    with Store.open(location, author=name) as kb:
        ready()
        for n in range(1, commits + 1):
            say("ack", kb.commit(patch=replacing(f"/{name}/n", n), message=f"{name} {n}").id)


def counter(location: str, name: str, commits: int) -> None:
    """Count one up on what was read, and begin anew where somebody was faster."""
    conflicts = 0
    with Store.open(location, author=name) as kb:
        ready()
        for _ in range(commits):
            while True:
                head = kb.head()
                patch = replacing("/count", kb.get("/count", at=head) + 1)
                try:
                    say("ack", kb.commit(patch=patch, base=head, message=name).id)
                    break
                except ConflictError:
                    conflicts += 1
    say("conflicts", conflicts)


def reader(location: str) -> None:
    """Look until told to stop: every version read is whole, and none is ever gone again."""
    with Store.open(location, read_only=True) as kb:
        ready()
        last, looks = 0, 0
        dice = random.Random(1)
        while not told_to_stop():
            head = kb.head()
            assert head.seq >= last, "the log became shorter"
            last = head.seq
            for seq in {head.seq, dice.randint(1, head.seq)}:
                document = kb.checkout(seq)
                assert sum(w["n"] for w in document.values()) == seq - 1, f"v{seq} is not whole"
                name = dice.choice(sorted(document))
                assert kb.get(f"/{name}/n", at=seq) == document[name]["n"]
            assert [v.seq for v in kb.log(limit=5)] == list(range(kb.head().seq, 0, -1))[:5] or kb.head().seq > last
            looks += 1
        assert kb.damage == [], kb.damage
    say("looks", looks)


def busy(location: str, name: str) -> None:
    """Commit, tag, start branches and take snapshots until told to stop."""
    dice = random.Random(name)
    with Store.open(location, author=name) as kb:
        ready()
        n = 0
        while not told_to_stop():
            n += 1
            say("ack", kb.commit(patch=replacing(f"/{name}/n", n)).id)
            act = dice.randrange(10)
            if act == 0:
                kb.tag(f"{name}-{n}")
            elif act == 1:
                kb.snapshot()
            elif act == 2:
                kb.create_branch(f"{name}/{n}")
                with Store.open(location, author=name, branch=f"{name}/{n}") as branch:
                    branch.commit(patch=replacing(f"/{name}/n", -n))


def collector(location: str) -> None:
    """Collect garbage until told to stop."""
    with Store.open(location) as kb:
        ready()
        rounds = 0
        while not told_to_stop():
            kb.gc()
            rounds += 1
    say("rounds", rounds)


def ready() -> None:
    """Wait for the others."""
    say("ready")
    sys.stdin.readline()
    os.set_blocking(0, False)


def told_to_stop() -> bool:
    """True once the parent has closed its end."""
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False


ROLES: dict[str, Callable[..., None]] = {f.__name__: f for f in (disjoint, counter, reader, busy, collector)}

if __name__ == "__main__":
    order = json.loads(sys.stdin.readline())
    with contextlib.suppress(BrokenPipeError):
        ROLES[order.pop("role")](**order)
