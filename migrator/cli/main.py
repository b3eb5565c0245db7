"""Find one command, run it, and turn the result into an exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from kbstore.migrator._version import __version__
from kbstore.migrator.cli import exit_codes
from kbstore.migrator.cli.options import Session, shared_options

COMMANDS = {
    "status": "read",
    "up": "change",
    "down": "change",
    "new": "change",
    "verify": "read",
    "doctor": "read",
    "repair": "repair",
    "baseline": "repair",
    "lint": "read",
    "dump": "read",
    "history": "read",
}
"""The module of each command, in the order of ``migrator --help``."""


class Commands(click.Group):
    """The group of commands; a command's module is loaded on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command with this name, or `None`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"kbstore.migrator.cli.{COMMANDS[cmd_name]}"), f"{cmd_name}_command"
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does; for an unknown name, suggest the nearest name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as fault:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1) if args else []
            if near and not args[0].startswith("-"):
                raise click.UsageError(f"there is no command {args[0]!r}; did you mean {near[0]!r}?", ctx) from fault
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="migrator", message="%(prog)s %(version)s")
@shared_options
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Run SQL migrations that cannot be half-recorded.

    \b
    Example:
      migrator new add_orders
      migrator up --dry-run
      migrator up
      migrator status
    """
    ctx.ensure_object(Session)


@click.command(
    "migrate",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def migrate(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Apply SQL migrations, and report their state."""
    ctx.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default this process's); return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = exit_codes.DONE
    try:
        # Not `commands.main()`: it exits with 1 if the reader of the output closes the pipe.
        with commands.make_context("migrator", list(sys.argv[1:] if arguments is None else arguments)) as context:
            commands.invoke(context)
    except click.exceptions.NoArgsIsHelpError as bare:
        sys.stderr.write(bare.format_message() + "\n")
        code = exit_codes.USAGE
    except click.exceptions.Exit as end:
        code = end.exit_code
    except BrokenPipeError:
        return _quietly(exit_codes.DONE)
    except (Exception, KeyboardInterrupt) as fault:
        if os.environ.get("MIGRATOR_TRACEBACK"):
            raise
        code = exit_codes.report(fault)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _quietly(code)
    return code


def _quietly(code: int) -> int:
    """Redirect stdout to nowhere, since the reader closed the pipe and Python flushes at exit; return the code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
