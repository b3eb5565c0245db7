"""Proof from the bytes that a history is whole, with exact limits of the proof.

The check recomputes every hash, every link of the chains, every state that events lead to, every tag's target and every
snapshot. An unkeyed hash chain shows corruption, not malice: an attacker with write access can rewrite the whole store
consistently, or cut off the newest part. A comparison with a head id noted elsewhere always detects this, since the id
commits to the whole history before.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kbstore.backends.base import Backend
from kbstore.errors import CorruptStore, KBStoreError, RevisionError, StoreNotFound, StoreUnavailable
from kbstore.history.branch import MAIN_BRANCH, REFS_LOG, Segment
from kbstore.history.event import event_id
from kbstore.history.lineage import Place
from kbstore.history.refs import RefEvent, RefState, check_ref, decode_ref, name_change, readable_refs
from kbstore.history.snapshots import read_note, usable
from kbstore.history.stored_states import prove
from kbstore.jsondoc.pointer import shorten
from kbstore.kit.clock import MOST_AHEAD, SystemClock, format_time
from kbstore.tree.node_store import Nodes
from kbstore.verify.ancestry import distances
from kbstore.verify.caches import Derived
from kbstore.verify.proof import Ends, Proved, Prover, ends_of

if TYPE_CHECKING:
    from kbstore.history.reader import Reader

_MOST_PROBLEMS = 100
_LEAST_DIGITS = 16
_RECORD = re.compile(r"(?P<body>\bthe body of )?\brecord (?P<number>\d+) of log (?P<log>\w+)")
"""The names of records in messages of backends."""
_ROW = re.compile(r"\b(?:record|bodies|row) \d+")
"""The names of rows in such messages; a row number means nothing to users. Names of objects in a bucket are kept."""
_DECEIVES = "(kbstore gc drops it)"
_BESIDE = "its header and its patch are as they were written, but something that is stored beside them is not"


class Witness(Protocol):
    """Receiver of all proved parts, in order; see `kbstore.verify.salvage`."""

    def branch(self, name: str, segments: tuple[Segment, ...]) -> None:
        """Begin a branch: the branch's own versions come next."""
        ...

    def version(self, proved: Proved) -> None:
        """Receive a version."""
        ...

    def change(self, header: bytes) -> None:
        """Receive a change of a tag or branch whose bytes are unchanged since they were written."""
        ...


@dataclass(slots=True)
class Report:
    """The report of `verify_store`.

    Attributes:
        versions: Number of events checked, over all branches.
        readable: Number of documents that can be read, and are as committed.
        head: Id of the newest event of the open branch; empty if there is no event.
        problems: The faults of the history, one sentence each. The sentence on a damaged version also names the
            versions that cannot be read because of the damage. An empty list means a whole history.
        caches: The faults of caches only; nothing is lost, and ``kbstore gc`` or use rebuilds the caches. (A readable
            index or snapshot with wrong content is a problem: answers depend on the content.)
        pinned: True if a head was given, and is an ancestor of the newest event of the open branch.
        pinned_id: The whole id of the given head; empty if the head was not found.
        behind: Number of versions after the given head.
        merged: True if the head was merged into the branch, and is not on the line of the branch.
        notes: Remarks for the user, but not on damage.
        missing: The report on a given head, or change of tags and branches, that is missing in an otherwise sound
            history; also on a head from another branch, even with other problems. Else empty.
        elsewhere: The other branch that contains the given head, if the history of the open branch does not; else
            empty.
        refs_head: Id of the newest change of tags, branches and settings; empty if there is no change.
        refs_pinned: True if an id of such a change was given and found.
    """

    versions: int = 0
    readable: int = 0
    head: str = ""
    problems: list[str] = field(default_factory=list)
    caches: list[str] = field(default_factory=list)
    pinned: bool = False
    pinned_id: str = ""
    behind: int = 0
    merged: bool = False
    notes: list[str] = field(default_factory=list)
    missing: str = ""
    elsewhere: str = ""
    refs_head: str = ""
    refs_pinned: bool = False

    @property
    def ok(self) -> bool:
        """True if the history has no fault, and contains the given ids."""
        return not self.problems and not self.missing


