"""Commands that keep running: watch, serve."""

import signal
import sys
from dataclasses import replace
from types import FrameType
from typing import NoReturn

import click

from kbstore.health.cli.session import command, session_of
from kbstore.health.cli.terminal import say
from kbstore.health.errors import HealthError
from kbstore.kit.escape import visible


@command("watch")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time from the start of a round to the next; 300 unless configured.",
)
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="End after N rounds.")
@click.pass_context
def watch_command(ctx: click.Context, interval: float | None, rounds: int | None) -> None:
    """Run checks again and again, and send alerts on lasting changes.

    \b
    Example:
      health watch
      health watch --interval 60
    """
    from kbstore.health.run.engine import Engine
    from kbstore.health.watch.loop import Watch

    settings = session_of(ctx).settings()
    if interval is not None:
        settings = replace(settings, watch=replace(settings.watch, interval=interval))
    signal.signal(signal.SIGTERM, _end)
    with Engine(settings) as engine:
        Watch(engine, lambda text: say(visible(text))).run(rounds)


@command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 127.0.0.1 unless configured.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 8080 unless configured, 0 takes a free port."
)
@click.pass_context
def serve_command(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Answer over HTTP: /livez, /readyz, /health and /metrics.

    Without a token, callers see only the overall status. To see everything, set serve.token in the configuration and
    send "Authorization: Bearer TOKEN".

    \b
    Example:
      health serve
      health serve --port 9000
    """
    from kbstore.health.run.engine import Engine
    from kbstore.health.serve.status_cache import Board

    try:
        from kbstore.health.serve.app import listen, run
    except ImportError as fault:
        raise HealthError(f"health serve needs {fault.name}", hint="pip install 'kbstore[health]'") from None
    settings = session_of(ctx).settings()
    address = host if host is not None else settings.serve.host
    port = settings.serve.port if port is None else port
    board = Board(lambda: Engine(settings), lambda text: click.echo(visible(text), err=True))
    try:
        listener = listen(address, port)
    except OSError as fault:
        text = f"cannot listen on {address}, port {port}: {fault.strerror or fault}"
        raise HealthError(text, hint="choose another with --host and --port") from None
    signal.signal(signal.SIGTERM, _end)
    with listener:
        name, number = listener.getsockname()[:2]
        say(f"listening on http://{f'[{name}]' if ':' in name else name}:{number}")
        run(board, settings.serve.token, listener)


def _end(_: int, __: FrameType | None) -> NoReturn:
    """End the program in the normal way, so that everything is cleaned up."""
    sys.exit(0)
