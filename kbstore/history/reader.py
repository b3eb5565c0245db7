"""The reading half of a store: versions, documents, values, differences, tags. Changes only caches."""

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from kbstore.backends.base import Backend
from kbstore.diff.collection import entry_names, find_collection
from kbstore.diff.diff import Diff
from kbstore.diff.entry_pair import read_both, sides_reader
from kbstore.errors import CorruptStore, DamagedVersion, KBStoreError, RevisionError
from kbstore.history.bases import Seen
from kbstore.history.branch import MAIN_BRANCH, Entry, Line
from kbstore.history.change import UNSET
from kbstore.history.event import plain_body
from kbstore.history.index.authors import Who
from kbstore.history.index.orders import OrderIndex
from kbstore.history.index.paths import Touched
from kbstore.history.member_order import Orders
from kbstore.history.point_read import Lookup, require
from kbstore.history.refs import KnownIdentities, Refs
from kbstore.history.resolver import Resolver
from kbstore.history.settings import COLLECTION, identity_setting
from kbstore.history.state_cache import NOTHING, State, States
from kbstore.history.version import Version
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.document import Base, with_base
from kbstore.jsondoc.identity import Identities
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from kbstore.kit.clock import check_moment, format_time
from kbstore.kit.forks import Guard
from kbstore.order.reordered import turned
from kbstore.order.rules import NO_RULES, Rules
from kbstore.tree.builder import root_of
from kbstore.tree.diff import compare
from kbstore.tree.locate import Locator
from kbstore.tree.node import ARRAY, Ref
from kbstore.tree.node_store import MissingNode, Nodes
from kbstore.tree.reader import find, materialise

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R", bound="Reader")

_SPARSE = 4
"""If fewer than one in so many versions is wanted, each version is read alone."""


_REFOLDS = 3
"""How often a call begins again if concurrent collections remove snapshots under the call."""


