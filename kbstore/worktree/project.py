"""The ``.kbstore`` folder beside a knowledge base: which file, which store, and the version that the file is at.

::

    .kbstore/config.json        what `Config` holds
    .kbstore/kb.db              the store, unless it is elsewhere
    .kbstore/<file>.db          the store of another file in the same folder
    .kbstore/files/<name>.json  for each file that was written or committed: what `FileState` holds
    .kbstore/lost/              copies of what was overwritten by force: see `kbstore.worktree.lost`
    .kbstore/newest.json        the newest versions that commands have seen: see `kbstore.worktree.newest_seen`

Each of these files is replaced whole. What is under ``files/`` may be lost: a file is then at the version that it
equals, or is compared with the head. So may ``newest.json``: an older copy of the store is then not noticed.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from kbstore import backends
from kbstore.errors import KBStoreError, StoreExists, StoreNotFound, UnsupportedFormat
from kbstore.jsondoc.canonical import encode
from kbstore.kit.clock import Clock
from kbstore.kit.trust import read_small
from kbstore.store import Store
from kbstore.worktree.json_file import OPEN_MODE, WorkFileError, mode_like, replace_file
from kbstore.worktree.swap import Displaced, create

FOLDER = ".kbstore"
CONFIG_FORMAT = 1
LARGEST_STATE_BYTES = 64 << 20
"""Most that a file in ``.kbstore`` may have; the configuration less."""
_STORE_NAME = "kb.db"
_READERS = 0o444
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class ProjectError(KBStoreError):
    """The ``.kbstore`` folder is there, but what it says cannot be used."""


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was chosen for a knowledge base.

    Attributes:
        format: Version of this layout.
        store: The store: a path, relative to ``.kbstore``, or a URL.
        file: The JSON file, relative to the folder that holds ``.kbstore``; None where there is none.
        collection: Pointer to the container of the entries; None for the largest one.
        author: Who commits where nobody says.
        branch: The branch that the file follows.
        remote: The store that push and pull speak to where none is named: an absolute path, or a URL; empty for none.
    """

    format: int = 0
    store: str = _STORE_NAME
    file: str | None = None
    collection: str | None = None
    author: str = ""
    branch: str = "main"
    remote: str = ""