def verify_store(
    store: "Reader",
    *,
    head: str | None = None,
    refs_head: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    witness: Witness | None = None,
) -> Report:
    """Check the whole content of a store.

    Args:
        store: An open store.
        head: An event id noted elsewhere (64 digits, or a prefix of at least 16). The event must be the newest event of
            the open branch, or an ancestor: events of other branches do not count.
        refs_head: The id of a change of tags and branches, noted elsewhere: the log of tags and branches must contain
            the id.
        progress: Called with the number of events checked so far, and of all events.
        witness: Receives all proved parts.

    Cost: reads every byte once, the long values of patches twice, and folds every event, about 0.2 ms each.
    """
    backend = store.backend
    report = Report()
    ends = ends_of(backend)
    suspicions = _Suspicions(backend, ends, report)
    refs, records = readable_refs(backend, ends.refs)
    names = _Names()
    derived = Derived(backend)
    prover = Prover(backend, ends, refs, suspicions.of_header)
    total = sum(ends.logs.values())
    merges: list[tuple[str, str]] = []
    latest = format_time(SystemClock().now() + MOST_AHEAD)
    lineage = prover.lineage
    for branch in lineage:
        damaged = _Damaged("" if branch == MAIN_BRANCH else f" of branch {refs.called(branch)}")
        log, offset = lineage.own(branch)
        dated = False
        names.add(log, refs.called(branch), offset)
        derived.branch(lineage.start(branch))
        if witness is not None:
            witness.branch(branch, prover.segments(branch))
        for proved in prover.versions(branch):
            suspected = suspicions.settle((log, proved.seq - offset))
            if not proved.faults:
                proved.faults.extend(suspected)
            damaged.add(proved)
            if proved.event is not None and not proved.faults and proved.event.parents[1:]:
                merges.append((names.record(log, proved.seq - offset), proved.event.parents[1]))
            if not (dated or proved.faults or proved.event is None) and proved.event.time > latest:
                dated = True  # times never go back, so all later versions are ahead too
                report.notes.append(
                    f"{names.record(log, proved.seq - offset)} is dated {proved.event.time}, more than a day ahead of "
                    f"this machine's clock, and so is every version after it"
                )
            place = log, proved.seq - offset
            with _surviving(report, f"what indexes say of v{proved.seq}"):
                derived.version(*place, proved, branches_start=place in prover.roots)
            report.versions += 1
            report.readable += proved.root is not None
            if witness is not None:
                witness.version(proved)
            if progress is not None:
                progress(report.versions, total)
        report.problems.extend(damaged.sentences())
    here = set(prover.ids.values())
    report.problems.extend(
        f"{name} merges the version {parent[:12]}, which is not in this store"
        for name, parent in merges
        if parent not in here
    )
    with _surviving(report, "the log of tags and branches"):
        unreadable, ids = _check_refs(ends.refs, records, prover, report, witness)
        for number in unreadable:
            suspicions.settle((REFS_LOG, number))
        report.refs_head = ids[-1] if ids else ""
        if refs_head is not None:
            report.refs_pinned = len(refs_head) >= _LEAST_DIGITS and any(i.startswith(refs_head.lower()) for i in ids)
    report.problems.extend(suspicions.unsettled())
    with _surviving(report, "the indexes"):
        report.problems.extend(derived.wrong())
    with _surviving(report, "the list of snapshots"):
        _check_snapshots(backend, ends, prover.states, names, report)
    for told in (report.problems, report.caches):
        told[:] = map(names.in_words, told)
    report.head = prover.ids.get(_head_of(store.line.segments, ends), "")
    sound = not report.problems
    if head is not None:
        _find_pinned(head.lower(), store.branch, prover, names.branches, report)
    if refs_head is not None and not report.refs_pinned:
        _miss_change(refs_head.lower(), report, sound=sound)
    del report.problems[_MOST_PROBLEMS:]
    return report


@contextmanager
def _surviving(report: Report, what: str) -> Iterator[None]:
    """Report any error in one part of the check as a problem, and go on with the other parts."""
    try:
        yield
    except (StoreUnavailable, StoreNotFound):
        raise
    except Exception as fault:  # noqa: BLE001 - any fault is a finding, never the end
        said = str(fault) if isinstance(fault, KBStoreError) else repr(fault)
        report.problems.append(f"{what} cannot be checked: {shorten(said)}")


def _find_pinned(
    head: str, branch: str, prover: Prover, branches: Mapping[str, tuple[str, int]], report: Report
) -> None:
    """Look for the event noted elsewhere among the ancestors of the newest event, else on other branches."""
    known = distances(report.head, prover.parents)
    wanted = sorted(ident for ident in known if ident.startswith(head)) if len(head) >= _LEAST_DIGITS else []
    if len(wanted) == 1:
        report.pinned, report.pinned_id, report.behind = True, wanted[0], known[wanted[0]]
        line = {ident: parents[:1] for ident, parents in prover.parents.items()}
        report.merged = wanted[0] not in distances(report.head, line)
    elif wanted:
        report.problems.append(f"{head} could be {' or '.join(wanted)}: give all 64 digits")
    elif elsewhere := sorted(
        (branches[log][0], branches[log][1] + number, ident)
        for (log, number), ident in prover.ids.items()
        if ident.startswith(head) and log in branches
    ):
        report.elsewhere, seq, ident = elsewhere[0]
        report.missing = (
            f"the event {ident} is v{seq} of branch {report.elsewhere}, not in the history of {branch}: the id was "
            f"noted of that branch, or {branch} was rewritten since"
        )
    elif report.problems:
        report.problems.append(f"the event {head} is not in what can be read of this history")
    else:
        newest = len(distances(report.head, {ident: parents[:1] for ident, parents in prover.parents.items()}))
        report.missing = (
            f"this history ends at v{newest} and does not have the event {head}: it is a copy from before that "
            "event, or it was rewritten or cut short since the id was noted"
        )


