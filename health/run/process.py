"""A worker process seen from outside: start, listen, and kill with all descendants.

Descendants outside the process group are found by a mark in their environment (on Linux, by /proc). A process that
survives being killed is reported, without waiting for its end.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

MARK = "HEALTH_WORKER"
"""Environment variable to mark all descendants of a worker."""

_TAIL_BYTES = 2_000
_MAX_LINE_BYTES = 1 << 20
_MAX_LINES = 10_000
_READ_BYTES = 65_536
_KILL_WAIT_S = 0.7
_STOP = b"s"
_WRITE = b"w"


Event = tuple["Worker | None", dict[str, Any] | None]
"""A worker (None: a thread of this process) and its report; after the last report, None in place of a report."""


class Worker:
    """A running ``python -m kbstore.health.run.worker``.

    Args:
        token: Random name to mark the worker and its descendants.
        events: Queue for each report, as (worker, fields), and for (worker, None) after the last report.
        warm: Modules to import meanwhile, since checks will probably need them.

    Attributes:
        ready_at: When (`time.monotonic`) the worker reported being up; None before.
    """

    def __init__(self, token: str, events: "SimpleQueue[Event]", warm: Sequence[str] = ()) -> None:
        self._token = token
        self._events = events
        self.ready_at: float | None = None
        self._stopped = False
        self._tail = b""
        self._outgoing = bytearray()
        self._lock = threading.Lock()
        report, child_report = os.pipe()
        self._wake_read, self._wake = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "kbstore.health.run.worker", str(child_report), *warm],
                stdin=subprocess.PIPE,
                bufsize=0,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                pass_fds=(child_report,),
                start_new_session=True,
            )
        except BaseException:
            for fd in (report, self._wake_read, self._wake):
                os.close(fd)
            raise
        finally:
            os.close(child_report)
        commands, output = _pipes(self._process)
        os.set_blocking(commands.fileno(), False)
        listened = report, commands, output
        self._thread = threading.Thread(target=self._listen, args=listened, name="health-worker", daemon=True)
        self._thread.start()

    def _environment(self) -> dict[str, str]:
        # The worker must find the same modules as this process, even if somebody changed sys.path.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        return {**os.environ, "PYTHONPATH": path, MARK: self._token}

    @property
    def pid(self) -> int:
        """The process id, and the id of the group."""
        return self._process.pid

    def tell(self, **command: Any) -> None:
        """Send a command without waiting, even if the worker does not read. An ended worker gets nothing."""
        with self._lock:
            self._outgoing += json.dumps(command).encode() + b"\n"
        os.write(self._wake, _WRITE)

    def fate(self) -> str:
        """Return a phrase on how the worker ended by itself. Call this before `stop`."""
        until = time.monotonic() + _KILL_WAIT_S
        while True:
            # WNOWAIT looks without reaping, so nobody gets this id before `stop` has killed the group.
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                break
            if time.monotonic() >= until:
                return "stopped reporting"
            time.sleep(0.005)
        if ended.si_code == os.CLD_EXITED:
            return f"ended the process with exit code {ended.si_status}"
        try:
            return f"was ended by {signal.Signals(ended.si_status).name}"
        except ValueError:
            return f"was ended by signal {ended.si_status}"

    def last_words(self) -> str:
        """Return the end of the worker's output."""
        return self._tail.decode(errors="replace").strip()

    def stop(self) -> list[str]:
        """Kill the group and all descendants outside the group; return the survivors, a sentence each.

        Takes less than a second. A second call does nothing.
        """
        if self._stopped:
            return []
        self._stopped = True
        try:
            # The leader has not been reaped yet, so its id cannot belong to another process.
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        until = time.monotonic() + _KILL_WAIT_S
        survivors = []
        try:
            self._process.wait(timeout=_KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            survivors.append(f"process {self.pid} ({_command(self.pid)}) outlived its kill")
        # Repeat until nothing is found: a process that was just being forked appears in the next look.
        while (left := kill_marked(self._token)) and time.monotonic() < until:
            time.sleep(0.005)
        survivors += [f"process {pid} ({_command(pid)}) outlived its kill" for pid in left if pid != self.pid]
        os.write(self._wake, _STOP)
        self._thread.join(_KILL_WAIT_S)
        return survivors

    def _listen(self, report: int, commands: IO[bytes], output: IO[bytes]) -> None:
        """Pass on reports, keep the end of the output and send commands, until `stop` ends this."""
        chooser = selectors.DefaultSelector()
        for fd in (report, output.fileno(), self._wake_read):
            chooser.register(fd, selectors.EVENT_READ)
        heard = _Lines()
        stopped = False
        try:
            while not stopped:
                for key, _ in chooser.select():
                    if key.fd == self._wake_read:
                        stopped = _STOP in os.read(key.fd, 4096)
                        self._send(chooser, commands)
                    elif key.fileobj is commands:
                        self._send(chooser, commands)
                    elif key.fd == report:
                        for fields in heard.take(os.read(key.fd, _READ_BYTES)):
                            if fields.get("is") == "ready":
                                self.ready_at = time.monotonic()
                            self._events.put((self, fields))
                        if heard.ended:
                            chooser.unregister(key.fd)
                            self._events.put((self, None))
                    elif data := os.read(key.fd, _READ_BYTES):
                        self._tail = (self._tail + data)[-_TAIL_BYTES:]
                    else:
                        chooser.unregister(key.fd)
        finally:
            chooser.close()
            for fd in (report, self._wake_read, self._wake):
                os.close(fd)
            output.close()
            commands.close()

    def _send(self, chooser: selectors.BaseSelector, commands: IO[bytes]) -> None:
        """Send as much as the pipe takes; the rest follows when the pipe takes more."""
        with self._lock:
            try:
                del self._outgoing[: os.write(commands.fileno(), self._outgoing) if self._outgoing else 0]
            except BlockingIOError:
                pass
            except OSError:
                self._outgoing.clear()
            waiting = bool(self._outgoing)
        registered = commands in chooser.get_map()
        if waiting and not registered:
            chooser.register(commands, selectors.EVENT_WRITE)
        elif registered and not waiting:
            chooser.unregister(commands)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Return the stdin pipe and the stdout pipe of a process."""
    if process.stdin is None or process.stdout is None:
        raise OSError("the process has no pipes")
    return process.stdin, process.stdout


@dataclass(frozen=True, slots=True)
class Early:
    """A worker started before its commands were known, and the queue of its reports."""

    worker: Worker
    events: "SimpleQueue[Event]"


def start_early(token: str) -> Early | None:
    """Start a worker now, so that starting and importing the store cost no time later.

    Args:
        token: A random name.

    Returns:
        The worker, for an `Engine`; None if a process cannot be started (the engine will report the failure).
    """
    events: SimpleQueue[Event] = SimpleQueue()
    try:
        return Early(Worker(token, events, ("kbstore.store", "kbstore.migrator.api")), events)
    except OSError:
        return None


class _Lines:
    """Cuts a stream into JSON objects; ends a stream with too many lines or too long a line."""

    def __init__(self) -> None:
        self._pending = b""
        self._count = 0
        self.ended = False

    def take(self, data: bytes) -> list[dict[str, Any]]:
        *whole, self._pending = (self._pending + data).split(b"\n")
        self._count += len(whole)
        self.ended = not data or len(self._pending) > _MAX_LINE_BYTES or self._count > _MAX_LINES
        found = []
        for line in whole:
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict):
                found.append(fields)
        return found


def kill_marked(token: str) -> list[int]:
    """Kill every process with this mark in its environment; return their ids. Without /proc, do nothing."""
    found = []
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - 5 times as fast
    except OSError:
        return []
    for pid in pids:
        if not _is_marked(pid, token):
            continue
        found.append(pid)
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Ask again: while the handle is open, the id cannot be given to another process.
            if _is_marked(pid, token):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            pass
        finally:
            os.close(handle)
    return found


def _is_marked(pid: int, token: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - faster, and done for every process
            return f"{MARK}={token}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:80]
    except OSError:
        return "?"
