"""Random texts where JSON, pointers and revisions are read: refused in our own words, or read as the reference does."""

# ruff: noqa: PT017, RUF001 - either outcome may be the right one; digits of other scripts are meant

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonpointer
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore import InvalidJSON, PointerError, RevisionError, Store
from kbstore.history.revision import check_name, parse_range
from kbstore.jsondoc.canonical import dumps, loads
from kbstore.jsondoc.decimals import is_exact
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from tests.conftest import LETTERS, fuzzed
from tests.jsondoc.values import NAMES, VALUES, exactly
from tests.store.support import Ticks

FRAGMENTS = st.sampled_from(
    [
        *[b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\\u0000", b"\\udc00\\ud800"],
        *[b"null", b"true", b"nul", b"-", b"0", b"-0", b"01", b"1.", b".5", b"1e5", b"1e400", b"18446744073709551616"],
        *[b"0.1234567890123456789", b"1e-400", b"0.12345678901234568"],
        *[
            b"9223372036854775808",
            b"-9223372036854775809",
            b"NaN",
            b"Infinity",
            b"-Infinity",
            b" ",
            b"\t",
            b"\n",
            b"\r",
        ],
        *[b"\x0b", b"\x00", b"\xef\xbb\xbf", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"],
        "é".encode(),
        *[b"/*", b"//", b"'", b'"a":1', b'"a"', b'{"a":'],
    ]
)


@st.composite
def spoilt_texts(draw: st.DrawFn) -> bytes:
    """Good JSON with a few wounds, or a pile of its pieces."""
    if draw(st.booleans()):
        return b"".join(draw(st.lists(FRAGMENTS, max_size=12)))
    text = bytearray(
        json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        wound = draw(FRAGMENTS | st.binary(max_size=2))
        text[at : at + draw(st.integers(0, 3))] = wound
    return bytes(text)


def strictly(text: bytes) -> Any:
    """The reference: Python's own reader, held to the rules by hand."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def integer(digits: str) -> int:
        number = int(digits)
        if not -(2**63) <= number < 2**64:
            raise ValueError("large")
        return number

    def real(digits: str) -> float:
        if not is_exact(digits):
            raise ValueError("rounded")
        return float(digits)

    def constant(name: str) -> Any:
        raise ValueError(name)

    decoded = text.decode()
    value = json.loads(decoded, object_pairs_hook=members, parse_int=integer, parse_float=real, parse_constant=constant)
    printed = json.dumps(value, ensure_ascii=False, allow_nan=False)
    printed.encode()  # lone surrogates
    return value


@fuzzed
@given(spoilt_texts())
def test_json_is_read_as_the_reference_reads_it(text: bytes) -> None:
    """Refused by both, with a line; or the same value, that prints canonically and reads back."""
    try:
        wanted = strictly(text)
    except (ValueError, RecursionError):
        with pytest.raises(InvalidJSON) as refused:
            loads(text)
        assert str(refused.value)
        assert refused.value.line is None or 1 <= refused.value.line <= text.count(b"\n") + text.count(b"\r") + 1
        return
    if text.strip()[:2] == b"-0" and text.strip() == b"-0":
        return  # an integer to Python, and a double to others
    found = loads(text)
    assert json.dumps(found, sort_keys=True).replace("-0.0", "0") == json.dumps(wanted, sort_keys=True).replace(
        "-0.0", "0"
    )
    printed = dumps(found)
    assert printed == orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
    assert exactly(loads(printed)) == exactly(found)
    assert dumps(loads(printed)) == printed


TOKENS = NAMES | st.sampled_from(
    ["01", "-0", "+1", "1e0", "９", "~0", "~1", "//", "a b", "%20", "0x1", "10", "2", "18446744073709551616"]
)
POINTERS = st.lists(TOKENS, max_size=4).map(format_pointer) | st.text(alphabet="/~01-aé ", max_size=8)


@fuzzed
@given(VALUES, POINTERS)
def test_a_pointer_finds_what_the_reference_finds(document: Any, pointer: str) -> None:
    """Through the store, as through jsonpointer: the same value, or nothing."""
    with Store.create("memory:") as kb:
        kb.commit(document)
        kb.commit([document])
        missing = object()
        try:
            wanted = jsonpointer.resolve_pointer(document, pointer)
        except (jsonpointer.JsonPointerException, TypeError, ValueError):
            wanted = missing
        if isinstance(wanted, jsonpointer.EndOfList):
            wanted = missing
        if _into_text(document, pointer):
            wanted = missing
        for at, place in (
            ("v1", pointer),
            ("v2", "/0" + pointer if pointer.startswith("/") or not pointer else pointer),
        ):
            try:
                found = kb.get(place, at=at)
            except PointerError as told:
                assert wanted is missing or (at == "v2" and place == pointer)
                assert len(str(told)) < 1000
            else:
                assert exactly(found) == exactly(wanted)


def _into_text(document: Any, pointer: str) -> bool:
    """Whether a pointer leads into a string, where jsonpointer finds characters."""
    try:
        path = parse_pointer(pointer)
    except PointerError:
        return False
    for token in path:
        if isinstance(document, str):
            return True
        try:
            document = document[token] if isinstance(document, dict) else document[int(token)]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return False


PARTS = st.sampled_from(
    [
        *[
            "v",
            "v1",
            "v12",
            "v30",
            "v31",
            "v007",
            "v0",
            "v5_",
            "_2025",
            "_20250127",
            "_120000",
            "HEAD",
            "HEAD~",
            "~",
            "~2",
        ],
        *[
            "~31",
            "@",
            "@2025-01-28",
            "@2025-01-27T12:00:00",
            "@2025-02-30",
            "+01:00",
            "Z",
            "stable",
            "dev",
            "main",
            "sta",
        ],
        *[
            "..",
            ".",
            "/",
            "-",
            " ",
            "\n",
            "\x00",
            "é",
            "१",
            "9" * 30,
            "deadbeef",
            "0",
            "a",
            "f",
            "*",
            "@@",
            "v1..v3",
            "head",
        ],
    ]
)
REVISIONS = st.lists(PARTS, min_size=1, max_size=3).map("".join) | st.text(LETTERS, max_size=12)
VERSIONS = 30


@pytest.fixture(scope="module")
def kb() -> Store:
    """Thirty versions half a day apart, a tag and a branch."""
    store = Store.create("memory:", clock=Ticks(step=timedelta(hours=12)), author="ann")
    for n in range(1, VERSIONS + 1):
        store.commit({"n": n})
    store.tag("stable", "v7")
    store.create_branch("dev", "v9")
    return store


@fuzzed
@given(text=REVISIONS, digits=st.integers(0, 64), seq=st.integers(1, VERSIONS))
def test_a_revision_names_what_the_reference_says(kb: Store, text: str, digits: int, seq: int) -> None:
    """Any text means the one version that a plain reading finds, or is refused; ids by every long enough prefix."""
    log = list(kb.log(newest_first=False))
    for revision in (text, log[seq - 1].id[:digits]):
        wanted = reference(revision, log)
        try:
            found: Any = kb.version(revision).seq
        except RevisionError as told:
            assert wanted is None, revision
            assert str(told)
        else:
            assert found == wanted, revision
        try:
            check_name(revision)
        except RevisionError:
            continue
        assert wanted is None or revision in ("stable", "dev", "main"), f"{revision} could be a name and is a revision"
    assert parse_range(text) is None or ".." in text


def reference(text: str, log: list[Any]) -> int | None:
    """The version that a text names, read naively; None where it names none."""
    base, back = text, 0
    while "~" in base and (base[base.rindex("~") + 1 :] == "" or base[base.rindex("~") + 1 :].isdigit()):
        count = base[base.rindex("~") + 1 :]
        if not count.isascii() or len(count) > 9:
            return None
        back += int(count or 1)
        base = base[: base.rindex("~")]
    seq: int | None = None
    stems = {v.name: v.seq for v in log}
    if base == "HEAD" or (base == "" and back):
        seq = len(log)
    elif base == "v0":
        seq = 0
    elif base in ("main", "stable", "dev"):
        seq = {"main": len(log), "stable": 7, "dev": 9}[base]
    elif base.startswith("@"):
        try:
            moment = datetime.fromisoformat(base[1:])
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seq = max((v.seq for v in log if v.time <= moment), default=None)
    elif base.startswith("v") and base[1:2].isdigit():
        number, _, stamp = base[1:].partition("_")
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            return None
        named = [s for name, s in stems.items() if s == int(number) and name.partition("_")[2].startswith(stamp)]
        seq = named[0] if named else (0 if int(number) == 0 and not stamp else None)
    elif len(base) >= 4 and all(c in "0123456789abcdef" for c in base):
        found = [v.seq for v in log if v.id.startswith(base)]
        seq = found[0] if len(found) == 1 else None
    if seq is None or seq - back < 0:
        return None
    return seq - back


@fuzzed
@given(st.data())
def test_a_mutated_export_is_refused_or_the_same(data: st.DataObject) -> None:
    """Exported events with any byte changed are refused by line, or were changed in what is no part of an event."""
    from kbstore import KBStoreError
    from kbstore.sync.jsonl import export_events, import_lines

    with Store.create("memory:", {"n": 0}, clock=Ticks(), author="ann") as source:
        source.commit({"n": 1, "t": "ü" * 10}, tags=["x"])
        lines = list(export_events(source))
        ids = [v.id for v in source.log(newest_first=False)]
    number = data.draw(st.integers(0, len(lines) - 1))
    spoilt = bytearray(lines[number])
    at = data.draw(st.integers(0, len(spoilt) - 2))
    spoilt[at] = random.Random(data.draw(st.integers(0, 2**16))).randrange(256)
    with Store.create("memory:") as copy:
        try:
            import_lines(copy, [*lines[:number], bytes(spoilt), *lines[number + 1 :]])
        except KBStoreError as told:
            assert str(told)
        assert [v.id for v in copy.log(newest_first=False)] == ids[: copy.head().seq]
        assert copy.verify().ok
