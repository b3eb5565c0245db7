"""The edits of a JSON Patch, made in place on a value, and the budget that limits their cost.

The caller owns the values. Pointers are tuples of tokens, relative to the given value.
"""

from collections.abc import Sequence

import orjson

from kbstore.errors import PatchError, PointerError
from kbstore.jsondoc.canonical import JSON
from kbstore.jsondoc.pointer import APPEND, array_index, format_pointer, shorten

MAX_OPERATIONS = 100_000
"""The most operations in a patch from outside; a larger change is better given as a document."""

MAX_TOKENS = 2_000_000
"""The most tokens in all pointers of a patch from outside together."""

MAX_COPIED_BYTES = 64 * 2**20
"""The most memory for the copies of a patch together, not counting the first copy."""

WORK_LIMIT = 5 * 10**8
"""The most array elements for the insertions and removals of a patch to shift; about a second."""

PRINTING_WORK = 8
"""The cost of printing a byte, in shifted elements."""

_DICT_BYTES = 200
_LIST_BYTES = 64
ELEMENT_BYTES = 32
_LONG_ARRAY = 4096


class Budget:
    """The budget of a patch for copies and for shifted elements.

    The memory of the first copy is free: a document may always be doubled once. Spending more than is left raises
    `PatchError`.
    """

    __slots__ = ("_first", "_limits", "bytes_left", "work_left")

    def __init__(self, limit_bytes: int = MAX_COPIED_BYTES, work: int = WORK_LIMIT) -> None:
        self._limits = limit_bytes, work
        self.renew()

    def renew(self) -> None:
        """Restore the full budget for another patch."""
        self.bytes_left, self.work_left = self._limits
        self._first = True

    def copied(self, size_bytes: int) -> None:
        """Pay for a copy with this much memory, as estimated by `memory_of`."""
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
        """Pay for cutting an array into nodes again."""
        self.worked(amount)

    def worked(self, amount: int) -> None:
        """Pay for shifted elements, or `PRINTING_WORK` for each printed byte."""
        self.work_left -= amount
        if self.work_left < 0:
            raise PatchError(
                f"this patch moves or copies more than {self._limits[1]:,} array elements, or as much in long values",
                hint="commit the changed document instead of a patch, or split the patch into several",
            )


class Allowance(Budget):
    """A larger budget for replaying accepted patches; `renew` restores the budget for each patch.

    A `Budget` accepted each patch on commit, or the store is forged. The cost depends a little on the form of the
    document in memory and on the patches before, so every limit is higher here.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(3 * MAX_COPIED_BYTES // 2, 2 * WORK_LIMIT)

    def rebuilt(self, amount: int) -> None:
        """Pay an eighth: the patches before may be the reason for cutting the array into nodes."""
        self.worked(amount // 8)


def memory_of(printed: bytes) -> int:
    """Estimate the memory of a Python value from its printed form. Cost: 1 ms for 10 MB."""
    return (
        len(printed)
        + _DICT_BYTES * printed.count(b"{")
        + _LIST_BYTES * printed.count(b"[")
        + ELEMENT_BYTES * printed.count(b",")
    )


def resolve(value: JSON, tokens: Sequence[str]) -> JSON:
    """Return the value at a pointer within a value.

    Raises:
        PointerError: The place does not exist. The error has the pointer up to the first token without a value.
    """
    for depth, token in enumerate(tokens):
        try:
            value = value[token] if type(value) is dict else value[_index_in(value, token)]
        except (KeyError, PointerError) as fault:
            raise _nothing_there(tokens[: depth + 1], fault) from None
    return value


def add(value: JSON, tokens: Sequence[str], new: JSON, budget: Budget | None = None) -> JSON:
    """Set a member, insert an element or replace the root, in place. Return the root.

    Raises:
        PointerError: The parent does not exist or is not a container, or the index is outside the array.
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
    """Remove a member or element, in place.

    Returns:
        The root, and the removed value.

    Raises:
        PointerError: The place does not exist.
        PatchError: The place is the whole document, or the budget is spent.
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
    """Replace the value at a pointer by `new`, in place. Return the root.

    Raises:
        PointerError: The place does not exist.
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
    """Return a value as text for a message; a long value is only described."""
    kind = type(value)
    if kind is dict:
        return f"an object of {len(value)} members"
    if kind is list:
        return f"an array of {len(value)} elements"
    if kind is str and len(value) > 60:
        return f"a string of {len(value)} characters"
    return orjson.dumps(value).decode()
