"""What happens on the wire between a client and a sound server: TLS that breaks, answers that drip."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.errors import StoreUnavailable
from kbstore import Store
from tests.s3.wires import Wire, certificate


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
    with pytest.raises(StoreUnavailable, match="no certificate that is trusted"):
        Store.open(location("https"))


def test_a_server_that_speaks_no_tls(location: Callable[..., str]) -> None:
    """Nothing was sent where there was no handshake: it is told as a server that cannot be reached."""
    Store.create(location(), {"n": 0}, author="a").close()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        Store.open(location("https"))
