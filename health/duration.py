"""Spans of time as people type them: ``90s``, ``45m``, ``2h``, ``3d``, or combined as ``1d12h``."""

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_duration(text: str) -> float:
    """Return the seconds of a span; a bare number means seconds.

    Raises:
        ValueError: The text is not a span, or the span is 0 or at least 1e9 seconds.
    """
    text = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        seconds = float(text)
    elif _SPAN.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is no span of time; write 90s, 45m, 2h or 3d")
    if not 0 < seconds < 1e9:
        raise ValueError(f"{text!r} is no span of time that makes sense here")
    return seconds
