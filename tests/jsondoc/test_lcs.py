"""Alignment: always valid, minimal where that is cheap, and never slow in the number of elements compared."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.jsondoc.lcs import _myers, align

LETTERS = st.lists(st.sampled_from("abcdefgh"), max_size=40)


def check(old: list[Any], new: list[Any]) -> int:
    """Assert that the runs are valid, and return how many elements they match."""
    runs = align(old, new)
    at = to = 0
    for i, j, n in runs:
        assert n > 0
        assert i >= at
        assert j >= to
        assert not (runs and at and i == at and j == to), "runs that touch are one run"
        assert old[i : i + n] == new[j : j + n]
        at, to = i + n, j + n
    assert at <= len(old)
    assert to <= len(new)
    return sum(n for _, _, n in runs)


def longest_common(old: list[Any], new: list[Any]) -> int:
    """Length of a longest common subsequence, by the textbook."""
    row = [0] * (len(new) + 1)
    for a in old:
        left = 0
        for j, b in enumerate(new):
            left, row[j + 1] = row[j + 1], left + 1 if a == b else max(row[j + 1], row[j])
    return row[-1]


@given(LETTERS, LETTERS)
def test_runs_are_valid_and_increasing(old: list[str], new: list[str]) -> None:
    """Whatever the sequences, matched elements are equal and in order."""
    matched = check(old, new)
    assert matched <= longest_common(old, new)
    assert (matched > 0) is bool(set(old) & set(new))


@given(LETTERS)
def test_equal_sequences_are_one_run(old: list[str]) -> None:
    """Nothing is said to differ where nothing does."""
    assert align(old, list(old)) == ([(0, 0, len(old))] if old else [])


@given(LETTERS, LETTERS)
def test_repeating_elements_are_aligned_minimally(old: list[str], new: list[str]) -> None:
    """Where nothing anchors a small gap, it is aligned by a shortest edit script."""
    found = _myers(old, new)
    assert found is not None
    assert len(found) == longest_common(old, new)
    assert all(old[i] == new[j] for i, j in found)


@given(st.lists(st.integers(), unique=True, max_size=40), st.data())
def test_unique_elements_are_aligned_minimally(old: list[int], data: st.DataObject) -> None:
    """Anchors alone give a longest common subsequence."""
    new = data.draw(st.permutations(old))
    assert check(old, new) == longest_common(old, new)


@pytest.mark.parametrize(
    ("old", "new", "matched"),
    [
        (list(range(100_000)), [-1, *range(100_000)], 100_000),
        (list(range(100_000)), list(range(1, 100_000)), 99_999),
        ([f"a{n}" for n in range(100_000)], [f"b{n}" for n in range(100_000)], 0),
        (["x"] * 100_000, ["x"] * 100_001, 100_000),
        (["x", "y"] * 50_000, ["y", "x"] * 50_000, 99_999),
        (["x", "y", "x"] * 30_000, ["x", "y", "z"] * 30_000, 45_000),
        (list(range(50_000)) * 2, list(range(50_000)), 50_000),
    ],
    ids=range(7),
)
def test_large_sequences_are_aligned(old: list[Any], new: list[Any], matched: int) -> None:
    """Insertions, removals, periods and total change of 100,000 elements are found, at least nearly all."""
    assert check(old, new) >= matched * 0.99


def test_large_random_sequences_of_few_letters_end() -> None:
    """Noise of 60,000 repeating elements ends in a valid alignment."""
    source = random.Random(5)
    old = [source.choice("abcdefgh") for _ in range(60_000)]
    new = [source.choice("abcdefgh") for _ in range(60_000)]
    assert check(old, new) > 20_000


def test_a_shuffle_is_aligned_on_its_longest_increasing_part() -> None:
    """100,000 unique elements in random order have about twice the root of their number in order."""
    old = list(range(100_000))
    new = list(old)
    random.Random(5).shuffle(new)
    assert check(old, new) > 500
