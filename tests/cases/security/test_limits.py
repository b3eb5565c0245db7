"""The table of limits in docs/security.md says what the code holds."""

import re
import sqlite3
from contextlib import closing

from kbstore.backends import names, packing
from kbstore.backends.s3.cache import disk_cache, gc, snapshots
from kbstore.backends.s3.transport import client, deadline
from kbstore.backends.sqlite.files.names import harden
from kbstore.health.run import call
from kbstore.health.serve import limits as serve_limits
from kbstore.health.settings import Settings
from kbstore.history import revision, settings
from kbstore.history.index import paths
from kbstore.jsondoc import edits, pointer
from kbstore.kit import trust
from kbstore.sync import jsonl_reader
from kbstore.tree import limits as tree_limits
from kbstore.verify import verify
from kbstore.worktree import project
from tests.conftest import ROOT


def _size(count: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            assert count % (1 << shift) == 0, count
            return f"{count >> shift} {unit}"
    return f"{count} bytes"


def _rows() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        harden(connection)
        sql = connection.getlimit
        text_bytes, columns = sql(sqlite3.SQLITE_LIMIT_SQL_LENGTH), sql(sqlite3.SQLITE_LIMIT_COLUMN)
        assert sql(sqlite3.SQLITE_LIMIT_ATTACHED) == 0
    replayed, fresh = edits.Allowance(), edits.Budget()
    copied, shifted = replayed.bytes_left / fresh.bytes_left, replayed.work_left / fresh.work_left
    return {
        "a configuration (`config.json`, `health.toml`, `pyproject.toml`, `trust.toml`)": _size(trust.LARGEST_BYTES),
        "the memory in `.kbstore` of a file, and of the newest versions": _size(project.LARGEST_STATE_BYTES),
        "nesting of JSON": f"{pointer.MAX_DEPTH} levels",
        "operations of a patch": f"{edits.MAX_OPERATIONS:,}",
        "tokens of all pointers of a patch": f"{edits.MAX_TOKENS:,}",
        "bytes that a patch's copies take": _size(edits.MAX_COPIED_BYTES),
        "array elements that a patch shifts": f"{edits.WORK_LIMIT:,}",
        "a patch in an event": f"the same limits; if it is replayed, {copied:g} times the copied bytes and "
        f"{shifted:g} times the shifted elements",
        "a document that is read": f"{_size(tree_limits.LARGEST_BYTES)}, or {tree_limits.MOST_EXPANDED} times what its "
        "store takes "
        f"(on S3: {_size(tree_limits.LARGEST_REMOTE_BYTES)}); `{tree_limits.VARIABLE}` allows more; "
        "a committed document may be at "
        f"most {tree_limits.MOST_EXPANDED_AT_FIRST} times, since a store may be packed more tightly later",
        "repeats of the same long value in one patch": f"{_size(tree_limits.LARGEST_BYTES)} together",
        "a compressed frame": f"the size that its directory promises; {_size(packing.LARGEST_RAW_BYTES)}, or "
        f"{packing.MOST_EXPANDED} times its length",
        "a block of the index of touched entries": _size(paths._LARGEST_BLOCK_BYTES),
        "a line of an import": f"{_size(jsonl_reader._LONGEST_LINE_BYTES)}; of a packed one "
        f"{_size(jsonl_reader._LONGEST_UNPACKED_BYTES)}, or {jsonl_reader._MOST_EXPANDED} times the bytes read "
        "of the packed stream",
        "blank lines of an import": f"{jsonl_reader._MOST_BLANK_LINES:,}",
        "an object on S3": _size(client._LARGEST_ANSWER_BYTES),
        "a block of an index on S3 (a note)": f"{_size(snapshots.LARGEST_NOTE_BYTES)}; a larger block is not kept, "
        "and read anew",
        "a list of objects that `gc` will remove from S3": f"{_size(gc.LIST_BYTES)}; a larger list is left alone",
        "any other answer of an S3 server, such as a page of a listing": _size(deadline.LARGEST_TOLD_BYTES),
        "a chunk in the local cache of a store on S3": _size(disk_cache._LARGEST_BYTES),
        "name of a tag or branch": f"{revision.MAX_NAME_LENGTH} characters",
        "a write id": f"{names.MAX_WRITE_ID} characters",
        "members that identify an element": f"{settings._MOST_NAMES}",
        "problems that `verify` lists": f"{verify._MOST_PROBLEMS}",
        "a statement of SQL in a store's file": f"{text_bytes:,} bytes, {columns} columns, no `ATTACH`",
        "connections of `health serve`": f"{serve_limits.CONNECTIONS}; for a new one the longest waiting is closed",
        "a request to `health serve`": f"{serve_limits.REQUEST_S:g} seconds until it is answered, "
        f"{_size(serve_limits.HEADER_BYTES)} of headers",
        "memory of health checks": f"{_size(Settings().memory_limit_mb << 20)} together (`memory_limit_mb`)",
        "the report of a health check": f"{call.MAX_MESSAGE_CHARS:,} characters of text, "
        f"{call.MAX_JSON_CHARS:,} of JSON",
    }


def test_each_limit_is_the_one_of_the_code() -> None:
    """No row is missing, and none has another number."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.split("\n## Limits\n", 1)[1].split("\n## ", 1)[0]
    rows = [row for row in re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE) if row[0] != "input"]
    assert dict(rows) == _rows()
    assert len(rows) == len(_rows())
