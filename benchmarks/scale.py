"""How large the measured stores are: the sizes that the limits are meant for, or smaller ones to look at the script."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of knowledge bases, as the workload names them, and numbers of versions.

    Attributes:
        small: The smaller knowledge base.
        large: The larger one.
        few: A short history.
        all_of: The history that `benchmarks.log` reads whole.
        many: A long history.
        repeats: How often a short measurement is made.
        runs: How often a whole process is run.
        lines: How many versions of the real histories are imported; None for all.
    """

    small: str
    large: str
    few: int
    all_of: int
    many: int
    repeats: int
    runs: int
    lines: int | None = None

    @property
    def marks(self) -> tuple[int, ...]:
        """Lengths of history that flatness is shown over."""
        return tuple(n for n in (100, 1_000, 10_000, 100_000) if n <= self.many)


FULL = Scale("M", "L", few=1_000, all_of=10_000, many=100_000, repeats=400, runs=12)
QUICK = Scale("S", "M", few=1_000, all_of=1_000, many=10_000, repeats=200, runs=6)
TINY = Scale("XS", "S", few=100, all_of=100, many=1_000, repeats=5, runs=2, lines=3)

LABELS = {"XS": "0.1 MB", "S": "1 MB", "M": "10 MB", "L": "100 MB"}
"""The sizes of knowledge bases in words: 100 to 100,000 articles of 1 KB."""
