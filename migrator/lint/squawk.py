"""Findings of squawk, a linter for PostgreSQL, in addition to migrator's own rules, if squawk is installed.

If both find the same fault, only migrator's rule reports the fault. A rule of squawk is left out if the rule demands a
precaution already taken by migrator.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from kbstore.migrator.errors import MigrationError
from kbstore.migrator.lint.registry import Finding

SQUAWK = "squawk/"
_TIMEOUT_S = 60
_OURS = {  # squawk's rule: ours
    "adding-field-with-default": "volatile-default",
    "adding-foreign-key-constraint": "constraint-checked-at-once",
    "adding-not-nullable-field": "set-not-null",
    "adding-required-field": "not-null-without-default",
    "adding-serial-primary-key-field": "constraint-builds-index",
    "ban-concurrent-index-creation-in-transaction": "needs-transaction-off",
    "ban-drop-column": "drop-column",
    "ban-drop-database": "drop-database",
    "ban-drop-table": "drop-table",
    "ban-truncate-cascade": "drop-cascade",
    "ban-uncommitted-transaction": "transaction-control",
    "changing-column-type": "change-column-type",
    "constraint-missing-not-valid": "constraint-checked-at-once",
    "disallowed-unique-constraint": "constraint-builds-index",
    "renaming-column": "rename-column",
    "renaming-table": "rename-table",
    "require-concurrent-index-creation": "index-not-concurrent",
    "require-concurrent-index-deletion": "drop-index-not-concurrent",
    "transaction-nesting": "transaction-control",
}
_DONE_BY_MIGRATOR = (
    "prefer-robust-stmts",
    "require-timeout-settings",
    "require-lock-timeout",
    "require-statement-timeout",
)


def squawk_command() -> str | None:
    """Return the path of squawk: beside the running Python, or on the PATH; `None` if squawk is not installed."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.is_file() else shutil.which("squawk")


def squawk(file: str, sql: str, *, transaction: bool = True, allow: Collection[str] = ()) -> list[Finding]:
    """Return squawk's findings for a PostgreSQL file, without findings of migrator's own rules; empty without squawk.

    Args:
        file: The file's name, for messages.
        sql: The text.
        transaction: False if the head has `transaction=off`.
        allow: The rules that the head allows, among them `squawk/NAME`.

    Raises:
        MigrationError: squawk is installed, but the answer cannot be used.
    """
    command = squawk_command()
    if command is None:
        return []
    call = [
        command,
        "--reporter",
        "Json",
        "--stdin-filepath",
        file,
        f"--exclude={','.join((*_OURS, *_DONE_BY_MIGRATOR))}",
    ]
    if transaction:
        call.append("--assume-in-transaction")
    try:
        done = subprocess.run(call, input=sql, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        findings = [_finding(file, each) for each in found]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as fault:
        raise MigrationError(
            f"squawk does not answer as it should: {type(fault).__name__}",
            hint=f"run {command} --version, or uninstall it",
        ) from fault
    return sorted({each for each in findings if each.rule not in allow})


def _finding(file: str, each: dict[str, Any]) -> Finding:
    return Finding(
        file=file,
        line=int(each["line"]) + 1,
        rule=SQUAWK + str(each["rule_name"]),
        level="warning",
        message=" ".join(str(each["message"]).split()),
        instead=" ".join(str(each["help"] or "See https://squawkhq.com/docs/rules.").split()),
    )
