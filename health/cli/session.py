"""The session of a command: the configuration found from the current folder, and the engine over it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kbstore.health.errors import StateError
from kbstore.health.run.process import Early
from kbstore.kit.hosts import INSECURE

if TYPE_CHECKING:  # a help page needs no engine
    from kbstore.health.run.engine import Engine
    from kbstore.health.settings import Settings
    from kbstore.health.state import State

_F = TypeVar("_F", bound=Callable[..., Any])
_KEY = "kbstore.health.cli.session"


class Session:
    """The options shared by all commands, with the objects made from the options.

    Attributes:
        config: Value of ``--config``.
        store: Value of ``--store``.
        database: Value of ``--db``.
        early: Worker that was started in case this command needs a worker.
    """

    def __init__(self) -> None:
        self.early: Early | None = None
        self.config: str | None = None
        self.store: str | None = None
        self.database: str | None = None

    def settings(self) -> "Settings":
        """Load the configuration.

        Raises:
            ConfigError: The configuration cannot be used.
        """
        from kbstore.health.config import load

        return load(
            Path.cwd(),
            os.environ,
            file=Path(self.config) if self.config is not None else None,
            store=self.store,
            database=self.database,
        )

    def take_early(self) -> Early | None:
        """Return the early worker at the first call; None after that."""
        early, self.early = self.early, None
        return early

    def engine(self) -> "Engine":
        """Return an engine over the configuration; the caller must close the engine."""
        from kbstore.health.run.engine import Engine

        return Engine(self.settings())


def session_of(ctx: click.Context) -> Session:
    """Return the session of this run."""
    root = ctx.find_root()
    if _KEY not in root.meta:
        session = root.obj if isinstance(root.obj, Session) else Session()
        # Under `kbstore health`, the option --store counts also before the word health.
        session.store = session.store or getattr(root.obj, "store_option", None)
        root.meta[_KEY] = session
    found: Session = root.meta[_KEY]
    return found


def state_of(engine: "Engine") -> "State":
    """Return the engine's history.

    Raises:
        StateError: No folder is configured for the history.
    """
    if engine.state is None:
        raise StateError("no folder is configured for the history", hint="set targets.state")
    return engine.state


def _set(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(session_of(ctx), name, value)

    return callback


def _allow_insecure(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        os.environ[INSECURE] = "*"
        # An early worker was started with the old environment.
        session_of(ctx).early = None


def _go_to(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            os.chdir(value)
        except OSError as fault:
            raise click.UsageError(f"cannot go to {value}: {fault.strerror}") from fault


def shared_options(command: _F) -> _F:
    """Add the options of every command, allowed before and after the command's name."""
    for option in (
        click.option(
            "--db", metavar="URL", expose_value=False, callback=_set("database"), help="URL of the database to check."
        ),
        click.option(
            "--store",
            metavar="LOCATION",
            expose_value=False,
            callback=_set("store"),
            help="The store to check: a file, a folder or a URL (or set KBSTORE_STORE).",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            expose_value=False,
            callback=_allow_insecure,
            help=f"Allow servers without TLS if their URL begins with http: (or set {INSECURE}).",
        ),
        click.option(
            "--config", metavar="FILE", expose_value=False, callback=_set("config"), help="Configuration file to read."
        ),
        click.option(
            "-C", "folder", metavar="DIR", expose_value=False, is_eager=True, callback=_go_to,
            help="Work as if started in DIR.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the shared options."""

    def declare(function: Callable[..., Any]) -> click.Command:
        return click.command(name)(shared_options(function))

    return declare
