"""The edits that a JSON Patch is made of, on one value and in place, and the budget that bounds what they cost.

The values are owned by the caller. Pointers are tuples of tokens, relative to the value that is given.
"""

from collections.abc import Sequence

import orjson

from kbstore.errors import PatchError, PointerError
from kbstore.jsondoc.canonical import JSON
from kbstore.jsondoc.pointer import APPEND, array_index, format_pointer, shorten

MAX_OPERATIONS = 100_000
"""Operations that a patch from outside may have; what is changed in more places is better given as a document."""

MAX_TOKENS = 2_000_000
"""Tokens that the pointers of a patch from outside may have together."""

MAX_COPIED_BYTES = 64 * 2**20
"""Memory that the copies of one patch may take together, the first one apart."""

WORK_LIMIT = 5 * 10**8
"""Array elements that the insertions and removals of one patch may shift; about a second."""

PRINTING_WORK = 8
"""What a printed byte costs, in shifted elements."""

_DICT_BYTES = 200
_LIST_BYTES = 64
ELEMENT_BYTES = 32
_LONG_ARRAY = 4096


class Budget:
    """What is left for a patch to spend on copies and on shifted elements.

    The first copy is free: a document may always be doubled once. An attempt to spend more raises `PatchError`.
    """

    __slots__ = ("_first", "_limits", "bytes_left", "work_left")

    def __init__(self, limit_bytes: int = MAX_COPIED_BYTES, work: int = WORK_LIMIT) -> None:
        self._limits = limit_bytes, work
        self.renew()

    def renew(self) -> None:
        """Begin with another patch."""
        self.bytes_left, self.work_left = self._limits
        self._first = True

    def copied(self, size_bytes: int) -> None:
        """Pay for a copy that takes so much memory (`memory_of` estimates it)."""
        self.worked(size_bytes)
        if self._first:
            self._first = False
            return
        self.bytes_left -= size_bytes
        if self.bytes_left < 0:
            raise PatchError(
                "the copies of this patch would make the document too large",
                hint=f"at most {MAX_COPIED_BYTES // 2**20} MiB may be copied by one patch; give the values themselves",
            )

    def rebuilt(self, amount: int) -> None:
        """Pay for an array that is cut into nodes again."""
        self.worked(amount)

    def worked(self, amount: int) -> None:
        """Pay for elements shifted, or `PRINTING_WORK` for each byte printed."""
        self.work_left -= amount
        if self.work_left < 0:
            raise PatchError(
                f"this patch moves or copies more than {self._limits[1]:,} array elements, or as much in long values",
                hint="commit the changed document instead of a patch, or split the patch into several",
            )


class Allowance(Budget):
    """What a patch that is replayed may spend, over and over with `renew`.

    It was accepted by a `Budget` when it was committed, or the store is forged. What is paid depends a little on the
    form in which a document is held, and on the patches before, so that everything is allowed more amply here.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(3 * MAX_COPIED_BYTES // 2, 2 * WORK_LIMIT)

    def rebuilt(self, amount: int) -> None:
        """Pay an eighth: an array may be cut into nodes for what the patches before it did."""
        self.worked(amount // 8)


def memory_of(printed: bytes) -> int:
    """Estimate of the memory that the value printed in these bytes takes as a Python value. Cost: 1 ms for 10 MB."""
    return (
        len(printed)
        + _DICT_BYTES * printed.count(b"{")
        + _LIST_BYTES * printed.count(b"[")
        + ELEMENT_BYTES * printed.count(b",")
    )


def resolve(value: JSON, tokens: Sequence[str]) -> JSON:
    """What a pointer names within a value.

    Raises:
        PointerError: There is nothing. The error has the pointer, as far as it was followed.
    """
    for depth, token in enumerate(tokens):
        try:
            value = value[token] if type(value) is dict else value[_index_in(value, token)]
        except (KeyError, PointerError) as fault:
            raise _nothing_there(tokens[: depth + 1], fault) from None
    return value


def add(value: JSON, tokens: Sequence[str], new: JSON, budget: Budget | None = None) -> JSON:
    """Put `new` in, in place: sets a member, inserts an element, or becomes the root, which is returned.

    Raises:
        PointerError: The place's parent does not exist or is no container, or the index is outside.
        PatchError: The budget is spent.
    """
    if not tokens:
        return new
    parent = value if len(tokens) == 1 else resolve(value, tokens[:-1])
    token = tokens[-1]
    if type(parent) is dict:
        parent[token] = new
    elif type(parent) is list and token in APPEND:
        parent.append(new)
    else:
        try:
            index = _index_in(parent, token, append=True)
        except PointerError as fault:
            raise _nothing_there(tokens, fault) from None
        if budget is not None and len(parent) > _LONG_ARRAY:
            budget.worked(len(parent) - index)
        parent.insert(index, new)
    return value


def remove(value: JSON, tokens: Sequence[str], budget: Budget | None = None) -> tuple[JSON, JSON]:
    """Take a member or element out, in place.

    Returns:
        The root, and what was removed.

    Raises:
        PointerError: There is nothing at that place.
        PatchError: It is the whole document, or the budget is spent.
    """
    if not tokens:
        raise PatchError("the whole document cannot be removed", pointer="", hint="replace it, for example by null")
    parent = value if len(tokens) == 1 else resolve(value, tokens[:-1])
    try:
        if type(parent) is dict:
            return value, parent.pop(tokens[-1])
        index = _index_in(parent, tokens[-1])
    except (KeyError, PointerError) as fault:
        raise _nothing_there(tokens, fault) from None
    if budget is not None and len(parent) > _LONG_ARRAY:
        budget.worked(len(parent) - index)
    return value, parent.pop(index)


def replace(value: JSON, tokens: Sequence[str], new: JSON) -> JSON:
    """Put `new` in the place of what is there, in place; returns the root.

    Raises:
        PointerError: There is nothing at that place.
    """
    if not tokens:
        return new
    parent = value if len(tokens) == 1 else resolve(value, tokens[:-1])
    token = tokens[-1]
    if type(parent) is dict and token in parent:
        parent[token] = new
        return value
    try:
        if type(parent) is dict:
            raise KeyError(token)
        parent[_index_in(parent, token)] = new
    except (KeyError, PointerError) as fault:
        raise _nothing_there(tokens, fault) from None
    return value


def _index_in(parent: JSON, token: str, *, append: bool = False) -> int:
    if type(parent) is list:
        return array_index(token, len(parent), append=append)
    raise PointerError(f"{brief(parent)} has no members or elements")


def _nothing_there(tokens: Sequence[str], fault: KeyError | PointerError) -> PointerError:
    pointer = format_pointer(tokens)
    if isinstance(fault, KeyError):
        return PointerError(f"there is nothing at {shorten(pointer)!r}", pointer=pointer)
    return PointerError(f"at {shorten(pointer)!r}, {fault}", pointer=pointer, hint=fault.hint)


def brief(value: JSON) -> str:
    """A value for a message; what is long is only described."""
    kind = type(value)
    if kind is dict:
        return f"an object of {len(value)} members"
    if kind is list:
        return f"an array of {len(value)} elements"
    if kind is str and len(value) > 60:
        return f"a string of {len(value)} characters"
    return orjson.dumps(value).decode()
