"""Refusals of servers, proxies and emulators: each is named as what it is, and is final or repeated rightly."""

import re
from email.utils import format_datetime

import pytest

from kbstore import Store
from kbstore.backends.s3.transport.client import Client
from kbstore.backends.s3.transport.clock import SystemChance
from kbstore.backends.s3.transport.errors import Refused, is_transient, may_have_landed
from kbstore.backends.s3.transport.url import parse_location
from kbstore.kit.errors import BackendError, ReadOnlyStore, StoreNotFound, StoreUnavailable
from tests.s3.fakeserver import Answer, Ask, FakeS3, refusal

REFUSALS = [
    (501, "NotImplemented", "the server of s3://bkt/kb does not know how to write events"),
    (507, "InsufficientStorage", "no room left in s3://bkt/kb"),
    (403, "QuotaExceeded", "no room left in s3://bkt/kb"),
    (503, "QuotaExceeded", "no room left in s3://bkt/kb"),
    (403, "InvalidObjectState", "the object is archived"),
    (400, "KMS.DisabledException", "the KMS key cannot be used"),
]
PASSING = [(522, "522", False), (524, "524", True), (500, "InternalError", False), (400, "IncompleteBody", False)]


@pytest.fixture
def place(fake_s3: FakeS3) -> str:
    """A store of one version."""
    place = fake_s3.place("bkt/kb", timeout=5)
    Store.create(place, {"n": 0}, author="a").close()
    return place


@pytest.mark.parametrize(("status", "code", "words"), REFUSALS)
def test_what_does_not_pass_is_final_at_once(fake_s3: FakeS3, place: str, status: int, code: str, words: str) -> None:
    """One request, and nothing was written; it is not taken for a lack of rights, nor for an outcome in doubt."""
    with Store.open(place, author="a") as kb:
        kb.commit({"n": 1})
        fake_s3.refuse(status, code, method="PUT", key="kb/log/")
        fake_s3.asked.clear()
        with pytest.raises(StoreUnavailable, match=words) as caught:
            kb.commit({"n": 2})
        assert not isinstance(caught.value, ReadOnlyStore)
        assert fake_s3.asked["PUT"] == 1
        fake_s3.before = None
        assert kb.commit({"n": 3}).seq == 3


@pytest.mark.parametrize(("status", "code", "html"), PASSING)
def test_what_may_pass_is_repeated(fake_s3: FakeS3, place: str, status: int, code: str, html: bool) -> None:
    """Until it has, whatever page a proxy answers with."""
    with Store.open(place, author="a") as kb:
        fake_s3.refuse(status, code, key="kb/log/", times=2)
        if html:
            inner = fake_s3.before
            assert inner is not None

            def before(ask: Ask) -> Answer | None:
                return inner(ask) and Answer(status, b"<html>oops</html>", {"Content-Type": "text/html"})

            fake_s3.before = before
        assert kb.commit({"n": 1}).seq == 2


def test_a_proxy_that_goes_on_refusing_is_named(fake_s3: FakeS3, place: str) -> None:
    """With its status, once the deadline is over."""
    fake_s3.refuse(522, "522")
    with pytest.raises(StoreUnavailable, match=r"a proxy in front of the server .* \(HTTP 522\)"):
        Store.open(place.replace("timeout=5", "timeout=1"))


def test_what_proxies_say_may_pass() -> None:
    """All of 520 to 530, and the request may have been carried out; 501 and 507 say that it was not."""
    for status in range(500, 540):
        refused = Refused(status, str(status), may_have_landed(status, str(status)), ValueError())
        assert is_transient(refused) == (status in (500, 502, 503, 504) or 520 <= status <= 530)
        assert refused.unclear == (status not in (501, 507))


@pytest.mark.parametrize("code", ["BadDigest"])
def test_bytes_that_arrive_changed(fake_s3: FakeS3, place: str, code: str) -> None:
    """By chance they are sent again; a few tries tell that it is not chance."""
    with Store.open(place, author="a") as kb:
        fake_s3.refuse(400, code, method="PUT", key="kb/log/", times=2)
        assert kb.commit({"n": 1}).seq == 2
        fake_s3.refuse(400, code, method="PUT", key="kb/log/")
        fake_s3.asked.clear()
        with pytest.raises(StoreUnavailable, match="did not arrive as it was sent"):
            kb.commit({"n": 2})
        assert fake_s3.asked["PUT"] == 4


