"""Commands for the care of a store: verify, salvage, gc."""

import dataclasses
import re
from shlex import quote

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json, warn
from kbstore.cli.output_files import output_folder
from kbstore.cli.session import Session, shown_path
from kbstore.cli.version_text import counted
from kbstore.errors import KBStoreError
from kbstore.history.branch import MAIN_BRANCH
from kbstore.kit.escape import visible
from kbstore.store import Store
from kbstore.worktree.lost import clear_left
from kbstore.worktree.taken import remembered

_ID = re.compile(r"[0-9a-fA-F]{16,64}")


class NotWhole(KBStoreError):
    """`kbstore verify` found an error in the history."""


@command("verify")
@click.option(
    "--head",
    metavar="ID",
    help="An event id that you noted elsewhere, or at least the first 16 digits; the history must contain this event.",
)
@click.option("--refs-head", metavar="ID", help="The same for the history of tags and branches.")
@as_json_option
@click.pass_context
def verify_command(ctx: click.Context, head: str | None, refs_head: str | None, as_json: bool) -> None:
    """Prove from the stored bytes that the history is whole.

    An unkeyed chain of hashes shows corruption, not malice: a person who can write the whole store can make another
    sound chain. So note the printed head id in another place. With --head ID, a rewritten or shortened history of this
    branch is then always found.

    \b
    Example:
      kbstore verify
      kbstore verify --head 3fa9c1d2e4b5a697
    """
    session = ctx.ensure_object(Session)
    for option, ident in (("--head", head), ("--refs-head", refs_head)):
        if ident is not None and not _ID.fullmatch(ident):
            raise click.BadParameter(
                "give an id of 64 hexadecimal digits, or at least its first 16", ctx, param_hint=option
            )
    with session.read(judges=True) as store, Progress("verify") as progress:
        report = store.verify(head, refs_head=refs_head, progress=progress.reach)
        others = "" if store.backend.remote else ", a kb.db.replaced-* beside the store"
        missing = "" if session.is_older else _missing_base(session, store)
        is_branch = report.elsewhere == MAIN_BRANCH or (report.elsewhere and report.elsewhere in store.branches())
    if as_json:
        say_json({"ok": report.ok, **dataclasses.asdict(report)})
    else:
        for problem in report.problems:
            say(f"damaged: {visible(problem)}")
        for damage in report.caches:
            say(f"cache: {visible(damage)} (nothing is lost; it is rebuilt)")
        for text in report.notes:
            say(f"note: {visible(text)}")
        if report.problems:
            say(f"{report.readable:,} of {counted(report.versions, 'version')} can be read")
        else:
            say(f"whole: {counted(report.versions, 'version')}, head {report.head or '(none)'}")
            if report.refs_head:
                say(f"tags and branches: head {report.refs_head}")
        if report.refs_pinned:
            say(f"the history of tags and branches contains {refs_head}")
        if report.pinned:
            merged = ", which was merged into it" if report.merged else ""
            say(f"the history contains {report.pinned_id}, {_behind(report.behind)}{merged}")
        if report.missing:
            say(f"missing: {visible(report.missing)}")
        elif not (report.pinned or report.problems):
            say("versions that were cut off at the end leave no trace: check an id that you noted with --head ID")
    if missing:
        note(f"warning: {missing}")
    if report.missing and not report.problems:
        given = {"--head": None if report.pinned else head, "--refs-head": None if report.refs_pinned else refs_head}
        asked = [f"{option} {ident}" for option, ident in given.items() if ident is not None]
        look = f"look for a newer copy (a backup, a clone{others}): kbstore verify {' '.join(asked)} --store COPY"
        raise NotWhole(
            f"not in this history: {', '.join(ident for ident in given.values() if ident is not None)}",
            hint=f"if you noted it of {report.elsewhere}: kbstore --branch {quote(report.elsewhere)} verify "
            f"--head {head}; else {look}"
            if is_branch
            else look,
        )
    if not report.ok:
        raise NotWhole(
            f"the history is not whole: {counted(len(report.problems), 'problem')}",
            hint="kbstore salvage DIR writes all that can be proved; then compare this store with a backup or a clone",
        )


