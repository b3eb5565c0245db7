"""``python -m benchmarks.health``: what health costs, beside its limits.

Wall times are the least of several runs: what else the machine does can only make them longer. The CPU time of each is
told beside it. Exit code 1 where a limit is not kept.
"""

import argparse
import http.client
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import quantiles

from kbstore import Store
from kbstore.health import Context, Engine, Registry, Result, Settings
from kbstore.health.settings import Targets
from kbstore.migrator import DatabaseMigrator

CHECKS = (
    "store.reachable", "store.write_probe", "store.log_readable", "store.chain", "store.snapshot", "store.bytes",
    "store.head", "store.size", "store.disk", "sqlite.quick_check", "sqlite.wal", "db.connect", "migrations.pending",
    "migrations.dirty", "schema.drift",
)  # fmt: skip
"""The fifteen of the limit: all that a local store and a SQLite database have, but for a few."""

CHECK_WALL_S = 0.6
IMPORT_CPU_S = 0.060
ADDED_S = 0.005
P99_S = 0.020
_SLOWEST_S = 0.1


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="how often each is measured (default 10)")
    runs = parser.parse_args().runs
    rows = []
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-health-") as place:
        folder = Path(place)
        prepare(folder)
        wall_s, cpu_s = process([sys.executable, "-c", _HEALTH, "check", *CHECKS], folder, runs)
        rows.append((f"health check, {len(CHECKS)} checks, process start included (wall)", wall_s, CHECK_WALL_S))
        rows.append(("  the same (CPU of all its processes)", cpu_s, None))
        _, bare_s = process([sys.executable, "-c", "pass"], folder, runs)
        _, import_s = process([sys.executable, "-c", "from kbstore import health"], folder, runs)
        rows.append(("from kbstore import health (CPU, python's own start included)", import_s, IMPORT_CPU_S))
        rows.append(("  python's own start (CPU)", bare_s, None))
        rows.append(("isolate=False: added to the slowest check (wall)", added(folder, runs), ADDED_S))
        for path in ("/readyz", "/metrics"):
            rows.append((f"health serve: p99 of {path}, 8 clients (wall)", served(folder, path), P99_S))
    print(f"{'what':62} {'measured':>10} {'at most':>10}")
    missed = [what for what, measured, limit in rows if limit is not None and measured > limit]
    for what, measured, limit in rows:
        most = f"{limit * 1000:.0f} ms" if limit is not None else ""
        print(f"{what:62} {measured * 1000:7.1f} ms {most:>10}{'  MISSED' if what in missed else ''}")
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    if missed and busy > 1:
        print(f"(this machine has {busy:.1f} times the work that it can do at once; wall times are that much longer)")
    return int(bool(missed))


_HEALTH = "from kbstore.health.cli import main; main()"


def prepare(folder: Path) -> None:
    """A store with 200 versions, a database with all sample migrations, and a configuration that names both."""
    with Store.create(folder / "kb.db", {"problems": {}}, author="bench@example.com") as store:
        for number in range(200):
            article = {"title": f"Problem {number}", "steps": [f"step {n}" for n in range(20)]}
            patch = [{"op": "add", "path": f"/problems/p{number}", "value": article}]
            store.commit(patch=patch, message=f"add {number}")
        store.snapshot()
    DatabaseMigrator(f"sqlite:///{folder / 'app.db'}", "builtin:troubleshooting").up()
    (folder / "health.toml").write_text(
        '[targets]\nstore = "kb.db"\ndatabase = "sqlite:///app.db"\nmigrations = "builtin:troubleshooting"\n'
        '[serve]\ntoken = "bench"\n'
    )


def process(command: list[str], folder: Path, runs: int) -> tuple[float, float]:
    """Least wall time and least CPU time of a command that must end well, in seconds."""
    walls, cpus = [], []
    for _ in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # The first fills the caches of the file system.
    return min(walls[1:]), min(cpus[1:])


def slowest(_: Context) -> Result:
    """Takes a tenth of a second."""
    time.sleep(_SLOWEST_S)
    return Result.healthy("slept")


def quick(_: Context) -> Result:
    """Takes no time."""
    return Result.healthy("quick")


def added(folder: Path, runs: int) -> float:
    """What a round in this process takes beyond its slowest check, in seconds; 15 checks, with history."""
    checks = Registry()
    checks.add("slowest")(slowest)
    for number in range(14):
        checks.add(f"quick{number}")(quick)
    settings = Settings(targets=Targets(state=str(folder / "state")))
    taken = []
    with Engine(settings, isolate=False, checks=checks) as engine:
        for _ in range(runs + 1):
            began = time.perf_counter()
            engine.run()
            taken.append(time.perf_counter() - began - _SLOWEST_S)
    return min(taken[1:])


def served(folder: Path, path: str, *, clients: int = 8, requests: int = 250) -> float:
    """The 99th percentile of the time of an answer while several clients ask at once, in seconds."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call = [sys.executable, "-c", _HEALTH, "serve", "--port", str(port)]
    with subprocess.Popen(call, cwd=folder, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: asked(port, "/readyz") == 200)
            times: list[float] = []
            threads = [threading.Thread(target=ask_often, args=(port, path, requests, times)) for _ in range(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            server.terminate()
    return quantiles(times, n=100)[98]


def ask_often(port: int, path: str, count: int, times: list[float]) -> None:
    """Ask over one connection, a little apart, as monitoring does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": "Bearer bench"})
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
        time.sleep(0.005)
    connection.close()


def asked(port: int, path: str) -> int:
    """The status of an answer; 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def until(true: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not become ready")


if __name__ == "__main__":
    os.environ.pop("KBSTORE_STORE", None)
    sys.exit(main())
