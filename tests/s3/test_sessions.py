"""Sessions that expire while a process runs, and whose credentials are renewed outside of it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kbstore import Store
from kbstore.backends.s3.transport import client as module
from kbstore.kit.errors import StoreUnavailable
from tests.s3.fakeserver import FakeS3

Renew = Callable[[str], None]


@pytest.fixture
def renew(fake_s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Renew:
    """Writes the file of credentials with another session token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(token: str) -> None:
        file.write_text(f"[default]\naws_access_key_id=key\naws_secret_access_key=secret\naws_session_token={token}\n")

    write("first")
    fake_s3.token = "first"
    return write


def test_a_session_that_was_renewed_outside(fake_s3: FakeS3, renew: Renew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and writes go on with a new client, which is made once for all threads."""
    place = fake_s3.place("bkt/kb", connect_timeout=3.25)
    made: list[object] = []
    original = module._new_client
    monkeypatch.setattr(module, "_new_client", lambda options: made.append(options) or original(options))
    with Store.create(place, {"n": 0}, author="a") as kb:
        for n in range(12):
            kb.commit({"n": n + 1})
        assert len(made) == 1
        renew("second")
        fake_s3.token = "second"
        assert kb.commit({"n": -1}).seq == 14
        assert len(made) == 2
        renew("third")
        fake_s3.token = "third"
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(kb.head().seq)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [14] * 6
        assert len(made) == 3


def test_a_session_that_is_over(fake_s3: FakeS3, renew: Renew) -> None:
    """It is told at once, in two requests, and works again when somebody has logged in."""
    place = fake_s3.place("bkt/kb", connect_timeout=3.5)
    with Store.create(place, {"n": 0}, author="a") as kb:
        kb.commit({"n": 1})
        fake_s3.token = "second"
        fake_s3.asked.clear()
        with pytest.raises(StoreUnavailable, match="ExpiredToken"):
            kb.commit({"n": 2})
        assert fake_s3.asked["PUT"] == 2
        renew("second")
        assert kb.commit({"n": 3}).seq == 3
