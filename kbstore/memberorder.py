"""The order in which a person wrote the members of objects, carried over to a value that lost it.

Objects are unordered (RFC 8259), and a store keeps them sorted; a file that people read keeps the order they chose.
"""

from typing import Any

from kbstore.canonical import same
from kbstore.valuediff import id_key


def in_order_of(value: Any, model: Any) -> Any:
    """`value`, with the members of its objects in the order of `model`; new ones follow in canonical order.

    The order that `value` has decides nothing, since it tells of caches and not of content.

    Elements of lists are matched by their id-like key, else by position. What has no counterpart is ordered as the
    first of its siblings in the model that is of its kind, else canonically. Shares what it need not change; changes
    neither.

    Cost: what `encode` of both takes, and a visit of the containers that differ.
    """
    kind = type(value)
    if kind is not type(model) or (kind is not dict and kind is not list):
        return _canonical(value)
    if value == model and same(value, model):
        return model
    return _ordered_object(value, model) if kind is dict else _ordered_array(value, model)


def _ordered_object(value: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    siblings = _Siblings(model.values())
    ordered = {key: in_order_of(value[key], old) for key, old in model.items() if key in value}
    for key in sorted(value.keys() - model.keys()):
        ordered[key] = in_order_of(value[key], siblings.like(value[key]))
    return ordered


def _ordered_array(value: list[Any], model: list[Any]) -> list[Any]:
    siblings = _Siblings(model)
    by_id = _by_id(value, model)
    ordered: list[Any] = []
    for position, new in enumerate(value):
        if type(new) is not dict and type(new) is not list:
            ordered.append(new)
            continue
        if by_id is not None and type(new) is dict:
            old = by_id[1].get(new[by_id[0]])
        else:
            old = model[position] if position < len(model) else None
        ordered.append(in_order_of(new, old if type(old) is type(new) else siblings.like(new)))
    return ordered


def _canonical(value: Any) -> Any:
    if type(value) is dict:
        return {key: _canonical(value[key]) for key in sorted(value)}
    return [_canonical(item) for item in value] if type(value) is list else value


def _by_id(value: list[Any], model: list[Any]) -> tuple[str, dict[Any, Any]] | None:
    key = id_key(value)
    if key is None or not all(type(item) is dict for item in model):
        return None
    found = {item[key]: item for item in model if type(item.get(key)) in (str, int)}
    return key, found


class _Siblings:
    """Models for what is new: the first value of each kind."""

    def __init__(self, values: Any) -> None:
        self._values = values
        self._first: dict[type, Any] | None = None

    def like(self, value: Any) -> Any:
        if self._first is None:
            self._first = {}
            for model in self._values:
                self._first.setdefault(type(model), model)
        return self._first.get(type(value))