class FileState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a file.

    Attributes:
        seq: The version that its content was taken from or committed as (its base); 0 for none.
        id: That version's id.
        branch: The branch that it is on.
        digest: SHA-256 of the file's bytes then, hexadecimal.
        name: The version's full name.
        state: The version's root hash, by which equal content is found in another store.
        pending: The write id of a commit of exactly these bytes whose outcome is not known.
        pending_digest: SHA-256 of those bytes.
        dirty: True if those bytes hold more than the version.
        rounded: The file's number literals that were rounded; empty if they are too many to be remembered.
        coming: What is known of the file once it is written; there only while it is, and after a kill in between.
    """

    seq: int
    id: str
    branch: str
    digest: str
    name: str = ""
    state: str = ""
    pending: str = ""
    pending_digest: str = ""
    dirty: bool = False
    rounded: tuple[str, ...] = ()
    coming: "FileState | None" = None


class Project:
    """A folder with ``.kbstore`` in it."""

    def __init__(self, root: Path, config: Config) -> None:
        for name in (config.file, config.store, config.remote):
            _refuse_bytes(name)
        self.root = root
        self.config = config

    @classmethod
    def find(cls, start: Path) -> Self | None:
        """The project of a folder: the nearest one upward that has ``.kbstore/config.json``, or None."""
        for folder in _upward(start):
            if (folder / FOLDER / "config.json").is_file():
                return cls.load(folder)
        return None

    @classmethod
    def without_config(cls, start: Path) -> Self | None:
        """The nearest project upward that lost its ``config.json``; None if there is none, or one has its own.

        It has the file of which something is remembered, if that is only one, and the store if it is in ``.kbstore``.
        """
        for root in _upward(start):
            folder = root / FOLDER
            if (folder / "config.json").is_file():
                return None
            if folder.is_dir() and ((folder / _STORE_NAME).is_file() or (folder / "files").is_dir()):
                project = cls(root, Config())
                try:
                    known = [path for path in root.iterdir() if path.is_file() and project.state_of(path) is not None]
                except OSError:
                    known = []
                return cls(root, Config(file=known[0].name)) if len(known) == 1 else project
        return None

    @classmethod
    def load(cls, root: Path) -> Self:
        """The project in exactly this folder.

        Raises:
            ProjectError: Its configuration is malformed, or its file is in another folder.
            UnsupportedFormat: It was written by a newer version.
        """
        path = root / FOLDER / "config.json"
        project = cls(root, read_state(path, Config))
        if project.config.file is not None and _leaves(project.config.file):
            raise ProjectError(
                f"{path} names the file {project.config.file}, which is not in {root}",
                hint="fix it: the file of a project is in the folder that holds .kbstore",
            )
        return project

    @classmethod
    def create(cls, root: Path, config: Config) -> Self:
        """Write ``.kbstore/config.json``, which makes a folder a project.

        Raises:
            WorkFileError: It cannot be written.
        """
        project = cls(root, config)
        project.make_folder(root, mode_like(project.file))
        project.save()
        return project

    @staticmethod
    def make_folder(root: Path, mode: int = OPEN_MODE) -> Path:
        """Make the ``.kbstore`` folder itself, where a store can be put before the configuration names it.

        Args:
            root: The project's folder.
            mode: That of the files to come, as `kbstore.worktree.json_file.mode_like` gives it.
        """
        folder = root / FOLDER
        try:
            folder.mkdir(mode | (mode & _READERS) >> 2, exist_ok=True)
        except OSError as fault:
            raise ProjectError(f"cannot make the folder {folder}: {fault.strerror}") from fault
        return folder

    def save(self) -> None:
        """Write the configuration."""
        config = msgspec.structs.replace(self.config, format=CONFIG_FORMAT)
        write_state(self.root / FOLDER / "config.json", print_state(config))

    def change(self, **changes: Any) -> None:
        """Set fields of the configuration, and write it."""
        self.config = msgspec.structs.replace(self.config, **changes)
        self.save()

    @property
    def location(self) -> str:
        """Where the store is, for `Store.open`."""
        store = self.config.store
        if is_url(store):
            return store
        place = os.fspath(self.root / FOLDER / store)
        # A folder that is not there yet leads nowhere, also not back up.
        return place if (self.root / FOLDER).exists() else os.path.normpath(place)

    @property
    def file(self) -> Path | None:
        """The knowledge base's file, where one was chosen."""
        return self.root / self.config.file if self.config.file is not None else None

    def state_of(self, file: Path) -> FileState | None:
        """What is known of a file; None where nothing is, or it is of no use."""
        try:
            return read_state(self._state_path(file), FileState)
        except KBStoreError:
            return None

    def remember(self, file: Path, state: FileState) -> None:
        """Write what is known of a file."""
        path = self._state_path(file)
        refuse_link(path)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as fault:
            raise ProjectError(f"cannot make the folder {path.parent}: {fault.strerror}") from fault
        write_state(path, print_state(state))

    def forget(self, file: Path) -> None:
        """Drop what is known of a file."""
        refuse_link(self._state_path(file))
        try:
            self._state_path(file).unlink(missing_ok=True)
        except OSError as fault:
            raise ProjectError(f"cannot remove {self._state_path(file)}: {fault.strerror}") from fault

    def move(self, old: Path, new: Path) -> None:
        """Rename the knowledge base's file, with the configuration and what is known of it.

        The file comes last, so after a kill in between the same call goes on.

        Raises:
            WorkFileError: The file is not there or another one, the new name is taken or is outside of this folder.
        """
        home = Path(os.path.realpath(self.root))
        source, target = Path(os.path.realpath(old)), Path(os.path.realpath(new.parent)) / new.name
        own = self.file is not None and Path(os.path.realpath(self.file))
        if own not in (source, target):
            raise WorkFileError(f"{old} is not the file of this history", hint="kbstore status names the file")
        if not old.is_file():
            raise WorkFileError(f"there is no file {old}", hint=f"write the newest version: kbstore checkout -o {new}")
        if not target.is_relative_to(home):
            raise WorkFileError(f"{new} is outside of {self.root}", hint="choose a place in that folder")
        _refuse_bytes(os.fspath(target.relative_to(home)))
        taken = WorkFileError(f"{new} is there already", hint="choose another name")
        if os.path.lexists(target):
            raise taken
        if (state := self.state_of(source)) is not None:
            self.remember(target, state)
        self.change(file=os.fspath(target.relative_to(home)))
        try:
            create(source, target)
        except Displaced:
            raise taken from None
        except OSError as fault:
            raise WorkFileError(f"cannot rename {old} to {new}: {fault.strerror}") from fault
        self.forget(source)

    def _state_path(self, file: Path) -> Path:
        real = Path(os.path.realpath(file))
        # Of two folders that share a .kbstore by a link, that one is the root that holds it itself.
        root = Path(os.path.realpath(self.root / FOLDER)).parent
        name = os.fsencode(real.relative_to(root) if real.is_relative_to(root) else real)
        return self.root / FOLDER / "files" / f"{sha256(name).hexdigest()[:24]}.json"


