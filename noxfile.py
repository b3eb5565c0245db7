"""Run the tests on each Python that is installed: ``nox``, or ``nox -s tests-3.12``."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run what `make test` runs, in an environment of this Python."""
    session.install(".[dev]")
    session.run("pytest", "-q", "-n", "2", "--dist", "worksteal", *session.posargs)
