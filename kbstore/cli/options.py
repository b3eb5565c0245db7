"""Options that several commands share, and how a command is declared."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kbstore.cli.session import Session

_F = TypeVar("_F", bound=Callable[..., Any])


def _set(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Session), name, value)

    return callback


def _go_to(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            os.chdir(value)
        except OSError as fault:
            raise click.UsageError(f"cannot go to {value}: {fault.strerror}") from fault


def shared_options(command: _F) -> _F:
    """Add the options that every command takes, before or after its name."""
    for option in (
        click.option(
            "--branch", metavar="NAME", expose_value=False, callback=_set("branch_option"), help="Work on this branch."
        ),
        click.option(
            "--file",
            "file_option",
            metavar="FILE",
            expose_value=False,
            callback=_set("file_option"),
            help="The knowledge base's file, instead of the project's.",
        ),
        click.option(
            "--store",
            "store_option",
            metavar="LOCATION",
            expose_value=False,
            callback=_set("store_option"),
            help="The store: a file, a folder or a URL (or set KBSTORE_STORE).",
        ),
        click.option(
            "-C",
            "folder",
            metavar="DIR",
            expose_value=False,
            is_eager=True,
            callback=_go_to,
            help="Work as if started in DIR.",
        ),
    ):
        command = option(command)
    return command


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the shared options."""

    def declare(function: Callable[..., Any]) -> click.Command:
        return click.command(name)(shared_options(function))

    return declare


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
author_option = click.option("--author", metavar="NAME", help="Who did it (or set KBSTORE_AUTHOR).")
tags_option = click.option(
    "--tag", "tags", metavar="LABEL", multiple=True, help="A label of the version; may be repeated."
)
message_option = click.option("-m", "--message", metavar="TEXT", required=True, help="Why, in a few words.")
base_option = click.option("--base", metavar="REV", help="The version that the change was made from.")
no_rebase_option = click.option(
    "--no-rebase", is_flag=True, help="Refuse where others committed since, instead of putting both together."
)
