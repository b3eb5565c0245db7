"""What a writer refuses, each by its own sentence, where some other error would satisfy a test that takes any."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kbstore import CorruptStore, RevisionError, Store
from kbstore.backends.memory import MemoryBackend, MemoryStore
from kbstore.commit.writer import Foreign
from kbstore.history.event import decode_event
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.operation import Operation
from tests.cases.security.forge import event, sha
from tests.store.support import START, Ticks, replacing
from tests.store.test_verify import body, state

EARLIER, LATER = "2025-01-01T00:00:00.000000Z", "2025-01-28T00:00:00.000000Z"


@pytest.fixture
def held() -> MemoryStore:
    """What a store with two versions holds."""
    found = MemoryStore()
    with Store(MemoryBackend(found), author="ann", clock=Ticks()) as kb:
        kb.commit({"n": 1})
        kb.commit({"n": 2})
    return found


@pytest.fixture
def kb(held: MemoryStore) -> Store:
    """The store."""
    return Store(MemoryBackend(held), author="ann", clock=Ticks(START.replace(day=28)))


def cut(held: MemoryStore, log: str, records: int) -> None:
    """Drop the newest records of a log, as a copy from before would."""
    found = held.logs[log]
    del found.records[records:]
    del found.slots[records:]


def test_a_log_that_was_cut_short_is_not_written_to(kb: Store, held: MemoryStore) -> None:
    """Its sentence says what was read before, and what is there now."""
    kb.commit({"n": 3})
    one = foreign(kb)
    cut(held, "main", 2)
    said = r"^the log ends at v2, but v3 was read before: it was cut short or replaced$"
    with pytest.raises(CorruptStore, match=said):
        kb.commit(patch=replacing("/n", 4))
    with pytest.raises(CorruptStore, match=said):
        kb.graft([one])
    assert len(held.logs["main"].records) == 2


def foreign(kb: Store, change: Callable[[bytes], bytes] | None = None, **fields: Any) -> Foreign:
    """The event that follows the newest one of a store, with these fields instead."""
    head = kb.head()
    plain = {"seq": head.seq + 1, "parents": [head.id], "time": LATER}
    header = event(body(3), fields.pop("state", state({"n": 3})), **(plain | fields))
    header = change(header) if change is not None else header
    return Foreign("line 1", decode_event(header, "line 1"), header, [Operation("replace", ("n",), value=b"3")])


def test_an_event_that_follows_is_taken(kb: Store) -> None:
    """So whatever is refused below is refused for what it says."""
    kb.graft([foreign(kb)])
    assert kb.checkout() == {"n": 3}
    assert kb.verify().ok


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an older one": ({"time": EARLIER}, "line 1 is older than the version before it"),
    "another number": ({"seq": 4}, "line 1 is v4, which does not follow v2 of this store"),
    "another parent": ({"parents": ["1" * 64]}, "line 1 is v3, which does not follow v2 of this store"),
    "no parent": ({"parents": []}, "line 1 is v3, which does not follow v2 of this store"),
    "another state": ({"state": "1" * 64}, "line 1: the patch of v3 does not lead to the state that it names"),
    "a time to come": ({"time": "2025-01-29T13:00:00.000000Z"},
                       "line 1 is dated 2025-01-29T13:00:00.000000Z, more than a day ahead of this machine's clock"),
    "an order that is missing": ({"order": "1" * 64}, "line 1: the order of members that v3 names is missing"),
    "another form of time": ({"time": "2025-01-28T00:00:00Z"},
                             "line 1: its time '2025-01-28T00:00:00Z' is not in the form of kbstore"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_event_from_elsewhere_is_refused(kb: Store, held: MemoryStore, name: str) -> None:
    """One sentence, that of the guard; nothing is written."""
    fields, said = REFUSED[name]
    one = foreign(kb, **fields)
    with pytest.raises(CorruptStore) as caught:
        kb.graft([one])
    assert str(caught.value) == said
    assert len(held.logs["main"].records) == 2


def test_a_header_of_another_form_is_refused(kb: Store) -> None:
    """Its id is another one than that of the same event in its own form."""
    one = foreign(kb, lambda header: header.replace(b":", b": ", 1))
    with pytest.raises(CorruptStore, match=r"^line 1: its header is not in canonical form$"):
        kb.graft([one])


def test_a_time_to_come_is_taken_if_that_is_wanted(kb: Store) -> None:
    """A clock that was behind is set right."""
    kb.graft([foreign(kb, time="2036-01-01T00:00:00.000000Z")], accept_future=True)
    assert kb.head().seq == 3


def test_the_second_of_two_events_follows_the_first(kb: Store) -> None:
    """And not the newest one of the store; then neither is taken."""
    one = foreign(kb)
    other = foreign(kb, seq=4)
    with pytest.raises(CorruptStore, match=r"^line 1 is v4, which does not follow v3 of this store$"):
        kb.graft([one, other])
    assert kb.head().seq == 2
    following = event(body(4), state({"n": 4}), seq=4, parents=[sha(one.header)], time=LATER)
    patch = [Operation("replace", ("n",), value=b"4")]
    kb.graft([one, Foreign("line 2", decode_event(following, "line 2"), following, patch)])
    assert kb.checkout() == {"n": 4}


def test_nothing_to_take_is_an_error() -> None:
    """A slot without an event would be one that nobody can read."""
    with pytest.raises(CorruptStore, match=r"^no events were given to be appended$"):
        Store(MemoryBackend(MemoryStore())).graft([])


@pytest.mark.parametrize("name", ["dev", "old", "main"])
def test_a_branch_is_not_begun_over_a_name_that_is_there(kb: Store, held: MemoryStore, name: str) -> None:
    """Be it a branch's or a tag's: the versions of the one that has it would be lost to sight."""
    kb.create_branch("dev", "v1")
    kb.tag("old", "v1")
    before = len(held.logs["refs"].records)
    with pytest.raises(RevisionError) as caught:
        kb.create_branch(name, "v2")
    assert str(caught.value) == f"the name {name!r} is taken"
    assert len(held.logs["refs"].records) == before
    assert kb.version("old").seq == 1
    with pytest.raises(RevisionError, match=r"^'dev' is the name of a branch$"):
        kb.tag("dev", "v2", force=True)
    with pytest.raises(RevisionError, match=r"^the name 'old' is taken$") as movable:
        kb.tag("old", "v2")
    assert movable.value.hint == "use --force to move the tag"
    kb.tag("old", "v2", force=True)
    assert kb.version("old").seq == 2


def test_a_change_of_refs_from_elsewhere_follows(kb: Store, held: MemoryStore) -> None:
    """The one that is there is passed over, another one in its place is refused, and so is one that skips some."""
    kb.tag("one", "v1")
    header = held.logs["refs"].records[0][1]
    assert kb.graft_ref(header) is False
    fields = json.loads(header)
    with pytest.raises(CorruptStore, match=r"^this store has other tags and branches$"):
        kb.graft_ref(encode(fields | {"name": "two"}))
    with pytest.raises(CorruptStore, match=r"^it is change 3 of tags and branches, and does not follow 1 here$"):
        kb.graft_ref(encode(fields | {"name": "two", "seq": 3}))
    with pytest.raises(CorruptStore, match=r"^it is change 2 of tags and branches, and does not follow 1 here$"):
        kb.graft_ref(encode(fields | {"name": "two", "seq": 2}))
    with pytest.raises(CorruptStore, match="names the version 111111111111, which is not here"):
        kb.graft_ref(encode(fields | {"name": "two", "seq": 2, "target": "1" * 64}))
    assert len(held.logs["refs"].records) == 1
