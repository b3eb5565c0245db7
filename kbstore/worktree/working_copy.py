"""A file together with the store that keeps its history: commit the file, or update the file to another version.

Each file has a *base*: the version that the content of the file was taken from. A commit contains the differences
between the file and its base, carried over to the head. So a file that was taken at v5 and is committed after v9
changes only the places with edits. Content that is in no version is never overwritten, unless the caller forces the
overwrite.

After a version has landed, every later failure is raised as `FileNotWritten`, with the version. A repeated call with
the same write id then goes on with the file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

import orjson

from kbstore.commit.staging import refuse_reuse
from kbstore.diff.diff import Diff
from kbstore.errors import ConflictError, InvalidJSON, OutcomeUnknown
from kbstore.history.change import FreshId, OwnId, may_have_landed
from kbstore.history.version import Version
from kbstore.jsondoc.canonical import JSON, same
from kbstore.jsondoc.diagnose.text import locate_inexact
from kbstore.jsondoc.document import plain
from kbstore.jsondoc.hunks import Hunk
from kbstore.jsondoc.make_patch import patch_of
from kbstore.jsondoc.merge import merge
from kbstore.jsondoc.partial import with_places
from kbstore.jsondoc.patch import apply_patch
from kbstore.jsondoc.pointer import shorten
from kbstore.kit.clock import SystemClock
from kbstore.order.carry_over import in_order_of
from kbstore.order.reordered import turned
from kbstore.store import Store
from kbstore.tree.builder import root_of
from kbstore.worktree.json_file import OPEN_MODE, EmptyFile, FileChanged, FileContent, WorkFile, WorkFileError
from kbstore.worktree.lost import FORCED
from kbstore.worktree.project import FileState, Project, ProjectError
from kbstore.worktree.rehearsal import check_patch, check_restore, landed_with, leads_to
from kbstore.worktree.status import OtherFile, Status, UncommittedChanges, landed
from kbstore.worktree.taken import BaseUnknown, find_base, named_base, proved, remembered
from kbstore.worktree.tracked_file import Rounded, TrackedFile

_TRIES = 100
_SHOWN = 3


class WorkingCopy:
    """A JSON file and its store.

    Args:
        store: The store; closing the store is up to the caller.
        file: The file.
        project: The project that remembers the file's base; without a project the base is the head.
        own: False for a file that only receives a version: hints then advise another file name.
        mode: The mode of a new file.
        on_rounded: Accepts rounded numbers; see `TrackedFile`.

    Attributes:
        notes: Remarks on the file for the user, one sentence each, after work on the file.
    """

    def __init__(
        self,
        store: Store,
        file: WorkFile,
        project: Project | None = None,
        *,
        own: bool = True,
        mode: int = OPEN_MODE,
        on_rounded: Rounded | None = None,
    ) -> None:
        self.store = store
        self.file = file
        self.notes: list[str] = []
        self._project = project
        self._branch = project.config.branch if project is not None else store.branch
        self._tracked = TrackedFile(
            file, project, store.branch, mode=mode, on_rounded=on_rounded, proved=partial(proved, store)
        )
        self._own = own

    @property
    def follows(self) -> str:
        """The branch of the file's base."""
        state = self._tracked.state()
        return (self.store.branch_now(state.branch) if state is not None else None) or self._branch

    @property
    def elsewhere(self) -> bool:
        """Whether the file follows another branch than the open branch."""
        return self.follows != self.store.branch

    def status(self) -> Status:
        """Return the content of the file, and its uncommitted changes.

        If the open branch does not contain the file's base, the status refers to the branch of the base.

        Cost: reading the file; a comparison with the base only if the file changed since the last write or commit here.

        Raises:
            BaseUnknown: The store does not contain the version that the file was taken from.
        """
        content, state = self._look()
        store = self.store
        if state is not None and self.elsewhere and remembered(store, state) is None:
            store = self._followed_store()
        head = store.head()
        if content is None:
            return Status(
                (remembered(store, state) if state is not None else None) or head, head, None, None, store.branch
            )
        base = self._base(content, state, store)
        if state is not None and content.digest == state.digest and base.id == state.id and not state.dirty:
            return Status(base, head, content, Diff([], old_name=base.name, base=base.id or "v0"), store.branch)
        diff = store.diff(base, document=content.value)
        if not diff and not self.elsewhere:
            with suppress(WorkFileError, ProjectError):  # in a read-only folder only this memory is lost
                self._tracked.stay(base, content, state)
        return Status(base, head, content, diff, store.branch)

    def _followed_store(self) -> Store:
        """Return the store with the branch that the file follows."""
        return Store(self.store.backend, branch=self.follows, collection=self.store.collection())

    def load(self) -> FileContent:
        """Return the content of the file. Raises as `WorkFile.load`, with a hint at a replacement for the file."""
        with self._hinted():
            return self._tracked.load()

    def _look(self) -> tuple[FileContent | None, FileState | None]:
        with self._hinted():
            return self._tracked.look()

    @contextmanager
    def _hinted(self) -> Iterator[None]:
        try:
            yield
        except InvalidJSON as fault:
            if not self._own:
                fault.hint = FORCED
            elif self.store.head().seq and isinstance(fault, EmptyFile):
                fault.hint = "write the newest version into it: kbstore checkout HEAD --force"
            elif self.store.head().seq:
                fault.hint = fault.hint or "fix the file, or write the newest version: kbstore checkout HEAD --force"
            raise
        except WorkFileError as fault:
            if not self._own:
                fault.hint = fault.hint or "choose another name"
            elif self.store.head().seq and not self.file.exists():
                fault.hint = fault.hint or "write the newest version: kbstore checkout HEAD"
            raise

    def commit(
        self,
        *,
        message: str,
        author: str = "",
        tags: Sequence[str] = (),
        base: str | None = None,
        rebase: bool = True,
        allow_empty: bool = False,
        keep_order_changes: bool = False,
        write_id: str | None = None,
        places: Sequence[str] = (),
    ) -> Version:
        """Commit the changes of the file since its base (see `Store.commit`), and update the file to the new version.

        Args:
            message: The reason for the change.
            author: The author.
            tags: Labels.
            base: The version that the file was taken from; by default the remembered version.
            rebase: Carry the change over to a newer head.
            allow_empty: Make a version even if nothing changed.
            keep_order_changes: Make a version even if only the order of members changed.
            write_id: Identifies this commit.
            places: Commit only the values at these pointers; the other changes stay uncommitted.

        Raises:
            WorkFileError: There is no file.
            OtherFile: The history belongs to another file.
            BaseUnknown: The store does not contain the version that the file was taken from, and `base` is not given.
            ConflictError: Others changed the same places since the file's base.
            KBStoreError: The write id landed already, with another change; the file is unchanged.
            FileNotWritten: The version landed, but the file was not updated. A repeated call with the same `write_id`
                goes on with the file.
            OutcomeUnknown: The version may or may not have landed. A repeated call with the same file settles the
                outcome.
        """
        content, state = self._look()
        if content is None:
            content = self.load()  # raises the fitting error
        self._refuse_other_file(state)
        if base is None:
            self._refuse_other_branch(state)
            content, state = self._with_landed(content, state)
        start = named_base(self.store, base) if base is not None else self._base(content, state)
        document = content.value
        if places:
            document = with_places(
                self.store.checkout(start) if start.seq else {}, document, places, self.store.identities
            )
        digest = sha256("\n".join((content.digest, *places)).encode()).hexdigest() if places else content.digest
        with self._settling(digest, start, write_id) as ident:
            found = landed_with(self.store, ident)
            if found is not None:
                if self._holds_already(found, start, document, state, ident):
                    return found
                ident = OwnId(ident)  # it was compared
            self._tracked.note_pending(ident, digest)
            version = self.store.commit(
                document,
                message=message,
                author=author,
                tags=tags,
                base=start,
                rebase=rebase,
                write_id=ident,
                allow_empty=allow_empty,
                keep_order_changes=keep_order_changes,
            )
        if not version.created:
            self._note_already(root_of(document).address.hex(), start, state)
            if start == version and not places:
                self._tracked.remember(version, content.digest)
            elif start != version and not places:
                self._follow(version, content)
            else:
                self._tracked.note_pending("", "")
            return version
        dirty = bool(places) and not same(document, content.value)
        with landed(version):
            if version.parents[:1] == (start.id,)[: bool(start.id)]:
                self._tracked.stay(version, content, state, dirty=dirty)
            elif dirty:
                self._bring_in(version, document, content)
            else:
                # Others' changes came between: the file gets them, so that its next commit does not undo them.
                self._follow(version, content)
        return version

    def apply(
        self,
        patch: bytes,
        *,
        message: str,
        author: str = "",
        tags: Sequence[str] = (),
        base: Version | None = None,
        rebase: bool = True,
        write_id: str | None = None,
    ) -> Version:
        """Commit a patch for the current content of the file, and update the file to the new version.

        If the file follows another branch than the open branch, the file is not written.

        Args:
            patch: JSON text of RFC 6902 operations.
            message: The reason for the change.
            author: As for `Store.commit`.
            tags: Labels.
            base: The version of the open branch that the patch was made from; by default the file's base. If the file
                follows another branch: as for `Store.commit`.
            rebase: As for `Store.commit`.
            write_id: As for `Store.commit`.

        Raises:
            UncommittedChanges: The file has uncommitted changes.
            BaseUnknown: The file follows another branch than the project, and the project's branch is open.
            KBStoreError: As for `commit`.
            FileNotWritten: As for `commit`.
            OutcomeUnknown: The version may or may not have landed. A repeated call with the same patch settles the
                outcome.
        """
        digest = sha256(b"patch " + patch).hexdigest()
        if self.elsewhere:
            self._note_elsewhere("apply")
            return self.store.commit(
                patch=patch, message=message, author=author, tags=tags, base=base, rebase=rebase, write_id=write_id
            )
        bases = [base] if base is not None else []
        check = partial(check_patch, self.store, write_id, patch, *bases)
        if (made := self._landed_before(digest, write_id, check)) is not None:
            return made
        status = self.status()
        self.refuse_uncommitted(status, force_helps=False)
        start = base if base is not None else status.base
        with self._settling(digest, status.base, write_id) as ident:
            version = self.store.commit(
                patch=patch, message=message, author=author, tags=tags, base=start, rebase=rebase, write_id=ident
            )
        if version.created:
            return self._followed(version, status)
        if status.content is None or status.base != version:  # others made the same change, or nothing was changed
            self._follow(version, status.content)
        return version

    def restore(
        self,
        revision: "str | Version",
        *,
        message: str | None = None,
        author: str = "",
        tags: Sequence[str] = (),
        write_id: str | None = None,
        force: bool = False,
    ) -> Version:
        """Make a version with the content of an older version (see `Store.restore`), and update the file.

        If the file follows another branch, the file is not written.

        Args:
            revision: The older version.
            message: As for `Store.restore`.
            author: As for `Store.commit`.
            tags: Labels.
            write_id: As for `Store.commit`.
            force: Overwrite uncommitted changes.

        Raises:
            UncommittedChanges: The file has uncommitted changes, and `force` is False.
            BaseUnknown: As for `apply`.
            KBStoreError: As for `commit`.
            FileNotWritten: As for `commit`.
        """
        if self.elsewhere:
            self._note_elsewhere("restore")
            return self.store.restore(revision, message=message, author=author, tags=tags, write_id=write_id)
        check = partial(check_restore, self.store, write_id, revision)
        if (made := self._landed_before("", write_id, check)) is not None:
            return made
        status = None
        self.store.version(revision)  # raises first if the version does not exist
        if not force:
            status = self.status()
            self.refuse_uncommitted(status, force_helps=False)
        version = self.store.restore(revision, message=message, author=author, tags=tags, write_id=write_id)
        if version.created:
            return self._followed(version, status)
        self.take(version, force=force, status=status)
        return version

    def _holds_already(
        self,
        version: Version,
        start: Version,
        document: JSON,
        state: FileState | None,
        write_id: str | None,
    ) -> bool:
        """Return whether the file already follows the version of a repeated commit; refuse a repeat with other content.

        Args:
            version: The landed version with the write id.
            start: The base of the file now.
            document: The document to be committed now.
            state: The remembered state of the file.
            write_id: The id.
        """
        known = remembered(self.store, state) if state is not None else None
        followed = known is not None and known.seq >= version.seq
        same_as = (known.state, start.state) if known is not None and followed else (version.state,)
        same = root_of(document).address.hex() in same_as
        if not same and not leads_to(self.store, version, start, document=plain(document)):
            refuse_reuse(version, write_id)
        return followed

    @contextmanager
    def _settling(self, digest: str, base: Version, given: str | None) -> Iterator[str]:
        """Yield the id for a write; if the outcome stays unknown, remember the id by the digest of the written content.

        The id of an earlier, unknown write of the same content comes first, then the given id, then a new id.
        """
        state = self._tracked.state()
        try:
            yield OwnId(self._pending(digest)) or given or FreshId(SystemClock().token())
        except OutcomeUnknown as fault:
            self._tracked.remember(base, state.digest if state else "", pending=fault.write_id, pending_digest=digest)
            raise
        except Exception:
            self._tracked.note_pending(*(("", "") if state is None else (state.pending, state.pending_digest)))
            raise

    def _pending(self, digest: str) -> str:
        """Return the id of an earlier write of the same content with an unknown outcome; a given id comes second."""
        state = self._tracked.state()
        return state.pending if state is not None and digest and state.pending_digest == digest else ""

    def _made_of(self, content: FileContent, state: FileState | None) -> Version | None:
        """Return the version that was committed from this file, if the file was edited before its update."""
        if state is None or not state.pending or content.digest in (state.digest, state.pending_digest):
            return None
        known = remembered(self.store, state)
        version = self.store.landed(state.pending) if known is not None else None
        return version if version is not None and known is not None and version.seq > known.seq else None

    def _with_landed(self, content: FileContent, state: FileState | None) -> tuple[FileContent, FileState | None]:
        """Update an edited file to the version committed from the file before, together with changes by others.

        Returns:
            The content of the file after the update, and its remembered state.

        Raises:
            ConflictError: Others changed places with newer edits in the file. Committed changes never conflict here.
        """
        version = self._made_of(content, state)
        if version is None or state is None or version.parents[:1] == (state.id,):
            return content, state
        before = self._document(self.store.version(f"v{version.seq - 1}"))
        landing = self._document(version)
        committed = self._together(before, landing, self._document(self.store.version(f"v{state.seq}")), version)
        document = self._together(committed, content.value, landing, version)
        self._tracked.write(version, document, content, dirty=not same(document, landing))
        now, state = self._look()
        return now if now is not None else self.load(), state

    def _document(self, version: Version) -> JSON:
        return plain(self.store.checkout(version)) if version.seq else {}

    def _together(self, base: JSON, ours: JSON, theirs: JSON, version: Version) -> JSON:
        """Return `theirs` with the changes from `base` to `ours`; error messages name `version`, the newest of theirs.

        Raises:
            ConflictError: Both changed the same places.
        """
        identities = self.store.identities
        merged = merge([Hunk((), base, ours)], [Hunk((), base, theirs)], identities)
        if merged.conflicts:
            places = ", ".join(conflict.pointer or "the whole document" for conflict in merged.conflicts[:_SHOWN])
            raise ConflictError(
                f"{self.file.path.name} and the versions up to {version.name} change the same places: {places}",
                conflicts=merged.conflicts,
            )
        return apply_patch(theirs, patch_of(merged.hunks, identities))

    def _landed_before(self, digest: str, given: str | None, check: Callable[[], None]) -> Version | None:
        """Return the version from an earlier, equal call, and update the file; None if there was no such call.

        Args:
            digest: The digest of the content to write; empty for a restore.
            given: The write id from the caller.
            check: Raises `KBStoreError` if the write with the given id is another change. Called after the search: the
                write may land between an earlier check and the search.
        """
        pending = self._pending(digest)
        ident = pending or given
        version = self.store.landed(ident) if ident is not None and may_have_landed(ident) else None
        if version is None:
            return None
        if not pending:
            check()
        with landed(version):
            try:
                status = self.status()
            except (InvalidJSON, WorkFileError):
                self._note_left()
            else:
                if not status.clean:
                    self._note_left()
                elif status.content is None or status.base.seq < version.seq:
                    self._follow(self.store.head(), status.content)
                else:
                    self._tracked.remember(status.base, status.content.digest)
        return version

    def take(
        self,
        revision: "str | Version",
        *,
        force: bool = False,
        status: Status | None = None,
        model: FileContent | None = None,
    ) -> Version:
        """Write a version into the file as its new base, without a change of the history.

        Args:
            revision: The version.
            force: Overwrite uncommitted changes.
            status: The status of the file, if the caller knows the status already.
            model: The model for the layout and order of a new file.

        Raises:
            UncommittedChanges: The file has uncommitted changes, and `force` is False.
        """
        version = self.store.version(revision)
        content = None
        if not force:
            status = status or self.status()
            content = status.content
            if content is None or root_of(content.value).address.hex() != version.state:
                self.refuse_uncommitted(status)
        self._write(version, content, model, force=force)
        return version

    def update(self) -> Version:
        """Bring the newest version into the file, and keep uncommitted changes, without a change of the history.

        Raises:
            BaseUnknown: The open branch does not contain the version that the file was taken from.
            ConflictError: Others changed the same places; the file is unchanged.
            FileChanged: The file was saved by another program meanwhile.
        """
        content, state = self._look()
        if content is None:
            content = self.load()  # raises the fitting error
        content, state = self._with_landed(content, state)
        base, head = self._base(content, state), self.store.head()
        if base == head:
            return head
        theirs = self._document(head)
        document = self._together(self._document(base), content.value, theirs, head)
        dirty = not same(document, theirs)
        document, content = self._in_order(document, content, base, head)
        self._tracked.write(head, document, content, dirty=dirty)
        return head

    def catch_up(self) -> str:
        """Write the newest version into the file, after new versions came into the store.

        Returns:
            The reason for leaving the file unchanged; empty if the file is at the newest version of its branch.

        Raises:
            FileNotWritten: The file cannot be written.
        """
        if self.elsewhere:
            return WorkingCopy(self._followed_store(), self.file, self._project).catch_up()
        head = self.store.head()
        with landed(head):
            try:
                status = self.status()
            except BaseUnknown:
                return f"{self.file.path.name} was taken from a version that is not here, and was left as it is"
            except InvalidJSON:
                return f"{self.file.path.name} is not JSON just now, and was left as it is"
            if status.base == head:
                return ""
            if not status.clean:
                return f"{self.file.path.name} has uncommitted changes and was left as it is"
            self._follow(head, status.content)
        return ""

    def is_turned(self, version: Version) -> bool:
        """Return whether the file equals a version except for the order of members. Raises as `load`."""
        document, held = plain(self.store.checkout(version)), self.load().value
        return bool(document == held and turned(document, held, 1))

    def note_base(self, version: Version) -> None:
        """Remember that the current file was taken from this version, and may have changed since."""
        self._tracked.remember(version, "")

    def refuse_uncommitted(self, status: Status, *, force_helps: bool = True) -> None:
        """Raise `UncommittedChanges` if the file has uncommitted changes; `force_helps` adds `--force` to the hint."""
        if not status.clean and not self._own:
            raise UncommittedChanges(f"{self.file.path} holds something that is in no version", hint=FORCED)
        if not status.clean:
            away = "use --force" if force_helps else "run kbstore checkout HEAD --force"
            raise UncommittedChanges(
                f"{self.file.path} has changes that are in no version",
                hint=f"kbstore diff shows them; commit them, or {away}, which keeps a copy (kbstore lost)",
            )

    # ---- the file after a version has landed ----------------------------------------------------------------------

    def _followed(self, version: Version, status: Status | None) -> Version:
        """Update the file to a version, and return the version; with None as `status`, overwrite any content."""
        with landed(version):
            if status is None:
                self._write(version, None, force=True)
            else:
                self._follow(version, status.content)
        return version

    def _follow(self, version: Version, content: FileContent | None) -> None:
        """Write a version into a file without uncommitted changes; leave a file with newer edits alone.

        Args:
            version: The version.
            content: The content of the file at the last reading; None if there was no file.
        """
        for _ in range(_TRIES):
            try:
                self._write(version, content)
                return
            except FileChanged:
                try:
                    status = self.status()
                except (InvalidJSON, WorkFileError):
                    break
                if not status.clean:
                    break
                if status.content is not None and status.base.seq >= version.seq:
                    return  # another command wrote this version or a newer one
                content = status.content
        self._note_left()

    def _bring_in(self, version: Version, committed: JSON, content: FileContent) -> None:
        """Write a version into a file with other, uncommitted changes, and merge both."""
        try:
            landing = self._document(version)
            document = self._together(committed, content.value, landing, version)
            self._tracked.write(version, document, content, dirty=True)
        except ConflictError:
            self.notes.append(
                f"others changed what is uncommitted in {self.file.path.name} too, so it was left as it is, without "
                "their changes; kbstore update takes them in"
            )
        except FileChanged:
            self._note_left()

    def _note_already(self, held: str, start: Version, state: FileState | None) -> None:
        """Note that others made the same change, if this is the reason for making no version."""
        if held == start.state:
            if state is None or state.pending or not 0 < state.seq < start.seq:
                return
            who = f"{start.name} by {start.author}"
        else:
            newer = [*self.store.log(start, limit=2)]
            who = f"{newer[0].name} by {newer[0].author}" if len(newer) == 1 else f"the versions after {start.name}"
        self.notes.append(
            f"the changes in {self.file.path.name} are in {who} already; if they count something, it was counted once"
        )

    def _note_left(self) -> None:
        self.notes.append(f"{self.file.path.name} has changes that are in no version, and was left as it is")

    def _note_elsewhere(self, command: str) -> None:
        """Note that the file is left alone; or refuse, if the open branch was not chosen explicitly.

        Raises:
            BaseUnknown: The open branch is the project's, and the file follows another branch.
        """
        name, branch = self.file.path.name, self.store.branch
        if branch == self._branch:
            raise BaseUnknown(
                f"{name} follows {self.follows}, and this would work on {branch}",
                hint=f"kbstore --branch {self.follows} {command} works there; to leave that branch: kbstore checkout "
                f"--branch {branch}",
            )
        self.notes.append(f"this is branch {branch}; {name} follows {self.follows} and was left as it is")

    def _write(
        self,
        version: Version,
        content: FileContent | None,
        model: FileContent | None = None,
        *,
        force: bool = False,
    ) -> None:
        document = self.store.checkout(version)
        base = self._remembered_base()
        if content is not None and base is not None:
            document, content = self._in_order(document, content, base, version)
        self._tracked.write(version, document, content, model=model, force=force, own_order=force and base is not None)
        if self._tracked.taken:
            self._note_taken(self._tracked.taken)
        if self._tracked.kept:
            self.notes.append(f"a copy of what {self.file.path.name} held is kept: kbstore lost")

    def _in_order(
        self, document: JSON, content: FileContent, base: Version, version: Version
    ) -> tuple[JSON, FileContent]:
        """Return the document in the order for the file, and the file's content as the model for writing.

        Objects whose order in the version differs from the order in the file's base get the order of the version;
        otherwise the next commit would undo this order. All other objects keep the order of the file.
        """
        if not base.seq or self.store.same_order(base, version):
            return document, content
        before = self.store.checkout(base)
        return in_order_of(document, content.value, base=before), replace(content, orders=False)

    def _note_taken(self, literals: frozenset[str]) -> None:
        """Note the numbers with more digits in the file than in the version, but with the same rounded value."""
        known = self._tracked.load().rounded - literals
        for pointer, literal in locate_inexact(self.file.raw(), _SHOWN, known):
            self.notes.append(
                f"{self.file.path.name} keeps the number {shorten(literal)} at {pointer or 'the top'}; "
                f"versions have it rounded to {orjson.dumps(float(literal)).decode()}"
            )
        if len(literals) > _SHOWN:
            self.notes.append(f"and {len(literals) - _SHOWN:,} more such numbers")

    def _remembered_base(self) -> Version | None:
        """Return the remembered base of the file; None if the open branch does not contain the base, or for v0."""
        state = self._tracked.state()
        found = remembered(self.store, state) if state is not None else None
        return found if found is not None and found.seq else None

    # ---- the base of the file -------------------------------------------------------------------------------------

    def _refuse_other_file(self, state: FileState | None) -> None:
        """Refuse a file that is not the project's and was never taken from this history: most likely a mistake."""
        own = self._project.file if self._project is not None else None
        if own is None or os.path.realpath(own) == os.path.realpath(self.file):
            return
        if state is None or not self._is_known(state):
            raise OtherFile(
                f"{self.file.path} was never taken from this history, which is that of {own.name}",
                hint="give it a folder and a history of its own: kbstore init FILE"
                if own.exists()
                else f"if it is {own.name} under another name: kbstore mv {own.name} {self.file.path}",
            )

    def _refuse_other_branch(self, state: FileState | None) -> None:
        """Refuse a file that follows another branch, if the open branch is only the project's default.

        Another open branch than the project's was chosen by the user, so the commit goes there.
        """
        if state is None or not self.elsewhere or self.store.branch != self._branch:
            return
        if (base := remembered(self.store, state)) is None:
            return  # finding the base says that this branch does not contain it
        name, branch = self.file.path.name, self.follows
        raise BaseUnknown(
            f"{name} follows {branch}, and this would commit to {self.store.branch}",
            hint=f"kbstore --branch {branch} commit commits there; here: kbstore commit --base v{base.seq}",
        )

    def _is_known(self, state: FileState) -> bool:
        """Return whether the base of a file is a version of this store, as far as the open branch shows."""
        if state.branch != self.store.branch:
            return self.store.branch_now(state.branch) is not None
        return remembered(self.store, state) is not None

    def _base(self, content: FileContent, state: FileState | None, store: Store | None = None) -> Version:
        made = self._made_of(content, state) if store is None or store is self.store else None
        if made is not None and state is not None and made.parents[:1] == (state.id,):
            return made
        store = store or self.store
        try:
            base = find_base(store, self.file.path.name, state, content)
        except BaseUnknown as fault:
            fault.hint = fault.hint if self._own else FORCED
            raise
        if state is not None and state.id and base.id != state.id and remembered(store, state) is None:
            self._note_other_base(state, base)
        return base

    def _note_other_base(self, state: FileState, base: Version) -> None:
        """Note that the file's base is missing, and that a version with equal content serves as the base."""
        told = (
            f"{self.file.path.name} was taken from {state.name or f'v{state.seq}'}, which this store does not contain; "
            f"{base.name} has the same content, so it counts as taken from that"
        )
        if told not in self.notes:
            self.notes.append(told)
