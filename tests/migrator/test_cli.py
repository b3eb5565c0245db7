"""The command line: what is printed, and with which exit code it ends."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click import Context

from kbstore.migrator.cli.main import COMMANDS
from kbstore.migrator.engines import make_engine
from kbstore.migrator.urls import parse_url
from tests.conftest import ROOT
from tests.migrator.support import Answer, FakeClock, Folder, call, ended, spawn

DOCUMENT = ROOT / "docs" / "migrator.md"
USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY);"


@pytest.fixture
def on(folder: Folder, sqlite: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Calls a command on a folder with one migration, and an empty SQLite database, both named by the environment."""
    folder.write(v001_users=USERS, v001_users_rollback="DROP TABLE users;", v001_users_verify="SELECT id FROM users;")
    monkeypatch.setenv("MIGRATOR_DB_URL", sqlite)
    monkeypatch.setenv("MIGRATOR_DIR", str(folder.path))
    return call


def test_the_life_of_a_migration(on: Callable[..., Answer], folder: Folder) -> None:
    """new, status, up, verify, doctor, dump, history, down: what each says."""
    made = on("new", "add orders")
    name = made.out.strip()
    assert re.fullmatch(r"\d{8}_\d{6}_add_orders\.sql", name)
    (folder.path / name).write_text("CREATE TABLE orders (id INTEGER);")
    assert on("status").out.splitlines()[0] == "pending       001_users.sql"
    assert "2 migrations, 2 pending" in on("status").out
    up = on("up")
    assert re.fullmatch(rf"001_users\.sql: applied \(\d+ ms\)\n{name}: applied \(\d+ ms\)\n", up.out)
    assert on("up").out == "nothing is pending\n"
    assert on("verify").out == "001_users.sql: ok\n"
    assert "is as its migrations left it" in on("doctor").out
    assert on("dump").out.startswith("table orders\n  column id INTEGER\n")
    assert re.search(r"applied +001_users\.sql", on("history").out)
    down = on("down", name)
    assert (down.code, down.err) == (
        1,
        f"error: {name} has no rollback\nhint: migrator new add_orders_rollback, and write what undoes it\n",
    )
    assert on("new", "add_orders_rollback").out == f"{name.removesuffix('.sql')}_rollback.sql\n"
    (folder.path / f"{name.removesuffix('.sql')}_rollback.sql").write_text("DROP TABLE orders;")
    assert re.match(rf"{name}: executed on a copy", on("down", name, "--dry-run").out)
    assert re.match(rf"{name}: rolled back", on("down", "add_orders").out)


def test_json_is_one_object_a_line(on: Callable[..., Answer]) -> None:
    """With its schema version, for every command that has the option."""
    (dry,) = on("up", "--dry-run", "--json").rows
    assert (dry["migration"], dry["state"], dry["schema_version"]) == ("001_users.sql", "executed", 1)
    (up,) = on("up", "--json").rows
    assert (up["migration"], up["message"], up["state"]) == ("001_users.sql", "applied", "applied")
    assert isinstance(up["duration_ms"], int)
    (status,) = on("status", "--json").rows
    assert status["pending"] == []
    assert [row["state"] for row in status["migrations"]] == ["applied"]
    (verify,) = on("verify", "--json").rows
    assert verify["ok"] is True
    (doctor,) = on("doctor", "--json").rows
    assert (doctor["ok"], doctor["problems"]) == (True, [])
    (line,) = on("history", "--json").rows
    assert (line["event"], line["name"]) == ("applied", "001_users.sql")
    assert on("up", "--json").out == ""
    (new,) = on("new", "more", "--json").rows
    assert new["migration"].endswith("_more.sql")
    (down,) = on("down", "001", "--json").rows
    assert down["state"] == "rolled_back"
    (repaired,) = on("repair", "001", "--mark-applied", "--json").rows
    assert repaired["state"] == "applied"


