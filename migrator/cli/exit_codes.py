"""The only place that turns errors into exit codes, and into lines on stderr.

====  ============================================================================================
code  meaning
====  ============================================================================================
0     done (also if the reader of the output closed the pipe early)
1     an error: the message says what is in the database now
2     the command line was not understood
3     migrations are pending; only with ``status --check``
4     an applied file changed or is gone, or the database differs from the result of the migrations
5     a lock was not free in time: another runner, or another session of the database, holds it
6     a migration is half done; ``repair`` settles it
7     lint found errors (with ``lint --strict``, also warnings)
130   interrupted
====  ============================================================================================
"""

import sys
from collections.abc import Iterator

import click

from kbstore.kit.errors import BackendError
from kbstore.migrator.errors import ChangedError, LintError, LockTimeout, MigrationError, NeedsRepair

DONE = 0
FAILED = 1
USAGE = 2
PENDING = 3
CHANGED = 4
LOCKED = 5
REPAIR = 6
LINT = 7
INTERRUPTED = 130

_CODES = ((ChangedError, CHANGED), (LockTimeout, LOCKED), (NeedsRepair, REPAIR), (LintError, LINT))


def code_of(fault: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(fault, click.UsageError):
        return USAGE
    if isinstance(fault, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    return next((code for kind, code in _CODES if isinstance(fault, kind)), FAILED)


def report(fault: BaseException) -> int:
    """Print an error and its hint on stderr; return the exit code."""
    for line in _lines(fault):
        sys.stderr.write(line + "\n")
    return code_of(fault)


def visible(text: str) -> str:
    """Escape each unprintable character, since such characters could control a terminal; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _lines(fault: BaseException) -> Iterator[str]:
    if isinstance(fault, (KeyboardInterrupt, click.Abort)):
        yield "error: interrupted"
    elif isinstance(fault, click.ClickException):
        yield f"error: {visible(fault.format_message())}"
        context = fault.ctx if isinstance(fault, click.UsageError) else None
        yield f"hint: {context.command_path if context else 'migrator'} --help"
    elif isinstance(fault, (MigrationError, BackendError)):
        yield f"error: {visible(str(fault))}"
        if fault.hint:
            yield f"hint: {visible(fault.hint)}"
    elif isinstance(fault, OSError):
        name = f"{fault.filename}: " if fault.filename else ""
        yield visible(f"error: {name}{fault.strerror or fault}")
    else:
        yield visible(f"error: {type(fault).__name__}: {fault}")
        yield "hint: this is a fault in migrator; MIGRATOR_TRACEBACK=1 shows where"
