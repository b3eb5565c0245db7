"""What one run of a command works on: the project found from the current folder, its store, its file, the author."""

import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from kbstore.cli.author import author_of
from kbstore.cli.output import warn
from kbstore.cli.rounding import warn_rounded
from kbstore.errors import DamagedVersion, DiskFull, KBStoreError, ReadOnlyStore, RevisionError, StoreNotFound
from kbstore.history.branch import MAIN_BRANCH
from kbstore.history.refs import Refs
from kbstore.jsondoc.canonical import JSON
from kbstore.kit.escape import visible
from kbstore.kit.trust import Untrusted, refuse_foreign, refuse_foreign_target, refuse_foreign_url
from kbstore.store import Store
from kbstore.worktree import newest_seen
from kbstore.worktree.json_file import WorkFile, mode_like
from kbstore.worktree.lost import LostFiles
from kbstore.worktree.project import FOLDER, Project, is_url, project_of
from kbstore.worktree.working_copy import WorkingCopy


class NoFile(KBStoreError):
    """The command needs the knowledge base's file, and none was chosen."""


class Session:
    """The options that all commands share, and what follows from them.

    Attributes:
        store_option: What ``--store`` said.
        file_option: What ``--file`` said.
        branch_option: What ``--branch`` said.
        as_json: True if ``--json`` was given.
        lossy: True if ``--lossy`` was given.
        needs_no_project: True if the command line names all that the command works on.
        any_branch: True if the command works without the branch that the file follows.
        is_older: True if the store was found to be older than it was.
        landed: What the command has done by now that stays, as "v4_... was committed"; empty while it has done nothing.
        way_on: What to do if the command fails after that.
    """

    def __init__(self) -> None:
        self.store_option: str | None = None
        self.file_option: str | None = None
        self.branch_option: str | None = None
        self.as_json = False
        self.lossy = False
        self.is_older = False
        self.needs_no_project = False
        self.any_branch = False
        self._accept = False
        self.landed = ""
        self.way_on = ""

    @cached_property
    def found(self) -> Project | None:
        """The project of the file that was named, else the one upward of the current folder; whatever store is used."""
        own = project_of(Path(self.file_option)) if self.file_option is not None else None
        if own is not None:
            return trusted(own)
        found = Project.find(Path.cwd())
        try:
            return trusted(found)
        except Untrusted as fault:
            if self.file_option is not None or not (self.needs_no_project or self.chosen_store() is not None):
                raise
            warn([visible(f"{fault}; it was passed over")])
            return None

    @cached_property
    def project(self) -> Project | None:
        """The project that was found, unless another store than its own was asked for."""
        chosen = self.chosen_store()
        if chosen is None or self.found is None:
            return self.found
        return self.found if same_place(self.location, self.found.location) else None

    def chosen_store(self) -> str | None:
        """What ``--store`` or KBSTORE_STORE says; None where neither does.

        Raises:
            click.UsageError: It is a store that would be gone when the command ends.
        """
        chosen = self.store_option or os.environ.get("KBSTORE_STORE") or None
        return lasting(chosen) if chosen is not None else None

    @property
    def location(self) -> str:
        """Where the store is.

        Raises:
            StoreNotFound: None was named, and there is no project here.
        """
        chosen = self.chosen_store()
        if chosen is not None:
            return store_at(chosen)
        if self.found is None:
            if (lost := Project.without_config(Path.cwd())) is not None:
                raise _config_missing(lost)
            raise StoreNotFound(
                f"there is no {FOLDER} folder in {Path.cwd()} or above it",
                hint="start a history here: kbstore init FILE, or name a store with --store",
            )
        return self.found.location

    def remote(self, named: str | None) -> str:
        """Where the store is that push and pull speak to: as it was named, else the remembered one.

        Raises:
            StoreNotFound: None was named, and none is remembered.
            Untrusted: The remembered one is somebody else's choice.
        """
        if named is not None:
            return named
        project = self.project
        if project is None or not project.config.remote:
            raise StoreNotFound(
                "no other store is remembered here",
                hint="name one; --remember keeps it for the next time, as kbstore clone does",
            )
        if is_url(project.config.remote):
            refuse_foreign_url(project.config.remote, project.root / FOLDER / "config.json", os.environ)
        return project.config.remote

    @property
    def lost(self) -> LostFiles:
        """The copies of what commands overwrote by force here."""
        return LostFiles(self.found.root if self.found is not None else Path.cwd())

    @property
    def collection(self) -> str | None:
        """The configured pointer to the container of the entries."""
        return self.project.config.collection if self.project is not None else None

    @property
    def branch(self) -> str:
        """The branch to work on."""
        return self.branch_option or (self.project.config.branch if self.project is not None else "main")

    @contextmanager
    def open(self, *, author: str | None = None, accept: bool = False) -> Iterator[Store]:
        """Open the store, to be read and written.

        Args:
            author: What ``--author`` said.
            accept: Take a store that is older than it was as it is; it is refused otherwise.
        """
        with self._opened(author=self.author(author)) as store:
            project = self._keeps_newest()
            if project is not None and not accept:
                newest_seen.refuse_older(project, store)
            self._accept = accept
            yield store

    @contextmanager
    def read(self, *, judges: bool = False) -> Iterator[Store]:
        """Open the store, to be read; it may be on read-only media, or on a full disk.

        Args:
            judges: True for a command that finds out by itself what is damaged.

        Raises:
            DamagedVersion: In the end, if the newest version is not as it was when it was seen last.
        """
        try:
            store = self._opened()
        except (DiskFull, ReadOnlyStore):
            store = self._opened(read_only=True)
        with store:
            project = self._keeps_newest()
            damaged = None
            if project is not None:
                with suppress(KBStoreError):  # what a damaged store has is for the command to say
                    if (mark := newest_seen.missing(project, store)) is not None:
                        try:
                            warn([newest_seen.told(mark, store)])
                            self.is_older = True
                        except DamagedVersion as fault:
                            damaged = fault
                    newest_seen.remember(project, store)
            yield store
            if damaged is not None and not judges:
                raise damaged

    def _opened(self, *, read_only: bool = False, author: str = "") -> Store:
        """Open the store; a branch of the configuration that others renamed is followed.

        Raises:
            RevisionError: There is no such branch. If others removed the one that the file follows, that is passed over
                for a command that can do without (`any_branch`).
        """
        fields: dict[str, Any] = {"read_only": read_only, "author": author, "collection": self.collection}
        try:
            return Store.open(self.location, branch=self.branch, **fields)
        except RevisionError:
            project = self.project
            if self.branch_option is not None or project is None:
                raise
            with Store.open(self.location, read_only=True) as store:
                state = Refs(store.backend).read()
            now = state.now(self.branch) or MAIN_BRANCH
            if now in state.branches:
                warn([visible(f"the branch {self.branch} is called {now} now")])
                with suppress(KBStoreError):  # a read-only folder costs this note, and no more
                    self.follow_renamed(self.branch, now)
            elif not self.any_branch:
                raise
            return Store.open(self.location, branch=now, **fields)

    def follow_renamed(self, old: str, new: str) -> None:
        """Note the new name of a branch if the project or its file follow it."""
        project = self.project
        if project is None:
            return
        if project.config.branch == old:
            project.change(branch=new)
        state = project.state_of(project.file) if project.file is not None else None
        if project.file is not None and state is not None and state.branch == old:
            project.remember(project.file, replace(state, branch=new))

    def remember_newest(self, store: Store) -> None:
        """Remember the newest version after a write, as long as the command may still be repeated."""
        project = self._keeps_newest()
        if project is not None:
            with suppress(KBStoreError):  # a read-only folder costs this note, and no more
                newest_seen.remember(project, store, always=self._accept)

    def _keeps_newest(self) -> Project | None:
        """The project whose store is a file, which may be exchanged for an older copy."""
        project = self.project
        return project if project is not None and not is_url(project.location) else None

    def salvage(self) -> Store:
        """The store, to be read as far as it can be: whatever branch is open, and without a word written."""
        return Store.open(self.location, read_only=True)

    def author(self, option: str | None = None) -> str:
        """Who commits now."""
        project = self.project
        folder = project.root if project is not None else Path.cwd()
        return author_of(option, project.config.author if project is not None else "", folder)

    @property
    def file(self) -> Path | None:
        """The knowledge base's file: ``--file``, else the project's, else None."""
        if self.file_option is not None:
            return Path(self.file_option)
        return self.project.file if self.project is not None else None

    def is_own(self, file: Path) -> bool:
        """Whether a file is the knowledge base's own."""
        return self.file is not None and same_place(os.fspath(self.file), os.fspath(file))

    def follow(self, branch: str) -> bool:
        """Work on a branch from now on, if the chosen file is the project's own; returns whether that is a change."""
        project = self.project
        if project is None or project.file is None or not self.is_own(project.file) or project.config.branch == branch:
            return False
        project.change(branch=branch)
        return True

    def copy(self, store: Store) -> WorkingCopy:
        """The file together with the store.

        Raises:
            NoFile: None was chosen.
        """
        if self.file is None:
            raise NoFile(
                "no file was chosen", hint="name it with --file FILE, or start a history of it: kbstore init FILE"
            )
        return WorkingCopy(
            store, WorkFile(self.file), self.project, mode=self.mode(store), on_rounded=self.on_rounded(self.file)
        )

    def on_rounded(self, file: Path) -> Callable[[bytes, Container[str]], None] | None:
        """Return what a working copy calls for numbers of its file that are rounded; None to have them refused."""
        return (lambda text, known: warn_rounded(shown_path(file), text, known)) if self.lossy else None

    def document(self, file: Path) -> JSON:
        """Return the document in a file that has no history here; raises as `WorkFile.load`."""
        content = WorkFile(file).load(self.lossy)
        if content.rounded:
            warn_rounded(shown_path(file), content.data or file.read_bytes())
        return content.value

    def mode(self, store: Store) -> int:
        """The mode for a new file with what the knowledge base holds: its file's, else its store's."""
        return mode_like(self.file, store.location)

    def copy_of(self, store: Store, file: Path) -> WorkingCopy:
        """A file that is to be written, together with the store; the knowledge base's own or another one."""
        return WorkingCopy(store, WorkFile(file), self.project, own=self.is_own(file), mode=self.mode(store))


