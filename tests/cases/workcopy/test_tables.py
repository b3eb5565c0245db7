"""Cases of `export --sqlite`: each value is the document's, whatever members and containers are called."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kbstore import KBStoreError, Store
from kbstore.sync.sqlite_export import export_tables


def tables(path: Path, document: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table that is made of a document."""
    with Store.create("memory:", document, author="007") as kb:
        names = export_tables(kb, path)
    with closing(sqlite3.connect(path)) as base:
        base.row_factory = sqlite3.Row
        assert base.execute("pragma integrity_check").fetchone()[0] == "ok"
        return {name: [dict(row) for row in base.execute(f'select * from "{name}"')] for name in names}


NAMES = [
    {"p": {"a": {"title": "A", "rank": "gold"}}},
    {"p": {"a": {"title": "A", "rowid": "7", "oid": 1, "_rowid_": 2, "ROWID": 3}}},
    {"p": {"a": {"title": "A", "p_fts": "x"}}},
    {"p": {"a": {"t": "x"}, "b": {"t": "y"}}, "p_fts": {"a": {"t": "x"}, "b": {"t": "z"}}},
    {"p_fts": {"a": {"t": "x"}, "b": {"t": "y"}}, "p": {"a": {"t": "x"}, "b": {"t": "z"}}},
    {"p": {n: {"t": "x"} for n in "abcd"}, "p_fts_data": {"a": {"t": "x"}}, "P_FTS_content": {"b": {"t": "z"}}},
    {"p": {n: {"t": "x"} for n in "abcd"}, "versions_fts": {"a": {"t": "z"}}, "document_fts": {"a": {"t": "z"}}},
    {"p": {"a": {"_key": "k", "_value": "v", "sqlite_x": "s", "": "e", "a b": 1, "a_b": 2, "A-B": 3, "🙂": 4}}},
]


@pytest.mark.parametrize("document", NAMES, ids=lambda document: json.dumps(document)[:40])
def test_any_name_can_be_that_of_a_member_or_container(tmp_path: Path, document: Any) -> None:
    """Case 09: no value is left out, and search finds texts in each table."""
    found = tables(tmp_path / "t.db", document)
    wanted = [(key, *row.values()) for part in document.values() for key, row in part.items()]
    rows = [tuple(row.values()) for name, rows in found.items() if name not in ("versions", "document") for row in rows]
    assert sorted(rows, key=repr) == sorted(wanted, key=repr)
    with closing(sqlite3.connect(tmp_path / "t.db")) as base:
        for name in found:
            if name not in ("versions", "document"):
                base.execute(f'select count(*) from "{name}_fts" where "{name}_fts" match \'x\'').fetchone()


VALUES = ["007", "1.10", "1e3", " 5", "0x10", "", "null", 7, -1, 2**53 + 1, -(2**63), 2**63 - 1, 1.0, 0.1, -0.0, 1e300]


@pytest.mark.parametrize("first", range(len(VALUES)))
def test_values_keep_their_types(tmp_path: Path, first: int) -> None:
    """Whatever stands in the first row: a column that begins with numbers holds texts as they are, and so do keys."""
    values = VALUES[first:] + VALUES[:first]
    document = {"p": {f"{n:03}": {"v": value, "w": value} for n, value in enumerate(values)}, "name": "x"}
    rows = tables(tmp_path / "t.db", document)["p"]
    assert [(row["_key"], repr(row["v"])) for row in rows] == [(f"{n:03}", repr(v)) for n, v in enumerate(values)]


def test_what_has_no_type_in_sqlite(tmp_path: Path) -> None:
    """True and false are 1 and 0, larger integers and containers JSON text; the history keeps an author called 007."""
    row = {"t": True, "f": False, "n": None, "big": 2**64 - 1, "list": [1, "007"], "object": {"b": 1.0}}
    found = tables(tmp_path / "t.db", {"p": {"a": row}})
    assert found["p"] == [
        {
            "_key": "a",
            "big": "18446744073709551615",
            "f": 0,
            "list": '[1,"007"]',
            "n": None,
            "object": '{"b":1.0}',
            "t": 1,
        }
    ]
    assert [row["author"] for row in found["versions"]] == ["007"]


def test_logs_of_another_database_are_not_written_into_the_new_one(tmp_path: Path) -> None:
    """A stale -wal goes with the earlier export; beside a name that is free it is refused."""
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("pragma journal_mode=wal")
        other.execute("create table stale(x)")
        other.commit()
        stale = (tmp_path / "other.db-wal").read_bytes()
    assert stale
    tables(path, {"p": {"a": {"t": "first"}}})
    for end in ("-wal", "-journal"):
        Path(f"{path}{end}").write_bytes(stale)
    assert tables(path, {"p": {"a": {"t": "second"}}})["p"] == [{"_key": "a", "t": "second"}]
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith("t.db")) == ["t.db"]
    Path(f"{path}-wal").write_bytes(stale)
    path.unlink()
    with pytest.raises(KBStoreError, match=r"t\.db-wal is left of another database"):
        tables(path, {"p": {"a": {"t": "third"}}})
    assert not path.exists()
    assert Path(f"{path}-wal").read_bytes() == stale
