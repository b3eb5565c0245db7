"""Commands between the file and the store: status, commit, apply, checkout, update, restore."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kbstore.cli.options import (
    OptionPath,
    as_json_option,
    author_option,
    base_option,
    command,
    complete_revision,
    lossy_option,
    message_option,
    no_rebase_option,
    tags_option,
    write_id_option,
)
from kbstore.cli.output import brief, note, paint, say, say_json, wants_color, warn, write_bytes
from kbstore.cli.output_files import output_file
from kbstore.cli.pending import settled
from kbstore.cli.rounding import rounded_text
from kbstore.cli.session import Session, shown_path
from kbstore.cli.version_text import counted, counts, first_line, named
from kbstore.errors import ConflictError, InvalidJSON, KBStoreError, PatchError
from kbstore.history.version import Version
from kbstore.kit.escape import visible
from kbstore.store import Store
from kbstore.worktree.json_file import FileContent, WorkFile, WorkFileError, printed
from kbstore.worktree.patch_file import read_patch
from kbstore.worktree.status import Status
from kbstore.worktree.taken import named_base
from kbstore.worktree.working_copy import WorkingCopy

_SHOWN_ENTRIES = 20
_LEAVE_OUT = "without --no-rebase the change is put on top of what others committed, unless it collides with that"
_MAKE_AGAIN = (
    "in the file, set each of these places back to its old value (kbstore diff shows it) and run kbstore update{0}, "
    "which takes in the newest version and keeps the rest; then make the change again"
)
_MAKE_AGAIN_FROM = (
    "in the file, set each of these places back to its value in {0} (kbstore get POINTER --at {0}) and run the same "
    "command again; then make the change again, and commit it without --base"
)
_MAKE_PATCH_AGAIN = "make the patch again from the newest version, which kbstore get prints"
_NAME_BASE = "if the patch was made from another version, name that one: --base REV"


@command("status")
@lossy_option
@as_json_option
@click.pass_obj
def status_command(session: Session, as_json: bool) -> None:
    """Report the changes in the file since its last version.

    The last version is the version that the file was taken from or committed as. Newer versions of others are counted.

    \b
    Example:
      kbstore status
      kbstore status --json
    """
    with session.read() as store:
        copy = session.copy(store)
        status = copy.status()
        warn(visible(line) for line in copy.notes)
        if as_json:
            say_json(_status_fields(status, copy.file.path, store))
            return
        color = wants_color()
        where = f"at {status.base.name}" if status.base.seq else "with no version yet"
        say(f"{shown_path(copy.file.path)}: {where}, branch {visible(status.branch)}")
        if copy.elsewhere:
            say(f"the file follows {visible(copy.follows)}; commands work on {visible(store.branch)}")
        if status.behind:
            way = "; kbstore update takes it in" if status.diff is not None and not copy.elsewhere else ""
            say(f"{counted(status.behind, 'newer version')}; the newest is {status.head.name}{way}")
        if status.diff is None:
            name = shown_path(copy.file.path)
            say(f"the file is not there; kbstore checkout HEAD writes it; if it was renamed: kbstore mv {name} NEW")
        elif not status.diff:
            say("nothing changed")
        else:
            say(f"uncommitted: {counts(status.diff)}")
            for ids, sign, code in (
                (status.diff.added, "+", "32"),
                (status.diff.modified, "~", "33"),
                (status.diff.removed, "-", "31"),
                (status.diff.moved, ">", "33"),
            ):
                for entry in ids[:_SHOWN_ENTRIES]:
                    say(paint(f"  {sign} {brief(entry)}", code, color))
                if len(ids) > _SHOWN_ENTRIES:
                    say(f"    and {len(ids) - _SHOWN_ENTRIES} more; kbstore diff --name-only lists them all")


def _status_fields(status: Status, path: Path, store: Store) -> dict[str, object]:
    diff = status.diff
    return {
        "file": str(path),
        "exists": diff is not None,
        "store": store.location,
        "branch": status.branch,
        "base": status.base.name,
        "head": status.head.name,
        "behind": status.behind,
        "clean": status.clean,
        "added": diff.added if diff else [],
        "modified": diff.modified if diff else [],
        "removed": diff.removed if diff else [],
        "moved": diff.moved if diff else [],
    }


def _pointers(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pointers unchanged, after a check."""
    if any(value and not value.startswith("/") for value in values):
        raise click.BadParameter("a pointer begins with a slash", ctx, param)
    return values


