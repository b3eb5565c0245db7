"""Settings of a store: events beside the tags, which every writer and every clone reads."""

from pathlib import Path
from typing import Any

import pytest

from kbstore import ConflictError, KBStoreError, Store
from kbstore.history.branch import REFS_LOG
from kbstore.history.refs import decode_ref
from kbstore.history.settings import identity_setting
from kbstore.sync.jsonl import export_all, import_lines
from kbstore.sync.remote import clone_into, replicate
from tests.store.support import Ticks

HALLS = [{"city": "A", "hall": "x", "seats": "1"}, {"city": "B", "hall": "x", "seats": "1"}]
PLACES = identity_setting("/halls")


def changed(seats: str) -> list[dict[str, Any]]:
    """The halls in another order, and with other seats in the second one."""
    return [{**HALLS[1], "seats": seats}, HALLS[0]]


def test_a_setting_is_an_event(location: str) -> None:
    """It is read by every handle; its changes stay in the chain, and setting it to what it is changes nothing."""
    with Store.create(location, {"halls": HALLS}, author="ann", clock=Ticks()) as kb:
        assert kb.settings() == {}
        kb.set(PLACES, ["city", "hall"])
        kb.set(PLACES, ["city", "hall"])
        kb.set("collection", ["/halls"], author="bob", write_id="once")
        kb.set("collection", ["/halls"], author="bob", write_id="once")
        assert Store(kb.backend).settings() == {"collection": ("/halls",), PLACES: ("city", "hall")}
        assert Store(kb.backend).collection() == "/halls"
        kb.set(PLACES, None)
        assert kb.settings() == {"collection": ("/halls",)}
        events = [decode_ref(record.header, record.number) for record in kb.backend.read(REFS_LOG)]
        assert [(event.kind, event.name, event.value, event.author) for event in events] == [
            ("setting", PLACES, ("city", "hall"), "ann"),
            ("setting", "collection", ("/halls",), "bob"),
            ("setting", PLACES, None, "ann"),
        ]
        assert kb.verify().ok
        for other in (lambda: kb.set("collection", ["/other"], write_id="once"), lambda: kb.tag("t", write_id="once")):
            with pytest.raises(KBStoreError, match="the write id 'once' belongs to another change: the setting"):
                other()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("color", ["red"], "there is no setting 'color'"),
        ("collection", ["halls"], "the pointer 'halls' does not start with a slash"),
        ("collection", ["/a", "/b"], "a collection is one pointer"),
        ("collection", [], "a collection is one pointer"),
        ("identity:halls", ["id"], "the pointer 'halls' does not start with a slash"),
        (PLACES, [], "'nothing' cannot identify elements"),
        (PLACES, ["id", ""], "'id, ' cannot identify elements"),
        (PLACES, ["id", "id"], "'id, id' cannot identify elements"),
    ],
)
def test_what_is_no_setting_is_refused(name: str, value: list[str], told: str) -> None:
    """Names and values are checked before anything is written."""
    kb = Store.create("memory:", {})
    with pytest.raises(KBStoreError, match=told):
        kb.set(name, value)
    assert kb.backend.tail(REFS_LOG).number == 0


def test_the_set_members_identify_elements_in_every_view(location: str) -> None:
    """Diff, patch, merge and conflicts go by two members together, which nothing would find."""
    with Store.create(location, {"halls": HALLS}) as kb:
        other = Store(kb.backend)
        kb.set(PLACES, ["city", "hall"])
        diff = kb.diff("v1", document={"halls": changed("2")})
        assert (diff.added, diff.removed, diff.modified) == ([], [], ["[city=B,hall=x]"])
        assert (diff.moved, diff.reordered) == (["[city=A,hall=x]"], 2)
        kb.commit({"halls": changed("1")})
        other.commit({"halls": [HALLS[0], {**HALLS[1], "seats": "2"}]}, base="v1")
        assert kb.checkout() == {"halls": changed("2")}
        with pytest.raises(ConflictError) as refused:
            other.commit({"halls": [HALLS[0], {**HALLS[1], "seats": "3"}]}, base="v1")
        assert refused.value.pointers == [("/halls/[city=B,hall=x]/seats", "3", "2")]


def test_settings_go_where_the_history_goes(tmp_path: Path) -> None:
    """A clone, a push and an import have them; both sides' changes of one are a conflict, unless forced."""
    source = Store.create(tmp_path / "a.db", {"halls": HALLS})
    source.set(PLACES, ["city", "hall"])
    lines = b"".join(export_all(source))
    clone_into(source, str(tmp_path / "b.db"))
    target = Store.open(tmp_path / "b.db")
    assert target.settings() == source.settings() == {PLACES: ("city", "hall")}
    imported = Store.create("memory:")
    import_lines(imported, lines.splitlines())
    assert imported.settings() == source.settings()
    source.set("collection", ["/halls"])
    target.set(identity_setting("/x"), ["id"])
    replicate(source, target)
    assert target.settings() == {"collection": ("/halls",), PLACES: ("city", "hall"), identity_setting("/x"): ("id",)}
    source.set(PLACES, ["hall"])
    target.set(PLACES, ["city"])
    with pytest.raises(ConflictError, match="identity:/halls"):
        replicate(source, target)
    replicate(source, target, force=True)
    assert target.settings()[PLACES] == ("hall",)
    assert target.verify().ok
