"""Two writers at random: nothing is lost or lands at another element without a word."""

from collections import Counter

import pytest

from tests.conftest import LONG, takes_long
from tests.store.two_writers import outcome

CASES = 100_000 if LONG else 2_000
PARTS = 40 if LONG else 4


@takes_long
@pytest.mark.parametrize("part", range(PARTS))
def test_two_writers_lose_nothing(part: int) -> None:
    """Whatever two writers do to one document, the result has both edits, or the second writer gets a conflict."""
    size = CASES // PARTS
    counts = Counter(outcome(seed) for seed in range(part * size, (part + 1) * size))
    # Both moved articles: what they meant by that is for a person to say.
    assert counts["avoidable"] <= size // 80, counts
    assert counts["merged"] > size // 2, counts
