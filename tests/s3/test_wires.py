"""What happens on the wire between a client and a sound server: TLS that breaks, answers that drip."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import OutcomeUnknown, StoreUnavailable
from tests.s3.fakes import Bucket, DictClient
from tests.s3.wires import Wire, certificate, slow_taker, thin_line


@pytest.fixture
def wire(moto_url: str) -> Iterator[Wire]:
    """A wire to moto."""
    wire = Wire(moto_url)
    yield wire
    wire.harm = ""
    wire.close()


@pytest.fixture
def tls(wire: Wire, tmp_path: Path) -> Path:
    """The same with TLS; the file of its certificate."""
    public, wire.context = certificate(tmp_path)
    return public


@pytest.fixture
def location(wire: Wire, bucket: str) -> Callable[..., str]:
    """A store's URL through the wire, with more options."""

    def found(scheme: str = "http", **options: object) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"s3://{bucket}/kb?endpoint={scheme}{wire.url.removeprefix('http')}{more}"

    return found


def replace(value: int) -> list[dict[str, object]]:
    """One operation."""
    return [{"op": "replace", "path": "/n", "value": value}]


# ---- TLS -------------------------------------------------------------------------------------------------------------


def test_tls_that_breaks_after_sending_is_no_refusal(wire: Wire, tls: Path, location: Callable[..., str]) -> None:
    """What landed is acknowledged, once."""
    with Store.create(location("https", ca=tls, timeout=10), {"n": 0}, author="a") as kb:
        kb.commit(patch=replace(1))
        wire.harm = "broken"
        assert kb.commit(patch=replace(2), message="mine").message == "mine"
        assert wire.harmed == 1
        assert [v.message for v in kb.log()] == ["mine", "", "first version"]


def test_tls_that_breaks_while_reading_is_tried_again(wire: Wire, tls: Path, location: Callable[..., str]) -> None:
    """A reader does not notice."""
    place = location("https", ca=tls, timeout=10)
    Store.create(place, {"n": 0}, author="a").close()
    wire.harm, wire.method = "broken", "GET"
    with Store.open(place, read_only=True) as kb:
        assert kb.checkout() == {"n": 0}
    assert wire.harmed == 1


def test_a_certificate_that_nobody_trusts(tls: Path, location: Callable[..., str]) -> None:
    """It is told as that, at once."""
    Store.create(location("https", ca=tls), {"n": 0}, author="a").close()
    with pytest.raises(StoreUnavailable, match="a certificate that is not trusted"):
        Store.open(location("https"))


def test_a_server_that_speaks_no_tls(location: Callable[..., str]) -> None:
    """Nothing was sent where there was no handshake: it is told as a server that cannot be reached."""
    Store.create(location(), {"n": 0}, author="a").close()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        Store.open(location("https"))


# ---- answers that drip -----------------------------------------------------------------------------------------------


def test_a_commit_whose_answer_drips_ends_by_its_deadline(wire: Wire, location: Callable[..., str]) -> None:
    """Each piece comes within the read timeout, the whole never: the outcome is unknown, and a repeat lands it once."""
    wire.pause_s = 0.3
    place = location(timeout=3, read_timeout=2)
    change = {"patch": replace(2), "message": "mine", "write_id": "w"}
    Store.create(location(), {"n": 0}, author="a").close()
    with Store.open(place, author="a") as kb:
        kb.commit(patch=replace(1))
        wire.harm = "drip"
        with pytest.raises(OutcomeUnknown):
            kb.commit(**change)
        assert wire.harmed == 1
        wire.harm = ""
        assert kb.commit(**change).message == "mine"
        assert len(list(kb.log())) == 3


def test_a_read_that_drips_ends_by_its_deadline(wire: Wire, location: Callable[..., str]) -> None:
    """Headers or content, one request or many at once."""
    place = location(timeout=2, read_timeout=1)
    Store.create(location(), {"n": 0}, author="a").close()
    wire.harm, wire.method, wire.pause_s = "drip", "GET", 0.2
    with Store.open(place, read_only=True) as kb, pytest.raises(StoreUnavailable, match="gave no answer"):
        kb.head()


def test_sending_may_take_longer_than_a_connection(moto_url: str) -> None:
    """The connect timeout is for the connection alone; the deadline of the call is what bounds a large object."""
    place = parse_location(f"s3://bucket/kb?endpoint={slow_taker(1.0)}&connect_timeout=0.3&timeout=30")
    client = Client(place, SystemChance())
    client.meter.on = True
    client.put("large", bytes(16 << 20))
    assert [request.status for request in client.meter.requests] == [200]


def test_a_large_object_on_a_thin_line(moto_url: str) -> None:
    """It takes longer than the timeout, and is not given up while it moves."""
    place = parse_location(f"s3://bucket/kb?endpoint={thin_line(6 << 20)}&timeout=2&read_timeout=0.2")
    client = Client(place, SystemChance())
    client.meter.on = True
    client.put("large", bytes(16 << 20))
    (request,) = client.meter.requests
    assert request.status == 200
    assert request.ended - request.begun > 2


def test_an_object_that_does_not_move(moto_url: str) -> None:
    """It is given up, and the message names the option."""
    url = thin_line(32 << 20, stops_after=1 << 20)
    client = Client(parse_location(f"s3://bucket/kb?endpoint={url}&timeout=2&read_timeout=0.5"), SystemChance())
    with pytest.raises(StoreUnavailable, match="gave no answer") as caught:
        client.put("large", bytes(16 << 20))
    assert "?timeout=" in str(caught.value.hint)


def test_few_large_objects_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are to write; small ones go beside them."""
    bucket = Bucket()
    client = DictClient(parse_location("s3://fake/kb?cache=off"), bucket)
    bucket.latency_s = 0.02
    busy: list[int] = []
    most: list[int] = []
    original = DictClient._put

    def put(self: DictClient, key: str, data: bytes, *, absent: bool) -> object:
        busy.append(1)
        most.append(len(busy))
        try:
            return original(self, key, data, absent=absent)
        finally:
            busy.pop()

    monkeypatch.setattr(DictClient, "_put", put)
    for size, expected in ((2 << 20, 4), (1000, 20)):
        most.clear()
        client.map(lambda n, size=size: client.put(f"{size}/{n}", bytes(size)), range(20))  # type: ignore[misc]
        assert len(most) == 20
        assert max(most) <= expected
        assert max(most) > 1
    client.close()
