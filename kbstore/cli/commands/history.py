"""Commands for reading the history: log, show, get."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

import click

from kbstore.cli.options import as_json_option, command, complete_revision
from kbstore.cli.output import json_text, note, page, say, say_json, wants_color, width, write_bytes
from kbstore.cli.session import Session
from kbstore.cli.suggestions import hinting
from kbstore.cli.version_text import note_odd, one_line, paragraph
from kbstore.errors import CorruptStore, DamagedVersion, RevisionError
from kbstore.history.revision import parse_range
from kbstore.history.version import Version
from kbstore.kit.clock import parse_time
from kbstore.store import Store


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return the moment that a person wrote; UTC without an offset."""
    if value is None:
        return None
    try:
        return parse_time(value.removeprefix("@"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date; write 2025-01-27 or 2025-01-27T12:00", ctx, param) from None


@command("log")
@click.argument("revisions", required=False, metavar="[REV|A..B]", shell_complete=complete_revision)
@click.option("--oneline", is_flag=True, help="Print one line per version.")
@click.option("-n", "--limit", "limit", type=click.IntRange(min=0), metavar="N", help="List at most N versions.")
@click.option("--author", metavar="TEXT", help="Only versions by authors with TEXT in the name.")
@click.option("--tag", metavar="LABEL", help="Only versions with this label.")
@click.option("--since", callback=_moment, metavar="TIME", help="Only versions at or after TIME.")
@click.option("--until", callback=_moment, metavar="TIME", help="Only versions at or before TIME.")
@click.option("--path", metavar="POINTER", help="Only versions that touched the value at POINTER.")
@click.option("--reverse", is_flag=True, help="List the oldest version first.")
@as_json_option
@click.pass_obj
def log_command(
    session: Session,
    revisions: str | None,
    oneline: bool,
    limit: int | None,
    author: str | None,
    tag: str | None,
    since: datetime | None,
    until: datetime | None,
    path: str | None,
    reverse: bool,
    as_json: bool,
) -> None:
    """List versions, newest first.

    --since, --until and @TIME use the time of a version: the time of the commit, but never before the time of the
    version before. If the author's clock showed another time, the log also prints that time, as "written".

    \b
    Example:
      kbstore log --oneline -n 10
      kbstore log --path /problems/p42 --since 2025-01-01
      kbstore log v3..HEAD --json
    """
    first, last = (parse_range(revisions) or (None, revisions)) if revisions else (None, None)
    damage = _Damage()
    with session.read() as store:
        found = store.log(
            first,
            last,
            limit=limit,
            author=author,
            tag=tag,
            since=since,
            until=until,
            path=path,
            newest_first=not reverse,
            damaged=damage.append,
        )
        if as_json:
            for version in found:
                for fault in damage.take():
                    say_json(_damaged_json(fault))
                say_json(version.as_dict())
            for fault in damage.take():
                say_json(_damaged_json(fault))
            damage.refuse()
            return
        names = _names(store)
        color = wants_color()
        first_one = next(found, None)
        if first_one is None and not damage.there:
            note("no versions" + (" match" if store.head().seq else " yet"))
            return
        listed = damage.between(found if first_one is None else chain([first_one], found))
        if oneline:
            page(
                f"v{one.seq} (damaged: {one.what})"
                if isinstance(one, DamagedVersion)
                else one_line(one, names.get(one.id, ()), color)
                for one in listed
            )
        else:
            page(
                _paragraphs(
                    (f"v{one.seq}", f"damaged: {one.what}")
                    if isinstance(one, DamagedVersion)
                    else paragraph(one, names.get(one.id, ()), color)
                    for one in listed
                )
            )
        damage.refuse()


class _Damage:
    """The damaged versions found by a log.

    Attributes:
        there: The number of damaged versions.
    """

    def __init__(self) -> None:
        self.there = 0
        self._first: DamagedVersion | None = None
        self._waiting: list[DamagedVersion] = []

    def append(self, fault: DamagedVersion) -> None:
        """Add the next damaged version."""
        self.there += 1
        self._first = self._first or fault
        self._waiting.append(fault)

    def take(self) -> list[DamagedVersion]:
        """Return the damaged versions not returned yet."""
        given, self._waiting = self._waiting, []
        return given

    def between(self, found: Iterable[Version]) -> Iterator[Version | DamagedVersion]:
        """Yield versions, and each damaged version in its place."""
        for version in found:
            yield from self.take()
            yield version
        yield from self.take()

    def refuse(self) -> None:
        """End with an error if a version was damaged.

        Raises:
            DamagedVersion: One version is damaged.
            CorruptStore: Several versions are damaged.
        """
        if self._first is None:
            return
        if self.there == 1:
            raise self._first
        raise CorruptStore(f"{self.there:,} versions of this list are damaged", hint=self._first.hint)


def _damaged_json(fault: DamagedVersion) -> dict[str, object]:
    return {"seq": fault.seq, "version": f"v{fault.seq}", "damaged": fault.what}


@command("show")
@click.argument("revision", default="HEAD", metavar="[REV]", shell_complete=complete_revision)
@click.argument("pointer", default="", metavar="[POINTER]")
@click.option("--stat", is_flag=True, help="Show only how much changed in each entry.")
@as_json_option
@click.pass_obj
def show_command(session: Session, revision: str, pointer: str, stat: bool, as_json: bool) -> None:
    """Show one version: author, time, message and changes.

    With POINTER, only the changes at or below POINTER are shown.

    \b
    Example:
      kbstore show v3
      kbstore show v3 /articles/mail
      kbstore show stable --json
    """
    if revision.startswith("/") and not pointer:
        revision, pointer = "HEAD", revision
    with session.read() as store:
        version = store.version(revision)
        if version.seq == 0:
            raise RevisionError("v0 is the empty beginning: there is nothing to show")
        diff = store.diff(store.version(f"{revision}~1"), version, pointer)
        if as_json:
            entries = {"added": diff.added, "removed": diff.removed, "modified": diff.modified, "moved": diff.moved}
            say_json({**version.as_dict(), **entries, "patch": diff.patch if pointer else version.patch})
            return
        color = wants_color()
        body = diff.stat(width()) if stat else diff.text(color=color, width=width())
        page(_with(paragraph(version, _names(store).get(version.id, ()), color), body))


def _with(head: Iterator[str], body: str) -> Iterator[str]:
    yield from head
    yield ""
    yield from body.rstrip("\n").split("\n") if body else ["nothing changed"]


def _paragraphs(parts: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of all parts, with an empty line between two parts."""
    for number, part in enumerate(parts):
        if number:
            yield ""
        yield from part


@command("get")
@click.argument("pointer", default="")
@click.option(
    "--at", "revision", metavar="REV", default="HEAD", shell_complete=complete_revision, help="The version to read."
)
@click.option("-r", "--raw", is_flag=True, help="Print a string as its text, not as JSON.")
@as_json_option
@click.pass_obj
def get_command(session: Session, pointer: str, revision: str, raw: bool, as_json: bool) -> None:
    """Print the value at a JSON Pointer (RFC 6901).

    \b
    Example:
      kbstore get /problems/p42/title
      kbstore get /problems/p42 --at v3
    """
    with session.read() as store:
        version = store.version(revision)
        with hinting(store, pointer, version):
            value = store.get(pointer, version)
        if as_json:
            say_json({"pointer": pointer, "version": version.name, "value": value})
        elif raw and isinstance(value, str):
            write_bytes(value.encode() + b"\n")
        else:
            say(json_text(value, pretty=True))


def _names(store: Store) -> dict[str, list[str]]:
    """Return the tags of each version, by id."""
    names: dict[str, list[str]] = defaultdict(list)
    for tag, version in store.tags().items():
        names[version.id].append(f"tag: {tag}")
    note_odd(store)
    return names
