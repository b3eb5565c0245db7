"""The plan of a run: the migrations to run, and every reason not to run, checked before anything runs.

Order of the checks: half-done migrations, changed or missing files, order, requirements, splitting, lint. Changed
files, order and lint report all findings together; the other checks report the first finding.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kbstore.migrator.errors import (
    ChangedError,
    LintError,
    MigrationError,
    MigrationFileError,
    NeedsRepair,
    OrderError,
)
from kbstore.migrator.files import Migration, Script, find, read_script
from kbstore.migrator.history import DONE, HALF_DONE, Record

if TYPE_CHECKING:
    from kbstore.migrator.lint import Subject
    from kbstore.migrator.sql.statements import Statement

OUT_OF_ORDER = ("error", "warn", "allow")
_ANOTHER_TOOLS = ("-- migrate:up", "-- +goose Up", "-- +migrate Up")


class Prepared(NamedTuple):
    """A migration, or a rollback, split into the statements to send.

    Attributes:
        script: The file to run.
        verify: The verify file, or `None`.
    """

    migration: Migration
    script: Script
    statements: "Sequence[Statement]"
    verify: Script | None = None
    verify_statements: "Sequence[Statement]" = ()

    @property
    def transaction(self) -> bool:
        """Whether the file may run in a transaction."""
        return self.script.directives.transaction


class Plan(NamedTuple):
    """The migrations to run, in order, and warnings for a person."""

    items: Sequence[Prepared]
    warnings: Sequence[str] = ()


def is_pending(migration: Migration, record: Record | None) -> bool:
    """Return whether a migration is still to be run: never run, rolled back, or repeatable and changed."""
    if record is None or record.state == "rolled_back":
        return True
    return migration.repeatable and record.state in DONE and record.checksum != migration.script.checksum


def check_history(migrations: Sequence[Migration], records: Mapping[str, Record]) -> None:
    """Check that the applied migrations and the files agree.

    Raises:
        NeedsRepair: A migration is half done.
        ChangedError: A file changed since it was applied, or is gone.
    """
    half = [record for record in records.values() if record.state in HALF_DONE]
    if half:
        raise NeedsRepair(
            half_done(half[0]), hint=f"migrator repair {half[0].name} --retry | --mark-applied | --mark-pending"
        )
    problems = [message for _, message in changes(migrations, records)]
    if problems:
        raise ChangedError(
            "what was applied is not what lies in the files:\n" + "\n".join(f"  {text}" for text in problems),
            problems=problems,
            hint="bring the file back; or, if all is right as it is, migrator repair NAME --mark-applied "
            "(--mark-pending for a file that is gone)",
        )


def half_done(record: Record) -> str:
    """Describe a half-done migration in one sentence."""
    done = f"{record.statements_done} statements are done"
    if record.state == "running":
        return f"{record.name} was begun and not ended: {done}, and the next one may have taken effect"
    if record.state == "failed":
        return f"{record.name} failed: {done}, and the next one was refused: {record.error}"
    if record.state == "reverting":
        return f"the rollback of {record.name} was begun and not ended: {done}, and the next one may have taken effect"
    return f"the rollback of {record.name} failed: {done}, and the next one was refused: {record.error}"


def changes(migrations: Sequence[Migration], records: Mapping[str, Record]) -> list[tuple[str, str]]:
    """Return each applied migration whose file changed or is gone: its name, and a sentence about the change."""
    known = {migration.name: migration for migration in migrations}
    problems = []
    for record in sorted(records.values(), key=lambda each: (each.version is None, each.version or 0, each.name)):
        if record.state not in DONE:
            continue
        migration = known.get(record.name)
        if migration is None:
            problems.append((record.name, f"{record.name} was applied at {record.applied_at}, and its file is gone"))
        elif not migration.repeatable and migration.script.checksum != record.checksum:
            problems.append((record.name, f"{record.name} was changed after it was applied at {record.applied_at}"))
    return problems


def make_plan(
    migrations: Sequence[Migration],
    records: Mapping[str, Record],
    dialect: str,
    *,
    to: int | None = None,
    out_of_order: str = "error",
    lint: bool = True,
    prepared: dict[str, Prepared] | None = None,
) -> Plan:
    """Return the plan of an `up`.

    Args:
        migrations: The result of `scan`.
        records: The rows of the history by name.
        dialect: The engine's dialect.
        to: The last version to run; `None` for all, including repeatable migrations.
        out_of_order: The reaction to a file with a version below an applied version: "error", "warn" or "allow".
        lint: Whether to run the lint rules, and to refuse files with errors.
        prepared: A cache of prepared migrations by name, read and filled here.

    Raises:
        NeedsRepair: As `check_history`.
        ChangedError: As `check_history`.
        OrderError: A version is below an applied version, or a required migration is neither applied nor run earlier.
        MigrationFileError: A text cannot be split.
        LintError: A lint rule reports an error.
    """
    check_history(migrations, records)
    pending = [each for each in migrations if is_pending(each, records.get(each.name))]
    if to is not None:
        if all(each.version != to for each in migrations):
            raise MigrationError(f"there is no migration with the version {to}", hint="migrator status lists them")
        pending = [each for each in pending if each.version is not None and each.version <= to]
    warnings = _check_order(pending, records, out_of_order)
    _check_requirements(pending, migrations, records)
    prepared = {} if prepared is None else prepared
    items = []
    for each in pending:
        if each.name not in prepared:
            prepared[each.name] = prepare(each, dialect)
        items.append(prepared[each.name])
    if lint:
        warnings += check_lint(items, dialect)
    return Plan(items, warnings)


def prepare(migration: Migration, dialect: str) -> Prepared:
    """Prepare a migration for a run.

    Raises:
        MigrationFileError: The text cannot be split, has no statement, or holds both directions as other tools write
            them.
    """
    from kbstore.migrator.sql.statements import split

    script = migration.script
    if any(mark in script.text for mark in _ANOTHER_TOOLS):
        raise MigrationFileError(
            "holds both directions, as other tools have it",
            file=script.file,
            hint=f"move what undoes it to {migration.name.removesuffix('.sql')}_rollback.sql, and take the marks out",
        )
    statements = split(script.text, dialect, name=script.file)
    if not statements:
        raise MigrationFileError(
            "holds no statement, and would be recorded as applied", file=script.file, hint="write its SQL, or remove it"
        )
    if migration.verify is None:
        return Prepared(migration, script, statements)
    verify = read_script(migration.verify)
    return Prepared(migration, script, statements, verify, split(verify.text, dialect, name=verify.file))


def prepare_rollback(migration: Migration, path: str, dialect: str) -> Prepared:
    """Prepare the rollback of a migration for a run.

    Raises:
        MigrationFileError: The text cannot be split.
    """
    from kbstore.migrator.sql.statements import split

    script = read_script(path)
    return Prepared(migration, script, split(script.text, dialect, name=script.file))


def check_lint(items: Sequence[Prepared], dialect: str) -> list[str]:
    """Return the warnings of the lint rules for these migrations.

    Raises:
        LintError: A finding is an error.
    """
    from kbstore.migrator.lint import lint

    findings = [finding for item in items for finding in lint(lint_subject(item.migration, dialect, item.statements))]
    errors = [str(finding) for finding in findings if finding.level == "error"]
    if errors:
        raise LintError(
            "lint finds fault:\n" + "\n".join(errors),
            problems=errors,
            hint="mend it; or allow it by -- migrator: allow=RULE in the file's head; or say --no-lint",
        )
    return [str(finding) for finding in findings]


def lint_subject(migration: Migration, dialect: str, statements: "Sequence[Statement] | None" = None) -> "Subject":
    """Return the input of the lint rules for a migration; `statements` if the text is split already."""
    from kbstore.migrator.lint import Subject

    directives = migration.script.directives
    return Subject(
        file=migration.script.file,
        sql=migration.script.text,
        dialect=dialect,
        transaction=directives.transaction,
        reversible=directives.irreversible or migration.rollback is not None,
        allow=directives.allow,
        statements=statements,
    )


def _check_order(pending: Sequence[Migration], records: Mapping[str, Record], out_of_order: str) -> list[str]:
    newest = max(
        (record for record in records.values() if record.state in DONE and record.version is not None),
        key=lambda record: record.version or 0,
        default=None,
    )
    if newest is None or newest.version is None or out_of_order == "allow":
        return []
    late = [each.name for each in pending if each.version is not None and each.version < newest.version]
    if not late:
        return []
    message = f"{', '.join(late)} comes before {newest.name}, which is applied"
    if out_of_order == "warn":
        return [message]
    raise OrderError(
        message, hint="give the file a newer version; or run it where it stands with --out-of-order allow (or warn)"
    )


def _check_requirements(
    pending: Sequence[Migration], migrations: Sequence[Migration], records: Mapping[str, Record]
) -> None:
    ready = {name for name, record in records.items() if record.state in DONE}
    for migration in pending:
        for text in migration.script.directives.requires:
            try:
                needed = find(migrations, text)
            except MigrationError as fault:
                raise OrderError(f"{migration.name} requires {text!r}: {fault}") from fault
            if needed.name not in ready:
                raise OrderError(
                    f"{migration.name} requires {needed.name}, which is neither applied nor run before it",
                    hint="migrator status shows the order",
                )
        ready.add(migration.name)
