"""Many runners on one SQLite database, killed and stopped at random beside other tools: each migration runs once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kbstore import migrator
from tests.conftest import LONG, takes_long
from tests.migrator.connections import connect, execute
from tests.migrator.support import Folder, events, rows, states

ROUNDS, ROUND_S = (20, 10) if LONG else (1, 4)
COUNT = 30
SLOW = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)\n"
    "INSERT INTO effects (migration) SELECT max(i) * 0 FROM n WHERE i < 0 HAVING max(i) > 0;\n"
)
SEED = 10
RUNNERS = 4
HANGS_S = 180
SHARED = """
import os, sys
from kbstore.migrator import DatabaseMigrator
def tell(result):
    print(result.migration, result.state, flush=True)
one, two = (DatabaseMigrator(sys.argv[1], sys.argv[2], progress=tell) for _ in "12")
one.status()
child = os.fork()
one.up() if child else two.up()
two.status(), one.doctor()
if not child:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""
PLAIN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1].removeprefix("sqlite:///"), timeout=60, isolation_level=None)
for sql in ("PRAGMA wal_checkpoint(TRUNCATE)", "SELECT count(*) FROM sqlite_master", "PRAGMA quick_check"):
    found = connection.execute(sql).fetchall()
assert found == [("ok",)], found
connection.close()
"""


@dataclass
class Runners:
    """Programs at work on one database, and what became of them."""

    folder: Folder
    url: str
    dice: random.Random
    output: Path
    crew: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start one program; most of them run what is pending."""
        self.counts["processes"] += 1
        here = ["--db", self.url, "--dir", str(self.folder.path)]
        up = ["up", *here, "--wait", "60s", "--lock-timeout", "60s", "--json"]
        chosen = self.dice.choice(
            [
                up,
                up,
                up,
                [*up, "--no-backup"],
                [*up, "--tx", "all"],
                ["status", *here],
                ["doctor", *here],
                SHARED,
                PLAIN,
            ]
        )
        if isinstance(chosen, str):
            kind, code, arguments = "shared" if chosen is SHARED else "sqlite3", chosen, here[1::2]
        else:
            kind, code, arguments = chosen[0], "from kbstore.migrator.cli import main; main()", chosen
        home = str(Path(migrator.__file__).resolve().parent.parent)
        log = self.output / f"{self.counts['processes']}.{kind}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={**os.environ, "PYTHONPATH": home}, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.counts[kind] += 1
        self.crew.append((str(log), process))

    def reap(self) -> None:
        """Forget the programs that ended, and note those that ended badly."""
        for log, process in list(self.crew):
            if process.poll() is None:
                continue
            self.crew.remove((log, process))
            told = Path(log).read_text()
            # `doctor` and `status` say by their code what they found; a file that is newer than their look is no fault.
            if "Traceback" in told or (process.returncode not in (0, -signal.SIGKILL) and not log.endswith("doctor")):
                self.wrong.append(f"{Path(log).name} ended with {process.returncode}: {told[-500:]}")

    def disturb(self) -> None:
        """Kill a program, or stop it for a moment."""
        _, process = self.dice.choice(self.crew)
        if process.poll() is not None:
            return
        if self.dice.random() < 0.4:
            process.kill()
            self.counts["kills"] += 1
            return
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.dice.random() * 0.3)
        process.send_signal(signal.SIGCONT)
        self.counts["stops"] += 1

    def acknowledged(self) -> list[str]:
        """The migrations that a program reported as applied, before it ended or was killed."""
        found = []
        for log in self.output.glob("*.up"):
            for line in log.read_text().splitlines(keepends=True):
                if (
                    line.startswith("{")
                    and line.endswith("\n")
                    and (said := json.loads(line)).get("state") == "applied"
                ):
                    found.append(said["migration"])
        for log in self.output.glob("*.shared"):
            found += [line.split()[0] for line in log.read_text().splitlines() if line.endswith(" applied")]
        return found


def _round(folder: Folder, url: str, output: Path, dice: random.Random) -> tuple[Runners, bool]:
    """Let runners come, fork, be stopped and be killed until every migration was run; returns whether all ended."""
    output.mkdir()
    runners = Runners(folder, url, dice, output)
    end = time.monotonic() + ROUND_S
    while time.monotonic() < end and not runners.wrong:
        runners.reap()
        while len(runners.crew) < RUNNERS:
            runners.start()
        time.sleep(dice.random() * 0.3)
        runners.disturb()
    timer = threading.Timer(HANGS_S, lambda: [process.kill() for _, process in runners.crew])
    timer.start()
    while runners.crew:
        runners.reap()
        time.sleep(0.05)
    ended = timer.is_alive()
    timer.cancel()
    return runners, ended


@takes_long
@pytest.mark.parametrize("mode", ["delete", pytest.param("wal", marks=pytest.mark.long)])
def test_each_migration_runs_once_under_stress(folder: Folder, tmp_path: Path, mode: str) -> None:
    """Runners come, fork, are stopped and killed beside other tools: no migration is lost, doubled or half done."""
    dice = random.Random(SEED)
    folder.write(v001_base="CREATE TABLE effects (migration INTEGER NOT NULL);")
    for number in range(2, COUNT + 1):
        text = f"CREATE TABLE made{number} (id INTEGER);\n{SLOW}INSERT INTO effects (migration) VALUES ({number});\n"
        folder.write(**{f"v{number:03}_step": text})
    counts: Counter[str] = Counter()
    for turn in range(ROUNDS):
        url = f"sqlite:///{tmp_path}/{turn}.db"
        connection, _ = connect(url)
        execute(connection, f"PRAGMA journal_mode={mode}")
        connection.close()
        runners, ended = _round(folder, url, tmp_path / f"output{turn}", dice)
        final = folder.migrator(url, clock=None)
        final.up()
        acknowledged = runners.acknowledged()
        applied = Counter(name for event, name in events(final) if event == "applied")
        counts.update(runners.counts, acknowledged=len(acknowledged), migrations=COUNT)
        assert runners.wrong == []
        assert ended, "a runner hangs"
        assert [row[0] for row in rows(url, "SELECT migration FROM effects ORDER BY migration")] == [
            *range(2, COUNT + 1)
        ]
        assert set(states(final).values()) == {"applied"}
        assert (len(applied), set(applied.values())) == (COUNT, {1})
        assert len(set(acknowledged)) == len(acknowledged), "two runners report the same migration"
        assert set(acknowledged) <= set(applied)
        assert final.doctor() == []
    print(f"\n{ROUNDS} rounds, {mode}, seed {SEED}:", ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    assert {what for what in ("kills", "stops", "shared", "acknowledged") if not counts[what]} == set()