def _refuse_bytes(name: str | None) -> None:
    """Refuse a name that the configuration, which is JSON, cannot hold."""
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise ProjectError(
            f"the name {name!a} is not text in UTF-8, so {FOLDER} cannot remember it", hint="rename it first"
        ) from None


def _leaves(file: str) -> bool:
    """Whether a relative path leads out of the folder that it starts in, links aside."""
    return Path(file).is_absolute() or Path(os.path.normpath(file)).parts[:1] in ((), ("..",))


def is_url(location: str) -> bool:
    """Whether a store's location is a URL, not a path (a single letter before the colon is a Windows drive)."""
    scheme, colon, _ = location.partition(":")
    return bool(colon) and len(scheme) > 1 and scheme.isalnum()


def project_of(file: Path) -> Project | None:
    """The project that keeps the history of a file; None where none does yet.

    That is the nearest one upward that has it as its file. A file beside that of a project may have a store of its own
    in the same ``.kbstore``, named after it.
    """
    file = _absolute(file)
    for folder in _upward(file.parent):
        if (folder / FOLDER / "config.json").is_file():
            project = Project.load(folder)
            if project.file is not None and os.path.realpath(project.file) == os.path.realpath(file):
                return project
    beside = _beside(file)
    return beside if Path(beside.location).is_file() else None


def open_for_file(file: Path, *, clock: Clock | None = None, author: str = "") -> tuple[Project, Store]:
    """The project and store of one file; both are begun beside it, empty, where there are none.

    Raises:
        WorkFileError: There is neither a history nor the file.
    """
    file = _absolute(file)
    project = project_of(file)
    if project is not None:
        return project, _open(project, clock, author)
    if not file.exists():
        raise WorkFileError(f"there is no file {file}", hint="create it first; {} is an empty knowledge base")
    if (file.parent / FOLDER / "config.json").is_file():
        project = Project.load(file.parent)
        if project.file is not None:
            project = _beside(file)
            return project, _begun(project, clock, author)
        store = _begun(project, clock, author)
        project.change(file=file.name)  # its history was imported, and no file was named since
        return project, store
    Project.make_folder(file.parent, mode_like(file))
    project = Project(file.parent, Config(file=file.name))
    store = _begun(project, clock, author)
    project.save()
    return project, store


def create_store(location: str, mode: int = OPEN_MODE, **options: Any) -> Store:
    """A new store without a document, which nobody may read who may not read its file.

    Args:
        location: As for `Store.create`.
        mode: Of a store that is a file: see `kbstore.worktree.json_file.mode_like`.
        options: As for `Store.open`.

    Raises:
        StoreExists: There is one, or something else.
    """
    return Store(backends.create_backend(location, mode=mode), **options)


