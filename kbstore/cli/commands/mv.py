"""`kbstore mv`: rename the file of a history."""

from pathlib import Path

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say_json
from kbstore.cli.session import NoFile, Session, shown_path
from kbstore.worktree.lock import locked


@command("mv")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@as_json_option
@click.pass_obj
def mv_command(session: Session, old: Path, new: Path, as_json: bool) -> None:
    """Rename the file; the history goes on.

    Uncommitted changes stay uncommitted. Nothing is added to the history.

    \b
    Example:
      kbstore mv kb.json support_kb.json
    """
    project = session.project
    if project is None:
        raise NoFile("there is no file with a history here", hint="start one: kbstore init FILE")
    with locked(old):
        project.move(old, new)
    if as_json:
        say_json({"file": str(project.file)})
    else:
        note(f"the file is {shown_path(new)}")
