"""Units of metrics: a metric's name ends in its unit, as ``age_s`` or ``free_bytes``."""

_UNITS = {"s": "seconds", "bytes": "bytes", "ratio": "ratio", "total": ""}


def split_unit(name: str) -> tuple[str, str]:
    """What is measured, and its unit spelled out: ``age_s`` is ("age", "seconds"); empty where there is none."""
    what, _, end = name.rpartition("_")
    return (what, _UNITS[end]) if what and end in _UNITS else (name, "")