def _config_missing(project: Project) -> StoreNotFound:
    """The refusal of a folder whose configuration was lost: `init` joins the store that is there, and loses nothing."""
    folder, file = project.root / FOLDER, project.file
    there = Path(project.location).is_file()
    store = "" if there else " --store LOCATION, with the place of its store"
    name = quote(shown_path(file)) if file is not None else "FILE, with the file of this knowledge base"
    return StoreNotFound(
        f"{folder} has no config.json, which names the file and the store",
        hint=f"write it anew: kbstore init {name}{store}",
    )


_P = TypeVar("_P", Project, Project | None)


def trusted(project: _P) -> _P:
    """A project, if its configuration may be obeyed.

    Raises:
        Untrusted: It is somebody else's, or chooses a server that the user did not.
    """
    if project is None:
        return project
    config = project.root / FOLDER / "config.json"
    if config.exists():  # else nothing was read: a store that lies beside that of a project
        refuse_foreign(config, os.environ)
        if project.file is not None:
            refuse_foreign_target(project.file, project.root, os.environ)
        if is_url(project.config.store):
            refuse_foreign_url(project.config.store, config, os.environ)
        elif not Path(project.config.store).is_absolute():
            home = Path(os.path.realpath(project.root / FOLDER)).parent  # several folders may share one by a link
            refuse_foreign_target(Path(project.location), home, os.environ)
    return project


