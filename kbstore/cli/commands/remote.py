"""Commands that carry a history from store to store: clone, push, pull."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import click

from kbstore.cli.options import accept_future_option, as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json
from kbstore.cli.session import Session, lasting, project_at, shown_path, store_at
from kbstore.cli.version_text import counted
from kbstore.errors import InvalidJSON, RevisionError, StoreExists
from kbstore.kit.escape import visible
from kbstore.kit.trust import trust_url
from kbstore.store import Store
from kbstore.sync.remote import Copied, clone_into, replicate
from kbstore.worktree.json_file import WorkFile, mode_like
from kbstore.worktree.project import FOLDER, Config, Project, ProjectError, is_url
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy

_FILE = "kb.json"
"""What the file of a working copy is called if its source is a store that belongs to no file."""

_remember_option = click.option(
    "--remember", is_flag=True, help="Keep the store for push and pull without an argument."
)
_force_option = click.option(
    "--force", is_flag=True, help="Tags that both changed follow the source; branches that diverged are left out."
)


@command("clone")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--bare", is_flag=True, help="Make a store alone, whatever DST is called.")
@accept_future_option
@as_json_option
@click.pass_obj
def clone_command(session: Session, source: str, target: str, bare: bool, accept_future: bool, as_json: bool) -> None:
    """Copy the whole history of a store to a new one.

    If DST is missing or an empty folder, it becomes a working copy: the file, its history in .kbstore/, and SRC
    remembered for push and pull. A DST that is a URL or ends in .db becomes a store alone. SRC is a project's folder, a
    path or a URL. Versions, tags and branches keep their ids. Everything that is copied is computed anew on the way. A
    clone that was cut short goes on where it stopped when it is given again.

    \b
    Example:
      kbstore clone s3://bucket/kb support
      kbstore clone /srv/support kb.db
      kbstore clone . s3://bucket/kb
    """
    session.needs_no_project = True
    model = project_at(lasting(source))
    with Store.open(store_at(source), read_only=True) as store, Progress("clone") as progress:
        remote = _as_text(_remembered(source, store))
        fresh = None if bare else _folder_to_fill(target, remote)
        place = store_at(target)
        if fresh is not None:
            place = _begin(fresh, mode_like(store.location))
        copied = clone_into(store, place, author=session.author(), progress=progress.reach, accept_future=accept_future)
        _landed(session, source, copied)
        head = store.head()
    file = _work_in(session, fresh, model, remote) if fresh is not None else None
    _tell(copied, f"cloned to {visible(target)}", head.name, as_json, {"file": str(file) if file is not None else None})


def _remembered(location: str, store: Store) -> str:
    """A store's location as a project can remember it, wherever a command runs."""
    if is_url(location) and not location.lower().startswith("sqlite:"):
        return location
    return os.path.abspath(store.location if is_url(location) else location)  # noqa: PTH100 - as the user sees it


def _as_text(location: str) -> str:
    """A location that a configuration can hold; empty, with a note, if its name is bytes that are no text."""
    try:
        location.encode()
    except UnicodeEncodeError:
        note(f"the source is not remembered: {visible(location)} is not text in UTF-8")
        return ""
    return location


def _folder_to_fill(target: str, remote: str) -> Path | None:
    """The folder that is to become a working copy; None if a store alone is to be made, or gone on with.

    Raises:
        StoreExists: It is there, and holds something else.
    """
    folder = Path(target)
    if is_url(target) or folder.name.endswith(".db") or folder.name == FOLDER:
        return None
    if not os.path.lexists(folder):
        return folder
    if not folder.is_dir() or (folder / "kb.db").is_file():
        return None  # a store, or what opening it says
    names = {each.name for each in folder.iterdir()}
    if names == {FOLDER}:  # one that was cut short, before or after it became a project
        there = project_at(target)
        if there is None or (there.config.remote == remote and there.file is not None and not there.file.exists()):
            return folder
    elif names and project_at(target) is None:
        raise StoreExists(
            f"{target} is there already, and is not empty",
            hint="name a new folder for a working copy, or a file that ends in .db for a store alone",
        )
    return None if names else folder


