"""Checks of free space, and of the SQLite files of the store and the database."""

import os
from pathlib import Path

from kbstore.health.checks import built_in, spell
from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.health.model import Result, Status


@built_in(
    "store.size",
    timeout=15,
    every=900,
    needs=("store.reachable",),
    impact="degraded",
    thresholds=("store_degraded_bytes",),
)
def size(ctx: Context) -> Result:
    """The store is not larger than expected."""
    with ctx.open_store() as store:
        found = store.backend.size_bytes()
    limit = ctx.thresholds.store_degraded_bytes
    if found >= limit:
        return Result.degraded(
            f"the store takes {spell(found)}, and {spell(limit)} were expected at most",
            metrics={"size_bytes": found},
            hint="run: kbstore gc",
        )
    return Result.healthy(f"the store takes {spell(found)}", metrics={"size_bytes": found})


@built_in(
    "store.disk",
    tags={"ready"},
    timeout=5,
    thresholds=("disk_degraded_ratio", "disk_unhealthy_ratio", "disk_unhealthy_bytes"),
)
def disk(ctx: Context) -> Result:
    """Enough bytes and inodes are free where the store and the configured paths are."""
    places = [*_folders(ctx)]
    if not places:
        raise NotConfigured("no local store and no paths are configured")
    worst = Status.HEALTHY
    texts: list[str] = []
    metrics: dict[str, float] = {}
    limits = ctx.thresholds
    for place in places:
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
        share = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
        inodes = found.f_favail / found.f_files if found.f_files else 1.0
        least = min(share, inodes)
        status = Status.HEALTHY
        if free < limits.disk_unhealthy_bytes or least < limits.disk_unhealthy_ratio:
            status = Status.UNHEALTHY
        elif least < limits.disk_degraded_ratio:
            status = Status.DEGRADED
        text = f"{place}: {spell(free)} free ({share:.0%})" + (f", inodes {inodes:.0%}" if inodes < share else "")
        if status.rank > worst.rank or not texts:
            texts.insert(0, text)
            metrics = {"free_bytes": free, "free_ratio": share, "free_inodes_ratio": inodes}
        else:
            texts.append(text)
        worst = max(worst, status, key=lambda s: s.rank)
    hint = "make room: commits are refused when there is none" if worst is not Status.HEALTHY else None
    return Result(worst, texts[0], details={"places": texts}, metrics=metrics, hint=hint)


@built_in("sqlite.quick_check", tags={"deep"}, timeout=30, every=3600, fall=1, thresholds=("bytes_limit_bytes",))
def quick_check(ctx: Context) -> Result:
    """SQLite finds no damage in the structure of its files."""
    import sqlite3
    from contextlib import closing

    files = sqlite_files(ctx)
    if not files:
        raise NotConfigured("no SQLite file is configured")
    read = [file for file in files if file.stat().st_size <= ctx.thresholds.bytes_limit_bytes]
    if not read:
        return Result.skipped("the files are too large to read in each round")
    for file in read:
        try:
            with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as base:
                rows = [str(row[0]) for row in base.execute("PRAGMA quick_check(5)")]
        except sqlite3.DatabaseError as fault:
            if not str(getattr(fault, "sqlite_errorname", "")).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                return Result.unhealthy(f"{file} cannot be read: {fault}", hint="look at the disk, and at store.disk")
            rows = [str(fault)]
        if rows != ["ok"]:
            return Result.unhealthy(f"{file}: {rows[0]}", details={"found": rows}, hint=_hint(ctx, file))
    return Result.healthy(", ".join(str(file) for file in read))


@built_in("sqlite.wal", tags={"live"}, timeout=5, impact="degraded", thresholds=("wal_degraded_bytes",))
def wal(ctx: Context) -> Result:
    """The write-ahead logs of the SQLite files are small: SQLite keeps moving their content into the files."""
    files = sqlite_files(ctx)
    if not files:
        raise NotConfigured("no SQLite file is configured")
    sizes = {str(file): _size_of(Path(f"{file}-wal")) for file in files}
    file, largest = max(sizes.items(), key=lambda item: item[1])
    metrics = {"wal_bytes": largest}
    if largest >= ctx.thresholds.wal_degraded_bytes:
        return Result.degraded(
            f"the write-ahead log of {file} has grown to {spell(largest)}",
            metrics=metrics,
            hint="some process keeps a transaction open; end it, and it is taken in",
        )
    return Result.healthy(f"the largest takes {spell(largest)}", metrics=metrics)


def _hint(ctx: Context, file: Path) -> str:
    if file == _store_file(ctx):
        return "bring a backup back with: kbstore restore-backup FILE"
    return "restore it from a backup, with every program that uses it stopped and without its old -wal file"


def sqlite_files(ctx: Context) -> list[Path]:
    """Return the SQLite files among the targets, if they exist."""
    found = []
    if (store := _store_file(ctx)) is not None:
        found.append(store)
    database = ctx.targets.database or ""
    if database.startswith("sqlite:///"):
        found.append(Path(database.removeprefix("sqlite:///")))
    return [file for file in found if _is_database(file)]


def _store_file(ctx: Context) -> Path | None:
    store = _store_path(ctx)
    return store / "kb.db" if store is not None and store.is_dir() else store


def _store_path(ctx: Context) -> Path | None:
    """Return the path of a local store; None without a store on this machine."""
    store = ctx.targets.store
    if not store:
        return None
    path = Path(store.removeprefix("sqlite:"))
    return path if path.exists() else None


def _folders(ctx: Context) -> list[str]:
    """Return the folders to check for free space, each once."""
    places = list(ctx.targets.paths)
    if (store := _store_path(ctx)) is not None:
        places.insert(0, str(store if store.is_dir() else store.absolute().parent))
    return list(dict.fromkeys(places))


def _is_database(file: Path) -> bool:
    """Return whether a file exists and is not empty, without opening it.

    Only SQLite may open the file: closing it here would drop SQLite's locks.
    """
    return file.is_file() and _size_of(file) > 0


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