@command("commit")
@click.argument("places", nargs=-1, metavar="[POINTER]...", callback=_pointers)
@message_option
@author_option
@tags_option
@base_option
@no_rebase_option
@click.option("--allow-empty", is_flag=True, help="Make a version also if nothing changed.")
@click.option("--keep-order-changes", is_flag=True, help="Make a version also if only the order of members changed.")
@write_id_option
@lossy_option
@as_json_option
@click.pass_obj
def commit_command(
    session: Session,
    places: tuple[str, ...],
    message: str,
    author: str | None,
    tags: tuple[str, ...],
    base: str | None,
    no_rebase: bool,
    allow_empty: bool,
    keep_order_changes: bool,
    write_id: str | None,
    as_json: bool,
) -> None:
    """Make a version of the changes in the file.

    Only the changes in the file are committed. Newer commits of others stay, and the file then holds both. If you and
    others changed the same place, nothing is committed (exit code 11). With POINTERs, only these places of the file are
    committed; other changes stay uncommitted.

    \b
    Example:
      kbstore commit -m "API integration problem" --tag api --tag integration
      kbstore commit -m "Only this article" /problems/p42
    """
    content = session.file.read_bytes() if session.file is not None and session.file.is_file() else b""
    writing = session.open(author=author, accept=base is not None)
    with writing as store, settled(session, store, write_id, content) as ident:
        copy = session.copy(store)
        again = _make_again(session) if base is None else _MAKE_AGAIN_FROM.format(base)
        with _way_out(_LEAVE_OUT if no_rebase else again):
            version = copy.commit(
                message=message,
                tags=tags,
                base=base,
                rebase=not no_rebase,
                allow_empty=allow_empty,
                keep_order_changes=keep_order_changes,
                write_id=ident,
                places=places,
            )
        _tell(session, version, copy, as_json)
        if version.created and not as_json:
            note(named(store.diff(version.seq - 1, version)))
        elif not (as_json or places) and version.seq and copy.is_turned(version):
            note(f"the order of members is another one than in {version.name}; --keep-order-changes commits that")


@command("apply")
@click.argument("patch", type=click.Path(path_type=Path))
@message_option
@author_option
@tags_option
@base_option
@no_rebase_option
@write_id_option
@lossy_option
@as_json_option
@click.pass_obj
def apply_command(
    session: Session,
    patch: Path,
    message: str,
    author: str | None,
    tags: tuple[str, ...],
    base: str | None,
    no_rebase: bool,
    write_id: str | None,
    as_json: bool,
) -> None:
    """Commit a JSON Patch, and update the file.

    PATCH is a file, or "-" for stdin, with RFC 6902 operations made for the version of the file, or with the output of
    `kbstore diff --json`, which names the base version. If the file has uncommitted changes, the command is refused and
    changes nothing. After the commit the file has the new version.

    \b
    Example:
      kbstore apply fix.json -m "Raise the severity"
      kbstore --branch draft diff v3 v4 --json | kbstore apply - -m "As in draft"
      kbstore diff v4 v3 --json | kbstore apply - -m "Undo v4"
    """
    text = sys.stdin.buffer.read() if str(patch) == "-" else _read(patch)
    source = "stdin" if str(patch) == "-" else str(patch)
    if session.lossy:
        text = rounded_text(source, text)
    with session.open(author=author) as store, settled(session, store, write_id, text) as ident:
        copy = session.copy(store) if session.file is not None else None
        fields: dict[str, Any] = {"message": message, "tags": tags, "rebase": not no_rebase, "write_id": ident}
        try:
            made = read_patch(text)
            if base is not None or made.base is not None:
                fields["base"] = named_base(store, base or made.base or "", "" if base is not None else made.base_name)
            with _way_out(_LEAVE_OUT if no_rebase else _MAKE_PATCH_AGAIN):
                apply: Callable[..., Version] = copy.apply if copy is not None else store.commit
                version = apply(patch=made.patch, **fields)
        except (InvalidJSON, PatchError) as fault:
            fault.args = (f"{source}: {fault}", *fault.args[1:])
            if isinstance(fault, PatchError) and fault.index is not None and "base" not in fields:
                fault.hint = fault.hint or _NAME_BASE
            raise
        _tell(session, version, copy, as_json)


