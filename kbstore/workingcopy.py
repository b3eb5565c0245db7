"""A file together with the store that keeps its history: commit what was changed in it, take another version into it.

Each file has a *base*, the version that its content was taken from. What is committed is what differs from the base,
carried over to the head; so a file that was taken at v5 and is committed after v9 changes only what its author
changed. Nothing here ever overwrites what is in no version, unless it is told to.
"""

import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from kbstore.diff import Diff
from kbstore.errors import InvalidJSON, KBStoreError, OutcomeUnknown, RevisionError
from kbstore.project import FileState, Project, ProjectError
from kbstore.store import Store
from kbstore.version import Version
from kbstore.workfile import OPEN_MODE, FileContent, WorkFile, WorkFileError

_REMEMBERED_LITERALS = 10_000
_OTHER_NAME = "choose another name, or use --force to lose what it holds"


class OtherFile(KBStoreError):
    """The store keeps the history of another file, and this one was never taken from it."""


class UncommittedChanges(KBStoreError):
    """The file holds changes that are in no version, and would have lost them."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a file stands to its history.

    Attributes:
        base: The version that the file's content was taken from.
        head: The newest version.
        content: What the file holds; None where there is no file.
        diff: From `base` to the file; empty where nothing is uncommitted, None where there is no file.
    """

    base: Version
    head: Version
    content: FileContent | None
    diff: Diff | None

    @property
    def clean(self) -> bool:
        """True where the file holds nothing that is in no version."""
        return not self.diff

    @property
    def behind(self) -> int:
        """How many versions are newer than `base`."""
        return self.head.seq - self.base.seq


