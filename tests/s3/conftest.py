"""S3 for tests: a bucket of its own for each test, on moto or on SeaweedFS."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.s3.emulators import localbucket, ministack
from tests.s3.fakeserver import FakeS3, Server
from tests.s3.servers import MotoServer, raw_client, seaweed, use_credentials
from tests.s3.wires import Wire, certificate

_counter = itertools.count(1)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    """One moto for all tests of a process."""
    server = MotoServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One SeaweedFS for all tests of a process."""
    with seaweed(tmp_path_factory.mktemp("weed")) as url:
        yield url


@pytest.fixture(scope="session")
def ministack_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One ministack for all tests of a process."""
    with ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture(scope="session")
def localbucket_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One localbucket for all tests of a process."""
    with localbucket(tmp_path_factory.mktemp("localbucket")) as url:
        yield url


@pytest.fixture(scope="session")
def tls_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Speaks TLS for a server, given its URL: the URL in front of it, and the file of its certificate.

    Bodies are passed on as they are framed, so each server undoes the frames of boto3 itself.
    """
    public, context = certificate(tmp_path_factory.mktemp("tls"))
    fronts: dict[str, Wire] = {}

    def front(url: str) -> tuple[str, str]:
        if url not in fronts:
            fronts[url] = Wire(url)
            fronts[url].context = context
        return fronts[url].url.replace("http:", "https:"), str(public)

    yield front
    for wire in fronts.values():
        wire.close()


@pytest.fixture
def place_on(
    request: pytest.FixtureRequest, tls_front: Callable[[str], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], str]:
    """The URL of a store in a new bucket, given a server (``moto``, ``seaweed``, ...) and ``http`` or ``https``."""

    def place(server: str, scheme: str) -> str:
        found = request.getfixturevalue("moto_server" if server == "moto" else f"{server}_url")
        url = found.url if isinstance(found, MotoServer) else found
        use_credentials(monkeypatch, None)
        monkeypatch.setenv("KBSTORE_CACHE", "off")
        name = new_bucket(url)
        where, ca = tls_front(url) if scheme == "https" else (url, "")
        return f"s3://{name}/some/kb?endpoint={where}&read_timeout=30" + (f"&ca={ca}" if ca else "")

    return place


@pytest.fixture
def moto_url(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto, which the AWS chain of this test leads to."""
    use_credentials(monkeypatch, moto_server.url)
    monkeypatch.setenv("KBSTORE_CACHE", "off")
    yield moto_server.url
    moto_server.app.delay_s, moto_server.app.before, moto_server.app.stores_frames = 0.0, None, False


def new_bucket(url: str) -> str:
    """A bucket of a new name on a server."""
    name = f"bucket-{next(_counter)}"
    raw_client(url).create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket(moto_url: str) -> str:
    """A new bucket on moto."""
    return new_bucket(moto_url)


@pytest.fixture
def real_bucket(seaweed_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on SeaweedFS."""
    use_credentials(monkeypatch, seaweed_url)
    monkeypatch.setenv("KBSTORE_CACHE", "off")
    return new_bucket(seaweed_url)


@pytest.fixture(scope="session")
def fake_server() -> Iterator[Server]:
    """One fake S3 for all tests of a process, so that there is one client of boto3, which costs 20 MB and 0.1 s."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def fake_s3(fake_server: Server, monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    """A fake S3 without objects, whose bad habits are off; `place` gives URLs on it, and every bucket exists."""
    use_credentials(monkeypatch, None)
    monkeypatch.setenv("KBSTORE_CACHE", "off")
    return FakeS3(fake_server)