@command("checkout")
@click.argument("revision", default="HEAD", metavar="[REV]", shell_complete=complete_revision)
@click.option("-o", "--output", metavar="FILE", type=OptionPath(), help='Write to FILE instead; "-" is stdout.')
@click.option("--force", is_flag=True, help="Overwrite uncommitted changes.")
@as_json_option
@click.pass_obj
def checkout_command(session: Session, revision: str, output: str | None, force: bool, as_json: bool) -> None:
    """Write a version of the knowledge base into the file.

    REV is the newest version by default. Nothing is added to the history. A file with changes that are in no version is
    overwritten only with --force. If --branch is given, or REV is the name of a branch, the file follows this branch
    from then on, as with kbstore branch --switch.

    \b
    Example:
      kbstore checkout v3
      kbstore checkout draft
      kbstore checkout @2025-01-27 -o january.json
      kbstore checkout HEAD~2 -o -
    """
    with session.read() as opened:
        into_own = output is None or (output != "-" and session.is_own(Path(output)))
        store = opened
        if into_own and session.project is not None and revision in opened.branches():
            store = Store(opened.backend, branch=revision, collection=session.collection)
        version = store.version(revision)
        model = _model(session) if output is not None else None
        if output == "-":
            write_bytes(printed(store.checkout(version), model))
            return
        copy = (
            session.copy(store)
            if output is None
            else session.copy_of(store, output_file(session, store, output, document=True, force=force))
        )
        elsewhere = copy.elsewhere
        copy.take(version, force=force, model=model)
        session.landed = f"{shown_path(copy.file.path)} is at {version.name}"
        moved = into_own and (session.follow(store.branch) or elsewhere)
        warn(visible(line) for line in copy.notes)
        if as_json:
            say_json({**version.as_dict(), "file": str(copy.file.path)})
        else:
            note(f"{shown_path(copy.file.path)} is at {version.name}")
            if moved:
                note(f"{shown_path(copy.file.path)} follows {visible(store.branch)} now")


@command("update")
@lossy_option
@as_json_option
@click.pass_obj
def update_command(session: Session, as_json: bool) -> None:
    """Take the newest version, and keep your changes.

    New commits of others are merged into the file beside your changes, member by member. If you and others changed the
    same place, the file stays as it is (exit code 11). Nothing is added to the history.

    \b
    Example:
      kbstore update
    """
    with session.read() as store:
        copy = session.copy(store)
        with _way_out(_make_again(session)):
            version = copy.update()
        session.landed = f"{shown_path(copy.file.path)} is at {version.name}"
        if as_json:
            say_json({**version.as_dict(), "file": str(copy.file.path), "clean": copy.status().clean})
        else:
            note(f"{shown_path(copy.file.path)} is at {version.name}")


@command("restore")
@click.argument("revision", metavar="REV", shell_complete=complete_revision)
@click.option("-m", "--message", metavar="TEXT", help='The reason; by default "Restore v3_...".')
@author_option
@tags_option
@write_id_option
@as_json_option
@click.pass_obj
def restore_command(
    session: Session,
    revision: str,
    message: str | None,
    author: str | None,
    tags: tuple[str, ...],
    write_id: str | None,
    as_json: bool,
) -> None:
    """Make a new version that equals an old version.

    The file gets the new version, and the versions in between stay in the history. If the file has uncommitted changes,
    the command is refused and changes nothing.

    \b
    Example:
      kbstore restore v3 -m "Back to the state before the import"
    """
    with session.open(author=author) as store, settled(session, store, write_id) as ident:
        copy = session.copy(store) if session.file is not None else None
        restore = copy.restore if copy is not None else store.restore
        with _way_out("kbstore log shows what was committed meanwhile; the same command again restores on top of it"):
            version = restore(revision, message=message, tags=tags, write_id=ident)
        _tell(session, version, copy, as_json)


@contextmanager
def _way_out(hint: str) -> Iterator[None]:
    """Give a conflict the hint with the next commands."""
    try:
        yield
    except ConflictError as fault:
        fault.hint = hint
        raise


def _make_again(session: Session) -> str:
    """Return the hint for a conflict of the file; update then takes the version of the branch of this command."""
    chosen = session.branch_option
    return _MAKE_AGAIN.format(f" --branch {chosen}" if chosen is not None else "")


def _model(session: Session) -> FileContent | None:
    """Return the knowledge base's file, as a model for the layout of another file; None if unreadable."""
    try:
        if session.file is not None and session.file.is_file():
            return replace(WorkFile(session.file).load(lossy=True), orders=False)
    except KBStoreError:
        pass  # an unreadable file is not a model
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise WorkFileError(f"cannot read {path}: {fault.strerror}") from fault


def _tell(session: Session, version: Version, copy: WorkingCopy | None, as_json: bool) -> None:
    if version.created:
        session.landed = f"{version.name} is in the store"
    if as_json:
        say_json({**version.as_dict(), "created": version.created})
    elif version.created:
        say(f"{version.name}  {first_line(version.message)}")
    else:
        say(version.name)
        note("no version was made" if copy is not None and copy.notes else "nothing changed; no version was made")
    warn(version.notes)
    warn(visible(line) for line in (copy.notes if copy is not None else ()))
