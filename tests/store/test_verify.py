"""Each single check of `verify`: one forgery, around which all is consistent, and the sentence that is said of it.

A forger computes every id and hash anew, so no chain breaks and only the check that the forgery is about can find it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.base import Chunk, Record
from kbstore.backends.memory import MemoryBackend, MemoryStore
from kbstore.history.snapshots import Base, Note, mark_of
from kbstore.jsondoc.canonical import encode
from kbstore.tree.builder import root_of
from tests.cases.security.forge import event, ref, sha

DAY = "2025-01-0{}T00:00:00.000000Z"
LOG = "b0123456789abcde"
LONG = "x" * 3000
Change = Callable[[bytes], bytes]


def state(document: Any) -> str:
    """The hash of a document."""
    return root_of(document).address.hex()


def body(seq: int) -> bytes:
    """The patch of a version of the plain history."""
    if seq == 1:
        return b'[{"op":"add","path":"","value":{"n":1}}]'
    return b'[{"op":"replace","path":"/n","value":%d}]' % seq


class Forger:
    """Writes a store record by record, as one that computes every id anew.

    Attributes:
        ids: The ids of what was written, by log.
    """

    def __init__(self) -> None:
        self.backend = MemoryBackend(MemoryStore())
        self.ids: dict[str, list[str]] = {}

    def record(self, log: str, header: bytes, patch: bytes = b"", chunks: Sequence[bytes] = ()) -> str:
        """Append a record; returns its id."""
        ids = self.ids.setdefault(log, [])
        made = [Chunk(bytes.fromhex(sha(chunk)), chunk) for chunk in chunks]
        number = len(ids) + 1
        self.backend.append(log, number, [Record(header, patch)], write_id=f"{log}{number:020}", chunks=made)
        ids.append(sha(header))
        return ids[-1]

    def version(self, seq: int, *, log: str = "main", change: Change | None = None, chunks: Sequence[bytes] = (),
                patch: bytes | None = None, **fields: Any) -> str:  # fmt: skip
        """Append a version of the plain history, with these fields of its header instead; returns its id."""
        patch = body(seq) if patch is None else patch
        ids = self.ids.get(log, [])
        plain = {"seq": seq, "parents": ids[-1:], "time": DAY.format(seq)}
        header = event(patch, fields.pop("state", state({"n": seq})), **(plain | fields))
        return self.record(log, change(header) if change else header, patch, chunks)

    def ref(self, **fields: Any) -> str:
        """Append a change of tags and branches; returns its id."""
        ids = self.ids.get("refs", [])
        return self.record("refs", ref(len(ids) + 1, ids[-1] if ids else None, **fields))

    def problems(self) -> list[str]:
        """What `verify` says of it."""
        return Store(self.backend).verify().problems


def history(at: int = 0, **forged: Any) -> Forger:
    """Three versions; that with this number has these things forged, and the next one names its id."""
    forger = Forger()
    for seq in (1, 2, 3):
        forger.version(seq, **(forged if seq == at else {}))
    return forger


def members(**fields: Any) -> Change:
    """Put members into a header, in canonical form."""
    return lambda header: encode(json.loads(header) | fields)


def parents(*more: str) -> Change:
    """Add parents to a header."""
    return lambda header: encode(json.loads(header) | {"parents": [*json.loads(header)["parents"], *more]})


def test_the_plain_history_is_whole() -> None:
    """So whatever is said below is said of the forgery."""
    forger = history()
    forger.ref(kind="tag", name="t", target=forger.ids["main"][1], version=2)
    forger.ref(kind="branch", name="dev", target=forger.ids["main"][1], version=2, log=LOG)
    forger.version(3, log=LOG, parents=[forger.ids["main"][1]])
    report = Store(forger.backend).verify()
    assert (report.problems, report.caches, report.versions, report.readable) == ([], [], 4, 4)


FORM = "its header is not in canonical form"
READABLE = "; its document can be read"
HEADERS: dict[str, tuple[Change, str]] = {
    "blanks": (lambda header: header.replace(b":", b": ", 1), FORM),
    "the state in capitals": (members(state=state({"n": 2}).upper()),
                              f"{FORM}; its patch does not lead to the state that it names"),
    "a short order": (members(order="00"), f"{FORM}; the order of its members cannot be read"),
    "seq 0": (members(seq=0), f"{FORM}; its header says that it is v0"),
    "a third parent": (parents("1" * 64, "2" * 64), FORM),
    "a parent in capitals": (parents("A" * 64), FORM),
    "a time in seconds": (members(time="2025-01-02T00:00:00Z"),
                          "its time '2025-01-02T00:00:00Z' is not in the form of kbstore"),
    "a time that is none": (members(time="2025-01-02T25"), "its time is '2025-01-02T25'"),
    "a time of writing that is none": (members(authored="now"), "its time is 'now'"),
    "a time of writing in seconds": (members(authored="2025-01-02T00:00:00Z"),
                                     "its time '2025-01-02T00:00:00Z' is not in the form of kbstore"),
    "another seq": (members(seq=7), "its header says that it is v7"),
    "no parent": (members(parents=[]), "it does not name the version before it as its parent"),
    "another parent": (members(parents=["1" * 64]), "it does not name the version before it as its parent"),
    "an earlier time": (members(time="2024-12-31T00:00:00.000000Z"), "it is older than the version before it"),
    "another format": (members(format=2), "it has event format 2; this kbstore reads 1"),
    "another patch": (members(patch="1" * 64), "its patch is not the one that was committed"),
    "another state": (members(state="1" * 64), "its patch does not lead to the state that it names"),
    "an order that is not there": (members(order="1" * 64), "the order of its members cannot be read"),
}  # fmt: skip
UNREAD = {"another state", "another patch", "another format", "the state in capitals"}


@pytest.mark.parametrize("name", HEADERS)
def test_a_forged_header_is_told(name: str) -> None:
    """One sentence, that of the check."""
    change, said = HEADERS[name]
    problems = history(2, change=change).problems()
    rest = "; the document of v2 cannot be read, v3 can" if name in UNREAD else READABLE
    assert problems == [f"version v2 is damaged: {said}{rest}"]


def test_times_go_on_from_the_latest_one() -> None:
    """A version may not be older than any before it, though it is no older than the one right before it."""
    forger = Forger()
    for seq, day in ((1, 3), (2, 1), (3, 2)):
        forger.version(seq, time=DAY.format(day))
    told = "versions v2 to v3 are damaged, each alike: it is older than the version before it"
    assert forger.problems() == [told]


def test_the_first_version_has_no_parent() -> None:
    """Nothing is before it."""
    said = "it does not name the version before it as its parent"
    assert history(1, parents=["1" * 64]).problems() == [f"version v1 is damaged: {said}{READABLE}"]


def test_a_branch_goes_on_from_the_version_that_it_was_started_from() -> None:
    """Its first version names that one as its parent, and no other version of the line."""
    forger = history()
    forger.ref(kind="branch", name="dev", target=forger.ids["main"][1], version=2, log=LOG)
    forger.version(3, log=LOG, parents=[forger.ids["main"][2]])
    said = "it does not name the version before it as its parent"
    assert forger.problems() == [f"version v3 of branch dev is damaged: {said}{READABLE}"]


SHORT = b's"abc"'
SMALL = b'v"abc"'
NODE = b's"%s"' % LONG.encode()
KINDS = "an operation of its patch is not {!r} as RFC 6902 has it"
PLACE = "a value in its patch stands where it should not"
BODY = "its patch is not in canonical form"
VALUE = "a long value in its patch cannot be read"
NO_VALUE = f"{VALUE}: the value {sha(SHORT)} is not what its content makes: a short value is a node of its own"
BODIES: dict[str, tuple[bytes, str]] = {
    "a removal with a value": (b'{"op":"add","path":"/m","value":1},{"op":"remove","path":"/m","value":2}',
                               KINDS.format("remove")),
    "an addition with a source": (b'{"from":"/n","op":"add","path":"/n","value":2}', KINDS.format("add")),
    "a long value inside": (b'{"op":"add","path":"/n","value":"%s"}' % LONG.encode(), PLACE),
    "blanks": (b'{"op":"add", "path":"/n","value":7}', BODY),
    "members of a value in another order": (b'{"op":"add","path":"/n","value":{"b":1,"a":2}}', BODY),
    "an address in capitals": (b'{"op":"add","path":"/n","value_node":"%s"}' % sha(NODE).upper().encode(), BODY),
    "a small document as a node": (b'{"op":"add","path":"/n","value_node":"%s"}' % sha(SMALL).encode(),
                                   f"{PLACE}; {VALUE}: a short value is a node of its own"),
    "a value that is not there": (b'{"op":"add","path":"/n","value_node":"%s"}' % (b"1" * 64), VALUE),
    "a short value as a node": (b'{"op":"add","path":"/n","value_node":"%s"}' % sha(SHORT).encode(),
                                f"{NO_VALUE}, or a long one is not"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_forged_patch_is_told(name: str) -> None:
    """One sentence, that of the check; the operation behind it leads to the right document all the same."""
    forged, said = BODIES[name]
    patch = b'[%s,{"op":"replace","path":"/n","value":2}]' % forged
    problems = history(2, patch=patch, chunks=[SHORT, SMALL, NODE]).problems()
    assert problems == [f"version v2 is damaged: {said}{READABLE}"]


def test_a_patch_that_does_not_fit_is_told() -> None:
    """With what does not fit; what comes behind it is not blamed, and cannot be read."""
    told = (
        "version v2 is damaged: its patch does not fit the version before it: operation 0 (remove '/m'): there is "
        "nothing at '/m'; the documents of v2 to v3 cannot be read, v3 is the newest"
    )
    assert history(2, patch=b'[{"op":"remove","path":"/m"}]').problems() == [told]


ORDERS = {
    "no node": b"[]",
    "no rules": NODE,
    "rules in another form": b'v{"names": ["a"]}',
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_forged_order_is_told(name: str) -> None:
    """The rules are there, are what their content makes, and are rules."""
    chunk = ORDERS[name]
    problems = history(2, order=sha(chunk), chunks=[chunk]).problems()
    assert problems == [f"version v2 is damaged: the order of its members cannot be read{READABLE}"]


TAG = {"kind": "tag", "name": "t", "version": 2}
BRANCH = {"kind": "branch", "name": "dev", "version": 2, "log": LOG}
SETTING = {"kind": "setting", "name": "collection", "value": ["/a"]}
REFS: dict[str, tuple[dict[str, Any], str]] = {
    "a tag with an empty log": (TAG | {"log": ""}, "the tag 't' has a log"),
    "another format": (TAG | {"format": 2}, "it is not in canonical form"),
    "a time in seconds": (TAG | {"time": "2025-01-01T00:00:00Z"},
                          "its time '2025-01-01T00:00:00Z' is not in the form of kbstore"),
    "a time that is none": (TAG | {"time": "yesterday"}, "its time 'yesterday' is not in the form of kbstore"),
    "a setting with a target": (SETTING, "the setting 'collection' names a version"),
    "a setting with a version": (SETTING | {"version": 2, "target": None},
                                 "the setting 'collection' names a version"),
    "a setting on a branch": (SETTING | {"branch": "dev", "target": None},
                              "the setting 'collection' names a version"),
    "a setting with a log": (SETTING | {"log": LOG, "target": None},
                             "the setting 'collection' names a version"),
    "an unknown setting": ({"kind": "setting", "name": "x", "value": ["y"], "target": None}, "there is no setting 'x'"),
    "a name that is a revision": (TAG | {"name": "v1"},
                                  "'v1' cannot be a name, since it would be read as another kind of revision"),
    "the name of main": (TAG | {"name": "main"}, "the name 'main' is taken"),
    "a tag with a value": (TAG | {"value": ["x"]}, "the tag 't' names no version"),
    "a tag of version 0": (TAG | {"version": 0}, "the tag 't' names no version"),
    "a tag of a version below": (TAG | {"version": -1}, "the tag 't' names no version"),
    "a tag whose target is no id": (TAG | {"target": "zz"}, "the tag 't' names no version"),
    "a tag that is removed at a version": (TAG | {"target": None}, "the tag 't' names no version"),
    "a branch of nothing": (BRANCH | {"target": None}, "the branch 'dev' is not there"),
    "a tag on no branch": (TAG | {"branch": "dev"}, "the tag 't' is on the branch 'dev', which is not there"),
    "a tag with a log": (TAG | {"log": LOG}, "the tag 't' has a log"),
    "a branch without a log": (BRANCH | {"log": None}, "the branch 'dev' has no log of its own"),
    "a branch on the main log": (BRANCH | {"log": "main"}, "the branch 'dev' has no log of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFS)
def test_a_forged_change_of_refs_is_told(name: str) -> None:
    """One sentence, that of the check; the change behind it, which names its id, is sound."""
    fields, said = REFS[name]
    forger = history()
    forger.ref(**({"target": forger.ids["main"][1]} | fields))
    forger.ref(kind="tag", name="late", target=forger.ids["main"][2], version=3)
    assert forger.problems() == [f"change 1 of tags and branches: {said}"]
    with Store(forger.backend) as kb:
        assert (list(kb.tags()), kb.branches()) == (["late"], ["main"])


def test_a_change_of_refs_has_one_form() -> None:
    """As a header has."""
    forger = history()
    forger.record("refs", ref(**TAG, target=forger.ids["main"][1]).replace(b":", b": ", 1))
    assert forger.problems() == ["change 1 of tags and branches: it is not in canonical form"]


SECOND: dict[str, tuple[dict[str, Any], str]] = {
    "a tag named as the branch": (TAG | {"name": "dev"}, "the name 'dev' is taken"),
    "the branch again": (BRANCH | {"log": LOG[::-1].replace("b", "c", 1)[::-1]}, "the name 'dev' is taken"),
    "a branch named as the tag": (BRANCH | {"name": "old", "log": "b1123456789abcde"}, "the name 'old' is taken"),
    "a branch on the log of another": (BRANCH | {"name": "two"}, "the branch 'two' has no log of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_a_name_or_log_that_is_taken_is_told(name: str) -> None:
    """As far as the changes before it say."""
    fields, said = SECOND[name]
    forger = history()
    target = {"target": forger.ids["main"][1]}
    forger.ref(**(TAG | target | {"name": "old"}))
    forger.ref(**(BRANCH | target))
    forger.ref(**(target | fields))
    assert forger.problems() == [f"change 3 of tags and branches: {said}"]


@pytest.mark.parametrize("kind", ["tag", "branch"])
@pytest.mark.parametrize("version", [1, 3, 7])
def test_a_target_that_is_not_there_is_told(kind: str, version: int) -> None:
    """A tag or branch that names an event of another version, or of none."""
    forger = history()
    ident = forger.ids["main"][1]
    forger.ref(**((TAG if kind == "tag" else BRANCH) | {"name": "x", "target": ident, "version": version}))
    said = f"the {kind} 'x' names the event {ident}, which is not v{version} of main"
    assert said in forger.problems()


@pytest.mark.parametrize("fields", [{"seq": 7}, {"parent": "1" * 64}, {"parent": None}])
def test_a_change_of_refs_follows_the_one_before_it(fields: dict[str, Any]) -> None:
    """By its number and by the id that it names."""
    forger = history()
    target = forger.ids["main"][1]
    first = forger.record("refs", ref(1, **(TAG | {"target": target})))
    plain = {"kind": "tag", "name": "u", "version": 2, "target": target, "seq": 2, "parent": first}
    header = ref(**(plain | fields))
    forger.record("refs", header)
    forger.record("refs", ref(3, sha(header), **(TAG | {"target": target})))
    assert forger.problems() == ["change 2 of tags and branches does not follow the one before it"]


def test_a_change_of_refs_that_cannot_be_read_is_told() -> None:
    """The one behind it is not blamed for it, and its own target is looked for."""
    forger = history()
    forger.record("refs", b"[]")
    forger.ref(**(TAG | {"target": "1" * 64}))
    first, second = forger.problems()
    assert first.startswith("change 1 of tags and branches is damaged: ")
    assert second == f"the tag 't' names the event {'1' * 64}, which is not v2 of main"


def snapped(forger: Forger, number: int, document: Any, *, on: Base | None = None, whole: bool = True) -> bytes:
    """Put a snapshot of a version, with this document; returns its note."""
    root = root_of(document)
    assert root.node is not None
    data = root.node.encode()
    note = Note(root.address, root.size, on=on).encode()
    chunks = [Chunk(root.address, data)] if whole else []
    assert forger.backend.put_snapshot("main", number, tier=3, note=note, chunks=chunks)
    return note


def test_a_forged_snapshot_is_told() -> None:
    """One of another document deceives whoever reads it; one of which a node is missing is of no use, and no more."""
    forger = history()
    snapped(forger, 1, {"n": 2})
    snapped(forger, 2, {"n": 2})
    snapped(forger, 3, {"n": 3}, whole=False)
    report = Store(forger.backend).verify()
    assert report.problems == [
        "the snapshot of v1 is not of the document that this version names (kbstore gc drops it)"
    ]
    assert report.caches == [
        f"the snapshot of v3 is not complete: state node {state({'n': 3})} is not stored",
    ]


def test_a_note_that_cannot_be_read_is_told() -> None:
    """The snapshot under it is as good as gone."""
    forger = history()
    forger.backend.put_snapshot("main", 3, tier=3, note=b"{}", chunks=[])
    told = "the snapshot of v3 cannot be read"
    assert Store(forger.backend).verify().caches == [told]


def test_a_snapshot_on_one_that_is_gone_is_not_looked_at() -> None:
    """No reader uses it, so nothing that it lacks is told; on the one that it names, it is."""
    forger = history()
    mark = mark_of(snapped(forger, 2, {"n": 2}))
    snapped(forger, 3, {"n": 3}, on=Base(2, "0" * 8), whole=False)
    assert Store(forger.backend).verify().caches == []
    snapped(forger, 3, {"n": 3}, on=Base(2, mark), whole=False)
    assert len(Store(forger.backend).verify().caches) == 1
