"""The fakes of S3 are right by default, and wrong exactly as their switches say."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.client import Client, Got
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.errors import Refused
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import StoreUnavailable
from tests.s3.fakes import Bucket, DictClient
from tests.s3.fakeserver import FakeS3
from tests.s3.wires import certificate

Clients = Callable[..., Client]


@pytest.fixture
def clients(fake_s3: FakeS3) -> Clients:
    """The backend's own client on the fake."""
    return lambda **options: Client(parse_location(fake_s3.place("bkt/kb", **options)), SystemChance())


@pytest.fixture
def secure_s3(tmp_path: Path, fake_s3: FakeS3) -> Iterator[FakeS3]:
    """The same over TLS."""
    public, context = certificate(tmp_path)
    fake = FakeS3(tls=context, ca=str(public))
    yield fake
    fake.close()


def test_it_keeps_a_store(fake_s3: FakeS3) -> None:
    """Beside the objects of others."""
    fake_s3.plant("bkt", "other/file")
    with Store.create(fake_s3.place("bkt/kb"), {"n": 0}, author="a") as kb:
        kb.commit({"n": 1})
    with Store.open(fake_s3.place("bkt/kb")) as kb:
        assert kb.checkout("v1") == {"n": 0}
        assert not kb.verify().problems
    assert fake_s3.data("bkt", "other/file") == b"not ours"
    assert fake_s3.remove("bkt", "kb/log/")
    assert not fake_s3.keys("bkt", "kb/log/")


def test_objects_and_ranges(clients: Clients, fake_s3: FakeS3) -> None:
    """As S3 has them: a range of nothing is 416."""
    client = clients()
    client.put("k", b"0123456789")
    got = client.get("k", 2, 5)
    assert got is not None
    assert (got.data, got.size) == (b"234", 10)
    assert (client.get("k", 8) or got).data == b"89"
    assert client.get("none") is None
    past = client._get("k", 10, 20)
    assert isinstance(past, Refused)
    assert (past.status, past.code) == (416, "InvalidRange")
    fake_s3.ranges = False
    assert (client.get("k", 2, 5) or got).data == b"234"
    client.delete(["k", "none"])
    assert client.get("k") is None


def test_listings_come_in_pages(clients: Clients, fake_s3: FakeS3) -> None:
    """Whole, by folders, after a key; names of any kind."""
    client = clients()
    names = ["a/1", "a/2", "a/ä & b", "b", "c/d/e", "c/f"]
    for name in names:
        client.put(name, b"x")
    for page in (1, 2, 1000):
        fake_s3.page = page
        assert [one.key for one in client.listing("")] == names
        assert [one.key for one in client.listing("", folders=True)] == ["a/", "b", "c/"]
        assert [one.key for one in client.listing("a/", after="a/1")] == ["a/2", "a/ä & b"]
        assert [one.key for one in client.listing("", limit=3)] == names[:3]


def test_conditions(clients: Clients, fake_s3: FakeS3) -> None:
    """One of many wins, unless there is a window between check and write, or no check at all."""
    client = clients()

    def winners(key: str) -> int:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: client.create(key, b"%d" % n), range(8))).count(None)

    assert winners("a") == 1
    fake_s3.race_s = 0.1
    assert winners("b") > 1
    assert client.create("b", b"x") is not None
    fake_s3.race_s, fake_s3.ignores_conditions = 0.0, True
    assert winners("c") == 8
    fake_s3.ignores_conditions, fake_s3.taken = False, 304
    refused = client.create("c", b"x")
    assert refused is not None
    assert (refused.status, refused.code) == (412, "304")  # told as what it means


def test_a_session_that_expires(clients: Clients, fake_s3: FakeS3) -> None:
    """Requests with another token than the one in force are refused."""
    fake_s3.token = "second"
    with pytest.raises(StoreUnavailable, match="ExpiredToken"):
        clients().get("k")


def test_over_tls(secure_s3: FakeS3) -> None:
    """boto3 frames a body there; a server that stores the frame gives another object back."""
    place = secure_s3.place("bkt/kb")
    client = Client(parse_location(f"{place}&checksums=trailer"), SystemChance())
    client.put("k", b"0123456789")
    assert secure_s3.data("bkt", "kb/k") == b"0123456789"
    secure_s3.frames = True
    client.put("k", b"0123456789")
    assert secure_s3.data("bkt", "kb/k").startswith(b"a\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:")


def test_clock_and_hook(clients: Clients, fake_s3: FakeS3) -> None:
    """The server's clock is its own, and a test may answer a request itself."""
    client = clients()
    fake_s3.plant("bkt", "kb/old", b"x", age=timedelta(hours=2))
    got = client.get("old")
    assert got is not None
    assert 7199 <= got.age_s <= 7205
    fake_s3.refuse(501, "NotImplemented", method="PUT", key="kb/log")
    refused = client.create("log/1", b"x")
    assert refused is not None
    assert (refused.status, refused.code) == (501, "NotImplemented")
    assert client.create("other", b"x") is None


def test_the_dict_is_as_strict() -> None:
    """416 and the window between check and write, without HTTP."""
    bucket = Bucket()
    client = DictClient(parse_location("s3://fake/kb?cache=off"), bucket)
    client.put("k", b"0123456789")
    past = client._get("k", 10, None)
    assert isinstance(past, Refused)
    assert past.status == 416
    assert isinstance(client._get("k", 9, 99), Got)
    bucket.race_s = 0.1
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: client.create("r", b"%d" % n), range(4))).count(None) > 1
    assert client.create("r", b"x") is not None
