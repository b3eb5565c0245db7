"""The disposable process in which checks run: ``python -m kbstore.health.run.worker FD [MODULE...]``.

The worker reads commands from stdin, one JSON object a line, and reports on the file descriptor FD in the same form::

    {"do": "begin", "context": {...}, "memory_limit_mb": n}                  -> {"is": "ready"}
    {"do": "load", "plugin": "name", "value": "module:attr"}                  -> {"is": "loaded"} or {"is": "broken"}
    {"do": "run", "check": "name", "origin": "module:qualname", ...}          -> {"is": "started"}, {"is": "done", ...}

The worker decides nothing. Each check runs in a thread; the parent process kills the worker and its descendants after
the last report. The MODULEs are imported meanwhile. The end of stdin means that the parent is gone: the worker then
kills its own group.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from kbstore.health.context import Context
from kbstore.health.run.call import call_at, crashed
from kbstore.health.settings import Targets, Thresholds

_LOAD_S = 60.0
_GRACE_S = 5


class Reporter:
    """Writes lines to the parent process, from any thread, but only from this process."""

    def __init__(self, fd: int) -> None:
        # A program started by a check must not keep this open, and must not write here.
        os.set_inheritable(fd, False)
        self._fd = fd
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def say(self, **fields: Any) -> None:
        """Report one thing."""
        if os.getpid() != self._pid:
            # A check forked, and the child process came back from the check too.
            os._exit(0)
        data = json.dumps(fields).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]


def main() -> None:
    """Obey commands until stdin ends."""
    reporter = Reporter(int(sys.argv[1]))
    threading.Thread(target=_warm, args=(sys.argv[2:],), daemon=True).start()
    base = Context()
    for line in sys.stdin.buffer:
        command = json.loads(line)
        if command["do"] == "begin":
            base = _context(command["context"])
            _limit_memory(command["memory_limit_mb"])
            _limit_time(_LOAD_S)
            reporter.say(**{"is": "ready"})
        elif command["do"] == "load":
            reporter.say(**load(command["plugin"], command["value"]))
        elif command["do"] == "run":
            _limit_time(command["seconds_left"])
            threading.Thread(target=_run, args=(reporter, base, command), daemon=True).start()
    os.killpg(0, signal.SIGKILL)


def _warm(modules: Sequence[str]) -> None:
    """Import modules that checks will probably need, before the checks are known."""
    for module in modules:
        try:
            import_module(module)
        except Exception:  # noqa: BLE001 - the check that needs it will say so
            return


def load(plugin: str, value: str) -> dict[str, Any]:
    """Import a plug-in; return a report with the added checks, or with the reason of the failure."""
    from importlib.metadata import EntryPoint

    from kbstore.health.check_registry import registry

    registry.load_built_in()
    before = set(registry.specs)
    try:
        found = EntryPoint(plugin, value, "kbstore.health.checks").load()
        if callable(found):
            found(registry)
    except BaseException as fault:  # noqa: BLE001 - a plug-in may raise anything; that is what is reported
        for name in set(registry.specs) - before:
            registry.remove(name)
        return {"is": "broken", "plugin": plugin, "message": crashed(fault).message}
    added = [spec.as_dict() for name, spec in registry.specs.items() if name not in before]
    return {"is": "loaded", "plugin": plugin, "checks": added}


def _run(reporter: Reporter, base: Context, command: Mapping[str, Any]) -> None:
    ctx = Context(
        base.targets, base.thresholds, command["options"], command["remembered"], command["facts"], base.clock
    )
    reporter.say(**{"is": "started", "check": command["check"]})
    result, duration_s = call_at(command["origin"], ctx)
    reporter.say(**{"is": "done", "check": command["check"], "result": result.as_dict(), "duration_s": duration_s})


def _context(fields: Mapping[str, Any]) -> Context:
    targets = {**fields["targets"], "paths": tuple(fields["targets"]["paths"])}
    return Context(Targets(**targets), Thresholds(**fields["thresholds"]))


def _limit_memory(size_mb: float) -> None:
    import resource

    if size_mb:
        size = int(size_mb * 1024 * 1024)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _limit_time(seconds: float) -> None:
    """End this process after some seconds and a grace, even if nobody is left to kill the process."""
    # The default action of SIGALRM does not need the interpreter, so it works even if a check holds the GIL.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds) + _GRACE_S)


if __name__ == "__main__":
    main()
