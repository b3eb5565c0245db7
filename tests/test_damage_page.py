"""`docs/damage.md` does what it says: its commands are run on stores that are damaged, and print what is printed there.

`python -m tests.test_damage_page` writes what is printed into the page; read the difference before you commit it.
"""

import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from kbstore.cli.main import run
from kbstore.sync.backup import backup_store
from tests.test_readme import ROOT, SESSION, run_session, settled

PAGE = ROOT / "docs" / "damage.md"
_EDITS = [("login", 2), ("login", 3), ("mail", 77), ("login", 4), ("mail", 78), ("login", 5)]


def _seven_versions(folder: Path) -> None:
    """A store of seven versions, of which the patch of v4 is damaged: what v4 brought, v6 replaces."""
    _store(folder, _EDITS)
    _damage_v4(folder)


def _damage_v4(folder: Path) -> None:
    store = folder / ".kbstore" / "kb.db"
    data = store.read_bytes()
    assert data.count(b'"value":77}') == 1
    store.write_bytes(data.replace(b'"value":77}', b'"value":67}'))


def _seven_and_a_backup(folder: Path) -> None:
    """The same store, and a backup of its first four versions."""
    _backup_at(folder, 3)


def _seven_and_a_backup_of_two(folder: Path) -> None:
    """The same store, and a backup of its first two versions: v4 is in neither."""
    _backup_at(folder, 1)


def _backup_at(folder: Path, edits: int) -> None:
    _store(folder, _EDITS[:edits])
    backup_store(folder / ".kbstore" / "kb.db", folder / "kb-monday.db")
    for article, votes in _EDITS[edits:]:
        _commit(folder, article, votes)
    _damage_v4(folder)


def _seven_without_file(folder: Path) -> None:
    _seven_versions(folder)
    (folder / "kb.json").unlink()


def _no_first_page(folder: Path) -> None:
    """A store of three versions and a backup of two, whose first page is gone."""
    _store(folder, _EDITS[:1])
    backup_store(folder / ".kbstore" / "kb.db", folder / "kb-monday.db")
    _commit(folder, "mail", 2)
    with (folder / ".kbstore" / "kb.db").open("r+b") as store:
        store.write(bytes(60))


def _store(folder: Path, edits: list[tuple[str, int]]) -> None:
    articles = {"login": {"title": "Login fails", "votes": 1}, "mail": {"title": "No mail", "votes": 1}}
    (folder / "kb.json").write_text(json.dumps({"problems": articles}, indent=2))
    kbstore_in(folder, "init", "kb.json")
    for article, votes in edits:
        _commit(folder, article, votes)


def _commit(folder: Path, article: str, votes: int) -> None:
    document = json.loads((folder / "kb.json").read_bytes())
    document["problems"][article]["votes"] = votes
    (folder / "kb.json").write_text(json.dumps(document, indent=2))
    kbstore_in(folder, "commit", "-m", "votes")


def kbstore_in(folder: Path, *arguments: str) -> None:
    """Run a command that ends well, and prints nothing here."""
    with redirect_stdout(io.TextIOWrapper(io.BytesIO())), redirect_stderr(io.TextIOWrapper(io.BytesIO())):
        assert run(["-C", os.fspath(folder), *arguments]) == 0


def _run(prepare: Callable[[Path], None], session: str, folder: Path) -> str:
    """What a session prints in a folder that was prepared; `verify` finds damage, and says so by its code."""
    (folder / "work").mkdir(parents=True)
    prepare(folder / "work")
    return run_session(session, folder, failing=("kbstore verify",))


def _pieces() -> list[str]:
    return SESSION.findall(PAGE.read_text(encoding="utf-8"))


def _told(folder: Path) -> list[str]:
    """Every session of the page as it is when it is run, in the order of the page."""
    verify, salvage, anew, commit, copy, older, rest, backup, nothing = _pieces()
    damaged = _run(_seven_versions, verify + salvage + anew + commit, folder / "damaged")
    pulled = _run(_seven_and_a_backup, older, folder / "older")
    imported = _run(_seven_and_a_backup_of_two, rest, folder / "rest")
    lost = _run(_no_first_page, backup, folder / "backup")
    fresh = _run(_no_first_page, nothing, folder / "nothing")
    starts = [damaged.index(piece.partition("\n")[0]) for piece in (verify, salvage, anew, commit)]
    parts = [damaged[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return [*parts, copy, pulled, imported, lost, fresh]


def test_the_page_prints_what_stands_there(tmp_path: Path) -> None:
    """A flipped byte, and a first page that is gone: each step of the page can be taken, and leads to a whole store."""
    pieces = _pieces()
    assert [_settled(text) for text in _told(tmp_path)] == [_settled(text) for text in pieces]
    assert "whole: 4 versions" in pieces[3]
    assert "whole: 7 versions" in pieces[5]


def test_a_lost_file_is_taken_from_what_was_salvaged(tmp_path: Path) -> None:
    """The last document is proved, so nothing but the versions in between is missing."""
    _, salvage, anew, commit, copy, *_ = _pieces()
    session = salvage + anew + copy + commit + "$ kbstore get /problems/login/votes\n"
    said = _run(_seven_without_file, session, tmp_path / "lost")
    assert said.endswith("\n5\n")


def _settled(text: str) -> str:
    return re.sub(r"\d{8}_\d{6}", "TIME", settled(text))


def main() -> None:
    """Write what is printed into the page."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        told = iter(_told(Path(folder)))
        text = SESSION.sub(lambda _: next(told), text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