def _begin(folder: Path, mode: int) -> str:
    """Make a folder, and the one in it for the store; returns where the store is to be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ProjectError(f"cannot make the folder {folder}: {fault.strerror}") from fault
    Project.make_folder(folder, mode)
    return Project(folder, Config()).location


def _work_in(session: Session, folder: Path, model: Project | None, remote: str) -> Path | None:
    """Make a folder with a cloned store a working copy; returns its file, if there is a version to write into it."""
    theirs = model.config if model is not None else Config()
    name = session.file_option or theirs.file or _FILE
    config = Config(file=name, collection=theirs.collection, remote=remote)
    project = Project(folder, config)
    with Store.open(project.location) as store:
        wanted = session.branch_option or (theirs.branch if theirs.branch in store.branches() else config.branch)
    with Store.open(project.location, branch=wanted, collection=config.collection) as store:
        project.change(branch=wanted)
        project = Project.load(folder)  # sees that the file stays in the folder
        if is_url(remote):
            trust_url(remote, os.environ)  # the user has named it
        file, head = project.file, store.head()
        if file is None or not head.seq:
            note("there is no version yet, so there is no file")
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        WorkingCopy(store, WorkFile(file), project, mode=session.mode(store)).take(head)
        note(f"{shown_path(file)} is at {head.name}")
        return file


@command("push")
@click.argument("target", metavar="[DST]", required=False)
@_remember_option
@_force_option
@accept_future_option
@as_json_option
@click.pass_obj
def push_command(
    session: Session, target: str | None, remember: bool, force: bool, accept_future: bool, as_json: bool
) -> None:
    """Add to another store what this one has more.

    DST is a project's folder, a path or a URL; without it, the store that clone or --remember has remembered.
    Fast-forward only: where both have versions of their own, or changed the same tag, that is a conflict, and nothing
    is copied. --force settles tags; versions are never rewritten.

    \b
    Example:
      kbstore push
      kbstore push s3://bucket/kb --remember
    """
    place = session.remote(target)
    with (
        Store.open(session.location, read_only=True) as store,
        Store.open(store_at(place), author=session.author()) as there,
        Progress("push") as progress,
    ):
        copied = replicate(store, there, progress.reach, force=force, accept_future=accept_future)
        _landed(session, session.location, copied)
        head = there.head()
        if remember:
            _remember(session, place, there)
    _tell(copied, f"pushed to {visible(place)}", head.name, as_json)


@command("pull")
@click.argument("source", metavar="[SRC]", required=False)
@_remember_option
@_force_option
@accept_future_option
@as_json_option
@click.pass_obj
def pull_command(
    session: Session, source: str | None, remember: bool, force: bool, accept_future: bool, as_json: bool
) -> None:
    """Add to this store what another one has more.

    SRC is a project's folder, a path or a URL; without it, the store that clone or --remember has remembered.
    A file without uncommitted changes follows. Fast-forward only: where both have versions of their own, or changed the
    same tag, that is a conflict, and nothing is copied. --force settles tags; versions are never rewritten.

    \b
    Example:
      kbstore pull
      kbstore pull s3://bucket/kb --remember
    """
    place = session.remote(source)
    with (
        Store.open(store_at(place), read_only=True) as there,
        Store.open(session.location, author=session.author(), collection=session.collection) as store,
        Progress("pull") as progress,
    ):
        copy = _copy(session, store)
        if copy is not None:
            with suppress(BaseUnknown, InvalidJSON):  # what is pulled may contain it; it may be edited just now
                copy.status()
        copied = replicate(there, store, progress.reach, force=force, accept_future=accept_future)
        _landed(session, place, copied)
        if remember:
            _remember(session, place, there)
        if copy is not None and (left := copy.catch_up()):
            note(visible(left))
        head = store.head()
    _tell(copied, f"pulled from {visible(place)}", head.name, as_json)


def _remember(session: Session, place: str, there: Store) -> None:
    """Keep a store that was named for the next push and pull.

    Raises:
        ProjectError: There is no project to keep it in.
    """
    project = session.project
    if project is None:
        raise ProjectError("only a project can remember another store", hint="start one: kbstore init FILE")
    remote = _remembered(place, there)
    project.change(remote=remote)
    if is_url(remote):
        trust_url(remote, os.environ)


def _copy(session: Session, store: Store) -> WorkingCopy | None:
    """The file, if there is one, with the branch that it follows; None where that branch is not here yet."""
    if session.file is None or not session.file.exists():
        return None
    try:
        branch = store.branch_now(session.branch) or session.branch
        own = Store(store.backend, branch=branch, collection=session.collection)
    except RevisionError:
        return None
    return session.copy(own)


def _landed(session: Session, source: str, copied: Copied) -> None:
    session.landed = f"all of {source} is copied" if copied.versions or copied.refs else ""
    session.way_on = "run the same command again"


def _tell(
    copied: Copied, what: str, head: str, as_json: bool, more: Mapping[str, object] = MappingProxyType({})
) -> None:
    for name in copied.left_out:
        note(f"{visible(name)} is another branch or tag in each store, and was left out")
    if as_json:
        counts = {"versions": copied.versions, "refs": copied.refs, "left_out": list(copied.left_out), "head": head}
        say_json({**counts, **more})
    elif copied.versions or copied.refs:
        refs = f" and {counted(copied.refs, 'change')} of tags and branches" if copied.refs else ""
        say(f"{counted(copied.versions, 'version')}{refs} {what}; the newest is {head}")
    else:
        say(f"nothing to copy; the newest is {head}")
