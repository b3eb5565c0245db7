"""Clocks that are wrong: what they dated lands, is noticed by whoever commits, and hides no true time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kbstore import Change, KBStoreError, RevisionError, Store
from kbstore.backends import create_backend
from kbstore.sync.jsonl import import_lines
from tests.store.support import START, Ticks, replacing


class Hand:
    """A clock whose hand is set by the test."""

    def __init__(self) -> None:
        self.moment = START
        self._ticks = Ticks()

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment

    def token(self) -> str:
        """As `Ticks` gives them."""
        return self._ticks.token()


class Served:
    """A backend on a server with a clock of its own, which may be silent."""

    def __init__(self, moment: datetime | None) -> None:
        self._inner = create_backend("memory:")
        self.moment = moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def server_time(self) -> datetime | None:
        """What the server says."""
        return self.moment


@pytest.fixture
def clock() -> Hand:
    """A clock that is right as long as nobody sets it."""
    return Hand()


@pytest.fixture
def kb(clock: Hand, location: str) -> Iterator[Store]:
    """A store with one version."""
    with Store.create(location, {"n": 0}, clock=clock) as found:
        yield found


def test_a_clock_that_was_ahead_hides_no_true_time(kb: Store, clock: Hand) -> None:
    """Later versions have the time of the one that was ahead, and their own as `authored`; each commit says so."""
    clock.moment = ahead = START + timedelta(days=400)
    first = kb.commit(patch=replacing("/n", 1))
    assert (first.time, first.authored) == (ahead, ahead)
    assert len(first.notes) == 1
    assert "400 days after" in first.notes[0]
    for n in range(2, 5):
        clock.moment = START + timedelta(minutes=n)
        later = kb.commit(patch=replacing("/n", n))
        assert (later.time, later.authored) == (ahead, clock.moment)
        assert kb.version(later.seq).authored == clock.moment
        assert later.as_dict()["authored"] == f"2025-01-27T12:0{n}:00.000000Z"
        assert len(later.notes) == 1
        assert "2025-01-27T12:0" in later.notes[0]
        assert "2026-03-03T12:00:00Z" in later.notes[0]
    assert [v.seq for v in kb.log(since=ahead)] == [4 + 1, 4, 3, 2]
    assert kb.version("@2025-01-28").seq == 1
    assert kb.verify().ok


def test_only_the_version_that_a_commit_returns_has_notes(kb: Store, clock: Hand) -> None:
    """They are about the clock of this machine just now, and are kept nowhere."""
    clock.moment -= timedelta(hours=1)
    made = kb.commit({"n": 1}, write_id="w")
    assert made.notes
    assert kb.head().notes == kb.version(made.seq).notes == kb.commit({"n": 1}, write_id="w").notes == ()
    assert kb.commit({"n": 1}).notes == ()
    assert kb.restore("v1").notes


@pytest.mark.parametrize(
    ("seconds", "noted"),
    [(0, False), (-0.5, False), (-1.5, True), (-86400, True), (60, False), (30 * 86400, False), (31 * 86400, True)],
)
def test_a_clock_is_compared_with_the_version_before(kb: Store, clock: Hand, seconds: float, noted: bool) -> None:
    """Up to a second back and 30 days on are nothing to speak of; whatever differs is kept."""
    clock.moment += timedelta(seconds=seconds)
    made = kb.commit(patch=replacing("/n", 1))
    assert bool(made.notes) is noted
    assert made.authored == clock.moment
    assert made.event.authored == (None if seconds >= 0 else f"{clock.moment:%Y-%m-%dT%H:%M:%S.%fZ}")


def test_several_changes_have_one_look_at_the_clock(kb: Store, clock: Hand) -> None:
    """Those that follow the first one of a commit_many do not repeat its note, unless they have its fault."""
    clock.moment += timedelta(days=40)
    made = kb.commit_many([Change(patch=replacing("/n", n)) for n in range(1, 4)])
    assert [len(version.notes) for version in made] == [1, 0, 0]
    clock.moment -= timedelta(days=1)
    made = kb.commit_many([Change(patch=replacing("/n", n)) for n in range(4, 6)])
    assert [len(version.notes) for version in made] == [1, 1]
    assert {version.authored for version in made} == {clock.moment}


def test_a_time_that_was_given_is_not_the_clocks(kb: Store, clock: Hand) -> None:
    """What was written long ago and is committed now says nothing about this machine's clock."""
    made = kb.commit(patch=replacing("/n", 1), authored=datetime(1999, 1, 1, tzinfo=UTC))
    assert made.notes == ()
    assert (made.time, made.event.authored) == (START, "1999-01-01T00:00:00.000000Z")
    lines = [b'{"document": {"n": 2}, "time": "1998-01-01T00:00:00Z"}', b'{"document": {"n": 3}}']
    assert import_lines(kb, lines).notes == ()
    clock.moment -= timedelta(days=1)
    (noted,) = import_lines(kb, [b'{"document": {"n": 4}}', b'{"document": {"n": 5}}']).notes
    assert "2025-01-26T12:00:00Z" in noted


@pytest.mark.parametrize(
    ("seconds", "noted"),
    [(0, None), (50, None), (-50, None), (75, "75 seconds ahead of"), (-3600, "3,600 seconds behind")],
)
def test_a_clock_is_compared_with_that_of_the_server(clock: Hand, seconds: int, noted: str | None) -> None:
    """Over a minute is remarkable; how old the version before is, is not, as the server knows better."""
    backend: Any = Served(START + timedelta(days=365))
    kb = Store(backend, clock=clock, author="x")
    clock.moment = START - timedelta(days=1)
    kb.commit({"n": 0})
    clock.moment = backend.moment + timedelta(seconds=seconds)
    found = kb.commit({"n": 1}).notes
    assert len(found) == (noted is not None)
    assert noted is None or noted in found[0]
    backend.moment = None
    clock.moment += timedelta(days=31)
    assert "31 days after" in kb.commit({"n": 2}).notes[0]


@pytest.mark.parametrize("year", [1, 900, 999, 1000])
def test_a_year_has_four_digits(year: int) -> None:
    """A document may be as old as writing is; its version is whole, and is found by its time."""
    kb = Store(create_backend("memory:"))
    moment = datetime(year, 2, 3, tzinfo=UTC)
    kb.commit({"n": 0}, authored=moment)
    import_lines(kb, [f'{{"document": {{"n": 1}}, "time": "{year:04}-02-03T00:00:00Z"}}'.encode()])
    assert [version.event.time for version in kb.log()] == [f"{year:04}-02-03T00:00:00.000000Z"] * 2
    assert [version.time for version in kb.log(since=moment)] == [moment] * 2
    assert kb.verify().ok


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_outside_of_the_years_in_utc_is_refused(text: str) -> None:
    """As the time of a document, as a revision and from Python; nothing is written."""
    kb = Store(create_backend("memory:"))
    with pytest.raises(KBStoreError, match="line 1: time: it is not a time"):
        import_lines(kb, [f'{{"document": {{}}, "time": "{text}"}}'.encode()], accept_future=True)
    with pytest.raises(RevisionError, match="is not a date"):
        kb.version(f"@{text}")
    with pytest.raises(KBStoreError, match="authored is not a year from 1 to 9999 in UTC"):
        kb.commit({}, authored=datetime.fromisoformat(text))
    with pytest.raises(KBStoreError, match="since is not a year from 1 to 9999 in UTC"):
        list(kb.log(since=datetime.fromisoformat(text)))
    assert kb.head().seq == 0
