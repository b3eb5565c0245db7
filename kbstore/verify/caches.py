"""Check of the indexes: their content is computed anew from the versions, and compared.

`log --path`, `get` of one value at an old version, filters of a long log and the order of members use indexes first. So
an index with a gap gives a wrong answer, even if every version is whole. Reading an index detects damage; only the new
computation detects an index that was made to deceive.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from kbstore.backends.base import Backend
from kbstore.errors import KBStoreError
from kbstore.history.index.authors import BLOCK_EVENTS as WHO_EVENTS
from kbstore.history.index.authors import NAME as WHO
from kbstore.history.index.orders import BLOCK_EVENTS as ORDER_EVENTS
from kbstore.history.index.orders import NAME as ORDER
from kbstore.history.index.paths import BLOCK_EVENTS as TOUCHED_EVENTS
from kbstore.history.index.paths import NAME as TOUCHED
from kbstore.history.index.paths import keys_of, unpacked_block
from kbstore.history.lineage import Place
from kbstore.verify.proof import Proved

_WRONG = {
    TOUCHED: "touched entries: `log --path` and `get` may leave versions out",
    ORDER: "members' order: documents may be shown in another order",
    WHO: "authors and labels: `log --author` and `log --tag` may leave versions out",
}


INDEXES = tuple(_WRONG)
"""Prefixes of the names of indexes among the notes."""


class _Order(NamedTuple):
    before: str | None
    events: list[tuple[int, str]]


class Derived:
    """The expected content of a store's indexes, computed version by version.

    Args:
        backend: The store.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ends: dict[str, int] = {}
        self._lost: dict[str, set[int]] = defaultdict(set)
        self._touched: dict[str, dict[str, list[int]]] = defaultdict(dict)
        self._who: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        self._blocks: dict[tuple[str, str, int], bytes] = {}
        self._orders: dict[tuple[str, int], _Order] = {}
        self._current: str | None = None
        self._order_at: dict[Place, str | None] = {}

    def branch(self, start: Place | None) -> None:
        """Begin the versions of another log, starting behind this version."""
        self._current = self._order_at.get(start) if start is not None else None

    def version(self, log: str, number: int, proved: Proved, *, branches_start: bool) -> None:
        """Add the next version of a log; indexes are not checked for the parts that need an unreadable version."""
        event, body = proved.event, proved.body
        self._ends[log] = number
        if event is None or body is None:
            self._lost[log].add(number)
        if (number - 1) % ORDER_EVENTS == 0:
            self._orders[log, (number - 1) // ORDER_EVENTS] = _Order(self._current, [])
        if event is not None:
            if event.order is not None:
                self._current = event.order
                self._orders[log, (number - 1) // ORDER_EVENTS].events.append((number, event.order))
            authors, tags = self._who[log]
            authors.add(event.author)
            tags.update(event.tags)
        if body is not None:
            block = self._touched[log]
            for key in keys_of(body):
                block.setdefault(key, []).append((number - 1) % TOUCHED_EVENTS)
        if number % TOUCHED_EVENTS == 0:
            self._close(TOUCHED, log, number // TOUCHED_EVENTS - 1, self._touched.pop(log, {}))
        if number % WHO_EVENTS == 0:
            authors, tags = self._who.pop(log, (set(), set()))
            said = {"authors": sorted(authors), "tags": sorted(tags)}
            self._close(WHO, log, number // WHO_EVENTS - 1, said)
        if branches_start:
            self._order_at[log, number] = self._current

    def _close(self, name: str, log: str, block: int, content: dict[str, Any]) -> None:
        self._blocks[name, log, block] = _digest(content)

    def wrong(self) -> Iterator[str]:
        """Yield a sentence for each index that differs from the versions."""
        readers: dict[str, Callable[[str, int, bytes], bool]] = {
            TOUCHED: self._touched_right, WHO: self._who_right, ORDER: self._order_right
        }  # fmt: skip
        for name in self._backend.note_names():
            kind, _, log = name.partition("/")
            if f"{kind}/" not in readers:
                continue
            wrong = []
            for number, data in self._backend.notes(name):
                try:
                    right = readers[f"{kind}/"](log, number, data)
                except (ValueError, KeyError, TypeError, AttributeError):
                    right = False
                if not right and not self._newer(log, number):
                    wrong.append(number)
            if wrong:
                yield (
                    f"{len(wrong)} of the blocks of {name} are not what the versions say, from block {wrong[0]} on; an "
                    f"index of {_WRONG[f'{kind}/']} (kbstore gc --indexes builds them anew)"
                )

    def _newer(self, log: str, number: int) -> bool:
        """Return whether a block may be about versions that others added since the check began."""
        try:
            return self._backend.tail(log).number > self._ends.get(log, 0) and number >= 0
        except KBStoreError:
            return False

    def _touched_right(self, log: str, number: int, data: bytes) -> bool:
        block = unpacked_block(data)
        if block is None or self._unknown(log, number, TOUCHED_EVENTS):
            return block is None or number * TOUCHED_EVENTS < self._ends.get(log, 0)
        return _digest(orjson.loads(block)) == self._blocks.get((TOUCHED, log, number))

    def _who_right(self, log: str, number: int, data: bytes) -> bool:
        if self._unknown(log, number, WHO_EVENTS):
            return True
        return _digest(orjson.loads(data)) == self._blocks.get((WHO, log, number))

    def _order_right(self, log: str, number: int, data: bytes) -> bool:
        if self._unknown(log, number, ORDER_EVENTS):
            return True
        fields = orjson.loads(data)
        there, upto = self._orders.get((log, number)), fields["upto"]
        if there is None or type(upto) is not int or not number * ORDER_EVENTS <= upto <= self._ends.get(log, 0):
            return False
        events = [[at, root] for at, root in there.events if at <= upto]
        return bool(fields == {"before": there.before, "events": events, "upto": upto})

    def _unknown(self, log: str, number: int, size: int) -> bool:
        """Return whether a version of a block is lost, and the right content of the block is therefore unknown."""
        return any(number * size < lost <= (number + 1) * size for lost in self._lost.get(log, ()))


def _digest(content: dict[str, Any]) -> bytes:
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
