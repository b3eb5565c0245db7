"""`docs/operations.md` does what it says: its commands print what is printed there."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from kbstore import Store
from tests.operations_sentences import ADVICE, PROOFS
from tests.test_damage_page import kbstore_in
from tests.test_readme import ROOT, SESSION, commands, run_session

_BEFORE = """$ echo '{"problems": {"login": {"title": "Login fails"}}}' > kb.json
$ kbstore init kb.json >/dev/null 2>&1
$ for votes in 1 2; do
>   echo "{\\"problems\\": {\\"login\\": {\\"title\\": \\"Login fails\\", \\"votes\\": $votes}}}" > kb.json
>   kbstore commit -m "votes" >/dev/null 2>&1
> done
"""
_LATER = """$ echo '{"problems": {}}' > kb.json
$ kbstore commit -m "later" >/dev/null 2>&1
"""
_LOST = """$ rm -r .kbstore
$ echo '{"problems": {"login": {"title": "Login fails", "votes": 2}}}' > kb.json
"""


def _settled(text: str) -> str:
    return re.sub(r"\d{8}_\d{6}", "TIME", text)


def test_backup_and_restore_as_shown(tmp_path: Path) -> None:
    """The sessions, one after the other: a backup, a version, a restore, the loss of the folder."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    backup, restore, lost, _ = SESSION.findall(text)
    said = run_session(_BEFORE + backup + _LATER + restore + _LOST + lost, tmp_path)
    for hidden in (_BEFORE, _LATER, _LOST):
        assert hidden in said
        said = said.replace(hidden, "")
    assert _settled(said) == _settled(backup + restore + lost)
    assert len(list(commands(backup + restore + lost))) == 5


def test_stores_that_diverged_as_shown(tmp_path: Path) -> None:
    """The last session: a push is refused, and the recipe leads to a history that both stores have."""
    *_, session = SESSION.findall((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert _settled(_diverged(session, tmp_path)) == _settled(session)


def _diverged(session: str, folder: Path) -> str:
    """The session as it is in a folder whose store and ``../shared.db`` both have a third version."""
    work = folder / "work"
    work.mkdir()
    document: dict[str, Any] = {
        "problems": {"login": {"title": "Login fails", "votes": 1}, "mail": {"title": "No mail", "votes": 1}}
    }
    for number, command in enumerate((["init", "kb.json"], ["commit", "-m", "2"], ["commit", "-m", "mine"])):
        document["problems"]["login"]["votes"] = number
        (work / "kb.json").write_text(json.dumps(document, indent=2))
        if number == 2:
            kbstore_in(work, "clone", str(work / ".kbstore"), str(folder / "shared.db"))
            with Store.open(folder / "shared.db", author="luis") as shared:
                shared.commit(patch=[{"op": "replace", "path": "/problems/mail/votes", "value": 7}], message="theirs")
        kbstore_in(work, *command)
    return run_session(session, folder, failing=("kbstore push",)).replace(str(work), "/home/ana/kb")


def test_the_names_from_python_exist() -> None:
    """What the page calls from Python can be imported; other tools read the file, and their marks do no harm."""
    code = "from kbstore.sync.backup import backup_store, restore_backup"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _sentences() -> list[str]:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    paragraphs = re.sub(r"```.*?```", "", text, flags=re.DOTALL).split("\n\n")
    told = [" ".join(each.split()) for each in paragraphs if not each.strip().startswith("#")]
    return [sentence for each in told if each for sentence in re.split(r"(?<=[.:?!])\s+(?=[A-Z`*])", each)]


def test_each_sentence_is_backed_by_a_test() -> None:
    """Whoever changes the page names the test of the new sentence, and whoever removes a test changes the page."""
    found = {sentence: [start for start in PROOFS if sentence.startswith(start)] for sentence in _sentences()}
    assert [sentence for sentence, starts in found.items() if len(starts) != 1] == []
    assert set(PROOFS) == {start for starts in found.values() for start in starts}
    for proof in set(PROOFS.values()) - {ADVICE}:
        file, _, name = proof.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), proof


def _growing(folder: Path) -> tuple[Path, Store]:
    """A store with one version in its file, and an open handle with another one in the log."""
    path = folder / "kb.db"
    Store.create(path, {"p": {}}, author="ana").close()
    store = Store.open(path, author="ana")
    store.commit(patch=[{"op": "add", "path": "/p/a", "value": 1}], message="late")
    return path, store


def _assert_older(copy: Path, newest: str) -> None:
    with Store.open(copy, author="ana") as store:
        assert store.head().seq == 1
        assert store.verify().ok
        assert not store.verify(head=newest).ok


def test_a_file_that_is_copied_alone_is_older(tmp_path: Path) -> None:
    """It is the store as it was when a program last closed it; only a newer version's id tells."""
    path, store = _growing(tmp_path)
    with store:
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        _assert_older(copy, store.head().id)


def test_a_log_that_was_cut_off_leaves_no_trace(tmp_path: Path) -> None:
    """Once nobody has the store open: it is the file as it was."""
    path, store = _growing(tmp_path)
    with store:
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        copy.with_name("copy.db-wal").write_bytes(path.with_name("kb.db-wal").read_bytes()[:32])
        _assert_older(copy, store.head().id)


def test_connections_of_others_stay_open_over_a_fork(tmp_path: Path) -> None:
    """Only what kbstore opened is closed before one."""
    path, store = _growing(tmp_path)
    with store, closing(sqlite3.connect(path)) as own:
        child = os.fork()
        if not child:
            (versions,) = own.execute("SELECT count(*) FROM records").fetchone()
            os._exit(versions)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def main() -> None:
    """Write what the last session prints into the page."""
    page = ROOT / "docs" / "operations.md"
    text = page.read_text(encoding="utf-8")
    *_, session = SESSION.findall(text)
    with tempfile.TemporaryDirectory() as folder:
        page.write_text(text.replace(session, _diverged(session, Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
