"""Round numbers with more digits than a double, as `--lossy` asks, and list the numbers on the terminal."""

from collections.abc import Container, Iterable, Iterator

import orjson

from kbstore.cli.output import note
from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import loads_rounded
from kbstore.jsondoc.pointer import shorten
from kbstore.kit.escape import visible

_SHOWN_PLACES = 10


def warn_rounded(source: str, text: bytes, known: Container[str] = ()) -> None:
    """List on stderr the rounded numbers of a JSON text.

    Args:
        source: The name of the text in the warning.
        text: A valid JSON text.
        known: Literals accepted before.
    """
    from kbstore.jsondoc.diagnose.text import locate_inexact

    places = locate_inexact(text, _SHOWN_PLACES + 1, known)
    note(f"warning: {visible(source)} has numbers with more digits than a double; they were rounded")
    for pointer, literal in places[:_SHOWN_PLACES]:
        kept = orjson.dumps(float(literal)).decode()
        note(f"  {visible(pointer) or '(the whole text)'}: {shorten(literal)} became {kept}")
    if len(places) > _SHOWN_PLACES:
        note("  and more places")


def rounded_text(source: str, text: bytes) -> bytes:
    """Return a JSON text with numbers rounded to doubles; other text, also text that is not JSON, unchanged."""
    try:
        value, rounded = loads_rounded(text, True)
    except InvalidJSON:
        return text
    if not rounded:
        return text
    warn_rounded(source, text)
    return orjson.dumps(value)


def rounded_lines(source: str, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a JSON Lines text, each rounded as by `rounded_text`."""
    for number, line in enumerate(lines, 1):
        yield rounded_text(f"line {number} of {source}", line)
