"""Places that cannot be written: read-only folders, full disks; and what a short command does not load."""

import ctypes
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.support import DOCUMENT, Shell, environment

WRITING = [
    ["commit", "-m", "x", "--allow-empty"],
    ["restore", "v1"],
    ["tag", "t"],
    ["branch", "b"],
    ["gc"],
    ["apply", "-", "-m", "x"],
    ["import", "-"],
]
LINE, PATCH = b'{"document": 1}', b'[{"op": "add", "path": "/x", "value": 1}]'
# From linux/prctl.h and linux/capability.h.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
# Under a limit on the size of files Python would leave cut modules behind for the next process.
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
DISK_BYTES, ROOM_BYTES = 6 << 20, 200_000
READING = [["status"], ["log"], ["show"], ["diff", "v1"], ["get"], ["tag"], ["branch"], ["export"], ["verify"]]


def without_rights() -> None:
    """Let root obey the modes of files in the process to come, as everybody else has to."""
    if os.getuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            assert prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


@pytest.fixture
def read_only(kb: Shell) -> Iterator[Shell]:
    """The knowledge base in a folder in which nothing may be written."""
    places = [kb.folder, *kb.folder.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield kb
    for path in places:
        path.chmod(0o755)


def test_a_folder_that_may_only_be_read(read_only: Shell) -> None:
    """Everything can be read; what would write is refused in a line, and nothing is changed."""
    before = {path: path.read_bytes() for path in read_only.folder.rglob("*") if path.is_file()}
    for command in READING:
        done = read_only.process(*command, preexec_fn=without_rights)
        told = b"no tags yet\n" if command == ["tag"] else b""
        assert (done.returncode, done.stderr) == (0, told), (command, done)
    for command in [*WRITING, ["checkout", "v1"], ["checkout", "v1", "-o", "x.json"], ["export", "-o", "x"]]:
        done = read_only.process(*command, preexec_fn=without_rights, input=LINE if command[0] == "import" else PATCH)
        assert done.returncode == 3, (command, done)
        assert done.stderr.startswith(b"error: "), (command, done)
        assert b"Traceback" not in done.stderr
        assert b"read-only" not in done.stderr.partition(b"hint: ")[2]  # no command has a word for that
    assert before == {path: path.read_bytes() for path in read_only.folder.rglob("*") if path.is_file()}


def test_an_init_where_nothing_may_be_written(read_only: Shell) -> None:
    """It is refused, and says where."""
    kept = read_only.folder / ".kbstore" / "files"
    shutil.copy(read_only.file, kept)
    done = read_only.process("-C", str(kept), "init", "kb.json", preexec_fn=without_rights)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: cannot make the folder ")


@pytest.mark.parametrize("closed", [".kbstore", ".kbstore/config.json", "kb.json", "."])
def test_what_may_not_be_read_is_hinted_at(kb: Shell, closed: str) -> None:
    """A folder or a file that is closed to this user: the error names it, and the hint its permissions."""
    commands: list[list[str]] = [["status"], ["commit", "-m", "x"]]
    if closed == ".":
        shutil.rmtree(kb.folder / ".kbstore")
        commands = [["init", "kb.json"]]
    place = kb.folder / closed
    mode = place.stat().st_mode & 0o777
    place.chmod(0o555 if closed == "." else 0)
    try:
        for command in commands:
            done = kb.process(*command, preexec_fn=without_rights)
            assert done.returncode == 3, done
            assert str(place).encode() in done.stderr
            assert b"Permission denied" in done.stderr
            assert b"\nhint: check the permissions" in done.stderr
    finally:
        place.chmod(mode)


def test_a_folder_whose_name_is_not_text(shell: Shell, tmp_path: Path) -> None:
    """Everything works in it; only what would have to be remembered in JSON is refused, by name."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "kb.json").write_text(json.dumps(DOCUMENT))
    at = ["-C", str(folder)]
    shell.ok(*at, "init", "kb.json")
    shell.ok(*at, "backup", str(folder / "kept.db"))
    assert os.fsencode(shell.ok(*at, "backup", "two.db", "--json").object["path"]) == b"two.db"
    for command in (["status"], ["export", "--sqlite", "t.db"]):
        shell.ok(*at, *command)
    assert "the source is not remembered" in shell.ok(*at, "clone", ".kbstore", "c").err
    assert json.loads((folder / "c" / "kb.json").read_bytes()) == DOCUMENT
    found = shell.ok(*at, "status", "--json").object["file"]
    assert os.fsencode(found) == os.fsencode(folder) + b"/kb.json"
    restored = shell.ok(*at, "restore-backup", "kept.db", "--json").object["replaced"]
    assert os.path.exists(restored)
    shell.write(DOCUMENT)
    told = shell.fails(3, "init", "kb.json", "--store", str(folder / "elsewhere.db")).err
    assert "caf\\udce9" in told
    assert "is not text in UTF-8" in told
    assert not (shell.folder / ".kbstore").exists()
    odd = os.fsdecode(b"k\xe9.json")
    shell.file.rename(shell.folder / odd)
    assert "is not text in UTF-8" in shell.fails(3, "init", odd).err


def test_commands_work_in_a_folder_whose_name_is_no_text(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """And write files of such names; what they overwrite by force comes back. The file itself is given no such name."""
    folder = shell.folder / os.fsdecode(b"d\xff")
    folder.mkdir()
    kb = Shell(folder, monkeypatch)
    kb.write({"n": 1})
    kb.ok("init", "kb.json")
    kb.write({"n": 2})
    kb.ok("commit", "-m", "2")
    assert kb.ok("status", "--json").object["clean"]
    odd = os.fsdecode(b"o\xff")
    (folder / odd).write_text("mine")
    for command in (["checkout", "v1", "-o", odd], ["export", "-o", odd], ["diff", "v1", "v2", "--html", odd]):
        kb.ok(*command, "--force")
    assert len(kb.ok("lost").lines) == 3
    assert kb.ok("lost", "3").out == "mine"
    kb.ok("lost", "3", "--restore")
    assert (folder / odd).read_text() == "mine"
    kb.ok("salvage", os.fsdecode(b"s\xff"))
    assert "is not text in UTF-8" in kb.fails(3, "mv", "kb.json", odd + ".json").err
    assert kb.read() == {"n": 2}
    assert not (shell.folder / ".kbstore").exists()


LIMITS = {
    "descriptors": (resource.RLIMIT_NOFILE, 9, b"ulimit -n"),
    "file size": (resource.RLIMIT_FSIZE, 4096, b"ulimit -f"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_of_the_process_is_named(kb: Shell, limit: str) -> None:
    """Too few descriptors, or files that may not become larger, are not taken for permissions or a full disk."""
    kind, value, advice = LIMITS[limit]
    code = (
        "import os, resource\nfrom kbstore.errors import StoreUnavailable\nfrom kbstore.store import Store\n"
        "Store.open('.kbstore').close()\n"
        f"held = [os.open(os.devnull, 0) for _ in range({value})] if {kind} == resource.RLIMIT_NOFILE else []\n"
        f"resource.setrlimit({kind}, ({value}, {value}))\n"
        "try:\n  store = Store.open('.kbstore', author='a')\n  store.commit({'n': 'x' * 9999})\n"
        "except StoreUnavailable as fault:\n  print(fault, fault.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=kb.folder, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert advice in done.stdout, done
    assert b"permissions" not in done.stdout


@pytest.mark.parametrize("length", [251, 253, 255, 256])
def test_a_name_that_is_too_long_is_named(shell: Shell, length: int) -> None:
    """Also if only the files that SQLite puts beside it would have too long a name."""
    shell.write(DOCUMENT)
    told = shell.fails(3, "init", "kb.json", "--store", "x" * length).err
    assert "File name too long" in told
    assert "hint: choose a shorter name" in told
    assert sorted(os.listdir(shell.folder)) == ["kb.json"]


class Disk:
    """A folder on a disk that can be full: a small one where this user may mount it, else by a limit on files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        self.mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave hardly any room."""
        if self.mounted:
            free = shutil.disk_usage(self.folder).free
            (self.folder / "filler").write_bytes(b"x" * max(free - ROOM_BYTES, 0))

    def fill_up(self) -> None:
        """Leave no room at all."""
        if self.mounted:
            with (self.folder / "filler").open("wb", 0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 4096)

    def forbid(self) -> None:
        """What the process to come sets for itself if no room at all is left."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    def clear(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def limit(self) -> None:
        """What the process to come sets for itself."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture(params=["disk", "limit"])
def disk(shell: Shell, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """The shell's folder, on a disk that can be full."""
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "limit":
            patched.setattr(Disk, "mounted", False, raising=False)
            patched.setattr(Disk, "__init__", lambda self, folder: setattr(self, "folder", folder))
        made = Disk(shell.folder)
        yield made
        os.chdir(tmp_path)
        made.close()


@pytest.mark.parametrize("command", ["commit", "checkout", "apply", "import", "export", "init", "sqlite", "html"])
def test_a_disk_that_is_full(shell: Shell, disk: Disk, tmp_path: Path, command: str) -> None:
    """What could not be written is told, what was there is there still, and the store is whole and writable."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    large = {**DOCUMENT, "long": {str(n): random.Random(n).randbytes(300).hex() for n in range(2000)}}
    source = tmp_path / "large.jsonl"
    source.write_text(json.dumps({"document": large}) + "\n")
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps([{"op": "add", "path": "/long", "value": large["long"]}]))
    other = str(tmp_path / "large.db")
    shell.ok("import", str(source), "--store", other)
    call = {
        "commit": ["commit", "-m", "x"],
        "checkout": ["--store", other, "--file", "kb.json", "checkout", "v1", "--force"],
        "apply": ["apply", str(patch), "-m", "x"],
        "import": ["import", str(source), "--store", "new.db"],
        "export": ["export", "--store", other, "-o", "out.jsonl"],
        "init": ["-C", "new", "init", "kb.json"],
        "sqlite": ["export", "--store", other, "--sqlite", "out.db"],
        "html": ["diff", "--store", other, "v0", "v1", "--html", "out.html"],
    }[command]
    if command == "commit":
        shell.write(large)
    if command == "init":
        (shell.folder / "new").mkdir()
        (shell.folder / "new" / "kb.json").write_text(json.dumps(large))
    disk.fill()
    before = shell.file.read_bytes()
    names = {path.name for path in shell.folder.iterdir()}
    done = shell.process(*call, preexec_fn=disk.limit, env=NO_BYTECODE)
    assert done.returncode in ((3, 12) if command in ("commit", "apply", "import", "init") else (3,)), done
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
    assert shell.file.read_bytes() == before
    assert {path.name for path in shell.folder.iterdir()} - {"new.db"} == names
    disk.clear()
    assert shell.ok("verify").out.startswith("whole: 1 version,")
    shell.ok("commit", "-m", "goes on", "--allow-empty")
    assert shell.ok("verify").out.startswith("whole: 2 versions,")


HEAVY = {
    "pydantic", "sqlite_utils", "jsonpatch", "boto3", "botocore", "hypothesis", "difflib", "asyncio", "http", "email",
    "subprocess", "pip", "pytest", "sqlalchemy", "psycopg", "rich", "getpass", "socket", "kbstore.sync.jsonl",
    "kbstore.sync.sqlite_export", "kbstore.versioner", "kbstore.diff.render.terminal_form",
    "kbstore.diff.render.html_form",
}  # fmt: skip


@pytest.mark.parametrize("command", [["log"], ["log", "--oneline"], ["log", "--json"], ["status"], ["get", "/name"]])
def test_a_short_command_loads_little(kb: Shell, command: list[str]) -> None:
    """Modules that only other commands need are not loaded; that is what keeps it short."""
    code = "import sys; from kbstore.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=kb.folder, env=environment(), capture_output=True, check=True
    )
    assert HEAVY & set(done.stderr.decode().split()) == set()


def test_the_help_page_loads_no_backend_and_no_engine(tmp_path: Path) -> None:
    """The page needs one line of each command, also of the commands that entry points add."""
    code = "import sys; from kbstore.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    loaded = set(done.stderr.decode().split())
    assert "kbstore.health.cli.main" in loaded
    assert not {"kbstore.backends.sqlite", "kbstore.health.run.engine", "kbstore.health.settings"} & loaded


def test_the_console_script_is_installed() -> None:
    """`kbstore` on the command line is this program."""
    from importlib.metadata import entry_points

    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "kbstore")
    assert script.value == "kbstore.cli:main"


def test_a_disk_without_any_room_can_be_read(shell: Shell, disk: Disk) -> None:
    """A full disk is named as such; everything can be read as on read-only media, and nothing is lost afterwards."""
    shell.write(DOCUMENT)
    shell.ok("init", "kb.json")
    expected = shell.ok("get").out
    disk.fill_up()
    for command in (["status"], ["log"], ["diff", "v1"], ["get"], ["verify"]):
        done = shell.process(*command, preexec_fn=disk.forbid, env=NO_BYTECODE)
        assert (done.returncode, done.stderr) == (0, b""), (command, done)
        if command == ["get"]:
            assert done.stdout.decode() == expected
    for command in (["commit", "-m", "x", "--allow-empty"], ["import", "-"], ["gc"]):
        done = shell.process(*command, preexec_fn=disk.forbid, env=NO_BYTECODE, input=LINE)
        assert done.returncode == 3, (command, done)
        told = (b"error: the disk is full", b"free disk space")
        limited = (b"error: this process may not make files of more than 100 bytes", b"ulimit -f")
        start, advice = told if disk.mounted else limited
        assert done.stderr.startswith(start), (command, done)
        assert advice in done.stderr
    disk.clear()
    assert shell.ok("verify").out.startswith("whole: 1 version")
    shell.ok("commit", "-m", "x", "--allow-empty")
