"""The objects of a running command: the project found from the current folder, the store, the file, the author."""

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
    """The command needs the knowledge base's file, and no file was chosen."""


class Session:
    """The options shared by all commands, and the objects that follow from the options.

    Attributes:
        store_option: The value of ``--store``.
        file_option: The value of ``--file``.
        branch_option: The value of ``--branch``.
        as_json: True if ``--json`` was given.
        lossy: True if ``--lossy`` was given.
        needs_no_project: True if the command line names everything that the command works on.
        any_branch: True if the command works without the branch that the file follows.
        is_older: True if the store is older than when last seen.
        landed: The permanent effect of the command so far, such as "v4_... was committed"; empty without an effect.
        way_on: The next step if the command fails after that.
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
        """The project of the chosen file, else the project of the current folder or a parent; whatever the store."""
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
        """The project found, unless the user chose another store than the project's."""
        chosen = self.chosen_store()
        if chosen is None or self.found is None:
            return self.found
        return self.found if same_place(self.location, self.found.location) else None

    def chosen_store(self) -> str | None:
        """Return the value of ``--store`` or KBSTORE_STORE; None if both are missing.

        Raises:
            click.UsageError: The store would be gone at the end of the command.
        """
        chosen = self.store_option or os.environ.get("KBSTORE_STORE") or None
        return lasting(chosen) if chosen is not None else None

    @property
    def location(self) -> str:
        """The location of the store.

        Raises:
            StoreNotFound: No store was named, and there is no project here.
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
        """Return the location of the other store for push and pull: the named store, else the remembered store.

        Raises:
            StoreNotFound: No store was named, and no store is remembered.
            Untrusted: Somebody else chose the remembered store.
        """
        if named is not None:
            return named
        project = self.project
        if project is None:
            _ = self.location  # raises if there is no store here at all
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
        """The copies of files that commands overwrote by force here."""
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
        """Open the store for reading and writing.

        Args:
            author: The value of ``--author``.
            accept: Accept a store that is older than when last seen; by default such a store is refused.
        """
        with self._opened(author=self.author(author)) as store:
            project = self._keeps_newest()
            if project is not None and not accept:
                newest_seen.refuse_older(project, store)
            self._accept = accept
            yield store

    @contextmanager
    def read(self, *, judges: bool = False) -> Iterator[Store]:
        """Open the store for reading; the store may be on read-only media, or on a full disk.

        Args:
            judges: True for a command that finds damage by itself.

        Raises:
            DamagedVersion: At the end, if the newest version, sound when last seen, is damaged now.
        """
        try:
            store = self._opened()
        except (DiskFull, ReadOnlyStore):
            store = self._opened(read_only=True)
        with store:
            project = self._keeps_newest()
            damaged = None
            if project is not None:
                with suppress(KBStoreError):  # the command itself reports a damaged store
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
        """Open the store; if others renamed the configured branch, follow the new name.

        Raises:
            RevisionError: The branch does not exist. If others removed the branch of the file, a command that needs no
                branch (`any_branch`) goes on without the error.
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
                with suppress(KBStoreError):  # in a read-only folder only this note is lost
                    self.follow_renamed(self.branch, now)
            elif not self.any_branch:
                raise
            return Store.open(self.location, branch=now, **fields)

    def follow_renamed(self, old: str, new: str) -> None:
        """Save the new name of a branch, if the project or the file follows the branch."""
        project = self.project
        if project is None:
            return
        if project.config.branch == old:
            project.change(branch=new)
        state = project.state_of(project.file) if project.file is not None else None
        if project.file is not None and state is not None and state.branch == old:
            project.remember(project.file, replace(state, branch=new))

    def remember_newest(self, store: Store) -> None:
        """Remember the newest version after a write, while the command may still be repeated."""
        project = self._keeps_newest()
        if project is not None:
            with suppress(KBStoreError):  # in a read-only folder only this note is lost
                newest_seen.remember(project, store, always=self._accept)

    def _keeps_newest(self) -> Project | None:
        """Return the project, if the store is a file: an older copy may replace a file."""
        project = self.project
        return project if project is not None and not is_url(project.location) else None

    def salvage(self) -> Store:
        """Open the store for reading whatever is readable; nothing is written, and the configured branch is ignored."""
        return Store.open(self.location, read_only=True)

    def author(self, option: str | None = None) -> str:
        """Return the author of a commit made now."""
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
        """Return True if a file is the knowledge base's own file."""
        return self.file is not None and same_place(os.fspath(self.file), os.fspath(file))

    def follow(self, branch: str) -> bool:
        """Work on a branch from now on, if the chosen file is the project's own; return True if the branch changes."""
        project = self.project
        if project is None or project.file is None or not self.is_own(project.file) or project.config.branch == branch:
            return False
        project.change(branch=branch)
        return True

    def copy(self, store: Store) -> WorkingCopy:
        """Return the file together with the store.

        Raises:
            NoFile: No file was chosen.
        """
        if self.file is None:
            raise NoFile(
                "no file was chosen", hint="name it with --file FILE, or start a history of it: kbstore init FILE"
            )
        return WorkingCopy(
            store, WorkFile(self.file), self.project, mode=self.mode(store), on_rounded=self.on_rounded(self.file)
        )

    def on_rounded(self, file: Path) -> Callable[[bytes, Container[str]], None] | None:
        """Return the function that a working copy calls for rounded numbers; None to refuse such numbers."""
        return (lambda text, known: warn_rounded(shown_path(file), text, known)) if self.lossy else None

    def document(self, file: Path) -> JSON:
        """Return the document in a file without a history here; raises as `WorkFile.load`."""
        content = WorkFile(file).load(self.lossy)
        if content.rounded:
            warn_rounded(shown_path(file), content.data or file.read_bytes())
        return content.value

    def mode(self, store: Store) -> int:
        """Return the mode for a new file with knowledge base content: the mode of the file, else of the store."""
        return mode_like(self.file, store.location)

    def copy_of(self, store: Store, file: Path) -> WorkingCopy:
        """Return a file to write, together with the store: the knowledge base's own file or another file."""
        return WorkingCopy(store, WorkFile(file), self.project, own=self.is_own(file), mode=self.mode(store))


