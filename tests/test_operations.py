"""`docs/operations.md` does what it says: its commands print what is printed there."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kbstore import Store
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
    code = "from kbstore.backup import backup_store, restore_backup"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def main() -> None:
    """Write what the last session prints into the page."""
    page = ROOT / "docs" / "operations.md"
    text = page.read_text(encoding="utf-8")
    *_, session = SESSION.findall(text)
    with tempfile.TemporaryDirectory() as folder:
        page.write_text(text.replace(session, _diverged(session, Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
