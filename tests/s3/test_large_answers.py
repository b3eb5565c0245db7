"""No answer of a server is kept or parsed beyond a size that is known beforehand, whatever it was asked for."""

from collections.abc import Callable

import pytest

from kbstore.backends.s3.transport import client as module
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.deadline import LARGEST_TOLD_BYTES
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import StoreUnavailable
from tests.s3.fakeserver import Answer, Ask, FakeS3

LARGE = LARGEST_TOLD_BYTES + (1 << 20)
TRUNCATED = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>'
ENTRY = b"<Contents><Key>kb/%d</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"


def _padded(text: bytes) -> bytes:
    return text + b"\n" * (LARGE - len(text))


ANSWERS = {
    "a page of a listing": ("LIST", Answer(200, _padded(TRUNCATED % (ENTRY % 1)), {"Content-Type": "application/xml"})),
    "a refusal of a listing": ("LIST", Answer(403, _padded(b"<Error><Code>AccessDenied</Code></Error>"))),
    "a refusal of an object": ("GET", Answer(403, _padded(b"<Error><Code>AccessDenied</Code></Error>"))),
    "what is said of a written object": ("PUT", Answer(200, _padded(b""), {"ETag": '"1"'})),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_object_is_bounded(fake_s3: FakeS3, name: str) -> None:
    """It is refused as what no S3 says, and nothing of it is parsed."""
    method, large = ANSWERS[name]
    acts: dict[str, Callable[[], object]] = {
        "LIST": lambda: list(client.listing("log/")),
        "GET": lambda: client.get("log/main/1"),
        "PUT": lambda: client.put("hint", b"x"),
    }
    client = Client(parse_location(fake_s3.place("bkt/kb", timeout=60)), SystemChance())

    def before(ask: Ask) -> Answer | None:
        return large if method == ("LIST" if ask.method == "GET" and not ask.key else ask.method) else None

    fake_s3.before = before
    with pytest.raises(StoreUnavailable, match=f"more than {LARGEST_TOLD_BYTES:,} bytes"):
        acts[method]()
    assert fake_s3.asked.total() == 1


def test_an_object_is_bounded(fake_s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than any that kbstore writes is not read to its end."""
    client = Client(parse_location(fake_s3.place("bkt/kb", timeout=60)), SystemChance())
    fake_s3.plant("bkt", "kb/log/main/1", b"x" * LARGE)
    got = client.get("log/main/1")
    assert got is not None
    assert len(got.data) == LARGE
    monkeypatch.setattr(module, "_LARGEST_ANSWER_BYTES", 1 << 20)
    with pytest.raises(StoreUnavailable, match="more than 1,048,576 bytes"):
        client.get("log/main/1")
