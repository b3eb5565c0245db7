"""Programs whose calls are ended by an exception, as a signal handler raises it, and that go on with the same handle.

CPython runs the handlers of signals at certain instructions only: at the beginning of a function, after a call of
something written in C, and at the end of a loop's round. `At` raises at the nth such place of a call, so all of them
can be tried, one after another; `timers` lets real signals find their own.

Run by path, in a process of its own: the handler of a signal, and a trace function, belong to a process.
"""

import dis
import faulthandler
import itertools
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from types import CodeType, FrameType
from typing import Any

from programs import main, say

import kbstore
from kbstore import Store, StoreUnavailable

HOME = os.path.dirname(os.path.dirname(os.path.abspath(kbstore.__file__)))
PACKAGES = (os.path.join(HOME, "backends"), os.path.join(HOME, "kbstore"))
HANGS_S = 120
MANY = 10**9
_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}
_LOOPS = {"JUMP_BACKWARD", "JUMP_BACKWARD_QUICK"}


class Interrupted(BaseException):
    """Raised by the handler; no program expects it."""


class At:
    """A trace function that raises at the nth place at which a signal's handler could run."""

    def __init__(self, place: int) -> None:
        self.left = place
        self._last: dict[FrameType, str] = {}
        self._names: dict[CodeType, bytes] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        """Follow the functions of our packages, and note which calls are not of something in C."""
        if frame.f_back in self._last:
            self._last[frame.f_back] = ""
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "return":
            self._last.pop(frame, None)
        if event == "opcode":
            if (code := self._names.get(frame.f_code)) is None:
                code = self._names[frame.f_code] = frame.f_code.co_code
            before = self._last.get(frame, "RESUME")
            self._last[frame] = dis.opname[code[frame.f_lasti]]
            if before == "RESUME" or before in _CALLS or before in _LOOPS:
                self.left -= 1
                if self.left == 0:
                    raise Interrupted
        return self._step


def entry(name: str) -> list[dict[str, Any]]:
    """A patch that adds an entry."""
    return [{"op": "add", "path": f"/parent/{name}", "value": name}]


def interrupted(act: Callable[[], object], place: int) -> bool:
    """Run this, and end it at the nth place; returns whether it had as many."""
    return places_left(act, place) <= 0


def places_left(act: Callable[[], object], place: int) -> int:
    """Run this, and end it at the nth place; returns how many it lacked."""
    at = At(place)
    sys.settrace(at)
    try:
        act()
    except Interrupted:
        pass
    finally:
        sys.settrace(None)
    return at.left


def usable(act: Callable[[], object]) -> bool:
    """Whether another thread can do this."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(act()), daemon=True)
    thread.start()
    thread.join(HANGS_S)
    return bool(done)


def free(plain: sqlite3.Connection) -> bool:
    """Whether another connection can write at once."""
    try:
        plain.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    plain.execute("ROLLBACK")
    return True


def everywhere(location: str, call: str, most: int) -> None:
    """Interrupt a call at so many of its places; the handle, other threads and other writers go on each time."""
    acks: dict[str, str] = {}
    plain = sqlite3.connect(location, isolation_level=None, timeout=0)
    kb, other = Store.open(location, author="one"), Store.open(location, author="two")
    place, hits, step = MANY, 0, 1
    for turn in itertools.count():
        name = f"{call}-{turn}"
        acts: dict[str, Callable[[], Any]] = {
            "commit": lambda name=name: kb.commit(patch=entry(name), message=name, write_id=name),
            "document": lambda name=name: kb.commit({**kb.checkout(), name: 1}, message=name, write_id=name),
            "tag": lambda name=name: kb.tag(name, "HEAD"),
            "gc": kb.gc,
            "verify": kb.verify,
            "read": lambda: (kb.checkout("v1"), list(kb.log(limit=3)), kb.get("/other", at=1)),
            "open": lambda: Store.open(location).close(),
        }
        left = places_left(acts[call], place)
        hit = left <= 0
        hits += hit
        if hit and not free(plain):
            say("wrong", place, "the call ended, and its transaction keeps other writers out")
        if hit and not usable(kb.head):
            say("wrong", place, "the call ended, and its lock keeps other threads out")
            break
        if kb.head().id != other.head().id:
            say("wrong", place, "a version is seen that is not committed")
        if call in ("commit", "document"):
            version = acts[call]()  # the documented repeat; it lands at most once
            acks[name] = version.id
        elif call == "verify":
            if not kb.verify().ok:
                say("wrong", place, "a sound store is called damaged")
        else:
            acts[call]()
        if hit:
            place += step
        elif place < MANY:
            break
        elif turn:  # the second round tells how many places there are; the first one has more to do than the others
            place, step = 1, max(1, (MANY - left) // most)
    for n in range(2):
        acks[f"after {n}"] = kb.commit(patch=entry(f"after{n}"), message=f"after {n}").id
    kb.close()
    other.close()
    plain.close()
    for ident in acks.values():
        say("ack", ident)
    say("hits", hits)


def closing_call(location: str) -> None:
    """Interrupt `close` at every place; closing again, or opening anew, is right each time."""
    for place in itertools.count(1):
        kb = Store.open(location, author="one")
        say("ack", kb.commit(patch=entry(f"c{place}"), message=f"c{place}").id)
        hit = interrupted(kb.close, place)
        kb.close()
        with closing(sqlite3.connect(location, isolation_level=None, timeout=0)) as plain:
            if not free(plain):
                say("wrong", place, "a store that is closed keeps other writers out")
        if not hit:
            say("hits", place - 1)
            return


_armed = False


def _handler(*_: object) -> None:
    if _armed:
        raise Interrupted


def timers(location: str, count: int, threads: int, seed: int) -> None:
    """Commit under a timer that fires at random, and repeat with the same write id, as the documents ask.

    Args:
        location: The store.
        count: How many commits.
        threads: How many other threads commit on the same handle meanwhile.
        seed: Of the dice.
    """
    global _armed
    dice = random.Random(seed)
    signal.signal(signal.SIGALRM, _handler)
    plain = sqlite3.connect(location, isolation_level=None, timeout=0)
    kb = Store.open(location, author="one")
    stop = threading.Event()

    def live(number: int) -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            say("ack", kb.commit(patch=entry(f"t{number}-{n}"), message=f"t{number}-{n}").id)

    others = [threading.Thread(target=live, args=(number,), daemon=True) for number in range(threads)]
    for each in others:
        each.start()
    hits = 0
    for n in range(count):
        name = f"m{n}"
        try:
            signal.setitimer(signal.ITIMER_REAL, dice.random() * 0.003)
            _armed = True
            kb.commit(patch=entry(name), message=name, write_id=name)
            _armed = False
        except Interrupted:
            hits += 1
        finally:
            _armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        if not threads and not free(plain):
            say("wrong", n, "the call ended, and its transaction keeps other writers out")
        try:
            say("ack", kb.commit(patch=entry(name), message=name, write_id=name).id)
        except StoreUnavailable as error:
            say("wrong", n, error)
    stop.set()
    for each in others:
        each.join(HANGS_S)
        if each.is_alive():
            say("wrong", "a thread waits for ever")
    kb.close()
    plain.close()
    say("hits", hits)
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that hang, which were reported


ROLES: dict[str, Callable[..., None]] = {role.__name__: role for role in (everywhere, closing_call, timers)}

if __name__ == "__main__":
    sys.unraisablehook = lambda _: None  # an exception inside of `__del__`, which Python lets go no further
    faulthandler.dump_traceback_later(HANGS_S, exit=True)  # a hang says where
    main(ROLES)
