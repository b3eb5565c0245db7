"""A file together with what is remembered of it: the version that it was taken from, and the digest that it had then.

Invariants:

1. Both change under one lock, so no command of ours sees one without the other.
2. What is coming is remembered before the file is replaced. So after a kill at any moment the file's digest says which
   version it holds. If it was edited since, the older one counts: nothing of others is taken back then.
"""

from collections.abc import Callable, Container
from contextlib import suppress
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from kbstore.history.version import Version
from kbstore.jsondoc.canonical import JSON
from kbstore.worktree.json_file import NO_FILE, FileChanged, FileContent, WorkFile, WorkFileError, WrittenFile
from kbstore.worktree.lock import locked
from kbstore.worktree.lost import LostFiles, Proved
from kbstore.worktree.project import FileState, Project, ProjectError

Rounded = Callable[[bytes, Container[str]], None]
_REMEMBERED_LITERALS = 10_000
_TRIES = 10
_NOTHING = FileState(seq=0, id="", branch="", digest="")
"""Stands beside what is coming while nothing else is known."""


class TrackedFile:
    """A file and its memory.

    Args:
        file: The file.
        project: Where it is remembered; nothing is remembered without one.
        branch: The branch whose versions it holds.
        mode: What a new file gets.
        on_rounded: Accepts numbers that are rounded: called with the file's bytes and the literals that were accepted
            before, once for each content that is read. Without it only those are accepted.
        proved: Whether the store has what the file holds; told what is remembered of it, and the digest.

    Attributes:
        kept: True once a copy was kept of what a forced write replaced.
        taken: Literals of rounded numbers that a forced write left in the file, and that were not accepted before.
    """

    def __init__(
        self,
        file: WorkFile,
        project: Project | None,
        branch: str,
        *,
        mode: int,
        on_rounded: Rounded | None,
        proved: Proved,
    ) -> None:
        self.file = file
        self._project = project
        self._branch = branch
        self._mode = mode
        self._on_rounded = on_rounded
        self._proved = proved
        self._rounded: frozenset[str] = frozenset()
        self._told = ""  # digest of the content that `on_rounded` was called for last
        self.kept = False
        self.taken: frozenset[str] = frozenset()

    def look(self) -> tuple[FileContent | None, FileState | None]:
        """Return content and memory of one moment; no content if there is no file. Raises as `WorkFile.load`."""
        with locked(self.file.path):
            content = self.load() if self.file.exists() else None
            return content, self._settled(content.digest if content is not None else NO_FILE)

    def load(self) -> FileContent:
        """Return the content. Raises as `WorkFile.load`."""
        known = self._accepted()
        content = self.file.load(known if self._on_rounded is None else True)
        if self._on_rounded is not None and not content.rounded.issubset(known) and content.digest != self._told:
            self._on_rounded(content.data or self.file.path.read_bytes(), known)
            self._told = content.digest
        self._rounded = content.rounded
        return content

    def _accepted(self) -> frozenset[str]:
        """Return the literals of rounded numbers that were accepted in the file."""
        state = self.state()
        states = (state, state.coming) if state is not None else ()
        return frozenset(literal for one in states if one is not None for literal in one.rounded)

    def state(self) -> FileState | None:
        """Return what is remembered now."""
        return self._project.state_of(self.file.path) if self._project is not None else None

    def write(
        self,
        version: Version,
        document: JSON,
        content: FileContent | None,
        *,
        model: FileContent | None = None,
        dirty: bool = False,
        force: bool = False,
        own_order: bool = False,
    ) -> None:
        """Write a version into the file, and remember it.

        Args:
            version: The version.
            document: Its content.
            content: What must be there still; None if no file must be there.
            model: What a new file is to look like.
            dirty: True if the document holds more than the version.
            force: Replace whatever is there, and pass None as the content. If that is in no version, a copy is kept.
            own_order: With `force`: take the layout alone from what is there, and not its order of members.

        Raises:
            FileChanged: Something else is there; nothing was done.
            WorkFileError, ProjectError: One of both cannot be written.
        """
        with locked(self.file.path):
            before = _NOTHING
            accepted = self._accepted()

            def announce(written: WrittenFile) -> None:
                self._rounded = written.rounded
                self._save(replace(before, coming=self._known(version, written.digest, dirty)))

            for left in reversed(range(_TRIES)):
                unchanged = self._keep() if force else content.digest if content is not None else NO_FILE
                before = self._settled(unchanged) or _NOTHING
                try:
                    written = self.file.write(
                        document,
                        like=content if self.file.exists() else model,
                        unchanged=unchanged,
                        mode=self._mode,
                        announce=announce,
                        own_order=own_order,
                    )
                    break
                except FileChanged:
                    if not (force and left):
                        raise
            with suppress(
                WorkFileError, ProjectError
            ):  # what was announced is remembered, and the file says that it came
                self._save(self._known(version, written.digest, dirty))
            self.taken = written.rounded - accepted if force else frozenset()

    def stay(self, version: Version, content: FileContent, state: FileState | None, *, dirty: bool = False) -> None:
        """Remember that a content is that of a version, unless another command wrote the file since `look`.

        It holds more than the version if it is `dirty`.
        """
        with locked(self.file.path):
            now = self._settled(content.digest)
            if now is not None and state is not None:
                now = replace(now, pending=state.pending, pending_digest=state.pending_digest)
            if now == state:
                self._save(self._known(version, content.digest, dirty))

    def remember(self, version: Version, digest: str, **pending: Any) -> None:
        """Remember the base of the file as it is; an empty digest for one that was perhaps changed since."""
        self._save(replace(self._known(version, digest), **pending))

    def note_pending(self, write_id: str, digest: str) -> None:
        """Remember the id of a commit that is made of the file now; an empty one for none.

        Nothing is remembered of a file that nothing is known of, or if the memory cannot be written.
        """
        with suppress(WorkFileError, ProjectError), locked(self.file.path):
            state = self.state()
            if state is not None and (write_id or state.pending):
                self._save(replace(state, pending=str(write_id), pending_digest=digest))

    def _known(self, version: Version, digest: str, dirty: bool = False) -> FileState:
        rounded = tuple(sorted(self._rounded)) if len(self._rounded) <= _REMEMBERED_LITERALS else ()
        return FileState(
            seq=version.seq,
            id=version.id,
            branch=self._branch,
            digest=digest,
            name=version.name,
            state=version.state or "",
            dirty=dirty,
            rounded=rounded,
        )

    def _keep(self) -> str:
        """Keep what the file holds, unless the store has it; gives its digest."""
        if not self.file.exists():
            return NO_FILE
        data = self.file.raw()
        digest = sha256(data).hexdigest()
        state = self._settled(digest)
        if not self._proved(state, digest):
            folder = self._project.root if self._project is not None else self.file.path.absolute().parent
            LostFiles(folder).keep(self.file.path, data, state)
            self.kept = True
        return digest

    def _settled(self, digest: str) -> FileState | None:
        """What is remembered, once it is clear whether a command that was killed had written the file."""
        state = self.state()
        if state is None or state.coming is None:
            return state
        if digest and state.coming.digest == digest:
            return state.coming
        state = replace(state, coming=None)
        return state if state != _NOTHING else None

    def _save(self, state: FileState) -> None:
        if self._project is not None and state != self.state():
            self._project.remember(self.file.path, state)
