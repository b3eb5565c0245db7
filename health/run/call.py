"""Calls a check, and turns every outcome except a hang into a result."""

import json
import time
from typing import Any

from kbstore.health.check_registry import resolve
from kbstore.health.context import Context
from kbstore.health.errors import NotConfigured
from kbstore.health.model import CRASH, EXIT, LOAD, NOT_CONFIGURED, Check, Result
from kbstore.kit.errors import KBStoreError
from kbstore.migrator.errors import MigrationError

MAX_MESSAGE_CHARS = 2_000
MAX_JSON_CHARS = 65_536


def call(check: Check, ctx: Context) -> tuple[Result, float]:
    """Run a check; return its result and the duration in seconds. Never raises."""
    began = time.monotonic()
    try:
        result = _sound(check(ctx))
    except NotConfigured as fault:
        result = Result.skipped(str(fault), hint=fault.hint, reason=NOT_CONFIGURED)
    except SystemExit as fault:
        result = Result.unhealthy(f"the check tried to end the program: {fault.code!r}", reason=EXIT)
    except (KBStoreError, MigrationError) as fault:
        # An error of the checked thing is a finding, and not a fault of the check.
        result = Result.unhealthy(str(fault)[:MAX_MESSAGE_CHARS], hint=fault.hint)
    except BaseException as fault:  # noqa: BLE001 - a check may raise anything; that is what is reported
        result = crashed(fault)
    return result, time.monotonic() - began


def call_at(check: Check | str, ctx: Context) -> tuple[Result, float]:
    """Run a check like `call`; the check may be given by its origin. Never raises."""
    if isinstance(check, str):
        try:
            check = resolve(check)
        except BaseException as fault:  # noqa: BLE001 - importing a module may raise anything
            text = f"the check cannot be imported: {type(fault).__name__}: {fault}"
            return Result.unhealthy(text[:MAX_MESSAGE_CHARS], reason=LOAD), 0.0
    return call(check, ctx)


def crashed(fault: BaseException) -> Result:
    """Return the result of a check that raised."""
    hint = getattr(fault, "hint", None)
    return Result.unhealthy(
        f"{type(fault).__name__}: {fault}"[:MAX_MESSAGE_CHARS],
        details={"where": _where(fault)},
        hint=hint if isinstance(hint, str) else None,
        reason=CRASH,
    )


def _sound(result: Any) -> Result:
    """Return the result in a form that surely passes through JSON and fits into a report."""
    if not isinstance(result, Result):
        raise TypeError(f"the check returned {type(result).__name__} instead of a Result")
    fields = result.as_dict()
    fields["message"] = str(fields["message"])[:MAX_MESSAGE_CHARS]
    text = json.dumps(fields, default=str)
    if len(text) > MAX_JSON_CHARS:
        fields["details"] = {"left_out": f"{len(text)} characters of details are too many to report"}
        fields.pop("remember", None)
        text = json.dumps({k: v for k, v in fields.items() if k != "metrics"}, default=str)
    found = Result.from_dict(json.loads(text))
    if lost := set(result.metrics) - set(found.metrics):
        raise ValueError(f"metrics are finite numbers, which {sorted(lost)[0]!r} is not")
    return found


def _where(fault: BaseException) -> str:
    trace = fault.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return place
