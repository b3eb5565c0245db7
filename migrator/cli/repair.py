"""Commands by which a person decides what is true: repair, baseline."""

from typing import Literal

import click

from kbstore.migrator.cli.options import Session, as_json_option, command, run_options, say, say_json
from kbstore.migrator.outcome import Result


@command("repair")
@click.argument("name")
@click.option("--retry", "action", flag_value="retry", help="Go on after its last statement that is done.")
@click.option(
    "--mark-applied", "action", flag_value="mark-applied", help="Take it for applied as file and database are now."
)
@click.option("--mark-pending", "action", flag_value="mark-pending", help="Take it for not applied.")
@run_options
@as_json_option
@click.pass_obj
def repair_command(
    session: Session, name: str, action: Literal["retry", "mark-applied", "mark-pending"] | None, as_json: bool
) -> None:
    """Settle a migration that is half done, or whose file changed or is gone.

    --retry goes on only if the file still begins with the statements that were run. The other two run nothing: look
    at the database first (migrator doctor).

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
    help="Take over what this tool's table says, and rename it.",
)
@as_json_option
@click.pass_obj
def baseline_command(
    session: Session, version: str | None, tool: Literal["dbmate", "golang-migrate"] | None, as_json: bool
) -> None:
    """Begin the history of a database that has its schema already. Nothing is run.

    Every migration up to VERSION is taken for applied.

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
