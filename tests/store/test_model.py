"""A store against a plain list of documents: whatever is done to it in whatever order, it says what the list says."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

import kbstore
from kbstore import Change, ConflictError, PatchError, PointerError, RevisionError, Store, Version
from kbstore.backends import memory
from kbstore.sync.jsonl import export_all, export_events, import_lines
from tests.conftest import LONG
from tests.jsondoc.values import VALUES, exactly
from tests.store.support import Ticks, articles, eager_snapshots

TOP = [f"k{n}" for n in range(6)]
"""Members at the top, where two handles change different ones or the same."""
LARGE = st.builds(
    lambda count, size, extra: {**articles(count, size)["problems"], **extra},
    st.integers(20, 120),
    st.integers(1, 40),
    st.dictionaries(st.sampled_from(["p1", "p9", "new"]), VALUES, max_size=2),
)
ARRAYS = st.builds(
    lambda start, stop: [{"id": n, "text": "word " * 20} for n in range(start, stop)],
    st.integers(0, 20),
    st.integers(20, 120),
)
ITEMS = st.one_of(
    VALUES,
    VALUES,
    st.builds(lambda letter, count: letter * count, st.sampled_from("ab"), st.integers(2030, 2060)),
    LARGE,
    ARRAYS,
)
DOCUMENTS = st.one_of(st.dictionaries(st.sampled_from(TOP), ITEMS, max_size=6), VALUES)
NAMES = st.sampled_from(["stable", "release/1", "v_previous_stable", "ünï", "z9"])
BRANCHES = st.sampled_from(["dev", "fix/7", "old"])


@dataclass(slots=True)
class Kept:
    """What the list knows of one version."""

    id: str
    document: Any
    message: str


@dataclass(slots=True)
class Model:
    """The reference: versions of each branch, tags, and nothing clever."""

    lines: dict[str, list[Kept]] = field(default_factory=lambda: {"main": []})
    tags: dict[str, str] = field(default_factory=dict)


class StoreMachine(RuleBasedStateMachine):
    """Drives one store through two handles; the second is another process as far as the store can tell."""

    place: Callable[[], str]
    """Gives a new location; set by the test."""

    versions: Bundle[tuple[str, int]] = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.location = type(self).place()
        self.clock = Ticks()
        self.model = Model()
        self.branch = "main"
        self.messages = (f"change {n}" for n in itertools.count())
        self.kb = Store.create(self.location, clock=self.clock, author="ann")
        self.other = Store.open(self.location, clock=self.clock, author="bob")

    def teardown(self) -> None:
        """The last look: everything once more, from a fresh handle."""
        self.kb.close()
        self.other.close()
        with Store.open(self.location, clock=self.clock, branch=self.branch) as kb:
            self._compare_all(kb)
            report = kb.verify()
            assert report.ok, report.problems
            assert report.caches == []
            assert report.versions == sum(len(line) - self._shared(name) for name, line in self.model.lines.items())
        memory.forget(self.location)

    def _shared(self, branch: str) -> int:
        """How many versions of a branch stand on the line that it was started from."""
        line = [kept.id for kept in self.model.lines[branch]]
        others = [[k.id for k in v] for n, v in self.model.lines.items() if n != branch and self._before(n, branch)]
        common = [sum(1 for a, b in zip(line, o, strict=False) if a == b) for o in others]
        return max(common, default=0)

    def _before(self, first: str, second: str) -> bool:
        names = list(self.model.lines)
        return names.index(first) < names.index(second)

    @property
    def line(self) -> list[Kept]:
        """The versions of the open branch."""
        return self.model.lines[self.branch]

    def _landed(self, version: Version, document: Any, message: str) -> Any:
        if not version.created:
            head = self.line[-1]
            assert exactly(head.document) == exactly(document)
            assert (version.seq, version.id) == (len(self.line), head.id)
            return multiple()
        self.line.append(Kept(version.id, kbstore.loads(kbstore.dumps(document)), message))
        assert version.seq == len(self.line)
        assert version.message == message
        return (self.branch, version.seq)

    # ---- writing --------------------------------------------------------------------------------------------------

    @initialize(target=versions, document=DOCUMENTS)
    def begin(self, document: Any) -> Any:
        """The first version."""
        message = next(self.messages)
        return self._landed(self.kb.commit(document, message=message), document, message)

    @rule(target=versions, document=DOCUMENTS)
    def commit_document(self, document: Any) -> Any:
        """A whole document on the newest version."""
        message = next(self.messages)
        self.kb.head()
        return self._landed(self.kb.commit(document, message=message), document, message)

    @rule(target=versions, key=st.sampled_from(TOP), value=ITEMS)
    def commit_member(self, key: str, value: Any) -> Any:
        """A patch of one member, where there are members."""
        message = next(self.messages)
        now = self.line[-1].document
        patch = [{"op": "add", "path": f"/{key}", "value": value}]
        if not isinstance(now, dict):
            self.kb.head()
            with pytest.raises(PatchError):
                self.kb.commit(patch=patch)
            return multiple()
        self.kb.head()
        return self._landed(self.kb.commit(patch=patch, message=message), {**now, key: value}, message)

    @rule(target=versions, data=st.data())
    def commit_deep(self, data: st.DataObject) -> Any:
        """A patch somewhere inside, against the plain fold of it."""
        message = next(self.messages)
        now = self.line[-1].document
        patch = [_operation(data, now) for _ in range(data.draw(st.integers(1, 3)))]
        self.kb.head()
        try:
            wanted = kbstore.apply_patch(now, patch)
        except PatchError:
            with pytest.raises(PatchError):
                self.kb.commit(patch=patch)
            return multiple()
        return self._landed(self.kb.commit(patch=patch, message=message), wanted, message)

    @rule(target=versions, documents=st.lists(DOCUMENTS, min_size=1, max_size=4), empty=st.booleans())
    def commit_many(self, documents: list[Any], empty: bool) -> Any:
        """Several documents in one write, those that change nothing kept or left out."""
        self.kb.head()
        messages = [next(self.messages) for _ in documents]
        made = self.kb.commit_many(
            [Change(d, message=m, allow_empty=empty) for d, m in zip(documents, messages, strict=True)]
        )
        assert not empty or all(v.created for v in made)
        landed = []
        for version, document, message in zip(made, documents, messages, strict=True):
            if version.created:
                landed.append(self._landed(version, document, message))
            else:
                assert (version.seq, version.id) == (len(self.line), self.line[-1].id)
                assert exactly(self.line[-1].document) == exactly(document)
        return multiple(*landed)

    @rule(target=versions)
    def commit_nothing(self) -> Any:
        """An unchanged document gives the head, unless an empty version is asked for."""
        now = self.line[-1].document
        self.kb.head()
        assert not self.kb.commit(now).created
        message = next(self.messages)
        return self._landed(self.kb.commit(now, message=message, allow_empty=True), now, message)

    @rule(target=versions, key=st.sampled_from(TOP), value=ITEMS)
    def edit(self, key: str, value: Any) -> Any:
        """An edit in place."""
        now = self.line[-1].document
        if not isinstance(now, dict):
            return multiple()
        message = next(self.messages)
        with self.kb.edit(message=message) as document:
            document[key] = value
        wanted = {**now, key: value}
        if exactly(wanted) == exactly(now):
            return multiple()
        return self._landed(self.kb.head(), wanted, message)

    @precondition(lambda self: self.branch == "main" and isinstance(self.line[-1].document, dict))
    @rule(
        target=versions,
        keys=st.lists(st.sampled_from(TOP), min_size=2, max_size=2),
        theirs=ITEMS,
        ours=ITEMS,
        rebase=st.booleans(),
    )
    def commit_stale(self, keys: list[str], theirs: Any, ours: Any, rebase: bool) -> Any:
        """Another handle commits one member after we looked: we keep it, or are told of the conflict."""
        document = self.kb.checkout()
        base = len(self.line)
        message = next(self.messages)
        landed = [
            self._landed(
                self.other.commit(patch=[{"op": "add", "path": f"/{keys[0]}", "value": theirs}], message=message),
                {**document, keys[0]: theirs},
                message,
            )
        ]
        moved = len(self.line) > base
        wanted = {**document, keys[1]: ours}
        changes = exactly(wanted) != exactly(document)
        message = next(self.messages)
        version, collided = None, None
        try:
            version = self.kb.commit(wanted, message=message, base=base, rebase=rebase)
        except ConflictError as conflict:
            collided = [pointer for pointer, *_ in conflict.pointers]
        same = keys[0] == keys[1]
        if version is None:
            assert moved
            # Disjoint members never collide; where nothing was kept, the whole document is written instead.
            assert not rebase or (collided and (same or "" in collided))
        elif same and moved:
            assert rebase
            assert not changes or exactly(theirs) == exactly(ours) or _nested(theirs)
            if version.created:
                self.line.append(Kept(version.id, self.kb.checkout(), message))
                landed.append((self.branch, version.seq))
        else:
            assert rebase or not moved
            expected = {**self.line[-1].document, keys[1]: ours} if changes else self.line[-1].document
            landed.append(self._landed(version, expected, message))
        self.kb.head()
        return multiple(*[one for one in landed if isinstance(one, tuple)])

    @rule(target=versions, at=versions)
    def restore(self, at: tuple[str, int]) -> Any:
        """A new version with an old one's content."""
        branch, seq = at
        kept = self.model.lines[branch][seq - 1]
        if kept.id not in {k.id for k in self.line}:
            return multiple()
        message = next(self.messages)
        self.kb.head()
        return self._landed(self.kb.restore(f"v{seq}", message=message), kept.document, message)

    # ---- names ----------------------------------------------------------------------------------------------------

    @rule(name=NAMES, at=versions, force=st.booleans())
    def tag(self, name: str, at: tuple[str, int], force: bool) -> None:
        """Name a version of the open line; a name that is taken stays where it is."""
        branch, seq = at
        kept = self.model.lines[branch][seq - 1]
        if kept.id not in {k.id for k in self.line}:
            return
        there = self.model.tags.get(name)
        if there is not None and there != kept.id and not force:
            with pytest.raises(RevisionError):
                self.kb.tag(name, f"v{seq}")
            return
        assert self.kb.tag(name, f"v{seq}", force=force).id == kept.id
        self.model.tags[name] = kept.id

    @rule(name=NAMES)
    def untag(self, name: str) -> None:
        """Take a name away, where it is given."""
        if self.model.tags.pop(name, None) is None:
            with pytest.raises(RevisionError):
                self.other.untag(name)
        else:
            self.other.untag(name)

    @rule(name=BRANCHES, at=versions)
    def create_branch(self, name: str, at: tuple[str, int]) -> None:
        """Start a branch at a version of the open line."""
        branch, seq = at
        kept = self.model.lines[branch][seq - 1]
        if kept.id not in {k.id for k in self.line}:
            return
        if name in self.model.lines:
            with pytest.raises(RevisionError):
                self.kb.create_branch(name, f"v{seq}")
            return
        self.kb.create_branch(name, f"v{seq}")
        self.model.lines[name] = self.line[:seq]

    @rule(data=st.data())
    def switch(self, data: st.DataObject) -> None:
        """Go on with another branch."""
        self.branch = data.draw(st.sampled_from(sorted(self.model.lines)))
        self.reopen()

    # ---- care -----------------------------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        """Close and open; at times both handles, so that the store is closed in between."""
        self.kb.close()
        self.other.close()
        self.kb = Store.open(self.location, clock=self.clock, author="ann", branch=self.branch)
        self.other = Store.open(self.location, clock=self.clock, author="bob")

    @rule(other=st.booleans())
    def gc(self, other: bool) -> None:
        """Collect garbage, also from the other handle."""
        kb = self.other if other else self.kb
        kb.gc(dry_run=True)
        kb.gc()

    @rule()
    def snapshot(self) -> None:
        """A complete snapshot now."""
        self.kb.snapshot()

    @rule()
    def drop_caches(self) -> None:
        """Every snapshot and note vanishes under both handles."""
        backend = self.other.backend
        for log in backend.logs():
            backend.drop_snapshots(log, [s.number for s in backend.snapshots(log)])
        for name in backend.note_names():
            backend.drop_notes(name)

    @rule()
    def verify(self) -> None:
        """All is sound, and the head is where the list ends; against an id that is not there it is not."""
        report = self.kb.verify(head=self.line[-1].id)
        assert report.ok, report.problems
        assert report.pinned
        assert report.caches == []
        assert report.head == self.line[-1].id
        assert not self.kb.verify(head="0" * 64).ok

    @rule()
    def carry_over(self) -> None:
        """Exported and imported into another store, versions keep their ids and documents; twice adds nothing."""
        lines = list(export_events(self.kb))
        with Store.create("memory:") as copy:
            done = import_lines(copy, lines)
            assert (done.versions, done.known) == (len(self.line), 0)
            again = import_lines(copy, lines)
            assert (again.versions, again.known) == (0, len(self.line))
            assert [v.id for v in copy.log(newest_first=False)] == [k.id for k in self.line]
            assert exactly(copy.checkout()) == exactly(self.line[-1].document)
            assert copy.verify().ok

    @rule()
    def carry_all_over(self) -> None:
        """Exported and imported whole, every branch, tag and id is there, and holds; twice adds nothing."""
        with Store.open(self.location, clock=self.clock) as main:
            lines = list(export_all(main))
        with Store.create("memory:") as copy:
            import_lines(copy, lines)
            again = import_lines(copy, lines)
            assert (again.versions, again.refs) == (0, 0)
            assert copy.branches() == sorted(self.model.lines)
            assert {name: v.id for name, v in copy.tags().items()} == self.model.tags
            for branch, line in self.model.lines.items():
                kb = Store(copy.backend, branch=branch)
                assert [v.id for v in kb.log(newest_first=False)] == [kept.id for kept in line]
                assert exactly(kb.checkout()) == exactly(line[-1].document)
            report = copy.verify(head=self.model.lines["main"][-1].id)
            assert (report.problems, report.caches) == ([], [])

    # ---- reading --------------------------------------------------------------------------------------------------

    @rule(at=versions)
    def checkout(self, at: tuple[str, int]) -> None:
        """Any version, by the handle that wrote it or by the other."""
        branch, seq = at
        kept = self.model.lines[branch][seq - 1]
        if branch == self.branch:
            assert exactly(self.kb.checkout(seq)) == exactly(kept.document)
        if branch == "main":
            assert exactly(self.other.checkout(seq)) == exactly(kept.document)

    @rule(at=versions, data=st.data())
    def get(self, at: tuple[str, int], data: st.DataObject) -> None:
        """One value of any version, or nothing where the list has nothing."""
        branch, seq = at
        if branch != self.branch:
            return
        document = self.model.lines[branch][seq - 1].document
        pointer, value = data.draw(_places(document))
        assert exactly(self.kb.get(pointer, at=seq)) == exactly(value)
        with pytest.raises(PointerError):
            self.kb.get(pointer + "/nowhere to be found", at=seq)

    @rule(first=versions, second=versions)
    def diff(self, first: tuple[str, int], second: tuple[str, int]) -> None:
        """Between any two versions of a line: the patch leads there, and its inverse back."""
        if first[0] != self.branch or second[0] != self.branch:
            return
        old, new = (self.model.lines[b][s - 1].document for b, s in (first, second))
        diff = self.kb.diff(first[1], second[1])
        assert exactly(kbstore.apply_patch(old, diff.patch)) == exactly(new)
        assert exactly(kbstore.apply_patch(new, diff.inverse)) == exactly(old)
        assert bool(diff.patch) == (exactly(old) != exactly(new))

    @rule(key=st.sampled_from(TOP))
    def log_of_a_path(self, key: str) -> None:
        """Every version that changed a member, and no other but those that wrote what was there."""
        found = [v.seq for v in self.kb.log(path=f"/{key}", newest_first=False)]
        changed: list[int] = []
        before: Any = "nothing"
        for seq, kept in enumerate(self.line, 1):
            there = isinstance(kept.document, dict) and key in kept.document
            now = exactly(kept.document[key]) if there else "nothing"
            if now != before:
                changed.append(seq)
            before = now
        assert set(found) >= set(changed)
        assert found == sorted(found)
        for seq in set(found) - set(changed):  # it wrote there what was there before
            paths = {p for op in self.kb.version(seq).patch for p in (op["path"], op.get("from", op["path"]))}
            assert any((path + "/").startswith(f"/{key}/") for path in paths)

    @invariant()
    def names_and_log_agree(self) -> None:
        """Log, heads, tags and branches, after every step and from both handles."""
        assert [(v.id, v.message) for v in self.kb.log()] == [(k.id, k.message) for k in reversed(self.line)]
        main = self.model.lines["main"]
        assert self.other.head().id == (main[-1].id if main else "")
        assert {name: v.id for name, v in self.kb.tags().items()} == self.model.tags
        assert {name: v.id for name, v in self.other.tags().items()} == self.model.tags
        assert self.kb.branches() == sorted(self.model.lines)

    def _compare_all(self, kb: Store) -> None:
        for seq, kept in enumerate(self.line, 1):
            assert exactly(kb.checkout(seq)) == exactly(kept.document)
        parents = [v.parents for v in kb.log(newest_first=False)]
        assert parents == [(), *((k.id,) for k in self.line[:-1])][: len(self.line)]


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _places(document: Any) -> st.SearchStrategy[tuple[str, Any]]:
    """Pointers into a document and what stands there."""
    found: list[tuple[str, Any]] = [("", document)]
    for pointer, value in found:
        if len(found) > 200:
            break
        items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for token, item in items:
            found.append((f"{pointer}/{str(token).replace('~', '~0').replace('/', '~1')}", item))
    return st.sampled_from(found)


