"""Options that several commands share, the migrator made from the options, and printing."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kbstore.migrator.api import DEFAULT_DIRECTORY, DatabaseMigrator
from kbstore.migrator.cli.exit_codes import visible
from kbstore.migrator.settings import DEFAULTS, Settings
from kbstore.migrator.urls import DEFAULT_URL

if TYPE_CHECKING:
    from kbstore.migrator.outcome import Result

SCHEMA_VERSION = 1
"""A member of every printed JSON object; raised when another member is removed or changes its meaning."""

_F = TypeVar("_F", bound=Callable[..., Any])
_DURATION = r"(\d+(?:\.\d+)?)(ms|s|min|)"
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0}


@dataclass
class Session:
    """The options given before and after the command's name."""

    db: str | None = None
    directory: str | None = None
    chosen: dict[str, Any] = field(default_factory=dict)

    def migrator(self, *, progress: "Callable[[Result], None]" = lambda _: None) -> DatabaseMigrator:
        """Return the migrator that options and environment describe.

        Raises:
            Untrusted: The folder of the migrations is the default folder, and belongs to another user.
        """
        named = self.directory or os.environ.get("MIGRATOR_DIR")
        if named is None and os.path.isdir(DEFAULT_DIRECTORY):  # noqa: PTH112
            from kbstore.kit.trust import refuse_foreign

            folder = Path(DEFAULT_DIRECTORY)
            refuse_foreign(folder, os.environ)
            for file in sorted(folder.glob("*.sql")):
                refuse_foreign(file, os.environ)
        return DatabaseMigrator(
            self.db or os.environ.get("MIGRATOR_DB_URL") or DEFAULT_URL,
            named or DEFAULT_DIRECTORY,
            settings=Settings(**{**DEFAULTS.__dict__, **self.chosen}),
            progress=progress,
            notice=note,
        )


def say(text: str = "") -> None:
    """Print on stdout."""
    sys.stdout.write(visible(text) + "\n")


def note(text: str) -> None:
    """Print on stderr, apart from the output proper."""
    sys.stderr.write(visible(text) + "\n")


def say_json(fields: Mapping[str, Any]) -> None:
    """Print a JSON object on one line, with a `schema_version`."""
    import json

    sys.stdout.write(json.dumps({"schema_version": SCHEMA_VERSION, **fields}, default=str) + "\n")


class Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A duration as people write it: 5s, 500ms, 2min, 5."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        match = re.fullmatch(_DURATION, str(value))
        if match is None:
            self.fail(f"{value!r} is no duration; write it as 5s, 500ms or 2min", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


def _set(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Session), name, value)

    return callback


def _choose(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.ensure_object(Session).chosen[name] = value

    return callback


def shared_options(command: _F) -> _F:
    """Add the options that every command takes, before or after its name."""
    for option in (
        click.option(
            "--dir",
            "directory",
            metavar="DIR",
            expose_value=False,
            callback=_set("directory"),
            help="The folder of the migrations, or builtin:NAME (or set MIGRATOR_DIR; default ./migrations).",
        ),
        click.option(
            "--db",
            metavar="URL",
            expose_value=False,
            callback=_set("db"),
            help=f"The database's URL, as in SQLAlchemy (or set MIGRATOR_DB_URL; default {DEFAULT_URL}).",
        ),
    ):
        command = option(command)
    return command


def run_options(command: _F) -> _F:
    """Add the options of commands that run SQL."""
    for name, setting, help_text in (
        ("--statement-timeout", "statement_timeout_s", "Time that a statement may take; 0 means no limit (default)."),
        ("--lock-timeout", "lock_timeout_s", "Time that a statement may wait for a lock (default 5s)."),
        ("--wait", "wait_s", "Time to wait for another runner (default 60s)."),
    ):
        option = click.option(
            name, type=Seconds(), metavar="TIME", expose_value=False, callback=_choose(setting), help=help_text
        )
        command = option(command)
    return command


def backup_options(command: _F) -> _F:
    """Add the options for saving the database first."""
    folder = click.option(
        "--backup-dir",
        metavar="DIR",
        expose_value=False,
        callback=_choose("backup_folder"),
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the backup.",
    )
    wanted = click.option(
        "--backup/--no-backup",
        default=None,
        expose_value=False,
        callback=_choose("backup"),
        help="Save the database first. Default: SQLite yes, PostgreSQL (with pg_dump) no.",
    )
    return wanted(folder(command))


out_of_order_option = click.option(
    "--out-of-order",
    type=click.Choice(["error", "warn", "allow"]),
    expose_value=False,
    callback=_choose("out_of_order"),
    help="Reaction to a file with a version below an applied version (default error).",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, an object on each line.")


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the shared options."""

    def declare(function: Callable[..., Any]) -> click.Command:
        return click.command(name)(shared_options(function))

    return declare
