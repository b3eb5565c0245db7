"""Errors of health itself, one class for each different reaction of a caller.

What a check finds wrong is never an exception: it is a `kbstore.health.model.Result`.
"""


class HealthError(Exception):
    """Root of every error that health raises.

    Attributes:
        hint: What the reader can do about it, one sentence, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(HealthError):
    """The configuration cannot be used: mend the file that the message names."""


class RegistryError(HealthError):
    """A check is declared wrongly: its name is taken, a tag is unknown, what it needs is not there. Mend the code."""


class UnknownCheck(HealthError):
    """No check has this name or tag."""


class NotConfigured(HealthError):
    """A check looks at something that nobody asked to be looked at. Raised inside a check, it means skipped."""


class StateError(HealthError):
    """The folder with history, notes and silences cannot be read or written."""


class RemedyError(HealthError):
    """A remedy may not run now: none is declared, it is not allowed, it ran just now or too often."""
