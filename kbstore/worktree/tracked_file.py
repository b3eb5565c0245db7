"""A file together with its remembered state: the file's base, and the file's digest at that time.

Invariants:

1. Both change under one lock, so every kbstore command sees a matching pair.
2. The coming state is remembered before the file is replaced. So after a kill at any moment the file's digest shows
   which version the file holds. If the file was edited since, the older version counts; so the next commit does not
   undo the changes of others.
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
"""The state that holds a coming state if nothing else is remembered."""


class TrackedFile:
    """A file and its remembered state.

    Args:
        file: The file.
        project: The project for remembering the state; without a project nothing is remembered.
        branch: The branch of the versions in the file.
        mode: The mode of a new file.
        on_rounded: Accept rounded numbers. Called with the file's bytes and the literals accepted before, once for each
            content. Without this function only the literals accepted before are accepted.
        proved: Return whether the store has the file's content, from the remembered state and the digest.

    Attributes:
        kept: True after a forced write kept a copy of the replaced content.
        taken: Literals of rounded numbers left in the file by a forced write, and not accepted before.
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
        """Return content and state at one moment; the content is None without a file. Raises as `WorkFile.load`."""
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
        """Return the accepted literals of rounded numbers in the file."""
        state = self.state()
        states = (state, state.coming) if state is not None else ()
        return frozenset(literal for one in states if one is not None for literal in one.rounded)

    def state(self) -> FileState | None:
        """Return the state remembered now."""
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
        """Write a version into the file, and remember the version.

        Args:
            version: The version.
            document: The content of the version.
            content: The content that must still be in the file; None if no file may be there.
            model: The model for the layout of a new file.
            dirty: True if the document holds more than the version.
            force: Replace the file with any content; `content` is None then. Keep a copy if the old content is in no
                version.
            own_order: With `force`: keep only the layout of the existing file, not the order of members.

        Raises:
            FileChanged: The file holds other content; nothing was done.
            WorkFileError, ProjectError: The file or the state cannot be written.
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
            # After a failure here the announced state is still remembered, and the file's digest confirms it.
            with suppress(WorkFileError, ProjectError):
                self._save(self._known(version, written.digest, dirty))
            self.taken = written.rounded - accepted if force else frozenset()

    def stay(self, version: Version, content: FileContent, state: FileState | None, *, dirty: bool = False) -> None:
        """Remember the version of a content, unless another command wrote the file since `look`.

        If the content is `dirty`, the file holds more than the version.
        """
        with locked(self.file.path):
            now = self._settled(content.digest)
            if now is not None and state is not None:
                now = replace(now, pending=state.pending, pending_digest=state.pending_digest)
            if now == state:
                self._save(self._known(version, content.digest, dirty))

    def remember(self, version: Version, digest: str, **pending: Any) -> None:
        """Remember the base of the current file; give an empty digest if the file may have changed since."""
        self._save(replace(self._known(version, digest), **pending))

    def note_pending(self, write_id: str, digest: str) -> None:
        """Remember the write id of a commit from the current file; an empty id clears the memory.

        Nothing is remembered if the file has no remembered state, or if the state cannot be written.
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
        """Keep a copy of the file's content, unless the store has the content; return the digest."""
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
        """Return the remembered state; if another state was coming, the digest shows whether the file was written."""
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
