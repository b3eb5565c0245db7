"""The ``.kbstore`` folder beside a knowledge base: the file, the store, and the version that the file is at.

::

    .kbstore/config.json        the configuration: `Config`
    .kbstore/kb.db              the store, unless it is elsewhere
    .kbstore/<file>.db          the store of another file in the same folder
    .kbstore/files/<name>.json  the remembered state of each file that was written or committed: `FileState`
    .kbstore/lost/              copies of files that were overwritten by force: see `kbstore.worktree.lost`
    .kbstore/newest.json        the newest versions that commands have seen: see `kbstore.worktree.newest_seen`

Each of these files is replaced as a whole. Files under ``files/`` may be lost: a knowledge base file is then at the
version with the same content, or is compared with the head. ``newest.json`` may be lost too: an older copy of the store
is then not noticed.
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
"""The largest size of a file in ``.kbstore``; the limit for the configuration is smaller."""
_STORE_NAME = "kb.db"
_READERS = 0o444
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class ProjectError(KBStoreError):
    """The ``.kbstore`` folder exists, but the content cannot be used."""


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """The configuration of a knowledge base.

    Attributes:
        format: Version of this layout.
        store: The store: a path, relative to ``.kbstore``, or a URL.
        file: The JSON file, relative to the folder with ``.kbstore``; None if there is no file.
        collection: Pointer to the container of the entries; None for the largest container.
        author: The author of commits without an explicit author.
        branch: The branch that the file follows.
        remote: The default store for push and pull: an absolute path or a URL; empty for no default.
    """

    format: int = 0
    store: str = _STORE_NAME
    file: str | None = None
    collection: str | None = None
    author: str = ""
    branch: str = "main"
    remote: str = ""


class FileState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The remembered state of a file: its base, and the digest of its bytes at that time.

    Attributes:
        seq: The version that the content was taken from or committed as (the base); 0 for no version.
        id: The id of the base.
        branch: The branch of the base.
        digest: SHA-256 of the file's bytes at that time, hexadecimal.
        name: The full name of the base.
        state: The root hash of the base, for finding equal content in another store.
        pending: The write id of a commit with an unknown outcome, of the bytes with `pending_digest`.
        pending_digest: SHA-256 of the bytes of the pending commit.
        dirty: True if the bytes hold more than the base.
        rounded: The rounded number literals in the file; empty if there are too many to remember.
        coming: The state after the current write; present only during the write, and after a kill in between.
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
    """A folder with a ``.kbstore`` folder inside."""

    def __init__(self, root: Path, config: Config) -> None:
        for name in (config.file, config.store, config.remote):
            _refuse_bytes(name)
        self.root = root
        self.config = config

    @classmethod
    def find(cls, start: Path) -> Self | None:
        """Return the nearest project upward from a folder, by ``.kbstore/config.json``; None without a project."""
        for folder in _upward(start):
            if (folder / FOLDER / "config.json").is_file():
                return cls.load(folder)
        return None

    @classmethod
    def without_config(cls, start: Path) -> Self | None:
        """Return the nearest project upward if the ``config.json`` there is lost, else None.

        The store is in ``.kbstore``. If exactly one file in the folder has a remembered state, this is the project's
        file.
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
        """Return the project in exactly this folder.

        Raises:
            ProjectError: The configuration is malformed, or names a file in another folder.
            UnsupportedFormat: A newer kbstore wrote the configuration.
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
        """Make a folder a project by writing ``.kbstore/config.json``.

        Raises:
            WorkFileError: The configuration cannot be written.
        """
        project = cls(root, config)
        project.make_folder(root, mode_like(project.file))
        project.save()
        return project

    @staticmethod
    def make_folder(root: Path, mode: int = OPEN_MODE) -> Path:
        """Make the ``.kbstore`` folder itself, for making a store before the configuration.

        Args:
            root: The project's folder.
            mode: The mode of the files to come, from `kbstore.worktree.json_file.mode_like`.
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
        """Set fields of the configuration, and write the configuration."""
        self.config = msgspec.structs.replace(self.config, **changes)
        self.save()

    @property
    def location(self) -> str:
        """The location of the store, for `Store.open`."""
        store = self.config.store
        if is_url(store):
            return store
        place = os.fspath(self.root / FOLDER / store)
        # A path such as `.kbstore/../kb.db` fails while the folder is missing, so `..` is resolved as text.
        return place if (self.root / FOLDER).exists() else os.path.normpath(place)

    @property
    def file(self) -> Path | None:
        """The knowledge base's file; None if no file was chosen."""
        return self.root / self.config.file if self.config.file is not None else None

    def state_of(self, file: Path) -> FileState | None:
        """Return the remembered state of a file; None if there is no state, or the state cannot be used."""
        try:
            return read_state(self._state_path(file), FileState)
        except KBStoreError:
            return None

    def remember(self, file: Path, state: FileState) -> None:
        """Write the state of a file, to be remembered."""
        path = self._state_path(file)
        refuse_link(path)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as fault:
            raise ProjectError(f"cannot make the folder {path.parent}: {fault.strerror}") from fault
        write_state(path, print_state(state))

    def forget(self, file: Path) -> None:
        """Remove the remembered state of a file."""
        refuse_link(self._state_path(file))
        try:
            self._state_path(file).unlink(missing_ok=True)
        except OSError as fault:
            raise ProjectError(f"cannot remove {self._state_path(file)}: {fault.strerror}") from fault

    def move(self, old: Path, new: Path) -> None:
        """Rename the knowledge base's file, in the configuration and in the remembered state too.

        The file itself comes last, so after a kill in between, a repeated call goes on. If the file has the new name
        already, the file is not touched; see `renamed`.

        Raises:
            WorkFileError: The file is missing or is not the project's, or the new name is taken or outside of this
                folder.
        """
        home = Path(os.path.realpath(self.root))
        source, target = Path(os.path.realpath(old)), Path(os.path.realpath(new.parent)) / new.name
        own = self.file is not None and Path(os.path.realpath(self.file))
        if own not in (source, target):
            raise WorkFileError(f"{old} is not the file of this history", hint="kbstore status names the file")
        moved = self.renamed(old, new)
        if not (moved or old.is_file()):
            raise WorkFileError(
                f"there is no file {old}",
                hint="write the newest version into it: kbstore checkout HEAD"
                if own == source
                else "kbstore status names the file",
            )
        if not target.is_relative_to(home):
            raise WorkFileError(f"{new} is outside of {self.root}", hint="choose a place in that folder")
        _refuse_bytes(os.fspath(target.relative_to(home)))
        taken = WorkFileError(f"{new} is there already", hint="choose another name")
        if os.path.lexists(target) and not moved:
            raise taken
        if moved and Path(_beside(target).location).is_file():
            raise WorkFileError(
                f"{new} has a history of its own", hint="name the file that the file of this history was renamed to"
            )
        if (state := self.state_of(source)) is not None and not (moved and self.state_of(target) is not None):
            self.remember(target, state)
        self.change(file=os.fspath(target.relative_to(home)))
        try:
            if not moved:
                create(source, target)
        except Displaced:
            raise taken from None
        except OSError as fault:
            raise WorkFileError(f"cannot rename {old} to {new}: {fault.strerror}") from fault
        self.forget(source)

    def renamed(self, old: Path, new: Path) -> bool:
        """Return whether a program renamed the project's file from `old` to `new`, as far as the names show."""
        own = self.file is not None and Path(os.path.realpath(self.file))
        source, target = Path(os.path.realpath(old)), Path(os.path.realpath(new.parent)) / new.name
        begun = own == target and self.state_of(source) is not None  # an earlier call was killed
        return (own == source or begun) and not os.path.lexists(source) and target.is_file() and not target.is_symlink()

    def _state_path(self, file: Path) -> Path:
        real = Path(os.path.realpath(file))
        # If .kbstore is a link, the root is the folder that holds the real .kbstore.
        root = Path(os.path.realpath(self.root / FOLDER)).parent
        name = os.fsencode(real.relative_to(root) if real.is_relative_to(root) else real)
        return self.root / FOLDER / "files" / f"{sha256(name).hexdigest()[:24]}.json"


