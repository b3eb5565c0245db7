"""Find elements of arrays by identity in the states of a store: from addresses to positions, and back.

An address is a pointer with some tokens that name an element by key, such as ``/articles/[id=mail]/severity``. An
address leads to the same element in every state, at any index.

The grammar of such a token, used only at an array: digits alone are an index; ``-`` is the place after the last
element; ``[id=mail]`` and ``[city=Bonn,hall=3]`` name members and their values, each a string or an integer as printed;
any other token is the value of the single member that identifies the array's elements. Inside the brackets ``,``,
``]``, ``=`` and ``%`` are percent-encoded.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from kbstore.errors import PointerError
from kbstore.jsondoc.canonical import decode
from kbstore.jsondoc.identity import (
    STRONG_NAMES,
    WEAK_NAMES,
    Identities,
    Key,
    Names,
    element_token,
    find_names,
    key_of,
    keys_of,
    parse_token,
)
from kbstore.jsondoc.pointer import APPEND, array_index, format_pointer
from kbstore.tree.node import ARRAY, OBJECT, Ref, leaf_of, split_elements
from kbstore.tree.reader import Source, find, find_element, find_member, leaf_refs, opened

Stored = bytes | Ref

_SHOWN_CANDIDATES = 5
_KEPT_OUTLINES = 16
_SAMPLED = 1_000
"""The number of first elements to read for a long array's identifying member: reading all would be expensive."""