def _miss_change(refs_head: str, report: Report, *, sound: bool) -> None:
    """Report a change of tags and branches as missing."""
    if not sound:
        report.problems.append(f"the change {refs_head} is not in what can be read of the tags and branches")
        return
    missing = (
        f"the log of tags and branches does not have the change {refs_head}: it is a copy from before that change, or "
        "it was rewritten or cut short since the id was noted"
    )
    report.missing = f"{report.missing}; {missing}" if report.missing else missing


class _Names:
    """Names of records for users.

    Attributes:
        branches: For each log, the name of the branch, and the seq before the first event of the log.
    """

    def __init__(self) -> None:
        self.branches: dict[str, tuple[str, int]] = {}

    def add(self, log: str, branch: str, offset: int) -> None:
        """Add a branch."""
        self.branches[log] = branch, offset

    def record(self, log: str, number: int) -> str:
        """Return the name of a record: the name of the version, or of the change of tags and branches."""
        if log == REFS_LOG:
            return name_change(number)
        branch, offset = self.branches.get(log, (None, 0))
        if branch is None:
            return f"version {number} of a branch whose start is lost"
        return f"v{offset + number}" if branch == MAIN_BRANCH else f"v{offset + number} of branch {branch}"

    def in_words(self, what: str) -> str:
        """Return a sentence of the backend with names for users."""

        def name(found: re.Match[str]) -> str:
            record = self.record(found["log"], int(found["number"]))
            return f"the patch of {record}" if found["body"] else record

        return _RECORD.sub(name, what)


class _Suspicions:
    """Faults of single records from the backend's check, kept until their effect on a version is known.

    All other findings of the backend go into the report at once.
    """

    def __init__(self, backend: Backend, ends: Ends, report: Report) -> None:
        self._headers: set[Place] = set()
        self._by_place: dict[Place, list[str]] = defaultdict(list)
        for damage in backend.check():
            if damage.note:
                report.notes.append(damage.what)
            elif damage.cache:
                report.caches.append(damage.what)
            elif damage.records is None:
                report.problems.append(damage.what)
            else:
                log, first, last = damage.records
                end = ends.refs if log == REFS_LOG else ends.logs.get(log, 0)
                if last > end:  # a row without a record, or of a record that was written meanwhile
                    report.problems.append(damage.what)
                for number in range(max(first, 1), min(last, end) + 1):
                    self._by_place[log, number].append(damage.what)
                    if damage.headers:
                        self._headers.add((log, number))

    def of_header(self, place: Place) -> bool:
        """Return whether the header of a record may have been changed in place."""
        return place in self._headers

    def settle(self, place: Place) -> list[str]:
        """Return the findings on a record, as clauses; the caller judges their effect."""
        said = self._by_place.pop(place, [])
        return list(dict.fromkeys(_BESIDE if _ROW.search(what) else what for what in said))

    def unsettled(self) -> Iterable[str]:
        """Return the findings on records without a version."""
        return dict.fromkeys(what for said in self._by_place.values() for what in said)


