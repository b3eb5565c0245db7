"""docs/s3.md says what is true: the policy is the actions that are used, and each option is there."""

import json
import re
from dataclasses import fields

from backends.s3.options import Options
from kbstore import Store
from tests.conftest import ROOT
from tests.s3.fakes import Bucket, backend_on
from tests.s3.servers import MotoServer

TEXT = (ROOT / "docs" / "s3.md").read_text(encoding="utf-8")
ACTIONS = {"GET": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject", "LIST": "s3:ListBucket"}


def policy() -> list[dict[str, object]]:
    """The statements of the documented policy."""
    found = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return json.loads(found[1])["Statement"]


def life(store: Store) -> None:
    """Something of everything that asks the server."""
    store.commit({"problems": {f"p{n}": {"votes": 0} for n in range(50)}})
    for n in range(450):
        store.commit(patch=[{"op": "replace", "path": f"/problems/p{n % 50}/votes", "value": n}])
    store.tag("t")
    store.snapshot()
    store.checkout("v40")
    store.get("/problems/p1/votes")
    list(store.log(path="/problems/p1"))
    store.gc()
    assert store.verify().ok


def test_the_policy_is_what_is_used() -> None:
    """The allowed actions are those that a whole life of a store needs, and what is denied is never done."""
    bucket = Bucket()
    backend = backend_on(bucket, new=True, grace=0.0)
    with Store(backend, author="a") as kb:
        life(kb)
    used = backend.client.meter.requests
    allowed = set()
    for statement in policy():
        if statement["Effect"] == "Allow":
            actions = statement["Action"]
            allowed |= set(actions if isinstance(actions, list) else [actions])
    assert {ACTIONS[request.operation] for request in used} == allowed
    (denied,) = [s for s in policy() if s["Effect"] == "Deny"]
    assert denied["Action"] == "s3:DeleteObject"
    kept = [str(resource).partition("/kb/")[2].rstrip("*") for resource in denied["Resource"]]  # type: ignore[attr-defined]
    assert set(kept) == {"log/", "blob/", "kbstore"}
    assert not [r for r in used if r.operation == "DELETE" and r.key.startswith(tuple(kept))]


def test_the_requests_are_the_actions(bucket: str, moto_server: MotoServer) -> None:
    """Over the wire there is nothing but GET and PUT of objects, listings, and DELETE of caches."""
    seen: set[str] = set()

    def note(environ: dict[str, str]) -> None:
        listing = "list-type=2" in environ["QUERY_STRING"]
        of_object = environ["PATH_INFO"].count("/") > 1
        query = re.sub(r"x-id=\w+", "", environ["QUERY_STRING"])
        seen.add(f"{environ['REQUEST_METHOD']} {'list' if listing else 'object' if of_object and not query else query}")

    moto_server.app.before = note  # type: ignore[assignment]
    with Store.create(f"s3://{bucket}/kb?grace=0", {"n": 0}, author="a") as kb:
        for n in range(40):
            kb.commit({"n": n + 1})
        kb.snapshot()
        kb.backend.collect({})
        kb.checkout("v3")
    assert seen == {"GET object", "PUT object", "DELETE object", "GET list"}


def test_each_option_is_documented() -> None:
    """The table has a row for each option, and for no other."""
    table = TEXT.partition("## Options")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == {field.name for field in fields(Options)} - {"bucket", "prefix"}


def test_a_reader_that_may_not_delete(bucket: str, moto_server: MotoServer) -> None:
    """A policy without deletion keeps commits, packs and snapshots going; only room is not given back."""

    def deny(environ: dict[str, str]) -> tuple[str, bytes] | None:
        if environ["REQUEST_METHOD"] == "DELETE":
            return "403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"
        return None

    moto_server.app.before = deny  # type: ignore[assignment]
    with Store.create(f"s3://{bucket}/kb", {"n": 0}, author="a") as kb:
        for n in range(40):
            kb.commit({"n": n + 1})
        kb.snapshot()
        assert kb.verify().ok
