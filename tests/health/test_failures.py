"""What goes wrong at three in the morning is told by its name, with the exit code that a script can act on."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store
from kbstore.health import registry
from kbstore.health.cli.main import run
from kbstore.health.context import Context
from kbstore.health.settings import Targets
from kbstore.migrator import DatabaseMigrator
from tests.commands import run_here
from tests.health.support import ROOT, demo_store
from tests.s3.servers import MotoServer, raw_client, use_credentials

CHECKS = (
    *("clock", "db.connect", "migrations.ahead", "migrations.checksum", "migrations.dirty", "migrations.pending"),
    *("s3.bucket", "s3.conditional", "s3.latency", "sqlite.wal", "store.chain", "store.disk", "store.head"),
    *("store.log_readable", "store.reachable", "store.size", "store.snapshot", "store.write_probe"),
)
PATIENT = "[thresholds]\ns3_p95_degraded_s = 60\ns3_p95_unhealthy_s = 60\ndb_degraded_s = 60\n" + "".join(
    f'[checks."{name}"]\ntimeout = 60\n' for name in CHECKS
)
"""The machine that runs the tests may be busy; how quick things are is not what is tested here."""


def check(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of ``health check`` in a folder."""
    code, out, err = run_here(run, ["check", *arguments, "--format", "json"], folder)
    assert out, err
    return code, json.loads(out)


def bad(report: dict[str, Any]) -> dict[str, str]:
    """Message of each check that is not healthy."""
    return {name: c["message"] for name, c in report["checks"].items() if c["status"] != "healthy"}


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's knowledge base, a few versions of it, and its database with all migrations."""
    folder = tmp_path / "demo"
    folder.mkdir()
    document = json.loads((ROOT / "examples" / "troubleshooting" / "support_kb.json").read_text(encoding="utf-8"))
    with Store.create(folder / "kb.db", document, author="ana@example.com") as store:
        for edit in sorted((ROOT / "examples" / "troubleshooting" / "edits").glob("0[1-5]*.json")):
            store.commit(patch=edit.read_text(encoding="utf-8"), message=edit.stem)
        store.tag("stable", "v2")
        store.snapshot()
    monkeypatch.chdir(folder)
    DatabaseMigrator("sqlite:///app.db", "builtin:troubleshooting").up()
    (folder / "health.toml").write_text(
        f'{PATIENT}[targets]\nstore = "kb.db"\ndatabase = "sqlite:///app.db"\nmigrations = "builtin:troubleshooting"\n'
    )
    return folder


def test_the_demo_store_is_healthy(demo: Path) -> None:
    """All that is configured runs, is healthy, and the exit code is 0; what is not stands under skipped."""
    code, report = check(demo)
    assert (code, report["overall_status"], bad(report)) == (0, "healthy", {})
    assert len(report["checks"]) >= 15
    assert set(report["skipped"]) == {"s3.latency", "s3.conditional", "s3.bucket", "restore.drill", "watch.heartbeat"}


@pytest.mark.parametrize("seen_before", [False, True], ids=["first look", "after a sound round"])
def test_a_flipped_byte_in_a_patch(demo: Path, seen_before: bool) -> None:
    """One byte of what a version changed: the version is named, also where that version was found whole before."""
    if seen_before:
        assert check(demo)[0] == 0
    path = demo / "kb.db"
    data = bytearray(path.read_bytes())
    with Store.open(path) as store:
        ((_, body),) = store.line.bodies([3])
    at = data.find(body[:40])
    assert at > 0, "the body stands in the file as it is"
    data[at + 12] ^= 1
    path.write_bytes(data)
    code, report = check(demo)
    assert (code, report["overall_status"]) == (2, "unhealthy")
    assert "3" in bad(report)["store.chain"]
    assert bad(report)["store.bytes"]


