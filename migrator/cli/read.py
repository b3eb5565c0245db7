"""Commands that only read: status, verify, doctor, lint, dump, history."""

from dataclasses import asdict

import click

from kbstore.migrator.api import Entry
from kbstore.migrator.cli.exit_codes import CHANGED, DONE, LINT, PENDING, REPAIR
from kbstore.migrator.cli.options import Session, as_json_option, command, note, run_options, say, say_json
from kbstore.migrator.history import HALF_DONE


@command("status")
@click.option(
    "--check", is_flag=True, help="Exit with 3 if a migration is pending, 4 if changed or gone, 6 if half done."
)
@as_json_option
@click.pass_context
def status_command(ctx: click.Context, check: bool, as_json: bool) -> None:
    """List each migration with its state.

    \b
    Example:
      migrator status
      migrator status --check --json
    """
    migrator = ctx.ensure_object(Session).migrator()
    entries = migrator.status()
    pending = [entry.name for entry in entries if entry.state == "pending"]
    if as_json:
        say_json({"database": migrator.url, "pending": pending, "migrations": [entry.as_dict() for entry in entries]})
    else:
        width = max((len(entry.name) for entry in entries), default=0)
        for entry in entries:
            say(f"{entry.state:<13} {entry.name:<{width}}  {_told(entry)}".rstrip())
        say(f"{len(entries)} migrations, {len(pending)} pending, in {migrator.url}")
    if check:
        ctx.exit(_code({entry.state for entry in entries}))


def _told(entry: Entry) -> str:
    if entry.state in HALF_DONE:
        return f"{entry.statements_done} statements done; {entry.error or 'it was not ended'}"
    if entry.state == "pending" or entry.applied_at is None:
        return ""
    return f"{entry.applied_at[:19]}Z  {entry.duration_ms} ms  {entry.applied_by}"


def _code(states: set[str]) -> int:
    if states & HALF_DONE:
        return REPAIR
    if states & {"changed", "missing"}:
        return CHANGED
    return PENDING if "pending" in states else DONE


@command("verify")
@run_options
@as_json_option
@click.pass_context
def verify_command(ctx: click.Context, as_json: bool) -> None:
    """Run the _verify scripts of applied migrations, without effect.

    Files that changed after they were applied are reported too. Exits with 4 if there is a problem.

    \b
    Example:
      migrator verify
    """
    answers = ctx.ensure_object(Session).migrator().verify()
    for name, problem in answers:
        if as_json:
            say_json({"migration": name, "ok": problem is None, "message": problem.message if problem else "ok"})
        elif problem is None:
            say(f"{name}: ok")
        else:
            say(f"{name}: {problem.message}")
            note(f"hint: {problem.hint}")
    if any(problem is not None for _, problem in answers):
        ctx.exit(CHANGED)


@command("doctor")
@as_json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Find differences between the database and its migrations.

    Every object that was added, changed or removed outside of migrations is listed. Exits with 4 if there is a problem,
    6 if a migration is half done.

    \b
    Example:
      migrator doctor
      migrator doctor --json
    """
    migrator = ctx.ensure_object(Session).migrator()
    problems = migrator.doctor()
    if as_json:
        told = [problem.as_dict() for problem in problems]
        say_json({"database": migrator.url, "ok": not problems, "problems": told})
    elif not problems:
        say(f"{migrator.url} is as its migrations left it")
    else:
        for problem in problems:
            say(f"{problem.kind}: {problem.message}")
            say(f"    {problem.hint}")
    if problems:
        ctx.exit(REPAIR if any(problem.kind == "half-done" for problem in problems) else CHANGED)


@command("lint")
@click.option("--strict", is_flag=True, help="Exit with 7 also for warnings.")
@as_json_option
@click.pass_context
def lint_command(ctx: click.Context, strict: bool, as_json: bool) -> None:
    """Report risks in the migrations of the folder; run nothing.

    Exits with 7 if there is an error.

    \b
    Example:
      migrator lint
      migrator lint --strict --json
    """
    migrator = ctx.ensure_object(Session).migrator()
    findings = migrator.lint()
    errors = [finding for finding in findings if finding.level == "error"]
    if as_json:
        say_json({"directory": migrator.directory, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say(str(finding))
        say(f"{len(errors)} errors, {len(findings) - len(errors)} warnings in {migrator.directory}")
    if errors or (strict and findings):
        ctx.exit(LINT)


@command("dump")
@click.pass_obj
def dump_command(session: Session) -> None:
    """Print the schema of the database: a line for each object.

    Two dumps can be compared with diff.

    \b
    Example:
      migrator dump > schema.txt
    """
    say(session.migrator().dump().rstrip("\n"))


@command("history")
@as_json_option
@click.pass_obj
def history_command(session: Session, as_json: bool) -> None:
    """Print every run, failure and decision, oldest first.

    \b
    Example:
      migrator history
      migrator history --json | jq .event
    """
    for line in session.migrator().history():
        if as_json:
            say_json(line)
            continue
        took = f"  {line['duration_ms']} ms" if line["duration_ms"] is not None else ""
        detail = f"  {' '.join(line['detail'].split())}" if line["detail"] else ""
        say(f"{line['at'][:19]}Z  {line['event']:<14} {line['name']}{took}  {line['done_by']}{detail}")