def refolding(method: Callable[Concatenate[_R, _P], _T]) -> Callable[Concatenate[_R, _P], _T]:
    """Let a method begin again if a collection removed a snapshot under the method; see `Reader._refolded`."""

    @functools.wraps(method)
    def tried(self: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._refolded(lambda: method(self, *args, **kwargs))

    return tried


class Reader:
    """Reads one branch of a store; `kbstore.store.Store` adds opening and writing.

    Attributes:
        branch: The open branch.
        damage: Damaged caches that were set aside since the store was opened, a sentence each.
        odd_refs: Tags, branches and changes that the last list of tags or branches skipped, since kbstore does not
            write such data; a sentence each.
    """

    def __init__(self, backend: Backend, branch: str, collection: str | None, refs: Refs | None = None) -> None:
        self._backend = backend
        self._collection = None if collection is None else parse_pointer(collection)
        self._guard = Guard(self._renew)
        self._refs = refs or Refs(backend)
        self._identities = KnownIdentities(self._refs)
        self.branch = branch
        self.damage: list[str] = []
        self.odd_refs: tuple[str, ...] = ()
        self._read_branch()
        self._seen = Seen(self._opening())

    def _read_branch(self) -> None:
        self._line = self._line_of(self.branch)
        self._nodes = Nodes(self._backend)
        self._states = States(self._backend, self._line, self._nodes, self.damage.append)
        self._orders = Orders(OrderIndex(self._backend, self._line), self._nodes)
        self._touched = Touched(self._backend, self._line)
        self._lookup = Lookup(self._line, self._nodes, self._states, self._touched)
        self._resolver = Resolver(self._line, self._refs, self._line_of, self.branch)

    def _opening(self) -> Callable[[], int]:
        """Begin to look for the newest version of now; a read-only store has no commits, so the answer is 0 there."""
        return (lambda: 0) if self._backend.read_only else self._line.look()

    def _renew(self) -> None:
        """Start afresh in a child process; keep only what the thread has seen."""
        self._refs = Refs(self._backend)
        self._identities = KnownIdentities(self._refs)
        self._read_branch()
        if self._backend.remote:  # a look begun by the parent may never end here
            self._seen.renew(self._opening())

    @property
    def _lock(self) -> RLock:
        """The lock for threads to take turns; free in a child of the process that made the lock."""
        return self._guard.lock()

    @property
    def location(self) -> str:
        """Where the store is, without secrets."""
        return self._backend.location

    @property
    def backend(self) -> Backend:
        """The backend, for tools that look at bytes."""
        return self._backend

    @property
    def line(self) -> Line:
        """The versions of the open branch, for tools that look at records."""
        return self._line

    @property
    def orders(self) -> Orders:
        """The order of members along the open branch, for tools that copy or check the order."""
        return self._orders

    def head(self) -> Version:
        """Return the newest version; `Version.seq` is 0 if there is no version."""
        with self._lock:
            entry = self._newest()
            self._saw(self._line, entry)
            return self._version(entry)

    def version(self, revision: "str | int | Version" = "HEAD") -> Version:
        """Return the version that a revision names (see `kbstore.history.revision`).

        Raises:
            RevisionError: The revision names no version, or several.
            DamagedVersion: The header differs from the written header: id, author and message are not those of the
                commit.
        """
        with self._lock:
            line, entry = self._resolve(revision)
            if entry is not None and not isinstance(revision, Version):
                line.refuse_changed(entry.event.seq)
            return self._version(entry, line)

    def log(
        self,
        first: "str | int | Version | None" = None,
        last: "str | int | Version | None" = None,
        *,
        limit: int | None = None,
        author: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        path: str | None = None,
        newest_first: bool = True,
        damaged: Callable[[DamagedVersion], None] | None = None,
    ) -> Iterator[Version]:
        """Yield the versions after `first` up to and including `last`, newest first.

        Args:
            first: Where to begin, not included; the beginning by default.
            last: Where to end; the head by default.
            limit: At most this many versions.
            author: Only versions with this text in the author's name, in upper or lower case.
            tag: Only versions with this label.
            since: Only versions committed at or after this time.
            until: Only versions committed at or before this time.
            path: Only versions that touched this pointer.
            newest_first: False yields the oldest first.
            damaged: Called with each version whose header cannot be read, in order with the other versions, whether or
                not the version would match. With `damaged`, such a version does not end the log.

        Raises:
            DamagedVersion: The header of a version is missing or cannot be read.
            KBStoreError: `since` or `until` is not a datetime with a time zone.
            RevisionError: `first` or `last` names no version; raised when the first version is asked for.
        """
        for name, moment in (("since", since), ("until", until)):
            if moment is not None:
                check_moment(moment, name)
        return self._log(first, last, limit, author, tag, since, until, path, newest_first, damaged)

    def _log(
        self,
        first: "str | int | Version | None",
        last: "str | int | Version | None",
        limit: int | None,
        author: str | None,
        tag: str | None,
        since: datetime | None,
        until: datetime | None,
        path: str | None,
        newest_first: bool,
        damaged: Callable[[DamagedVersion], None] | None,
    ) -> Iterator[Version]:
        with self._lock:
            if last is None:
                line, newest, high = self._line, None, self._line.tail()[1]
            else:
                line, newest = self._resolve(last)
                high = newest.event.seq if newest is not None else 0
            low = (self._seq(first) if first is not None else 0) + 1
        low_time = format_time(since) if since is not None else None
        high_time = format_time(until) if until is not None else None
        # Search by time only for the end where reading starts; the loop below stops at the other end.
        try:
            if newest_first and high_time is not None:
                high = low - 1 + line.passed(low, high, high_time, included=True)
            if not newest_first and low_time is not None:
                low += line.passed(low, high, low_time, included=False)
        except DamagedVersion:
            if damaged is None:
                raise
        wanted = None
        if path is not None:
            wanted = self._touching(path, line, low, high)
        given = 0
        entries: Iterator[Entry | DamagedVersion]
        if wanted is None and self._backend.remote and (author is not None or tag is not None):
            entries = self._entries_by(line, low, high, author, tag, newest_first)
        else:
            entries = self._entries(line, low, high, wanted, newest_first)
        for entry in entries:
            if isinstance(entry, DamagedVersion):
                if limit is not None and given >= limit:
                    return
                if damaged is None:
                    raise entry
                damaged(entry)
                continue
            event = entry.event
            if low_time is not None and event.time < low_time:
                if newest_first:
                    return
                continue
            if high_time is not None and event.time > high_time:
                if not newest_first:
                    return
                continue
            if author is not None and author.casefold() not in event.author.casefold():
                continue
            if tag is not None and tag not in event.tags:
                continue
            if limit is not None and given >= limit:
                return
            given += 1
            yield self._version(entry, line)

    @staticmethod
    def _entries(
        line: Line, low: int, high: int, wanted: list[int] | None, newest_first: bool
    ) -> Iterator[Entry | DamagedVersion]:
        if wanted is None:
            if low <= high:
                yield from line.readable(low, high, newest_first=newest_first)
            return
        if len(wanted) * _SPARSE > high - low:
            chosen = set(wanted)
            for one in line.readable(low, high, newest_first=newest_first):
                if (one.seq if isinstance(one, DamagedVersion) else one.event.seq) in chosen:
                    yield one
            return
        for seq in reversed(wanted) if newest_first else wanted:
            yield from line.readable(seq, seq)

    def _entries_by(
        self, line: Line, low: int, high: int, author: str | None, tag: str | None, newest_first: bool
    ) -> Iterator[Entry | DamagedVersion]:
        """Yield versions, among them all versions of this author and label."""

        def wanted(authors: list[str], tags: list[str]) -> bool:
            by = author is None or any(author.casefold() in one.casefold() for one in authors)
            return by and (tag is None or tag in tags)

        for first, last in Who(self._backend, line).stretches(low, high, wanted, newest_first=newest_first):
            yield from line.readable(first, last, newest_first=newest_first)

    @refolding
    def checkout(self, revision: "str | int | Version" = "HEAD") -> Any:
        """Return the document at a version as a new Python value, members in the order of their author.

        An object is a dict, an array is a list. The document remembers the version as the base of the next commit
        (`kbstore.jsondoc.document`); ``dict(document)`` and ``list(document)`` do not.

        Raises:
            RevisionError: There is no such version; also for ``v0``, since there is no document yet.
        """
        with self._lock:
            self._line.expect(listing=True)
            line, entry = self._resolve(revision)
            if entry is None:
                raise RevisionError("there is no document yet", hint="commit one first")
            document = self._states_of(line).document(entry.event)
            return with_base(self._rules(line, entry).arranged(document, canonical=True), self._saw(line, entry))

    def same_order(self, one: "str | int | Version", other: "str | int | Version") -> bool:
        """Return whether two versions have the same rules of members' order; costs no fold."""
        with self._lock:
            roots = []
            for revision in (one, other):
                line, entry = self._resolve(revision)
                roots.append(self._orders_of(line).index.root(_seq_of(entry)))
            return roots[0] == roots[1]

    @refolding
    def get(self, pointer: str, at: "str | int | Version" = "HEAD", *, default: Any = UNSET) -> Any:
        """Return the value at a pointer (RFC 6901) at a version as a new Python value; for ``""`` as `checkout` does.

        Members are in the order of their author. A pointer may name elements of arrays by identity (see
        `kbstore.tree.locate`), here and in all other methods.

        Cost: a few nodes, and those events since the nearest snapshot that touched the value's entry. If nothing is
        there, or the pointer names elements by identity, the cost includes folding the version.

        Raises:
            PointerError: There is nothing at the pointer and no `default` was given, or the pointer names several
                elements.
        """
        with self._lock:
            path = parse_pointer(pointer)
            self._line.expect(listing=True)
            line, entry = self._resolve(at)
            value: Any = MISSING
            if entry is not None:
                value = self._lookup_of(line).get(path, entry.event)
                if value is MISSING:
                    locator = Locator(self._nodes, self._identities)
                    path = locator.resolve(self._tree(line, entry).root, path) or path
                    value = self._lookup_of(line).get(path, entry.event)
                if isinstance(value, dict | list):
                    value = self._rules(line, entry).arranged(value, path)
                base = self._saw(line, entry)
                value = value if path else with_base(value, base)
            if value is MISSING and default is not UNSET:
                return default
            return require(value, pointer, f"v{entry.event.seq}" if entry is not None else "an empty store")

    @refolding
    def diff(
        self,
        old: "str | int | Version" = "HEAD~1",
        new: "str | int | Version | None" = None,
        pointer: str = "",
        *,
        document: Any = UNSET,
    ) -> Diff:
        """Return the changes from one version to another, or to an uncommitted document.

        Args:
            old: The old side.
            new: The new side; HEAD by default.
            pointer: Only changes at or below this pointer, on each side.
            document: Compare `old` with this document instead of with `new`.

        Cost: proportional to the difference, not to the store. For a version not read before, also folding the events
        since the nearest snapshot.
        """
        with self._lock:
            old_line, old_entry = self._resolve(old)
            new_line, new_entry = self._line, None
            given = None
            if document is not UNSET:
                given = root_of(document)
            else:
                new_line, new_entry = self._resolve("HEAD" if new is None else new)

            def roots() -> tuple[Ref | None, Ref | None]:
                if given is None and _seq_of(old_entry) > _seq_of(new_entry):
                    self._tree(new_line, new_entry)  # the older side first, since the newer one is folded from it
                before = self._tree(old_line, old_entry).root
                return before, given if given is not None else self._tree(new_line, new_entry).root

            old_root, new_root = roots()
            path = parse_pointer(pointer)
            sides = [root for root in (old_root, new_root) if root is not None]
            collection = self._collection_of(sides) or ()

            identities = {**self._identities}
            container = format_pointer(collection)
            if container not in identities and (names := entry_names(sides, collection, self._nodes)) is not None:
                identities[container] = names

            locator = Locator(self._nodes, identities)
            places = [locator.resolve(root, path) or path for root in (old_root, new_root)]
            # Report differences at the place in the older side, unless only the newer side has the place.
            at = 0 if self._at(old_root, places[0]) is not None else 1
            hunks = compare(self._at(old_root, places[0]), self._at(new_root, places[1]), self._nodes, places[at])
            address = locator.address((old_root, new_root)[at], places[at])

            def read_entry(entry: str) -> tuple[Any, Any] | None:
                depth = len(collection) + 1
                if len(path) >= depth:  # the pointer names one entry, or a place in one
                    tops = places[0][:depth], places[1][:depth]
                    return self._refolded(lambda: read_both(roots(), tops, self._nodes))
                names = identities.get(container)
                return self._refolded(lambda: sides_reader(roots(), collection, names, locator, self._nodes)(entry))

            def read_element(place: tuple[str, ...]) -> Any:
                return self._refolded(lambda: _element(roots()[0], place, self._nodes))

            def read_elements(place: tuple[str, ...]) -> Sequence[Any]:
                return self._refolded(lambda: locator.sample(roots()[0], place))

            def read_turned() -> list[str]:
                if old_entry is None or new_entry is None or self.same_order(*versions):
                    return []
                both = [self.get(pointer, version, default=None) for version in versions]
                found = turned(*both) if isinstance(both[0], dict | list) and both[0] == both[1] else []
                return [format_pointer(places[at]) + below for below in found]

            versions = [self._version(entry) for entry in (old_entry, new_entry)]
            return Diff(
                hunks,
                collection=collection,
                old_name=versions[0].name,
                new_name="document" if given is not None else versions[1].name,
                identities=identities,
                read_entry=read_entry,
                read_element=read_element if path else None,
                read_elements=read_elements,
                base=old_entry.id if old_entry is not None else "v0",
                read_turned=read_turned if given is None else None,
                place=(places[at], address if len(address) == len(places[at]) else places[at]),
            )

    @refolding
    def collection(self, revision: "str | int | Version" = "HEAD") -> str | None:
        """Return the pointer to the container of the entries: as configured, else found.

        Args:
            revision: The version to search.

        Returns:
            None if the version has no such container: the members of the document then count as entries.
        """
        with self._lock:
            root = self._tree(*self._resolve(revision)).root
            found = self._collection_of([root] if root is not None else [])
            return format_pointer(found) if found is not None else None

    def tags(self) -> dict[str, Version]:
        """Return all tags with their versions, by name; afterwards, `odd_refs` has the tags without a version."""
        with self._lock:
            found = {}
            odd = [*self._refs.read().odd]
            for name, tag in sorted(self._refs.read().tags.items()):
                try:
                    line, entry = self._resolver.named_by(tag)
                except (CorruptStore, RevisionError) as fault:
                    odd.append(f"the tag {name!r} is passed over: {fault}")
                else:
                    found[name] = self._version(entry, line)
            self.odd_refs = tuple(odd)
            return found

    def settings(self) -> dict[str, tuple[str, ...]]:
        """Return the settings by name (see `kbstore.history.settings`).

        All writers and clones of a store share the settings.
        """
        with self._lock:
            state = self._refs.read()
            collection = {} if state.collection is None else {COLLECTION: (state.collection,)}
            return collection | {identity_setting(p): state.identities[p] for p in sorted(state.identities)}

    @property
    def identities(self) -> Identities:
        """The members that identify the elements of arrays, from the settings, by the pointer of the array."""
        return self._identities

    def branches(self) -> list[str]:
        """Return the names of all branches."""
        with self._lock:
            state = self._refs.read()
            self.odd_refs = tuple(state.odd)
            return sorted({MAIN_BRANCH, *state.branches})

    def branch_now(self, name: str) -> str | None:
        """Return the present name of the branch that has or had a name; None for a removed or unknown branch."""
        with self._lock:
            now = self._refs.read().now(name)
            return now if now is not None and (now == MAIN_BRANCH or now in self._refs.known().branches) else None

    def _forget_states(self) -> None:
        self._states.forget()

    def _refolded(self, work: Callable[[], _T], *, damaged: bool = True) -> _T:
        """Return the result of `work`; begin again if a snapshot under `work` is gone or damaged.

        States in memory lead to nodes of snapshots, and anybody may drop a snapshot. Folding again from the remaining
        data brings the nodes back. If a snapshot is damaged, a fold from truth alone shows whether the truth is damaged
        as well; then nothing helps.

        Args:
            work: The work, repeated as often as necessary.
            damaged: False if `work` may meet damage of something other than this store.
        """
        with self._lock:
            for _ in range(_REFOLDS):
                try:
                    return work()
                except MissingNode:
                    self._forget_states()
                except DamagedVersion:
                    raise  # no snapshot is at fault
                except CorruptStore as fault:
                    if not damaged:
                        raise
                    self._forget_states()
                    with self._states.from_truth():
                        found = work()
                    self._set_aside(fault)
                    return found
                except KBStoreError:
                    raise
                except RecursionError:
                    self._forget_states()
                    raise CorruptStore(
                        "a value of this store is nested too deep to be read", hint="run: kbstore verify"
                    ) from None
                except BaseException:
                    self._forget_states()  # a signal's exception may have left a state half made
                    raise
            with self._states.from_truth():  # a snapshot is listed, but its nodes cannot be had
                return work()

    def _set_aside(self, fault: CorruptStore) -> None:
        """Report a damaged snapshot, and drop the snapshots of the open log; new snapshots are soon taken."""
        self.damage.append(f"a snapshot is damaged and was set aside: {fault}")
        self._forget_states()
        if not self._backend.read_only:
            log = self._line.log
            self._backend.drop_snapshots(log, [s.number for s in self._backend.snapshots(log)])

    def _newest(self) -> Entry | None:
        _, seq = self._line.tail()
        return self._line.entry(seq) if seq else None

    def _line_of(self, branch: str) -> Line:
        return Line(self._backend, self._refs.segments(branch), branch)

    def _states_of(self, line: Line) -> States:
        return self._states if line is self._line else States(self._backend, line, self._nodes, self.damage.append)

    def _orders_of(self, line: Line) -> Orders:
        return self._orders if line is self._line else Orders(OrderIndex(self._backend, line), self._nodes)

    def _rules(self, line: Line, entry: Entry) -> Rules:
        """Return the order of members at a version; damaged rules give canonical order, so content stays readable."""
        try:
            return self._orders_of(line).rules(entry.event.seq)
        except CorruptStore as fault:
            self.damage.append(str(fault))
            return NO_RULES

    def _lookup_of(self, line: Line) -> Lookup:
        if line is self._line:
            return self._lookup
        return Lookup(line, self._nodes, self._states_of(line), Touched(self._backend, line))

    def _resolve(self, revision: "str | int | Version") -> tuple[Line, Entry | None]:
        if isinstance(revision, Version):
            if revision.line is not None:
                return revision.line, revision.entry
            revision = revision.id or "v0"
        if isinstance(revision, int):
            revision = f"v{revision}"
        return self._resolver.resolve(revision)

    def _seq(self, revision: "str | int | Version") -> int:
        _, entry = self._resolve(revision)
        return entry.event.seq if entry is not None else 0

    def _tree(self, line: Line, entry: Entry | None) -> State:
        return self._states_of(line).tree(entry.event) if entry is not None else NOTHING

    def _at(self, root: Ref | None, path: tuple[str, ...]) -> bytes | Ref | None:
        if root is None:
            return None
        if path:
            return find(root, path, self._nodes)
        return root

    def _version(self, entry: Entry | None, line: Line | None = None) -> Version:
        return Version(entry, line or self._line, self._patch_of)

    def _patch_of(self, line: Line, seq: int) -> list[dict[str, Any]]:
        with self._lock:
            (_, body), *_ = line.bodies([seq])
            return plain_body(body, self._nodes)

    def _saw(self, line: Line, entry: Entry | None) -> Base:
        """Note that this thread is shown a version, and return the version as a base."""
        base = Base(entry.event.seq, entry.id) if entry is not None else Base(0, "")
        if line is self._line:
            self._seen.saw(base)
        return base

    def _collection_of(self, roots: Sequence[Ref]) -> tuple[str, ...] | None:
        if self._collection is not None:
            return self._collection
        if (pointer := self._refs.known().collection) is not None:
            return parse_pointer(pointer)
        return find_collection(roots, self._nodes)

    @refolding
    def _touching(self, pointer: str, line: Line, low: int, high: int) -> list[int]:
        """Return the versions that touched a place, ascending; follow an array element to the place in each version."""
        with self._lock:
            path = parse_pointer(pointer)
            if low > high:
                return []
            locator = Locator(self._nodes, self._identities)
            states = self._states_of(line)
            # A snapshot shows whether an array is on the way, without folding the version itself.
            plain = locator.is_plain(states.root(states.nearest(high)), path)
            traced = None if plain else locator.trace(self._tree(line, line.entry(high)).root, path)
            if traced is None:
                return self._lookup_of(line).touching(path, low, high)
            depth, address = traced
            found = []
            for seq in self._lookup_of(line).touching(path[:depth], low, high):
                roots = (self._tree(line, line.entry(at) if at else None).root for at in (seq - 1, seq))
                before, after = (locator.stored(root, address) for root in roots)
                if before != after:
                    found.append(seq)
            return found


def _seq_of(entry: Entry | None) -> int:
    return entry.event.seq if entry is not None else 0


def _element(root: Ref | None, place: tuple[str, ...], nodes: Nodes) -> Any:
    """Return the array element at a place; `MISSING` if there is no element, or if the container is not an array."""
    array = find(root, place[:-1], nodes) if root is not None else None
    if root is None or array is None or not (array.kind == ARRAY if isinstance(array, Ref) else array[:1] == b"["):
        return MISSING
    found = find(root, place, nodes)
    return materialise(found, nodes) if found is not None else MISSING
