"""What one run of a command works on: the project found from the current folder, its store, its file, the author."""

import os
from functools import cached_property
from pathlib import Path

from kbstore.cli.author import author_of
from kbstore.errors import KBStoreError, ReadOnlyStore, StoreNotFound
from kbstore.project import FOLDER, Project
from kbstore.store import Store
from kbstore.workfile import WorkFile
from kbstore.workingcopy import WorkingCopy


class NoFile(KBStoreError):
    """The command needs the knowledge base's file, and none was chosen."""


class Session:
    """The options that all commands share, and what follows from them.

    Attributes:
        store_option: What ``--store`` said.
        file_option: What ``--file`` said.
        branch_option: What ``--branch`` said.
    """

    def __init__(self) -> None:
        self.store_option: str | None = None
        self.file_option: str | None = None
        self.branch_option: str | None = None

    @cached_property
    def found(self) -> Project | None:
        """The project upward of the current folder, whatever store is used."""
        return Project.find(Path.cwd())

    @cached_property
    def project(self) -> Project | None:
        """The project upward of the current folder, unless another store than its own was asked for."""
        chosen = self._chosen_store()
        if chosen is None or self.found is None:
            return self.found
        return self.found if _same_place(chosen, self.found.location) else None

    def _chosen_store(self) -> str | None:
        return self.store_option or os.environ.get("KBSTORE_STORE") or None

    @property
    def location(self) -> str:
        """Where the store is.

        Raises:
            StoreNotFound: None was named, and there is no project here.
        """
        chosen = self._chosen_store()
        if chosen is not None:
            return chosen
        if self.found is None:
            raise StoreNotFound(
                f"there is no {FOLDER} folder in {Path.cwd()} or above it",
                hint="start one with: kbstore init FILE, or name a store with --store",
            )
        return self.found.location

    @property
    def collection(self) -> str | None:
        """The configured pointer to the container of the entries."""
        return self.project.config.collection if self.project is not None else None

    @property
    def branch(self) -> str:
        """The branch to work on."""
        return self.branch_option or (self.project.config.branch if self.project is not None else "main")

    def open(self, *, author: str | None = None) -> Store:
        """The store, to be read and written. `author` is what ``--author`` said."""
        return Store.open(self.location, branch=self.branch, author=self.author(author), collection=self.collection)

    def read(self) -> Store:
        """The store, to be read; it may lie on read-only media."""
        try:
            return Store.open(self.location, branch=self.branch, collection=self.collection)
        except ReadOnlyStore:
            return Store.open(self.location, read_only=True, branch=self.branch, collection=self.collection)

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

    def copy(self, store: Store) -> WorkingCopy:
        """The file together with the store.

        Raises:
            NoFile: None was chosen.
        """
        if self.file is None:
            raise NoFile("no file was chosen", hint="name it with --file FILE, or for good with: kbstore init FILE")
        return WorkingCopy(store, WorkFile(self.file), self.project)

    def copy_of(self, store: Store, file: Path) -> WorkingCopy:
        """Another file together with the store."""
        return WorkingCopy(store, WorkFile(file), self.project)


def _same_place(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)
