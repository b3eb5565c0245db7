"""The user's guide does what it says: its snippets are run as printed, in order, at the times that it names.

The Spanish guide is run; the English guide has the same code.
"""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kbstore
from kbstore import KnowledgeBaseVersioner, apply_patch
from kbstore.kit.clock import SystemClock
from tests.store.support import Ticks

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guia.es.md"
ENGLISH = ROOT / "docs" / "guide.md"
EXAMPLE = ROOT / "examples" / "troubleshooting"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s+)(?:#|--) .*$", re.MULTILINE)
FILE = "data/integrations/support_troubleshooting_kb.json"


def blocks(section: str) -> list[tuple[str, str]]:
    """Fenced blocks of one section of the guide, as language and text."""
    text = GUIDE.read_text(encoding="utf-8")
    return BLOCK.findall(re.split(r"^## ", text, flags=re.MULTILINE)[section_number(text, section)])


def section_number(text: str, section: str) -> int:
    """Which second-level section has this heading, counted from 1."""
    return [heading.strip() for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)].index(section) + 1


class Clock:
    """The times that the guide names; a minute more for each version after them."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 20, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


def edited(name: str) -> None:
    """Change the file as a person would, by one of the example's edits."""
    file = Path(FILE)
    document = apply_patch(json.loads(file.read_text(encoding="utf-8")), (EXAMPLE / "edits" / name).read_text())
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.fixture
def beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The guide's file with two versions, and what its author then changed for the third."""
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    monkeypatch.setattr(SystemClock, "now", lambda self: clock.now())
    Path(FILE).parent.mkdir(parents=True)
    Path(FILE).write_bytes((EXAMPLE / "support_kb.json").read_bytes())
    versioner = KnowledgeBaseVersioner(FILE)
    versioner.create_version("Base de conocimiento inicial", "ana@example.com")
    clock.time = datetime(2025, 1, 26, 9, 30, tzinfo=UTC)
    edited("02-corrected-step.json")
    versioner.create_version("Corregidos los pasos de los webhooks", "luis@example.com", ["api"])
    versioner.close()
    clock.time = datetime(2025, 1, 27, 12, tzinfo=UTC)
    edited("01-new-article.json")
    edited("04-removed-article.json")
    return clock


def test_snippets_run_as_printed(beginning: Clock) -> None:
    """Every Python snippet runs, and prints exactly the text block that follows it, where one does."""
    names: dict[str, object] = {}
    told = blocks("Versionado de la base de conocimiento") + blocks("Problemas frecuentes")
    for number, (language, text) in enumerate(told):
        if language != "python":
            continue
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(text, f"guia.es.md, snippet {number}", "exec"), names)
        beginning.time += timedelta(minutes=1)
        if number + 1 < len(told) and told[number + 1][0] == "text":
            assert out.getvalue() == told[number + 1][1], text
    versioner = names["versioner"]
    assert isinstance(versioner, KnowledgeBaseVersioner)
    assert json.loads(Path(FILE).read_text(encoding="utf-8")) == versioner.store.checkout("v2")
    assert [row["version_id"] for row in versioner.list_versions()][:3] == [
        "v1_20250120_090000",
        "v2_20250126_093000",
        "v3_20250127_120000",
    ]
    versioner.close()


def test_the_guide_of_the_user_runs_but_for_its_import_path(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original's own snippets on the knowledge base, with an injected clock: the literal names appear."""
    text = (shared / "guide.es.md").read_text(encoding="utf-8")
    section = text.partition("## Versionado de Base de Conocimiento")[2].partition("\n## ")[0]
    last = text.partition("### Problema: Versión de KB corrupta")[2]
    snippets = [code for language, code in BLOCK.findall(section + last) if language == "python"]
    assert len(snippets) == 5
    old = "from data.integrations.support_troubleshooting_kb_versioner import KnowledgeBaseVersioner"
    assert snippets[0].count(old) == 1
    snippets[0] = snippets[0].replace(old, "from kbstore import KnowledgeBaseVersioner")

    monkeypatch.chdir(tmp_path)
    clock = Ticks(datetime(2025, 1, 25, 12, tzinfo=UTC), timedelta(0))
    Path(FILE).parent.mkdir(parents=True)
    Path(FILE).write_bytes((EXAMPLE / "support_kb.json").read_bytes())
    first = KnowledgeBaseVersioner(FILE, clock=clock)
    assert first.create_version("Base de conocimiento inicial") == "v1_20250125_120000"
    clock.moment += timedelta(days=1)
    edited("02-corrected-step.json")
    assert first.create_version("Corregidos los pasos") == "v2_20250126_120000"
    first.tag("v_previous_stable", "v2_20250126")
    first.close()
    clock.moment += timedelta(days=1)
    edited("01-new-article.json")

    monkeypatch.setattr(SystemClock, "now", lambda self: clock.now())
    names: dict[str, Any] = {}
    told = []
    for number, snippet in enumerate(snippets):
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(snippet, f"guide.es.md, snippet {number}", "exec"), names)
        told.append(out.getvalue())
        if number == 0:
            assert names["version_id"] == "v3_20250127_120000"
        if number == 2:
            assert names["success"] is True
    assert told[1].splitlines()[2] == "v3_20250127_120000: Agregado problema de integración API"
    assert told[2] == "Versión restaurada exitosamente\n"
    assert told[3].splitlines()[0] == "Agregados: ['api-integration-oauth-scopes']"
    versioner = names["versioner"]
    assert json.loads(Path(FILE).read_text(encoding="utf-8")) == versioner.store.checkout("v_previous_stable")
    versioner.close()


