"""Errors become exit codes, and lines on stderr, in this one place.

====  =================================================================================================================
code  meaning
====  =================================================================================================================
0     done (also if the reader of the output closed the pipe early)
1     there are differences; only with ``--exit-code``
2     the command line was not understood
3     the store, a file or a revision could not be used; nothing was changed (a copy keeps its first part)
10    there is no store here
11    conflict: others changed the same places
12    unknown whether a write landed; running the same command again does not land the write twice
13    a write landed, but a later step failed, such as writing the file; the same command again does the rest
130   interrupted
====  =================================================================================================================
"""

import sys
from collections.abc import Iterator
from typing import Any

import click

from kbstore.cli.output import say_json, width
from kbstore.cli.pending import Forgotten
from kbstore.cli.session import Session
from kbstore.errors import ConflictError, KBStoreError, OutcomeUnknown, ReadOnlyStore, StoreNotFound
from kbstore.kit.escape import visible
from kbstore.kit.os_errors import advice
from kbstore.worktree.json_file import RUN_AGAIN
from kbstore.worktree.status import FileNotWritten

DONE = 0
DIFFERENCES = 1
USAGE = 2
FAILED = 3
NO_STORE = 10
CONFLICT = 11
UNKNOWN = 12
LANDED = 13
INTERRUPTED = 130

# The next step on the command line, for errors whose own hint names a call in Python.
_UNKNOWN_HINT = "kbstore log shows whether it landed; run the same command again to settle it"
_READ_ONLY_HINT = "check the permissions of the file and of its folder; reading works meanwhile"
_OPENING = "open it"
_SAME_CHANGE = "both made the same change, which may be a count: if it is, make the change again; if not, keep theirs"
_SHOWN_CONFLICTS = 20
_SHOWN_LINES = 40
_SHOWN_COLUMNS = 2_000


def code_of(fault: BaseException, *, landed: bool = False) -> int:
    """Return the exit code for an error; `landed` if the command had already done something permanent."""
    if isinstance(fault, click.UsageError):
        return USAGE
    if isinstance(fault, StoreNotFound):
        return NO_STORE
    if isinstance(fault, ConflictError):
        return CONFLICT
    if isinstance(fault, OutcomeUnknown):
        return UNKNOWN
    if isinstance(fault, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    return LANDED if landed or isinstance(fault, FileNotWritten) else FAILED


def report(fault: BaseException, session: Session) -> int:
    """Print on stderr what happened and the next step; return the exit code.

    With --json the places of a conflict are printed on stdout, a JSON object for each place.
    """
    code = code_of(fault, landed=bool(session.landed))
    for line in _lines(fault, session, code):
        sys.stderr.write(line + "\n")
    if session.as_json and isinstance(fault, ConflictError):
        from kbstore.jsondoc.conflicts import conflict_json

        for conflict in fault.conflicts:
            say_json(conflict_json(conflict))
        if not fault.conflicts:
            say_json({"pointer": None, "kind": "history", "message": str(fault)})
    return code


def _lines(fault: BaseException, session: Session, code: int) -> Iterator[str]:
    if isinstance(fault, (KeyboardInterrupt, click.Abort)):
        yield f"error: interrupted{f', but {_safe(session.landed)}' if session.landed else ''}"
        return
    if isinstance(fault, click.exceptions.NoArgsIsHelpError):
        yield fault.format_message()
        return
    if isinstance(fault, click.ClickException):
        yield f"error: {visible(' '.join(fault.format_message().split()))}"
        context = fault.ctx if isinstance(fault, click.UsageError) else None
        yield f"hint: {context.command_path if context else 'kbstore'} --help"
        return
    already = f"{session.landed}, but " if code == LANDED and not isinstance(fault, FileNotWritten) else ""
    if isinstance(fault, KBStoreError):
        yield f"error: {_safe(already + str(fault))}"
        if isinstance(fault, ConflictError):
            yield from _conflicts(fault)
    elif isinstance(fault, OSError):
        name = f"{fault.filename}: " if fault.filename else ""
        yield _safe(f"error: {already}{name}{fault.strerror or fault}")
    else:
        yield _safe(f"error: {already}{type(fault).__name__}: {fault}")
    if hint := _hint(fault, session, code):
        yield f"hint: {_safe(hint)}"


def _hint(fault: BaseException, session: Session, code: int) -> str | None:
    if isinstance(fault, OutcomeUnknown) and not isinstance(fault, Forgotten):
        return _UNKNOWN_HINT
    if not isinstance(fault, (KBStoreError, OSError)):
        return "this is a bug in kbstore; set KBSTORE_TRACEBACK=1 to see where"
    if isinstance(fault, ReadOnlyStore) and (fault.hint or "").startswith(_OPENING):
        return _READ_ONLY_HINT
    own = fault.hint if isinstance(fault, KBStoreError) else None
    cause = fault if isinstance(fault, OSError) else fault.__cause__
    if own is None and isinstance(cause, OSError):
        own = advice(cause)
    if code == LANDED and session.way_on and own == RUN_AGAIN:
        return session.way_on
    if code == LANDED and session.way_on:
        return f"{own}, then {session.way_on}" if own else session.way_on
    return own


def _conflicts(fault: ConflictError) -> Iterator[str]:
    from kbstore.diff.render.excerpt import cut_pair
    from kbstore.jsondoc.canonical import same

    for conflict in fault.conflicts[:_SHOWN_CONFLICTS]:
        pointer, ours, theirs = conflict.pointer, conflict.ours, conflict.theirs
        yield f"  {_safe(pointer) or '(the whole document)'}"
        for name, text in zip(("ours:  ", "theirs:"), cut_pair(_text(ours), _text(theirs), width() - 12), strict=True):
            yield f"    {name} {text}"
        if conflict.kind in ("both-modified", "both-added") and same(ours, theirs):
            yield f"    {_SAME_CHANGE}"
    if len(fault.pointers) > _SHOWN_CONFLICTS:
        yield f"  and {len(fault.pointers) - _SHOWN_CONFLICTS} more places"


def _text(value: Any) -> str:
    from kbstore.jsondoc.canonical import MISSING, encode

    return "(removed)" if value is MISSING else visible(encode(value).decode())


def _safe(text: str) -> str:
    """Return a message made harmless; very long lines, and more lines than a person reads, are cut."""
    lines = text.split("\n", _SHOWN_LINES)
    shown = [visible(line) for line in lines[:_SHOWN_LINES]]
    if len(text) > _SHOWN_COLUMNS:
        from kbstore.diff.render.excerpt import cut

        shown = [cut(line, _SHOWN_COLUMNS) for line in shown]
    return "\n".join([*shown, *(["\u2026"] if len(lines) > _SHOWN_LINES else [])])
