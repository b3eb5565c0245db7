"""`kbstore init`: begin a history, or join an existing history."""

import os
from contextlib import suppress
from pathlib import Path

import click
from msgspec.structs import replace

from kbstore.cli.author import author_of
from kbstore.cli.options import as_json_option, author_option, command, lossy_option
from kbstore.cli.output import note, say, say_json, warn
from kbstore.cli.session import Session, shown_path, store_at, trusted
from kbstore.errors import StoreNotFound
from kbstore.history.version import Version
from kbstore.jsondoc.pointer import parse_pointer
from kbstore.kit.escape import visible
from kbstore.kit.trust import trust_url
from kbstore.store import Store
from kbstore.worktree.json_file import EmptyFile, WorkFile, WorkFileError, mode_like
from kbstore.worktree.lost import clear_left
from kbstore.worktree.newest_seen import forget
from kbstore.worktree.project import FOLDER, Config, Project, ProjectError, is_url, open_or_create
from kbstore.worktree.status import Status, has_nothing_of
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy


@command("init")
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@click.option("-m", "--message", metavar="TEXT", default="first version", help="The message of the first version.")
@click.option(
    "--collection", metavar="POINTER", help="The container of the entries, such as /problems; by default the largest."
)
@author_option
@lossy_option
@as_json_option
@click.pass_obj
def init_command(
    session: Session, file: Path, message: str, collection: str | None, author: str | None, as_json: bool
) -> None:
    """Start the history of FILE in .kbstore/ beside the file.

    The present content of FILE becomes version 1. With --store, the history is kept in that store. If the store exists
    already, FILE joins its history: a missing FILE is written from the newest version; an existing FILE stays as it is,
    and the differences are uncommitted changes.

    \b
    Example:
      kbstore init support_kb.json
      kbstore init kb.json --store /srv/history/kb.db --collection /problems
    """
    if collection is not None:
        parse_pointer(collection)
    file = Path(os.path.abspath(file))  # noqa: PTH100 - a link stays where the user sees it
    root = file.parent
    there = trusted(Project.load(root)) if (root / FOLDER / "config.json").is_file() else None
    if there is not None and there.file is not None and there.file.name != file.name:
        raise ProjectError(
            f"{root / FOLDER} belongs to {there.file.name}",
            hint="move the file to a folder of its own, then run kbstore init there",
        )
    if there is not None and there.file is not None and _store_is_there(there.location):
        raise ProjectError(f"{file} has its history in {there.location} already", hint="kbstore status")
    old = there.config if there is not None else Config()
    config = replace(
        old,
        store=_store(session, old, root),
        file=file.name,
        collection=collection if collection is not None else old.collection,
        branch=session.branch_option or old.branch,
    )
    project = Project(root, config)
    work = WorkFile(file)
    if not work.exists() and not _store_is_there(project.location):
        raise WorkFileError(f"there is no file {file}", hint="create it first; {} is an empty knowledge base")
    joined = _store_is_there(project.location)
    try:
        content = work.load(session.lossy) if work.exists() else None
    except EmptyFile as fault:
        fault.hint = (
            f"remove it, and kbstore init writes the newest version: rm {shown_path(file)}" if joined else fault.hint
        )
        raise
    with _store_for(project, author_of(author, config.author, root), joined=joined) as store:
        copy = WorkingCopy(store, work, project, on_rounded=session.on_rounded(work.path))
        head = store.head()
        if content is None:
            version = copy.take(head)
        elif (status := _status(copy, project, file)).head.seq:
            version = status.base
            strange = not status.clean and project.state_of(file) is None
            if strange and status.diff is not None and has_nothing_of(store, status.head, status.diff):
                version = store.version("v0")
                note(f"{visible(file.name)} has nothing of {head.name} in it, and was kept as it is")
                note("to take that version in beside what the file holds: kbstore update")
            elif strange and not as_json:
                note(f"{visible(file.name)} equals no version, so it is compared with {version.name}")
                note("if it was taken from another one, kbstore commit --base REV commits what differs from that")
            copy.note_base(version)
        else:
            version = copy.commit(message=message, base="v0")  # v0: an earlier base was in a store that is gone
            session.landed = f"{version.name} is in the store"
            session.way_on = "see the state of the file: kbstore status"
        project.save()
        clear_left(root, file)
        forget(project)
        if session.chosen_store() is not None and is_url(config.store):
            trust_url(config.store, os.environ)  # the user has named it
        _tell(version, project, store.collection(), joined=joined, as_json=as_json)
        warn(version.notes)


def _status(copy: WorkingCopy, project: Project, file: Path) -> Status:
    """Compare the file with the store, also if the file was taken from another history, possibly lost."""
    try:
        return copy.status()
    except BaseUnknown:
        state = project.state_of(file)
        if state is None or (state.branch != copy.store.branch and state.branch in copy.store.branches()):
            raise
        project.forget(file)
        note(f"{visible(file.name)} was taken from {state.name}, which this store does not contain")
        return copy.status()


def _store(session: Session, old: Config, root: Path) -> str:
    """Return the store's location for the configuration; relative inside the project, so that the project can move."""
    chosen = session.chosen_store()
    if chosen is None:
        return old.store
    chosen = store_at(chosen)
    if is_url(chosen):
        return chosen
    path = Path(os.path.abspath(chosen))  # noqa: PTH100
    inside = path.is_relative_to(root) and not (root / FOLDER).is_symlink()
    return os.path.relpath(path, root / FOLDER) if inside else os.fspath(path)


def _store_for(project: Project, author: str, *, joined: bool) -> Store:
    """Return the project's store, made if missing; a failure leaves nothing behind."""
    config = project.config
    mode = mode_like(project.file)
    if joined:
        Project.make_folder(project.root, mode)
        return Store.open(project.location, branch=config.branch, author=author, collection=config.collection)
    folder = Project.make_folder(project.root, mode)
    try:
        return open_or_create(
            project.location, mode, branch=config.branch, author=author, collection=config.collection
        )[0]
    except BaseException:
        with suppress(OSError):  # not empty, so the folder stays
            folder.rmdir()
        raise


def _store_is_there(location: str) -> bool:
    try:
        Store.open(location, read_only=True).close()
    except StoreNotFound:
        return False
    return True


def _tell(version: Version, project: Project, collection: str | None, *, joined: bool, as_json: bool) -> None:
    if as_json:
        say_json({**version.as_dict(), "store": project.location, "joined": joined, "collection": collection})
        return
    say(f"{version.name}  {visible(version.message)}")
    note(f"{'joined' if joined else 'started'} {shown_path(project.location)}")
    if collection is not None:
        told = (
            f"the entries are those of {visible(collection)}"
            if collection
            else "the entries are those of the whole document"
        )
        chosen = project.config.collection is not None
        note(told if chosen else f"{told} (another place: kbstore config collection POINTER)")
