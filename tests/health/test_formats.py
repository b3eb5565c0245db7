"""Every form of a report is what its golden file shows, and what its standard says."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kbstore.health import Outcome, Report, Result, Status, formats
from tests.health.reports import HEALTHY, MIXED, NOTHING, NOW

HERE = Path(__file__).parent
REPORTS = {"mixed": MIXED, "healthy": HEALTHY, "nothing": NOTHING}


def golden(name: str) -> str:
    """What a golden file says; KBSTORE_VERSION stands for the version of the day."""
    from kbstore import __version__

    text = (HERE / "golden" / name).read_text(encoding="utf-8")
    return text.replace("KBSTORE_VERSION", __version__)


@pytest.mark.parametrize("which", REPORTS)
@pytest.mark.parametrize("form", formats.NAMES)
def test_forms_equal_their_golden_files(form: str, which: str) -> None:
    """A report with one of everything, one that is all well, and one in which nothing ran."""
    assert formats.render(REPORTS[which], form, width=90) == golden(f"{which}.{form.replace('+', '-')}")


def test_colour_changes_nothing_but_colour() -> None:
    """Coloured text without its colours is the text, and the worst is the loudest."""
    painted = formats.render(MIXED, "text", color=True, width=90)
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == formats.render(MIXED, "text", width=90)
    assert "\x1b[1;31mUNHEALTHY" in painted


def test_json_has_the_shape_of_the_guide() -> None:
    """The guide's loop finds what it reads, and reports no skipped check."""
    results = json.loads(formats.render(MIXED, "json"))
    assert results["overall_status"] == "unhealthy"
    told = [f"{n}: {r['message']}" for n, r in results["checks"].items() if r["status"] != "healthy"]
    assert len(told) == 4
    assert results["skipped"]["s3.bucket"]["status"] == "skipped"


@pytest.mark.parametrize("which", REPORTS)
def test_health_json_keeps_its_schema(which: str) -> None:
    """The draft's members, types and words; no output where all is well."""
    schema = json.loads((HERE / "health-json.schema.json").read_text())
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    validator.validate(json.loads(formats.render(REPORTS[which], "health+json")))
    assert not validator.is_valid({"status": "up"})


@pytest.mark.parametrize("which", REPORTS)
def test_openmetrics_is_read_by_a_parser(which: str) -> None:
    """prometheus_client's strict parser reads it, and finds each status once."""
    families = {f.name: f for f in text_string_to_metric_families(formats.render(REPORTS[which], "openmetrics"))}
    overall = {s.labels["health"]: s.value for s in families["health"].samples}
    assert sum(overall.values()) == 1
    assert overall[str(REPORTS[which].overall)] == 1
    for outcome in REPORTS[which].outcomes:
        states = [s for s in families["health_check"].samples if s.labels["check"] == outcome.name]
        assert [s.labels["health_check"] for s in states if s.value] == [str(outcome.status)]
    if which == "mixed":
        assert families["health_observed_seconds"].unit == "seconds"
        (age,) = families["health_observed_seconds"].samples
        assert (age.labels, age.value) == ({"check": "store.head", "what": "age"}, 777_600.5)


def test_nagios_has_one_bar_and_data_that_can_be_read() -> None:
    """The first line is status, text, one bar and performance data; text brings no bar of its own."""
    first, *rest = formats.render(MIXED, "nagios").splitlines()
    text, data = first.split(" | ")
    assert text.startswith("HEALTH CRITICAL - store.chain: ")
    assert "'store.disk.free_bytes'=2254857830B" in data
    assert all(re.fullmatch(r"'[^'=|]+'=-?[\d.]+(s|B)?", item) for item in data.split(" "))
    assert not any("|" in line for line in rest)


def test_github_escapes_what_would_end_a_command() -> None:
    """Percent signs, line ends, colons and commas of a message stay inside its annotation."""
    outcome = Outcome("a.b", Result.unhealthy("50%\n::error::x, y"), impact=Status.DEGRADED)
    told = formats.render(Report((outcome,), NOW), "github")
    assert told.splitlines()[0] == "::warning title=a.b::50%25%0A::error::x, y"
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize("form", ["text", "json", "health+json", "nagios", "github"])
def test_nothing_in_a_message_steers_a_terminal(form: str) -> None:
    """Escape and bidirectional characters of a message are shown by their codes."""
    told = formats.render(MIXED, form)
    assert "\x1b" not in told
    assert "\u202e" not in told