def project_at(location: str) -> Project | None:
    """The project whose folder, or ``.kbstore`` in it, a location is; None if it is a store by itself."""
    if is_url(location):
        return None
    here = Path(location)
    root = here.parent if here.name == FOLDER else here
    return trusted(Project.load(root)) if (root / FOLDER / "config.json").is_file() else None


def store_at(location: str) -> str:
    """Where a store is that was named by itself or by its project's folder.

    Raises:
        click.UsageError: It is a store that would be gone when the command ends.
        Untrusted: The project is somebody else's.
    """
    project = project_at(lasting(location))
    return project.location if project is not None else location


def lasting(location: str) -> str:
    """A store's location, as it was given.

    Raises:
        click.UsageError: It is a store that would be gone when the command ends.
    """
    if location.lower().startswith("memory:"):
        raise click.UsageError("a memory: store ends with the command; name a file or a folder")
    return location


def shown_path(path: str | Path) -> str:
    """A path as short as it can be said from here, harmless; a URL as it is."""
    if isinstance(path, str) and is_url(path):
        return visible(path)
    full = os.path.abspath(path)  # noqa: PTH100 - a link stays as the user sees it
    here = os.path.relpath(full)
    return visible(full if here.startswith("..") else here)


def same_place(one: str, other: str) -> bool:
    """Whether two paths lead to one file, as far as links tell."""
    return one == other or os.path.realpath(one) == os.path.realpath(other)
