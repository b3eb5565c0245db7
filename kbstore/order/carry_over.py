"""Carry the order of members in a file over to a version before writing the version into the file.

A file keeps the order that its editors chose. New members come at their place in the version, or at the end if the
file has the object in another order.
"""

from typing import Any

import orjson

from kbstore.jsondoc.canonical import same
from kbstore.jsondoc.make_patch import id_key


def in_order_of(value: Any, model: Any, *, base: Any = None, own_order: bool = False) -> Any:
    """Return `value` with the members of objects in the order of `model`; new members keep their own order.

    Elements of lists are matched by an id-like key, else by position. Equal parts are shared with `model`; neither
    `value` nor `model` changes.

    Args:
        value: The value to order.
        model: The value with the order.
        base: The origin of `model`. If an object has another order in `value` than in `base`, the order of `value`
            stays.
        own_order: Keep the order of `value` everywhere; share with `model` only parts that are equal in order too.

    Cost: encoding both, and a visit of the containers that differ.
    """
    kind: Any = dict if isinstance(value, dict) else list
    if not isinstance(value, kind) or not isinstance(model, kind):
        return value
    if value == model and (orjson.dumps(value) == orjson.dumps(model) if own_order or base else same(value, model)):
        return model
    if kind is list:
        return _ordered_array(value, model, base if isinstance(base, list) else [], own_order=own_order)
    return _ordered_object(value, model, base if isinstance(base, dict) else {}, own_order=own_order)


def _ordered_object(
    value: dict[str, Any], model: dict[str, Any], base: dict[str, Any], *, own_order: bool
) -> dict[str, Any]:
    turned = [key for key in base if key in value] != [key for key in value if key in base]
    kept = [key for key in model if key in value]
    # If the common members have the same order in both, new members come at their place in the version.
    first = value if own_order or turned or kept == [key for key in value if key in model] else kept
    ordered = {key: in_order_of(value[key], model.get(key), base=base.get(key), own_order=own_order) for key in first}
    for key, new in value.items():
        ordered.setdefault(key, new)
    return ordered


def _ordered_array(value: list[Any], model: list[Any], base: list[Any], *, own_order: bool) -> list[Any]:
    key = id_key(value)
    by_id = [_by_id(key, side) for side in (model, base)] if key is not None else [None, None]

    def counterpart(at: int, side: list[Any], known: dict[Any, Any] | None) -> Any:
        if known is not None:
            return known.get(value[at][key])
        return side[at] if at < len(side) else None

    return [
        in_order_of(item, counterpart(at, model, by_id[0]), base=counterpart(at, base, by_id[1]), own_order=own_order)
        for at, item in enumerate(value)
    ]


def _by_id(key: str, elements: list[Any]) -> dict[Any, Any] | None:
    """Return elements by id; None if an element is not an object."""
    if not all(type(item) is dict for item in elements):
        return None
    return {item[key]: item for item in elements if type(item.get(key)) in (str, int)}
