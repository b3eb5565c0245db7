"""Cases of writers that share a store from Python: whose change lands, and whose is refused."""

from pathlib import Path

from kbstore import ConflictError, Store


def test_the_retry_that_everyone_writes_lands(tmp_path: Path) -> None:
    """Case 27: a handle that lost an append once lands at the next try, whether it commits a patch or a document."""
    append = [{"op": "add", "path": "/log/-", "value": 1}]
    with Store.create(tmp_path / "kb.db", {"log": [], "n": 0}, author="x"):
        pass
    with Store.open(tmp_path / "kb.db", author="a") as a, Store.open(tmp_path / "kb.db", author="b") as b:
        a.head()
        b.commit(patch=append, message="b")
        assert a.commit(patch=append, message="a").seq == 3
        tries = 0
        for tries in range(1, 6):
            document = a.checkout()
            if tries == 1:
                b.commit(patch=[{"op": "replace", "path": "/n", "value": 1}], message="b")
            document["n"] += 1
            try:
                a.commit(document, message="a")
                break
            except ConflictError:
                continue
        assert tries == 2
        assert a.checkout() == {"log": [1, 1], "n": 2}
        a.retry(lambda document: document["log"].append(3))
        assert b.checkout()["log"] == [1, 1, 3]


def test_documents_of_one_store_undo_nothing(tmp_path: Path) -> None:
    """The second of two documents that were checked out together keeps what the first one brought."""
    with Store.create(tmp_path / "kb.db", {"x": 0, "y": 0}, author="x") as kb:
        a, b = kb.checkout(), kb.checkout()
        a["x"] = 1
        kb.commit(a)
        kb.commit(b)
        assert kb.checkout() == {"x": 1, "y": 0}
        b["y"] = 1
        kb.commit(b)
        assert kb.checkout() == {"x": 1, "y": 1}
