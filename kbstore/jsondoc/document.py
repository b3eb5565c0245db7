"""Documents that remember a base version: plain dicts and lists in every other way.

`Store.checkout` returns such a document, and `Store.commit` takes the base from the document. Only the root remembers.
A copy by `copy.copy`, `copy.deepcopy` or ``.copy()`` remembers too. Anything else made from a document (JSON text, a
pickle, ``dict(document)``, ``document | {...}``) is plain, since the purpose is unknown.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias


class Base(NamedTuple):
    """The version from which a document was made.

    Attributes:
        seq: The version's number; 0 for the empty beginning.
        id: The version's id; empty for the empty beginning.
        content: The tree of the document as committed, if the version also has changes of others. At the places of
            their changes the document is older than the version; this difference is not a change by the author.
    """

    seq: int
    id: str
    content: Any = None


class DocumentDict(dict[str, Any]):
    """A dict that remembers the base version."""

    __slots__ = ("base",)

    def __init__(self, members: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), base: Base | None = None) -> None:
        super().__init__(members)
        self.base = base

    def copy(self) -> Self:
        """Return a shallow copy with the same base."""
        return type(self)(self, self.base)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = type(self)((), self.base)
        twin.update((key, copy.deepcopy(value, memo)) for key, value in self.items())
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class DocumentList(list[Any]):
    """A list that remembers the base version."""

    __slots__ = ("base",)

    def __init__(self, elements: Iterable[Any] = (), base: Base | None = None) -> None:
        super().__init__(elements)
        self.base = base

    def copy(self) -> Self:
        """Return a shallow copy with the same base."""
        return type(self)(self, self.base)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = type(self)((), self.base)
        twin.extend(copy.deepcopy(value, memo) for value in self)
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


Document: TypeAlias = DocumentDict | DocumentList
"""For ``isinstance``: a value that can remember a base."""


def with_base(value: Any, base: Base) -> Any:
    """Return a dict or list as a document that remembers `base`, with shared items; return other values unchanged."""
    if type(value) is dict:
        return DocumentDict(value, base)
    return DocumentList(value, base) if type(value) is list else value


def plain(value: Any) -> Any:
    """Return a document as a plain dict or list; return any other value unchanged. Cost: a shallow copy."""
    kind = type(value)
    if kind is DocumentDict:
        return dict(value)
    return list(value) if kind is DocumentList else value


def plain_or_refuse(value: Any) -> Any:
    """Return a document as a plain dict or list, for encoders that ask about values of unknown type.

    Raises:
        TypeError: The value is not a document.
    """
    found = plain(value)
    if found is not value:
        return found
    raise TypeError(f"{type(value).__name__} is not JSON")
