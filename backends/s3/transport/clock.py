"""The only place of the backends that asks for time, sleep or randomness, so that tests can give their own."""

import secrets
import time
from typing import Protocol


class Chance(Protocol):
    """Where waits and random names come from."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def token(self) -> str:
        """A new random name: 16 characters of ``[0-9a-f]``."""
        ...

    def fraction(self) -> float:
        """A number of [0, 1), for jitter."""
        ...


class SystemChance:
    """The machine's clock and random source."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def token(self) -> str:
        """A new random name: 16 characters of ``[0-9a-f]``."""
        return secrets.token_hex(8)

    def fraction(self) -> float:
        """A number of [0, 1), for jitter."""
        return secrets.randbelow(1 << 30) / (1 << 30)
