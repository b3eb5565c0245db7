"""Commands that copy a store into one file, and put such a file back: backup, restore-backup."""

from pathlib import Path

import click

from kbstore.backup import backup_store, restore_backup
from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say, say_json
from kbstore.cli.session import Session, shown_path
from kbstore.errors import KBStoreError
from kbstore.newest import forget
from kbstore.project import is_url
from kbstore.render.escape import visible


@command("backup")
@click.argument("target", metavar="FILE")
@click.option("--verify", is_flag=True, help="Prove the copy from its bytes before it gets its name.")
@as_json_option
@click.pass_obj
def backup_command(session: Session, target: str, verify: bool, as_json: bool) -> None:
    """Copy the store into a new file, while others may write it.

    Do not copy kb.db with other tools while a program has it open: the newest versions may be in kb.db-wal only.

    \b
    Example:
      kbstore backup /backups/kb-monday.db --verify
    """
    _refuse_url(target)
    made = backup_store(session.location, target, verify=verify)
    session.landed = f"{shown_path(made.path)} is written"
    if as_json:
        say_json({"path": str(made.path), "version": made.version})
        return
    say(f"{shown_path(made.path)}: {made.version or 'no version yet'}{', verified' if verify else ''}")


@command("restore-backup")
@click.argument("source", metavar="FILE")
@click.option("--verify/--no-verify", default=True, help="Prove the backup from its bytes first (the default).")
@as_json_option
@click.pass_obj
def restore_backup_command(session: Session, source: str, verify: bool, as_json: bool) -> None:
    """Put a backup in the place of the store.

    The file that it replaces is kept beside it. Close every program that has the store open first. Do not move a
    backup over kb.db with other tools: SQLite would write an old kb.db-wal over it.

    \b
    Example:
      kbstore restore-backup /backups/kb-monday.db
    """
    _refuse_url(source)
    done = restore_backup(session.location, Path(source), verify=verify)
    session.landed = "the backup is restored"
    if session.project is not None:
        forget(session.project)
    if as_json:
        say_json({"version": done.version, "replaced": str(done.replaced) if done.replaced else None})
        return
    say(f"restored {done.version or 'a store without a version'} from {shown_path(source)}")
    if done.replaced is not None:
        kept = shown_path(done.replaced)
        if done.replaced.name.endswith("-wal"):
            note(f"the log of the store that was there is kept as {kept}")
        else:
            note(f"the store that was there is kept as {kept}; kbstore pull brings versions back that only it has")


def _refuse_url(place: str) -> None:
    if is_url(place):
        raise KBStoreError(
            f"{visible(place)} is a URL, and a backup is a file", hint="copy a store with: kbstore clone SOURCE TARGET"
        )