def test_a_server_that_refuses_with_304(fake_s3: FakeS3) -> None:
    """Old servers answer so where a condition fails: the loser takes in what the winner wrote."""
    fake_s3.taken = 304
    place = fake_s3.place("bkt/kb")
    Store.create(place, {"n": 0}, author="a").close()
    with pytest.raises(BackendError, match="there is a store"):
        Store.create(place, {})
    with Store.open(place, author="a") as one, Store.open(place, author="b") as other:
        one.commit(patch=[{"op": "add", "path": "/a", "value": 1}])
        other.commit(patch=[{"op": "add", "path": "/b", "value": 1}])
        one.commit(patch=[{"op": "add", "path": "/c", "value": 1}])
        assert one.checkout() == {"n": 0, "a": 1, "b": 1, "c": 1}


def test_a_folder_made_in_a_console_is_empty(fake_s3: FakeS3) -> None:
    """Its marker is no object of others, at the prefix or below it."""
    fake_s3.plant("bkt", "kb/", b"")
    fake_s3.plant("bkt", "kb/log/", b"")
    with Store.create(fake_s3.place("bkt/kb"), {"n": 0}, author="a") as kb:
        assert kb.commit({"n": 1}).seq == 2
        assert not kb.verify().problems
        kb.gc()
    assert fake_s3.data("bkt", "kb/") == b""
    fake_s3.plant("bkt", "other/", b"text")
    with pytest.raises(BackendError, match="something else"):
        Store.create(fake_s3.place("bkt/other"), {})


@pytest.mark.parametrize(
    "bucket",
    [
        *("b", "ab", "a" * 64, "Bucket", "my_bucket", "-bucket", "bucket-", ".bucket", "my..bucket", "192.168.5.4"),
        *("xn--bucket", "sthree-bucket", "amzn-s3-demo-bucket", "kb--ol-s3", "kb.mrap", "kb--x-s3", "kb--table-s3"),
    ],
)
def test_names_that_no_bucket_has(bucket: str) -> None:
    """AWS refuses them; the message repeats the name."""
    with pytest.raises(StoreNotFound, match=rf"{bucket} is (not the name of a bucket|a directory bucket)"):
        parse_location(f"s3://{bucket}/kb")


@pytest.mark.parametrize("prefix", ["k\udcffb", "k\udcff/kb", "kb\0", "k\tb", "kb\n", "k\u202eb"], ids=ascii)
def test_prefixes_that_cannot_be_printed(prefix: str) -> None:
    """Bytes of a command line that are not text, and characters that would be left out: that would be another store."""
    with pytest.raises(StoreNotFound, match="this URL is not the location of a store: it has characters"):
        parse_location(f"s3://bucket/{prefix}")


@pytest.mark.parametrize("bucket", ["abc", "a" * 63, "my.bucket", "1st-bucket", "my-access-point-x1-s3alias", "1.2.3"])
def test_names_that_buckets_have(bucket: str) -> None:
    """These are taken as they are."""
    assert parse_location(f"s3://{bucket}/kb").bucket == bucket


@pytest.mark.parametrize(("suffix", "body"), [("", b"<html>404</html>"), ("2", b"default backend - 404"), ("", b"")])
def test_a_404_that_is_not_of_s3_is_no_absence(fake_s3: FakeS3, place: str, suffix: str, body: bytes) -> None:
    """An ingress that knows no such host, or one bad server behind a balancer: what is there is not taken for gone."""
    with Store.open(place, author="a") as kb:
        kb.commit({"n": 1})
        kb.commit({"n": 2})
    wrong = Answer(404, body, {"Content-Type": "text/html"})
    fake_s3.before = lambda ask: (
        wrong if ask.method == "GET" and "/log/" in ask.key and ask.key.endswith(suffix) else None
    )
    with pytest.raises(BackendError, match="does not speak S3"), Store.open(place) as kb:
        kb.head()


@pytest.mark.parametrize("empty", [False, True])
def test_a_listing_without_end(fake_s3: FakeS3, place: str, empty: bool) -> None:
    """Tokens that lead in a circle: each is another one than that before, and the keys come again."""
    for n in range(3):
        fake_s3.plant("bkt", f"kb/blob/{n}")
    pages = [0]

    def before(ask: Ask) -> Answer | None:
        if "list-type" not in ask.query:
            return None
        pages[0] += 1
        assert pages[0] < 500
        answer = fake_s3._list(ask._replace(query={**ask.query, "continuation-token": "~" if empty else ""}))
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>" % (pages[0] % 2)
        return answer._replace(body=answer.body.replace(b"<IsTruncated>false</IsTruncated>", more))

    fake_s3.before = before
    client = Client(parse_location(place), SystemChance())
    with pytest.raises(StoreUnavailable, match="lists blob/ without end"):
        list(client.listing("blob/"))
    assert pages[0] == (101 if empty else 2)


