"""A file together with the store that keeps its history: commit what was changed in it, take another version into it.

Each file has a *base*, the version that its content was taken from. What is committed is what differs from the base,
carried over to the head; so a file that was taken at v5 and is committed after v9 changes only what its author
changed. Nothing here ever overwrites what is in no version, unless it is told to.

Once a version has landed, no failure hides that: it is a `FileNotWritten`, which has the version. The same call with
the same write id then goes on with the file.
"""

import os
from collections.abc import Iterator, Sequence
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
        store: The store; it stays the caller's to close.
        file: The file.
        project: Where the file's base is remembered; without one a file is taken to be at the head.
        own: False for a file that a version is only to be written into: what is said of it leads to another file.
        mode: What the file gets where it is new.
        on_rounded: Accepts numbers that are rounded; see `TrackedFile`.

    Attributes:
        notes: What a person should know of the file after it was worked on, one sentence each.
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
        """The branch of the version that the file was taken from."""
        state = self._tracked.state()
        return (self.store.branch_now(state.branch) if state is not None else None) or self._branch

    @property
    def elsewhere(self) -> bool:
        """Whether the file follows another branch than the one that is open."""
        return self.follows != self.store.branch

    def status(self) -> Status:
        """What the file holds, and what of it is uncommitted.

        If the open branch does not contain the file's base, that is said of the branch that the file follows.

        Costs the file's digest where nothing was changed since it was last written or committed here.

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
            with suppress(WorkFileError, ProjectError):  # a read-only folder costs this note, and no more
                self._tracked.stay(base, content, state)
        return Status(base, head, content, diff, store.branch)

    def _followed_store(self) -> Store:
        """The store with the branch that the file follows."""
        return Store(self.store.backend, branch=self.follows, collection=self.store.collection())

    def load(self) -> FileContent:
        """What the file holds. Raises as `WorkFile.load`, with a hint at what could replace it."""
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
        """Commit what the file changed since its base (see `Store.commit`); the file then holds the new version.

        Args:
            message: As for `Store.commit`, also what follows it.
            author: Who.
            tags: Labels.
            base: The version that the file was taken from; the one that is remembered by default.
            rebase: Carry the change over to a newer head.
            allow_empty: Make a version also if nothing changed.
            write_id: Identifies this commit.
            places: Commit what is at these pointers alone; the rest stays uncommitted.

        Raises:
            WorkFileError: There is no file.
            OtherFile: The history is that of another file.
            BaseUnknown: The store does not contain the version that the file was taken from, and no `base` was given.
            ConflictError: Others changed the same places since the file's base.
            KBStoreError: The write id landed already, with another change; the file is left as it is.
            FileNotWritten: It landed. Calling this again with the same `write_id` goes on with the file.
            OutcomeUnknown: It is not known whether it landed. Calling this again with the same file settles it.
        """
        content, state = self._look()
        if content is None:
            content = self.load()  # raises what there is to say
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
                # Others' changes came between: the file gets them, so that its next commit does not take them back.
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
        """Commit a patch that was made for the file as it is; the file then holds the new version.

        Args:
            patch: JSON text of RFC 6902 operations.
            message: Why.
            author: As for `Store.commit`.
            tags: Labels.
            base: The version that the patch was made from, one of the open branch; the file's by default, unless it
                follows another branch. Then the file is left alone.
            rebase: As for `Store.commit`.
            write_id: As for `Store.commit`.

        Raises:
            UncommittedChanges: The file holds some.
            BaseUnknown: The file follows another branch than the project, whose branch is open.
            KBStoreError: As for `commit`.
            FileNotWritten: As for `commit`.
            OutcomeUnknown: It is not known whether it landed. Calling this again with the same patch settles it.
        """
        digest = sha256(b"patch " + patch).hexdigest()
        if not self._pending(digest):
            check_patch(self.store, write_id, patch, *([base] if base is not None else []))
        if self.elsewhere:
            self._note_elsewhere("apply")
            return self.store.commit(
                patch=patch, message=message, author=author, tags=tags, base=base, rebase=rebase, write_id=write_id
            )
        if (made := self._landed_before(digest, write_id)) is not None:
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
        """Make a version that equals an older one (see `Store.restore`); the file then holds it.

        A file that follows another branch is left alone.

        Args:
            revision: The older version.
            message: As for `Store.restore`.
            author: As for `Store.commit`.
            tags: Labels.
            write_id: As for `Store.commit`.
            force: Overwrite what is uncommitted.

        Raises:
            UncommittedChanges: The file holds some, and it was not forced.
            BaseUnknown: As for `apply`.
            KBStoreError: As for `commit`.
            FileNotWritten: As for `commit`.
        """
        check_restore(self.store, write_id, revision)
        if self.elsewhere:
            self._note_elsewhere("restore")
            return self.store.restore(revision, message=message, author=author, tags=tags, write_id=write_id)
        if (made := self._landed_before("", write_id)) is not None:
            return made
        status = None
        self.store.version(revision)  # whatever the file holds, there must be one
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
        """Whether the file has followed a commit that is repeated; refuses one of other content.

        Args:
            version: What landed with the write id.
            start: What the change is told against now.
            document: What is to be committed now.
            state: What is remembered of the file.
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
        """Remember a write whose outcome is unknown by the digest of what it wrote; gives the id of an earlier one."""
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
        """The id of a write of exactly this whose outcome is not known; it goes before one that is given."""
        state = self._tracked.state()
        return state.pending if state is not None and digest and state.pending_digest == digest else ""

    def _made_of(self, content: FileContent, state: FileState | None) -> Version | None:
        """The version that was made of this file, if the file could not follow it and was edited since."""
        if state is None or not state.pending or content.digest in (state.digest, state.pending_digest):
            return None
        known = remembered(self.store, state)
        version = self.store.landed(state.pending) if known is not None else None
        return version if version is not None and known is not None and version.seq > known.seq else None

    def _with_landed(self, content: FileContent, state: FileState | None) -> tuple[FileContent, FileState | None]:
        """Bring a version that was made of this file into it, with the changes of others that came in beside it.

        Returns:
            What the file holds then, and what is remembered of it.

        Raises:
            ConflictError: Others changed what was edited in the file since. What has landed is no part of it.
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
        """Return their document with what differs from `base` in ours; `version` names what they did last.

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

    def _landed_before(self, digest: str, given: str | None) -> Version | None:
        """The version that this very call made when it was made before; the file then follows it."""
        ident = self._pending(digest) or given
        version = self.store.landed(ident) if ident is not None and may_have_landed(ident) else None
        if version is None:
            return None
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
        content = None
        if not force:
            status = status or self.status()
            content = status.content
            if content is None or root_of(content.value).address.hex() != version.state:
                self.refuse_uncommitted(status)
        self._write(version, content, model, force=force)
        return version

    def update(self) -> Version:
        """Take the newest version into the file, and keep what is uncommitted in it. Adds nothing to the history.

        Raises:
            BaseUnknown: The open branch does not contain the version that the file was taken from.
            ConflictError: Others changed the same places; the file is as it was.
            FileChanged: The file was saved meanwhile.
        """
        content, state = self._look()
        if content is None:
            content = self.load()  # raises what there is to say
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
        """Write the newest version into the file, after versions came into the store.

        Returns:
            Why the file was left as it is; empty if it is at the newest version of the branch that it follows.

        Raises:
            FileNotWritten: It cannot be written.
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
        """Return whether the file equals a version but for the order of members. Raises as `load`."""
        document, held = plain(self.store.checkout(version)), self.load().value
        return bool(document == held and turned(document, held, 1))

    def note_base(self, version: Version) -> None:
        """Remember that the file as it is was taken from this version and changed, or not, since."""
        self._tracked.remember(version, "")

    def refuse_uncommitted(self, status: Status, *, force_helps: bool = True) -> None:
        """Raise `UncommittedChanges` where the file holds some; `force_helps` says so in the hint."""
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
        """The version, once the file holds it; `status` is None for a file that is overwritten in any case."""
        with landed(version):
            if status is None:
                self._write(version, None, force=True)
            else:
                self._follow(version, status.content)
        return version

    def _follow(self, version: Version, content: FileContent | None) -> None:
        """Write a version into a file whose content is in the history; a file that somebody edits is left alone.

        Args:
            version: The version.
            content: What the file held when it was looked at; None if there was no file.
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
        """Write a version into a file that holds more than what was committed of it; both are merged."""
        try:
            landing = self._document(version)
            document = self._together(committed, content.value, landing, version)
            self._tracked.write(version, document, content, dirty=True)
        except (ConflictError, FileChanged):
            self.notes.append(
                f"others changed what is uncommitted in {self.file.path.name} too, so it was left as it is"
            )

    def _note_already(self, held: str, start: Version, state: FileState | None) -> None:
        """Note that others made the same change, if that is why no version was made."""
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
        """Note that the file is left alone; or refuse, if nobody asked for the open branch.

        Raises:
            BaseUnknown: The open branch is the project's, and the file follows another one.
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
        """Order what is to be written into the file, and say how the file is to serve as its model.

        Objects that have another order in the version than in the file's base come in that one; else the next commit
        would undo it. Others keep the file's.
        """
        if not base.seq or self.store.same_order(base, version):
            return document, content
        before = self.store.checkout(base)
        return in_order_of(document, content.value, base=before), replace(content, orders=False)

    def _note_taken(self, literals: frozenset[str]) -> None:
        """Name numbers of the file that are more exact than those of the version, and equal them once rounded."""
        known = self._tracked.load().rounded - literals
        for pointer, literal in locate_inexact(self.file.raw(), _SHOWN, known):
            self.notes.append(
                f"{self.file.path.name} keeps the number {shorten(literal)} at {pointer or 'the top'}; "
                f"versions have it rounded to {orjson.dumps(float(literal)).decode()}"
            )
        if len(literals) > _SHOWN:
            self.notes.append(f"and {len(literals) - _SHOWN:,} more such numbers")

    def _remembered_base(self) -> Version | None:
        """The remembered base of the file; None if the open branch does not contain it, or it has no document."""
        state = self._tracked.state()
        found = remembered(self.store, state) if state is not None else None
        return found if found is not None and found.seq else None

    # ---- where it was taken from ----------------------------------------------------------------------------------

    def _refuse_other_file(self, state: FileState | None) -> None:
        """A file that was checked out of this history may be committed to it; any other is most likely a slip."""
        own = self._project.file if self._project is not None else None
        if own is None or os.path.realpath(own) == os.path.realpath(self.file):
            return
        if state is None or not self._is_known(state):
            raise OtherFile(
                f"{self.file.path} was never taken from this history, which is that of {own.name}",
                hint="give it a folder and a history of its own: kbstore init FILE"
                if own.exists()
                else f"if it is {own.name} under another name, rename it back, then: kbstore mv OLD NEW",
            )

    def _refuse_other_branch(self, state: FileState | None) -> None:
        """A file that follows another branch than the project's is committed there only if that one was asked for."""
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
        """Whether a file's base is a version of this store, as far as its open branch tells."""
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
        """Note that the file was taken from a version that is not here, and that another one serves as its base."""
        told = (
            f"{self.file.path.name} was taken from {state.name or f'v{state.seq}'}, which this store does not contain; "
            f"{base.name} has the same content, so it counts as taken from that"
        )
        if told not in self.notes:
            self.notes.append(told)