def code(guide: Path) -> list[tuple[str, str]]:
    """All blocks of a guide, as language and text; source code without its comments."""
    told = BLOCK.findall(guide.read_text(encoding="utf-8"))
    return [(language, text if language == "text" else COMMENT.sub("", text)) for language, text in told]


def test_the_english_guide_has_the_same_code() -> None:
    """Both guides show the same blocks in the same order; only comments are translated."""
    assert code(ENGLISH) == code(GUIDE)


def test_both_guides_have_the_same_sections_and_link_to_each_other() -> None:
    """A reader can change the language on the first lines and find the same section."""
    levels = []
    for guide, other in ((GUIDE, ENGLISH), (ENGLISH, GUIDE)):
        text = guide.read_text(encoding="utf-8")
        assert f"]({other.name})" in text.partition("\n\n")[2].partition("\n\n")[0]
        levels.append(re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE))
    assert levels[0] == levels[1]


def test_the_guide_has_all_code_of_the_users_own_guide(shared: Path) -> None:
    """Each line of its snippets is in our guide; only the import paths differ."""
    ours = GUIDE.read_text(encoding="utf-8")
    for language, text in BLOCK.findall((shared / "guide.es.md").read_text(encoding="utf-8")):
        for line in COMMENT.sub("", text).splitlines() if language != "text" else ():
            path = re.match(r"from (?:data|scripts)\S+ import (\w+)$", line)
            wanted = f"import {path[1]}\n" if path else line.strip()
            assert wanted in ours, line
    for name in ("kbstore.migrator import DatabaseMigrator", "kbstore.health import TroubleshootingHealthCheck"):
        assert f"from {name}\n" in ours


def test_an_injected_clock_gives_the_names_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`KnowledgeBaseVersioner(..., clock=...)` asks that clock and no other for the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SystemClock, "now", lambda self: pytest.fail("the machine's clock was asked"))
    clock = Ticks(datetime(2025, 1, 26, 9, 30, tzinfo=UTC), timedelta(0))
    Path("kb.json").write_text('{"problems": {}}')
    versioner = KnowledgeBaseVersioner("kb.json", clock=clock)
    assert versioner.create_version("vacía") == "v1_20250126_093000"
    clock.moment = datetime(2025, 1, 27, 12, tzinfo=UTC)
    Path("kb.json").write_text('{"problems": {"p1": {}}}')
    assert versioner.create_version("uno") == "v2_20250127_120000"
    clock.moment += timedelta(hours=1)
    versioner.restore_version("v1_20250126")
    assert [row["version_id"] for row in versioner.list_versions()] == [
        "v1_20250126_093000",
        "v2_20250127_120000",
        "v3_20250127_130000",
    ]
    versioner.close()


def test_an_unchanged_file_gives_the_name_of_the_newest_version(beginning: Clock) -> None:
    """A second `create_version` on the same file adds nothing and gives the same name."""
    versioner = KnowledgeBaseVersioner(FILE)
    first = versioner.create_version("Agregado problema de integración API", "dev@example.com", ["api"])
    assert versioner.create_version("otra vez") == first == "v3_20250127_120000"
    assert len(versioner.list_versions()) == 3
    versioner.close()


def test_restoring_adds_a_version_and_rewrites_the_file(beginning: Clock) -> None:
    """The history stays, the file follows, and a name that does not exist gives False and changes nothing."""
    before = Path(FILE).read_bytes()
    versioner = KnowledgeBaseVersioner(FILE)
    versioner.create_version("tercera", "dev@example.com")
    assert versioner.restore_version("v99") is False
    assert Path(FILE).read_bytes() == before
    assert versioner.restore_version("v1_2025") is True
    assert len(versioner.list_versions()) == 4
    assert json.loads(Path(FILE).read_text(encoding="utf-8")) == versioner.store.checkout("v1")
    versioner.close()


def test_commands_run(beginning: Clock) -> None:
    """Every command line of the guide ends with exit code 0 on the same history."""
    versioner = KnowledgeBaseVersioner(FILE)
    versioner.create_version("tercera", "dev@example.com")
    versioner.close()
    env = os.environ | {"PYTHONPATH": str(Path(kbstore.__file__).parent.parent)}
    for language, text in blocks("Versionado de la base de conocimiento"):
        for line in text.splitlines() if language == "bash" else ():
            program, *arguments = shlex.split(line)
            assert program == "kbstore"
            call = [sys.executable, "-c", "from kbstore.cli import main; main()", *arguments]
            done = subprocess.run(call, cwd=Path(FILE).parent, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
