"""`kbstore completion`: print a script for a shell to complete commands and options."""

import click

from kbstore.cli.options import command
from kbstore.cli.output import say


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a completion script for your shell.

    \b
    Example:
      kbstore completion bash > ~/.local/share/bash-completion/completions/kbstore
      kbstore completion zsh > ~/.zfunc/_kbstore
      kbstore completion fish > ~/.config/fish/completions/kbstore.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    from kbstore.cli.main import COMPLETION, PROGRAM

    kinds = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    say(kinds[shell](ctx.find_root().command, {}, PROGRAM, COMPLETION).source())
