"""Explains a check: its summary, limits, runbook, last results and notes."""

from collections.abc import Iterator
from datetime import timedelta

from kbstore.health.check_registry import Spec
from kbstore.health.errors import StateError
from kbstore.health.model import Status, rfc3339
from kbstore.health.run.engine import Engine
from kbstore.health.run.select import select
from kbstore.kit.escape import visible

_RECENT = 5


def explain(engine: Engine, name: str) -> Iterator[str]:
    """Yield the explanation of a check, as lines.

    Raises:
        UnknownCheck: There is no check of this name.
    """
    catalogue = engine.catalogue()
    select(catalogue.specs, [name])
    spec = catalogue.specs[name]
    yield name
    yield f"  {visible(spec.summary)}"
    yield ""
    yield from _promises(spec)
    limits = engine.settings.thresholds
    for threshold in spec.thresholds:
        yield f"  threshold  {threshold} = {getattr(limits, threshold):g}"
    if spec.runbook:
        yield f"  runbook    {visible(spec.runbook)}"
    if spec.remedy:
        allowed = "" if name in engine.settings.remedies.allow else "  (not allowed: see remedies.allow)"
        yield f"  remedy     {visible(' '.join(spec.remedy))}{allowed}"
    try:
        yield from _past(engine, name)
    except StateError as fault:
        yield f"  history    {visible(str(fault))}"


def _promises(spec: Spec) -> Iterator[str]:
    if spec.tags:
        yield f"  tags       {', '.join(sorted(spec.tags))}"
    if spec.needs:
        yield f"  needs      {', '.join(spec.needs)}"
    yield f"  timeout    {spec.timeout:g} s"
    if spec.every:
        yield f"  every      {spec.every:g} s"
    if spec.impact is not Status.UNHEALTHY:
        yield f"  impact     at worst {spec.impact}"
    yield f"  alerts     after {_rounds(spec.fall, 'bad')} in a row; resolved after {_rounds(spec.rise, 'good')}"


def _rounds(number: int, kind: str) -> str:
    return f"{number} {kind} round{'' if number == 1 else 's'}"


def _past(engine: Engine, name: str) -> Iterator[str]:
    if engine.state is None:
        return
    now = engine.clock.now()
    if silence := engine.state.silences(now).get(name):
        yield f"  silenced   until {rfc3339(silence.until)}: {visible(silence.reason)}"
    if (standing := engine.state.standings().get(name)) is not None and standing["flapping"]:
        yield "  flapping   it changes too often; single changes are not told"
    past = engine.state.history(name, since=now - timedelta(days=engine.settings.watch.keep_days), limit=_RECENT)
    for one in reversed(past):
        yield f"  {rfc3339(one.time)}  {one.status}: {visible(one.message)}"
    for note in engine.state.notes(name):
        yield f"  note of {rfc3339(note.time)}: {visible(note.text)}"
