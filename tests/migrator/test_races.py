"""Several runners at once, and runners that die: every migration takes effect exactly once."""

import random
import signal
import time
from pathlib import Path

import pytest

from kbstore.migrator import DatabaseMigrator
from tests.migrator.support import Folder, ended, rows, spawn, states

COUNT = 12
RUNNERS = 5


def counting(folder: Folder, *, slow: str) -> Folder:
    """Migrations that each make a table and add a row to one, with a pause between, so that runners meet in them."""
    folder.write(v001_base="CREATE TABLE effects (migration INTEGER NOT NULL);")
    for number in range(2, COUNT + 1):
        text = (
            f"CREATE TABLE made{number} (id INTEGER);\n{slow}"
            f"INSERT INTO effects (migration) VALUES ({number});\nALTER TABLE made{number} ADD COLUMN more INTEGER;\n"
        )
        folder.write(**{f"v{number:03}_step{number}": text})
    return folder


SLOW = {
    "sqlite": "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)\n"
    "INSERT INTO effects (migration) SELECT max(i) * 0 FROM n WHERE i < 0 HAVING max(i) > 0;\n",
    "postgresql": "SELECT pg_sleep(0.05);\n",
    "mariadb": "SELECT sleep(0.05);\n",
}


def effects(url: str) -> list[int]:
    """Which migrations left their row, in order."""
    return [row[0] for row in rows(url, "SELECT migration FROM effects ORDER BY migration")]


def all_applied(migrator: DatabaseMigrator) -> bool:
    """Whether the history says so of each."""
    return set(states(migrator).values()) == {"applied"}


def test_five_runners_at_once_apply_each_migration_once(folder: Folder, database: str) -> None:
    """All of them succeed; together they report each migration exactly once."""
    kind = database.partition(":")[0].partition("+")[0]
    counting(folder, slow=SLOW[kind])
    answers = [
        ended(process)
        for process in [
            spawn("up", "--db", database, "--dir", str(folder.path), "--wait", "60s", "--no-lint")
            for _ in range(RUNNERS)
        ]
    ]
    assert [answer.code for answer in answers] == [0] * RUNNERS, [answer.err for answer in answers]
    reported = sorted(line.split(":")[0] for answer in answers for line in answer.out.splitlines() if "applied" in line)
    assert reported == sorted(path.name for path in folder.path.iterdir())
    assert effects(database) == list(range(2, COUNT + 1))
    assert all_applied(folder.migrator(database))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_runners_killed_at_random_leave_whole_migrations(
    folder: Folder, kind: str, seed: int, request: pytest.FixtureRequest
) -> None:
    """After any number of kill -9 the next `up` ends the work: no migration is lost, doubled or half done."""
    url = request.getfixturevalue(kind)
    counting(folder, slow=SLOW[kind])
    chance = random.Random(seed)
    killed = 0
    for _ in range(4):
        runners = [spawn("up", "--db", url, "--dir", str(folder.path), "--wait", "60s") for _ in range(2)]
        time.sleep(chance.uniform(0.15, 0.6))
        for runner in runners:
            if runner.poll() is None:
                runner.send_signal(signal.SIGKILL)
                killed += 1
        for runner in runners:
            assert ended(runner).code in (0, -signal.SIGKILL)
        found = states(folder.migrator(url))
        applied = [int(Path(name).name[:3]) for name, state in found.items() if state == "applied"]
        assert set(found.values()) <= {"applied", "pending"}
        assert applied == list(range(1, len(applied) + 1))
        assert not applied or effects(url) == [number for number in applied if number > 1]
    assert killed
    folder.migrator(url).up()
    assert all_applied(folder.migrator(url))
    assert effects(url) == list(range(2, COUNT + 1))
    assert folder.migrator(url).doctor() == []
