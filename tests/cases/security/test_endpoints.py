"""A server on another host is not spoken to without TLS, unless whoever runs the program says so."""

from pathlib import Path

import pytest

from kbstore import Store
from kbstore.errors import StoreUnavailable
from kbstore.kit.errors import BackendError
from kbstore.kit.hosts import INSECURE, is_local
from tests.cases.support import Desk

# 192.0.2.0/24 is for documentation: nobody is there.
QUICK = "connect_timeout=0.05&read_timeout=0.05&timeout=0.1"
ELSEWHERE = f"s3://bucket/kb?endpoint=http://192.0.2.1:9000&{QUICK}"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv(INSECURE, raising=False)


@pytest.mark.parametrize("call", [Store.open, Store.create])
def test_http_to_another_host_is_refused_before_a_byte_is_sent(call: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host, and how to allow it."""
    with pytest.raises(StoreUnavailable, match=r"http://192\.0\.2\.1") as caught:
        call(ELSEWHERE)  # type: ignore[operator]
    assert f"{INSECURE}=192.0.2.1" in str(caught.value.hint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.2:9000")
    with pytest.raises(StoreUnavailable, match=r"http://192\.0\.2\.2"):
        call(f"s3://bucket/kb?{QUICK}")  # type: ignore[operator]


@pytest.mark.parametrize("allowed", ["192.0.2.1", "192.0.2.1:9000", "*", "minio, 192.0.2.1"])
def test_an_allowed_host_is_asked(allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment names is spoken to, and so is what a program allows."""
    monkeypatch.setenv(INSECURE, allowed)
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(ELSEWHERE)
    assert "in between" not in str(caught.value)


def test_a_program_may_allow_it() -> None:
    """`insecure=True` is for one store; the next one without it is refused."""
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(ELSEWHERE, insecure=True)
    assert "in between" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="in between"):
        Store.open(ELSEWHERE)


def test_a_url_cannot_allow_it() -> None:
    """A location may come from anywhere, so it has no such option."""
    with pytest.raises(BackendError, match="unknown option"):
        Store.open(f"{ELSEWHERE}&insecure=true")


def test_the_command_line_allows_it(tmp_path: Path) -> None:
    """`--insecure` is for one command."""
    desk = Desk(tmp_path / "desk")
    assert "in between" in desk.run("--store", ELSEWHERE, "log").err
    said = desk.run("--store", ELSEWHERE, "--insecure", "log")
    assert said.code == 3
    assert "in between" not in said.err


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("2130706433", False),
        ("db", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, local: bool) -> None:
    """Only names and addresses that cannot lead elsewhere."""
    assert is_local(host) is local
