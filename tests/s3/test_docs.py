"""docs/s3.md says what is true: the policy is the actions that are used, and each option is there."""

import random
import re
from base64 import b64encode
from dataclasses import fields
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError

from kbstore import Store
from kbstore.backends.s3.transport.url import Options
from tests.s3.fakes import Bucket, backend_on
from tests.s3.policies import TEXT, allows, policy
from tests.s3.servers import MotoServer, raw_client
from tests.s3.test_care import noise

ACTIONS = {"GET": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject", "LIST": "s3:ListBucket"}


def life(store: Store) -> None:
    """Something of everything that asks the server."""
    store.commit({"problems": {f"p{n}": {"votes": 0, "text": noise(n, 6000)} for n in range(250)}})
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
    """The allowed actions are those that a whole life of a store needs, and nothing that it does is denied."""
    bucket = Bucket("support")
    bucket.judge = allows
    backend = backend_on(bucket, new=True, grace=0.0)
    with Store(backend, author="a") as kb:
        kb.commit({"large": b64encode(random.Random(1).randbytes(9_000_000)).decode()})
        life(kb)
    used = backend.client.meter.requests
    assert not [request for request in used if request.status == 403]
    kinds = {request.key.partition("/")[0] for request in used if request.operation == "PUT"}
    assert kinds >= {"log", "blob", "hint", "pack", "snap", "data", "note"}
    allowed = set()
    for statement in policy():
        if statement["Effect"] == "Allow":
            actions = statement["Action"]
            allowed |= set(actions if isinstance(actions, list) else [actions])
    assert {ACTIONS[request.operation] for request in used} == allowed
    assert {
        request.absent for request in used if request.operation == "PUT" and request.key[:4] in ("hint", "note")
    } == {False}


@pytest.mark.parametrize("kind", ["kbstore", "log", "blob", "pack", "snap", "data", "probe", "trash"])
def test_the_policy_protects_what_is_written_once(kind: str) -> None:
    """Nobody overwrites it without a condition; and nobody removes what is truth."""
    key = "kb/kbstore" if kind == "kbstore" else f"kb/{kind}/4main000000000000/000000000001"
    assert not allows("s3:PutObject", key, {})
    assert allows("s3:PutObject", key, {"s3:if-none-match": "*"})
    assert allows("s3:DeleteObject", key, {}) == (kind not in ("kbstore", "log", "blob"))
    assert not allows("s3:PutObject", f"other/{key}", {"s3:if-none-match": "*"})


def test_the_policy_over_the_wire(bucket: str, moto_server: MotoServer, moto_url: str) -> None:
    """A store lives by it on a server that enforces it, where a careless tool cannot overwrite a slot."""

    def enforce(environ: dict[str, str]) -> tuple[str, bytes] | None:
        method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].partition("/")[2].partition("/")[2]
        asked = parse_qs(environ["QUERY_STRING"])
        conditions = {"s3:prefix": asked["prefix"][0]} if "prefix" in asked else {}
        if "HTTP_IF_NONE_MATCH" in environ:
            conditions["s3:if-none-match"] = environ["HTTP_IF_NONE_MATCH"]
        action = ACTIONS["LIST" if not key else method]
        return (
            None if allows(action, key, conditions) else ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
        )

    moto_server.app.before = enforce  # type: ignore[assignment]
    with Store.create(f"s3://{bucket}/kb?grace=0", {"n": 0}, author="a") as kb:
        for n in range(40):
            kb.commit({"n": n + 1})
        kb.snapshot()
        kb.gc()
        slot = {"Bucket": bucket, "Key": "kb/log/4main000000000000/000000000001"}
        with pytest.raises(ClientError, match="AccessDenied"):
            raw_client(moto_url).put_object(**slot, Body=b"mine")
        with pytest.raises(ClientError, match="AccessDenied"):
            raw_client(moto_url).delete_object(**slot)
        assert kb.verify().ok


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
    assert told == {field.name for field in fields(Options)} - {"bucket", "prefix", "insecure"}


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
