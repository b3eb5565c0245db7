"""A writer that may die or meet a failing disk at any moment, and the look afterwards; run by path, without pytest.

The writer does something of everything, each version telling its own number, and says what was acknowledged, refused
or left in doubt. The look opens what was left and holds it to that.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from kbstore import Change, KBStoreError, OutcomeUnknown, Store, StoreExists, StoreUnavailable
from kbstore.errors import BackendError
from kbstore.history import snapshots

LONG_TEXT = "All that is known of it, and what was tried. " * 60


def say(*words: object) -> None:
    """One line, at once: what was said before a kill was said."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def eager() -> None:
    """Snapshots of every tier within a few commits."""
    snapshots._DENSE_AFTER_S = 3 * snapshots.FOLD_TREE_S  # type: ignore[misc]
    snapshots._DENSE_PER_MIDDLE = 2  # type: ignore[misc]
    snapshots._COMPLETE_AT_LEAST_S = 20 * snapshots.FOLD_PLAIN_S  # type: ignore[misc]
    snapshots._COMPLETE_FRACTION = 0.0  # type: ignore[misc]


def first_document() -> dict[str, Any]:
    """Some articles; ``n`` is the number of the version."""
    return {"n": 1, "articles": {f"a{i}": {"title": f"article {i}", "text": f"{i} " * 200} for i in range(40)}}


def step(kb: Store, n: int) -> None:
    """Make version n, in one of several ways, and whatever else belongs to the life of a store."""
    dice = random.Random(n)
    counted = {"op": "replace", "path": "/n", "value": n}
    added = {"op": "add", "path": f"/articles/a{dice.randrange(60)}", "value": {"title": f"{n}", "text": LONG_TEXT}}
    way = dice.randrange(6)
    if way == 0:
        document = kb.checkout()
        document["n"] = n
        document["articles"][f"a{dice.randrange(40)}"] = {"text": f"{n} " * 900}
        version = kb.commit(document, message=f"m{n}")
    elif way == 1 and n > 2:
        made = kb.commit_many([Change(patch=[counted], message=f"m{n}")])
        version = made[-1]
    else:
        version = kb.commit(patch=[counted, added] if way < 4 else [counted], message=f"m{n}")
    say("ack", version.seq, version.id)
    if n % 7 == 0:
        kb.tag(f"t{n}", version)
        say("tag", f"t{n}", version.id)


def care(kb: Store, n: int) -> None:
    """Caches and the like, whose failure costs nothing."""
    if n % 9 == 0:
        kb.gc()
    elif n % 5 == 0:
        kb.snapshot()


def live(location: str, count: int, reopen: bool = True) -> None:
    """Write so many versions, and say of each what became of it; open anew after a failure, and now and then."""
    kb: Store | None = None
    tries = 0
    done = 0
    while done < count and tries < 3 * count + 20:
        tries += 1
        n = 0
        try:
            if kb is None:
                kb = Store.open(location, author="writer")
            n = kb.head().seq + 1
            if n == 1:
                version = kb.commit(first_document(), message="m1")
                say("ack", version.seq, version.id)
            else:
                step(kb, n)
            done += 1
            care(kb, n)
            if reopen and n % 11 == 0:
                kb.close()
                kb = None
        except OutcomeUnknown:
            say("unknown", n)
        except StoreUnavailable as fault:
            say("refused", n, fault)
        except KBStoreError as fault:
            say("strange", n, type(fault).__name__, fault)
            kb = None
    with contextlib.suppress(BackendError):
        if kb is not None:
            kb.close()
    say("end")


def look(location: str, said: Sequence[Sequence[str]], *, write: bool = True) -> dict[str, Any]:
    """Open what was left, and say what is wrong with it.

    Args:
        location: The store.
        said: What writers said, word by word.
        write: Commit one more version.
    """
    acks = {int(line[1]): line[2] for line in said if line[:1] == ["ack"] and len(line) == 3 and len(line[2]) == 64}
    wrong: list[str] = []
    with Store.open(location, author="looker") as kb:
        log = list(kb.log(newest_first=False))
        if [v.seq for v in log] != list(range(1, len(log) + 1)):
            wrong.append("the log has gaps")
        ids = {v.seq: v.id for v in log}
        wrong += [f"v{seq} was acknowledged and is lost" for seq, ident in acks.items() if ids.get(seq) != ident]
        tags = {name: v.id for name, v in kb.tags().items()}
        for line in said:
            if line[:1] == ["tag"] and len(line) == 3 and len(line[2]) == 64 and tags.get(line[1]) != line[2]:
                wrong.append(f"the tag {line[1]} was acknowledged and is lost")
        for v in log[-3:] + log[:1]:
            if v.author == "writer" and kb.checkout(v)["n"] != v.seq:
                wrong.append(f"v{v.seq} is not what was committed")
        report = kb.verify()
        wrong += report.problems + report.caches
        if write:
            n = len(log) + 1
            document = {**kb.checkout(), "n": n} if log else first_document()
            version = kb.commit(document, message=f"m{n}", author="writer")
            said = [*said, ["ack", str(n), version.id]]
            if not version.created or version.seq != n:
                wrong.append("it cannot be written")
            if kb.get("/n") != n or not kb.verify().ok:
                wrong.append("what was written afterwards is not there")
    return {"wrong": wrong, "versions": len(log), "said": said}


def killed(location: str, rounds: int, seed: int) -> None:
    """Let a writer be killed at so many random moments, and look each time; tells how it went as one line of JSON."""
    dice = random.Random(seed)
    said: list[list[str]] = []
    wrong: list[str] = []
    died = 0
    for _ in range(rounds):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.dup2(theirs, 1)
                live(location, 1000)
            finally:
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as heard:
            for _ in range(dice.choice([1, 1, 2, 3, 5, 8])):
                said.append(heard.readline().split())
            time.sleep(dice.choice([0.0, dice.random() * 0.001, dice.random() * 0.02]))
            os.kill(child, signal.SIGKILL)
            said.extend(line.split() for line in heard)
        _, status = os.waitpid(child, 0)
        died += os.WIFSIGNALED(status)
        found = look(location, said)
        wrong += found["wrong"] + [" ".join(line) for line in said if line[:1] == ["strange"]]
        said = found["said"]
        if wrong:
            break
    print(json.dumps({"wrong": wrong, "died": died, "acks": sum(line[:1] == ["ack"] for line in said)}))


def started(location: str, count: int) -> None:
    """Make a store, trying a second time where that is refused, and write so many versions."""
    for _ in range(2):
        try:
            Store.create(location).close()
            break
        except StoreExists:
            break  # it was made, and what failed came after
        except StoreUnavailable as fault:
            say("refused", 0, fault)
    live(location, count)


ROLES: dict[str, Callable[..., None]] = {f.__name__: f for f in (live, killed, started)}

if __name__ == "__main__":
    eager()
    ROLES[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
