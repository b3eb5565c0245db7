"""A wrapping backend that fails on purpose, each time in a way that the contract allows: for tests of callers.

Dice from the test decide each fault, so a failing run can be repeated from the seed. Faults of an append:

- *rival*: another writer takes the slot first, with records made by the test, so `SlotTaken` is true.
- *lost*: the write lands and the answer does not: `OutcomeUnknown`.
- *vanished*: neither arrives: `OutcomeUnknown` again, and the caller cannot distinguish the two.
- *unavailable*: nothing is written: `StoreUnavailable`.

Other calls can only be *unavailable*. Every call may wait first.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from kbstore.backends.base import Backend, Record
from kbstore.kit.errors import OutcomeUnknown, SlotTaken, StoreUnavailable

_SAFE = frozenset(("close", "expect", "server_time", "size_bytes"))
"""Methods that never fail."""
Rival = Callable[[str, int], Sequence[Record]]
"""Makes the records of a rival, given the log and the slot."""


class Dice(Protocol):
    """A source of chance, such as ``random.Random(seed)``."""

    def random(self) -> float:
        """Return a number of [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """The probability of each fault, from 0 to 1; the faults of an append are drawn one after another.

    Attributes:
        delay_s: The longest wait before a call, in seconds, if a `sleep` is given.
    """

    rival: float = 0.0
    lost: float = 0.0
    vanished: float = 0.0
    unavailable: float = 0.0
    delay_s: float = 0.0


class FaultyBackend:
    """A backend that passes on most calls and fails some; `kbstore.backends.base.Backend` describes every method.

    Attributes:
        rates: Can be changed at any time; `Rates()` ends all faults.
        injected: The number of injections of each fault.
    """

    def __init__(
        self,
        inner: Backend,
        dice: Dice,
        rates: Rates,
        *,
        rival: Rival | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.inner = inner
        self.rates = rates
        self.injected: Counter[str] = Counter()
        self._dice = dice
        self._rival = rival
        self._sleep = sleep

    def __getattr__(self, name: str) -> Any:
        """Return what the inner backend has under this name; a method may fail when it is called."""
        value = getattr(self.inner, name)
        return value if name in _SAFE or not callable(value) else partial(self._called, value)

    def append(self, log: str, slot: int, records: Sequence[Record], *, write_id: str, **more: Any) -> None:
        """Create a slot, or fail as the module's docstring describes."""
        self._maybe_unavailable()
        if self._rival is not None and self._happens("rival", self.rates.rival):
            with suppress(SlotTaken):  # a real writer was faster, which is a lost race as well
                self.inner.append(log, slot, self._rival(log, slot), write_id=f"rival-{self.injected.total()}")
        if self._happens("vanished", self.rates.vanished):
            raise OutcomeUnknown("injected: the request was lost", write_id=write_id)
        self.inner.append(log, slot, records, write_id=write_id, **more)
        if self._happens("lost", self.rates.lost):
            raise OutcomeUnknown("injected: the answer was lost", write_id=write_id)

    def recalled(self) -> Backend:
        """Return this backend if the inner one returns itself; never fails."""
        found = self.inner.recalled()
        return self if found is self.inner else found

    def _called(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._maybe_unavailable()
        return method(*arguments, **options)

    def _happens(self, fault: str, rate: float) -> bool:
        if rate <= 0.0 or self._dice.random() >= rate:
            return False
        self.injected[fault] += 1
        return True

    def _maybe_unavailable(self) -> None:
        if self._sleep is not None and self.rates.delay_s > 0.0:
            self._sleep(self._dice.random() * self.rates.delay_s)
        if self._happens("unavailable", self.rates.unavailable):
            raise StoreUnavailable("injected: the store does not answer", hint="try again")
