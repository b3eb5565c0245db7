"""Commands for names of versions: tag, branch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from kbstore.cli.options import as_json_option, author_option, command, complete_revision, write_id_option
from kbstore.cli.output import note, say, say_json
from kbstore.cli.pending import settled
from kbstore.cli.session import Session
from kbstore.cli.version_text import first_line, note_odd
from kbstore.errors import KBStoreError, RevisionError
from kbstore.history.branch import MAIN_BRANCH
from kbstore.history.refs import LIST_BRANCHES
from kbstore.history.version import Version
from kbstore.kit.escape import visible
from kbstore.kit.graphemes import cells
from kbstore.store import Store
from kbstore.worktree.json_file import WorkFile
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy


@command("tag")
@click.argument("name", required=False, shell_complete=complete_revision)
@click.argument("revision", required=False, metavar="[REV]", shell_complete=complete_revision)
@click.option("-d", "--delete", metavar="NAME", shell_complete=complete_revision, help="Remove the tag NAME.")
@click.option("--force", is_flag=True, help="Move a tag that exists.")
@author_option
@write_id_option
@as_json_option
@click.pass_obj
def tag_command(
    session: Session,
    name: str | None,
    revision: str | None,
    delete: str | None,
    force: bool,
    author: str | None,
    write_id: str | None,
    as_json: bool,
) -> None:
    """List tags, or give a version a name.

    REV is the newest version by default. If a tag moves, the history keeps the earlier target.

    \b
    Example:
      kbstore tag
      kbstore tag stable v3
      kbstore tag stable --force
      kbstore tag -d stable
    """
    if delete is not None:
        if name is not None or force:
            raise click.UsageError("-d takes one name, and nothing else")
        with session.open(author=author) as store, settled(session, store, write_id) as ident:
            store.untag(delete, write_id=ident)
            session.landed = f"the tag {delete} was removed"
            if as_json:
                say_json({"tag": delete, "removed": True})
            else:
                note(f"removed the tag {visible(delete)}")
        return
    if name is None:
        if force:
            raise click.UsageError("--force needs the name of a tag")
        with session.read() as store:
            _list_tags(store.tags(), as_json=as_json)
            note_odd(store)
        return
    with session.open(author=author) as store, settled(session, store, write_id) as ident:
        version = store.tag(name, "HEAD" if revision is None else revision, force=force, write_id=ident)
        session.landed = f"{name} is {version.name}"
        if as_json:
            say_json(_tag_fields(name, version))
        else:
            note(f"{visible(name)} is {version.name}")


def _list_tags(tags: dict[str, Version], *, as_json: bool) -> None:
    if not (tags or as_json):
        note("no tags yet")
    width = max((cells(visible(tag)) for tag in tags), default=0)
    for tag, version in tags.items():
        if as_json:
            say_json(_tag_fields(tag, version))
        else:
            pad = " " * (width - cells(visible(tag)))
            say(f"{visible(tag)}{pad}  {version.name} {version.id[:8]} {first_line(version.message)}".rstrip())


def _tag_fields(tag: str, version: Version) -> dict[str, object]:
    return {"tag": tag, "seq": version.seq, "version": version.name, "id": version.id}


@command("branch")
@click.argument("name", required=False, shell_complete=complete_revision)
@click.argument("revision", required=False, metavar="[REV]", shell_complete=complete_revision)
@click.option("--switch", is_flag=True, help="Let the file follow the branch NAME.")
@click.option("-d", "--delete", metavar="NAME", shell_complete=complete_revision, help="Remove the branch NAME.")
@click.option(
    "-m", "--rename", nargs=2, metavar="OLD NEW", shell_complete=complete_revision, help="Rename the branch OLD to NEW."
)
@click.option("--force", is_flag=True, help="With -d: even if some versions are on no other branch.")
@author_option
@write_id_option
@as_json_option
@click.pass_obj
def branch_command(
    session: Session,
    name: str | None,
    revision: str | None,
    switch: bool,
    delete: str | None,
    rename: tuple[str, str] | None,
    force: bool,
    author: str | None,
    write_id: str | None,
    as_json: bool,
) -> None:
    """List, start, rename, remove or follow branches.

    A new branch starts at REV, the newest version by default; --switch follows a branch that exists already.
    Every command takes --branch NAME to work on another branch than the file's. The versions of a removed branch stay,
    and can be read by their ids.

    \b
    Example:
      kbstore branch
      kbstore branch draft v3
      kbstore branch --switch draft
      kbstore branch -m draft release
      kbstore branch -d release
    """
    session.any_branch = True
    if delete is not None or rename is not None:
        if name is not None or switch or (delete is not None and rename is not None):
            raise click.UsageError("-d and -m take their names, and nothing else")
        _change(session, delete, rename, force, author, write_id, as_json)
        return
    if force:
        raise click.UsageError("--force needs -d")
    if name is None:
        if switch:
            raise click.UsageError("--switch needs the name of a branch")
        with session.read() as store:
            for branch in store.branches():
                if as_json:
                    say_json({"branch": branch, "current": branch == store.branch})
                else:
                    say(f"{'*' if branch == store.branch else ' '} {visible(branch)}")
            note_odd(store)
        return
    if switch:
        if revision is not None:
            raise click.UsageError("--switch takes the name of a branch only")
        _tell_branch(name, f"on the branch {visible(name)}, at {_switch(session, name).name}", switch, as_json)
        return
    with session.open(author=author) as store, settled(session, store, write_id) as ident:
        store.create_branch(name, "HEAD" if revision is None else revision, write_id=ident)
        session.landed = f"the branch {name} was started"
        _tell_branch(name, f"started the branch {visible(name)}", switch, as_json)


def _change(
    session: Session,
    delete: str | None,
    rename: tuple[str, str] | None,
    force: bool,
    author: str | None,
    write_id: str | None,
    as_json: bool,
) -> None:
    """Remove a branch, or give a branch another name."""
    if rename is not None and force:
        raise click.UsageError("--force needs -d")
    with session.open(author=author) as store, settled(session, store, write_id) as ident:
        if delete is not None:
            _refuse_followed(session, store, delete)
            store.delete_branch(delete, force=force, write_id=ident)
            session.landed = f"the branch {delete} was removed"
            if as_json:
                say_json({"branch": delete, "removed": True})
            else:
                note(f"removed the branch {visible(delete)}; its versions can be read by their ids")
        elif rename is not None:
            old, new = rename
            store.rename_branch(old, new, write_id=ident)
            session.landed = f"the branch {old} is called {new} now"
            session.follow_renamed(old, new)
            if as_json:
                say_json({"branch": new, "old": old})
            else:
                note(f"the branch {visible(old)} is called {visible(new)} now")


def _refuse_followed(session: Session, store: Store, branch: str) -> None:
    """Refuse to remove the branch of the file or of the project, whatever --branch says.

    Raises:
        RevisionError: The branch is followed by the file, or commands work on the branch by default.
    """
    project = session.project
    if project is None or branch == MAIN_BRANCH or branch not in store.branches():
        return  # the store itself refuses the main branch and an unknown branch
    own = project.file is not None and WorkingCopy(store, WorkFile(project.file), project).follows == branch
    if own or project.config.branch == branch:
        raise RevisionError(
            f"the branch {branch!r} is the one that the file follows, so it is not removed",
            hint=f"work on another one first: kbstore branch --switch {MAIN_BRANCH}",
        )


def _tell_branch(name: str, told: str, switch: bool, as_json: bool) -> None:
    if as_json:
        say_json({"branch": name, "current": switch})
    else:
        note(told)


@contextmanager
def _startable(name: str) -> Iterator[None]:
    """Add to the error for an unknown branch that --switch does not start a branch."""
    try:
        yield
    except RevisionError as fault:
        if fault.hint == LIST_BRANCHES:
            fault.hint = f"{LIST_BRANCHES}; to start it: kbstore branch {name}, then kbstore branch --switch {name}"
        raise


def _switch(session: Session, name: str) -> Version:
    project = session.project
    if project is None:
        raise KBStoreError("only a file in a project can follow a branch", hint="kbstore init FILE")
    status = None
    with session.read() as store, suppress(BaseUnknown):  # after an interrupted switch the file is on the other branch
        copy = session.copy(store)
        status = copy.status()
        copy.refuse_uncommitted(status, force_helps=False)
    session.branch_option = name
    with _startable(name), session.read() as store:
        head = store.head()
        if head.seq:
            session.copy(store).take(head, status=status)
            session.landed, session.way_on = f"the file is at {head.name}", "run the same command again"
    project.change(branch=name)
    return head
