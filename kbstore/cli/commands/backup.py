"""Commands for copying a store into a file and for putting such a file back: backup, restore-backup."""

from shlex import quote

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say, say_json
from kbstore.cli.session import Session, shown_path, store_at
from kbstore.cli.version_text import counted
from kbstore.errors import KBStoreError
from kbstore.kit.escape import visible
from kbstore.sync.backup import Backup, backup_store, restore_backup
from kbstore.worktree.newest_seen import forget
from kbstore.worktree.project import is_url


@command("backup")
@click.argument("target", metavar="FILE")
@click.option("--verify", is_flag=True, help="Prove the copy from the stored bytes before it gets the name FILE.")
@as_json_option
@click.pass_obj
def backup_command(session: Session, target: str, verify: bool, as_json: bool) -> None:
    """Copy the store into a new file, even while others write.

    Do not copy kb.db with other tools while a program has the store open: the newest versions may be only in kb.db-wal.

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
@click.option("--verify/--no-verify", default=True, help="First prove the backup from the stored bytes (the default).")
@click.option("--force", is_flag=True, help="Also replace a store whose history is not the backup's.")
@as_json_option
@click.pass_obj
def restore_backup_command(session: Session, source: str, verify: bool, force: bool, as_json: bool) -> None:
    """Replace the store with a backup.

    First close every program that has the store open. The replaced file is kept beside the store, with the versions
    that the backup does not have. FILE may also be the folder of a project, which means the project's store. Do not
    move a backup over kb.db with other tools: SQLite would write an old kb.db-wal over the backup.

    \b
    Example:
      kbstore restore-backup /backups/kb-monday.db
    """
    _refuse_url(source)
    source = store_at(source) if source else source
    _refuse_url(source)  # the project's store
    done = restore_backup(session.location, source, verify=verify, force=force)
    session.landed = "the backup is restored"
    if session.project is not None:
        forget(session.project)
    if as_json:
        replaced = str(done.replaced) if done.replaced else None
        say_json({"version": done.version, "replaced": replaced, "only_in_replaced": done.only_in_replaced})
        return
    say(f"restored {done.version or 'a store without a version'} from {shown_path(source)}")
    if done.replaced is not None:
        _tell_kept(done, shown_path(done.replaced))


def _tell_kept(done: Backup, kept: str) -> None:
    """Report the place of the replaced file, and the versions missing in the backup."""
    if done.replaced is not None and done.replaced.name.endswith("-wal"):
        note(f"the log of the store that was there is kept as {kept}")
        return
    note(f"the store that was there is kept as {kept}")
    if done.only_in_replaced is None and done.damaged:
        note(f"it cannot be read whole; kbstore salvage DIR --store {quote(kept)} writes what can be proved of it")
    elif done.only_in_replaced is None:
        note("it cannot be opened as a store, so nobody can say whether it had newer versions")
    elif done.only_in_replaced:
        one = done.only_in_replaced == 1
        if done.damaged:
            damaged = "it is damaged" if one else "not all of them can be read"
            way = f"{damaged}: kbstore salvage DIR --store {quote(kept)} writes what can be proved"
        elif done.continues:
            way = f"kbstore pull {quote(kept)} brings {'it' if one else 'them'} back"
        else:
            way = f"kbstore log --store {quote(kept)} lists what is in it"
        note(f"{counted(done.only_in_replaced, 'version')} {'is' if one else 'are'} only in that file; {way}")


def _refuse_url(place: str) -> None:
    if is_url(place):
        raise KBStoreError(
            f"{visible(place)} is a URL, and a backup is a file", hint="copy a store with: kbstore clone SOURCE TARGET"
        )
