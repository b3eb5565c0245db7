"""Programs that do something beside an open handle of the same process, and say whether its lock is still there.

Run by path, in a process of its own: a lock belongs to a process, and the tests may have opened anything.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from programs import Elsewhere, holds, main, put, say

from kbstore import KBStoreError, Store
from kbstore.cli.main import run as kbstore_run
from kbstore.health.cli.main import run as health_run


def cli(*arguments: str) -> None:
    """Run a command of kbstore in this process, without its output."""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        kbstore_run(arguments)


def health(*arguments: str) -> None:
    """Run a command of health in this process, without its output."""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        health_run(arguments)


def checks_in_process(location: str) -> None:
    """Run every check that is built in inside this process, as an application that embeds health may."""
    from kbstore.health import Engine, Settings
    from kbstore.health.settings import Targets

    with Engine(Settings(targets=Targets(store=location, database=f"sqlite:///{location}")), isolate=False) as engine:
        say("checked", len(engine.run().outcomes))


def reader(location: str, **options: bool) -> None:
    """Open a second handle, look at what it gives, and close it."""
    with Store.open(location, **options) as kb:
        assert kb.head().seq > 0
        kb.checkout()
        list(kb.log())


def through_a_link(location: str) -> None:
    """Open the store by a symbolic link in another folder."""
    folder = Path(location).parent.with_name("links")
    folder.mkdir()
    (folder / "link.db").symlink_to(location)
    reader(str(folder / "link.db"))
    reader(str(folder / "link.db"), read_only=True)


def refused(location: str) -> None:
    """Try what is refused: a branch that does not exist, a store that is there already."""
    with suppress(KBStoreError):
        Store.open(location, branch="nowhere")
    with suppress(KBStoreError):
        Store.create(location)


def plain_sqlite(location: str) -> None:
    """Look at the file by another SQLite connection of this process."""
    with closing(sqlite3.connect(f"file:{location}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM records").fetchone()


ACTS: dict[str, Callable[[str], object]] = {
    "a second handle": reader,
    "a read-only handle": lambda location: reader(location, read_only=True),
    "a symbolic link": through_a_link,
    "a refusal": refused,
    "another SQLite connection": plain_sqlite,
    "kbstore log": lambda location: cli("--store", location, "log"),
    "kbstore verify": lambda location: cli("--store", location, "verify"),
    "kbstore gc": lambda location: cli("--store", location, "gc"),
    "kbstore export": lambda location: cli("--store", location, "export", "-o", f"{location}.jsonl"),
    "kbstore export --sqlite": lambda location: cli("--store", location, "export", "--sqlite", f"{location}.tables"),
    "kbstore clone": lambda location: cli("clone", location, f"{location}.clone"),
    "kbstore backup": lambda location: cli("--store", location, "backup", f"{location}.backup"),
    "health check": lambda location: health("--store", location, "check"),
    "checks in this process": checks_in_process,
}


def handle(location: str, act: str) -> None:
    """Do something beside a handle, then let another process open and close the store: nothing is lost."""
    elsewhere = Elsewhere(location)
    kb = Store.open(location, author="parent")
    put(kb, "parent", "before")
    ACTS[act](location)
    say("locked", int(holds(location)))
    elsewhere()
    put(kb, "parent", "after")
    say("log", int(Path(f"{location}-wal").exists()))
    kb.close()
    elsewhere()


def twice(location: str) -> None:
    """Open the store three times, close two of the handles in turn, with others at work between."""
    elsewhere = Elsewhere(location)
    one, two = Store.open(location, author="parent"), Store.open(location, author="parent")
    three = Store.open(location, read_only=True)
    put(one, "parent", 1)
    put(two, "parent", 2)
    one.close()
    say("locked", int(holds(location)))
    elsewhere()
    put(two, "parent", 3)
    three.close()
    say("locked", int(holds(location)))
    elsewhere()
    put(two, "parent", 4)
    two.close()
    say("locked", int(holds(location)))
    elsewhere()


def database(location: str) -> None:
    """Check a database of SQL migrations inside a process that is in the middle of a transaction on it."""
    from kbstore.health import Engine, Settings
    from kbstore.health.settings import Targets

    with closing(sqlite3.connect(location, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (1)")
        settings = Settings(targets=Targets(database=f"sqlite:///{location}"))
        with Engine(settings, isolate=False) as engine:
            say("checked", len(engine.run().outcomes))
        say("locked", int(holds(location)))
        connection.execute("COMMIT")


if __name__ == "__main__":
    main({each.__name__: each for each in (handle, twice, database)})