def _operation(data: st.DataObject, document: Any) -> dict[str, Any]:
    """One operation that has a chance to apply."""
    pointer, _ = data.draw(_places(document))
    source, _ = data.draw(_places(document))
    kind = data.draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]))
    if kind in ("add", "copy", "move") and data.draw(st.booleans()):
        pointer += data.draw(st.sampled_from(["/-", "/0", "/new", "/k1"]))
    operation: dict[str, Any] = {"op": kind, "path": pointer}
    if kind in ("move", "copy"):
        operation["from"] = source
    elif kind != "remove":
        operation["value"] = data.draw(ITEMS)
    return operation


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_store_is_a_list_of_documents(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits, branches, tags, restores, collections, reopening and lost caches in any order change no answer."""
    eager_snapshots(monkeypatch)
    numbers = itertools.count()

    def place() -> str:
        name = f"{next(numbers)}"
        return str(tmp_path / f"{name}.db") if kind == "sqlite" else f"memory://model-{name}"

    machine = type("Machine", (StoreMachine,), {"place": staticmethod(place)})
    runs = 400 if LONG else 12
    run_state_machine_as_test(machine, settings=settings(max_examples=runs, stateful_step_count=40 if LONG else 25))
    assert next(numbers) >= math.floor(runs / 2)
