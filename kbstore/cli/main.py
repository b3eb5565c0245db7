"""Run a command: find the command, run it, and turn every outcome into an exit code.

A command's module is imported when the command is used, so that a short command stays fast. Other packages add
commands by the entry-point group ``kbstore.commands``, which is searched only if no built-in command has the name.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from kbstore._version import __version__
from kbstore.cli import exit_codes
from kbstore.cli.options import with_shared_options
from kbstore.cli.session import Session

COMMANDS = {
    "init": "init",
    "status": "work",
    "commit": "work",
    "log": "history",
    "show": "history",
    "diff": "diff",
    "checkout": "work",
    "restore": "work",
    "lost": "lost",
    "update": "work",
    "mv": "mv",
    "get": "history",
    "tag": "refs",
    "branch": "refs",
    "apply": "work",
    "import": "transfer",
    "export": "transfer",
    "clone": "remote",
    "push": "remote",
    "pull": "remote",
    "config": "config",
    "trust": "trust",
    "verify": "maintenance",
    "salvage": "maintenance",
    "gc": "maintenance",
    "backup": "backup",
    "restore-backup": "backup",
    "completion": "completion",
}
"""The module of each built-in command, in the order of ``kbstore --help``."""

ENTRY_POINTS = "kbstore.commands"
PROGRAM = "kbstore"
COMPLETION = "_KBSTORE_COMPLETE"
"""Set by the scripts of `kbstore completion`, while a shell asks for possible next words."""


class Commands(click.Group):
    """The commands, each loaded when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return built-in commands in reading order, then the commands of other packages."""
        return [*COMMANDS, *(point.name for point in _added() if point.name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name, or None."""
        if cmd_name in COMMANDS:
            module = import_module(f"kbstore.cli.commands.{COMMANDS[cmd_name]}")
            known: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
            return known
        for point in _added():
            if point.name == cmd_name:
                command = point.load()
                return command if isinstance(command, click.Command) else None
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does; if the command does not exist, name the nearest command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as fault:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1) if args else []
            if near and not args[0].startswith("-"):
                raise click.UsageError(f"there is no command {args[0]!r}; did you mean {near[0]!r}?", ctx) from fault
            raise


def _added() -> list[Any]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="kbstore", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Keep the history of a JSON knowledge base.

    \b
    Example:
      kbstore init support_kb.json
      kbstore commit -m "API integration problem" --tag api
      kbstore log
    """
    ctx.ensure_object(Session)


with_shared_options(commands)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default that of this process); return the exit code."""
    _prepare_streams()
    session = Session()
    try:
        # Not `commands.main()`: after a closed pipe its exit code is 1, and 1 means differences here.
        if wanted := os.environ.get(COMPLETION):
            from click.shell_completion import shell_complete

            return shell_complete(commands, {}, PROGRAM, COMPLETION, wanted)
        with commands.make_context(
            PROGRAM, list(sys.argv[1:] if arguments is None else arguments), obj=session
        ) as context:
            commands.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return _flushed(end.exit_code, session)
    except BrokenPipeError:
        _drop_output()
        return exit_codes.DONE
    except (Exception, KeyboardInterrupt) as fault:
        if os.environ.get("KBSTORE_TRACEBACK"):
            raise
        return _flushed(exit_codes.report(fault, session), session)
    return exit_codes.DONE


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the process that started this process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flushed(code: int, session: Session) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as fault:
        return exit_codes.report(fault, session)
    return code


def _drop_output() -> None:
    """Send all further output to the null device: the reader closed the pipe, and Python writes again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
