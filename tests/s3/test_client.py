"""The boto3 client: one for each process and way to connect, with the settings that the protocol needs."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends.s3.transport import client as module
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.clock import SystemClock
from tests.s3.proxy import Proxy
from tests.s3.servers import MotoServer
from tests.s3.test_forks import in_child


def boto_client(location: str) -> Any:
    """The client that a store's requests go through."""
    return module._client_for(parse_location(location))


def test_settings(moto_url: str) -> None:
    """No silent retries, short timeouts, connections that are kept alive, and one for each thread of the pool."""
    config = boto_client("s3://bucket/kb").meta.config
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout) == (2.0, 10.0)
    assert config.tcp_keepalive
    assert config.max_pool_connections >= 48
    config = boto_client("s3://bucket/kb?connect_timeout=3&read_timeout=30&threads=100&addressing=path").meta.config
    assert (config.connect_timeout, config.read_timeout, config.s3["addressing_style"]) == (3.0, 30.0, "path")
    assert config.max_pool_connections >= 100


def test_one_client_for_a_process(moto_url: str) -> None:
    """Shared by stores that connect in the same way, made once by however many threads, and not by a fork."""
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(boto_client(f"s3://bucket/kb{n}?threads=7"))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert boto_client("s3://bucket/kb?threads=9") is not found[0]

    def another() -> None:
        assert boto_client("s3://bucket/kb?threads=7") is not found[0]

    assert in_child(another)


def test_connections_are_kept_and_kept_alive(bucket: str, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that follow one another share one, with keep-alive of TCP set on it."""
    wire = Proxy(moto_url)  # moto itself closes each connection
    made: list[socket.socket] = []
    original = socket.socket.connect

    def connect(self: socket.socket, address: tuple[str, int]) -> None:
        if wire.url.endswith(f":{address[1]}"):
            made.append(self)
        original(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    client = Client(parse_location(f"s3://{bucket}/kb?endpoint={wire.url}"), SystemChance())
    for n in range(5):
        client.put(f"k{n}", b"x" * 1000)
        assert client.get(f"k{n}", 0, 10) is not None
        assert client.get("nope") is None
        assert client.create(f"k{n}", b"y") is not None
        assert len(list(client.listing(""))) == n + 1
    (one,) = made
    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    wire.close()


def test_a_write_is_one_round_trip(bucket: str, moto_server: MotoServer) -> None:
    """Its bytes go at once: no PUT asks first whether they are welcome."""
    seen: list[dict[str, Any]] = []
    moto_server.app.before = lambda environ: seen.append(environ)  # type: ignore[func-returns-value]
    with Store.create(f"s3://{bucket}/kb", {"n": 0}, author="a") as kb:
        kb.commit({"n": 1})
    puts = [environ for environ in seen if environ["REQUEST_METHOD"] == "PUT"]
    assert puts
    assert not any("HTTP_EXPECT" in environ for environ in puts)


def test_the_time_of_the_server_is_heard(bucket: str) -> None:
    """Each answer tells it; a machine whose clock is minutes off is told of it at its commit."""

    class Off(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(minutes=5)

    with Store.create(f"s3://{bucket}/kb", {"n": 0}) as kb:
        found = kb.backend.server_time()
        assert found is not None
        assert abs(found - datetime.now(UTC)) < timedelta(seconds=30)
        assert kb.commit({"n": 1}).notes == ()
    with Store.open(f"s3://{bucket}/kb", clock=Off()) as kb:
        (note,) = kb.commit({"n": 2}).notes
        assert "seconds ahead of that of the server" in note
