"""Places that are no store, or cannot be used: one line, a hint, no secret, and an exit code from the table."""

import json
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store
from kbstore.backends import create_backend, open_backend
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import (
    CorruptStore,
    OutcomeUnknown,
    StoreExists,
    StoreNotFound,
    StoreUnavailable,
    UnsupportedFormat,
)
from tests.cli.support import DOCUMENT, Shell
from tests.s3.servers import READER_KEY, READER_SECRET, SECRET_KEY, MotoServer, raw_client


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder to run commands in."""
    return Shell(tmp_path, monkeypatch)


def told(shell: Shell, code: int, location: str) -> str:
    """What `kbstore log` says of a location."""
    result = shell.fails(code, "log", "--store", location)
    assert "hint: " in result.err
    for secret in (SECRET_KEY, READER_SECRET, "verysecret"):
        assert secret not in result.err + result.out
    return result.err


# ---- on the real server ----------------------------------------------------------------------------------------------


def test_wrong_credentials(shell: Shell, real_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown key, a wrong secret, none at all."""
    location = f"s3://{real_bucket}/kb?timeout=5"
    Store.create(location, {}).close()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret-and-wrong")
    assert "SignatureDoesNotMatch" in told(shell, 3, location)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "InvalidAccessKeyId" in told(shell, 3, location)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no AWS credentials" in told(shell, 3, location)


