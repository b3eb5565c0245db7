"""Commands that look: check, list, explain."""

import json
import sys
from dataclasses import replace

import click

from kbstore.health import formats
from kbstore.health.check_registry import TAGS
from kbstore.health.cli.exit_codes import code_of
from kbstore.health.cli.session import command, session_of
from kbstore.health.cli.terminal import say, wants_color, width
from kbstore.health.model import Status
from kbstore.health.run.engine import Engine


@command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--tag", metavar="TAG", help=f"Run only checks with this tag: {', '.join(TAGS)}.")
@click.option(
    "--format",
    "form",
    type=click.Choice(formats.NAMES),
    default="text",
    show_default=True,
    help="Format of the report.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["degraded", "unhealthy"]),
    default="degraded",
    show_default=True,
    help="Exit with 0 if the overall status is better than this.",
)
@click.option(
    "--deadline", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Finish within this time."
)
@click.option("--no-record", is_flag=True, help="Do not keep the results in the history.")
@click.pass_context
def check_command(
    ctx: click.Context,
    names: tuple[str, ...],
    tag: str | None,
    form: str,
    fail_on: str,
    deadline: float | None,
    no_record: bool,
) -> None:
    """Run all checks, or only the named checks.

    Checks needed by a named check run too.

    \b
    Example:
      health check
      health check store.head store.disk
      health check --tag ready --format nagios
    """
    session = session_of(ctx)
    settings = session.settings()
    if deadline is not None:
        settings = replace(settings, deadline=deadline)
    with Engine(settings, early=session.take_early()) as engine:
        report = engine.run(names, tag, record=not no_record)
    sys.stdout.write(formats.render(report, form, color=wants_color(), width=width()))
    ctx.exit(code_of(report.overall, Status(fail_on)))


@command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List all checks, built-in and from plug-ins.

    \b
    Example:
      health list
      health list --json
    """
    with session_of(ctx).engine() as engine:
        catalogue = engine.catalogue()
    if as_json:
        for spec in catalogue.specs.values():
            say(json.dumps({"schema_version": 1, **spec.as_dict()}))
        return
    longest = max(len(name) for name in catalogue.specs)
    for spec in catalogue.specs.values():
        say(f"{spec.name.ljust(longest)}  {','.join(sorted(spec.tags)) or '-':10}  {spec.summary}")
    for outcome in catalogue.broken:
        say(f"{outcome.name.ljust(longest)}  {'-':10}  {outcome.result.message}")


@command("explain")
@click.argument("name")
@click.pass_context
def explain_command(ctx: click.Context, name: str) -> None:
    """Show a check's purpose, limits, instructions and past.

    \b
    Example:
      health explain store.head
    """
    from kbstore.health.explain import explain

    with session_of(ctx).engine() as engine:
        for line in explain(engine, name):
            say(line)
