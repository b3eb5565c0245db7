"""Which members tell the elements of an array apart, and the key that an element has by them.

They are a setting of the store, else found by their names. An element without them, or with those of another element,
has no key: it alone is then known by its content and its place.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from kbstore.jsondoc.canonical import JSON

Names: TypeAlias = tuple[str, ...]
"""The members that identify elements together, such as ``("id",)`` or ``("city", "hall")``."""

Key: TypeAlias = tuple[str | int, ...]
"""The values of those members in one element. ``1`` and ``"1"`` are two keys."""

Identities: TypeAlias = Mapping[str, Names]
"""The members that a store's settings name, by the pointer of the array."""

STRONG_NAMES = ("id", "_id", "@id", "uuid", "guid", "key")
WEAK_NAMES = ("slug", "code", "name")
"""Names of members that are looked for where no setting names any, best first. Weak ones may well be edited: elements
without a partner are then still compared by what they hold."""

_KINDS = frozenset({str, int})

MOST_PAIRED = 256
"""Two members that identify elements together are only looked for in arrays of at most so many elements."""
_MOST_CANDIDATES = 8
_LONGEST_VALUE = 64


def may_be_edited(names: Names) -> bool:
    """Return whether these members may well be edited, so that an element with another key can be the same one."""
    return len(names) == 1 and names[0] in WEAK_NAMES


def key_of(element: JSON, names: Names) -> Key | None:
    """Return an element's key; None if a member is missing, or is neither a string nor an integer."""
    if type(element) is not dict:
        return None
    values: list[Any] = [element.get(name) for name in names]
    return tuple(values) if _KINDS.issuperset(map(type, values)) else None


def keys_of(names: Names | None, *sides: Sequence[JSON]) -> list[list[Key | None]]:
    """Return the keys of the elements of several lists; None for each whose key some list has twice.

    Args:
        names: The members; None leaves every element without a key.
        sides: The same array at several versions.
    """
    if names is None:
        return [[None] * len(side) for side in sides]
    keys = [[key_of(element, names) for element in side] for side in sides]
    doubled = {key for side in keys for key, count in Counter(side).items() if count > 1}
    return [[None if key in doubled else key for key in side] for side in keys] if doubled else keys


def find_names(*sides: Sequence[JSON]) -> Names | None:
    """Find the member that identifies the elements of an array at each of its versions.

    It is the first of `STRONG_NAMES` and `WEAK_NAMES` that tells most elements of every list apart. An empty list
    accepts any.
    """
    held = [side for side in sides if side]
    present = {name for side in held for element in side[:2] if type(element) is dict for name in element}
    for name in (*STRONG_NAMES, *WEAK_NAMES):
        if name in present and all(_tells_most_apart(name, side) for side in held):
            return (name,)
    return None


def find_pair(old: Sequence[JSON], new: Sequence[JSON]) -> Names | None:
    """Find two members that together identify the elements of an array that has no other identity.

    Every element has both, no two elements of one list have the same values, and the values of one list are all in the
    other one: so an edit of these members is not taken for another element. If several pairs do, they must agree on
    which element became which; pairs of strings come before others.

    Args:
        old: The whole array, before a change.
        new: The whole array, after it.
    """
    if not old or not new or not 2 <= max(len(old), len(new)) <= MOST_PAIRED:
        return None
    found: Names | None = None
    partners: list[int | None] | None = None
    for names in combinations(_plain_members(old, new), 2):
        keys, others = ([key_of(element, names) for element in side] for side in (old, new))
        before, after = ({key: at for at, key in enumerate(side)} for side in (keys, others))
        if len(before) < len(old) or len(after) < len(new):
            continue
        if before.keys() <= after.keys() or after.keys() <= before.keys():
            which = [after.get(key) for key in keys]
            if partners is not None and which != partners:
                return None
            found, partners = found or names, which
    return found


def _plain_members(*sides: Sequence[JSON]) -> list[str]:
    """Names of the members that are a short string or an integer in every element; strings first."""
    elements = [element for side in sides for element in side]
    names = [*elements[0]] if type(elements[0]) is dict else []
    for element in elements:
        names = [name for name in names if type(element) is dict and _is_plain(element.get(name))]
    texts = {name for name in names if all(type(element[name]) is str for element in elements)}
    return sorted(names, key=lambda name: (name not in texts, name))[:_MOST_CANDIDATES]


def _is_plain(value: JSON) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _LONGEST_VALUE)


def id_key(elements: Sequence[JSON]) -> str | None:
    """Return the one member that tells all of these elements apart, or None."""
    names = find_names(elements)
    if names is None or None in keys_of(names, elements)[0]:
        return None
    return names[0]


def _tells_most_apart(name: str, elements: Sequence[JSON]) -> bool:
    values = {
        element[name]
        for element in elements
        if type(element) is dict and name in element and type(element[name]) in _KINDS
    }
    return 2 * len(values) > len(elements)


def element_token(names: Names, key: Key) -> str:
    """Return the token that addresses an element by its key, such as ``[id=mail]`` or ``[city=Bonn,hall=3]``."""
    pairs = [f"{encoded(name)}={encoded(str(value))}" for name, value in zip(names, key, strict=True)]
    return f"[{','.join(pairs)}]"


def encoded(text: str) -> str:
    """Return a text as it is inside of brackets: the characters that have a meaning there percent-encoded."""
    for character in "%,]=":  # the percent sign first, since the others bring more of them
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def short_token(token: str, at: str) -> str:
    """Return the short form of an element's token: its key's one value; of any other token, the token.

    Args:
        token: The token by identity.
        at: The token by position; the same if the element has no key.
    """
    if token == at or "," in token:
        return token
    return decoded(token[1:-1].partition("=")[2])


def decoded(text: str) -> str:
    """Return the text that `encoded` made this of."""
    for character in ",]=%":
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def parse_token(token: str) -> tuple[Names, tuple[str, ...]] | None:
    """Return the names and the values, as text, of a token such as ``[city=Bonn,hall=3]``; None for any other."""
    if len(token) < 3 or token[0] != "[" or token[-1] != "]":
        return None
    pairs = [part.partition("=") for part in token[1:-1].split(",")]
    if not all(equals for _, equals, _ in pairs):
        return None
    return tuple([decoded(name) for name, _, _ in pairs]), tuple([decoded(value) for _, _, value in pairs])