class _Damaged:
    """The damaged versions of a branch, in order, each with the unreadable versions from there on."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._newest = 0
        self._found: list[tuple[list[int], list[str], list[int]]] = []  # first and last seq; faults; unreadable seqs
        self._unreadable: list[int] | None = None
        self._orphans: list[int] = []

    def add(self, proved: Proved) -> None:
        """Add the next version."""
        seq = self._newest = proved.seq
        if proved.faults:
            if self._found and self._found[-1][1] == proved.faults and self._found[-1][0][1] == seq - 1:
                self._found[-1][0][1] = seq
            else:
                self._found.append(([seq, seq], proved.faults, []))
        if proved.root is not None:
            self._unreadable = None
            return
        if self._unreadable is None and self._found:
            self._unreadable = self._found[-1][2]
        (self._orphans if self._unreadable is None else self._unreadable).append(seq)

    def sentences(self) -> list[str]:
        """Return one sentence for each damaged version, or for a run of versions with the same damage."""
        found = []
        if self._orphans:
            first, last = self._orphans[0], self._orphans[-1]
            run = f"v{first}" if first == last else f"v{first} to v{last}"
            found.append(f"{run}{self._where} cannot be read: neither can the version that the branch was started from")
        for (first, last), faults, unreadable in self._found:
            what = "; ".join(faults)
            if first == last:
                name = f"version v{first}{self._where} is damaged: {what}"
            else:
                name = f"versions v{first} to v{last}{self._where} are damaged, each alike: {what}"
            found.append(name + self._consequence(unreadable, several=first != last))
        return found

    def _consequence(self, unreadable: list[int], *, several: bool) -> str:
        if not unreadable:
            return "" if several else "; its document can be read"
        first, last = unreadable[0], unreadable[-1]
        run = f"the document of v{first}" if first == last else f"the documents of v{first} to v{last}"
        rest = f"v{last + 1} can" if last < self._newest else f"v{last} is the newest"
        return f"; {run} cannot be read, {rest}"


def _head_of(segments: tuple[Segment, ...], ends: Ends) -> Place:
    """Return the place of the newest version of a branch: in its own log, or at the start of the branch."""
    own = segments[-1]
    newest = ends.logs.get(own.log, 0)
    if newest or len(segments) == 1:
        return own.log, newest
    return segments[-2].log, own.offset - segments[-2].offset


def _check_refs(
    last: int, records: Mapping[int, bytes], prover: Prover, report: Report, witness: Witness | None
) -> tuple[list[int], list[str]]:
    """Check tags, branches and settings; return the unreadable changes, and the ids of the other changes."""
    unreadable: list[int] = []
    parent: str | None = None
    state = RefState()
    ids: list[str] = []
    for number in range(1, last + 1):
        header = records.get(number)
        try:
            if header is None:
                raise CorruptStore(f"{name_change(number)} is missing or cannot be read")
            event = decode_ref(header, number)
        except KBStoreError as fault:
            report.problems.append(str(fault))
            unreadable.append(number)
            parent = ""
            continue
        if parent != "" and (event.parent != parent or event.seq != number):
            report.problems.append(f"{name_change(number)} does not follow the one before it")
        parent = event_id(header)
        ids.append(parent)
        try:
            check_ref(event, header, state)
            start = state.start(event.branch)  # by the branch's name at that time
            state.take(event)
        except KBStoreError as fault:
            report.problems.append(f"{name_change(number)}: {fault}")
        else:
            branch = prover.refs.logs.get(start.log, "") if start is not None else MAIN_BRANCH
            if event.target is not None and event.old is None and not _is_there(event, branch, prover):
                report.problems.append(
                    f"the {event.kind} {event.name!r} names the event {event.target}, which is not v{event.version} of "
                    f"{event.branch}"
                )
        if witness is not None and not (prover.suspect((REFS_LOG, number)) and _parent(records, number + 1) != parent):
            witness.change(header)
    return unreadable, ids


def _is_there(event: RefEvent, branch: str, prover: Prover) -> bool:
    """Return whether the version of a tag or branch exists, on the branch with this name now."""
    try:
        place = prover.lineage.place(branch, event.version)
    except RevisionError:
        return False
    return prover.ids.get(place) == event.target


def _parent(records: Mapping[int, bytes], number: int) -> str | None:
    """Return the parent that a change of a tag or branch names, if the change can be read."""
    try:
        return decode_ref(records[number], number).parent
    except (KeyError, KBStoreError):
        return None


def _check_snapshots(backend: Backend, ends: Ends, states: Mapping[Place, str], names: _Names, report: Report) -> None:
    nodes = Nodes(backend)
    sound: set[bytes] = set()
    for log, end in ends.logs.items():
        there = backend.snapshots(log)
        whole = {u.snapshot for u in usable(there)}  # no reader uses the others
        for snapshot in there:
            where = f"the snapshot of {names.record(log, snapshot.number)}"
            if snapshot.number > end:
                # A snapshot within the log was taken meanwhile, of a version that was not checked.
                if snapshot.number > backend.tail(log).number:
                    report.problems.append(f"{where} is of a version that is not there {_DECEIVES}")
                continue
            note = read_note(snapshot)
            state = states.get((log, snapshot.number))
            if note is not None and state is not None and state != note.root.hex():
                report.problems.append(f"{where} is not of the document that this version names {_DECEIVES}")
                continue
            if note is None:
                report.caches.append(f"{where} cannot be read")
                continue
            if snapshot not in whole:
                continue
            try:
                prove(nodes.root(note.root), nodes, sound)
            except KBStoreError as fault:
                if snapshot in backend.snapshots(log):  # else it was dropped while it was read
                    report.caches.append(f"{where} is not complete: {fault}")
