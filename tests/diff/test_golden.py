"""Every form of one known difference, character by character."""

import pytest

from tests.diff.cases import GOLDEN, NEW, OLD, diff_of, forms


@pytest.mark.parametrize("name", sorted(forms(diff_of(OLD, NEW))))
def test_form_is_as_recorded(name: str) -> None:
    """A form changes only on purpose: `python -m tests.diff.cases` records it anew."""
    assert forms(diff_of(OLD, NEW))[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_equal_documents_say_little() -> None:
    """Where nothing changed, the forms for pipes are empty, and those for people say so."""
    told = forms(diff_of(OLD, OLD))
    for name in ("terminal.txt", "unified.txt", "stat.txt", "names.txt"):
        assert told[name] == ""
    assert "nothing changed" in told["diff.md"]
    assert "nothing changed" in told["diff.html"]
