"""`docs/operations.md` does what it says: its commands print what is printed there."""

import re
import subprocess
import sys
from pathlib import Path

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
    backup, restore, lost = SESSION.findall(text)
    said = run_session(_BEFORE + backup + _LATER + restore + _LOST + lost, tmp_path)
    for hidden in (_BEFORE, _LATER, _LOST):
        assert hidden in said
        said = said.replace(hidden, "")
    assert _settled(said) == _settled(backup + restore + lost)
    assert len(list(commands(backup + restore + lost))) == 5


def test_the_names_from_python_exist() -> None:
    """What the page calls from Python can be imported; other tools read the file, and their marks do no harm."""
    code = "from kbstore.backup import backup_store, restore_backup"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