def _missing_base(session: Session, store: Store) -> str:
    """Return a sentence if the store is older than the file beside it; empty if not, or if unknown."""
    file, project = session.file, session.project
    state = project.state_of(file) if project is not None and file is not None else None
    if file is None or state is None or not state.id or state.branch != store.branch or remembered(store, state):
        return ""
    head = store.head()
    if state.seq > head.seq:
        what = f"it ends at {head.name}, so it is an older copy, or another store"
    else:
        what = f"its v{state.seq} is another version, so it was rewritten, or it is another store"
    taken = f"{shown_path(file)} was taken from {state.name or f'v{state.seq}'}"
    return f"{taken}, which this store does not contain: {what}"


def _behind(versions: int) -> str:
    return f"{counted(versions, 'version')} behind the newest" if versions else "which is the newest version"


@command("salvage")
@click.argument("target", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--no-documents", is_flag=True, help="Write only the events and the report.")
@as_json_option
@click.pass_obj
def salvage_command(session: Session, target: str, no_documents: bool, as_json: bool) -> None:
    """Write all provable data of a damaged store to a folder.

    DIR is a new or empty folder. events.jsonl gets each event whose bytes match the event's id, with null in place of a
    lost patch. documents/ gets each document that is proved by the state hash of its version. report.json lists the
    written and the damaged data. `kbstore import` takes the events up to the first lost event.

    \b
    Example:
      kbstore salvage rescued
      kbstore import --store new.db rescued/events.jsonl
    """
    from kbstore.verify.salvage import salvage

    with session.salvage() as store, Progress("salvage") as progress:
        done = salvage(
            store,
            output_folder(session, store, target),
            documents=not no_documents,
            mode=session.mode(store),
            progress=progress.reach,
        )
    report = done.report
    counts = {"events": done.events, "patches": done.patches, "documents": done.documents, "refs": done.refs}
    if as_json:
        versions = {"versions": report.versions, "readable": report.readable}
        say_json({"folder": target, **versions, **counts, "problems": report.problems})
        return
    for problem in report.problems:
        say(f"damaged: {visible(problem)}")
    documents = "" if no_documents else f" and {done.documents:,} of {counted(report.versions, 'document')}"
    patches = "" if done.patches == done.events else f", {done.patches:,} of them with their patch,"
    events = f"{done.events:,} of {counted(report.versions, 'event')}"
    say(f"salvaged {events}{patches}{documents} into {shown_path(target)}")


@command("gc")
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@click.option("--indexes", is_flag=True, help="Drop indexes too; indexes are built again when needed.")
@as_json_option
@click.pass_obj
def gc_command(session: Session, dry_run: bool, indexes: bool, as_json: bool) -> None:
    """Pack old data and drop caches; no version is removed.

    \b
    Example:
      kbstore gc --dry-run
      kbstore gc
    """
    with session.read() if dry_run else session.open() as store:
        done = store.gc(dry_run=dry_run, indexes=indexes)
        if not dry_run and session.found is not None:
            clear_left(session.found.root, session.file)
    lost = session.lost.copies() if session.found is not None else []
    if done.kept:
        stay = f"{counted(len(done.kept), 'object')} {'stays' if len(done.kept) == 1 else 'stay'}"
        warn([f"{stay}, which only takes room: {visible(done.kept_because)}"])
    if as_json:
        say_json({"dry_run": dry_run, **dataclasses.asdict(done), "lost": len(lost)})
        return
    would = "would drop" if dry_run else "dropped"
    for name in done.removed if dry_run else ():
        say(f"would remove {visible(name)}")
    say(f"{would} {counted(done.dropped_snapshots, 'snapshot')} ({done.dropped_bytes:,} bytes)")
    packed = f"{counted(done.packed_bodies, 'patch', 'patches')} and {counted(done.packed_chunks, 'chunk')}"
    say(f"{'would pack' if dry_run else 'packed'} {packed}")
    after = "" if done.size_after_bytes is None else f", now {done.size_after_bytes:,}"
    say(f"the store took {done.size_before_bytes:,} bytes{after}")
    if lost:
        say(f"{counted(len(lost), 'overwritten file')} {'is' if len(lost) == 1 else 'are'} kept: kbstore lost")
