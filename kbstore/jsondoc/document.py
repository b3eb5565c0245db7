"""Documents that remember the version they were made from: a dict or a list, plain in every other way.

`Store.checkout` returns one, `Store.commit` takes its base from it. Only the root remembers. A copy by `copy.copy`,
`copy.deepcopy` or ``.copy()`` remembers too; whatever is made of it otherwise (JSON text, a pickle, ``dict(document)``,
``document | {...}``) is plain, since nobody can say what it was made for.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias


class Base(NamedTuple):
    """The version that a document was made from.

    Attributes:
        seq: Its number; 0 for the empty beginning.
        id: Its id; empty for the empty beginning.
        content: The tree of the document as it was committed, if the version holds changes of others beside it: what
            the document says in their places is older than the version, and is not to be taken for a change.
    """

    seq: int
    id: str
    content: Any = None


class DocumentDict(dict[str, Any]):
    """A dict that remembers its base."""

    __slots__ = ("base",)

    def __init__(self, members: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), base: Base | None = None) -> None:
        super().__init__(members)
        self.base = base

    def copy(self) -> Self:
        """A shallow copy that remembers the same base."""
        return type(self)(self, self.base)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = type(self)((), self.base)
        twin.update((key, copy.deepcopy(value, memo)) for key, value in self.items())
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class DocumentList(list[Any]):
    """A list that remembers its base."""

    __slots__ = ("base",)

    def __init__(self, elements: Iterable[Any] = (), base: Base | None = None) -> None:
        super().__init__(elements)
        self.base = base

    def copy(self) -> Self:
        """A shallow copy that remembers the same base."""
        return type(self)(self, self.base)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = type(self)((), self.base)
        twin.extend(copy.deepcopy(value, memo) for value in self)
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


Document: TypeAlias = DocumentDict | DocumentList
"""For ``isinstance``: a value that can remember its base."""


def with_base(value: Any, base: Base) -> Any:
    """Return a new value of one's own as a document that remembers `base`; other values than dict and list cannot."""
    if type(value) is dict:
        return DocumentDict(value, base)
    return DocumentList(value, base) if type(value) is list else value


def plain(value: Any) -> Any:
    """Return a plain dict or list in the place of a document, and any other value as it is. Cost: a shallow copy."""
    kind = type(value)
    if kind is DocumentDict:
        return dict(value)
    return list(value) if kind is DocumentList else value


def plain_or_refuse(value: Any) -> Any:
    """As `plain`, for encoders that ask about each value that they do not know.

    Raises:
        TypeError: It is not a document.
    """
    found = plain(value)
    if found is not value:
        return found
    raise TypeError(f"{type(value).__name__} is not JSON")
