"""`kbstore lost`: list copies of files overwritten by force, and bring copies back."""

from functools import partial

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say, say_json, write_bytes
from kbstore.cli.session import Session, shown_path
from kbstore.errors import KBStoreError
from kbstore.kit.escape import visible
from kbstore.worktree.lock import locked
from kbstore.worktree.project import FileState
from kbstore.worktree.taken import proved


@command("lost")
@click.argument("number", required=False, type=click.IntRange(min=1), metavar="[N]")
@click.option("--restore", is_flag=True, help="Put copy N, by default the newest, back into its file.")
@as_json_option
@click.pass_obj
def lost_command(session: Session, number: int | None, restore: bool, as_json: bool) -> None:
    """List files overwritten by force, or bring a file back.

    If --force overwrites content that is not in any version, a copy is kept in .kbstore/lost/: the newest 20 copies, of
    at most 256 MB together. With N, copy N is printed. With --restore, copy N is put back into its file, and the
    content replaced in this way is kept too.

    \b
    Example:
      kbstore lost
      kbstore lost 2 > old.json
      kbstore lost --restore
    """
    lost = session.lost
    if restore:
        kept = lost.number(number or 1)
        with locked(kept.file):
            lost.restore(kept, session.found, partial(_proved, session))
        if as_json:
            say_json({"file": str(kept.file), "base": kept.base, "restored": True})
        else:
            note(f"{shown_path(kept.file)} is as it was before it was overwritten at {kept.time}")
    elif number is not None:
        write_bytes(lost.number(number).path.read_bytes())
    else:
        copies = lost.copies()
        if not copies and not as_json:
            note("nothing was overwritten by force")
        for at, kept in enumerate(copies, 1):
            if as_json:
                fields = {"time": kept.time, "file": str(kept.file), "bytes": kept.size_bytes, "base": kept.base}
                say_json({"number": at, **fields})
            else:
                taken = f", taken from {visible(kept.base)}" if kept.base else ""
                say(f"{at}  {kept.time}  {shown_path(kept.file)}  {kept.size_bytes:,} bytes{taken}")


def _proved(session: Session, state: FileState | None, digest: str) -> bool:
    """Return True if the store has the content of a file; False if the store cannot be read."""
    try:
        with session.read() as store:
            return proved(store, state, digest)
    except KBStoreError:
        return False
