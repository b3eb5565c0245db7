"""Units of metrics: the name of a metric ends in its unit, as in ``age_s`` or ``free_bytes``."""

_UNITS = {"s": "seconds", "bytes": "bytes", "ratio": "ratio", "total": ""}


def split_unit(name: str) -> tuple[str, str]:
    """Return the measured thing and its unit in words: ("age", "seconds") for ``age_s``; without a unit, ``""``."""
    what, _, end = name.rpartition("_")
    return (what, _UNITS[end]) if what and end in _UNITS else (name, "")
