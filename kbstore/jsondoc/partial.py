"""Take over single places of an edited document, and leave the other places as before.

A pointer refers to the edited document. In an array, elements are matched by identity: an index names an element of the
edited array, and the counterpart in the old document is the element with the same key, at any index, or the element
with the edited key. An element without a key has a counterpart only if all other elements kept their places.
"""

from collections.abc import Sequence

from kbstore.errors import PointerError
from kbstore.jsondoc.canonical import JSON
from kbstore.jsondoc.identity import Identities, Key, find_names, keys_of, parse_token
from kbstore.jsondoc.match import renamed_elements
from kbstore.jsondoc.pointer import format_pointer, parse_pointer

_FOUND: Identities = {}


def with_places(old: JSON, new: JSON, pointers: Sequence[str], identities: Identities = _FOUND) -> JSON:
    """Return the old document with these places as in the new document; unchanged parts are shared with both.

    Args:
        old: The document before the edits.
        new: The document after the edits.
        pointers: The places; a place in only one of both documents is added or removed.
        identities: Members that identify the elements of an array, by its pointer; found for other arrays.

    Raises:
        PointerError: A place is in neither document, or a pointer is ambiguous.
    """
    for pointer in pointers:
        old = _Place(pointer, identities).taken(old, new, 0)
    return old


class _Place:
    """A place to take over."""

    def __init__(self, pointer: str, identities: Identities) -> None:
        self._pointer = pointer
        self._tokens = parse_pointer(pointer)
        self._identities = identities

    def taken(self, old: JSON, new: JSON, depth: int) -> JSON:
        """Return `old` with the place as in `new`; `depth` tokens of the pointer lead to both values."""
        if depth == len(self._tokens):
            return new
        if isinstance(old, dict) and isinstance(new, dict):
            return self._member(old, new, depth)
        if isinstance(old, list) and isinstance(new, list):
            return self._element(old, new, depth)
        raise self._nothing()

    def _member(self, old: dict[str, JSON], new: dict[str, JSON], depth: int) -> dict[str, JSON]:
        token = self._tokens[depth]
        if token not in old and token not in new:
            raise self._nothing()
        result = dict(old)
        if token in old and token in new:
            result[token] = self.taken(old[token], new[token], depth + 1)
        elif depth + 1 < len(self._tokens):
            raise self._on_one_side(depth)
        elif token in new:
            result[token] = new[token]
        else:
            del result[token]
        return result

    def _element(self, old: list[JSON], new: list[JSON], depth: int) -> list[JSON]:
        here = format_pointer(self._tokens[:depth])
        names = self._identities.get(here) or find_names(old, new)
        named = parse_token(self._tokens[depth])
        if named is not None:
            names = named[0]
        old_keys, new_keys = keys_of(names, old, new)
        wanted = None if named is None else named[1]
        at = self._index_given(depth) if wanted is None else None
        if at is not None and (at >= len(new) or new_keys[at] is None):
            before, after = self._without_key(old, new, (old_keys, new_keys), at, depth)
        else:
            before, after = self._find(old_keys, new_keys, wanted, depth)
            if before is None or after is None:
                for pair in renamed_elements(old, new, names):
                    if before == pair[0] or after == pair[1]:
                        before, after = pair
        result = list(old)
        if before is not None and after is not None:
            result[before] = self.taken(old[before], new[after], depth + 1)
        elif depth + 1 < len(self._tokens):
            raise self._on_one_side(depth)
        elif after is not None:
            result.insert(_place_for(old_keys, new_keys, after), new[after])
        elif before is not None:
            del result[before]
        return result

    def _index_given(self, depth: int) -> int | None:
        token = self._tokens[depth]
        return int(token) if token.isascii() and token.isdigit() else None

    def _find(
        self, old: list[Key | None], new: list[Key | None], wanted: tuple[str, ...] | None, depth: int
    ) -> tuple[int | None, int | None]:
        """Return the index of an element with a key in the old array and in the new array; None if missing there."""
        at = self._index_given(depth)
        if wanted is None and at is not None:
            key, there = new[at], old[at] if at < len(old) else None
            if key in old:
                return old.index(key), at
            renamed = len(old) == len(new) and there is not None and there not in new
            return (at if renamed else None), at
        wanted = wanted or (self._tokens[depth],)
        before, after = self._index(old, wanted), self._index(new, wanted)
        if before is None and after is None:
            raise self._nothing()
        return before, after

    def _without_key(
        self, old: list[JSON], new: list[JSON], keys: tuple[list[Key | None], list[Key | None]], at: int, depth: int
    ) -> tuple[int | None, int | None]:
        """Return the index in both arrays of an element without a key.

        Only the place identifies such an element. So all other elements must have kept their places, and the other
        elements without a key must be unchanged.
        """
        old_keys, new_keys = keys
        if at >= len(new) and at < len(old) and old_keys[at] is not None and old_keys[at] not in new_keys:
            return at, None
        if max(len(old), len(new)) <= at:
            raise self._nothing()
        if old_keys == new_keys and all(
            key is not None or other == at or old[other] == new[other] for other, key in enumerate(old_keys)
        ):
            return at, at
        whole = format_pointer(self._tokens[:depth])
        raise PointerError(
            f"{self._pointer!r} is unclear: more than one element without an id was changed, added, moved or removed "
            f"in {whole!r}",
            pointer=self._pointer,
            hint=f"commit all of them: kbstore commit '{whole}'",
        )

    def _index(self, keys: Sequence[Key | None], wanted: tuple[str, ...]) -> int | None:
        found = [at for at, key in enumerate(keys) if key is not None and tuple(map(str, key)) == wanted]
        if len(found) > 1:
            raise PointerError(
                f"{self._pointer!r} is unclear: {len(found)} elements have this id, as text and as a number",
                pointer=self._pointer,
                hint="name the element by its index",
            )
        return found[0] if found else None

    def _nothing(self) -> PointerError:
        return PointerError(
            f"there is nothing at {self._pointer!r}, neither in the file nor in the version that it was taken from",
            pointer=self._pointer,
        )

    def _on_one_side(self, depth: int) -> PointerError:
        whole = format_pointer(self._tokens[: depth + 1])
        return PointerError(
            f"{whole!r} was added or removed as a whole, so {self._pointer!r} cannot be committed alone",
            pointer=self._pointer,
            hint=f"commit all of it: kbstore commit '{whole}'",
        )


def _place_for(old: Sequence[Key | None], new: Sequence[Key | None], at: int) -> int:
    """Return the index in the old array for a new element: behind the nearest old element that comes before it."""
    for key in reversed(new[:at]):
        if key is not None and key in old:
            return old.index(key) + 1
    return min(at, len(old))
