"""The versioner, the face of the user's guide: what it makes, what it keeps, and what it says no to."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbstore import KnowledgeBaseVersioner
from kbstore.worktree.json_file import WorkFileError
from kbstore.worktree.project import FileState, project_of
from kbstore.worktree.taken import BaseUnknown
from tests.store.support import Ticks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A knowledge base of one article."""
    path = tmp_path / "kb.json"
    write(path, 0)
    return path


@pytest.fixture
def versioner(file: Path) -> Iterator[KnowledgeBaseVersioner]:
    """Two versions of it; the file is at the second."""
    made = KnowledgeBaseVersioner(file, clock=Ticks())
    made.create_version("first", "ana")
    write(file, 1)
    made.create_version("second", "ana")
    yield made
    made.close()


def write(path: Path, votes: int) -> None:
    """Edit the file, as a person would."""
    path.write_text(json.dumps({"title": "kb", "problems": {"p1": {"title": "t", "votes": votes}}}, indent=2) + "\n")


def votes(document: Any) -> Any:
    """What stands in the one article."""
    return document["problems"]["p1"]["votes"]


@pytest.mark.parametrize("name", ["v0", "v9", "nobody", "HEAD~2", "", "v2_1999", "@2001-01-01", "a..b"])
def test_a_name_that_cannot_be_restored_gives_false(versioner: KnowledgeBaseVersioner, file: Path, name: str) -> None:
    """Nothing is done then, also where the file holds something that is in no version."""
    write(file, 5)
    before = file.read_bytes()
    assert versioner.restore_version(name) is False
    assert file.read_bytes() == before
    assert len(versioner.list_versions()) == 2


def test_a_restore_keeps_what_is_in_no_version(versioner: KnowledgeBaseVersioner, file: Path) -> None:
    """It is made a version first, so the way back leads also to it."""
    write(file, 5)
    assert versioner.restore_version("v1") is True
    assert votes(json.loads(file.read_text())) == 0
    rows = versioner.list_versions()
    assert [row["description"] for row in rows[2:]] == [
        "Before restoring v1_20250127_120000",
        "Restore v1_20250127_120000",
    ]
    assert votes(versioner.store.checkout("v3")) == 5
    assert versioner.restore_version("v3") is True
    assert votes(json.loads(file.read_text())) == 5
    assert len(versioner.list_versions()) == 5


def test_a_restore_keeps_the_file_as_it_is(versioner: KnowledgeBaseVersioner, file: Path) -> None:
    """Whatever others committed since it was taken, and in the same place: the kept version equals the file."""
    write(file, 5)
    with KnowledgeBaseVersioner(file).store as other:
        other.commit(patch=[{"op": "replace", "path": "/problems/p1/votes", "value": 7}])
    assert versioner.restore_version("v1") is True
    assert [votes(versioner.store.checkout(f"v{n}")) for n in range(1, 6)] == [0, 1, 7, 5, 0]


@pytest.mark.parametrize("content", [b'{"problems": {', b"", b"\xff"])
def test_a_damaged_file_is_restored_and_set_aside(
    versioner: KnowledgeBaseVersioner, file: Path, content: bytes
) -> None:
    """What is no JSON cannot be a version; its bytes are kept beside the file."""
    file.chmod(0o600)
    file.write_bytes(content)
    versioner.tag("v_previous_stable", "v1")
    assert versioner.restore_version("v_previous_stable") is True
    assert votes(json.loads(file.read_text())) == 0
    (kept,) = file.parent.glob("kb.json.*.damaged")
    assert kept.read_bytes() == content
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_file_that_is_gone_is_written_again(versioner: KnowledgeBaseVersioner, file: Path) -> None:
    """There is nothing to keep then."""
    file.unlink()
    assert versioner.restore_version("v1") is True
    assert votes(json.loads(file.read_text())) == 0
    assert len(versioner.list_versions()) == 3


def test_no_history_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A name that was mistyped is refused, and nothing is made."""
    with pytest.raises(WorkFileError, match="there is no file"):
        KnowledgeBaseVersioner(tmp_path / "typo.json")
    assert list(tmp_path.iterdir()) == []


def test_the_history_of_a_private_file_is_private(file: Path) -> None:
    """Its store and the folder around are for those who may read the file."""
    file.chmod(0o600)
    KnowledgeBaseVersioner(file).close()
    assert stat.S_IMODE((file.parent / ".kbstore" / "kb.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((file.parent / ".kbstore").stat().st_mode) == 0o700


def test_a_file_of_another_store_is_kept_before_a_restore(versioner: KnowledgeBaseVersioner, file: Path) -> None:
    """What differs from its base cannot be told, so the file becomes a version as it is."""
    write(file, 5)
    project = project_of(file)
    assert project is not None
    project.remember(file, FileState(seq=9, id="0" * 64, branch="main", digest="x"))
    with pytest.raises(BaseUnknown):
        versioner.create_version("mine")
    assert versioner.restore_version("v1") is True
    assert [votes(versioner.store.checkout(f"v{n}")) for n in range(1, 5)] == [0, 1, 5, 0]
