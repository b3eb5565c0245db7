"""Commands for reading a history from a file and writing a history to a file: import, export."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from kbstore.cli.options import (
    OptionPath,
    accept_future_option,
    as_json_option,
    author_option,
    command,
    complete_revision,
    lossy_option,
    write_id_option,
)
from kbstore.cli.output import Progress, note, say, say_json, warn, write_bytes
from kbstore.cli.output_files import EXPORT, output_file, write_output
from kbstore.cli.pending import settled
from kbstore.cli.rounding import rounded_lines
from kbstore.cli.session import Session, shown_path
from kbstore.cli.version_text import counted
from kbstore.errors import InvalidJSON, KBStoreError, OutcomeUnknown, StoreNotFound
from kbstore.history.branch import MAIN_BRANCH
from kbstore.history.revision import parse_range
from kbstore.history.version import Version
from kbstore.kit.escape import visible
from kbstore.store import Store
from kbstore.worktree.json_file import WorkFileError, mode_like
from kbstore.worktree.project import FOLDER, Config, Project, open_or_create
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy

if TYPE_CHECKING:
    from kbstore.sync.jsonl import Imported


@command("import")
@click.argument("source", metavar="FILE", type=click.Path())
@author_option
@write_id_option
@lossy_option
@accept_future_option
@as_json_option
@click.pass_obj
def import_command(
    session: Session, source: str, author: str | None, write_id: str | None, accept_future: bool, as_json: bool
) -> None:
    """Add the versions in a file of JSON lines.

    FILE may be packed (gzip or xz); "-" is stdin. If there is no store yet, the command makes a store. Each line is an
    event written by `kbstore export`, which is checked and keeps its id, or a document, which becomes a version.
    Importing events twice adds nothing.

    \b
    Document:
      {"document": ..., "author": ..., "time": ..., "message": ...}

    \b
    Example:
      kbstore import history.jsonl.xz --store kb.db
      kbstore export --store old.db | kbstore import - --store new.db
    """
    from kbstore.sync.jsonl import import_lines
    from kbstore.sync.jsonl_reader import ImportFailed

    lines_of = _lines(source, lossy=session.lossy)
    with lines_of as lines, _store(session, author, source, empty=lines is None) as (store, project, is_new):
        copy = session.copy(store) if session.file is not None and session.file.exists() else None
        if copy is not None and copy.elsewhere and session.branch_option is None:
            raise _elsewhere(copy)
        if copy is not None:
            with suppress(BaseUnknown, InvalidJSON):  # the import may bring the base; an editor may be saving the file
                copy.status()

        def landed(done: "Imported") -> None:
            session.landed = _added(done)

        with settled(session, store, write_id) as ident:
            try:
                with Progress("import", unit="line") as progress:
                    counted_lines = progress.counted(lines or ())
                    done = import_lines(
                        store, counted_lines, write_id=ident, accept_future=accept_future, landed=landed
                    )
            except ImportFailed as fault:
                if session.landed:
                    fault.hint = fault.hint or "correct that line"
                raise
            landed(done)
            if is_new and not _holds_something(store):
                raise _nothing(source)
            if copy is not None and done.versions and (left := copy.catch_up()):
                note(visible(left))
            if project is not None:
                note(f"started {shown_path(project.location)}")
            _tell(done, store.head(), as_json)


def _elsewhere(copy: WorkingCopy) -> BaseUnknown:
    branch = copy.store.branch
    return BaseUnknown(
        f"{copy.file.path.name} follows {copy.follows}, and this would import into {branch}",
        hint=f"kbstore --branch {branch} import does that; to let the file follow it: "
        f"kbstore checkout --branch {branch}",
    )


def _added(done: "Imported") -> str:
    """Return how much was added; empty for nothing."""
    if not (done.versions or done.refs):
        return ""
    refs = f" and {counted(done.refs, 'change')} of tags and branches" if done.refs else ""
    return f"{counted(done.versions, 'version')}{refs} imported"


def _tell(done: "Imported", head: Version, as_json: bool) -> None:
    if as_json:
        counts = {"versions": done.versions, "known": done.known, "refs": done.refs, "left_out": done.left_out}
        say_json({**counts, "head": head.name, "id": head.id})
    else:
        known = f" ({done.known:,} known already)" if done.known else ""
        say(f"{_added(done) or '0 versions imported'}{known}; the newest is {head.name}")
    if done.left_out:
        behind = f" and {counted(done.left_out - 1, 'line')} behind it were" if done.left_out > 1 else " was"
        note(f"line {done.stopped_at}{behind} left out: an event is lost there")
    warn(done.notes)


class _Target(NamedTuple):
    """The store to import into, the project made for the store, and True if the store is new."""

    store: Store
    project: Project | None = None
    is_new: bool = False


@contextmanager
def _store(session: Session, author: str | None, source: str, *, empty: bool) -> Iterator[_Target]:
    """Yield the store to import into; a new store is removed if the import fails with nothing in the store.

    Raises:
        KBStoreError: There is no store, and the file has no versions for a new store.
    """
    if empty:
        try:
            there = Store.open(
                session.location, branch=session.branch, author=session.author(author), collection=session.collection
            )
        except StoreNotFound:
            raise _nothing(source) from None
        with there:
            yield _Target(there)
        return
    project: Project | None = None
    mode = mode_like(session.file, source if source != "-" else None)
    try:
        location = session.location
    except StoreNotFound:
        project = Project(Path.cwd(), Config())
        project.make_folder(project.root, mode)
        location = project.location
    is_new = False
    try:
        store, is_new = open_or_create(
            location, mode, branch=session.branch, author=session.author(author), collection=session.collection
        )
        with store:
            if project is not None:
                project.save()
            yield _Target(store, project, is_new)
    except OutcomeUnknown:
        raise  # the same command looks in this store for a landed write
    except BaseException:
        with suppress(KBStoreError, OSError):
            _take_away(location if is_new else None, project)
        raise


def _take_away(location: str | None, project: Project | None) -> None:
    """Remove a store started just now, and its project, as long as both are empty."""
    if location is not None:
        with Store.open(location, read_only=True) as store:
            if _holds_something(store):
                return
        Path(store.location).unlink()
    if project is not None:
        folder = project.root / FOLDER
        if [path.name for path in folder.iterdir()] in ([], ["config.json"]):
            (folder / "config.json").unlink(missing_ok=True)
            folder.rmdir()


def _nothing(source: str) -> KBStoreError:
    name = "stdin" if source == "-" else shown_path(source)
    return KBStoreError(f"{name} has no versions to import, so no store was started")


def _holds_something(store: Store) -> bool:
    return bool(store.head().seq or store.settings() or len(store.branches()) > 1)


@contextmanager
def _lines(source: str, *, lossy: bool) -> Iterator[Iterator[bytes] | None]:
    """Yield the lines to import, after a check of the first line, since a wrong file must not make a store.

    Yields `None` if there is no line.
    """
    from kbstore.sync.jsonl_reader import checked_first, unpacked

    def checked(stream: BinaryIO) -> Iterator[bytes] | None:
        lines = unpacked(stream)
        return checked_first(rounded_lines("stdin" if source == "-" else source, lines) if lossy else lines)

    if source == "-":
        yield checked(sys.stdin.buffer)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below: later errors are not errors of opening
    except OSError as fault:
        raise WorkFileError(f"cannot read {source}: {fault.strerror}") from fault
    with file:
        yield checked(file)


@command("export")
@click.argument("revisions", required=False, metavar="[REV|A..B]", shell_complete=complete_revision)
@click.option("-o", "--output", metavar="FILE", type=OptionPath(), help="Write to FILE instead of stdout.")
@click.option(
    "--sqlite", "tables", metavar="FILE", type=OptionPath(), help="Make SQLite tables of one version instead."
)
@click.option("--force", is_flag=True, help="Replace a file that is not an earlier export.")
@as_json_option
@click.pass_obj
def export_command(
    session: Session, revisions: str | None, output: str | None, tables: str | None, force: bool, as_json: bool
) -> None:
    """Write versions as JSON lines, or as SQLite tables.

    Each line holds an event with id and patch (RFC 6902), oldest first; `kbstore import` reads such lines. REV
    selects one version; A..B selects the versions after A, up to B. By default all versions are written, with tags and
    branches; on a branch other than main, all versions of the branch.

    With --sqlite, a database of one version is made for SQL and Datasette: a table for each collection with full-text
    search, and a table of the versions. The database is not a store.

    \b
    Example:
      kbstore export > history.jsonl
      kbstore export v3..HEAD -o news.jsonl
      kbstore export --sqlite articles.db v3
    """
    if force and tables is None and output is None:
        raise click.UsageError("--force needs -o or --sqlite")
    with session.read() as store:
        if tables is not None:
            if output is not None or (revisions and parse_range(revisions)):
                raise click.UsageError("--sqlite takes one file and one version")
            from kbstore.sync.sqlite_export import export_tables

            target = output_file(session, store, tables)
            with Progress("export") as progress:
                made = export_tables(
                    store,
                    target,
                    "HEAD" if revisions is None else revisions,
                    mode=session.mode(store),
                    lost=session.lost if force else None,
                    progress=progress.reach,
                )
            if as_json:
                say_json({"file": tables, "tables": made})
            else:
                note(f"wrote {visible(tables)}")
                for name, rows in made.items():
                    note(f"  {visible(name)}: {counted(rows, 'row')}")
            return
        from kbstore.sync.jsonl import export_all, export_events

        if revisions is None and store.branch == MAIN_BRANCH:
            lines = export_all(store)
        else:
            lines = export_events(store, *_range(store, revisions))
        if output is not None and output != "-":
            path = output_file(session, store, output, mark=EXPORT, force=force)
            write_output(session, path, lines, mark=EXPORT, mode=session.mode(store), force=force)
            note(f"wrote {visible(output)}")
            return
        for line in lines:
            write_bytes(line)


def _range(store: Store, revisions: str | None) -> tuple[int, int | None]:
    if revisions is None:
        return 1, None
    both = parse_range(revisions)
    if both is None:
        seq = store.version(revisions).seq
        return seq, seq
    return store.version(both[0]).seq + 1, store.version(both[1]).seq
