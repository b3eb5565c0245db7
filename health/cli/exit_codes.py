"""The one place that turns statuses and errors into exit codes, and errors into lines on stderr.

====  ==========================================================================================
code  meaning
====  ==========================================================================================
0     healthy, or done
1     degraded (unless ``--fail-on unhealthy``)
2     unhealthy
3     unknown: the command line, the configuration or a name is wrong, or health itself failed
130   interrupted
====  ==========================================================================================

The codes are those of Nagios plug-ins; hence a wrong command line is 3, not 2 as in other programs.
"""

import sys
from collections.abc import Iterator

import click

from kbstore.health.errors import HealthError
from kbstore.health.model import Status
from kbstore.kit.escape import visible

HEALTHY = 0
DEGRADED = 1
UNHEALTHY = 2
UNKNOWN = 3
INTERRUPTED = 130

_OF_STATUS = {Status.HEALTHY: HEALTHY, Status.DEGRADED: DEGRADED, Status.UNHEALTHY: UNHEALTHY, Status.SKIPPED: HEALTHY}


def code_of(status: Status, fail_on: Status = Status.DEGRADED) -> int:
    """Return the exit code of an overall status; 0 for a status better than `fail_on`."""
    return _OF_STATUS[status] if status.rank >= fail_on.rank else HEALTHY


def report(fault: BaseException) -> int:
    """Print an error and its hint on stderr; return the exit code."""
    from kbstore.health.run.scrub import Scrubber

    scrubber = Scrubber()
    for line in _lines(fault):
        sys.stderr.write("\n".join(visible(part) for part in scrubber.text(line).split("\n")) + "\n")
    return INTERRUPTED if isinstance(fault, (KeyboardInterrupt, click.Abort)) else UNKNOWN


def _lines(fault: BaseException) -> Iterator[str]:
    if isinstance(fault, (KeyboardInterrupt, click.Abort)):
        yield "error: interrupted"
    elif isinstance(fault, click.exceptions.NoArgsIsHelpError):
        yield fault.format_message()
    elif isinstance(fault, click.ClickException):
        yield f"error: {fault.format_message()}"
        context = fault.ctx if isinstance(fault, click.UsageError) else None
        yield f"hint: {context.command_path if context else 'health'} --help"
    elif isinstance(fault, OSError):
        name = f"{fault.filename}: " if fault.filename else ""
        yield f"error: {name}{fault.strerror or fault}"
    elif isinstance(fault, HealthError) or hasattr(fault, "hint"):
        yield f"error: {fault}"
        if hint := getattr(fault, "hint", None):
            yield f"hint: {hint}"
    else:
        yield f"error: {type(fault).__name__}: {fault}"
        yield "hint: this is a fault in health; KBSTORE_TRACEBACK=1 shows where"
