"""Runs a command: finds it, runs it, and turns every outcome into an exit code.

The same group is ``health`` and, by an entry point, ``kbstore health``. Under another program, the group keeps its own
exit codes.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from kbstore.health.cli import exit_codes
from kbstore.health.cli.session import Session, shared_options
from kbstore.health.run.process import Early

COMMANDS = {
    "check": "read",
    "list": "read",
    "explain": "read",
    "watch": "services",
    "serve": "services",
    "history": "history",
    "note": "history",
    "silence": "history",
    "fix": "fix",
    "drill": "fix",
}
"""Module of each command, in the order of ``health --help``."""


class Commands(click.Group):
    """The commands, each loaded at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"kbstore.health.cli.{COMMANDS[cmd_name]}"), f"{cmd_name}_command"
        )
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make a context as click does; but a usage error under another program ends with this program's exit code."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as fault:
            if parent is None:
                raise
            raise click.exceptions.Exit(exit_codes.report(fault)) from fault

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command as click does; but a failure under another program ends with this program's exit code."""
        if ctx.parent is None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as fault:
            if os.environ.get("KBSTORE_TRACEBACK"):
                raise
            raise click.exceptions.Exit(exit_codes.report(fault)) from fault


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kbstore._version import __version__

        click.echo(f"health {__version__}")
        ctx.exit()


@click.group("health", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version and exit."
)
@shared_options
def commands() -> None:
    """Check a knowledge base, its backend and its database.

    \b
    Exit codes:
      0  healthy, or done
      1  degraded
      2  unhealthy
      3  unknown: the command line, the configuration or a name is wrong

    \b
    Example:
      health check
      health check --tag ready --format json
      health explain store.head
    """


def run(arguments: Sequence[str] | None = None, *, early: Early | None = None) -> int:
    """Run a command line and return the exit code.

    Args:
        arguments: The command line, without the program's name; by default the command line of this process.
        early: Worker that was started in case the command needs a worker; the caller must stop it.
    """
    session = Session()
    session.early = early
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = commands.main(
            args=None if arguments is None else list(arguments), prog_name="health", standalone_mode=False, obj=session
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe. Nothing more may be written, not even by Python at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.HEALTHY
    except Exception as fault:
        if os.environ.get("KBSTORE_TRACEBACK"):
            raise
        return exit_codes.report(fault)
    except KeyboardInterrupt as fault:
        return exit_codes.report(fault)
    return code if isinstance(code, int) else exit_codes.HEALTHY