def test_snapshots_that_are_dropped_while_they_are_read_are_no_damage(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gc` beside the check: what is gone when the check looks again is not asked about."""
    registry.load_built_in()  # in the order of the documented table, which importing one module alone would change
    integrity = sys.modules["kbstore.health.checks.integrity"]
    listed = integrity._snapshots
    looks = []

    def racing(store: Store) -> Any:
        found = listed(store)
        looks.append(sorted(found))
        with Store.open(demo / "kb.db") as other:
            for segment in other.line.segments:
                other.backend.drop_snapshots(segment.log, found)
        return found

    with Store.open(demo / "kb.db") as store:
        store.commit(patch=[{"op": "add", "path": "/seen", "value": 1}])
        store.snapshot()
    monkeypatch.setattr(integrity, "_snapshots", racing)
    result = integrity.snapshot(Context(Targets(store=str(demo / "kb.db"))))
    assert (result.status.value, looks) == ("healthy", [[6, 7], []])


def test_a_flipped_byte_anywhere_is_found_where_it_matters(demo: Path) -> None:
    """Bytes all over the file, one at a time: what `kbstore verify` finds, the checks find."""
    path, found, wrong = demo / "kb.db", 0, []
    sound = path.read_bytes()
    deep = ("store.reachable", "store.log_readable", "store.chain", "store.bytes", "sqlite.quick_check")
    code = (
        "import json, sys\n"
        "from kbstore.health import Engine\n"
        "from kbstore.health.settings import Settings, Targets\n"
        "from kbstore import KBStoreError, Store\n"
        "path, names, places = json.load(sys.stdin)\n"
        "sound = open(path, 'rb').read()\n"
        "for at in places:\n"
        "    data = bytearray(sound); data[at] ^= 1\n"
        "    open(path, 'wb').write(data)\n"
        "    try:\n"
        "        with Store.open(path) as store: whole = store.verify().ok\n"
        "    except Exception: whole = False\n"
        "    with Engine(Settings(targets=Targets(store=path)), isolate=False) as engine:\n"
        "        report = engine.run(names)\n"
        "    print(json.dumps([at, whole, str(report.overall)]), flush=True)\n"
        "    for end in ('-wal', '-shm'):\n"
        "        import os; os.path.exists(path + end) and os.remove(path + end)\n"
    )
    step = len(sound) // 40
    places = [number * step + number * 7 % step for number in range(40)]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([str(path), deep, places]),
        capture_output=True,
        text=True,
        check=False,
    )
    for at, whole, overall in map(json.loads, done.stdout.splitlines()):
        if not whole:
            found += 1
            if overall != "unhealthy":
                wrong.append(at)
    assert len(done.stdout.splitlines()) == len(places), done.stderr
    assert found >= 5
    assert wrong == []


def test_a_history_that_was_cut_or_rewritten_since_the_last_round(demo: Path) -> None:
    """A store that was replaced by an older copy, or by another history, is found against what was seen before."""
    older = demo / "older.db"
    shutil.copy(demo / "kb.db", older)
    with Store.open(demo / "kb.db") as store:
        store.commit(patch=[{"op": "add", "path": "/note", "value": 1}], message="newer", author="ana@example.com")
    assert check(demo)[0] == 0
    shutil.copy(older, demo / "kb.db")
    code, report = check(demo, "store.chain")
    assert (code, bad(report)) == (2, {"store.chain": "the history ends at v6, but v7 was there before"})
    with Store.open(demo / "kb.db") as store:
        store.commit(patch=[{"op": "add", "path": "/note", "value": 2}], message="other", author="eve@example.com")
    code, report = check(demo, "store.chain")
    assert (code, "v7 is not the version" in bad(report)["store.chain"]) == (2, True)


@pytest.mark.parametrize("how", ["dropped", "recorded by hand", "repaired"])
def test_a_migration_that_is_marked_applied_without_its_table(demo: Path, how: str) -> None:
    """The table that is not there is named, and the migration that should have made it."""
    with closing(sqlite3.connect(demo / "app.db")) as base:
        if how == "dropped":
            base.execute("DROP TABLE support_troubleshooting_webhook_deliveries")
        else:
            folder = demo / "migrations"
            folder.mkdir()
            (folder / "001_audit.sql").write_text("CREATE TABLE audit(id INTEGER PRIMARY KEY);\n")
            (folder / "001_audit_verify.sql").write_text("SELECT id FROM audit;\n")
            (folder / "002_more.sql").write_text("CREATE TABLE more(id INTEGER PRIMARY KEY);\n")
            config = demo / "health.toml"
            config.write_text(
                config.read_text().replace("builtin:troubleshooting", "migrations").replace("app.db", "a.db")
            )
            migrator = DatabaseMigrator(f"sqlite:///{demo / 'a.db'}", folder)
            if how == "repaired":
                migrator.up(to=1)
                migrator.repair("002_more", "mark-applied")
                with closing(sqlite3.connect(demo / "a.db")) as other:
                    other.execute("DROP TABLE audit")
            else:
                migrator.up()
                with closing(sqlite3.connect(demo / "a.db")) as other:
                    other.execute("DROP TABLE audit")
                    other.commit()
        base.commit()
    code, report = check(demo)
    assert (code, report["overall_status"]) == (2, "unhealthy")
    dropped = ("support_troubleshooting_webhook_deliveries", "005_add_performance")
    name, migration = dropped if how == "dropped" else ("audit", "001_audit")
    message = bad(report)["schema.drift"]
    assert name in message + json.dumps(report["checks"]["schema.drift"]["details"])
    assert migration in json.dumps(report["checks"]["schema.drift"])


@pytest.mark.parametrize(
    ("damage", "name", "code", "part"),
    [
        ("UPDATE schema_migrations SET state='failed' WHERE version=6", "migrations.dirty", 2, "006_"),
        ("UPDATE schema_migrations SET checksum='sha256:0' WHERE version=2", "migrations.checksum", 1, "002_"),
        (
            "UPDATE schema_migrations SET name='007_new.sql', version=7 WHERE version=6",
            "migrations.ahead",
            1,
            "007_new",
        ),
        ("DELETE FROM schema_migrations WHERE version=6", "migrations.pending", 1, "006_"),
        ("ALTER TABLE support_troubleshooting_problems ADD COLUMN hot_fix TEXT", "schema.drift", 2, "hot_fix"),
    ],
    ids=["dirty", "checksum", "ahead", "pending", "drift"],
)
def test_what_is_wrong_with_migrations(demo: Path, damage: str, name: str, code: int, part: str) -> None:
    """Each way in which files, history and schema fall apart has its check, which names the migration or object."""
    with closing(sqlite3.connect(demo / "app.db")) as base:
        base.execute(damage)
        base.commit()
    found, report = check(demo, name)
    assert (found, list(bad(report))) == (code, [name])
    assert part in bad(report)[name]
    assert report["checks"][name]["hint"]


def test_a_database_that_is_gone(demo: Path) -> None:
    """It is not taken for an empty one; what needs it is skipped and says why."""
    (demo / "app.db").unlink()
    code, report = check(demo)
    assert code == 2
    assert "there is no file" in bad(report)["db.connect"]
    assert report["skipped"]["migrations.pending"]["message"] == "needs db.connect, which is unhealthy"


FULL = """
import os, shutil, sqlite3, subprocess, sys
source, place, in_use = sys.argv[1], sys.argv[2], sys.argv[3] == "in use"
del sys.argv[1:4]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], check=True)
shutil.copytree(source, place, dirs_exist_ok=True)
if in_use:
    held = sqlite3.connect(place + "/kb.db")
    held.execute("SELECT count(*) FROM records").fetchall()
with open(place + "/filler", "wb", buffering=0) as file:
    try:
        while True: file.write(b"x" * 4096)
    except OSError: pass
os.chdir(place)
from kbstore.health.cli import main; main()
"""


@pytest.mark.parametrize(
    ("use", "name", "message"),
    [("idle", "store.reachable", "disk"), ("in use", "store.write_probe", "full")],
)
def test_a_full_disk(tmp_path: Path, use: str, name: str, message: str) -> None:
    """Without room a store that is in use cannot be written, and an idle one not even opened, since WAL needs a little.

    The report comes out all the same, with a warning that the history could not be kept.
    """
    source, place = tmp_path / "source", tmp_path / "full"
    source.mkdir()
    place.mkdir()
    demo_store(source)
    (source / "health.toml").write_text('[targets]\nstore = "kb.db"\n')
    # A mount namespace of its own: nobody else sees the file system, and it goes with its last process.
    unshare = ["unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--mount"]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", FULL, str(source), str(place), use, "check", "--format", "json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode, report["overall_status"]) == (2, "unhealthy")
    assert report["checks"]["store.disk"]["message"].endswith(": 0 B free (0%)")
    assert report["checks"]["store.disk"]["status"] == "unhealthy"
    assert message in bad(report)[name]
    assert any("history" in text and "full" in text for text in report["warnings"])


def test_an_s3_server_that_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs the S3 checks are healthy; once it is stopped it is named, and what needs it is skipped."""
    server = MotoServer()
    use_credentials(monkeypatch, server.url)
    monkeypatch.setenv("KBSTORE_CACHE", "off")
    try:
        raw, bucket = raw_client(server.url), f"health-{os.getpid()}"
        raw.create_bucket(Bucket=bucket)
        raw.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        with Store.create(f"s3://{bucket}/support", {"problems": {}}, author="ana@example.com") as store:
            store.commit({"problems": {"p1": {}}}, message="one")
        (tmp_path / "health.toml").write_text(f'{PATIENT}[targets]\nstore = "s3://{bucket}/support"\n')
        code, report = check(tmp_path)
        assert (code, bad(report)) == (0, {})
        assert {"s3.latency", "s3.conditional", "s3.bucket", "clock"} <= set(report["checks"])
        assert "S3" in report["checks"]["clock"]["message"]
        lifecycle = {
            "Rules": [{"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}]
        }
        raw.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=lifecycle)
        code, report = check(tmp_path, "s3.bucket")
        assert (code, "'tidy' removes objects" in bad(report)["s3.bucket"]) == (2, True)
    finally:
        server.close()
    code, report = check(tmp_path)
    assert (code, report["overall_status"]) == (2, "unhealthy")
    assert f"s3://{bucket}/support cannot be reached" in bad(report)["store.reachable"]
    assert "cannot be reached" in bad(report)["s3.latency"]
    assert report["skipped"]["s3.conditional"]["message"] == "needs s3.latency, which is unhealthy"


def test_a_store_on_read_only_media_and_one_that_is_no_store(tmp_path: Path) -> None:
    """A folder that is none and a file that is none are told as such, with a hint."""
    (tmp_path / "kb.db").write_bytes(b"not a store at all" * 100)
    (tmp_path / "health.toml").write_text('[targets]\nstore = "kb.db"\n')
    code, report = check(tmp_path)
    assert code == 2
    assert "kb.db" in bad(report)["store.reachable"]
    assert "Traceback" not in json.dumps(report)
