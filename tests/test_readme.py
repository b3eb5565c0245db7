"""The README does what it says: its session is run in a shell, its Python as printed, and both print what stands there.

`python -m tests.test_readme` writes what is printed into the README; read the difference before you commit it.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path

import kbstore

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SESSION = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(session: str) -> Iterator[tuple[str, str]]:
    """Each command of a session, with its prompts, and what it is said to print."""
    for part in re.split(r"^(?=\$ )", session, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        first = next((i for i, line in enumerate(lines) if not line.startswith(("$ ", "> "))), len(lines))
        yield "".join(lines[:first]), "".join(lines[first:])


def settled(text: str) -> str:
    """The text without what differs from run to run: times and ids."""
    text = re.sub(r"(?<=_)\d{8}_\d{6}\b", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
    return re.sub(r"(?<=TIME )[0-9a-f]{8}\b", "ID", text)


def run_session(session: str, folder: Path, *, failing: tuple[str, ...] = ()) -> str:
    """The session as it is when its commands are run one after another in a folder; all end well but the `failing`."""
    program = folder / "bin" / "kbstore"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from kbstore.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(kbstore.__file__).parent.parent),
        "COLUMNS": "80",
        "PYTHONUNBUFFERED": "1",  # both streams in the order in which a terminal would show them
        "KBSTORE_AUTHOR": "ana@example.com",
    }
    told = []
    for command, _ in commands(session):
        script = "".join(line[2:] for line in command.splitlines(keepends=True))
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or script.startswith(failing), (command, done.stdout)
        told.append(command + done.stdout)
    return "".join(told)


def run_python(code: str, folder: Path) -> str:
    """What a piece of Python prints in a folder."""
    out = io.StringIO()
    with chdir(folder), redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_the_session_prints_what_stands_there(tmp_path: Path) -> None:
    """Every command ends well, and the README shows all of its output and nothing else."""
    (session,) = SESSION.findall(README.read_text(encoding="utf-8"))
    assert len(list(commands(session))) > 10
    assert settled(run_session(session, tmp_path)) == settled(session)


def test_the_python_prints_what_stands_there(tmp_path: Path) -> None:
    """Every piece of Python runs, and prints exactly the block that follows it."""
    found = PYTHON.findall(README.read_text(encoding="utf-8"))
    assert found
    for code, text in found:
        assert run_python(code, tmp_path) == text


def test_links_lead_somewhere() -> None:
    """What the README and the pages beside it link to in the checkout is there."""
    for page in (README, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def main() -> None:
    """Write what is printed into the README."""
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (session,) = SESSION.findall(text)
        text = text.replace(session, run_session(session, Path(folder)))
        for code, told in PYTHON.findall(text):
            text = text.replace(
                f"{code}```\n\n```text\n{told}", f"{code}```\n\n```text\n{run_python(code, Path(folder))}"
            )
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
