"""No secret reaches a message, a detail, a metric, the history or any form of a report."""

import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.health import Engine, Result, Settings, formats
from kbstore.health.cli.exit_codes import report as report_fault
from kbstore.health.context import Context
from kbstore.health.run.scrub import Scrubber, secrets_of
from kbstore.health.settings import Serve, Sink, Targets
from tests.conftest import LETTERS
from tests.health.support import registry_of

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/?#@"), min_size=1).filter(
    lambda text: not any(c.isspace() for c in text)
)
SCHEMES = st.sampled_from(["postgresql", "mysql+pymysql", "https", "s3"])
KEYS = st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16)
SECRET_KEYS = st.text(string.ascii_letters + string.digits + "/+", min_size=40, max_size=40)


@given(
    PASSWORDS.filter(lambda p: not any(c.isspace() or c == "@" for c in p)),
    st.sampled_from(["postgresql", "mysql+pymysql", "https", "s3"]),
)
def test_a_password_in_any_url_is_hidden(password: str, scheme: str) -> None:
    """Whatever it is made of, also where nobody configured it; scheme, user and host stay readable."""
    told = Scrubber().text(f"cannot connect to {scheme}://app:{password}@db.example:5432/kb: refused")
    assert told == f"cannot connect to {scheme}://app:***@db.example:5432/kb: refused"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8), st.text(LETTERS, max_size=20))
def test_a_known_secret_is_hidden_wherever_it_stands(secret: str, around: str) -> None:
    """Plain or percent-encoded, in texts, lists, and names of members."""
    scrubber = Scrubber([secret])
    value = {"a": [f"{around}{secret}{around}"], secret: 1, "b": quote(secret, safe="")}
    told = repr(scrubber.value(value))
    for form in (secret, quote(secret, safe="")):
        if form not in repr(scrubber.value({"a": [around * 2], "x": 1, "b": ""})) and form not in "***":
            assert form not in told.replace("\\\\", "\\")


@given(KEYS, SECRET_KEYS)
def test_keys_of_aws_are_hidden(key: str, secret: str) -> None:
    """Access keys by their form, secret keys by the name before them, session tokens too."""
    text = f"AccessKeyId: AKIA{key} aws_secret_access_key={secret} Authorization: Bearer {secret}"
    told = Scrubber().text(text)
    assert f"AKIA{key}" not in told
    assert secret not in told


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET /x?token=abc123&n=1", "abc123"),
        ("https://h/x?X-Amz-Signature=deadbeef&X-Amz-Security-Token=feed", "deadbeef"),
        ("password='p w d' host=db", "p w d"),
        ('{"api_key": "zz-99"}', "zz-99"),
        ("Authorization: Basic dXNlcjpwdw==", "dXNlcjpwdw=="),
        ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY end", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("postgresql://app:p@ss@w0rd@db/kb", "w0rd"),
    ],
)
def test_known_forms_are_hidden(text: str, hidden: str) -> None:
    """What looks like a secret is hidden, what stands around it stays."""
    told = Scrubber().text(text)
    assert hidden not in told
    assert "***" in told


@pytest.mark.parametrize(
    "text",
    [
        "v3_20250127_120000: 64 old events are whole",
        "3fa9c1d2e4b5a6973fa9c1d2e4b5a6973fa9c1d2e4b5a6973fa9c1d2e4b5a697 is not in this history",
        "see https://runbooks.example/kb and http://127.0.0.1:8080/livez",
        "/srv/support/kb.db: 2.1 GiB free (8%)",
        "/home/Ana/Projects2025/KnowledgeBases/support/main/kb.db: 2.1 GiB free",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """Ids, paths, addresses and figures are not mistaken for secrets."""
    assert Scrubber().text(text) == text


@given(password=st.text(string.ascii_letters + string.digits + "!$%^&*~'\"\\\u00e9", min_size=6, max_size=30))
def test_nothing_that_is_shown_or_kept_holds_the_password(
    tmp_path_factory: pytest.TempPathFactory, password: str
) -> None:
    """A check that tells everything that it knows tells no secret: in no form of the report, and not in the history."""
    secret = f"0{password}0"
    state = tmp_path_factory.mktemp("state")
    url = f"postgresql://app:{quote(secret, safe='')}@db.example/kb"

    def gossip(ctx: Context) -> Result:
        text = f"{ctx.targets.database} and {secret}"
        return Result.unhealthy(text, details={"url": [text], "password": secret}, metrics={secret: 1}, hint=text)

    def raises(ctx: Context) -> Result:
        raise ValueError(secret)

    settings = Settings(
        targets=Targets(database=url, state=str(state)),
        serve=Serve(token=secret),
        sinks=(Sink("webhook", secret=secret),),
    )
    with Engine(settings, checks=registry_of(gossip=gossip, raises=raises), isolate=False, environ={}) as engine:
        report = engine.run()
        kept = repr(engine.state.history()) if engine.state else ""
    for told in (*(formats.render(report, form) for form in formats.NAMES), kept, repr(report)):
        assert secret not in told
        assert quote(secret, safe="") not in told


@pytest.mark.parametrize(
    "text",
    [
        "y-" * 30_000,
        "a.a" * 20_000,
        "a://" * 15_000,
        "a://b:" * 10_000,
        "token" * 12_000,
        "token'   " * 7_000,
        "Aa1/" * 15_000,
    ],
)
def test_hostile_texts_take_no_longer_than_their_length_allows(text: str) -> None:
    """A pattern that looked at each place for as long as the text is would take hours for these."""
    Scrubber(["hunter2"]).text(text)


def test_errors_of_the_command_line_are_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    """An error message that carries a URL shows no password."""
    report_fault(OSError("postgresql://app:hunter2@db/kb refused"))
    assert "hunter2" not in capsys.readouterr().err


def test_secrets_are_found_in_the_configuration_and_the_environment(tmp_path: Path) -> None:
    """Passwords of URLs, the token, the keys of sinks, and what the environment calls a secret."""
    settings = Settings(
        targets=Targets(database="postgresql://a:one@h/d"),
        serve=Serve(token="two"),
        sinks=(Sink("webhook", url="https://u:three@h/", secret="four"),),
    )
    environ = {
        "AWS_SECRET_ACCESS_KEY": "number five",
        "USE_TOKEN": "true",
        "PATH": "/bin",
        "PGPASSWORD": "number seven",
    }
    assert set(secrets_of(settings, environ)) == {"one", "two", "three", "four", "number five", "number seven"}
