"""Servers that store something else than they are sent are found before a commit is acknowledged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends.s3 import S3Backend
from kbstore.backends.s3.transport.url import Options
from kbstore.kit.errors import StoreUnavailable
from tests.s3.fakes import Bucket, DictClient, backend_on
from tests.s3.servers import MotoServer
from tests.s3.wires import Wire, certificate


@pytest.fixture
def location(bucket: str, moto_url: str, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The URL of a store on a server over TLS, with more options."""
    wire = Wire(moto_url)
    public, wire.context = certificate(tmp_path)

    def found(**options: object) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"s3://{bucket}/kb?endpoint=https{wire.url.removeprefix('http')}&ca={public}{more}"

    yield found
    wire.close()


def test_bodies_are_sent_as_they_are(location: Callable[..., str], moto_server: MotoServer) -> None:
    """Over TLS too, with a checksum in a header: a server that stores frames has none to store."""
    moto_server.app.stores_frames = True
    with Store.create(location(), {"n": 0}, author="a") as kb:
        kb.commit({"n": 1})
    with Store.open(location()) as kb:
        assert kb.checkout() == {"n": 1}
        assert kb.verify().ok


def test_a_server_that_stores_frames_is_refused(
    location: Callable[..., str], moto_server: MotoServer, moto_url: str
) -> None:
    """No store is made there, and none is written to that was made before; nothing of it is harmed."""
    framed = location(checksums="trailer")
    Store.create(framed, {"n": 0}, author="a").close()
    moto_server.app.stores_frames = True
    with pytest.raises(StoreUnavailable, match="does not give back what was written"):
        Store.create(framed.replace("/kb?", "/other?"), {})
    with Store.open(framed, author="b") as kb, pytest.raises(StoreUnavailable, match="does not give back"):
        kb.commit({"n": 1})
    with Store.open(location(), author="b") as kb:
        assert kb.commit({"n": 2}).seq == 2
        assert kb.verify().ok


@pytest.mark.parametrize(("checksums", "header"), [("header", True), ("off", False)])
def test_what_is_sent_along(bucket: str, moto_server: MotoServer, checksums: str, header: bool) -> None:
    """The CRC32 of the bytes, or nothing."""
    seen: list[dict[str, str]] = []
    moto_server.app.before = lambda environ: seen.append(environ)  # type: ignore[func-returns-value]
    Store.create(f"s3://{bucket}/kb?checksums={checksums}", {"n": 0}, author="a").close()
    puts = [environ for environ in seen if environ["REQUEST_METHOD"] == "PUT"]
    assert puts
    assert {"HTTP_X_AMZ_CHECKSUM_CRC32" in environ for environ in puts} == {header}
    assert not any("aws-chunked" in environ.get("HTTP_CONTENT_ENCODING", "") for environ in puts)


def test_a_server_is_tried_once_on_a_machine(tmp_path: Path) -> None:
    """By the first process that writes there; another bucket, or a machine without a cache, is tried again."""

    def tried(bucket: Bucket, **options: str) -> bool:
        chosen = Options("fake", "kb/", **{"cache": str(tmp_path), **options})
        client = DictClient(chosen, bucket)
        client.meter.on = True
        with Store(S3Backend(chosen, client=client), author="a") as kb:
            kb.commit({"n": str(client)})
        return any(request.key.startswith("probe/") for request in client.meter.requests)

    one, two = Bucket("one"), Bucket("two")
    for bucket in (one, two):
        backend_on(bucket, new=True).close()
    assert [tried(one), tried(one), tried(two), tried(two), tried(one, cache="off")] == [True, False, True, False, True]
    assert not [key for key in one.objects if key.startswith("probe/")]


def framed(key: str, data: bytes) -> bytes:
    """What a server stores that knows no frames; only slots are sent in frames here."""
    return b"%x\r\n%b\r\n0\r\n" % (len(data), data) if key.startswith("log/") else data


def test_the_first_slot_of_a_process_is_read_back() -> None:
    """One that is not what was written is told, and nothing more is written; a commit after it costs one request."""
    bucket = Bucket()
    backend = backend_on(bucket, new=True)
    with Store(backend, author="a") as kb:
        kb.commit({"n": 0})
        assert [(r.operation, r.key[-1]) for r in backend.client.meter.reset()][-2:] == [("PUT", "1"), ("GET", "1")]
        kb.commit({"n": 1})
        slots = [(r.operation, r.key[-1]) for r in backend.client.meter.reset() if r.key.startswith("log/")]
        assert slots == [("PUT", "2")]
    bucket.stored_as = framed
    with Store(backend_on(bucket), author="b") as kb:
        before = set(bucket.objects)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"000000000003 in .* is not what this process wrote"):
                kb.commit({"n": 9})
        assert len([key for key in bucket.objects if key not in before and key.startswith("log/")]) == 1