def _refuse_bytes(name: str | None) -> None:
    """Refuse a name that the configuration, as JSON, cannot hold."""
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise ProjectError(
            f"the name {name!a} is not text in UTF-8, so {FOLDER} cannot remember it", hint="rename it first"
        ) from None


def _leaves(file: str) -> bool:
    """Return whether a relative path leads out of the starting folder; links are not followed."""
    return Path(file).is_absolute() or Path(os.path.normpath(file)).parts[:1] in ((), ("..",))


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a path (a single letter before the colon is a Windows drive)."""
    scheme, colon, _ = location.partition(":")
    return bool(colon) and len(scheme) > 1 and scheme.isalnum()


def project_of(file: Path) -> Project | None:
    """Return the project that keeps the history of a file; None if no project does so yet.

    This is the nearest project upward with the given file as its file. A file beside a project's file may have a store
    of its own in the same ``.kbstore``, named after the file.
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
    """Return the project and the store of a file; make both, empty, beside the file if missing.

    Raises:
        WorkFileError: Neither a history nor the file exists.
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
        project.change(file=file.name)  # the history was imported, and the project has no file yet
        return project, store
    Project.make_folder(file.parent, mode_like(file))
    project = Project(file.parent, Config(file=file.name))
    store = _begun(project, clock, author)
    project.save()
    return project, store


def create_store(location: str, mode: int = OPEN_MODE, **options: Any) -> Store:
    """Make a new store without a document; users who cannot read the JSON file cannot read the store.

    Args:
        location: As for `Store.create`.
        mode: The mode of a store in a file: see `kbstore.worktree.json_file.mode_like`.
        options: As for `Store.open`.

    Raises:
        StoreExists: A store, or something else, is at the location.
    """
    return Store(backends.create_backend(location, mode=mode), **options)


def _beside(file: Path) -> Project:
    """Return a project for a file beside the file of another project, with a separate store in the same folder."""
    return Project(file.parent, Config(file=file.name, store=f"{file.name}.db"))


def open_or_create(location: str, mode: int = OPEN_MODE, *, branch: str, **options: Any) -> tuple[Store, bool]:
    """Return the store at a location, and whether the store was made now. Arguments: see `create_store`, `Store.open`.

    Raises:
        StoreNotFound: Something other than a store is at the path.
        StoreExists: The same, if the location is a URL.
    """
    try:
        return Store.open(location, branch=branch, **options), False
    except StoreNotFound as missing:
        try:
            return create_store(location, mode, **options), True
        except StoreExists as there:
            try:
                return Store.open(location, branch=branch, **options), False  # another process made the store meanwhile
            except StoreNotFound:
                # `missing` says that a file is not a store; for a bucket, `there` names the other content.
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
    # Links are not resolved: the folder in which the user sees the link counts.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _upward(start: Path) -> Iterator[Path]:
    start = _absolute(start)
    yield start
    yield from start.parents


def write_state(path: Path, data: bytes, mode: int = OPEN_MODE, *, unchanged: str | None = None) -> None:
    """Write a file in ``.kbstore``, but never through a link: the folder may come from a stranger.

    Args:
        path: The file, in ``.kbstore`` or in a folder there; ``.kbstore`` itself may be a link.
        data: The content.
        mode: The mode of a new file.
        unchanged: As for `kbstore.worktree.json_file.replace_file`.

    Raises:
        WorkFileError: The file or its folder is a link, or the file cannot be written.
    """
    refuse_link(path)
    replace_file(path, data, mode, unchanged=unchanged)


def refuse_link(path: Path) -> None:
    """Refuse a file in ``.kbstore`` if the file or its folder there is a link.

    Raises:
        WorkFileError: The file or its folder is a link.
    """
    for place in (path, path.parent):
        if place.name != FOLDER and place.is_symlink():
            raise WorkFileError(f"{place} is a link, so nothing is written there", hint=f"remove the link {place}")


def print_state(value: msgspec.Struct) -> bytes:
    """Return the bytes for a file in ``.kbstore``."""
    return msgspec.json.format(encode(msgspec.to_builtins(value)), indent=2) + b"\n"


def read_state(path: Path, kind: type[_Kind]) -> _Kind:
    """Return the content of a file in ``.kbstore``.

    Raises:
        ProjectError: The file is missing or malformed, or is a configuration with an unknown member.
        UnsupportedFormat: A newer kbstore wrote the file.
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
