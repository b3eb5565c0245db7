"""Everything at once on one store, with kills and stops at random: no acknowledged version is lost or doubled."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import kbstore
from kbstore import Store
from tests.conftest import LONG, takes_longest

SCRIPT = Path(__file__).with_name("stressing.py")
SECONDS = 600 if LONG else 60
ACKNOWLEDGED = 100
"""So many versions are to be acknowledged, however long that takes on a machine that has other work."""
SEED = 10
FEWEST, MOST = 4, 12
HANGS_S = 180
ROLES = ("steady", "steady", "steady", "threads", "forking", "forking", "brief", "brief", "brief")
SQLITE = (
    "PRAGMA wal_checkpoint(PASSIVE);",
    "PRAGMA wal_checkpoint(TRUNCATE);",
    "SELECT count(*), max(id) FROM records;",
    "PRAGMA quick_check;",
    "ANALYZE;",
)
PLAIN = (
    "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
    "for row in c.execute(sys.argv[2]): print(*row, sep='|')\nc.close()\n"
)


def environment() -> dict[str, str]:
    """The environment in which programs find the packages under test."""
    return {**os.environ, "PYTHONPATH": str(Path(kbstore.__file__).parent.parent), "KBSTORE_AUTHOR": "care"}


def program(package: str, *arguments: str) -> list[str]:
    """The command line of a package."""
    return [sys.executable, "-c", f"from {package}.cli import main; main()", *arguments]


@dataclass
class Stress:
    """A store under stress.

    Attributes:
        path: The store.
        notes: Where writers note what they were promised.
        scratch: Where backups go.
        dice: Decide who is killed, and when.
        wrong: What must never be, one sentence each.
        counts: What was done, and how often.
    """

    path: Path
    notes: Path
    scratch: Path
    dice: random.Random
    crew: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    # ---- writers --------------------------------------------------------------------------------------------------

    def conduct(self, seconds: float) -> None:
        """Keep some writers at work, and disturb them, until time is up and enough was done, or something is wrong."""
        end = time.monotonic() + seconds
        while not self.wrong and (time.monotonic() < end or not self._is_enough()):
            assert time.monotonic() < end + HANGS_S, self.counts
            self._reap()
            while len(self.crew) < FEWEST or (len(self.crew) < MOST and self.dice.random() < 0.2):
                self._start(self.dice.choice(ROLES))
            time.sleep(self.dice.random() * 0.3)
            self._disturb()
        self.over.set()
        (self.notes / "stop").touch()
        deadline = time.monotonic() + HANGS_S
        while (pids := self._alive()) and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.1)
        for pid in pids:
            self.wrong.append(f"process {pid} hangs")
            os.kill(pid, signal.SIGKILL)
        self._reap()

    def _is_enough(self) -> bool:
        noted = Counter(line[0] for line in self.lines())
        done = (noted["forked"], self.counts["kills"], self.counts["stops"])
        return noted["ack"] >= ACKNOWLEDGED and all(done)

    def _start(self, role: str) -> None:
        self.counts["processes"] += 1
        name = f"{role}{self.counts['processes']}"
        command = [sys.executable, "-P", str(SCRIPT), role, str(self.path), str(self.notes), name]
        self.crew[name] = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)

    def _reap(self) -> None:
        for name, process in list(self.crew.items()):
            if process.poll() is not None:
                del self.crew[name]
                if process.returncode not in (0, -signal.SIGKILL):
                    self.wrong.append(f"{name} ended with {process.returncode}")

    def _alive(self) -> set[int]:
        """The writers that still run, and children whose parent was killed."""
        pids = {process.pid for process in self.crew.values()}
        pids |= {int(each.stem.rpartition("-")[2]) for each in self.notes.glob("*.notes")}
        return {pid for pid in pids if _state(pid) not in ("", "Z")}

    def _disturb(self) -> None:
        """Kill a writer or one of its children, or stop one for a moment, or leave them alone."""
        pid = self.dice.choice([process.pid for process in self.crew.values()])
        if self.dice.random() < 0.5 and (children := _children(pid)):
            pid = self.dice.choice(children)
        chance = self.dice.random()
        try:
            if chance < 0.15:
                os.kill(pid, signal.SIGKILL)
                self.counts["kills"] += 1
            elif chance < 0.5:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(self.dice.random() ** 2 * 0.5)
                os.kill(pid, signal.SIGCONT)
                self.counts["stops"] += 1
        except ProcessLookupError:
            pass  # it ended by itself

    # ---- care, checks and other tools -----------------------------------------------------------------------------

    def tend(self, seed: int, *acts: "Callable[[Stress, random.Random], None]") -> None:
        """Do these in turns until the time is up, and each at least once."""
        dice = random.Random(seed)
        for turn in itertools.count():
            for act in acts:
                if turn and self.over.is_set():
                    return
                act(self, dice)
                self.over.wait(dice.random() * 0.5)

    def run(self, what: str, command: list[str], *, killed: bool = False, good: tuple[int, ...] = (0,)) -> str | None:
        """Run a program, and note if it ends badly; returns what it printed, or None if it was killed on the way."""
        process = subprocess.Popen(
            command, env=environment(), cwd=self.scratch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = process.communicate(timeout=random.random() if killed else HANGS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.counts[f"{what} killed"] += 1
            if not killed:
                self.wrong.append(f"{what} hangs: {out[-300:]} {err[-300:]}")
            return None
        self.counts[what] += 1
        if process.returncode not in good:
            self.wrong.append(f"{what} ended with {process.returncode}: {out[-600:]} {err[-600:]}")
        return out

    def often(self, what: str, dice: random.Random) -> bool:
        """Whether to kill a program that has ended by itself before: sometimes."""
        return self.counts[what] > 0 and dice.random() < 0.25

    # ---- the end --------------------------------------------------------------------------------------------------

    def lines(self) -> list[list[str]]:
        """Every whole line that a writer noted, as words."""
        return [
            line.split()
            for each in sorted(self.notes.glob("*.notes"))
            for line in each.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def acknowledged(self) -> dict[str, str]:
        """The id of each acknowledged version, and its message."""
        return {line[1]: line[2] for line in self.lines() if line[0] == "ack"}

    def settle(self) -> None:
        """Compare what was promised with what is there."""
        lines = self.lines()
        promised = self.acknowledged()
        with Store.open(self.path) as kb:
            log = list(kb.log(newest_first=False))
            there = {version.id: version.message for version in log}
            messages = Counter(there.values())
            self.counts["acknowledged"] = len(promised)
            self.counts["versions"] = len(log)
            self.counts["forks"] = sum(line[0] == "forked" for line in lines)
            slowest_s = max((float(line[3]) for line in lines if line[0] == "ack"), default=0)
            self.counts["ms for the slowest"] = round(1000 * slowest_s)
            self.counts["lost"] = sum(there.get(ident) != message for ident, message in promised.items())
            self.counts["doubled"] = sum(count > 1 for count in messages.values())
            self.wrong += [" ".join(line) for line in lines if line[0] == "wrong"]
            # A child whose parent was in the middle of a call is refused, and told so; nothing else is.
            refusals = [" ".join(line) for line in lines if line[0] == "refused"]
            self.counts["refused"] = len(refusals)
            self.wrong += [text for text in refusals if "forked" not in text]
            if [version.seq for version in log] != list(range(1, len(log) + 1)):
                self.wrong.append("the log has gaps")
            if set(kb.checkout()["w"]) != {version.message for version in log[1:]}:
                self.wrong.append("the document is not what the log leads to")
            report = kb.verify()
            self.wrong += report.problems + report.caches
        if left := sorted(set(os.listdir(self.path.parent)) - {self.path.name}):
            self.wrong.append(f"left beside the store: {left}")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def collect(stress: Stress, dice: random.Random) -> None:
    """`kbstore gc`, sometimes killed on the way."""
    stress.run("gc", program("kbstore", "--store", str(stress.path), "gc"), killed=stress.often("gc", dice))


def verify(stress: Stress, dice: random.Random) -> None:
    """`kbstore verify` calls the store sound, whatever is written beside it."""
    out = stress.run("verify", program("kbstore", "--store", str(stress.path), "verify", "--json"))
    if out and not json.loads(out)["ok"]:
        stress.wrong.append(f"false damage by verify: {out[:600]}")


def check(stress: Stress, dice: random.Random) -> None:
    """`health check` finds no fault in the store."""
    command = program("health", "--store", str(stress.path), "check", "--format", "json")
    if out := stress.run("health check", command, good=(0, 1, 2, 3)):
        for name, found in json.loads(out)["checks"].items():
            if name.startswith(("store.", "sqlite.")) and found["status"] in ("unhealthy", "unknown"):
                stress.wrong.append(f"false damage by health check: {name} {found}")


def backup(stress: Stress, dice: random.Random) -> None:
    """`kbstore backup` gives a store that holds everything that was acknowledged before it began."""
    target = stress.scratch / f"backup{stress.counts['backup']}.db"
    before = stress.acknowledged()
    command = program("kbstore", "--store", str(stress.path), "backup", str(target))
    if stress.run("backup", command, killed=stress.often("backup", dice)) is not None and target.exists():
        with Store.open(target) as kb:
            missing = set(before) - {version.id for version in kb.log()}
            if missing or not kb.verify().ok:
                stress.wrong.append(f"a backup lacks {len(missing)} versions, or is damaged")
    for each in stress.scratch.iterdir():
        each.unlink()


def plain_sqlite(stress: Stress, dice: random.Random) -> None:
    """The command line of SQLite, or another program that uses SQLite, reads and checkpoints."""
    sql = dice.choice(SQLITE)
    shell = shutil.which("sqlite3")
    command = [shell, "-cmd", ".timeout 60000"] if shell else [sys.executable, "-c", PLAIN]
    out = stress.run("sqlite3", [*command, str(stress.path), sql], killed=stress.often("sqlite3", dice))
    if out is not None and "quick_check" in sql and out.strip() != "ok":
        stress.wrong.append(f"false damage by SQLite: {out}")


@takes_longest
def test_nothing_acknowledged_is_lost_under_stress(tmp_path: Path) -> None:
    """Writers with several handles, threads and forks, killed and stopped at random, beside care, checks and tools."""
    folders = [tmp_path / name for name in ("store", "notes", "scratch")]
    for each in folders:
        each.mkdir()
    stress = Stress(folders[0] / "kb.db", folders[1], folders[2], random.Random(SEED))
    Store.create(stress.path, {"n": 0, "w": {}}).close()
    tending = [
        threading.Thread(target=stress.tend, args=(1, verify, collect)),
        threading.Thread(target=stress.tend, args=(2, check, backup)),
        threading.Thread(target=stress.tend, args=(3, plain_sqlite)),
    ]
    for thread in tending:
        thread.start()
    stress.conduct(SECONDS)
    for thread in tending:
        thread.join()
    stress.settle()
    print(f"\n{SECONDS} s, seed {SEED}:", ", ".join(f"{count} {what}" for what, count in sorted(stress.counts.items())))
    assert stress.wrong == []
    assert (stress.counts["lost"], stress.counts["doubled"]) == (0, 0)
    done = {"acknowledged", "forks", "kills", "stops", "gc", "verify", "health check", "backup", "sqlite3"}
    assert {what for what in done if not stress.counts[what]} == set()
