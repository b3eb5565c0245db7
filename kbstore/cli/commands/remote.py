"""Commands for copying a history from store to store: clone, push, pull."""

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import click

from kbstore.cli.options import accept_future_option, as_json_option, command
from kbstore.cli.output import Progress, note, say, say_json
from kbstore.cli.session import Session, lasting, project_at, shown_path, store_at
from kbstore.cli.version_text import counted
from kbstore.errors import InvalidJSON, RevisionError, StoreExists, StoreNotFound
from kbstore.history.branch import MAIN_BRANCH
from kbstore.history.version import Version
from kbstore.kit.escape import visible
from kbstore.kit.trust import trust_url
from kbstore.store import Store
from kbstore.sync.remote import Copied, clone_into, replicate
from kbstore.worktree.json_file import WorkFile, mode_like
from kbstore.worktree.project import FOLDER, Config, Project, ProjectError, is_url
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy

_FILE = "kb.json"
"""The file name in a working copy if the source is a store without a file."""

_remember_option = click.option(
    "--remember", is_flag=True, help="Remember the store for push and pull without an argument."
)
_force_option = click.option(
    "--force", is_flag=True, help="Tags changed in both stores follow the source; diverged branches are left out."
)


@command("clone")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--bare", is_flag=True, help="Make only a store, whatever the name of DST.")
@accept_future_option
@as_json_option
@click.pass_obj
def clone_command(session: Session, source: str, target: str, bare: bool, accept_future: bool, as_json: bool) -> None:
    """Copy the whole history of a store to a new store.

    SRC is a project's folder, a path or a URL. If DST is missing or an empty folder, a working copy is made: the file,
    its history in .kbstore/, and SRC remembered for push and pull. If DST is a URL or ends in .db, only a store is
    made. Versions, tags and branches keep their ids. All copied data is computed anew on the way. After an
    interruption, run the same command again: the clone goes on from there.

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
    _tell(copied, f"cloned to {visible(target)}", head, as_json, {"file": str(file) if file is not None else None})


def _remembered(location: str, store: Store) -> str:
    """Return a store's location in a form valid in every folder, for a project to remember."""
    if is_url(location) and not location.lower().startswith("sqlite:"):
        return location
    return os.path.abspath(store.location if is_url(location) else location)  # noqa: PTH100 - as the user sees it


def _as_text(location: str) -> str:
    """Return a location for the configuration; empty, with a note, if the name is bytes that are not UTF-8."""
    try:
        location.encode()
    except UnicodeEncodeError:
        note(f"the source is not remembered: {visible(location)} is not text in UTF-8")
        return ""
    return location


