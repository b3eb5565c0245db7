"""The guide's part on migrations does what it says, on PostgreSQL, at the times that it names: ours and the user's."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from kbstore import migrator
from kbstore.migrator import DatabaseMigrator
from kbstore.migrator.clock import SystemClock
from kbstore.migrator.samples import sample_folder
from tests.migrator.connections import connect
from tests.migrator.support import rows

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_URL = '"postgresql://..."'
OLD_PATH = "data.integrations.support_troubleshooting_migrator"


class Clock:
    """The time of the guide's names; a minute more for each of its snippets."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 27, 12, tzinfo=UTC)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Work in an empty folder beside `examples`, at noon of the guide's day."""
    clock = Clock()
    monkeypatch.setattr(SystemClock, "now", lambda self: clock.time)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return clock


def section(text: str, heading: str) -> str:
    """One second-level section of a guide."""
    (found,) = re.findall(rf"^## {heading}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def run_python(text: str, url: str, names: dict[str, Any], clock: Clock) -> str:
    """Run a snippet as printed, but for the URL that it leaves open; returns what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(text.replace(ANY_URL, repr(url)), "a snippet of the guide", "exec"), names)
    clock.time += timedelta(minutes=1)
    return out.getvalue()


def run_shell(text: str, url: str, place: Path) -> None:
    """Run command lines in a shell whose `migrator` is this one."""
    programs = place / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / "migrator"
    program.write_text(f"#!{sys.executable}\nfrom kbstore.migrator.cli import main\nmain()\n")
    program.chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(migrator.__file__).parent.parent),
        "MIGRATOR_DB_URL": url,
    }
    done = subprocess.run(["sh", "-euc", text], cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_guide_runs_as_printed(clock: Clock, tmp_path: Path, postgresql: str) -> None:
    """Every snippet runs in its order; each prints exactly the text block that follows it, where one does."""
    told = BLOCK.findall(section((ROOT / "docs" / "guia.es.md").read_text(encoding="utf-8"), "Sistema de migraciones"))
    assert [language for language, _ in told].count("python") == 6
    names: dict[str, Any] = {}
    for number, (language, text) in enumerate(told):
        if language == "python":
            printed = run_python(text, postgresql, names, clock)
            if told[number + 1][0] == "text":
                assert printed == told[number + 1][1], text
        elif language == "bash":
            run_shell(text, postgresql, tmp_path)
        elif language == "sql":
            connection, _ = connect(postgresql)
            cursor = connection.execute(text.encode())
            assert "SELECT" not in text or len(cursor.fetchall()) == 7
            connection.close()
        else:
            assert language == "text"


def test_the_users_guide_works_as_written(clock: Clock, shared: Path, postgresql: str) -> None:
    """Its three snippets and its query, on our import path, after the samples are applied."""
    copytree(sample_folder(), "migrations")
    DatabaseMigrator(postgresql).up()
    guide = (shared / "guide.es.md").read_text(encoding="utf-8")
    told = guide[: guide.index("## Versionado de Base de Conocimiento")]
    names: dict[str, Any] = {}
    printed = ""
    for language, text in BLOCK.findall(told):
        assert language == "python"
        printed += run_python(text.replace(OLD_PATH, "migrator"), postgresql, names, clock)
    name = "20250127_120000_add_new_field_to_sessions.sql"
    assert printed == f"Migraciones pendientes: ['{name}']\n{name}: executed and rolled back\n"
    assert names["migration_name"] == name
    assert [(row["migration"], row["state"]) for row in names["results"]] == [(name, "applied")]
    assert (names["result"]["migration"], names["result"]["state"]) == (name, "rolled_back")
    query = "SELECT * FROM schema_migrations ORDER BY applied_at DESC;"
    assert query in guide
    assert rows(postgresql, query)[0][0] == name
    columns = "SELECT 1 FROM information_schema.columns WHERE column_name = 'new_field'"
    assert rows(postgresql, columns) == []


def test_the_guides_list_of_included_migrations_is_what_is_included() -> None:
    """Six files, by their names."""
    text = section((ROOT / "docs" / "guia.es.md").read_text(encoding="utf-8"), "Sistema de migraciones")
    listed = re.findall(r"^- `(\d{3}_\w+\.sql)`", text, re.MULTILINE)
    assert len(listed) == 6
    assert all((sample_folder() / name).is_file() for name in listed)