class Locator:
    """A finder of elements by identity; remembers the outline of each array read so far.

    Args:
        source: The source of nodes.
        identities: Members that identify the elements of an array, by its pointer; found for other arrays.
    """

    def __init__(self, source: Source, identities: Identities) -> None:
        self._source = source
        self._identities = identities
        self._outlines: dict[tuple[Names, bytes], list[Any]] = {}

    def resolve(self, root: Ref | None, address: Sequence[str]) -> tuple[str, ...] | None:
        """Return the tokens of the pointer for an address in a state; None if the place does not exist.

        Raises:
            PointerError: A token names several elements.
        """
        value = None if root is None else opened(root, self._source)
        path: list[str] = []
        for token in address:
            if value is not None and _is_array(value):
                at = self._index(path, value, token)
                if at is None:
                    return None
                token = str(at)
            value = None if value is None else self._child(value, token)
            if value is None:
                return None
            path.append(token)
        return None if value is None else tuple(path)

    def address(self, root: Ref | None, path: Sequence[str]) -> tuple[str, ...]:
        """Return the address of the value at a pointer in a state, up to the first element without a key."""
        value = None if root is None else opened(root, self._source)
        address: list[str] = []
        for depth, token in enumerate(path):
            if value is not None and _is_array(value):
                keys = self._keys(format_pointer(path[:depth]), value)
                at = _position(token, value)
                if keys is None or at is None or (key := keys[1][at]) is None:
                    break
                address.append(element_token(keys[0], key))
            else:
                address.append(token)
            value = None if value is None else self._child(value, token)
        return tuple(address)

    def is_plain(self, root: Ref | None, path: Sequence[str]) -> bool:
        """Return whether a pointer leads through objects only in a state: then the pointer is right in any state."""
        value = None if root is None else opened(root, self._source)
        for token in path:
            if value is None or not _is_object(value):
                return False
            value = self._child(value, token)
        return True

    def trace(self, root: Ref | None, path: Sequence[str]) -> tuple[int, tuple[str, ...]] | None:
        """Return how to follow an element through versions: the number of tokens to the array, and the address.

        None if the path does not lead through an element with a key.

        Args:
            root: The state for the meaning of indexes.
            path: A pointer or an address of a present or former value.
        """
        value = None if root is None else opened(root, self._source)
        place: list[str] = []
        address: list[str] = []
        depth: int | None = None
        for token in path:
            position = token
            if value is not None and _is_array(value):
                at = self._index(place, value, token)
                keys = self._keys(format_pointer(place), value)
                position = token if at is None else str(at)
                key = keys[1][at] if keys is not None and at is not None else None
                if depth is None and (key is not None or not (token.isdigit() or token in APPEND)):
                    depth = len(address)
                token = element_token(keys[0], key) if keys is not None and key is not None else token
            value = None if value is None else self._child(value, position)
            place.append(position)
            address.append(token)
        return None if depth is None else (depth, tuple(address))

    def stored(self, root: Ref | None, address: Sequence[str]) -> bytes | None:
        """Return bytes that distinguish the values at an address in several states; None if nothing is there."""
        try:
            path = self.resolve(root, address)
        except PointerError:
            return None
        value = None if root is None or path is None else find(root, path, self._source)
        return value.address if isinstance(value, Ref) else value

    def sample(self, root: Ref | None, path: Sequence[str]) -> list[Any]:
        """Return the first elements of an array in a state; for long elements, only possible identifying members."""
        array = find(root, tuple(path), self._source) if root is not None else None
        elements = _elements_of(array, self._source) if array is not None and _is_array(array) else iter(())
        return [self._members(element, (*STRONG_NAMES, *WEAK_NAMES)) for element in islice(elements, _SAMPLED)]

    def _keys(self, pointer: str, array: Stored) -> tuple[Names, list[Key | None]] | None:
        names = self._names(pointer, array)
        return None if names is None else (names, keys_of(names, self._outline(array, names))[0])

    def _names(self, pointer: str, array: Stored) -> Names | None:
        return self._identities.get(pointer) or find_names(self._outline(array, (*STRONG_NAMES, *WEAK_NAMES)))

    def _index(self, path: Sequence[str], array: Stored, token: str) -> int | None:
        if token.isdigit() or token in APPEND:
            return _position(token, array)
        names: Names | None
        named = parse_token(token)
        if named is not None:
            names, wanted = named
        else:
            names, wanted = self._names(format_pointer(path), array), (token,)
        if names is None or len(names) != len(wanted):
            return None
        keys = [key_of(element, names) for element in self._outline(array, names)]
        found = [at for at, key in enumerate(keys) if key is not None and tuple(map(str, key)) == wanted]
        if len(found) > 1:
            places = [format_pointer((*path, str(at))) for at in found[:_SHOWN_CANDIDATES]]
            more = f" and {len(found) - len(places)} more" if len(found) > len(places) else ""
            raise PointerError(
                f"{token!r} names {len(found)} elements: {', '.join(places)}{more}",
                pointer=format_pointer((*path, token)),
                hint=f"give one by its index, such as {places[0]}",
            )
        return found[0] if found else None

    def _outline(self, array: Stored, names: Names) -> list[Any]:
        """Return the elements of an array; for long elements, only these members."""
        known = (names, array.address if isinstance(array, Ref) else array)
        found = self._outlines.get(known)
        if found is None:
            if len(self._outlines) >= _KEPT_OUTLINES:
                self._outlines.clear()
            elements = _elements_of(array, self._source)
            found = self._outlines[known] = [self._members(element, names) for element in elements]
        return found

    def _members(self, element: Stored, names: Names) -> Any:
        if isinstance(element, bytes):
            return decode(element)
        if element.kind != OBJECT:
            return None
        members = ((name, find_member(element, name, self._source)) for name in names)
        return {name: decode(value) for name, value in members if isinstance(value, bytes)}

    def _child(self, value: Stored, token: str) -> Stored | None:
        if isinstance(value, Ref):
            if value.kind == OBJECT:
                return find_member(value, token, self._source)
            at = _position(token, value) if value.kind == ARRAY else None
            return None if at is None else find_element(value, at, self._source)
        if value[:1] == b"{":
            raw = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).get(token)
            return None if raw is None else bytes(raw)
        at = _position(token, value) if value[:1] == b"[" else None
        return None if at is None else split_elements(value)[at]


def _position(token: str, array: Stored) -> int | None:
    try:
        return array_index(token, array.count if isinstance(array, Ref) else len(split_elements(array)))
    except PointerError:
        return None


def _is_array(value: Stored) -> bool:
    return value.kind == ARRAY if isinstance(value, Ref) else value[:1] == b"["


def _is_object(value: Stored) -> bool:
    return value.kind == OBJECT if isinstance(value, Ref) else value[:1] == b"{"


def _elements_of(array: Stored, source: Source) -> Iterator[Stored]:
    if isinstance(array, bytes):
        yield from split_elements(array)
        return
    for refs in leaf_refs(array, source):
        source.prefetch(refs)
        for ref in refs:
            yield from leaf_of(ref, ref.node or source.load(ref)).values
