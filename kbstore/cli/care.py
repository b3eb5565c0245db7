"""Commands that look after a store: verify, gc."""

import dataclasses

import click

from kbstore.cli.exits import FAILED
from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json
from kbstore.cli.session import Session
from kbstore.render.escape import visible


@command("verify")
@click.option("--head", metavar="ID", help="An event id that you noted elsewhere; the history must contain it.")
@as_json_option
@click.pass_context
def verify_command(ctx: click.Context, head: str | None, as_json: bool) -> None:
    """Prove from the bytes that the history is whole.

    An unkeyed chain of hashes shows corruption, not malice: whoever can write the whole store can make another
    sound chain. Note the id that this prints somewhere else; with --head a rewritten or shortened history is then
    always found.

    \b
    Example:
      kbstore verify
      kbstore verify --head 3fa9c1d2e4b5a697
    """
    session = ctx.ensure_object(Session)
    with session.read() as store, Progress("verify") as progress:
        report = store.verify(head, progress=progress.reach)
    if as_json:
        say_json({"ok": report.ok, **dataclasses.asdict(report)})
    else:
        for problem in report.problems:
            note(f"error: {visible(problem)}")
        for damage in report.caches:
            note(f"cache: {visible(damage)} (nothing is lost; it is rebuilt)")
        if report.ok:
            say(f"whole: {report.versions} versions, head {report.head or '(none)'}")
            if report.pinned:
                say(f"the history contains {head}")
    if not report.ok:
        ctx.exit(FAILED)


@command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_json_option
@click.pass_obj
def gc_command(session: Session, dry_run: bool, as_json: bool) -> None:
    """Pack what is old, and drop caches; no version is removed.

    \b
    Example:
      kbstore gc --dry-run
      kbstore gc
    """
    with session.read() if dry_run else session.open() as store:
        done = store.gc(dry_run=dry_run)
    if as_json:
        say_json({"dry_run": dry_run, **dataclasses.asdict(done)})
        return
    would = "would drop" if dry_run else "dropped"
    say(f"{would} {done.dropped_snapshots} snapshots ({done.dropped_bytes:,} bytes)")
    say(f"{'would pack' if dry_run else 'packed'} {done.packed_bodies} patches and {done.packed_chunks} chunks")
    after = "" if done.size_after_bytes is None else f", now {done.size_after_bytes:,}"
    say(f"the store took {done.size_before_bytes:,} bytes{after}")
