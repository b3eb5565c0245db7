"""The only module of the backends that asks for time, sleep or randomness, so that tests can replace all three."""

import secrets
import time
from typing import Protocol


class Chance(Protocol):
    """Source of waits and random names."""

    def monotonic(self) -> float:
        """Return the seconds since some moment; the value never decreases."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        ...

    def token(self) -> str:
        """Return a new random name: 16 characters of ``[0-9a-f]``."""
        ...

    def fraction(self) -> float:
        """Return a random number of [0, 1), for jitter."""
        ...


class SystemChance:
    """The machine's clock and random source."""

    def monotonic(self) -> float:
        """Return the seconds since some moment; the value never decreases."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        time.sleep(seconds)

    def token(self) -> str:
        """Return a new random name: 16 characters of ``[0-9a-f]``."""
        return secrets.token_hex(8)

    def fraction(self) -> float:
        """Return a random number of [0, 1), for jitter."""
        return secrets.randbelow(1 << 30) / (1 << 30)
