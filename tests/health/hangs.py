"""Checks that misbehave, each in its own way; run by workers, which import them from here."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kbstore.health import Context, Result


def well(ctx: Context) -> Result:
    """Is well at once."""
    return Result.healthy("well")


def slow(ctx: Context) -> Result:
    """Is well after a while."""
    time.sleep(0.3)
    return Result.healthy("well, after a while")


def blocks_in_c(ctx: Context) -> Result:
    """Waits in C for something that never comes, without holding the lock of the interpreter."""
    read, _ = os.pipe()
    os.read(read, 1)
    return Result.healthy("never")


def holds_the_gil(ctx: Context) -> Result:
    """Sleeps in C with the lock of the interpreter held: no other thread of the process goes on."""
    ctypes.PyDLL(None).sleep(3600)
    return Result.healthy("never")


def ignores_signals(ctx: Context) -> Result:
    """Starts a program that ignores every signal that can be ignored, and waits for it."""
    code = (
        "import signal, time\n"
        "for s in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except OSError: pass\n"
        "time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        noted(ctx, child.pid)
    return Result.healthy("never")


def exits(ctx: Context) -> Result:
    """Ends its process."""
    os._exit(7)


def asks_to_exit(ctx: Context) -> Result:
    """Asks Python to end."""
    sys.exit("enough")


def crashes(ctx: Context) -> Result:
    """Ends its process as a fault in C would."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)
    return Result.healthy("never")


def raises(ctx: Context) -> Result:
    """Has a fault in Python."""
    raise ZeroDivisionError("nothing can be divided so")


def forks(ctx: Context) -> Result:
    """Comes back twice, once in a copy of the process."""
    if os.fork():
        time.sleep(0.2)
    return Result.healthy("here")


def leaves_a_daemon(ctx: Context) -> Result:
    """Is well, and leaves a process behind that has left the group, the session and its parent."""
    code = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(3600)"
    )
    file = Path(ctx.options["pids"])
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    while not file.is_file() or not file.read_text().endswith("\n"):
        time.sleep(0.01)
    return Result.healthy("well, but look around")


def floods(ctx: Context) -> Result:
    """Prints without end, to both streams, from Python and from below it."""
    line = b"x" * 65_536
    while True:
        os.write(1, line)
        os.write(2, line)


def says_too_much(ctx: Context) -> Result:
    """Has more to say than anybody wants to read."""
    return Result.healthy("x" * 1_000_000, details={"all": ["y" * 1000] * 10_000})


def leaks(ctx: Context) -> Result:
    """Takes memory without end."""
    kept = []
    while True:
        kept.append(bytearray(16 * 1024 * 1024))


def leaks_threads(ctx: Context) -> Result:
    """Is well, and leaves threads and open files behind."""
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(3600,)).start()
        os.open(os.devnull, os.O_RDONLY)
    return Result.healthy("well, but not tidy")


def returns_nothing(ctx: Context) -> Any:
    """Forgets its result."""
    return None


def closes_everything(ctx: Context) -> Result:
    """Closes every file of its process, also those that are not its own."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # reports go by a number that whoever started it has chosen
    time.sleep(3600)
    return Result.healthy("never")


def noted(ctx: Context, pid: int) -> None:
    """Write down the id of a process that the test looks for afterwards."""
    with Path(ctx.options["pids"]).open("a") as file:
        file.write(f"{pid}\n")
