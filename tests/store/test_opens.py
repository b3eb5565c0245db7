"""The files of a database are opened by SQLite alone: a file that Python closes drops every lock of its process."""

import json
import os
import shutil
from collections.abc import Iterable

import pytest

from kbstore.cli.main import COMMANDS as KBSTORE_COMMANDS
from kbstore.health.cli.main import COMMANDS as HEALTH_COMMANDS
from kbstore.migrator.cli.main import COMMANDS as MIGRATOR_COMMANDS
from tests.conftest import LONG
from tests.store.opens import Recorder

DOCUMENT = {"problems": {"p1": {"title": "Login fails"}, "p2": {"title": "No mail"}}}
PATCH = [{"op": "add", "path": "/problems/p9", "value": {"title": "Patched"}}]
KBSTORE = """
init kb.json
status
commit -m edited --tag incident
log
log --path /problems/p1
show
diff v1
checkout v1 -o old.json
restore v1
get /problems/p1
tag stable
branch side
apply patch.json -m patched
export -o lines.jsonl
export --sqlite tables.db
clone .kbstore/kb.db copy.db
commit -m more --allow-empty
push copy.db
pull copy.db
--store new.db import lines.jsonl
verify
gc --dry-run
gc
log
backup backup.db
backup backup2.db --verify
restore-backup backup.db
--store link.db log
completion bash
"""
HEALTH = """
check
check --tag ready
list
explain store.head
watch --rounds 1
history
note store.head written
silence store.head --for 1h --reason quiet
fix store.snapshot --dry-run
drill
"""
MIGRATOR = """
new add_orders
status
up --dry-run
up
up --no-lint
status
verify
doctor
history
dump
lint
down add_users
repair add_users --retry
baseline
"""
PROGRAM = """
import contextlib, io, json, os, sys
from importlib import import_module
from kbstore import Store
from kbstore.health import Engine, Settings
from kbstore.health.settings import Targets

ended = {}
for package, options, lines in json.loads(sys.argv[1]):
    for line in lines:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            code = import_module(f"{package}.cli.main").run([*options, *line])
        ended[" ".join([package, *line])] = [code, out.getvalue()]
        if line[0] == "init":
            os.symlink(".kbstore/kb.db", "link.db")
            with open("kb.json", "a") as file:
                file.write("\\n")
where = ".kbstore/kb.db"
one, two = Store.open(where, author="one"), Store.open(where, read_only=True)
one.commit({**one.checkout(), "api": 1}, message="api")
one.commit(patch=[{"op": "replace", "path": "/api", "value": 2}])
two.checkout(), list(two.log()), two.get("/api"), two.verify(), one.gc(), one.snapshot(), one.tag("api", "HEAD")
if os.fork() == 0:
    one.commit({**one.checkout(), "api": 3})
    os._exit(0)
os.wait()
one.close(), two.close()
with Engine(Settings(targets=Targets(store=where, database="sqlite:///app.db")), isolate=False) as engine:
    engine.run()
Store.create("made.db", {"a": 1}).close()
print(json.dumps(ended))
"""


def _lines(text: str, known: Iterable[str]) -> list[list[str]]:
    """The command lines of a table; a command that is not in the table runs without arguments."""
    lines = [line.split() for line in text.strip().splitlines()]
    named = {word for line in lines for word in line}
    return lines + [[name] for name in known if name not in named and name != "serve"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """A project in which one process used every command and the API."""
    folder = tmp_path_factory.mktemp("project")
    recorder = Recorder(folder, tmp_path_factory.mktemp("notes"))
    (folder / "kb.json").write_text(json.dumps(DOCUMENT))
    (folder / "patch.json").write_text(json.dumps(PATCH))
    (folder / "migrations").mkdir()
    (folder / "migrations" / "001_add_users.sql").write_text("CREATE TABLE users (id INTEGER PRIMARY KEY);\n")
    (folder / "migrations" / "001_add_users_rollback.sql").write_text("DROP TABLE users;\n")
    tables = [
        ("kbstore", [], _lines(KBSTORE, KBSTORE_COMMANDS)),
        ("migrator", ["--db", "sqlite:///app.db"], _lines(MIGRATOR, MIGRATOR_COMMANDS)),
        ("health", ["--store", ".kbstore/kb.db", "--db", "sqlite:///app.db"], _lines(HEALTH, HEALTH_COMMANDS)),
    ]
    ended = json.loads(recorder.run(PROGRAM, json.dumps(tables)))
    wanted = {
        f"kbstore {line}" for line in KBSTORE.split("\n") if line.split()[:1] and line.split()[0] in KBSTORE_COMMANDS
    }
    assert {line: told for line, told in ended.items() if told[0] and line in wanted} == {}
    return recorder


def test_python_opens_no_database(recorded: Recorder) -> None:
    """No command and no call opens the file of a store, of a database or of health's state by Python's own means."""
    assert recorded.by_python() == []


@pytest.mark.skipif(
    not (shutil.which("strace") or LONG or os.environ.get("CI") == "true"),
    reason="strace is not installed; CI fails without it",
)
def test_every_open_of_a_database_is_by_sqlite(recorded: Recorder) -> None:
    """The system sees no open of a database but SQLite's own, which never follow a symbolic link."""
    assert recorded.strace, "this test needs strace"
    others, by_sqlite = recorded.by_the_system()
    assert others == []
    assert by_sqlite > 2 * len(KBSTORE_COMMANDS)