def _folder_to_fill(target: str, remote: str) -> Path | None:
    """Return the folder for a working copy; None to make, or to complete, only a store.

    Raises:
        StoreExists: The folder exists and holds something else.
    """
    folder = Path(target)
    if is_url(target) or folder.name.endswith(".db") or folder.name == FOLDER:
        return None
    if not os.path.lexists(folder):
        return folder
    if not folder.is_dir() or (folder / "kb.db").is_file():
        return None  # a store, or a file: opening reports the error
    names = {each.name for each in folder.iterdir()}
    if names == {FOLDER}:  # an interrupted clone, before or after the folder became a project
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
    """Make a folder, and the store's folder inside; return the location for the store."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ProjectError(f"cannot make the folder {folder}: {fault.strerror}") from fault
    Project.make_folder(folder, mode)
    return Project(folder, Config()).location


def _work_in(session: Session, folder: Path, model: Project | None, remote: str) -> Path | None:
    """Turn a folder with a cloned store into a working copy; return the file, if there is a version to write."""
    theirs = model.config if model is not None else Config()
    name = session.file_option or theirs.file or _FILE
    config = Config(file=name, collection=theirs.collection, remote=remote)
    project = Project(folder, config)
    with Store.open(project.location) as store:
        wanted = session.branch_option or (theirs.branch if theirs.branch in store.branches() else config.branch)
    with Store.open(project.location, branch=wanted, collection=config.collection) as store:
        project.change(branch=wanted)
        project = Project.load(folder)  # checks that the file is inside the folder
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
    """Copy versions that the other store does not have yet.

    DST is a project's folder, a path or a URL; by default the store remembered by clone or --remember. Fast-forward
    only:
    if both stores have new versions, or both changed the same tag, that is a conflict, and nothing is copied. --force
    settles conflicts of tags; versions are never rewritten.

    \b
    Example:
      kbstore push
      kbstore push s3://bucket/kb --remember
    """
    place = session.remote(target)
    with (
        Store.open(session.location, read_only=True) as store,
        _target(session, place) as there,
        Progress("push") as progress,
    ):
        copied = replicate(store, there, progress.reach, force=force, accept_future=accept_future)
        _landed(session, session.location, copied)
        head = there.head()
        newest = _newest(there, session.branch)
        if remember:
            _remember(session, place, there)
    _tell(copied, f"pushed to {visible(place)}", head, as_json, newest=newest)


def _target(session: Session, place: str) -> Store:
    """Open the store to push to; a missing store gets the hint that starts the store."""
    location = store_at(place)
    try:
        return Store.open(location, author=session.author())
    except StoreNotFound as fault:
        missing = is_url(location) or not os.path.lexists(location)
        project = session.project
        source = shown_path(project.root if project is not None else session.location)
        if missing:
            name = "URL" if is_url(location) else shlex.quote(visible(place))
            fault.hint = (
                f"check its name, or start it as a copy of this store: kbstore clone {shlex.quote(source)} {name}"
            )
        raise


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
    """Fetch versions that this store does not have yet.

    SRC is a project's folder, a path or a URL; by default the store remembered by clone or --remember. A file without
    uncommitted changes gets the newest version. Fast-forward only: if both stores have new versions, or both changed
    the same tag, that is a conflict, and nothing is copied. --force settles conflicts of tags; versions are never
    rewritten.

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
            with suppress(BaseUnknown, InvalidJSON):  # the pull may bring the base; an editor may be saving the file
                copy.status()
        copied = replicate(there, store, progress.reach, force=force, accept_future=accept_future)
        _landed(session, place, copied)
        if remember:
            _remember(session, place, there)
        if copy is not None and (left := copy.catch_up()):
            note(visible(left))
        head = store.head()
        newest = _newest(store, session.branch)
    _tell(copied, f"pulled from {visible(place)}", head, as_json, newest=newest)


def _remember(session: Session, place: str, there: Store) -> None:
    """Remember a named store for the next push and pull.

    Raises:
        ProjectError: There is no project, so the store cannot be remembered.
    """
    project = session.project
    if project is None:
        raise ProjectError("only a project can remember another store", hint="start one: kbstore init FILE")
    remote = _remembered(place, there)
    project.change(remote=remote)
    if is_url(remote):
        trust_url(remote, os.environ)


def _copy(session: Session, store: Store) -> WorkingCopy | None:
    """Return the file, if there is a file, with the branch of the file; None if this store lacks the branch."""
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


def _newest(store: Store, branch: str) -> str:
    """Return the newest version's name, with the branch if it is not main; of main if the branch is missing."""
    now = store.branch_now(branch)
    if now is None or now == MAIN_BRANCH:
        return store.head().name
    return f"{Store(store.backend, branch=now).head().name} of branch {visible(now)}"


def _tell(
    copied: Copied,
    what: str,
    head: Version,
    as_json: bool,
    more: Mapping[str, object] = MappingProxyType({}),
    *,
    newest: str | None = None,
) -> None:
    newest = newest or head.name
    for name in copied.left_out:
        note(f"{visible(name)} is another branch or tag in each store, and was left out")
    if as_json:
        counts = {
            "versions": copied.versions,
            "refs": copied.refs,
            "left_out": list(copied.left_out),
            "head": head.name,
        }
        say_json({**counts, **more})
    elif copied.versions or copied.refs:
        refs = f" and {counted(copied.refs, 'change')} of tags and branches" if copied.refs else ""
        say(f"{counted(copied.versions, 'version')}{refs} {what}; the newest is {newest}")
    else:
        say(f"nothing to copy; the newest is {newest}")
