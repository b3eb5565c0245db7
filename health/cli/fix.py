"""Commands that act: fix, drill."""

import json
import shlex

import click

from kbstore.health import formats
from kbstore.health.cli.exit_codes import HEALTHY, UNHEALTHY, code_of
from kbstore.health.cli.session import command, session_of, state_of
from kbstore.health.cli.terminal import say, wants_color, width
from kbstore.health.context import Context
from kbstore.health.run.select import select
from kbstore.kit.escape import visible


@command("fix")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only print the command.")
@click.pass_context
def fix_command(ctx: click.Context, name: str, dry_run: bool) -> None:
    """Run the remedy of a check if allowed, then the check again.

    \b
    Example:
      health fix store.snapshot --dry-run
      health fix store.snapshot
    """
    from kbstore.health.watch import remedy

    with session_of(ctx).engine() as engine:
        specs = engine.catalogue().specs
        select(specs, [name])
        planned = remedy.plan(engine, specs[name], engine.clock.now())
        if dry_run:
            say(f"would run: {visible(shlex.join(planned))}")
            return
        say(f"run: {visible(shlex.join(planned))}")
        ran = remedy.run(engine, specs[name])
        for line in ran.output.splitlines():
            say(f"  {visible(line)}")
        say(f"it ended with exit code {ran.code}")
        report = engine.run([name])
    say(formats.render(report, "text", color=wants_color(), width=width()).rstrip("\n"))
    ctx.exit(code_of(report.overall))


@command("drill")
@click.option("--version", "revision", metavar="REV", help="Version to restore; by default picked at random.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drill_command(ctx: click.Context, revision: str | None, as_json: bool) -> None:
    """Restore a version to a scratch folder and compare.

    The restored version must have the hash of the committed version.

    \b
    Example:
      health drill
      health drill --version v3
    """
    from kbstore.health.drill import FACT, drill

    with session_of(ctx).engine() as engine:
        found = drill(Context(engine.settings.targets, engine.settings.thresholds, clock=engine.clock), revision)
        fields = engine.scrubber.value(found.as_dict())
        state_of(engine).set_fact(FACT, fields)
    if as_json:
        say(json.dumps({"schema_version": 1, **fields}))
    else:
        say(f"{visible(fields['message'])} in {found.duration_s:.2f} s")
    ctx.exit(HEALTHY if found.ok else UNHEALTHY)
