"""The public conformance cases of JSON Patch, all of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from kbstore.errors import PatchError
from kbstore.jsondoc.patch import apply_patch
from tests.jsondoc.values import exactly

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "json-patch"
CASES = [
    pytest.param(case, id=f"{file.stem}-{number}")
    for file in sorted(FIXTURES.glob("*.json"))
    for number, case in enumerate(json.loads(file.read_text()))
]
_ONLY_IN_TEXT = {"duplicate ops", "A.13 Invalid JSON Patch Document"}


def test_the_cases_are_there() -> None:
    """Both files of the suite are read."""
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES)
def test_conformance_case(case: dict[str, Any]) -> None:
    """The document becomes what the case expects, or the patch is refused; the arguments never change."""
    if case.get("comment") in _ONLY_IN_TEXT:
        return  # a member that stands twice is lost when the suite is read; the next test has these two as text
    document, patch = case["doc"], case["patch"]
    before = exactly([document, patch])
    if "error" in case:
        with pytest.raises(PatchError):
            apply_patch(document, patch)
    else:
        expected = case.get("expected", document)
        assert exactly(apply_patch(document, patch)) == exactly(expected)
        assert exactly(apply_patch(document, json.dumps(patch))) == exactly(expected)
    assert exactly([document, patch]) == before


@pytest.mark.parametrize(
    "text",
    [
        '[{"op": "add", "path": "/baz", "value": "qux", "op": "move", "from": "/foo"}]',
        '[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]',
    ],
)
def test_an_operation_with_two_op_members_is_refused(text: str) -> None:
    """Read from text, such a patch is malformed and named by the operation's index."""
    with pytest.raises(PatchError, match="twice") as caught:
        apply_patch({"foo": "bar"}, text)
    assert caught.value.index == 0