def _beside(file: Path) -> Project:
    """What a file beside that of another project has: a store of its own in the same folder."""
    return Project(file.parent, Config(file=file.name, store=f"{file.name}.db"))


def open_or_create(location: str, mode: int = OPEN_MODE, *, branch: str, **options: Any) -> tuple[Store, bool]:
    """The store at a location, and whether it was made just now. Arguments as for `create_store` and `Store.open`.

    Raises:
        StoreNotFound: What is there is something else.
        StoreExists: The same, where the location is a URL.
    """
    try:
        return Store.open(location, branch=branch, **options), False
    except StoreNotFound as missing:
        try:
            return create_store(location, mode, **options), True
        except StoreExists as there:
            try:
                return Store.open(location, branch=branch, **options), False  # somebody else was faster
            except StoreNotFound:
                # Of a file `missing` says that it is no store; of a bucket `there` names what else it holds.
                raise (there if is_url(location) else missing) from None


def _open(project: Project, clock: Clock | None, author: str) -> Store:
    return Store.open(project.location, **_options(project, clock, author))


def _begun(project: Project, clock: Clock | None, author: str) -> Store:
    return open_or_create(project.location, mode_like(project.file), **_options(project, clock, author))[0]


def _options(project: Project, clock: Clock | None, author: str) -> dict[str, Any]:
    config = project.config
    author = author or config.author
    return {"branch": config.branch, "author": author, "clock": clock, "collection": config.collection}


def _absolute(path: Path) -> Path:
    # Not resolved: the folder that a person sees a link in is the one that counts.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _upward(start: Path) -> Iterator[Path]:
    start = _absolute(start)
    yield start
    yield from start.parents


def write_state(path: Path, data: bytes, mode: int = OPEN_MODE, *, unchanged: str | None = None) -> None:
    """Write a file in ``.kbstore``, which may come from a stranger: never through a link in it.

    Args:
        path: The file, in ``.kbstore`` or a folder of it; ``.kbstore`` itself may be a link.
        data: What.
        mode: What a new file gets.
        unchanged: As for `kbstore.worktree.json_file.replace_file`.

    Raises:
        WorkFileError: It or its folder is a link, or it cannot be written.
    """
    refuse_link(path)
    replace_file(path, data, mode, unchanged=unchanged)


def refuse_link(path: Path) -> None:
    """Refuse a file in ``.kbstore`` that is a link, or is in a folder there that is one.

    Raises:
        WorkFileError: It is.
    """
    for place in (path, path.parent):
        if place.name != FOLDER and place.is_symlink():
            raise WorkFileError(f"{place} is a link, so nothing is written there", hint=f"remove the link {place}")


def print_state(value: msgspec.Struct) -> bytes:
    """Return what a file in ``.kbstore`` is to hold."""
    return msgspec.json.format(encode(msgspec.to_builtins(value)), indent=2) + b"\n"


def read_state(path: Path, kind: type[_Kind]) -> _Kind:
    """Return what a file in ``.kbstore`` holds.

    Raises:
        ProjectError: It is not there or malformed, or it is a configuration with an unknown member.
        UnsupportedFormat: It was written by a newer version.
    """
    try:
        data = read_small(path) if kind is Config else read_small(path, LARGEST_STATE_BYTES)
    except OSError as fault:
        raise ProjectError(f"cannot read {path}: {fault.strerror}") from fault
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ProjectError(
            f"{path} is malformed: {fault}", hint="fix it, or remove it and run kbstore init again"
        ) from None
    version = getattr(found, "format", CONFIG_FORMAT)
    if version > CONFIG_FORMAT:
        raise UnsupportedFormat(
            f"{path} has format {version}; this kbstore reads up to {CONFIG_FORMAT}", hint="install a newer kbstore"
        )
    if kind is Config and (unknown := sorted(msgspec.json.decode(data).keys() - set(kind.__struct_fields__))):
        raise ProjectError(
            f"{path} has the member {unknown[0]!r}, which kbstore does not know",
            hint=f"remove it, or correct its name; it may have: {', '.join(kind.__struct_fields__)}",
        )
    return found
