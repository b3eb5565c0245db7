"""Escape user text, so that a knowledge base cannot control a terminal, a page or a Markdown reader.

Many people write a knowledge base, some of them hostile. Raw text on a terminal may move the cursor, set the window's
title, or show a text that differs from the stored text (bidirectional overrides, CVE-2021-42574). So every character
without a visible shape is printed as its code: `\\x1b`, `\\u202e`. A backslash is not doubled, since Windows paths are
frequent and doubled backslashes are hard to read. For the exact text, use the JSON form.
"""

import re

# Ranges are written here, since computing them from unicodedata for 1.1 million characters takes 100 ms at every start.
# The tests compare the ranges with unicodedata: all of Cc, Cf, Cs, Zl, Zp, invisible or unusual blanks,
# non-characters, and letters and marks without a shape (fillers, variation selectors).
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f"
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200b\u200e\u200f\u2028-\u202e\u205f-\u206f"
    "\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    + "".join(chr(plane * 0x10000 + 0xFFFE) + chr(plane * 0x10000 + 0xFFFF) for plane in range(1, 17))
)
# People type an emoji selector after a symbol, such as a warning sign: nothing is hidden there. Joiners after letters
# that join or stack (Arabic, the scripts of India and their neighbours) and within an emoji hide nothing either.
_SYMBOL = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING = "\u0600-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
_HIDDEN = re.compile(
    f"(?<![{_SYMBOL}])\ufe0f|[{_UNSEEN}]"
    f"|(?:(?<![{_JOINING}{_SYMBOL}])(?<![{_SYMBOL}]\ufe0f)|(?<=[{_UNSEEN}]))[\u200c\u200d]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# What can begin a construct inside a line of Markdown (CommonMark and GitHub's extensions).
_MARKDOWN = re.compile(r"[\\`*_\[\]|~$]")
_MARKDOWN_LINKS = re.compile(r"(?i)://|\bwww(?=\.)|@|\b(?:mailto|xmpp)(?=:)")
_MARKDOWN_START = re.compile(r"^(\s*)(#|[-+=>:]|\d+(?=[.)]))")


def visible(text: str) -> str:
    r"""Return `text` with every control, format, bidirectional or otherwise invisible character written as a code.

    The joiners U+200C and U+200D are kept in emoji and in scripts with joiners; elsewhere joiners are escaped.

    Args:
        text: Any string, lone surrogates included.

    Returns:
        A line: line ends and tabs become `\n`, `\r` and `\t`. Text without such characters is returned unchanged.
        Cost: linear in the length.
    """
    return text if _is_plain(text) else _HIDDEN.sub(_code, text)


def visible_json(text: str) -> str:
    r"""Escape printed JSON with JSON's own `\u` escapes, so that the text stays JSON with the same value.

    Args:
        text: A line of JSON text, without the line end.
    """
    return text if _is_plain(text) else _HIDDEN.sub(_json_code, text)


def _is_plain(text: str) -> bool:
    """Whether all of it is printable ASCII, as most text is: asking that takes a hundredth of the search."""
    return text.isascii() and text.isprintable()


def html(text: str) -> str:
    """Return `text` for HTML content and quoted attributes, with invisible characters written as codes."""
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#39;")


def markdown(text: str) -> str:
    """Return `text` for use inside a line of Markdown, without emphasis, links, code, tables, mentions or HTML.

    Args:
        text: Any string.

    Returns:
        A line that renders as `visible(text)`.
    """
    text = visible(text).replace("&", "&amp;")
    text = _MARKDOWN.sub(r"\\\g<0>", text)
    text = _MARKDOWN_LINKS.sub(_unlink, text)
    text = text.replace("<", "&lt;").replace("!\\[", "\\!\\[")
    return _MARKDOWN_START.sub(_shield, text)


def markdown_code(text: str) -> str:
    """Return `text` as a Markdown code span, with any number of backticks in the text."""
    text = visible(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    # A Markdown reader removes a blank at each end, unless the text consists of blanks only.
    pad = " " if "`" in (text[:1], text[-1:]) or (text.startswith(" ") and text.endswith(" ") and text.strip()) else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else "(empty)"


def _code(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_code(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _unlink(match: re.Match[str]) -> str:
    found = match.group()
    # A Markdown reader finds links first, and reads character references later: so this makes no link.
    return {"://": "&#58;//", "@": "&#64;"}.get(found) or f"&#{ord(found[0])};{found[1:]}"


def _shield(match: re.Match[str]) -> str:
    blanks, start = match.groups()
    return f"{blanks}&#{ord(start[0])};{start[1:]}"
