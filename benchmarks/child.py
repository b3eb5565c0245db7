"""What is measured in a process of its own: ``python -m benchmarks.child TASK FILE [...]``; see `benchmarks.timing`.

Nothing is imported here before it is needed: what a task imports is a part of what it costs.
"""

import json
import os
import sys
import time
from collections.abc import Callable


def _loads(path: str) -> None:
    import orjson

    with open(path, "rb") as file:
        orjson.loads(file.read())


def _strict_loads(path: str) -> None:
    import kbstore

    with open(path, "rb") as file:
        kbstore.loads(file.read())


def _checkout(path: str, revision: str) -> None:
    from kbstore import Store

    with Store.open(path) as store:
        store.checkout(revision)


def _commit(path: str, patch: str) -> None:
    from kbstore import Store

    with Store.open(path) as store:
        store.commit(patch=json.loads(patch), message="an edit", author="bench@example.com")


def _log(path: str) -> None:
    sys.argv = ["kbstore", "--store", path, "log", "-n", "20"]
    from kbstore.cli import main

    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        main()
    except SystemExit:
        sys.stdout.flush()
    os.dup2(kept, 1)


def _nothing() -> None:
    """An interpreter that starts and ends."""


TASKS: dict[str, Callable[..., None]] = {
    "checkout": _checkout,
    "commit": _commit,
    "loads": _loads,
    "log": _log,
    "nothing": _nothing,
    "strict-loads": _strict_loads,
}


def _peak_bytes() -> int:
    """The most that was resident; from /proc where there is one, since ``ru_maxrss`` begins with the parent's."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) * 1024
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({"cpu_s": time.process_time(), "peak_bytes": _peak_bytes()}))
