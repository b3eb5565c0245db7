"""What differs from server to server, over http and https: races, ranges, frames, listings, and who is refused."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.errors import Refused
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import StoreUnavailable
from tests.s3.emulators import S3RVER_KEY, s3rver
from tests.s3.servers import raw_client, use_credentials

Places = Callable[[str, str], str]
SERVERS = ["moto", "seaweed", "ministack", "localbucket"]
SCHEMES = ["http", "https"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("server", SERVERS)
def test_what_the_store_asks_of_a_server(place_on: Places, server: str, scheme: str) -> None:
    """One winner of a race, bytes as they were sent, 412, 404 and 416, listings of folders and after a key."""
    client = Client(parse_location(place_on(server, scheme)), SystemChance())
    outcomes: list[Refused | None] = []
    start = threading.Barrier(6)

    def race(n: int) -> None:
        start.wait()
        outcomes.append(client.create("log/4main/000000000001", b"%d" % n))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(None) == 1
    assert {refused.status for refused in outcomes if refused is not None} <= {409, 412}
    for size in (0, 1, 70_000, 2_000_000):
        data = os.urandom(size)
        client.put(f"blob/{size}", data)
        got = client.get(f"blob/{size}")
        assert got is not None
        assert (got.data, got.size) == (data, size)
    part = client.get("blob/70000", 5, 9)
    assert part is not None
    assert (len(part.data), part.size) == (4, 70_000)
    past = client._get("blob/1", 1, 9)
    assert isinstance(past, Refused)
    assert past.status == 416
    assert client.get("blob/none") is None
    assert [one.key for one in client.listing("", folders=True)] == ["blob/", "log/"]
    assert [one.key for one in client.listing("blob/", after="blob/1")] == ["blob/2000000", "blob/70000"]
    client.delete(["blob/0", "blob/none"])
    assert [one.key for one in client.listing("blob/", limit=1)] == ["blob/1"]


@pytest.mark.parametrize(
    ("server", "scheme"), [("moto", "https"), ("seaweed", "https"), ("ministack", "http"), ("localbucket", "https")]
)
def test_two_writers_and_care(place_on: Places, server: str, scheme: str) -> None:
    """A store is made, written by two, cared for and proved, where the contract did not run with this scheme."""
    place = place_on(server, scheme)
    Store.create(place, {"n": {}}, author="a").close()
    with Store.open(place, author="a") as one, Store.open(place, author="b") as other:
        for n in range(20):
            kb = (one, other)[n % 2]
            kb.commit(patch=[{"op": "add", "path": f"/n/{n}", "value": "x" * n}])
        one.snapshot()
        one.gc()
    with Store.open(place, read_only=True) as kb:
        assert kb.checkout() == {"n": {str(n): "x" * n for n in range(20)}}
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])


def test_a_retention_of_the_whole_bucket(place_on: Places) -> None:
    """A server that refuses to remove what is locked: everything else goes on, and `gc` says what stays."""
    place = place_on("ministack", "http")
    client = raw_client(place.partition("endpoint=")[2].partition("&")[0])
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=rule)
    with Store.create(f"s3://locked/kb?{place.partition('?')[2]}", {"n": 0}, author="a") as kb:
        for n in range(3):
            kb.commit({"n": n + 1})
            kb.snapshot()
        done = kb.gc()
        assert {key.partition("/")[0] for key in done.kept} == {"snap"}
        assert "(AccessDenied)" in done.kept_because
        report = kb.verify()
        assert (report.problems, report.caches) == ([], [])
        assert kb.commit({"n": 9}).seq == 5


@pytest.mark.long
def test_s3rver_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no conditions: no store is made on it, with the reason, and nothing is left behind."""
    use_credentials(monkeypatch, None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3RVER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3RVER_KEY)
    monkeypatch.setenv("KBSTORE_CACHE", "off")
    with s3rver(tmp_path) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        client = raw_client(url, S3RVER_KEY, S3RVER_KEY)
        client.create_bucket(Bucket="bucket")
        with pytest.raises(StoreUnavailable, match="ignores If-None-Match"):
            Store.create("s3://bucket/kb", {"n": 0})
        assert "Contents" not in client.list_objects_v2(Bucket="bucket")
