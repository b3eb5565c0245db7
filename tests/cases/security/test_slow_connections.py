"""`health serve` is there for those who ask, whoever else holds connections open."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.health.support import environment

resource = pytest.importorskip("resource")
# The limits as they are would cost a test five seconds each time.
PROGRAM = (
    "from kbstore.health.serve.limits import Limited; Limited.request_s = 1.0; "
    "from kbstore.health.cli import main; main()"
)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a server that may have 128 files open."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM, "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment() | {"HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)),
    )
    assert process.stdout
    yield int(process.stdout.readline().rsplit(":", 1)[1])
    process.terminate()
    process.wait(20)
    process.stdout.close()


def ask(port: int, path: str) -> str:
    """Return the whole answer to a request that is sent at once."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := connection.recv(4096):
            answer += more
    return answer.decode()


def is_cut(connection: socket.socket) -> bool:
    """Whether the server has closed a connection; waits for a while."""
    connection.settimeout(5)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_unfinished_requests_are_cut_and_others_are_answered(port: int) -> None:
    """Case 09: with 130 unfinished requests a whole one is answered at once, and all unfinished ones are cut."""
    with ExitStack() as held:
        slow = []
        for _ in range(130):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            with suppress(OSError):
                connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
            slow.append(connection)
        assert " 200 " in ask(port, "/livez").splitlines()[0]
        assert all(is_cut(connection) for connection in slow)
    assert " 200 " in ask(port, "/livez").splitlines()[0]


def test_a_request_that_comes_byte_by_byte_is_cut(port: int) -> None:
    """Each byte is progress, and still the whole must be there in time; a body counts too."""
    for begun in (b"GET /livez HTTP/1.1\r\nX: ", b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(begun)
            connection.settimeout(0.1)
            for _ in range(100):
                try:
                    connection.sendall(b"a")
                    if connection.recv(4096) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            else:
                pytest.fail("the connection is open still")


def test_nobody_is_sent_elsewhere(port: int) -> None:
    """A path with a slash too many is not there; nobody is redirected to the host that the request names."""
    for path in ("/health/", "/livez/", "//evil.example/health"):
        answer = ask(port, path)
        assert " 404 " in answer.splitlines()[0]
        assert "evil.example" not in answer


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_state_and_caches_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    """What health and the cache of a store on a server keep is for their owner alone."""
    made = tmp_path / "made"
    program = (
        f"import os; os.umask({umask})\n"
        "from pathlib import Path; from datetime import UTC, datetime\n"
        "from kbstore.health.state import State; from kbstore.backends.s3.cache.disk_cache import Cache\n"
        "from kbstore.backends.base import Chunk\n"
        f"state = State(Path({str(made / 'state')!r})); state.add_note('a', 'text', datetime.now(UTC)); state.close()\n"
        f"cache = Cache(Path({str(made / 'cache')!r}), 10**6); cache.put([Chunk(b'x' * 32, b'data')]); cache.close()\n"
    )
    made.mkdir()
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True)
    found = {path: path.stat().st_mode & 0o777 for path in made.rglob("*")}
    assert {path.name for path in found} >= {"health.db", "state", "cache"}
    for path, mode in found.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path
