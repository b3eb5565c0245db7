"""Resolves revisions against a line: from a text to a version."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from kbstore.errors import CorruptStore, RevisionError
from kbstore.history.branch import MAIN_BRANCH, Entry, Line
from kbstore.history.refs import RefEvent, Refs
from kbstore.history.revision import Revision, parse_revision

_SHOWN_CANDIDATES = 10


class Resolver:
    """Finds the version for a revision.

    Args:
        line: The versions of the current branch.
        refs: Tags and branches.
        line_of: Returns the line of another branch.
        branch: The current branch.
    """

    def __init__(self, line: Line, refs: Refs, line_of: Callable[[str], Line], branch: str = MAIN_BRANCH) -> None:
        self._line = line
        self._refs = refs
        self._line_of = line_of
        self._branch = branch

    def resolve(self, text: str) -> tuple[Line, Entry | None]:
        """Return the version for a revision, and the line of the version; None for ``v0``, the empty beginning.

        Raises:
            RevisionError: There is no such version, or there are several (`RevisionError.candidates`).
        """
        revision = parse_revision(text)
        line, entry = self._anchor(revision)
        if not revision.back:
            return line, entry
        seq = (entry.event.seq if entry is not None else 0) - revision.back
        if seq < 0:
            raise RevisionError(f"{text!r} goes back before the first version")
        return line, line.entry(seq) if seq else None

    def _anchor(self, revision: Revision) -> tuple[Line, Entry | None]:
        if revision.seq is not None:
            return self._line, self._by_seq(revision)
        if revision.moment is not None:
            return self._line, self._by_time(revision, revision.moment)
        if revision.id_prefix is None and revision.name is None:
            return self._line, self._head(self._line)
        found: list[tuple[Line, Entry | None]] = []
        refs = self._refs.read()
        if revision.name is not None and revision.name in refs.tags:
            found.append(self.named_by(refs.tags[revision.name]))
        if revision.name is not None and (revision.name == MAIN_BRANCH or revision.name in refs.branches):
            line = self._line if revision.name == self._branch else self._line_of(revision.name)
            found.append((line, self._head(line)))
        if revision.id_prefix is not None:
            found.extend((self._line, e) for e in self._by_id(revision.id_prefix))
            if not found:
                found.extend(self._on_other_lines(revision.id_prefix))
        if not found:
            raise RevisionError(
                f"there is no version, tag or branch {revision.text!r}",
                hint="list them with: kbstore log, kbstore tag, kbstore branch",
            )
        if len({e.id if e else "" for _, e in found}) > 1:
            raise ambiguous(revision.text, [e for _, e in found if e is not None])
        return found[0]

    @staticmethod
    def _head(line: Line) -> Entry | None:
        _, seq = line.tail()
        return line.entry(seq) if seq else None

    def _by_seq(self, revision: Revision) -> Entry | None:
        seq = revision.seq or 0
        if seq == 0:
            if revision.stamp:
                raise RevisionError(
                    f"v0 is the empty beginning and has no date, so it is not {revision.text!r}", candidates=["v0"]
                )
            return None
        entry = next(self._line.entries(seq, seq), None)
        if entry is None:
            _, head = self._line.tail()
            if seq <= head:
                entry = self._line.entry(seq)
            else:
                raise RevisionError(
                    f"there is no version {revision.text!r}; the newest is v{head}", hint="list them with: kbstore log"
                )
        stamp = entry.event.time[:19].replace("-", "").replace("T", "_").replace(":", "")
        if revision.stamp and not stamp.startswith(revision.stamp):
            raise RevisionError(
                f"{revision.text!r} is not a version: v{seq} is v{seq}_{stamp}", candidates=[f"v{seq}_{stamp}"]
            )
        return entry

    def _by_time(self, revision: Revision, moment: datetime) -> Entry | None:
        _, head = self._line.tail()
        # Times never go back along a line, so the newest at or before a moment is found by halving.
        at = bisect_right(range(1, head + 1), moment, key=lambda seq: self._line.entry(seq).event.moment)
        if at == 0:
            first = f"; the first one is from {self._line.entry(1).event.time}" if head else ""
            raise RevisionError(f"there is no version at or before {revision.text!r}{first}")
        return self._line.entry(at)

    def _by_id(self, prefix: str) -> list[Entry]:
        return [e for e in self._line.entries() if e.id.startswith(prefix)]

    def _on_other_lines(self, prefix: str) -> Iterator[tuple[Line, Entry]]:
        """Yield versions of other branches, removed branches too, each version once."""
        for name in (MAIN_BRANCH, *self._refs.read().lines):
            line = self._line_of(name)
            if line.log != self._line.log:
                own = line.entries(line.segments[-1].offset + 1)
                yield from ((line, entry) for entry in own if entry.id.startswith(prefix))

    def named_by(self, tag: RefEvent) -> tuple[Line, Entry]:
        """Return the version that a tag names, and the line of the version."""
        line = self._line if tag.branch == self._branch else self._line_of(tag.branch)
        entry = line.entry(tag.version)
        if entry.id != tag.target:
            raise CorruptStore(
                f"the tag {tag.name!r} names event {tag.target}, but v{tag.version} is {entry.id}",
                hint="run: kbstore verify",
            )
        return line, entry


def ambiguous(text: str, entries: Sequence[Entry]) -> RevisionError:
    """Return the error for a revision with several possible versions."""
    names = [f"v{e.event.seq} {e.id[:12]} {e.event.message[:40]}" for e in entries]
    more = f" and {len(names) - _SHOWN_CANDIDATES} more" if len(names) > _SHOWN_CANDIDATES else ""
    return RevisionError(
        f"{text!r} could mean {'; '.join(names[:_SHOWN_CANDIDATES])}{more}",
        candidates=names,
        hint="write more digits, or v<number>",
    )
