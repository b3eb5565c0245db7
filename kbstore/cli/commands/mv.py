"""`kbstore mv`: rename the file of a history."""

from pathlib import Path

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say_json
from kbstore.cli.session import NoFile, Session, shown_path
from kbstore.worktree.json_file import WorkFile, WorkFileError
from kbstore.worktree.lock import locked
from kbstore.worktree.status import has_nothing_of


@command("mv")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@as_json_option
@click.pass_obj
def mv_command(session: Session, old: Path, new: Path, as_json: bool) -> None:
    """Rename the file; the history goes on.

    If another program renamed the file already, the command follows: OLD is missing, and NEW holds JSON with an entry
    of the newest version. Uncommitted changes stay uncommitted. Nothing is overwritten, or added to the history.

    \b
    Example:
      kbstore mv kb.json support_kb.json
    """
    project = session.project
    if project is None:
        raise NoFile("there is no file with a history here", hint="start one: kbstore init FILE")
    if project.renamed(old, new):
        _check_content(session, old, new)
    with locked(old):
        project.move(old, new)
    if as_json:
        say_json({"file": str(project.file)})
    else:
        note(f"the file is {shown_path(new)}")


def _check_content(session: Session, old: Path, new: Path) -> None:
    """Refuse a file as the renamed one if the file has nothing of the newest version.

    Raises:
        WorkFileError: The file has no entry of the newest version.
        InvalidJSON: The file is not JSON.
    """
    document = WorkFile(new).load(lossy=True).value
    with session.read() as store:
        head = store.head()
        if has_nothing_of(store, head, store.diff(head, document=document)):
            raise WorkFileError(
                f"there is no file {old}, and {new} has nothing of {head.name} in it",
                hint=f"name the file that it was renamed to, or write the newest version into {old}: "
                "kbstore checkout HEAD",
            )