def _config_missing(project: Project) -> StoreNotFound:
    """Return the error for a folder with a lost configuration: `init` joins the existing store and loses nothing."""
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
    """Return a project, if the user trusts its configuration.

    Raises:
        Untrusted: The configuration belongs to somebody else, or chooses a server that the user did not choose.
    """
    if project is None:
        return project
    config = project.root / FOLDER / "config.json"
    if config.exists():  # else no configuration was read: the store lies beside a project's store
        refuse_foreign(config, os.environ)
        if project.file is not None:
            refuse_foreign_target(project.file, project.root, os.environ)
        if is_url(project.config.store):
            refuse_foreign_url(project.config.store, config, os.environ)
        elif not Path(project.config.store).is_absolute():
            home = Path(os.path.realpath(project.root / FOLDER)).parent  # links may share it between folders
            refuse_foreign_target(Path(project.location), home, os.environ)
    return project


def project_at(location: str) -> Project | None:
    """Return the project of a location: of a folder, or of the ``.kbstore`` in the folder; None for a plain store."""
    if is_url(location):
        return None
    here = Path(location)
    root = here.parent if here.name == FOLDER else here
    return trusted(Project.load(root)) if (root / FOLDER / "config.json").is_file() else None


def store_at(location: str) -> str:
    """Return the location of a store that was named directly or by a project's folder.

    Raises:
        click.UsageError: The store would be gone at the end of the command.
        Untrusted: The project belongs to somebody else.
    """
    project = project_at(lasting(location))
    return project.location if project is not None else location


def lasting(location: str) -> str:
    """Return the location of a store unchanged.

    Raises:
        click.UsageError: The store would be gone at the end of the command.
    """
    if location.lower().startswith("memory:"):
        raise click.UsageError("a memory: store ends with the command; name a file or a folder")
    return location


def shown_path(path: str | Path) -> str:
    """Return a path as short as possible from the current folder, made harmless; a URL unchanged."""
    if isinstance(path, str) and is_url(path):
        return visible(path)
    full = os.path.abspath(path)  # noqa: PTH100 - a link stays as the user sees it
    here = os.path.relpath(full)
    return visible(full if here.startswith("..") else here)


def same_place(one: str, other: str) -> bool:
    """Return True if two paths lead to the same file, also through links."""
    return one == other or os.path.realpath(one) == os.path.realpath(other)
