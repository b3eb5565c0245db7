r"""Revisions: the ways in which people name a version.

==============================  =====================================================================
``v42``                         exactly seq 42
``v42_20250127_120000``         the full name; may be cut short after the underscore (``v42_2025``)
``3fa9c1``                      an event id, or at least the first 4 digits
``stable``, ``main``            a tag; a branch (its newest version)
``HEAD``, ``HEAD~3``            the newest version; the third before it (``~n`` goes with every form)
``@2025-01-27T12:00``           the newest version at or before that time (UTC unless an offset is given)
``A..B``                        a range, if the command takes a range: after A up to and including B
==============================  =====================================================================
"""

import re
from dataclasses import dataclass
from datetime import datetime
from unicodedata import decimal, normalize

from kbstore.errors import RevisionError
from kbstore.kit.clock import parse_time

_VERSION = re.compile(r"v([0-9]{1,18})(?:_([0-9_]{0,15}))?\Z")
_ID = re.compile(r"[0-9a-f]{4,64}\Z")
_BACK = re.compile(r"(.*?)~([0-9]{0,9})\Z", re.DOTALL)
_NAME = re.compile(r"[^\W_][\w.+-]*(?:/[^\W_][\w.+-]*)*\Z")
_UNSEEN = frozenset("\u115f\u1160\u17b4\u17b5")
"""Hidden letters: drawn as nothing. All other hidden letters have another spelling or are not printable."""
MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Revision:
    """A parsed revision.

    At most one of `seq`, `id_prefix`, `name`, `moment` is set, except for a text that may be both an id and a name;
    for ``HEAD`` all are unset.

    Attributes:
        text: The text as written.
        seq: From ``v42`` and full names.
        stamp: Text after the underscore of a full name.
        id_prefix: Set if the text may be an id.
        name: Set if the text may be a tag or branch.
        moment: From ``@...``.
        back: From ``~n``.
    """

    text: str
    seq: int | None = None
    stamp: str = ""
    id_prefix: str | None = None
    name: str | None = None
    moment: datetime | None = None
    back: int = 0


def parse_revision(text: str) -> Revision:
    """Return the parsed revision. A text that may be both an id and a name has both set.

    Raises:
        RevisionError: The text has no known form.
    """
    rest, back = text, 0
    while (found := _BACK.match(rest)) is not None:
        rest = found[1]
        back += int(found[2] or 1)
    if rest in ("HEAD", "") and (rest or back):
        return Revision(text, back=back)
    if rest.startswith("@"):
        try:
            return Revision(text, moment=parse_time(rest[1:]), back=back)
        except ValueError:
            raise RevisionError(
                f"{text!r} is not a date",
                hint="write @2025-01-27 or @2025-01-27T12:00, in UTC unless an offset is given",
            ) from None
    if (version := _VERSION.match(rest)) is not None:
        return Revision(text, seq=int(version[1]), stamp=version[2] or "", back=back)
    id_prefix = rest if _ID.match(rest) else None
    if id_prefix is None and not is_name(rest):
        hint = "list them with: kbstore log, kbstore tag, kbstore branch"
        if rest.endswith("^"):
            hint = "write the version before it with ~, as HEAD~1"
        raise RevisionError(f"{text!r} is not a revision", hint=hint)
    return Revision(text, id_prefix=id_prefix, name=rest if is_name(rest) else None, back=back)


def parse_range(text: str) -> tuple[str, str] | None:
    """Return the two sides of ``A..B``; None for other texts. A missing side is ``v0`` (left) or ``HEAD`` (right)."""
    if ".." not in text:
        return None
    left, _, right = text.partition("..")
    return left or "v0", right or "HEAD"


def is_name(text: str) -> bool:
    """Return whether a text has the form of a tag or branch name: printable, visible, and with a single spelling."""
    return (
        len(text) <= MAX_NAME_LENGTH
        and _NAME.match(text) is not None
        and ".." not in text
        and (text.isascii() or _is_plain(text))
    )


def _is_plain(text: str) -> bool:
    """Return whether a text has only one spelling (no wide letters, ligatures, split accents) and no hidden letter."""
    return text.isprintable() and normalize("NFKC", text) == text and not _UNSEEN.intersection(text)


def check_name(text: str) -> None:
    """Refuse a text that cannot be the name of a tag or branch.

    Raises:
        RevisionError: The text is malformed, or people or `parse_revision` would read the text as another form of
            revision.
    """
    if len(text) > MAX_NAME_LENGTH:
        raise RevisionError(
            f"a name of {len(text)} characters is too long: {text[:20]!r}...",
            hint=f"use at most {MAX_NAME_LENGTH} characters",
        )
    if text.endswith((".lock", ".")):
        raise RevisionError(f"{text!r} cannot be a name, since it ends with {'.lock' if text[-1] != '.' else 'a dot'}")
    if not is_name(text):
        hint = "use letters, digits, . _ + - and single slashes between them, beginning with a letter or digit"
        raise RevisionError(f"{text!r} cannot be a name", hint=hint)
    plain = _plain(text)
    if plain == "head" or _VERSION.match(plain) or _ID.match(plain):
        raise RevisionError(
            f"{text!r} cannot be a name, since it would be read as another kind of revision",
            hint="choose another name: v<number>, HEAD and 4 or more hexadecimal digits are revisions",
        )


def _plain(text: str) -> str:
    """Return the text in small letters, and with the digits of every script as 0 to 9, as a person reads the text."""
    return "".join(str(decimal(c)) if c.isdecimal() else c for c in text.casefold())
