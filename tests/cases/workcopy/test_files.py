"""Cases of what belongs to a file beside its content: access lists, attributes, blanks, line ends."""

import os
import stat
import struct
from pathlib import Path

import pytest

from kbstore.jsondoc.canonical import loads
from kbstore.worktree.json_file import WorkFile, mode_like, replace_file
from kbstore.worktree.style import print_json, style_of
from tests.cases.support import Desk

ACCESS_LIST = "system.posix_acl_access"
ENTRIES = ((1, 6, 0xFFFFFFFF), (2, 6, 65534), (4, 0, 0xFFFFFFFF), (0x10, 6, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))
"""Owner rw-, user 65534 rw-, owning group ---, mask rw-, others ---."""
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ENTRIES)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A file with an access list and an attribute."""
    file = tmp_path / "kb.json"
    file.write_text('{"n": 1}\n')
    file.chmod(0o600)
    os.setxattr(file, ACCESS_LIST, ACL)
    os.setxattr(file, "user.note", b"1")
    return file


def test_an_access_list_and_attributes_are_kept(listed: Path) -> None:
    """Case 11: a file that is written over has the list that it had, and nobody else may read it."""
    before = listed.stat()
    WorkFile(listed).write({"n": 2})
    assert os.getxattr(listed, ACCESS_LIST) == ACL
    assert os.getxattr(listed, "user.note") == b"1"
    assert listed.stat().st_mode == before.st_mode


def test_without_its_list_a_file_gives_the_group_no_more(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the list cannot be written, its mask does not become the group's right; the same for a new file like it."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "setxattr", refused)
    replace_file(listed, b"{}\n")
    assert ACCESS_LIST not in os.listxattr(listed)
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600


def test_a_new_file_like_one_with_a_list_is_as_private(listed: Path) -> None:
    """The mask that the mode shows is no right of the group."""
    assert stat.S_IMODE(listed.stat().st_mode) == 0o660
    assert mode_like(listed) == 0o600


def test_a_file_without_a_list_gets_none_from_its_folder(tmp_path: Path) -> None:
    """A folder whose new files have a list gives none to a file that is written over."""
    file = tmp_path / "kb.json"
    file.write_text("{}\n")
    file.chmod(0o640)
    os.setxattr(tmp_path, "system.posix_acl_default", ACL)
    replace_file(file, b'{"n": 1}\n')
    assert ACCESS_LIST not in os.listxattr(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


BLANKS = [
    b"{" + b" " * 200_000 + b'"p":{"a":{"t":1}}}',
    b'{"p":{"a":{"t":1}}' + b" " * 200_000 + b"}",
    b'{"p"' + b"\t" * 200_000 + b':{"a":{"t":1}}}',
    b'{"x":[1],\n"p":{"a":{"t":1}},"y":[' + b"\n" * 200_000 + b"]}",
    b'{"p":{"a":{"t":1},' + b" " * 200_000 + b'"b":2}}',
    b"{\n" + b" " * 100_000 + b'"p":{\n' + b" " * 200_000 + b'"a":{"t":1}}}',
]


@pytest.mark.parametrize("text", BLANKS, ids=range(len(BLANKS)))
def test_long_runs_of_blanks_are_no_style(text: bytes) -> None:
    """Case 19: they cost no more than they are long, and are not written again for each line or item."""
    style = style_of(text)
    assert len(style.indent or "") + len(style.item_separator) + len(style.key_separator) < 300
    assert len(print_json({"a": {"b": [1, 2]}}, style)) < 1_000


def test_a_file_with_long_runs_of_blanks_is_committed(tmp_path: Path) -> None:
    """From its first version to the next one."""
    desk = Desk(tmp_path / "a")
    desk.file.write_bytes(BLANKS[0])
    desk.ok("init", "kb.json")
    desk.ok("apply", "-", "-m", "x", stdin='[{"op": "replace", "path": "/p/a/t", "value": 2}]')
    assert desk.read() == {"p": {"a": {"t": 2}}}


MIXED = b'{\r\n  "a": 1,\n  "b": [\r\n    1,\n    2\r\n  ],\n  "c": 3\r\n}\n'


@pytest.mark.parametrize("value", [{"a": 9, "b": [1, 2], "c": 3}, {"a": 1, "b": [1, 2, 7], "c": {"x": [1]}, "d": 4}])
def test_mixed_line_ends_stay(tmp_path: Path, value: object) -> None:
    """Lines that did not change keep their ends; new ones have those of most lines."""
    file = WorkFile(tmp_path / "kb.json")
    file.path.write_bytes(MIXED)
    file.write(value)
    data = file.path.read_bytes()
    assert loads(data) == value
    kept = [line for line in MIXED.splitlines(keepends=True) if line.strip(b"\r\n,") in (b"{", b"    1", b"}")]
    assert [line for line in data.splitlines(keepends=True) if line in kept] == kept
    assert b"\r\r" not in data


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_one_kind_of_line_ends_stays_one(tmp_path: Path, end: bytes) -> None:
    """What is new has the ends that all lines have."""
    file = WorkFile(tmp_path / "kb.json")
    file.path.write_bytes(MIXED.replace(b"\r\n", b"\n").replace(b"\n", end))
    file.write({"a": 1, "b": [1, 2, {"x": [1]}], "c": 3, "d": {"e": [1, 2]}})
    data = file.path.read_bytes()
    assert data.count(b"\n") == data.count(end)
