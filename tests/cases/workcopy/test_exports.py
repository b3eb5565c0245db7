"""Cases of histories that move as JSON lines: beside writers, twice, overlapping, empty."""

from pathlib import Path

from kbstore import Store
from kbstore.transfer import export_all, import_lines


def test_an_export_beside_commits_and_tags_is_one_beginning(tmp_path: Path) -> None:
    """Case 07: whenever somebody commits, tags and starts a branch while it is read, it imports as it was or later."""
    for paused in range(6):
        with (
            Store.create(tmp_path / f"{paused}.db", {"n": 1}, author="a") as kb,
            Store.open(tmp_path / f"{paused}.db", author="b") as other,
            Store.create("memory:") as copy,
        ):
            kb.commit({"n": 2})
            kb.tag("before", "v2")
            kb.create_branch("side", "v1")
            with Store.open(tmp_path / f"{paused}.db", branch="side", author="c") as side:
                side.commit(patch=[{"op": "replace", "path": "/n", "value": -1}])
                export = export_all(kb)
                given = [line for _, line in zip(range(paused), export, strict=False)]
                other.commit(patch=[{"op": "replace", "path": "/n", "value": 3}])
                other.tag("meanwhile", "v3")
                other.create_branch("late", "v3")
                side.commit(patch=[{"op": "replace", "path": "/n", "value": -2}])
                side.tag("on-side", "HEAD")
                given.extend(export)
            import_lines(copy, given)
            assert len(given) >= max(paused, 5)
            assert copy.verify().ok
            assert copy.head().id in {version.id for version in kb.log()}
            assert copy.version("before").seq == 2
            assert Store(copy.backend, branch="side").version("v2").parents == (copy.version("v1").id,)
