"""The benchmarks run on a tiny knowledge base, and print every row that the document explains."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import takes_long

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def run(cache: Path, shared: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks as a person does, with a cache of their own."""
    known = {"KBSTORE_BENCH_CACHE": str(cache), "KBSTORE_SHARED": str(shared)}
    command = [sys.executable, "-m", "benchmarks", *options]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **known}, capture_output=True, text=True, timeout=900, check=False
    )


def shapes(names: list[str]) -> list[str]:
    """Names of rows without the sizes, which a tiny run has smaller ones of."""
    return [re.sub(r"[\d.,]+", "#", name) for name in names]


@takes_long
@pytest.mark.long
def test_every_row_of_the_document_is_printed_and_counted(tmp_path: Path, shared: Path) -> None:
    """All rows of the document's table are printed, each once; the last line counts those missed, and --check fails."""
    done = run(tmp_path, shared, "--scale", "tiny", "--markdown", "--check")
    table = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    told = [line.split(" | ") for line in DOCUMENT.read_text().splitlines() if re.match(r"\| [a-z]+: ", line)]
    assert shapes([cells[0] for cells in table]) == shapes([cells[0] for cells in told]), done.stderr
    assert len({cells[0] for cells in table}) == len(table)
    verdicts = [cells[5] for cells in table]
    met, missed = verdicts.count("met"), verdicts.count("MISSED")
    assert f"{met} of {met + missed} limits met, {missed} missed" in done.stdout.splitlines()[-1]
    assert missed, "a document so small cannot be checked out in 1.8 times what decoding it takes"
    assert done.returncode == 1


def test_a_missed_limit_is_no_failure_unless_asked(tmp_path: Path, shared: Path) -> None:
    """Without --check the figures of a group are told, row by row as in the document, and the run ends well."""
    done = run(tmp_path, shared, "--scale", "tiny", "document", "--cpu", "--markdown")
    both = (done.stdout, DOCUMENT.read_text())
    printed, told = ([x.split(" | ")[0] for x in text.splitlines() if x.startswith("| document: ")] for text in both)
    assert shapes(printed) == shapes(told) != []
    assert "MISSED" in done.stdout
    assert done.returncode == 0, done.stderr


def test_an_unknown_group_is_refused_with_those_that_there_are(tmp_path: Path, shared: Path) -> None:
    """A misspelt group is refused before anything is measured."""
    done = run(tmp_path, shared, "chekout")
    assert done.returncode == 2
    assert "there is no group chekout" in done.stderr
    assert "checkout" in done.stderr
