"""The command line: its commands, its exit codes, and that it is `kbstore health` as well."""

import json
import re
from pathlib import Path

import pytest

from kbstore.health.cli.main import COMMANDS, run
from kbstore.kit.hosts import INSECURE
from tests.health.support import command, demo_store

EXIT_CODES = {0: "healthy", 1: "degraded", 2: "unhealthy", 3: "unknown"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store and a configuration in it."""
    demo_store(tmp_path)
    (tmp_path / "health.toml").write_text('[targets]\nstore = "kb.db"\n[remedies]\nallow = ["store.snapshot"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_a_healthy_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`health check` on a sound store ends with 0, in a process of its own too."""
    done = command("check", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["overall_status"] == "healthy"
    assert told["checks"]["store.chain"]["message"] == "12 new and 0 old events are whole"
    assert run(["check", "store.chain", "--format", "text"]) == 0
    assert "0 new and 12 old events are whole" in capsys.readouterr().out


def test_exit_codes_are_those_of_nagios(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0, 1, 2 by status; --fail-on raises the bar; what could not be found out is 3."""
    config = folder / "health.toml"
    assert run(["check", "store.head"]) == 0
    config.write_text('[targets]\nstore = "kb.db"\n[thresholds]\nhead_degraded_s = 1e-6\n')
    assert run(["check", "store.head"]) == 1
    assert run(["check", "store.head", "--fail-on", "unhealthy"]) == 0
    config.write_text('[targets]\nstore = "nowhere.db"\n')
    assert run(["check", "store.head"]) == 2
    assert run(["check", "--fail-on", "unhealthy"]) == 2
    config.write_text('[targets]\nstoer = "kb.db"\n')
    assert run(["check"]) == 3
    assert "hint: did you mean 'store'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--bogus"],
        ["check", "no.such.check"],
        ["check", "--tag", "urgent"],
        ["check", "--format", "xml"],
        ["--bogus"],
        ["chekc"],
        ["explain"],
        ["silence", "store.head", "--for", "2x", "--reason", "r"],
        ["check", "--config", "absent.toml"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_unknown(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """3, with an error and a hint on stderr and nothing on stdout; also as `kbstore health`."""
    from kbstore.cli.main import run as run_kbstore

    assert run(arguments) == 3
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert not told.out
    assert run_kbstore(["health", *arguments]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_no_command_is_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help is no error."""
    assert run([]) == 3
    assert capsys.readouterr().err.startswith("Usage: health")


def test_it_is_a_command_of_kbstore(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`kbstore health` is found by its entry point, takes kbstore's --store, and keeps the exit codes."""
    from kbstore.cli.main import run as run_kbstore

    (folder / "health.toml").unlink()
    assert run_kbstore(["--store", "kb.db", "health", "check", "store.reachable", "--format", "nagios"]) == 0
    assert capsys.readouterr().out.startswith("HEALTH OK - 1 check healthy")
    assert run_kbstore(["--store", "nowhere.db", "health", "check", "store.reachable", "--format", "nagios"]) == 2
    assert run_kbstore(["--help"]) == 0
    assert re.search(r"^  health ", capsys.readouterr().out, re.MULTILINE)


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of each command shows what it does and an example."""
    for name in COMMANDS:
        assert run([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Example:" in text
        assert f"health {name}" in text
        assert "\\b" not in text
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"^  {name}\b", told, re.MULTILINE) for name in COMMANDS)


def test_insecure_reaches_the_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was started before the option was read has another environment, so it is not used."""

    class Early:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("used")

    monkeypatch.setenv(INSECURE, "")
    assert run(["check", "store.reachable"], early=Early()) == 3  # type: ignore[arg-type]
    assert run(["check", "store.reachable", "--insecure"], early=Early()) != 3  # type: ignore[arg-type]


def test_list_and_explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All checks are listed, and one is explained with its threshold, needs, runbook and past."""
    assert run(["list"]) == 0
    assert "store.head " in capsys.readouterr().out
    assert run(["list", "--json"]) == 0
    specs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(spec["summary"] and spec["runbook"] and spec["schema_version"] == 1 for spec in specs)
    run(["check", "store.head"])
    run(["note", "store.head", "wrote a version"])
    run(["silence", "store.head", "--for", "2h", "--reason", "a holiday"])
    capsys.readouterr()
    assert run(["explain", "store.head"]) == 0
    told = capsys.readouterr().out
    for part in ("head_degraded_s = 0", "store.reachable", "docs/health.md#storehead", "wrote a version", "a holiday",
                 "impact     at worst degraded", "healthy: v12_",
                 "alerts     after 2 bad rounds in a row; resolved after 1 good round\n"):  # fmt: skip
        assert part in told, part


def test_history_shows_a_strip(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The strip, and for one check its changes; as JSON one result a line."""
    run(["check", "store.disk", "store.size"])
    capsys.readouterr()
    assert run(["history"]) == 0
    assert re.search(r"^store\.size +\u2581$", capsys.readouterr().out, re.MULTILINE)
    assert run(["history", "store.size"]) == 0
    told = capsys.readouterr().out
    assert "store.disk" not in told
    assert re.search(r"Z  healthy: the store takes", told)
    assert run(["history", "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {result["name"] for result in results} == {"store.disk", "store.size", "store.reachable"}


def test_a_drill_is_made_and_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a drill the check is skipped; after one it says what came back; a failed one is told until the next."""
    assert run(["check", "restore.drill", "--format", "json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["skipped"]["restore.drill"]["hint"] == "run: health drill"
    assert run(["drill", "--version", "v3"]) == 0
    assert capsys.readouterr().out.startswith("v3_")
    assert run(["check", "restore.drill", "--format", "json"]) == 0
    assert "came back whole" in json.loads(capsys.readouterr().out)["checks"]["restore.drill"]["message"]
    assert run(["drill", "--version", "v99"]) == 3
    assert run(["drill", "--json"]) == 0


def test_a_drill_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What came back is not what was committed: exit code 2, and the check says so."""
    from kbstore import Store

    monkeypatch.setattr(Store, "checkout", lambda self, revision: {"problems": {}, "lost": True})
    assert run(["drill", "--version", "v3"]) == 2
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert run(["check", "restore.drill"]) == 1
    assert "the last drill failed: v3_" in capsys.readouterr().out


def test_fix_shows_runs_and_looks_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run only tells; a run tells what it did and how the check is now; what is not allowed is refused."""
    config = folder / "health.toml"
    config.write_text(config.read_text() + '[checks."store.snapshot"]\nremedy = ["echo", "a b"]\n')
    assert run(["fix", "store.snapshot", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would run: echo 'a b'\n"
    assert run(["fix", "store.snapshot"]) == 0
    told = capsys.readouterr().out
    assert "run: echo 'a b'\n  a b\nit ended with exit code 0\n" in told
    assert "store.snapshot" in told
    assert run(["fix", "store.snapshot"]) == 3
    assert "ran just now" in capsys.readouterr().err
    assert run(["fix", "store.chain"]) == 3
