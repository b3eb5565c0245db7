"""User text made harmless: nothing in a knowledge base can steer a terminal, a page or a Markdown reader.

A knowledge base is written by many hands, some of them hostile. What reaches a terminal raw may move the cursor, set
the window's title, or (bidirectional overrides, CVE-2021-42574) show a text that is not the one stored. So every
character that has no shape of its own is shown by its code instead: `\\x1b`, `\\u202e`. A backslash stays as it is,
since Windows paths are frequent and doubled ones hard to read; where the exact text matters, the JSON form has it.
"""

import re

# Ranges by hand, since asking unicodedata for all 1.1 million characters costs every start 100 ms. The tests compare
# them with unicodedata: all of Cc, Cf, Cs, Zl, Zp, the blanks that look like no or another blank, the non-characters,
# and letters and marks that are drawn as nothing (fillers, variation selectors).
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
# An emoji selector after a symbol is how people type a warning sign; there it hides nothing. Nor do the joiners after
# the letters that join or stack (Arabic, the scripts of India and their neighbours) and within an emoji.
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
    r"""`text` with every control, format, bidirectional and otherwise unseen character written as its code.

    The joiners U+200C and U+200D are text in the scripts that use them and in emoji; elsewhere they hide.

    Args:
        text: Any string, lone surrogates included.

    Returns:
        One line: line ends and tabs become `\n`, `\r` and `\t`. Text without such characters is returned as it is.
        Linear in its length.
    """
    return text if _is_plain(text) else _HIDDEN.sub(_code, text)


def visible_json(text: str) -> str:
    r"""The same for printed JSON: codes are JSON's own `\u` escapes, so that the text stays JSON of the same value.

    Args:
        text: One line of JSON text, without its line end.
    """
    return text if _is_plain(text) else _HIDDEN.sub(_json_code, text)


def _is_plain(text: str) -> bool:
    """Whether all of it is printable ASCII, as most text is: asking that takes a hundredth of the search."""
    return text.isascii() and text.isprintable()


def html(text: str) -> str:
    """`text` fit for HTML content and for quoted attributes, unseen characters shown by their codes."""
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#39;")


def markdown(text: str) -> str:
    """`text` fit to stand inside a line of Markdown: no emphasis, link, code, table, mention or HTML comes out of it.

    Args:
        text: Any string.

    Returns:
        One line that renders as `visible(text)`.
    """
    text = visible(text).replace("&", "&amp;")
    text = _MARKDOWN.sub(r"\\\g<0>", text)
    text = _MARKDOWN_LINKS.sub(_unlink, text)
    text = text.replace("<", "&lt;").replace("!\\[", "\\!\\[")
    return _MARKDOWN_START.sub(_shield, text)


def markdown_code(text: str) -> str:
    """`text` as a Markdown code span, whatever backticks it has."""
    text = visible(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    # A blank at each end is taken off again by the reader, unless the text is nothing but blanks.
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
    # A character reference is read as the character itself, but after links have been looked for.
    return {"://": "&#58;//", "@": "&#64;"}.get(found) or f"&#{ord(found[0])};{found[1:]}"


def _shield(match: re.Match[str]) -> str:
    blanks, start = match.groups()
    return f"{blanks}&#{ord(start[0])};{start[1:]}"