class WorkingCopy:
    """A JSON file and its store.

    Args:
        store: The store; it stays the caller's to close.
        file: The file.
        project: Where the file's base is remembered; without one a file is taken to be at the head.
        own: False for a file that a version is only to be written into: what is said of it leads to another file.
        mode: What the file gets where it is new.
        on_rounded: Accepts numbers that are rounded: called with the file's bytes and the literals that were accepted
            before. Without it only those are accepted.
    """

    def __init__(
        self,
        store: Store,
        file: WorkFile,
        project: Project | None = None,
        *,
        own: bool = True,
        mode: int = OPEN_MODE,
        on_rounded: Callable[[bytes, Container[str]], None] | None = None,
    ) -> None:
        self.store = store
        self.file = file
        self._project = project
        self._own = own
        self._mode = mode
        self._on_rounded = on_rounded
        self._rounded: frozenset[str] = frozenset()

    def status(self) -> Status:
        """What the file holds, and what of it is uncommitted.

        Costs the file's digest where nothing was changed since it was last written or committed here.
        """
        head = self.store.head()
        if not self.file.exists():
            return Status(self._base(head, self._state()), head, None, None)
        state = self._state()
        base = self._base(head, state)
        content = self.load()
        if state is not None and content.digest == state.digest and base.id == state.id:
            return Status(base, head, content, Diff([]))
        diff = self.store.diff(base, document=content.value)
        if diff and base != head and not self.store.diff(head, document=content.value):
            # Committed, but that was not remembered: a kill in between, or another tool.
            with suppress(WorkFileError, ProjectError):  # a read-only folder costs this note, and no more
                self._remember(head, content.digest)
            return Status(head, head, content, Diff([]))
        return Status(base, head, content, diff)

    def load(self) -> FileContent:
        """What the file holds. Raises as `WorkFile.load`, with a hint at what could replace it."""
        state = self._state()
        known = frozenset(state.rounded if state is not None else ())
        try:
            content = self.file.load(known if self._on_rounded is None else True)
        except InvalidJSON as fault:
            if not self._own:
                fault.hint = _OTHER_NAME
            elif self.store.head().seq:
                fault.hint = fault.hint or "mend the file, or write the newest version: kbstore checkout HEAD --force"
            raise
        except WorkFileError as fault:
            if not self._own:
                fault.hint = fault.hint or "choose another name"
            elif self.store.head().seq and not self.file.exists():
                fault.hint = fault.hint or "write the newest version: kbstore checkout HEAD"
            raise
        if self._on_rounded is not None and not content.rounded.issubset(known):
            self._on_rounded(content.data or self.file.path.read_bytes(), known)
        self._rounded = content.rounded
        return content

    def commit(
        self,
        *,
        message: str,
        author: str = "",
        tags: Sequence[str] = (),
        base: str | None = None,
        rebase: bool = True,
        allow_empty: bool = False,
        write_id: str | None = None,
    ) -> Version:
        """Commit what the file changed since its base (see `Store.commit`); the file then holds the new version.

        Raises:
            WorkFileError: There is no file.
            OtherFile: The history is that of another file.
            ConflictError: Others changed the same places since the file's base.
            OutcomeUnknown: It is not known whether it landed. Calling this again with the same file settles it.
        """
        content = self.load()
        state = self._state()
        self._refuse_other_file(state)
        start = self.store.version(base) if base is not None else self._start(content, state)
        with self._settling(content.digest, start, write_id) as ident:
            version = self.store.commit(
                content.value,
                message=message,
                author=author,
                tags=tags,
                base=start,
                rebase=rebase,
                write_id=ident,
                allow_empty=allow_empty,
            )
        if not version.created:
            if start == version:
                self._remember(version, content.digest)
            return version
        digest = content.digest
        if version.parents[:1] != (start.id,)[: bool(start.id)]:
            # Others' changes came between: the file gets them, so that its next commit does not take them back.
            digest = self._write(version, like=content, unchanged=content.digest)
        self._remember(version, digest)
        return version

    def apply(
        self,
        patch: bytes,
        status: Status,
        *,
        message: str,
        tags: Sequence[str] = (),
        base: str | None = None,
        rebase: bool = True,
        write_id: str | None = None,
    ) -> Version:
        """Commit a patch that was made for the file as it is; the file then holds the new version.

        Args:
            patch: JSON text of RFC 6902 operations.
            status: The file's.
            message: Why.
            tags: Labels.
            base: The version that the patch was made from; the file's by default.
            rebase: As for `Store.commit`.
            write_id: As for `Store.commit`.

        Raises:
            UncommittedChanges: The file holds some.
            OutcomeUnknown: It is not known whether it landed. Calling this again with the same patch settles it.
        """
        self.refuse_uncommitted(status, force_helps=False)
        start = self.store.version(base) if base is not None else status.base
        with self._settling(sha256(b"patch " + patch).hexdigest(), status.base, write_id) as ident:
            version = self.store.commit(
                patch=patch, message=message, tags=tags, base=start, rebase=rebase, write_id=ident
            )
        return self.take(version, status=status) if version.created else version

    @contextmanager
    def _settling(self, digest: str, base: Version, given: str | None) -> Iterator[str | None]:
        """Remember a write whose outcome is unknown by the digest of what it wrote; gives the id of an earlier one.

        One that was given goes before it.
        """
        state = self._state()
        pending = state.pending if state is not None and state.pending_digest == digest else None
        try:
            yield given or pending or None
        except OutcomeUnknown as fault:
            self._remember(base, state.digest if state else "", pending=fault.write_id, pending_digest=digest)
            raise

    def take(
        self,
        revision: "str | Version",
        *,
        force: bool = False,
        status: Status | None = None,
        model: FileContent | None = None,
    ) -> Version:
        """Write a version into the file, which then has it as its base. Adds nothing to the history.

        Args:
            revision: The version.
            force: Overwrite what is uncommitted.
            status: The file's, where the caller has looked at it already.
            model: What a new file is to look like.

        Raises:
            UncommittedChanges: The file holds some, and it was not forced.
        """
        version = self.store.version(revision)
        like = None
        if not force:
            status = status or self.status()
            self.refuse_uncommitted(status)
            like = status.content
        unchanged = like.digest if like is not None else None
        if not self.file.exists():
            like = model
        self._remember(version, self._write(version, like=like, unchanged=unchanged))
        return version

    def _write(self, version: Version, *, like: FileContent | None, unchanged: str | None) -> str:
        """Write a version into the file; return the digest of what it holds then."""
        document = self.store.checkout(version)
        written = self.file.write(document, like=like, unchanged=unchanged, mode=self._mode)
        self._rounded = written.rounded
        return written.digest

    def note_base(self, version: Version) -> None:
        """Remember that the file as it is was taken from this version and changed, or not, since."""
        self._remember(version, "")

    def refuse_uncommitted(self, status: Status, *, force_helps: bool = True) -> None:
        """Raise `UncommittedChanges` where the file holds some; `force_helps` says so in the hint."""
        if not status.clean and not self._own:
            raise UncommittedChanges(f"{self.file.path} holds something that is in no version", hint=_OTHER_NAME)
        if not status.clean:
            way_out = "or use --force to lose them" if force_helps else "or lose them: kbstore checkout HEAD --force"
            raise UncommittedChanges(
                f"{self.file.path} has changes that are in no version",
                hint=f"kbstore diff shows them; commit them, {way_out}",
            )

    def _refuse_other_file(self, state: FileState | None) -> None:
        """A file that was checked out of this history may be committed to it; any other is most likely a slip."""
        own = self._project.file if self._project is not None else None
        if own is None or not own.exists() or os.path.realpath(own) == os.path.realpath(self.file):
            return
        if state is None or not self._is_known(state):
            raise OtherFile(
                f"{self.file.path} was never taken from this history, which is that of {own.name}",
                hint="give it a folder and a history of its own: kbstore init FILE",
            )

    def _is_known(self, state: FileState) -> bool:
        """Whether a file's base is a version of this store, as far as its open branch tells."""
        if state.branch != self.store.branch:
            return state.branch in self.store.branches()
        try:
            return self.store.version(f"v{state.seq}").id == state.id
        except RevisionError:
            return False

    def _state(self) -> FileState | None:
        return self._project.state_of(self.file.path) if self._project is not None else None

    def _base(self, head: Version, state: FileState | None) -> Version:
        """The version that the file was taken from, as far as this store still has it; else the head."""
        if state is None or state.branch != self.store.branch or state.seq >= head.seq or not self._is_known(state):
            return head
        return self.store.version(f"v{state.seq}")

    def _start(self, content: FileContent, state: FileState | None) -> Version:
        head = self.store.head()
        base = self._base(head, state)
        if base != head and not self.store.diff(head, document=content.value):
            return head
        return base

    def _remember(self, version: Version, digest: str, **pending: Any) -> None:
        if self._project is None:
            return
        rounded = tuple(sorted(self._rounded)) if len(self._rounded) <= _REMEMBERED_LITERALS else ()
        state = FileState(
            seq=version.seq, id=version.id, branch=self.store.branch, digest=digest, rounded=rounded, **pending
        )
        if state != self._state():
            self._project.remember(self.file.path, state)
