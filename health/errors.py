"""Errors of health, one class for each different reaction of a caller.

A problem found by a check is never an exception, but a `kbstore.health.model.Result`.
"""


class HealthError(Exception):
    """Base of every error that health raises.

    Attributes:
        hint: A sentence on how to solve the problem, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(HealthError):
    """The configuration cannot be used: the file named in the message must be fixed."""


class RegistryError(HealthError):
    """A check is declared wrongly (a taken name, an unknown tag, a missing need): the code must be fixed."""


class UnknownCheck(HealthError):
    """A name or tag matches no check."""


class NotConfigured(HealthError):
    """The target of a check is not configured. Raised inside a check, the error means skipped."""


class StateError(HealthError):
    """The folder with history, notes and silences cannot be read or written."""


class RemedyError(HealthError):
    """A remedy may not run now: not declared, not allowed, run just now, or run too often."""
