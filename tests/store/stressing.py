"""Writers that are stopped and killed at random; each notes what it was promised in a file of its own.

A line of such a file is written at once, after the call returned: ``ack ID MESSAGE``, ``refused ...`` for an error that
asks to try again, ``wrong ...`` for anything that must never be. Run by path, apart from the tests.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbstore import KBStoreError, Store, StoreUnavailable

HANGS_S = 180


class Notes:
    """The file in which this process notes what it was promised; a child has one of its own."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder = Path(folder)
        self.name = name
        self.dice = random.Random(f"{name}-{os.getpid()}")
        self.member = f"{name}-{os.getpid()}"
        self.done = 0
        self._file = os.open(self.folder / f"{self.member}.notes", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """Add one line."""
        os.write(self._file, (" ".join(map(str, words)).replace("\n", " ") + "\n").encode())

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return (self.folder / "stop").exists()

    def commit(self, kb: Store) -> None:
        """Commit an entry, and note what became of it; now and then the commit is repeated with its write id."""
        self.done += 1
        message = f"{self.member}#{self.done}"
        patch = [{"op": "add", "path": f"/w/{message}", "value": "x" * self.dice.randrange(200)}]
        change: dict[str, Any] = {"patch": patch, "message": message}
        if self.dice.random() < 0.2:
            change["write_id"] = message
        begun = time.monotonic()
        ident = kb.commit(**change).id
        self.write("ack", ident, message, f"{time.monotonic() - begun:.3f}")
        if "write_id" in change and kb.commit(**change).id != ident:
            self.write("wrong", "a commit that was repeated with its write id landed twice:", message)

    def look(self, kb: Store) -> None:
        """Read something; every version is whole, and none is ever gone again."""
        head = kb.head()
        seq = self.dice.randint(1, head.seq)
        if kb.checkout(seq)["n"] != 0 or kb.get("/n", at=head) != 0:
            self.write("wrong", f"v{seq} is not what was committed")
        if next(kb.log(limit=1)).seq < head.seq:
            self.write("wrong", "the log became shorter")

    def guarded(self, act: Callable[[], object]) -> None:
        """Do something, and note an error."""
        try:
            act()
        except StoreUnavailable as error:
            self.write("refused", error)
        except KBStoreError as error:
            self.write("wrong", type(error).__name__, error)


def steady(location: str, folder: str, name: str) -> None:
    """Two handles that commit in turns, and a read-only one; each is closed and opened again now and then."""
    notes = Notes(folder, name)
    handles: list[Store | None] = [None, None, None]
    while not notes.over:
        turn = notes.dice.randrange(3)

        def act(turn: int = turn) -> None:
            kb = handles[turn]
            if kb is None:
                kb = handles[turn] = Store.open(location, read_only=turn == 2, author=notes.member)
            if turn == 2 or notes.dice.random() < 0.05:
                notes.look(kb)
            else:
                notes.commit(kb)
            if notes.dice.random() < 0.05:
                handles[turn] = None
                kb.close()

        notes.guarded(act)
        time.sleep(notes.dice.random() * 0.06)
    for kb in handles:
        if kb is not None:
            kb.close()


def threads(location: str, folder: str, name: str) -> None:
    """Three threads on one handle, which a fourth one closes under them; they open it again."""
    notes = Notes(folder, name)
    shared: list[Store] = []
    lock = threading.Lock()

    def opened() -> Store:
        with lock:
            if not shared:
                shared.append(Store.open(location, author=notes.member))
            return shared[0]

    def live(number: int) -> None:
        mine = Notes(folder, f"{name}t{number}")
        while not mine.over:
            try:
                mine.commit(opened())
            except StoreUnavailable as error:
                if "closed" not in str(error):
                    mine.write("refused", error)
            except KBStoreError as error:
                mine.write("wrong", type(error).__name__, error)
            time.sleep(mine.dice.random() * 0.1)

    crew = [threading.Thread(target=live, args=(number,)) for number in range(3)]
    for each in crew:
        each.start()
    while not notes.over:
        time.sleep(notes.dice.random())
        with lock:
            if shared:
                shared.pop().close()
    for each in crew:
        each.join()
    if shared:
        shared.pop().close()


def brief(location: str, folder: str, name: str) -> None:
    """Open, commit once or a few times, and end: with a close, without one, or at once."""
    notes = Notes(folder, name)

    def act() -> None:
        kb = Store.open(location, author=notes.member)
        for _ in range(notes.dice.choice([1, 1, 2, 5])):
            notes.commit(kb)
        way = notes.dice.randrange(3)
        if way == 0:
            kb.close()
        if way == 1:
            os._exit(0)

    notes.guarded(act)


def forking(location: str, folder: str, name: str) -> None:
    """Two handles and a thread, forked again and again; children commit on what they inherit, and end in every way."""
    notes = Notes(folder, name)
    one, two = (Store.open(location, author=notes.member) for _ in range(2))
    stop = threading.Event()

    def live() -> None:
        mine = Notes(folder, f"{name}t")
        while not stop.is_set():
            mine.guarded(lambda: mine.commit(one))
            time.sleep(mine.dice.random() * 0.15)

    thread = threading.Thread(target=live)
    thread.start()
    children: list[int] = []
    while not notes.over:
        child = os.fork()
        if child == 0:
            signal.alarm(HANGS_S)
            _child(location, folder, name, one, two)
        children.append(child)
        notes.guarded(lambda: notes.commit(two))
        time.sleep(notes.dice.random() * 0.3)
        while len(children) > 2 or (children and notes.over):
            _reap(notes, children.pop(0))
    while children:
        _reap(notes, children.pop(0))
    stop.set()
    thread.join()
    one.close()
    two.close()


def _child(location: str, folder: str, name: str, one: Store, two: Store) -> None:
    """Live as a child, and end this process."""
    notes = Notes(folder, f"{name}c")
    notes.write("forked")

    def act() -> None:
        for kb in (one, two, one):
            notes.commit(kb)
        if notes.dice.random() < 0.3:
            with Store.open(location, author=notes.member) as third:
                notes.commit(third)

    notes.guarded(act)
    way = notes.dice.randrange(4)
    if way == 0:
        os._exit(0)
    if way == 1:
        one.close()
    if way == 2:
        sys.excepthook = lambda *_: None
        raise RuntimeError("this child ends by an exception")
    sys.exit(0)


def _reap(notes: Notes, child: int) -> None:
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended not in (0, 1, -signal.SIGKILL):
        notes.write("wrong", f"a child ended with {ended}")


ROLES: dict[str, Callable[[str, str, str], None]] = {each.__name__: each for each in (steady, threads, brief, forking)}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:])
