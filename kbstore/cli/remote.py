"""Commands that carry a history from store to store: clone, push, pull."""

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json
from kbstore.cli.session import Session
from kbstore.render.escape import visible
from kbstore.replicate import Copied, clone_into, replicate
from kbstore.store import Store


@command("clone")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@as_json_option
@click.pass_obj
def clone_command(session: Session, source: str, target: str, as_json: bool) -> None:
    """Copy the whole history of a store to a new one.

    SRC and DST are paths or URLs. Versions, tags and branches keep their ids. Everything that is copied is computed
    anew on the way. A clone that was cut short goes on where it stopped when it is given again.

    \b
    Example:
      kbstore clone s3://bucket/kb kb.db
      kbstore clone .kbstore/kb.db s3://bucket/kb
    """
    with Store.open(source, read_only=True) as store, Progress("clone") as progress:
        copied = clone_into(store, target, author=session.author(), progress=progress.reach)
        head = store.head()
    _tell(copied, f"cloned to {visible(target)}", head.name, as_json)


@command("push")
@click.argument("target", metavar="DST")
@as_json_option
@click.pass_obj
def push_command(session: Session, target: str, as_json: bool) -> None:
    """Add to another store what this one has more.

    Fast-forward only: where both have versions of their own, that is a conflict.

    \b
    Example:
      kbstore push s3://bucket/kb
    """
    with (
        Store.open(session.location, read_only=True) as store,
        Store.open(target, author=session.author()) as there,
        Progress("push") as progress,
    ):
        copied = replicate(store, there, progress.reach)
        head = there.head()
    _tell(copied, f"pushed to {visible(target)}", head.name, as_json)


@command("pull")
@click.argument("source", metavar="SRC")
@as_json_option
@click.pass_obj
def pull_command(session: Session, source: str, as_json: bool) -> None:
    """Add to this store what another one has more.

    A file without uncommitted changes follows. Fast-forward only: where both have versions of their own, that is a
    conflict.

    \b
    Example:
      kbstore pull s3://bucket/kb
    """
    with (
        Store.open(source, read_only=True) as there,
        Store.open(session.location, author=session.author(), collection=session.collection) as store,
        Progress("pull") as progress,
    ):
        copy = session.copy(store) if session.file is not None and session.file.exists() else None
        clean = copy is not None and copy.status().clean
        copied = replicate(there, store, progress.reach)
        if copy is not None and copied.versions and session.branch == store.branch:
            if clean:
                copy.take("HEAD", force=True)
            else:
                note(f"{visible(str(copy.file.path))} has uncommitted changes and was left as it is")
        head = store.head()
    _tell(copied, f"pulled from {visible(source)}", head.name, as_json)


def _tell(copied: Copied, what: str, head: str, as_json: bool) -> None:
    if as_json:
        say_json({"versions": copied.versions, "refs": copied.refs, "head": head})
    elif copied.versions or copied.refs:
        say(f"{copied.versions} versions and {copied.refs} changes of tags and branches {what}; the newest is {head}")
    else:
        say(f"nothing to copy; the newest is {head}")
