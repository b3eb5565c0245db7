"""Revisions: every way to name a version names exactly one, or says which it could be."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore import RevisionError, Store
from kbstore.history.revision import parse_range, parse_revision
from tests.conftest import LETTERS
from tests.store.support import START, Ticks, replacing


@pytest.fixture
def kb(location: str) -> Iterator[Store]:
    """Ten versions, a day apart, the first at noon of 27 January 2025."""
    with Store.create(location, {"n": 1}, clock=Ticks(step=timedelta(days=1))) as store:
        for n in range(2, 11):
            store.commit(patch=replacing("/n", n), message=f"to {n}")
        yield store


@pytest.mark.parametrize(
    ("revision", "seq"),
    [
        ("v1", 1),
        ("v10", 10),
        (4, 4),
        ("v2_20250128_120000", 2),
        ("v2_20250128_1200", 2),
        ("v2_2025", 2),
        ("v2_", 2),
        ("v2_20250128", 2),
        ("HEAD", 10),
        ("HEAD~", 9),
        ("HEAD~1", 9),
        ("HEAD~~", 8),
        ("HEAD~3", 7),
        ("HEAD~3~2", 5),
        ("~2", 8),
        ("v5~2", 3),
        ("main", 10),
        ("main~4", 6),
        ("HEAD~9", 1),
        ("@2025-01-27T12:00", 1),
        ("@2025-01-27T12:00:00Z", 1),
        ("@2025-01-28", 1),
        ("@2025-01-28T11:59:59.999999", 1),
        ("@2025-01-28T12:00:00", 2),
        ("@2025-01-28T13:00:00+01:00", 2),
        ("@2025-01-28T12:30:00+01:00", 1),
        ("@2099-01-01", 10),
        ("@2025-01-29~1", 1),
        ("v0", 0),
        ("HEAD~10", 0),
    ],
)
def test_every_form_names_its_version(kb: Store, revision: str | int, seq: int) -> None:
    """Numbers, full and shortened names, HEAD, steps back, branches and times resolve as the design says."""
    assert kb.version(revision).seq == seq
    if seq:
        assert kb.checkout(revision) == {"n": seq}
        assert kb.get("/n", at=revision) == seq


@pytest.mark.parametrize(
    "revision",
    [
        "v0_2025",
        "v11",
        "v2_2026",
        "v2_20250128_120001",
        "v1000000000000",
        "HEAD~11",
        "v3~4",
        "@2025-01-27T11:59:59",
        "@yesterday",
        "@",
        "nothing",
        "",
        "v",
        "v-1",
        "V1",
        "head",
        "0000",
        "v1 ",
        " v1",
        "v1\n",
        "HEAD~x",
        "HEAD^",
        "a..b",
        "../v1",
        "v1_2025_01",
        "é" * 200,
        "v" + "1" * 400,
        11,
        -1,
    ],
)
def test_what_names_no_version_is_refused(kb: Store, revision: str | int) -> None:
    """A revision that means nothing is a RevisionError that repeats it."""
    with pytest.raises(RevisionError) as refused:
        kb.version(revision)
    assert all(str(revision).startswith(name.partition("_")[0]) for name in refused.value.candidates)


def test_an_id_may_be_cut_to_four_digits(kb: Store) -> None:
    """Every version goes by its id and by each prefix of at least four digits that no other shares."""
    ids = [v.id for v in kb.log()]
    for v in kb.log():
        assert kb.version(v.id) == v
        for length in (4, 5, 12, 63):
            if sum(i.startswith(v.id[:length]) for i in ids) == 1:
                assert kb.version(v.id[:length]) == v
        with pytest.raises(RevisionError):
            kb.version(v.id[:3])


def test_an_ambiguous_prefix_lists_its_candidates() -> None:
    """A prefix that several ids share names all of them and chooses none."""
    kb = Store.create("memory:", {"n": 0}, clock=Ticks())
    seen: dict[str, list[str]] = {}
    for n in range(1, 2000):
        v = kb.commit(patch=replacing("/n", n), message=f"number {n}")
        same = seen.setdefault(v.id[:4], [])
        same.append(f"v{v.seq} ")
        if len(same) > 1:
            break
    else:
        pytest.fail("the injected clock should have led to a collision")
    with pytest.raises(RevisionError) as refused:
        kb.version(v.id[:4])
    assert len(refused.value.candidates) == 2
    for name in same:
        assert any(c.startswith(name) for c in refused.value.candidates)
        assert name.strip() in str(refused.value)


def test_a_tag_that_looks_like_an_id_is_told_from_it(location: str) -> None:
    """A text that could be an id and names a tag as well would be ambiguous, so such a tag cannot be made."""
    with Store.create(location, {"n": 1}) as kb:
        for name in ("cafe", "0123456789", kb.head().id, kb.head().id[:8], "v1", "v7_x", "HEAD", "v3_2025"):
            if name == "v7_x":
                kb.tag(name)
                assert kb.version(name).seq == 1
                continue
            with pytest.raises(RevisionError):
                kb.tag(name)
            with pytest.raises(RevisionError):
                kb.create_branch(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("head", "another kind"),
        ("Head", "another kind"),
        ("V3", "another kind"),
        ("v\u0663", "another kind"),
        ("V3_2025", "another kind"),
        ("CAFE", "another kind"),
        ("caf\u0663\u0663", "another kind"),
        ("n" * 101, "101 characters is too long"),
        ("a.lock", "ends with .lock"),
        ("a.", "ends with a dot"),
        ("a b", "cannot be a name"),
        ("", "cannot be a name"),
    ],
)
def test_a_name_is_refused_by_the_rule_that_it_breaks(location: str, name: str, told: str) -> None:
    """Also one that a person would read as another form of revision, in whatever letters and digits."""
    with Store.create(location, {"n": 1}) as kb:
        for call in (kb.tag, kb.create_branch):
            with pytest.raises(RevisionError) as refused:
                call(name)
            assert told in f"{refused.value} {refused.value.hint}"
        assert kb.tags() == {}
        kb.tag("V7_x")
        kb.tag("n" * 100)
        kb.tag("face-to-face")
        kb.tag("versi\u00f3n-\u0663")


def test_a_step_back_as_git_writes_it_is_explained(kb: Store) -> None:
    """HEAD^ is refused with a hint at HEAD~1."""
    for text in ("HEAD^", "v3^", "HEAD^^"):
        with pytest.raises(RevisionError) as refused:
            kb.version(text)
        assert "HEAD~1" in str(refused.value.hint)


def test_labels_never_resolve(location: str) -> None:
    """A label on a version is for filtering: as a revision it means nothing."""
    with Store.create(location, {"n": 1}) as kb:
        kb.commit({"n": 2}, tags=["stable"])
        with pytest.raises(RevisionError):
            kb.version("stable")


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("v1..v3", ("v1", "v3")),
        ("v1..", ("v1", "HEAD")),
        ("..v3", ("v0", "v3")),
        ("..", ("v0", "HEAD")),
        ("v1", None),
        ("HEAD~2..HEAD", ("HEAD~2", "HEAD")),
        ("@2025-01-27..@2025-01-28", ("@2025-01-27", "@2025-01-28")),
    ],
)
def test_a_range_has_two_sides(text: str, sides: tuple[str, str] | None) -> None:
    """A..B is split at its dots; a side that is left out is the beginning or the head."""
    assert parse_range(text) == sides


def test_a_range_is_after_its_first_and_up_to_its_last(kb: Store) -> None:
    """The log of A..B leaves A out and has B in."""
    assert [v.seq for v in kb.log("v3", "v6")] == [6, 5, 4]
    assert [v.seq for v in kb.log("v3", "v6", newest_first=False)] == [4, 5, 6]
    assert [v.seq for v in kb.log("v8")] == [10, 9]
    assert [v.seq for v in kb.log(None, "v2")] == [2, 1]
    assert list(kb.log("v6", "v3")) == []
    assert list(kb.log("v3", "v3")) == []


@given(
    st.text(LETTERS, max_size=30)
    | st.from_regex(r"(v|HEAD|@|~|_|\.\.|[0-9a-f]|-|:|T){1,20}", fullmatch=True, alphabet=LETTERS)
)
def test_no_text_upsets_the_reading_of_revisions(text: str) -> None:
    """Whatever is asked for is a version, or is refused by a RevisionError."""
    kb = Store.create("memory:", {"n": 1}, clock=Ticks(START))
    with suppress(RevisionError):
        parse_revision(text)
        assert kb.version(text).seq in (0, 1)
