"""Commands that record a person's decision: repair, baseline."""

from typing import Literal

import click

from kbstore.migrator.cli.options import Session, as_json_option, command, run_options, say, say_json
from kbstore.migrator.outcome import Result


@command("repair")
@click.argument("name")
@click.option("--retry", "action", flag_value="retry", help="Continue after the last finished statement.")
@click.option(
    "--mark-applied", "action", flag_value="mark-applied", help="Record as applied: file and database are right."
)
@click.option("--mark-pending", "action", flag_value="mark-pending", help="Record as not applied.")
@run_options
@as_json_option
@click.pass_obj
def repair_command(
    session: Session, name: str, action: Literal["retry", "mark-applied", "mark-pending"] | None, as_json: bool
) -> None:
    """Settle a migration that is half done, changed or gone.

    --retry continues only if the file still begins with the statements that were run. The other two options run no SQL:
    look at the database first (migrator doctor).

    \b
    Example:
      migrator repair 20250127_120000_add_orders --retry
      migrator repair 003 --mark-applied
    """
    if action is None:
        raise click.UsageError("say one of --retry, --mark-applied, --mark-pending")
    _tell(session.migrator().repair(name, action), as_json)


@command("baseline")
@click.argument("version", required=False)
@click.option(
    "--from",
    "tool",
    type=click.Choice(["dbmate", "golang-migrate"]),
    help="Record the versions in the table of this tool, and rename the table.",
)
@as_json_option
@click.pass_obj
def baseline_command(
    session: Session, version: str | None, tool: Literal["dbmate", "golang-migrate"] | None, as_json: bool
) -> None:
    """Begin the history of a database that already has a schema.

    Every migration up to VERSION is recorded as applied. Nothing is run.

    \b
    Example:
      migrator baseline 20250127_120000
      migrator baseline --from dbmate
    """
    if (version is None) == (tool is None):
        raise click.UsageError("give a version, or --from")
    for result in session.migrator().baseline(version, tool=tool):
        _tell(result, as_json)


def _tell(result: Result, as_json: bool) -> None:
    if as_json:
        say_json(result.as_dict())
    else:
        say(f"{result.migration}: {result.message}")
