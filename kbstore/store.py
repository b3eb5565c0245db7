"""The store: a knowledge base with its whole history, as one object.

Threads can share a store object. Processes can share a store, if each process opens the store by itself. Methods
return new values: changing a returned value changes nothing in the store until the value is committed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from kbstore import backends
from kbstore.backends.base import Backend, Collection, Snapshot
from kbstore.commit.group import GroupWriter, Member, Queue, fail_all
from kbstore.commit.staging import (
    Built,
    name_refused,
    order_of_restore,
    proposals_of,
    refuse_reuse,
    restores,
    tree_of,
)
from kbstore.commit.writer import Foreign, Proposal
from kbstore.errors import ConflictError, CorruptStore, KBStoreError, PatchError, ReadOnlyStore, RevisionError
from kbstore.history.bases import Seen
from kbstore.history.branch import MAIN_BRANCH, REFS_LOG, Entry, readable_bodies, readable_records
from kbstore.history.change import UNSET, Change, OwnId, check_text, check_write_id, default_author, may_have_landed
from kbstore.history.event import decode_event, event_id
from kbstore.history.index.authors import Who
from kbstore.history.reader import Reader, refolding
from kbstore.history.refs import RefEvent, Refs, decode_ref, no_branch
from kbstore.history.revision import check_name, parse_revision
from kbstore.history.settings import check_setting
from kbstore.history.snapshot_writer import Snapshotter
from kbstore.history.snapshots import COMPLETE, read_note, usable, worth_keeping
from kbstore.history.tree_patch import operations_between
from kbstore.history.version import Version
from kbstore.jsondoc.document import Base, Document, with_base
from kbstore.kit.clock import Clock, SystemClock, format_time, pause
from kbstore.kit.clock_notes import clock_notes
from kbstore.tree.builder import root_of
from kbstore.verify.caches import INDEXES
from kbstore.verify.verify import Report, verify_store

if TYPE_CHECKING:
    from kbstore.history.change import PatchLike


_BASES = 10
"""How many versions before the landed version may be the base of a document that does not remember its base."""


class Store(Reader):
    """A knowledge base and its history. Made by `create` or `open`, used as a context manager.

    Attributes:
        damage: The damaged caches set aside since the store was opened, a sentence each.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        branch: str = MAIN_BRANCH,
        clock: Clock | None = None,
        author: str = "",
        collection: str | None = None,
        refs: Refs | None = None,
    ) -> None:
        super().__init__(backend, branch, collection, refs)
        self._clock = clock or SystemClock()
        self._author = author
        self._queue = Queue()
        self._write_branch()

    def on(self, branch: str) -> "Store":
        """Return a handle of the same store on another branch, for tools that visit many branches.

        Both handles share the tags and branches read so far, so that a thousand branches are not read a thousand times.
        """
        return Store(self._backend, branch=branch, refs=self._refs)

    def _write_branch(self) -> None:
        self._snapshotter = Snapshotter(self._backend, self._line, self._nodes, self._touched, self._orders)
        self._writer = GroupWriter(
            self._backend,
            self._line,
            self._nodes,
            self._states,
            self._orders,
            self._clock,
            self._snapshotter,
            self._identities,
        )
        self._began = False

    def _renew(self) -> None:
        super()._renew()
        self._write_branch()

    @classmethod
    def create(
        cls,
        location: str | os.PathLike[str],
        document: Any = None,
        *,
        message: str = "first version",
        author: str = "",
        clock: Clock | None = None,
        collection: str | None = None,
        insecure: bool = False,
    ) -> Self:
        """Make a new store, with a first version if a document is given.

        Args:
            location: A file, a folder (which then holds ``kb.db``), or a URL such as ``memory:``.
            document: The first version's document; `None` for a store without a version, at seq 0. (To begin with the
                document ``null``, commit ``null``.)
            message: The first version's message.
            author: The author of each commit without an author.
            clock: Gives the time; the machine's clock by default.
            collection: Pointer to the container of the entries; by default the largest container.
            insecure: Speak to a server on another host without TLS, if the URL says so.

        Raises:
            StoreExists: The location already has a store.
            InvalidJSON: The document is not JSON; nothing was made.
        """
        tree = root_of(document) if document is not None else None
        store = cls(
            backends.create_backend(os.fspath(location), insecure=insecure),
            clock=clock,
            author=author,
            collection=collection,
        )
        if tree is not None:
            store._commit_many([Change(Built(document, tree), None, message, author)], base=None, rebase=True)
            store._seen = Seen(store._opening())  # every thread has seen the first version
        return store

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        read_only: bool = False,
        *,
        branch: str = MAIN_BRANCH,
        author: str = "",
        clock: Clock | None = None,
        collection: str | None = None,
        insecure: bool = False,
    ) -> Self:
        """Open a store. Costs a few reads, whatever the size of the store.

        Raises:
            StoreNotFound: The location has no store.
            RevisionError: The store has no such branch.
        """
        backend = backends.open_backend(os.fspath(location), read_only=read_only, insecure=insecure)
        try:
            return cls(backend, branch=branch, clock=clock, author=author, collection=collection)
        except BaseException:
            backend.close()
            raise

    def close(self) -> None:
        """Release the store's files. Closing twice is allowed."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- writing --------------------------------------------------------------------------------------------------

    def commit(
        self,
        document: Any = UNSET,
        *,
        patch: "PatchLike | None" = None,
        message: str = "",
        author: str = "",
        tags: Sequence[str] = (),
        base: "str | int | Version | None" = None,
        rebase: bool = True,
        write_id: str | None = None,
        allow_empty: bool = False,
        authored: datetime | None = None,
        meta: Mapping[str, Any] | None = None,
        keep_order_changes: bool = False,
    ) -> Version:
        """Make a version from a whole new document or from a patch; the version is durable when the call returns.

        Args:
            document: The new document; the differences from `base` are committed. `None` is the document ``null``,
                unless `patch` is given. A checked-out document then remembers the new version.
            patch: RFC 6902 operations instead: dicts, a ``jsonpatch.JsonPatch``, or JSON text.
            message: The reason for the change.
            author: The author; the store's default author if empty.
            tags: Labels.
            base: The version that the change was made from. A checked-out document remembers its version as the
                default. For another document, the default is the newest version that this thread has seen on this
                store object (by `head`, `checkout`, `get` or a commit; at first the head at opening). A patch is
                applied to the newest version at the moment of landing: give the base if the pointers in the patch
                were read from a version.
            rebase: Carry the change over to a newer head if nothing collides; False refuses a newer head.
            write_id: Identifies this commit. If the commit has landed, a repeated call returns the version and commits
                nothing. The same id with another change is refused.
            allow_empty: Make a version even if nothing changes.
            authored: The time of writing, if not now.
            meta: Any JSON, for integrations.
            keep_order_changes: Make a version even if only the order of members changes. (Together with other changes,
                the order is always kept.)

        Returns:
            The version; if nothing changed, the head, with `Version.created` False.

        Raises:
            ConflictError: The change collides with a change committed since `base`.
            PatchError: The patch does not apply.
            InvalidJSON: The document is not JSON.
            OutcomeUnknown: The commit may or may not have landed; repeat the call with the error's `write_id`.
            KBStoreError: The write id landed with another change.
        """
        change = Change(document, patch, message, author, tags, authored, meta, allow_empty, keep_order_changes)
        return self.commit_many([change], base=base, rebase=rebase, write_id=write_id)[0]

    def commit_many(
        self,
        changes: Iterable[Change | Mapping[str, Any]],
        *,
        base: "str | int | Version | None" = None,
        rebase: bool = True,
        write_id: str | None = None,
    ) -> list[Version]:
        """Make several versions in one durable write: all of the versions land, or no version does.

        Args:
            changes: `Change` objects, or mappings with the same fields. Each document follows the change before it.
            base: As for `commit`, for the first change. By default the common base of the documents.
            rebase: As for `commit`.
            write_id: As for `commit`.

        Returns:
            One version for each change.

        Raises:
            KBStoreError: As for `commit`. If there are several changes, the message names the refused change, counted
                from 0.
        """
        given = [c if isinstance(c, Change) else Change(**c) for c in changes]
        patches = all(c.patch is not None and not c.has_document for c in given)
        if self._backend.shares_slots and base is None and rebase and given and patches:
            token = write_id if write_id is not None else self._clock.token()
            return self._commit_together(Member(given, token, sought=may_have_landed(write_id)))
        return self._commit_many(given, base=base, rebase=rebase, write_id=write_id)

    @refolding
    def _commit_many(
        self,
        given: Sequence[Change],
        *,
        base: "str | int | Version | None",
        rebase: bool,
        write_id: str | None = None,
    ) -> list[Version]:
        with self._lock:
            self._refuse_read_only()
            if not given:
                return []
            token = write_id if write_id is not None else self._clock.token()
            if may_have_landed(write_id) and (landed := self._find_write(write_id)) is not None:
                self._refuse_another(write_id, landed, given, base)
                return self._remembered(given, self._landed(landed, len(given)), None)
            self._begin()
            start = self._start(given, base, rebase)
            proposals = self._proposals(given, start)
            try:
                entries = self._writer.commit(
                    proposals,
                    base=start,
                    rebase=rebase,
                    write_id=token,
                    refuse_twin=lambda numbers: self._refuse_another(write_id, numbers, given, base, start),
                )
            except PatchError as fault:
                self._name_refused(proposals, fault)
                raise
            return self._remembered(given, self._committed(entries), proposals)

    def _commit_together(self, member: Member) -> list[Version]:
        """Commit patches together with the patches of other waiting threads; the first thread commits for all."""
        taken: list[Member] = []
        try:
            if self._queue.join(member):
                with self._lock:
                    taken = self._queue.take()
                    self._refolded(lambda: self._commit_group(taken))
                    for one in taken:
                        if one.fault is None and one.result is None:
                            one.result = self._committed(one.entries)
        except BaseException as fault:
            if not member.leads:
                raise
            fail_all(taken or [member], fault, member)
        finally:
            if member.leads:
                self._queue.leave(taken)
        if member.fault is not None:
            raise member.fault
        return self._remembered(member.given, member.result, None)

    def _commit_group(self, members: Sequence[Member]) -> None:
        self._refuse_read_only()
        self._begin()
        waiting = list(members)
        while waiting:
            # Of several members with the same id, the first is tried; the others then find the result.
            turn = {member.write_id: member for member in reversed(waiting)}
            chosen = [member for member in waiting if turn[member.write_id] is member]
            waiting = [member for member in waiting if turn[member.write_id] is not member]
            self._commit_members(chosen)

    def _commit_members(self, members: Sequence[Member]) -> None:
        """Commit the members together; no two members have the same write id."""
        ready = []
        for member in members:
            member.fault = None
            try:
                if member.sought:
                    check_write_id(member.write_id)
                    landed = self._backend.find_write(self._line.log, member.write_id)
                    if landed is not None:
                        self._refuse_another(member.write_id, landed, member.given, None)
                        member.result = self._landed(landed, len(member.given))
                        continue
                member.proposals = self._proposals(member.given, None)
            except CorruptStore:
                raise
            except (KBStoreError, TypeError, ValueError) as fault:
                member.fault = fault
                continue
            if not member.sought:  # in case the group is tried again
                member.sought, member.write_id = True, OwnId(member.write_id)
            ready.append(member)
        if ready:
            self._writer.commit_group(
                ready, lambda member, numbers: self._refuse_another(member.write_id, numbers, member.given, None)
            )
        for member in ready:
            if isinstance(member.fault, PatchError):
                self._name_refused(member.proposals, member.fault)

    def _committed(self, entries: Sequence[Entry | None]) -> list[Version]:
        head = self._writer.known_head()
        versions = []
        newest = head.entry if all(e is None for e in entries) else None
        for at, entry in enumerate(entries):
            if entry is not None:
                newest = entry
            elif newest is None:
                first = next(e for e in entries[at:] if e is not None)
                newest = self._line.entry(first.event.seq - 1) if first.event.seq > 1 else None
            notes = self._notes(entry) if entry is not None else ()
            versions.append(Version(newest, self._line, self._patch_of, created=entry is not None, notes=notes))
        return versions

    def _notes(self, entry: Entry) -> tuple[str, ...]:
        return clock_notes(entry.dated, self._backend.server_time()) if entry.dated is not None else ()

    def landed(self, write_id: str) -> Version | None:
        """Return the version made by the commit or restore with this write id; `None` if no such write landed."""
        with self._lock:
            found = self._find_write(write_id)
            return self._landed(found, 1)[0] if found is not None else None

    def _find_write(self, write_id: str) -> tuple[int, int] | None:
        check_write_id(write_id)
        self._begin()  # read the head first, so that a write that lands from now on comes after the head
        return self._backend.find_write(self._line.log, write_id)

    def _landed(self, numbers: tuple[int, int], wanted: int) -> list[Version]:
        return [self._version(e) for e in self._writer.landed(numbers, wanted)]

    def _refuse_another(
        self,
        write_id: str | None,
        numbers: tuple[int, int],
        given: Sequence[Change],
        base: "str | int | Version | None",
        start: Base | None = None,
    ) -> None:
        """Refuse changes if the write id landed with other changes: made again, they must lead to the same content.

        Args:
            write_id: The id.
            numbers: The records of the write that landed.
            given: The changes.
            base: The base as the caller named it.
            start: The base that the changes were made for, if known.

        Raises:
            KBStoreError: The id belongs to another change; the message names the version of that change.
        """
        if isinstance(write_id, OwnId) or not may_have_landed(write_id):
            return  # nobody else has this id
        entries = self._writer.landed(numbers, numbers[1] - numbers[0] + 1)
        before, made = entries[0].event.seq - 1, entries[-1]
        last = given[-1].document if given[-1].has_document else None
        if given[-1].has_document:
            tree = tree_of(given[-1])
            known = last.base if isinstance(last, Document) else None
            after = known is not None and known.id == made.id and known.content is not None and known.content
            if tree.address.hex() == made.event.state or (after and after.address == tree.address):
                return
            newest = known or self._seen.newest()
            if newest.seq > before and tree.address.hex() == self._line.entry(newest.seq).event.state:
                return  # the base has the change already, so nothing changes
        try:
            exact = [start] if start is not None and start.seq <= before else []
            for at in chain(exact, self._possible_bases(given, base, before)):
                if self._writer.leads_to(self._proposals(given, at), at, before, made.event.state):
                    return
        except CorruptStore:
            return  # the write has landed, and damaged versions cannot be compared
        refuse_reuse(self._version(made), write_id)

    def _possible_bases(
        self, given: Sequence[Change], base: "str | int | Version | None", before: int
    ) -> Iterator[Base]:
        """Return the possible bases of changes that landed after version `before`; a remembered base may be newer."""
        documents = [change.document for change in given if change.has_document]
        named = self._start(given, base, rebase=True) if base is not None else None
        if named is None:
            named = next((one.base for one in documents if isinstance(one, Document) and one.base), None)
        if named is not None and named.seq <= before:
            yield named
            return
        for seq in range(before, max(-1, before - (_BASES if documents else 1)), -1):
            yield Base(seq, self._line.entry(seq).id if seq else "")

    def _proposals(self, changes: Sequence[Change], base: Base | None) -> list[Proposal]:
        root = base.content if base is not None else None
        if base is not None and base.seq and root is None and any(change.has_document for change in changes):
            root = self._tree(self._line, self._line.entry(base.seq)).root
        start = self._line.entry(base.seq) if base is not None and base.seq else None
        order = (lambda: self._rules(self._line, start)) if start is not None else None
        return proposals_of(changes, root, self._nodes, self._author, self._identities, order)

    def _start(self, given: Sequence[Change], base: "str | int | Version | None", rebase: bool) -> Base | None:
        """Return the base of the changes; `None` for patches, since a patch is applied to the newest version."""
        if base is not None:
            line, entry = self._resolve(base)
            found = Base(entry.event.seq, entry.id) if entry is not None else Base(0, "")
            return found if line is self._line else self._checked(found, "the base")
        documents = [change.document for change in given if change.has_document]
        if not documents:
            return None if rebase else Base(self._writer.head().seq, "")
        bases = [document.base for document in documents if isinstance(document, Document) and document.base]
        if not bases:
            return self._seen.newest()
        if any(one[:2] != bases[0][:2] for one in bases):
            shown = ", ".join(sorted({f"v{one.seq}" for one in bases}))
            raise ConflictError(
                f"these documents were checked out at several versions ({shown})",
                hint="commit one after the other, or name the base of the first one",
            )
        return self._checked(bases[0], "the version of this document")

    def _checked(self, base: Base, what: str) -> Base:
        """Return the base unchanged, if the base is a version of this branch.

        Raises:
            RevisionError: The base is a version of another branch or store.
        """
        head = self._writer.known_head()
        there = head.entry if head.seq == base.seq else next(self._line.entries(base.seq, base.seq), None)
        if base.id != (there.id if there is not None else ""):
            raise RevisionError(
                f"{what}, v{base.seq} ({base.id[:8]}), is not a version of {self.branch!r} in {self.location}",
                hint="name the version here that the change is to be compared with, for example base='HEAD'",
            )
        return base

    def _remembered(
        self, given: Sequence[Change], versions: list[Version], proposals: Sequence[Proposal] | None
    ) -> list[Version]:
        """Return the versions, now seen by this thread; each document remembers the version as a base.

        If a version also contains changes of others, the document differs from the version. The document's content is
        then remembered beside the version, so that the next commit undoes nothing of the others' work. After a patch,
        this thread has seen the new version only if the thread had seen the version before it.

        Args:
            given: The committed changes.
            versions: The version of each change.
            proposals: The proposal made of each change; None for a write that landed earlier, since the documents may
                have been changed later.
        """
        for at, (change, version) in enumerate(zip(given, versions, strict=True)):
            base = Base(version.seq, version.id)
            tree = None
            if change.has_document:
                tree = proposals[at].tree if proposals is not None else tree_of(change)
            if tree is None:
                if version.created:
                    self._seen.patched(version.seq - 1, base)
                continue
            if tree.address.hex() != version.state:
                if not version.created or proposals is None:
                    continue
                base = base._replace(content=tree)
            self._seen.saw(base)
            if isinstance(change.document, Document):
                change.document.base = base
        return versions

    def _name_refused(self, proposals: Sequence[Proposal], fault: PatchError) -> None:
        if len(proposals) > 1:
            head = self._tree(self._line, self._writer.known_head().entry)
            name_refused(proposals, head.root, self._nodes, fault)

    def graft(self, events: Sequence[Foreign], *, accept_future: bool = False) -> None:
        """Append events of another store unchanged, in one durable write (see `kbstore.sync.jsonl`).

        Args:
            events: The events, in order.
            accept_future: Accept also events dated more than a day ahead of this machine's clock.

        Raises:
            CorruptStore: The events do not follow the head, or an event contradicts the hashes in the event.
            SlotTaken: Another writer committed meanwhile.
        """

        def graft() -> None:
            self._begin()
            self._check_merged(events)
            self._writer.graft(events, self._clock.token(), accept_future=accept_future)

        with self._lock:
            self._refolded(graft, damaged=False)
            self._saw(self._line, self._writer.known_head().entry)

    def _check_merged(self, events: Sequence[Foreign]) -> None:
        """Check that this store has, on any branch, each version named as a second parent by a merge from elsewhere.

        Raises:
            CorruptStore: Such a version is missing.
        """
        if not any(foreign.event.parents[1:] for foreign in events):
            return
        logs = [log for log in self._backend.logs() if log != REFS_LOG]
        known = {event_id(record.header) for log in logs for record in self._backend.read(log, 1)}
        for foreign in events:
            for parent in foreign.event.parents[1:]:
                if parent not in known:
                    raise CorruptStore(
                        f"{foreign.where} merges the version {parent[:12]}, which is not here",
                        hint="run: kbstore verify there",
                    )
            known.add(event_id(foreign.header))

    def graft_ref(self, header: bytes) -> bool:
        """Append another store's change of a tag or branch unchanged; return False if the change is here already.

        Raises:
            CorruptStore: The change does not follow the newest change here, or this store has another change at the
                same place.
            SlotTaken: Another writer changed a tag or branch meanwhile.
        """
        with self._lock:
            self._refuse_read_only()
            event = decode_ref(header, 0)
            if event.seq > self._refs.known().slot:  # a known event may name a branch that was renamed since
                self._check_target(event)
            return self._refs.graft(header, self._clock.token())

    def _check_target(self, event: RefEvent) -> None:
        """Check that this store has the version named by a tag or branch from elsewhere.

        Raises:
            CorruptStore: The version is missing.
        """
        if event.target is None or event.old is not None:
            return
        try:
            there: str | None = self._line_of(event.branch).entry(event.version).id
        except (RevisionError, CorruptStore):
            there = None
        if there != event.target:
            raise CorruptStore(
                f"the {event.kind} {event.name!r} names the version {event.target[:12]}, which is not here"
            )

    def replay_ref(self, change: RefEvent, *, after: int) -> None:
        """Append another store's change of a tag or branch as a new change, right after this store's change `after`.

        Raises:
            CorruptStore: The version named by the change is missing here.
            SlotTaken: Another writer changed a tag or branch meanwhile.
        """
        with self._lock:
            self._refuse_read_only()
            self._check_target(change)
            self._refs.replay(change, self._clock.token(), after=after)

    @contextmanager
    def edit(
        self, *, message: str = "", author: str = "", tags: Sequence[str] = (), allow_empty: bool = False
    ) -> Iterator[Any]:
        """Change the newest document in place: ``with kb.edit(message="...") as doc: doc["votes"] += 1``.

        The changes are committed at the end of the block, based on the version read at the start. If the block raises,
        nothing is committed. The document must be an object or an array; for another document use `commit`. A block
        runs once: if other writers change the same places, use `retry`, which can call a function again.
        """
        document = self._newest_document()
        yield document
        self.commit(document, message=message, author=author, tags=tags, allow_empty=allow_empty)

    def retry(
        self,
        change: Callable[[Any], object],
        *,
        attempts: int = 100,
        message: str = "",
        author: str = "",
        tags: Sequence[str] = (),
        allow_empty: bool = False,
        write_id: str | None = None,
    ) -> Version:
        """Change the newest document by a function, again if the change collides with another writer's.

        ``kb.retry(lambda doc: doc["log"].append("restarted"), message="...")``. Each attempt begins with the newest
        document and ends with a commit; between attempts there is a short random pause.

        Args:
            change: Gets the newest document (``{}`` if the store has no version yet), changes it in place, and returns
                `None` or the document. `change` should do nothing else, since there may be several calls.
            attempts: Maximum number of calls of `change`; 10 are too few if several processes change one value all the
                time.
            message: As for `commit`.
            author: As for `commit`.
            tags: As for `commit`.
            allow_empty: As for `commit`.
            write_id: As for `commit`.

        Raises:
            ConflictError: The last attempt collided with another writer's change, too; nothing was committed.
            KBStoreError: `change` returned another value. An error raised by `change` ends the attempts and is passed
                on.
        """
        # Not compared with a landed change: the function may get a document that has this change already.
        own = OwnId(write_id) if write_id is not None else None
        for attempt in range(1, attempts + 1):
            document = self._newest_document()
            found = change(document)
            if found is not None and found is not document:
                raise KBStoreError(
                    f"the function given to retry returned a value of type {type(found).__name__}, not None",
                    hint="change the document that it gets in place; nothing was committed",
                )
            try:
                return self.commit(
                    document, message=message, author=author, tags=tags, allow_empty=allow_empty, write_id=own
                )
            except ConflictError:
                if attempt == attempts:
                    raise
                pause(attempt)
        raise KBStoreError(f"attempts is {attempts}; it must be at least 1")

    def _newest_document(self) -> Any:
        head = self.head()
        return self.checkout(head) if head.seq else with_base({}, Base(0, ""))

    @refolding
    def restore(
        self,
        revision: "str | int | Version",
        *,
        message: str | None = None,
        author: str = "",
        tags: Sequence[str] = (),
        write_id: str | None = None,
    ) -> Version:
        """Make a new version with the content of an older version. No version is removed.

        Args:
            revision: The older version.
            message: The reason; by default "Restore" and the name of the older version.
            author: As for `commit`.
            tags: As for `commit`.
            write_id: As for `commit`.

        Raises:
            ConflictError: Another change was committed since this store object last read the head.
        """
        with self._lock:
            if may_have_landed(write_id) and (landed := self._find_write(write_id)) is not None:
                self._refuse_another_restore(write_id, landed, revision)
                return self._shown(self._landed(landed, 1)[0])
            self._begin()
            line, entry = self._resolve(revision)
            if entry is None:
                raise RevisionError("v0 is the empty beginning: there is nothing to restore")
            seen = max(self._writer.known_head().seq, self._seen.newest().seq)
            head = self._line.entry(seen) if seen else None
            target = self._tree(line, entry).tree
            current = self._tree(self._line, head).root
            version = self._version(entry)
            note = message if message is not None else f"Restore {version.name}"
            author = author or self._author or default_author()
            check_text(author, note, tags)
            operations = operations_between(current, target, self._nodes, self._identities)
            proposal = Proposal(operations, author, note, tuple(tags), meta={"restores": version.id})
            rules = self._rules(line, entry)
            proposal.order, proposal.keep_order = order_of_restore(rules, self._nodes), True
            token = write_id if write_id is not None else self._clock.token()
            entries = self._writer.commit(
                [proposal],
                base=Base(seen, ""),
                rebase=False,
                write_id=token,
                refuse_twin=lambda numbers: self._refuse_another_restore(write_id, numbers, revision),
            )
            return self._shown(self._committed(entries)[0])

    def _refuse_another_restore(
        self, write_id: str | None, numbers: tuple[int, int], revision: "str | int | Version"
    ) -> None:
        """Refuse a restore if the write id landed with another change, as `_refuse_another` does for commits."""
        if isinstance(write_id, OwnId) or not may_have_landed(write_id):
            return
        made = self._landed(numbers, 1)[0]
        if not restores(self, made, revision):
            refuse_reuse(made, write_id)

    def tag(
        self,
        name: str,
        revision: "str | int | Version" = "HEAD",
        *,
        force: bool = False,
        author: str = "",
        write_id: str | None = None,
    ) -> Version:
        """Name a version. An existing tag is moved only with `force`; the history keeps the earlier targets.

        Args:
            name: The tag.
            revision: The version.
            force: Move an existing tag.
            author: The author; the store's default author if empty.
            write_id: As for `commit`. All methods for changing tags and branches take a write id.

        Raises:
            RevisionError: The name is malformed or taken, or the version does not exist.
        """
        with self._lock:
            self._refuse_read_only()
            check_name(name)
            if (landed := self._landed_ref("tag", name, write_id, at=revision)) is not None:
                named, target = self._resolver.named_by(landed)
                return self._version(target, named)
            if name == MAIN_BRANCH or name in self._refs.read().branches:
                raise RevisionError(f"{name!r} is the name of a branch")
            line, entry = self._resolve(revision)
            if entry is None:
                raise RevisionError("v0 is the empty beginning and cannot be tagged")
            there = self._refs.read().tags.get(name)
            if there is None or there.target != entry.id:
                change = self._ref("tag", name, entry, author, branch=self._refs.read().named(line.log))
                if (landed := self._append_ref(change, write_id, must_be_new=not force, at=revision)) is not None:
                    named, target = self._resolver.named_by(landed)
                    return self._version(target, named)
            return self._version(entry, line)

    def untag(self, name: str, *, author: str = "", write_id: str | None = None) -> None:
        """Remove a tag; the history still shows that the tag existed.

        Raises:
            RevisionError: The tag does not exist.
        """
        with self._lock:
            self._refuse_read_only()
            if self._landed_ref("tag", name, write_id) is not None:
                return
            if name not in self._refs.read().tags:
                raise RevisionError(f"there is no tag {name!r}", hint="list them with: kbstore tag")
            change = self._ref("tag", name, None, author)
            self._append_ref(change, write_id, must_be_new=False)

    def create_branch(
        self, name: str, revision: "str | int | Version" = "HEAD", *, author: str = "", write_id: str | None = None
    ) -> None:
        """Start a branch at a version; open the branch with ``Store.open(location, branch=name)``.

        Raises:
            RevisionError: The name is malformed or taken, or the version does not exist.
        """
        with self._lock:
            self._refuse_read_only()
            check_name(name)
            if name == MAIN_BRANCH:
                raise RevisionError(f"the name {name!r} is taken")
            if self._landed_ref("branch", name, write_id, at=revision) is not None:
                return
            line, entry = self._resolve(revision)
            if entry is None:
                raise RevisionError("a branch starts at a version, and this store has none yet")
            log = "b" + self._clock.token()[1:]
            change = self._ref("branch", name, entry, author, branch=self._refs.read().named(line.log), log=log)
            self._append_ref(change, write_id, must_be_new=True, at=revision)

    def delete_branch(self, name: str, *, force: bool = False, author: str = "", write_id: str | None = None) -> None:
        """Remove a branch. The versions stay, and can be read by id; tags on the versions stay as well.

        Args:
            name: The branch.
            force: Remove the branch even if some versions are on no other branch.
            author: The author; the store's default author if empty.
            write_id: As for `commit`.

        Raises:
            RevisionError: The branch does not exist, is the main branch or the open branch, or (without `force`) has
                versions on no other branch.
        """
        with self._lock:
            self._refuse_read_only()
            if self._landed_ref("branch", name, write_id) is not None:
                return
            start = self._branch_to_change(name, "removed")
            if start.log == self._line.log:
                raise RevisionError(
                    f"the branch {name!r} is the one that is open, so it is not removed",
                    hint=f"open another one: kbstore --branch {MAIN_BRANCH} branch -d {name}",
                )
            if not force and (alone := self._only_on(name)):
                what = "1 version that is" if alone == 1 else f"{alone:,} versions that are"
                raise RevisionError(
                    f"the branch {name!r} has {what} on no other branch",
                    hint="--force removes the branch; what it holds can still be read by the ids of its versions",
                )
            change = self._ref("branch", name, None, author)
            self._append_ref(change, write_id, must_be_new=False)

    def rename_branch(self, old: str, new: str, *, author: str = "", write_id: str | None = None) -> None:
        """Give a branch another name, for every writer and every clone.

        Args:
            old: The present name.
            new: The new name.
            author: The author; the store's default author if empty.
            write_id: As for `commit`.

        Raises:
            RevisionError: The branch does not exist, is the main branch, or the new name is malformed or taken.
        """
        with self._lock:
            self._refuse_read_only()
            check_name(new)
            if new == MAIN_BRANCH:
                raise RevisionError(f"the name {new!r} is taken")
            if self._landed_ref("branch", new, write_id, old=old) is not None:
                return
            start = self._branch_to_change(old, "renamed")
            change = replace(
                self._ref("branch", new, None, author), old=old, target=start.target, version=start.version
            )
            self._append_ref(change, write_id, must_be_new=True)
            self._refs.read()
            if start.log == self._line.log:
                self.branch = new

    def _branch_to_change(self, name: str, what: str) -> RefEvent:
        state = self._refs.read()
        if name == MAIN_BRANCH:
            raise RevisionError(f"the main branch cannot be {what}")
        if name not in state.branches:
            raise no_branch(name, state)
        return state.branches[name]

    def _only_on(self, name: str) -> int:
        """Return how many versions of a branch are on no other branch."""
        own = self._line_of(name).segments[-1]
        number = self._backend.tail(own.log).number
        shared = 0
        for other in self._refs.read().branches:
            for segment in self._line_of(other).segments if other != name else ():
                if segment.log == own.log:
                    shared = max(shared, (segment.last or 0) - segment.offset)
        return number - min(shared, number)

    def set(self, name: str, value: Sequence[str] | None, *, author: str = "", write_id: str | None = None) -> None:
        """Change a setting, for every writer and every clone; `None` removes the setting.

        Args:
            name: ``collection``, or ``identity:`` and the pointer of an array.
            value: For ``collection``, the pointer of the container of the entries. For ``identity:``, the members that
                identify the array's elements.
            author: The author; the store's default author if empty.
            write_id: As for `commit`.

        Raises:
            KBStoreError: The setting does not exist, or cannot have this value.
        """
        with self._lock:
            self._refuse_read_only()
            check_setting(name, value)
            new = None if value is None else tuple(value)
            if self._landed_ref("setting", name, write_id, value=new) is not None:
                return
            if self.settings().get(name) != new:
                change = replace(self._ref("setting", name, None, author), value=new)
                self._append_ref(change, write_id, must_be_new=False)
                self._refs.read()

    def _append_ref(
        self,
        change: RefEvent,
        write_id: str | None,
        *,
        must_be_new: bool,
        at: "str | int | Version | None" = None,
    ) -> RefEvent | None:
        """Append a change of a name; return None, or the change that landed meanwhile with the same write id.

        Raises:
            KBStoreError: The id landed with a different change.
        """
        token = write_id or self._clock.token()
        if self._refs.append(change, token, must_be_new=must_be_new, may_be_there=write_id is not None):
            return None
        return self._landed_ref(change.kind, change.name, write_id, at=at, old=change.old, value=change.value)

    def _landed_ref(
        self,
        kind: str,
        name: str,
        write_id: str | None,
        *,
        at: "str | int | Version | None" = None,
        old: str | None = None,
        value: tuple[str, ...] | None = None,
    ) -> RefEvent | None:
        """Return the change of a name that landed with this id; None if no such change landed.

        Args:
            kind: The kind of the change.
            name: The changed name.
            write_id: The id.
            at: The version that got the name; None if the change removed the name, or names no version.
            old: The name before, if a branch was renamed.
            value: The new value of a setting.

        Raises:
            KBStoreError: The id belongs to a different change, so the id was given twice.
        """
        if write_id is None:
            return None
        check_write_id(write_id)
        landed = self._refs.landed(write_id)
        if landed is None:
            return None
        same = (landed.kind, landed.name, landed.old, landed.value) == (kind, name, old, value)
        if not same or (old is None and (landed.target is None) != (at is None)) or self._is_another(at, landed):
            raise KBStoreError(
                f"the write id {write_id!r} belongs to another change: the {landed.kind} {landed.name!r}",
                hint="use a new write id for each change",
            )
        return landed

    def _is_another(self, revision: "str | int | Version | None", landed: RefEvent) -> bool:
        """Return whether a revision names another version than `landed`.

        A revision that moves, such as a head or a tag, may have moved to a newer version since.
        """
        if revision is None:
            return False
        try:
            _, entry = self._resolve(revision)
        except RevisionError:  # perhaps the name of a removed branch
            return False
        if entry is None or entry.id == landed.target:
            return entry is None
        if isinstance(revision, str):
            parsed = parse_revision(revision)
            if parsed.seq is None and parsed.id_prefix is None:
                return entry.event.seq <= landed.version
        return True

    def _shown(self, version: Version) -> Version:
        """Return the version unchanged, marked as seen by this thread."""
        self._saw(self._line, version.entry)
        return version

    def _ref(
        self,
        kind: str,
        name: str,
        entry: Entry | None,
        author: str,
        *,
        branch: str = MAIN_BRANCH,
        log: str | None = None,
    ) -> RefEvent:
        author = author or self._author or default_author()
        check_text(author, "", ())
        return RefEvent(
            kind=kind,
            name=name,
            seq=0,
            time=format_time(self._clock.now()),
            author=author,
            target=entry.id if entry is not None else None,
            version=entry.event.seq if entry is not None else 0,
            branch=branch,
            log=log,
        )

    # ---- care -----------------------------------------------------------------------------------------------------

    def verify(self, head: str | None = None, **options: Any) -> Report:
        """Prove from the bytes that the history is whole; `kbstore.verify.verify.verify_store` has the options."""
        with self._lock:
            return verify_store(self, head=head, **options)

    @refolding
    def snapshot(self) -> bool:
        """Take a complete snapshot of the head now; return False if the head has no document."""
        with self._lock:
            self._begin()
            head = self._writer.head()
            state = self._tree(self._line, head.entry)
            if state.root is None:
                return False
            self._snapshotter.take(state, COMPLETE)
            return True

    def gc(self, *, dry_run: bool = False, indexes: bool = False) -> Collection:
        """Remove caches not worth their space, and pack cold data. No event and no other truth is ever removed.

        The newest snapshots are kept. Among the older snapshots, complete snapshots are kept wherever folding
        from the snapshot before would cost more than a fraction of decoding the document.

        Args:
            dry_run: Only report the planned work.
            indexes: First drop the indexes of touched entries, authors and members' order, for example because `verify`
                reports wrong indexes; a later read builds the indexes again when needed.

        Raises:
            DamagedVersion: A patch cannot be read. This patch and the later patches were not packed; all other work was
                done, except that no space was given back.
        """
        with self._lock:
            if not dry_run:
                self._refuse_read_only()
                if indexes:
                    self._drop_indexes()
            keep = {log: self._kept_snapshots(log) for log in self._backend.logs()}
            if not dry_run:
                self._touched.collect()
                if self._backend.remote:
                    Who(self._backend, self._line).build(1, self._line.tail()[1])
                self._states.forget()
            try:
                return self._backend.collect(keep, dry_run=dry_run)
            except CorruptStore:
                for _ in self._line.bodies(range(1, self._line.tail()[1] + 1)):
                    pass  # raises an error that names the version, if a patch is damaged
                raise

    def _drop_indexes(self) -> None:
        for name in self._backend.note_names():
            if name.startswith(INDEXES):
                self._backend.drop_notes(name)
        self._read_branch()
        self._write_branch()

    # ---- within ---------------------------------------------------------------------------------------------------

    def _kept_snapshots(self, log: str) -> list[int]:
        """Return the numbers of the snapshots to keep.

        A snapshot behind an unreadable patch is also kept: nothing else may lead to the state.
        """
        newest = self._backend.tail(log).number
        snapshots = [one for one in sorted(self._backend.snapshots(log)) if not self._deceives(log, newest, one)]
        kept = set(worth_keeping(snapshots))
        end = 0
        for snapshot, _, needed in usable(snapshots):
            if snapshot.number not in kept:
                wanted = range(end + 1, snapshot.number + 1)
                if len(readable_bodies(self._backend, log, wanted)) < len(wanted):
                    kept.update(s.number for s in needed)
            end = snapshot.number
        return sorted(kept)

    def _deceives(self, log: str, newest: int, snapshot: Snapshot) -> bool:
        """Return True if a snapshot holds another document than the version does, or belongs to no version."""
        note = read_note(snapshot)
        if note is None or snapshot.number > newest:
            return note is not None
        header = readable_records(self._backend, log, snapshot.number, snapshot.number).get(snapshot.number)
        try:
            return header is not None and decode_event(header, "it").state != note.root.hex()
        except KBStoreError:  # the version is damaged, and perhaps only the snapshot still has its document
            return False

    def _begin(self) -> None:
        """Prepare for writing, before the first node is loaded."""
        if not self._began:
            self._refuse_read_only()
            self._snapshotter.begin(self._writer.head().seq)
            self._states.forget()
            self._began = True

    def _forget_states(self) -> None:
        super()._forget_states()
        self._writer.forget()
        self._began = False  # the snapshots that the next snapshot builds on may be gone as well

    def _refuse_read_only(self) -> None:
        if self._backend.read_only:
            raise ReadOnlyStore(f"{self.location} was opened for reading only")