def test_a_policy_that_only_reads(shell: Shell, real_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read; a commit says that it is not allowed, and nothing was written."""
    location = f"s3://{real_bucket}/kb"
    Store.create(location, {"n": 1}, author="a").close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    assert len(shell.ok("log", "--json", "--store", location).objects) == 1
    assert json.loads(shell.ok("get", "/n", "--store", location).out) == 1
    patch = b'[{"op":"replace","path":"/n","value":2}]'
    result = shell.fails(3, "apply", "-", "-m", "x", "--store", location, stdin=patch)
    assert "do not allow" in result.err
    assert "docs/s3.md" in result.err
    assert len(shell.ok("log", "--json", "--store", location).objects) == 1


def test_no_bucket_and_no_store(shell: Shell, real_bucket: str) -> None:
    """Exit code 10 both."""
    assert "no bucket" in told(shell, 10, "s3://there-is-none/kb")
    assert "no store" in told(shell, 10, f"s3://{real_bucket}/nothing")


# ---- on moto ---------------------------------------------------------------------------------------------------------


def test_a_bucket_that_holds_something_else(shell: Shell, bucket: str, moto_url: str) -> None:
    """It is not made a store, unless below a prefix of its own; what is there stays."""
    client = raw_client(moto_url)
    client.put_object(Bucket=bucket, Key="photos/cat.jpg", Body=b"cat")
    with pytest.raises(StoreExists, match=r"photos/cat\.jpg"):
        create_backend(f"s3://{bucket}")
    shell.write(DOCUMENT)
    shell.fails(3, "init", "kb.json", "--store", f"s3://{bucket}")
    assert "no store" in told(shell, 10, f"s3://{bucket}")
    create_backend(f"s3://{bucket}/kb").close()
    client.put_object(Bucket=bucket, Key="odd/kbstore", Body=b"{}")
    with pytest.raises(CorruptStore, match="marker"):
        open_backend(f"s3://{bucket}/odd")
    client.put_object(Bucket=bucket, Key="new/kbstore", Body=b'{"format":99,"id":"x","kind":"kbstore"}')
    with pytest.raises(UnsupportedFormat, match="99"):
        open_backend(f"s3://{bucket}/new")


def test_a_server_that_ignores_conditions_is_refused(bucket: str, moto_server: MotoServer) -> None:
    """At creation, and before the first write to a store that was made elsewhere, with the reason."""
    location = f"s3://{bucket}/kb"
    Store.create(location, {"n": 0}, author="a").close()

    def ignoring(environ):  # type: ignore[no-untyped-def]
        environ.pop("HTTP_IF_NONE_MATCH", None)

    moto_server.app.before = ignoring
    with pytest.raises(StoreUnavailable, match="ignores If-None-Match"):
        Store.create(f"s3://{bucket}/other", {})
    with Store.open(location, author="b") as kb:
        assert kb.checkout() == {"n": 0}
        with pytest.raises(StoreUnavailable, match="ignores If-None-Match"):
            kb.commit({"n": 1})
    moto_server.app.before = None
    with Store.open(location) as kb:
        assert kb.head().seq == 1
        assert kb.verify().ok


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("301 Moved Permanently", "PermanentRedirect", "another region"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "another region"),
        ("403 Forbidden", "AccessDenied", "do not allow"),
        ("403 Forbidden", "ExpiredToken", "refused the credentials"),
        ("503 Slow Down", "SlowDown", "SlowDown"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock is wrong"),
    ],
)
def test_refusals(shell: Shell, bucket: str, moto_server: MotoServer, status: str, code: str, words: str) -> None:
    """What the server refuses is told in words, with what to do."""
    location = f"s3://{bucket}/kb?timeout={0.3 if status.startswith('5') else 20}"
    create_backend(location).close()
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>verysecret</Message></Error>".encode()
    moto_server.app.before = lambda environ: (status, text)
    assert words in told(shell, 3, location)


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("content", [b"hello", b"<html>hello</html>"])
def test_a_server_that_answers_something_else(
    shell: Shell, bucket: str, moto_server: MotoServer, method: str, content: bytes
) -> None:
    """With success: it does not speak S3, and a write is not taken for done."""
    location = f"s3://{bucket}/kb?timeout=2"
    Store.create(location, {"n": 0}, author="a").close()
    with Store.open(location, author="a") as kb:
        kb.commit({"n": 1})
        moto_server.app.before = lambda e: ("200 OK", content) if e["REQUEST_METHOD"] == method else None
        if method == "GET":
            assert "does not speak S3" in told(shell, 3, location)
            result = shell.fails(3, "import", "-", "--store", location + "2", stdin=b'{"document": {}}')
            assert "does not speak S3" in result.err
        else:
            with pytest.raises(OutcomeUnknown):
                kb.commit({"n": 2})
        moto_server.app.before = None
        assert kb.head().seq == 2


def test_certificates_that_are_not_there(shell: Shell, bucket: str, tmp_path: Path) -> None:
    """The file is named, at once."""
    assert "certificates /nowhere.pem cannot be read" in told(shell, 3, f"s3://{bucket}/kb?ca=/nowhere.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    assert "empty.pem holds none" in told(shell, 3, f"s3://{bucket}/kb?ca={tmp_path}/empty.pem")


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_server_that_does_not_tell_the_time(bucket: str, monkeypatch: pytest.MonkeyPatch, date: str | None) -> None:
    """Everything counts as new, so nothing is removed for its age."""
    original = Client.attempt

    def timeless(self: Client, operation: str, key: str, call: Any, **options: Any) -> Any:
        def without(client: Any) -> Any:
            monkeypatch.setattr(
                "kbstore.backends.s3.transport.client.parsedate_to_datetime", lambda _: parsedate_to_datetime(date)
            )
            return call(client)

        return original(self, operation, key, without, **options)

    with Store.create(f"s3://{bucket}/kb?grace=0.001", {"n": 0}, author="a") as kb:
        monkeypatch.setattr(Client, "attempt", timeless)
        client = kb.backend.client  # type: ignore[attr-defined]
        assert {one.age_s for one in client.listing("")} == {0.0}
        assert client.get("kbstore").age_s == 0.0
        kb.gc()
        assert kb.verify().ok


def test_no_network(shell: Shell, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """A port where nobody listens."""
    assert "cannot be reached" in told(shell, 3, f"s3://{bucket}/kb?endpoint=http://127.0.0.1:9&connect_timeout=1")


@pytest.mark.parametrize(
    "location",
    [
        "s3://",
        "s3:bucket",
        "s3:///kb",
        "s3://key:verysecret@bucket/kb",
        "s3://AKIA:verysecret/more@bucket/kb",
        "s3://AKIA:very?verysecret@bucket/kb",
        "s3://AKIA:verysecret",
        "s3://[verysecret/kb",
        "s3://bucket/kb?verysecret",
        "s3://bucket/kb?verysecret=1",
        "s3://bucket/kb?thread=verysecret",
        "s3://bucket/kb?threads=verysecret",
        "s3://bucket/kb?group=verysecret",
        "s3://bucket/kb?endpoint=http://user:verysecret@127.0.0.1:9",
        "s3://bucket/kb?endpoint=https://127.0.0.1:9/?token=verysecret",
        "s3://bucket/kb?endpoint=verysecret",
        "s3://bucket/kb?endpoint=http://127.0.0.1:verysecret",
        "s3://bucket/a/../b",
        "s3://bucket/kb?nope=1",
        "s3://bucket/kb?threads=many",
        "s3://bucket/kb?sse=rot13",
        "s3://bucket/kb?kms_key=x",
        "s3://bucket/kb?storage_class=GLACIER",
        "s3://bucket/kb#x",
    ],
)
def test_urls_that_name_no_store(shell: Shell, location: str) -> None:
    """What is wrong with it; exit code 10, or 3 if a store may well be there and only an option is wrong."""
    wrong_option = location.startswith("s3://bucket/kb?")
    said = told(shell, 3 if wrong_option else 10, location)
    assert ("as its URL says" if wrong_option else "is not the location of a store") in said


def test_secrets_are_not_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever somebody put one: in a URL of another scheme, in a project, in an endpoint of the environment."""
    for location in ("s3a://AKIA:verysecret@bucket/kb", "postgres://u:verysecret@h/db"):
        assert "no backend knows" in told(shell, 10, location)
    shell.write(DOCUMENT)
    result = shell.fails(3, "init", "kb.json", "--store", "s3://bucket/kb?endpoint=http://user:verysecret@127.0.0.1:9")
    assert "verysecret" not in result.err + result.out
    assert not list(shell.folder.rglob("config.json"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for endpoint in ("user:verysecret@127.0.0.1:9", "http://user:verysecret@[127.0.0.1", "http://u:verysecret@h:port"):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert "can be set up" in told(shell, 3, "s3://bucket/kb?timeout=1")


def test_options_are_sent(bucket: str, moto_server: MotoServer, moto_url: str) -> None:
    """Encryption, storage class and request payer reach every write, and the URL is shown as it was given."""
    seen: list[dict[str, str]] = []
    moto_server.app.before = lambda environ: seen.append(environ)  # type: ignore[func-returns-value]
    location = f"s3://{bucket}/kb?sse=aws:kms&kms_key=abc&storage_class=STANDARD_IA&requester_pays=true"
    with Store.create(location, {"n": 0}, author="a") as kb:
        assert kb.location == location
        kb.commit({"n": 1})
    puts = [e for e in seen if e["REQUEST_METHOD"] == "PUT"]
    assert puts
    for environ in puts:
        assert environ["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"] == "aws:kms"
        assert environ["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"] == "abc"
        assert environ["HTTP_X_AMZ_STORAGE_CLASS"] == "STANDARD_IA"
        assert "HTTP_X_AMZ_CHECKSUM_CRC32" in environ
    assert all(e["HTTP_X_AMZ_REQUEST_PAYER"] == "requester" for e in seen if "list-type" not in e["QUERY_STRING"])
    with pytest.raises(StoreUnavailable):
        Store.open(f"s3://{bucket}/kb?endpoint=https://127.0.0.1:9&ca=/nowhere/ca.pem")


def test_a_location_comes_back_as_given() -> None:
    """Options that have their usual value are not shown."""
    given = "s3://bucket/a/b?region=eu-central-1&threads=4&group=false"
    assert parse_location(given).location == given
    assert parse_location("s3://bucket/").location == "s3://bucket"
    with pytest.raises(StoreNotFound):
        parse_location("s3://a/kb")
