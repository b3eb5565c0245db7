"""Commands about the past: history, note, silence."""

import json
from datetime import timedelta

import click

from kbstore.health.cli.session import command, session_of, state_of
from kbstore.health.cli.terminal import say, wants_color, width
from kbstore.health.duration import parse_duration
from kbstore.health.model import rfc3339
from kbstore.health.run.engine import Engine
from kbstore.health.run.select import select
from kbstore.health.timeline import changes, lines, strips
from kbstore.kit.escape import visible


@command("history")
@click.argument("name", required=False)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, help="Days to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
@click.pass_context
def history_command(ctx: click.Context, name: str | None, days: float, as_json: bool) -> None:
    """Show the last days, as one strip for each check.

    With a NAME, show also the changes of status and the notes.

    \b
    Example:
      health history
      health history store.head --days 14
    """
    with session_of(ctx).engine() as engine:
        state = state_of(engine)
        now = engine.clock.now()
        past = state.history(name, since=now - timedelta(days=days))
        notes = state.notes(name) if name is not None else []
    if as_json:
        for one in past:
            fields = {"schema_version": 1, "name": one.name, "time": rfc3339(one.time), "status": str(one.status)}
            more = {"message": one.message, "duration_s": one.duration_s, "metrics": dict(one.metrics)}
            say(json.dumps({**fields, **more, **({"reason": one.reason} if one.reason else {})}))
        return
    columns = max(24, width() - max((len(one.name) for one in past), default=0) - 2)
    for line in lines(strips(past, now, days, columns), days, color=wants_color()):
        say(line)
    if name is not None:
        for one in changes(past):
            say(f"{rfc3339(one.time)}  {one.status}: {visible(one.message)}")
        for note in notes:
            say(f"{rfc3339(note.time)}  note: {visible(note.text)}")


@command("note")
@click.argument("name")
@click.argument("text")
@click.pass_context
def note_command(ctx: click.Context, name: str, text: str) -> None:
    """Write down how a check was fixed, for the next failure.

    When the check fails again, health check shows the last note.

    \b
    Example:
      health note store.disk "rotated the access logs"
    """
    with session_of(ctx).engine() as engine:
        _require(engine, name)
        state_of(engine).add_note(name, engine.scrubber.text(text), engine.clock.now())
    say(f"noted for {name}")


@command("silence")
@click.argument("name")
@click.option("--for", "span", required=True, metavar="SPAN", help="Length of the silence, such as 90s, 45m, 2h, 3d.")
@click.option("--reason", required=True, metavar="TEXT", help="Reason, shown by health explain.")
@click.pass_context
def silence_command(ctx: click.Context, name: str, span: str, reason: str) -> None:
    """Send no alerts about a check for a while.

    The check still runs, and its results are kept.

    \b
    Example:
      health silence store.head --for 2h --reason "nobody works on a holiday"
    """
    try:
        seconds = parse_duration(span)
    except ValueError as fault:
        raise click.BadParameter(str(fault), ctx, param_hint="--for") from fault
    with session_of(ctx).engine() as engine:
        _require(engine, name)
        now = engine.clock.now()
        until = now + timedelta(seconds=seconds)
        state_of(engine).silence(name, until, engine.scrubber.text(reason), now)
    say(f"{name}: no alerts until {rfc3339(until)}")


def _require(engine: Engine, name: str) -> None:
    select(engine.catalogue().specs, [name])
