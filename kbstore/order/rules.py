"""Rules that give the members of objects the order of their author.

There are three kinds, from the weakest to the strongest. `names` orders members by name, `shapes` orders objects with
exactly these members, `places` orders the object at a pointer. Members not named by a rule follow in canonical order,
and an object without a rule is in canonical order. (docs/adr/0003-member-order.md says why.)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kbstore.errors import CorruptStore, PointerError
from kbstore.jsondoc.pointer import parse_pointer

_Keys = tuple[str, ...]
_CONTAINERS = frozenset({dict, list})
_CACHED_MEMBERS = 256
_CACHED_ORDERS = 4096


class _Place:
    """A node of the tree of places.

    Attributes:
        ranks: The order of the object here; None if there is no rule for this place.
        below: Places below, by token.
    """

    __slots__ = ("below", "ranks")

    def __init__(self) -> None:
        self.ranks: dict[str, int] | None = None
        self.below: dict[str, _Place] = {}


class Rules:
    """The rules of a version. Immutable.

    Args:
        names: Member names in the order in which objects write the members.
        shapes: Orders of objects with exactly the given members.
        places: Orders of single objects, by pointer.
    """

    def __init__(
        self, names: Sequence[str] = (), shapes: Sequence[_Keys] = (), places: Mapping[str, _Keys] | None = None
    ) -> None:
        self.names = tuple(names)
        self.shapes = tuple(sorted(shapes))
        self.places = dict(places or {})
        self._ranks = {name: at for at, name in enumerate(self.names)}
        self._shapes = {tuple(sorted(shape)): shape for shape in self.shapes}
        self._known: dict[_Keys, _Keys | None] = {}
        self._top: _Place | None = None
        for pointer, keys in self.places.items():
            place = self._top = self._top or _Place()
            for token in parse_pointer(pointer):
                place = place.below.setdefault(token, _Place())
            place.ranks = {key: at for at, key in enumerate(keys)}

    @classmethod
    def of(cls, value: Any) -> "Rules":
        """Return the rules from a JSON value in the form of `as_json`.

        Raises:
            CorruptStore: The value is not made of rules.
        """
        kinds = {"names": list, "shapes": list, "places": dict}
        if type(value) is not dict or any(type(part) is not kinds.get(kind) for kind, part in value.items()):
            raise CorruptStore("the rules of members' order are malformed", hint="run: kbstore verify")
        names, shapes, places = value.get("names", []), value.get("shapes", []), value.get("places", {})
        if not all(_are_names(names) for names in (names, *shapes, *places.values())):
            raise CorruptStore("a rule of members' order is not a list of names", hint="run: kbstore verify")
        try:
            return cls(names, [tuple(shape) for shape in shapes], {p: tuple(keys) for p, keys in places.items()})
        except PointerError as fault:
            raise CorruptStore(f"a rule of members' order has a malformed pointer: {fault}") from None

    def as_json(self) -> dict[str, Any]:
        """Return the rules as a JSON value; kinds without a rule are absent."""
        parts = {
            "names": list(self.names),
            "places": {pointer: list(self.places[pointer]) for pointer in sorted(self.places)},
            "shapes": [list(shape) for shape in self.shapes],
        }
        return {kind: part for kind, part in parts.items() if part}

    def order(self, keys: _Keys, path: _Keys = ()) -> _Keys:
        """Return the members of the object at a path in the order of the rules."""
        return self._ordered(keys, self.place(path)) or keys

    def kind_order(self, keys: _Keys) -> _Keys:
        """Return the members of an object without a place in the order of the rules."""
        return self._free(keys) or keys

    def arranged(self, value: Any, path: _Keys = (), *, canonical: bool = False) -> Any:
        """Return the value at a path with all members in the order of the rules.

        Args:
            value: The value; do not use the value afterwards, since the result shares parts.
            path: Tokens of the pointer to the value.
            canonical: The members are in canonical order, as in a state.

        Cost: a visit of each container; with `canonical`, and only rules by place, a visit of the places alone.
        """
        place = self.place(path)
        if canonical and not self.names and not self.shapes:
            return self._placed(value, place)
        return self._arranged(value, place)

    def fits(self, value: Any, path: _Keys = ()) -> bool:
        """Return whether the value at a path has all members in the order of the rules."""
        return self._fits(value, self.place(path))

    def misfits(self, value: Any, path: _Keys = ()) -> Iterator[tuple[_Keys, _Keys]]:
        """Yield path and present members of each object that is not in the order of the rules."""
        yield from self._misfits(value, path, self.place(path))

    def place(self, path: _Keys) -> _Place | None:
        """Return the places at and below a path; None if there are no places."""
        place = self._top
        for token in path:
            if place is None:
                break
            place = place.below.get(token)
        return place

    def _by(self, keys: _Keys, ranks: Mapping[str, int]) -> _Keys | None:
        """Return the members in the order of the ranks; None if already in order."""
        last = len(ranks)
        ordered = tuple(sorted(keys, key=lambda key: (ranks.get(key, last), key)))
        return ordered if ordered != keys else None

    def _free(self, keys: _Keys) -> _Keys | None:
        """Return the members of an object without a place in the order of the rules; None if already in order."""
        try:
            return self._known[keys]
        except KeyError:
            shape = self._shapes.get(tuple(sorted(keys))) if self._shapes else None
            ordered = (shape if shape != keys else None) if shape is not None else self._by(keys, self._ranks)
        if len(keys) <= _CACHED_MEMBERS:
            if len(self._known) >= _CACHED_ORDERS:
                self._known.clear()
            self._known[keys] = ordered
        return ordered

    def _ordered(self, keys: _Keys, place: _Place | None) -> _Keys | None:
        return self._by(keys, place.ranks) if place is not None and place.ranks is not None else self._free(keys)

    def _arranged(self, value: Any, place: _Place | None) -> Any:
        if place is None:
            return self._arranged_freely(value)
        kind = type(value)
        if kind is dict:
            ordered = self._ordered(tuple(value), place)
            for key, item in value.items():
                if type(item) is dict or type(item) is list:
                    value[key] = self._arranged(item, place.below.get(key))
            return value if ordered is None else {key: value[key] for key in ordered}
        if kind is list:
            for at, item in enumerate(value):
                if type(item) is dict or type(item) is list:
                    value[at] = self._arranged(item, place.below.get(str(at)))
        return value

    def _placed(self, value: Any, place: _Place | None) -> Any:
        """Do as `_arranged` for a value in canonical order, if all rules are places."""
        if place is None:
            return value
        if type(value) is dict:
            for token, below in place.below.items():
                if token in value:
                    value[token] = self._placed(value[token], below)
            ordered = self._by(tuple(value), place.ranks) if place.ranks is not None else None
            return value if ordered is None else {key: value[key] for key in ordered}
        if type(value) is list:
            for token, below in place.below.items():
                if token.isdecimal() and int(token) < len(value):
                    value[int(token)] = self._placed(value[int(token)], below)
        return value

    def _arranged_freely(self, value: Any) -> Any:
        """Do as `_arranged` for a value without places: a separate loop, since most time is spent here."""
        arranged = self._arranged_freely
        kind = type(value)
        if kind is dict:
            ordered = self._free(tuple(value))
            if ordered is not None:
                return {key: arranged(value[key]) if type(value[key]) in _CONTAINERS else value[key] for key in ordered}
            for key, item in value.items():
                if type(item) in _CONTAINERS:
                    value[key] = arranged(item)
        elif kind is list:
            for at, item in enumerate(value):
                if type(item) in _CONTAINERS:
                    value[at] = arranged(item)
        return value

    def _fits_freely(self, value: Any) -> bool:
        """Do as `_fits` for a value without places."""
        known = self._known.get
        pending = [value]
        take, put = pending.pop, pending.append
        while pending:
            value = take()
            if isinstance(value, dict):
                keys = tuple(value)
                if known(keys, keys) is not None and self._free(keys) is not None:
                    return False
                value = value.values()
            for item in value:
                if type(item) in _CONTAINERS:
                    put(item)
        return True

    def _fits(self, value: Any, place: _Place | None) -> bool:
        if place is None:
            return not isinstance(value, dict | list) or self._fits_freely(value)
        if isinstance(value, dict):
            if self._ordered(tuple(value), place) is not None:
                return False
            for key, item in value.items():
                if type(item) in _CONTAINERS and not self._fits(item, place.below.get(key)):
                    return False
        elif isinstance(value, list):
            for at, item in enumerate(value):
                if type(item) in _CONTAINERS and not self._fits(item, place.below.get(str(at))):
                    return False
        return True

    def _misfits(self, value: Any, path: _Keys, place: _Place | None) -> Iterator[tuple[_Keys, _Keys]]:
        items: Iterator[tuple[str, Any]]
        if isinstance(value, dict):
            keys = tuple(value)
            if self._ordered(keys, place) is not None:
                yield path, keys
            items = iter(value.items())
        elif isinstance(value, list):
            items = ((str(at), item) for at, item in enumerate(value))
        else:
            return
        for token, item in items:
            if type(item) in _CONTAINERS:
                yield from self._misfits(item, (*path, token), place.below.get(token) if place is not None else None)


NO_RULES = Rules()
"""The rules of a document in canonical order."""


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(type(name) is str for name in value) and len(set(value)) == len(value)
