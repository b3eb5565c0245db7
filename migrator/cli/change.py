"""Commands that create and run migrations: new, up, down."""

import sys
from collections.abc import Callable
from typing import Literal

import click

from kbstore.migrator.cli.options import (
    Session,
    as_json_option,
    backup_options,
    command,
    note,
    out_of_order_option,
    run_options,
    say,
    say_json,
)
from kbstore.migrator.files import parse_version
from kbstore.migrator.outcome import Result


@command("new")
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the SQL from stdin.")
@as_json_option
@click.pass_obj
def new_command(session: Session, name: str, from_stdin: bool, as_json: bool) -> None:
    """Create the file of a new migration, and print its name.

    A NAME that ends in _rollback or _verify creates a companion of the newest migration with the rest of the name.

    \b
    Example:
      migrator new add_orders
      migrator new add_orders_rollback
      echo "DROP TABLE orders;" | migrator new drop_orders --stdin
    """
    migrator = session.migrator()
    text = sys.stdin.read() if from_stdin else f"-- {' '.join(name.split())}\n"
    made = migrator.create_migration(name, text)
    if as_json:
        say_json({"migration": made, "directory": migrator.directory})
    else:
        say(made)
        note(f"in {migrator.directory}")


@command("up")
@click.option("--to", metavar="VERSION", help="Run migrations up to this version; by default all.")
@click.option("--dry-run", is_flag=True, help="Execute without effect. MariaDB and MySQL only print the SQL.")
@click.option(
    "--tx",
    type=click.Choice(["each", "all"]),
    default="each",
    help="Use a transaction for each migration (default), or one for all.",
)
@click.option("--no-lint", is_flag=True, help="Run migrations even if lint reports errors.")
@out_of_order_option
@backup_options
@run_options
@as_json_option
@click.pass_obj
def up_command(
    session: Session, to: str | None, dry_run: bool, tx: Literal["each", "all"], no_lint: bool, as_json: bool
) -> None:
    """Run pending migrations, in order.

    Before anything runs, the command checks order, changed files, SQL that cannot be split, and lint. After a failure,
    the message says what is in the database now, and what to do.

    \b
    Example:
      migrator up --dry-run
      migrator up --to 20250127_120000
      migrator up --db postgresql://app@db.example.com/shop --tx all
    """
    if to is not None:
        parse_version(to)
    if no_lint:
        session.chosen["lint"] = False
    results = session.migrator(progress=_teller(as_json)).up(to, dry_run=dry_run, tx=tx)
    if not results and not as_json:
        say("nothing is pending")


@command("down")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Execute without effect. MariaDB and MySQL only print the SQL.")
@out_of_order_option
@backup_options
@run_options
@as_json_option
@click.pass_obj
def down_command(session: Session, name: str, dry_run: bool, as_json: bool) -> None:
    """Undo an applied migration with its _rollback companion.

    Afterwards the migration is pending. NAME is the file's name, the version, or the name without the version.

    \b
    Example:
      migrator down 20250127_120000_add_orders.sql
      migrator down add_orders --dry-run
    """
    tell = _teller(as_json)
    result = session.migrator(progress=tell).down(name, dry_run=dry_run)
    if dry_run:
        tell(result)


def _teller(as_json: bool) -> Callable[[Result], None]:
    def tell(result: Result) -> None:
        if as_json:
            say_json(result.as_dict())
            return
        took = f" ({result.duration_ms} ms)" if result.state != "not_executed" else ""
        say(f"{result.migration}: {result.message}{took}")
        sys.stdout.flush()

    return tell
