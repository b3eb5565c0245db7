"""Headers and patches have one byte form: what `verify` refuses no store takes, and the reverse."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kbstore import CorruptStore, KBStoreError, PatchError, Store
from kbstore.errors import DamagedVersion
from kbstore.jsondoc.canonical import encode
from kbstore.sync.remote import clone_into
from tests.cases.security.forge import copied, event, rewritten, sha
from tests.store.support import Ticks

LATER = "2025-06-01T00:00:00.000000Z"
BODY = b'[{"op":"replace","path":"/n","value":2}]'

HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "blanks": lambda h: h.replace(b":", b": "),
    "a line feed": lambda h: h + b"\n",
    "another order": lambda h: json.dumps(dict(reversed(json.loads(h).items())), separators=(",", ":")).encode(),
    "a member twice": lambda h: h[:-1] + b',"author":"eve"}',
    "a time in seconds": lambda h: h.replace(LATER.encode(), b"2025-06-01T00:00:00Z"),
    "a time elsewhere": lambda h: h.replace(LATER.encode(), b"2025-06-01T02:00:00.000000+02:00"),
    "a time that is none": lambda h: h.replace(LATER.encode(), b"tomorrow"),
    "empty labels": lambda h: encode(json.loads(h) | {"tags": []}),
    "empty meta": lambda h: encode(json.loads(h) | {"meta": {}}),
    "no time of writing": lambda h: h[:-1] + b',"authored":null}',
    "escapes": lambda h: h.replace(b'"m"', b'"\\u006d"'),
    "capitals": lambda h: encode(json.loads(h) | {"state": json.loads(h)["state"].upper()}),
    "a short hash": lambda h: encode(json.loads(h) | {"order": "00"}),
    "three parents": lambda h: encode(json.loads(h) | {"parents": [*json.loads(h)["parents"], "1" * 64, "2" * 64]}),
}
BODIES: dict[str, bytes] = {
    "blanks": BODY.replace(b",", b", "),
    "another order": b'[{"path":"/n","op":"replace","value":2}]',
    "a member twice": b'[{"op":"replace","path":"/n","value":3,"value":2}]',
    "a number in another form": b'[{"op":"replace","path":"/n","value":2.50}]',
    "an escape": b'[{"op":"replace","path":"/\\u006e","value":2}]',
    "a value of a removal": b'[{"op":"remove","path":"/n","value":2}]',
    "no value": b'[{"op":"replace","path":"/n"}]',
    "a source of an addition": b'[{"from":"/n","op":"add","path":"/m","value":2}]',
    "an unknown operation": b'[{"op":"set","path":"/n","value":2}]',
    "a long value inside": b'[{"op":"replace","path":"/n","value":"%s"}]' % (b"x" * 3000),
    "members of a value in another order": b'[{"op":"replace","path":"/n","value":{"b":1,"a":2}}]',
    "an odd escape of a pointer": b'[{"op":"add","path":"/~2","value":2}]',
    "a pointer that is a list": b'[{"op":"replace","path":["n"],"value":2}]',
    "a pointer that is an object": b'[{"op":"add","path":{"n":1},"value":2}]',
    "a pointer that is a number": b'[{"op":"replace","path":7,"value":2}]',
    "a source that is a list": b'[{"from":["m"],"op":"copy","path":"/n"}]',
    "an operation that is a list": b'[["replace","/n",2]]',
    "an operation that is a text": b'["replace"]',
    "an operation that is nothing": b"[null]",
    "a kind that is a list": b'[{"op":["add"],"path":"/n","value":2}]',
    "an object of patches": b'{"op":"add","path":"/n","value":2}',
}
ANOTHER_HEADER = "its header is not in canonical form"
OF_HEADERS = {
    "a time in seconds": "is not in the form of kbstore",
    "a time elsewhere": "is not in the form of kbstore",
    "a time that is none": "its time is 'tomorrow'",
    "three parents": "v2 merges the version 1+, which is not here",
    "a short hash": "'00' is not the address of a node",
}
"""What is said of those whose form is not the first that is looked at."""
OF_BODIES = {
    "no value": "has no member 'value'",
    "an unknown operation": "'set' is not an operation",
    "an odd escape of a pointer": "has a ~ that is not followed by 0 or 1",
    "a pointer that is a list": "'path' is a list, not a string",
    "a pointer that is an object": "'path' is a dict, not a string",
    "a pointer that is a number": "'path' is a int, not a string",
    "a source that is a list": "'from' is a list, not a string",
    "an operation that is a list": "is of type list, not an object",
    "an operation that is a text": "is of type str, not an object",
    "an operation that is nothing": "is of type NoneType, not an object",
    "a kind that is a list": r"\['add'\] is not an operation",
    "an object of patches": "a JSON Patch is a list of operations, not a dict",
}
"""What is said of those that are not a patch at all."""
READS: list[Callable[[Store], object]] = [
    lambda kb: kb.checkout(),
    lambda kb: kb.get("/n"),
    lambda kb: list(kb.log(path="/n")),
    lambda kb: kb.diff("v1", "v2"),
    lambda kb: kb.head().patch,
]


def _store(tmp_path: Path, header: Callable[[bytes], bytes] | None, body: bytes) -> tuple[Path, dict[str, Any]]:
    with Store.create(tmp_path / "kb.db", {"m": 1, "n": 1}, clock=Ticks()) as kb:
        first = kb.head().id
    with Store.create("memory:", {"m": 1, "n": 2}) as kb:
        state = kb.head().state
    made = event(body, state, seq=2, parents=[first], time=LATER)
    if header is not None:
        made = header(made)
    logs, _ = copied(tmp_path / "kb.db")
    return rewritten(tmp_path / "forged.db", {"main": [*logs["main"], (made, body)]}), {"id": sha(made)}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_another_form_is_refused(tmp_path: Path, name: str) -> None:
    """By `verify`, a clone and a reader alike."""
    path, _ = _store(tmp_path, HEADERS[name], BODY)
    with Store.open(path, read_only=True) as kb:
        assert len(kb.verify().problems) == 1
        with pytest.raises(CorruptStore, match=OF_HEADERS.get(name, ANOTHER_HEADER)):
            clone_into(kb, str(tmp_path / "clone.db"))
        if name not in (
            "a time in seconds",
            "a time elsewhere",
            "a time that is none",
            "capitals",
            "three parents",
            "a short hash",
        ):
            with pytest.raises(DamagedVersion, match=ANOTHER_HEADER):
                list(kb.log())


@pytest.mark.parametrize("name", BODIES)
def test_a_patch_of_another_form_is_refused(tmp_path: Path, name: str) -> None:
    """By `verify` and a clone alike."""
    path, _ = _store(tmp_path, None, BODIES[name])
    with Store.open(path, read_only=True) as kb:
        assert len(kb.verify().problems) == 1
        told = OF_BODIES.get(name, "version v2 is damaged: its patch is not the one that was committed")
        with pytest.raises(PatchError if name in OF_BODIES else CorruptStore, match=told):
            clone_into(kb, str(tmp_path / "clone.db"))
    for read in READS:
        with Store.open(path, read_only=True) as kb, suppress(KBStoreError):
            read(kb)


def test_a_branch_does_not_begin_before_its_start(tmp_path: Path) -> None:
    """Its first version is not older than the one that it was started from: `verify` and a clone refuse it alike."""
    path = tmp_path / "kb.db"
    with Store.create(path, {"n": 1}, clock=Ticks()) as kb:
        kb.create_branch("dev")
    with Store.open(path, branch="dev", clock=Ticks()) as kb:
        kb.commit({"n": 2})
    logs, _ = copied(path)
    (own,) = set(logs) - {"main", "refs"}
    ((header, body),) = logs[own]
    older = encode({**json.loads(header), "time": "2001-01-01T00:00:00.000000Z"})
    with Store.open(rewritten(tmp_path / "forged.db", logs | {own: [(older, body)]}), read_only=True) as kb:
        (problem,) = kb.verify().problems
        assert "v2 of branch dev is damaged: it is older than the version before it" in problem
        with pytest.raises(KBStoreError, match="older"):
            clone_into(kb, str(tmp_path / "clone.db"))


def test_the_right_form_is_taken(tmp_path: Path) -> None:
    """By both."""
    path, said = _store(tmp_path, None, BODY)
    with Store.open(path, read_only=True) as kb:
        assert kb.verify().ok
        assert kb.head().id == said["id"]
        clone_into(kb, str(tmp_path / "clone.db"))
    with Store.open(tmp_path / "clone.db", read_only=True) as kb:
        assert kb.head().id == said["id"]