NO_TIMES = ["garbage", "Thu, 99 Foo 2020 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -1200", "9" * 30, ""]


@pytest.mark.parametrize("header", ["Date", "Last-Modified"])
def test_a_time_that_cannot_be_used_is_not_told(fake_s3: FakeS3, place: str, header: str) -> None:
    """A proxy that breaks a header stops nobody, and nothing counts as old for it."""
    text = ""
    answers = {"GET": fake_s3._get, "PUT": fake_s3._put, "DELETE": fake_s3._delete}

    def before(ask: Ask) -> Answer | None:
        if not ask.key:
            answer = fake_s3._list(ask)
            body = answer.body if header == "Date" else re.sub(rb"(?<=<LastModified>)[^<]*", text.encode(), answer.body)
            return answer._replace(body=body, headers={**answer.headers, header: text})
        answer = answers[ask.method](ask)
        return answer._replace(headers={**answer.headers, header: text})

    fake_s3.before = before
    for seq, text in enumerate(NO_TIMES, 2):
        with Store.open(place, author="a") as kb:
            assert kb.commit({"n": seq}).seq == seq
            assert kb.checkout() == {"n": seq}
            kb.gc()
            ages = [one.age_s for one in kb.backend.client.listing("log/")]  # type: ignore[attr-defined]
            assert len(ages) == seq
            assert header == "Date" or ages == [0.0] * seq or text == NO_TIMES[2]
    assert Store.open(place).verify().ok


@pytest.mark.parametrize("name", ["secret", "bukket", "insecur", "insecure", "prefi"])
def test_no_option_is_suggested_that_a_url_may_not_have(name: str) -> None:
    """Bucket and prefix stand elsewhere in it, and whether TLS may be left out is not for a URL to say."""
    with pytest.raises(BackendError, match="it has an unknown option") as refused:
        parse_location(f"s3://bucket/kb?{name}=1")
    assert not isinstance(refused.value, StoreNotFound)  # it may well be there
    said = str(refused.value)
    assert not any(word in said for word in ("mean bucket", "mean prefix", "mean insecure"))
    with pytest.raises(BackendError, match="did you mean region"):
        parse_location("s3://bucket/kb?regio=1")


ONE = "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size}</Size></Contents>"


def listing(inside: str) -> Answer:
    """A listing of this."""
    text = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>{inside}'
    return Answer(200, f"{text}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("GET", {"Content-Range": "bytes 0-9/*"}),
        ("GET", {"Content-Range": "junk"}),
        ("GET", {"Content-Range": "bytes 3-9/10"}),
        ("GET", 204),
        ("GET", "x-amz-checksum-crc32"),
        ("LIST", listing("<Contents><Size>4</Size></Contents>")),
        ("LIST", listing("<Contents><Key>kb/log/4main000000000000/000000000001</Key></Contents>")),
        ("LIST", listing(ONE.format(key="kb/x", size="many"))),
        ("LIST", listing(ONE.format(key="elsewhere", size=1))),
        ("LIST", listing("<CommonPrefixes></CommonPrefixes>")),
    ],
)
def test_an_answer_that_is_nearly_right(
    place: str, fake_s3: FakeS3, monkeypatch: pytest.MonkeyPatch, kind: str, answer: object
) -> None:
    """It is no answer of S3, and neither an absence nor an error of Python."""
    monkeypatch.setattr("kbstore.backends.s3.transport.client.Patience.wait", lambda *_: False)

    def instead(ask: Ask) -> Answer | None:
        if kind == "LIST":
            return answer if not ask.key and isinstance(answer, Answer) else None
        held = fake_s3.objects.get((ask.bucket, ask.key))
        if ask.method != "GET" or "/log/" not in ask.key or held is None:
            return None
        data, written = held
        told = {"ETag": '"x"', "Last-Modified": format_datetime(written, usegmt=True)}
        if isinstance(answer, dict):
            return Answer(206, data, {**told, **answer})
        return Answer(204, b"", told) if answer == 204 else refusal(404, "NoSuchKey", **{str(answer): "AAAAAA=="})

    with Store.open(place) as kb:
        fake_s3.before = instead
        with pytest.raises(StoreUnavailable, match=r"does not speak S3|gave no answer"):
            kb.gc() if kind == "LIST" else kb.checkout()
