"""Completion: the scripts for each shell, and what they are answered while a user types."""

import pytest

from kbstore.cli.main import COMMANDS
from tests.cli.support import Shell


def offered(shell: Shell, typed: str) -> list[str]:
    """What bash is offered at the end of what was typed."""
    words = typed.split(" ")
    env = {"_KBSTORE_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    result = shell.ok(env=env)
    assert result.err == ""
    return [line.partition(",")[2] for line in result.lines if line.startswith("plain,")]


@pytest.mark.parametrize(
    ("name", "sign"), [("bash", "complete -o"), ("zsh", "#compdef kbstore"), ("fish", "complete ")]
)
def test_scripts(shell: Shell, name: str, sign: str) -> None:
    """Each asks this program, by the variable that it answers."""
    told = shell.ok("completion", name).out
    assert sign in told
    assert f"_KBSTORE_COMPLETE={name}_complete" in told


def test_commands_and_options(shell: Shell) -> None:
    """Also where there is no store."""
    assert offered(shell, "kbstore ")[: len(COMMANDS)] == list(COMMANDS)  # others may add theirs
    assert offered(shell, "kbstore co") == ["commit", "config", "completion"]
    assert "--oneline" in offered(shell, "kbstore log --o")
    assert "--store" in offered(shell, "kbstore log --s")
    assert offered(shell, "kbstore completion ") == ["bash", "zsh", "fish"]
    assert offered(shell, "kbstore show ") == []


@pytest.mark.parametrize(
    "command", ["show", "diff", "diff v1", "log", "checkout", "restore", "get --at", "tag x", "export"]
)
def test_revisions(kb: Shell, command: str) -> None:
    """Tags, branches and the newest versions, wherever a revision is wanted; from the store that was named."""
    kb.ok("tag", "stable", "v1")
    kb.ok("branch", "draft")
    found = offered(kb, f"kbstore {command} ")
    assert found[:4] == ["HEAD", "stable", "draft", "main"]
    assert [name[:3] for name in found[4:]] == ["v3_", "v2_", "v1_"]
    assert offered(kb, f"kbstore {command} st") == ["stable"]
    (kb.folder / "elsewhere").mkdir()
    assert offered(kb, f"kbstore -C elsewhere --store ../.kbstore {command} st") == ["stable"]


def test_a_store_that_cannot_be_read_offers_nothing(kb: Shell) -> None:
    """And says nothing either, in the middle of somebody's typing."""
    (kb.folder / ".kbstore" / "kb.db").write_bytes(b"\0" * 4096)
    assert offered(kb, "kbstore show ") == []
