"""`tests/README.md` leads to files that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_file_that_the_page_names_is_there() -> None:
    """Each path in a table is a file or a folder of tests, or a module of the backends."""
    rows = [line for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = [name for row in rows for name in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    assert len(named) > 60
    assert [name for name in named if not (HERE / name).exists()] == []
