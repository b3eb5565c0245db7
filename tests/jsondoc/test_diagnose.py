"""Texts in other formats are refused by name, with what makes JSON of them; broken JSON is not taken for one."""

import gzip

import pytest

from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import loads

FORMATS: list[tuple[str, str, list[str]]] = [
    ("JSON Lines", "jq -s", ['{"a":1}\n{"a":2}\n', "[1]\n\n[2]", "1\n2\n", '"a"\r\n"b"\r\n']),
    (
        "with comments",
        "comments",
        ['// hi\n{"a":1}', '{"a":1, // x\n"b":2}', "/* x */ 1", '{"a":1} //', '{"a": /**/ 1}'],
    ),
    ("with a comma at the end", "comma", ['{"a":1,}', "[1,\n]", '{"a":[1,2,],"b":3}']),
    (
        "JSON5",
        "double quotes",
        ["{'a':1}", "{a:1}", '{"a":+1}', '{"a":.5}', "[0x1F]", "[1.]", "['x']", '{"a":1, $b : 2}'],
    ),
    ("YAML", "yq", ["a: 1\nb: 2\n", "---\na: 1\n", "# c\n\na:\n  - x\n", "- a\n- b\n", '"a": 1\n', "- 1\n- 2\n"]),
    ("YAML", "yq", ["%YAML 1.2\n---\n", "problems:\n  p1:\n", "\n\n'a b': 1\n", "http://x: 1\n", "- id: x\n"]),
]
BROKEN = [
    *["{} {}", '{"a" 1}', "[1 2]", "tru", "", '{"a":1', "[1,2", '{"a":tru}', "[01]", "hello", '{"a":1}}', "[NaN]"],
    *['["\\x"]', '{"a":1\n"b":2}', "-", "[-]", "]", '{"a":1}\n}', "1\x00", '{"a":1}\n{"b":', "[1,,2]", '{"a":1;}'],
]


@pytest.mark.parametrize(
    ("name", "step", "text"), [(name, step, text) for name, step, texts in FORMATS for text in texts]
)
def test_another_format_is_named(name: str, step: str, text: str) -> None:
    """The refusal says where reading ended, which format it looks like, and what to do."""
    with pytest.raises(InvalidJSON, match=f"^line .*; this looks like .*{name}") as refused:
        loads(text)
    assert refused.value.hint is not None
    assert step in refused.value.hint


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("UTF-16", '{"a":1}'.encode("utf-16")),
        ("UTF-16", '{"a":1}'.encode("utf-16-le")),
        ("UTF-16", '{"a":1}'.encode("utf-16-be")),
        ("a packed file", gzip.compress(b'{"a":1}', mtime=0)),
        ("an SQLite database", b"SQLite format 3\x00 "),
    ],
)
def test_other_bytes_are_named(name: str, data: bytes) -> None:
    """Encodings and files that are not text at all."""
    with pytest.raises(InvalidJSON, match=f"this looks like {name}"):
        loads(data)


@pytest.mark.parametrize("text", BROKEN)
def test_broken_json_is_not_called_another_format(text: str) -> None:
    """A slip of the pen in JSON is reported as that."""
    with pytest.raises(InvalidJSON) as refused:
        loads(text)
    assert "looks like" not in str(refused.value)


def test_text_in_another_encoding_has_a_hint() -> None:
    """A file from an old editor is not UTF-8."""
    with pytest.raises(InvalidJSON, match="0xe9 is not UTF-8") as refused:
        loads('{"a": "é"}'.encode("latin-1"))
    assert refused.value.hint == "save the file as UTF-8"