def test_exit_code_1_error(on: Callable[..., Answer], folder: Folder) -> None:
    """The message has file and line, the statement, what the database said, what is there now, and what to do."""
    folder.write(v002_more=f"CREATE TABLE more (id INTEGER);\n\n{USERS}")
    answer = on("up")
    assert answer.code == 1
    assert answer.err.endswith(
        "error: 002_more.sql:3: statement 2 of 2 failed: table users already exists\n"
        "    CREATE TABLE users (id INTEGER PRIMARY KEY)\n"
        "  in the database now: nothing of 002_more.sql, its transaction was rolled back; the one before it stays\n"
        "hint: mend 002_more.sql, then: migrator up\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("up", "--nothing"),
        ("up", "--tx", "some"),
        ("up", "--lock-timeout", "soon"),
        ("down",),
        ("repair", "001"),
        ("baseline",),
        ("baseline", "001", "--from", "dbmate"),
        ("baseline", "--from", "flyway"),
    ],
)
def test_exit_code_2_usage(on: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
    """The command line was not understood; nothing was looked at."""
    answer = on(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "--help" in answer.err


def test_no_command_shows_the_help(on: Callable[..., Answer]) -> None:
    """On stderr, since nothing was done."""
    answer = on()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: migrator")


def test_a_mistyped_command_is_told_the_nearest(on: Callable[..., Answer]) -> None:
    """As git does."""
    assert "did you mean 'status'?" in on("sttus").err


def test_exit_code_3_pending(on: Callable[..., Answer]) -> None:
    """Only with --check; afterwards 0."""
    assert on("status").code == 0
    assert on("status", "--check").code == 3
    on("up")
    assert on("status", "--check").code == 0


def test_exit_code_4_changed(on: Callable[..., Answer], folder: Folder) -> None:
    """For `status --check`, `up`, `verify` and `doctor`."""
    on("up")
    folder.write(v001_users="CREATE TABLE users (id INTEGER);")
    assert on("status").code == 0
    assert [on(*arguments).code for arguments in (("status", "--check"), ("up",), ("verify",), ("doctor",))] == [4] * 4
    folder.write(v001_users=USERS, v001_users_verify="SELECT name FROM users;")
    assert on("verify").code == 4
    assert "001_users_verify.sql:1: no such column: name" in on("verify").out


def test_exit_code_5_locked(folder: Folder, postgresql: str) -> None:
    """Another runner holds the lock for longer than --wait."""
    folder.write(v001_users=USERS)
    with make_engine(parse_url(postgresql)) as other:
        other.open()
        with other.lock(0, FakeClock()):
            answer = call("up", "--db", postgresql, "--dir", str(folder.path), "--wait", "100ms")
    assert answer.code == 5
    assert "another migrator has worked on" in answer.err


def test_exit_code_6_repair(folder: Folder, postgresql: str) -> None:
    """A journal that was not ended: `up`, `status --check`, `doctor`; repair settles it."""
    folder.write(v001_users=f"-- migrator: transaction=off\n{USERS}\nSELECT 1 / 0;")
    place = ("--db", postgresql, "--dir", str(folder.path))
    assert call("up", *place).code == 1
    codes = [
        call(*arguments, *place).code for arguments in (("up",), ("status", "--check"), ("doctor",), ("down", "1"))
    ]
    assert codes == [6] * 4
    assert "1 statements done; division by zero" in call("status", *place).out
    assert call("repair", "001", "--retry", *place).code == 1
    folder.write(v001_users=f"-- migrator: transaction=off\n{USERS}\nSELECT 1;")
    assert call("repair", "001", "--retry", *place).out == "001_users.sql: applied\n"
    assert call("status", "--check", *place).code == 0


def test_exit_code_7_lint(on: Callable[..., Answer], folder: Folder) -> None:
    """An error of lint stops `up` before anything runs; --no-lint passes over it."""
    folder.write(v002_all="DELETE FROM users;")
    answer = on("up")
    assert answer.code == 7
    assert "002_all.sql:1" in answer.err
    assert on("lint").code == 7
    assert on("status", "--check").code == 3
    assert on("up", "--no-lint").code == 0


def test_the_database_is_named_before_or_after_the_command(folder: Folder, sqlite: str) -> None:
    """And the environment is asked last."""
    folder.write(v001_users=USERS)
    for arguments in (
        ("--db", sqlite, "--dir", str(folder.path), "status"),
        ("status", "--db", sqlite, "--dir", str(folder.path)),
    ):
        assert "1 migrations, 1 pending" in call(*arguments).out


def test_the_defaults_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./migrations, where `up` refuses to find none in silence, and a SQLite file that nobody has to set up."""
    monkeypatch.chdir(tmp_path)
    assert call("status").out == "0 migrations, 0 pending, in sqlite:///migrator.db\n"
    up = call("up")
    assert (up.code, up.err.splitlines()[0]) == (1, "error: there is no folder ./migrations")
    assert list(tmp_path.iterdir()) == []
    name = call("new", "users").out.strip()
    (tmp_path / "migrations" / name).write_text(USERS)
    assert call("up").code == 0
    assert (tmp_path / "migrator.db").exists()


def test_it_is_a_command_of_kbstore(on: Callable[..., Answer], capsys: pytest.CaptureFixture[str]) -> None:
    """`kbstore migrate` is found by its entry point, passes on all options, and keeps output and exit codes."""
    from kbstore.cli.main import run as run_kbstore

    for arguments in (
        ["status", "--check"],
        ["up", "--dry-run"],
        ["up", "--help"],
        ["up"],
        ["status", "--check"],
        ["no"],
    ):
        capsys.readouterr()
        code = run_kbstore(["migrate", *arguments])
        through = capsys.readouterr()
        if arguments != ["up"]:
            alone = on(*arguments)
            assert (code, timeless(through.out), through.err) == (alone.code, timeless(alone.out), alone.err)
    assert run_kbstore(["--help"]) == 0
    assert re.search(r"^  migrate ", capsys.readouterr().out, re.MULTILINE)


def timeless(text: str) -> str:
    """Return an output without the times."""
    return re.sub(r"\(\d+ ms\)", "(n ms)", text)


def test_new_takes_sql_from_stdin(tmp_path: Path) -> None:
    """Its text is the file's."""
    code = "from kbstore.migrator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "new", "orders", "--stdin", "--dir", str(tmp_path)],
        input="CREATE TABLE orders (id INTEGER);",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / done.stdout.strip()).read_text() == "CREATE TABLE orders (id INTEGER);\n"


def test_what_is_printed_cannot_steer_a_terminal(on: Callable[..., Answer], folder: Folder) -> None:
    """Control characters of SQL and names come out as their codes."""
    folder.write(v002_bad="SELECT '\x1b]0;title\x07' FROM nowhere;")
    answer = on("up")
    assert "\x1b" not in answer.err
    assert "\\x1b]0;title\\x07" in answer.err


def test_a_fault_of_ours_is_no_traceback(on: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and how to see more."""
    from kbstore.migrator import DatabaseMigrator

    def broken(self: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(DatabaseMigrator, "status", broken)
    answer = on("status")
    assert (answer.code, answer.err.splitlines()[0]) == (1, "error: RuntimeError: broken")
    monkeypatch.setenv("MIGRATOR_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        on("status")


def test_a_reader_that_has_enough_is_no_error(folder: Folder, sqlite: str) -> None:
    """A closed pipe ends the command quietly."""
    for number in range(1, 2000):
        (folder.path / f"{number:04}_t.sql").write_text("SELECT 1;")
    process = spawn("status", "--db", sqlite, "--dir", str(folder.path))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert ended(process).code == 0


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example(command: str) -> None:
    """Every command explains itself; each example begins with the program."""
    answer = call(*filter(None, [command, "--help"]))
    assert answer.code == 0
    examples = answer.out.partition("Example:\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    assert all(re.search(rf"\bmigrator {command}", line) for line in lines)


def test_the_samples_run_as_the_documentation_says(sqlite: str) -> None:
    """Up of the samples on a new SQLite file, then status and doctor on the same."""
    place = ("--dir", "builtin:troubleshooting", "--db", sqlite)
    assert call("up", *place).code == 0
    (status,) = call("status", "--json", *place).rows
    assert [row["state"] for row in status["migrations"]] == ["applied"] * 6
    assert call("status", "--check", *place).code == 0
    assert call("verify", *place).out.count(": ok\n") == 6
    assert call("doctor", *place).code == 0


def test_every_command_option_and_exit_code_is_documented() -> None:
    """docs/migrator.md names them all; and the exit codes are those of the code."""
    text = DOCUMENT.read_text(encoding="utf-8")
    from kbstore.migrator.cli import exit_codes
    from kbstore.migrator.cli.main import commands

    for name in COMMANDS:
        assert f"migrator {name}" in text, name
        command = commands.get_command(Context(commands), name)
        assert command is not None
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert option in text, f"{name} {option}"
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}


def test_the_state_diagram_is_that_of_the_code() -> None:
    """Each state that a row may have stands in the diagram of docs/migrator.md."""
    from kbstore.migrator.history import DONE, HALF_DONE

    diagram = DOCUMENT.read_text(encoding="utf-8").partition("```mermaid")[2].partition("```")[0]
    assert "stateDiagram" in diagram
    named = set(re.findall(r"\b[a-z_]+\b", diagram))
    assert named >= DONE | HALF_DONE | {"pending", "rolled_back"}
