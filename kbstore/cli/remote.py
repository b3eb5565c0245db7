"""Commands that carry a history from store to store: clone, push, pull."""

from contextlib import suppress

import click

from kbstore.cli.options import accept_future_option, as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json
from kbstore.cli.session import Session, lasting
from kbstore.cli.shown import counted
from kbstore.errors import InvalidJSON, RevisionError
from kbstore.render.escape import visible
from kbstore.replicate import Copied, clone_into, replicate
from kbstore.store import Store
from kbstore.taken import BaseUnknown
from kbstore.workingcopy import WorkingCopy

_force_option = click.option(
    "--force", is_flag=True, help="Tags that both changed follow the source; branches that diverged are left out."
)


@command("clone")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@accept_future_option
@as_json_option
@click.pass_obj
def clone_command(session: Session, source: str, target: str, accept_future: bool, as_json: bool) -> None:
    """Copy the whole history of a store to a new one.

    SRC and DST are paths or URLs. Versions, tags and branches keep their ids. Everything that is copied is computed
    anew on the way. A clone that was cut short goes on where it stopped when it is given again.

    \b
    Example:
      kbstore clone s3://bucket/kb kb.db
      kbstore clone .kbstore/kb.db s3://bucket/kb
    """
    with Store.open(lasting(source), read_only=True) as store, Progress("clone") as progress:
        copied = clone_into(
            store, lasting(target), author=session.author(), progress=progress.reach, accept_future=accept_future
        )
        _landed(session, source, copied)
        head = store.head()
    _tell(copied, f"cloned to {visible(target)}", head.name, as_json)


@command("push")
@click.argument("target", metavar="DST")
@_force_option
@accept_future_option
@as_json_option
@click.pass_obj
def push_command(session: Session, target: str, force: bool, accept_future: bool, as_json: bool) -> None:
    """Add to another store what this one has more.

    Fast-forward only: where both have versions of their own, or changed the same tag, that is a conflict, and nothing
    is copied. --force settles tags; versions are never rewritten.

    \b
    Example:
      kbstore push s3://bucket/kb
    """
    with (
        Store.open(session.location, read_only=True) as store,
        Store.open(lasting(target), author=session.author()) as there,
        Progress("push") as progress,
    ):
        copied = replicate(store, there, progress.reach, force=force, accept_future=accept_future)
        _landed(session, session.location, copied)
        head = there.head()
    _tell(copied, f"pushed to {visible(target)}", head.name, as_json)


@command("pull")
@click.argument("source", metavar="SRC")
@_force_option
@accept_future_option
@as_json_option
@click.pass_obj
def pull_command(session: Session, source: str, force: bool, accept_future: bool, as_json: bool) -> None:
    """Add to this store what another one has more.

    A file without uncommitted changes follows. Fast-forward only: where both have versions of their own, or changed the
    same tag, that is a conflict, and nothing is copied. --force settles tags; versions are never rewritten.

    \b
    Example:
      kbstore pull s3://bucket/kb
    """
    with (
        Store.open(lasting(source), read_only=True) as there,
        Store.open(session.location, author=session.author(), collection=session.collection) as store,
        Progress("pull") as progress,
    ):
        copy = _copy(session, store)
        if copy is not None:
            with suppress(BaseUnknown, InvalidJSON):  # what is pulled may contain it; it may be edited just now
                copy.status()
        copied = replicate(there, store, progress.reach, force=force, accept_future=accept_future)
        _landed(session, source, copied)
        if copy is not None and (left := copy.catch_up()):
            note(visible(left))
        head = store.head()
    _tell(copied, f"pulled from {visible(source)}", head.name, as_json)


def _copy(session: Session, store: Store) -> WorkingCopy | None:
    """The file, if there is one, with the branch that it follows; None where that branch is not here yet."""
    if session.file is None or not session.file.exists():
        return None
    try:
        own = Store(store.backend, branch=session.branch, collection=session.collection)
    except RevisionError:
        return None
    return session.copy(own)


def _landed(session: Session, source: str, copied: Copied) -> None:
    session.landed = f"all of {source} is copied" if copied.versions or copied.refs else ""
    session.way_on = "run the same command again"


def _tell(copied: Copied, what: str, head: str, as_json: bool) -> None:
    for name in copied.left_out:
        note(f"{visible(name)} is another branch or tag in each store, and was left out")
    if as_json:
        say_json({"versions": copied.versions, "refs": copied.refs, "left_out": list(copied.left_out), "head": head})
    elif copied.versions or copied.refs:
        refs = f" and {counted(copied.refs, 'change')} of tags and branches" if copied.refs else ""
        say(f"{counted(copied.versions, 'version')}{refs} {what}; the newest is {head}")
    else:
        say(f"nothing to copy; the newest is {head}")
