"""Round the numbers of a text that are more exact than a double, and name them on the terminal, as `--lossy` asks."""

from collections.abc import Container, Iterable, Iterator

import orjson

from kbstore.cli.output import note
from kbstore.errors import InvalidJSON
from kbstore.jsondoc.canonical import loads_rounded
from kbstore.jsondoc.pointer import shorten
from kbstore.kit.escape import visible

_SHOWN_PLACES = 10


def warn_rounded(source: str, text: bytes, known: Container[str] = ()) -> None:
    """Name on stderr the numbers of a JSON text that are rounded.

    Args:
        source: What to call the text.
        text: A valid JSON text.
        known: Literals that were accepted before.
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
    """Return a JSON text with numbers rounded to doubles; one without such numbers, or not JSON, as it is."""
    try:
        value, rounded = loads_rounded(text, True)
    except InvalidJSON:
        return text
    if not rounded:
        return text
    warn_rounded(source, text)
    return orjson.dumps(value)


def rounded_lines(source: str, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Return the lines of a text of JSON Lines, each as by `rounded_text`."""
    for number, line in enumerate(lines, 1):
        yield rounded_text(f"line {number} of {source}", line)
