"""`kbstore diff`: compare two versions, or a version and the file, in a chosen format."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from kbstore.cli.exit_codes import DIFFERENCES
from kbstore.cli.options import OptionPath, as_json_option, command, complete_revision, lossy_option
from kbstore.cli.output import json_text, note, page, say, wants_color, width, write_bytes
from kbstore.cli.output_files import PAGE, output_file, write_output
from kbstore.cli.session import Session
from kbstore.diff.diff import Diff
from kbstore.errors import PointerError, RevisionError
from kbstore.history.revision import parse_range
from kbstore.history.version import Version
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.pointer import parse_pointer
from kbstore.kit.escape import visible
from kbstore.store import Store
from kbstore.worktree.working_copy import WorkingCopy


@command("diff")
@click.argument("places", nargs=-1, metavar="[A [B]|FILE FILE] [POINTER]", shell_complete=complete_revision)
@click.option("--stat", is_flag=True, help="Show how much changed in each entry.")
@click.option("--name-only", is_flag=True, help="List the pointers of the changed entries, one per line.")
@click.option("--patch", is_flag=True, help="Print a JSON Patch (RFC 6902) from A to exactly B, with tests.")
@click.option("--bare", is_flag=True, help="With --patch: leave out the tests of old values.")
@click.option("--unified", is_flag=True, help="Print lines with - and +, for other diff tools.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a review or an issue.")
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=OptionPath(),
    help='Write a self-contained page to FILE ("-" is stdout).',
)
@click.option("--force", is_flag=True, help="With --html: replace a file that is not an earlier page.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences.")
@lossy_option
@as_json_option
@click.pass_context
def diff_command(
    ctx: click.Context,
    places: tuple[str, ...],
    stat: bool,
    name_only: bool,
    patch: bool,
    bare: bool,
    unified: bool,
    markdown: bool,
    html_file: str | None,
    force: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Show the changes between versions, or in the file.

    Given A and B, the changes from A to B are shown; given A, the changes from A to the file; without both, the changes
    from the file's last version to the file. Two existing files are compared without a store. With POINTER, which
    begins with a slash, only the changes at or below POINTER are shown.

    \b
    Example:
      kbstore diff
      kbstore diff v2 v3 /problems/p42
      kbstore diff v2..v3 --html changes.html
      kbstore diff old.json new.json --stat
    """
    forms = [stat, name_only, patch, unified, markdown, html_file is not None, as_json]
    if sum(forms) > 1:
        raise click.UsageError("give one form only", ctx)
    if bare and not patch:
        raise click.UsageError("--bare needs --patch", ctx)
    if force and html_file is None:
        raise click.UsageError("--force needs --html", ctx)
    session = ctx.ensure_object(Session)
    files = _files(places)
    with session.read() if files is None else _store_of(session, files[0]) as store:
        if html_file is not None and files is None:
            _refuse_revision(store, html_file, ctx)
        diff = _diff(session, store, places, ctx) if files is None else _of_files(session, store, files, places)
        differs = exit_code and bool(diff or diff.turned)
        if as_json:
            say(json_text(diff.json()))
        elif patch:
            say(json_text(diff.patch if bare else diff.guarded_patch, pretty=True))
        elif html_file is not None:
            page_bytes = diff.html(f"{diff.old_name} to {diff.new_name}").encode()
            if html_file == "-":
                write_bytes(page_bytes)
            else:
                path = output_file(session, store, html_file, mark=PAGE, force=force)
                write_output(session, path, [page_bytes], mark=PAGE, mode=session.mode(store), force=force)
                note(f"wrote {visible(html_file)}")
        else:
            if stat:
                text = diff.stat(width())
            elif name_only:
                text = diff.names()
            elif unified:
                text = diff.unified()
            elif markdown:
                text = diff.markdown()
            else:
                text = diff.text(color=wants_color(), width=width())
            page(text.rstrip("\n").split("\n") if text.strip() else [])
    if differs:
        ctx.exit(DIFFERENCES)


def _refuse_revision(store: Store, file: str, ctx: click.Context) -> None:
    """Refuse the name of a version in the place of the page's file, as in ``diff --html v2 v3``."""
    ends = parse_range(file) or (file,)
    if file == "-" or Path(file).exists():
        return
    try:
        for end in ends:
            store.version(end)
    except RevisionError:
        return
    raise click.UsageError(f"--html takes the file to write, as in --html changes.html; {file} is a version", ctx)


def _files(places: tuple[str, ...]) -> tuple[Path, Path] | None:
    """Return the two files to compare; None for versions."""
    names = places[:-1] if places and places[-1][:1] in ("", "/") and len(places) > 2 else places
    if len(names) == 2 and all(Path(name).is_file() for name in names):
        return Path(names[0]), Path(names[1])
    return None


def _store_of(session: Session, file: Path) -> Store:
    """Return a store in memory whose only version is a file."""
    session.needs_no_project = True
    document = session.document(file)
    store = Store.create("memory:", collection=session.collection)
    store.commit(document, author=os.fspath(file))
    return store


def _of_files(session: Session, store: Store, files: tuple[Path, Path], places: tuple[str, ...]) -> Diff:
    pointer = places[2] if len(places) > 2 else ""
    diff = store.diff("v1", pointer=pointer, document=session.document(files[1]))
    if pointer and not diff and store.get(pointer, "v1", default=MISSING) is MISSING:
        raise PointerError(f"there is nothing at {pointer!r} in {files[0]} and {files[1]}", pointer=pointer)
    diff.old_name, diff.new_name = map(str, files)
    diff.base = None
    return diff


def _diff(session: Session, store: Store, places: tuple[str, ...], ctx: click.Context) -> Diff:
    revisions, pointer = list(places), ""
    if revisions and (revisions[-1].startswith("/") or revisions[-1] == ""):
        pointer = revisions.pop()
        parse_pointer(pointer)
    if len(revisions) == 1 and (both := parse_range(revisions[0])) is not None:
        revisions = list(both)
    if len(revisions) > 2 or (len(revisions) == 2 and any(map(parse_range, revisions))):
        raise click.UsageError("give at most two versions and a pointer, which begins with a slash", ctx)
    if len(revisions) < 2 and session.file is not None:
        before, diff = _with_file(session.copy(store), revisions, pointer)
    else:
        before = store.version(revisions[0] if revisions else "HEAD~1" if store.head().seq else "v0")
        diff = store.diff(before, revisions[1] if len(revisions) == 2 else "HEAD", pointer)
    if pointer and not diff:
        store.get(pointer, before)  # refuses a mistyped pointer, with nothing on both sides
    return diff


def _with_file(copy: WorkingCopy, revisions: Sequence[str], pointer: str) -> tuple[Version, Diff]:
    """Compare a version, by default the file's base, with the file."""
    status = copy.status() if not revisions else None
    before = status.base if status is not None else copy.store.version(revisions[0])
    if status is not None and status.diff is not None and not pointer:
        diff = status.diff
    else:
        content = status.content if status is not None and status.content is not None else copy.load()
        diff = copy.store.diff(before, pointer=pointer, document=content.value)
    diff.new_name = copy.file.path.name
    return before, diff
