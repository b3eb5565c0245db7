"""Options shared by several commands, and the decorator for declaring a command."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kbstore.cli.session import Session
from kbstore.errors import KBStoreError
from kbstore.kit.escape import visible
from kbstore.kit.hosts import INSECURE

_Command = TypeVar("_Command", bound=click.Command)
_OFFERED_VERSIONS = 20


def _set(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Session), name, value)

    return callback


def _go_to(_: click.Context, __: click.Parameter, folders: tuple[str, ...]) -> None:
    for folder in folders:
        try:
            os.chdir(folder)
        except OSError as fault:
            raise click.UsageError(f"cannot go to {folder}: {fault.strerror}") from fault


def _allow_insecure(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        os.environ[INSECURE] = "*"  # in the environment: processes started by this process see it too


class OptionPath(click.Path):
    """A path as the value of an option; refuses the next option, which click would take as the path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        Raises:
            click.BadParameter: The value begins with a dash, and is not the dash for stdout.
        """
        if param is not None and isinstance(value, str) and value.startswith("-") and value != "-":
            self.fail(
                f"{value} is an option, not a path; write {param.opts[-1]} {param.metavar} (./{value} is a path)",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def _shared() -> list[click.Parameter]:
    """Return the options of every command, accepted before or after the command's name."""
    return [
        click.Option(
            ["-C", "folder"],
            metavar="DIR",
            type=OptionPath(file_okay=False),
            multiple=True,
            expose_value=False,
            is_eager=True,
            callback=_go_to,
            help="Work as if started in DIR.",
        ),
        click.Option(
            ["--store", "store_option"],
            metavar="LOCATION",
            type=OptionPath(),
            expose_value=False,
            callback=_set("store_option"),
            help="The store: a file, a folder or a URL (or set KBSTORE_STORE).",
        ),
        click.Option(
            ["--file", "file_option"],
            metavar="FILE",
            type=OptionPath(),
            expose_value=False,
            callback=_set("file_option"),
            help="The knowledge base's file, instead of the project's.",
        ),
        click.Option(
            ["--branch"],
            metavar="NAME",
            expose_value=False,
            callback=_set("branch_option"),
            help="Work on this branch.",
        ),
        click.Option(
            ["--insecure"],
            is_flag=True,
            expose_value=False,
            callback=_allow_insecure,
            help=f"Speak to servers without TLS if the URL says http: (or set {INSECURE}).",
        ),
    ]


def with_shared_options(command: _Command) -> _Command:
    """Return the command, with the shared options after its own options."""
    command.params.extend(_shared())
    return command


class _Helpful(click.Command):
    """A command; all usage errors carry it, so that the hint leads to the help of the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; click's parser names for some errors only the option, not the command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as fault:
            fault.ctx = fault.ctx or ctx
            raise


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the shared options."""

    def declare(function: Callable[..., Any]) -> click.Command:
        return with_shared_options(click.command(name, cls=_Helpful)(function))

    return declare


def complete_revision(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the revisions for a shell to offer: tags, branches and the newest versions."""
    try:
        with ctx.ensure_object(Session).read() as store:
            known = ["HEAD", *store.tags(), *store.branches(), *(v.name for v in store.log(limit=_OFFERED_VERSIONS))]
    except KBStoreError:
        return []
    return [visible(name) for name in known if name.startswith(begun)]


def _someone(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("an author cannot be empty; leave the option out", ctx, param)
    return value


def _labels(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return each label once."""
    if not all(value.strip() for value in values):
        raise click.BadParameter("a label cannot be empty", ctx, param)
    return tuple(dict.fromkeys(values))


def _for_programs(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """Note ``--json`` in the session, so that a conflict is also printed as JSON."""
    ctx.ensure_object(Session).as_json = value
    return value


def _note_lossy(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Session).lossy = value


as_json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_for_programs, help="Print JSON, one object per line."
)
author_option = click.option("--author", metavar="NAME", callback=_someone, help="The author (or set KBSTORE_AUTHOR).")
accept_future_option = click.option(
    "--accept-future", is_flag=True, help="Accept versions dated more than a day ahead of this clock."
)
tags_option = click.option(
    "--tag", "tags", metavar="LABEL", multiple=True, callback=_labels, help="A label for the version; may be repeated."
)
lossy_option = click.option(
    "--lossy",
    is_flag=True,
    expose_value=False,
    callback=_note_lossy,
    help="Round decimals with more digits than a double, with a warning.",
)
message_option = click.option("-m", "--message", metavar="TEXT", required=True, help="The reason, in a few words.")
base_option = click.option(
    "--base", metavar="REV", shell_complete=complete_revision, help="The version that the change was made from."
)
no_rebase_option = click.option(
    "--no-rebase", is_flag=True, help="Refuse if others committed meanwhile, instead of merging."
)
write_id_option = click.option(
    "--write-id", metavar="ID", help="Identify this write: a write with the same ID lands only once."
)
