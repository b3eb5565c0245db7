"""The order in which a file has the members of objects, carried over to a version that is written into it.

A file that people edit keeps the order that they chose for it; what is new in it comes as the version has it.
"""

from typing import Any

import orjson

from kbstore.canonical import same
from kbstore.valuediff import id_key


def in_order_of(value: Any, model: Any, *, own_order: bool = False) -> Any:
    """Return `value` with the members of its objects in the order of `model`; new ones follow, in their own order.

    Elements of lists are matched by their id-like key, else by position. Shares with `model` what is the same there;
    changes neither.

    Args:
        value: What is to be ordered.
        model: What gives the order.
        own_order: Let `value` have its own order; only share with `model` what is the same there, order included.

    Cost: what `encode` of both takes, and a visit of the containers that differ.
    """
    if not isinstance(value, dict | list) or not isinstance(model, dict | list) or type(value) is not type(model):
        return value
    if value == model and (orjson.dumps(value) == orjson.dumps(model) if own_order else same(value, model)):
        return model
    if isinstance(value, dict) and isinstance(model, dict):
        first: Any = value if own_order else [key for key in model if key in value]
        ordered = {key: in_order_of(value[key], model.get(key), own_order=own_order) for key in first}
        for key, new in value.items():
            ordered.setdefault(key, new)
        return ordered
    return _ordered_array(list(value), list(model), own_order=own_order)


def _ordered_array(value: list[Any], model: list[Any], *, own_order: bool) -> list[Any]:
    by_id = _by_id(value, model)
    ordered: list[Any] = []
    for position, new in enumerate(value):
        if by_id is not None and type(new) is dict:
            old = by_id[1].get(new[by_id[0]])
        else:
            old = model[position] if position < len(model) else None
        ordered.append(in_order_of(new, old, own_order=own_order))
    return ordered


def _by_id(value: list[Any], model: list[Any]) -> tuple[str, dict[Any, Any]] | None:
    key = id_key(value)
    if key is None or not all(type(item) is dict for item in model):
        return None
    found = {item[key]: item for item in model if type(item.get(key)) in (str, int)}
    return key, found
