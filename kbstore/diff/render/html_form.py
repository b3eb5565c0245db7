"""A diff as one HTML page that needs no other file, for screen (light and dark), print and screen readers."""

from collections.abc import Iterator, Sequence
from typing import Any

from kbstore.diff.render.lines import hunks
from kbstore.diff.render.outline import inline, outline
from kbstore.diff.render.source import Differences, Group, groups
from kbstore.diff.render.terminal_form import summary
from kbstore.diff.render.words import Span, word_diff
from kbstore.jsondoc.make_patch import Change
from kbstore.kit import escape

# Contrast of every pair is at least 4.5 to 1 (WCAG 2.2 AA) in both schemes.
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#5b6470;--paper:#fff;--line:#dfe3e8;
--del:#ffebe9;--del-ink:#8f1d17;--del-mark:#ffc9c4;--ins:#e6f6ea;--ins-ink:#0c5a2a;--ins-mark:#abe5bb}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#9aa4b1;--paper:#14171b;--line:#2c333b;
--del:#331a1c;--del-ink:#ffb4ad;--del-mark:#6b2428;--ins:#12291b;--ins-ink:#9be3b1;--ins-mark:#1f5a35}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.35rem;margin:0 0 .25rem}h2{font-size:1.05rem;margin:0 0 .5rem}
header p,nav,.kind,.skip{color:var(--soft)}
nav ul{columns:18rem;padding-left:1.2rem;margin:.5rem 0 0}a{color:inherit}
section{border-top:1px solid var(--line);padding:1.1rem 0 .4rem;margin-top:1.1rem}
h3{font:600 .9rem/1.5 ui-monospace,monospace;margin:.8rem 0 .2rem}.kind{font-weight:400}
code,pre,.value{font-family:ui-monospace,monospace;font-size:.9rem}
.text{font:inherit}
del,ins{display:block;text-decoration:none;padding:.3rem .6rem .3rem 1.6rem;white-space:pre-wrap;position:relative}
del{background:var(--del);color:var(--del-ink)}ins{background:var(--ins);color:var(--ins-ink)}
del::before,ins::before{position:absolute;left:.6rem;font-family:ui-monospace,monospace}
del::before{content:"\\2212"}ins::before{content:"+"}
mark{color:inherit;border-radius:.2em;padding:0 .1em;font-weight:600}
del mark{background:var(--del-mark);text-decoration:line-through}ins mark{background:var(--ins-mark)}
.same{padding:.1rem .6rem .1rem 1.6rem;white-space:pre-wrap;color:var(--soft)}
.skip{padding-left:1.6rem;font-size:.85rem}
@media print{body{max-width:none}section{break-inside:avoid}}
"""
# A container that fits into this many columns is printed on one line.
_COLUMNS = 90
_KINDS = {"added": "added", "removed": "removed", "modified": "changed", "moved": "moved"}


def html(diff: Differences, title: str = "") -> str:
    """Return the diff as a standalone page.

    Args:
        diff: The changes.
        title: Heading of the page; by default the names of both versions.

    Returns:
        A whole HTML document. Its content security policy allows only its own style sheet, so that even after a mistake
        in the escaping the page could not load or run anything.
    """
    parts = groups(diff)
    heading = escape.html(title or f"{diff.old_name} \u2192 {diff.new_name}")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="generator" content="kbstore">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{heading}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f"<header><h1>{heading}</h1>",
            f"<p>{escape.html(summary(diff, parts))}</p></header>",
            *_contents(parts),
            "<main>",
            *(line for number, part in enumerate(parts) for line in _section(number, part)),
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _contents(parts: Sequence[Group]) -> Iterator[str]:
    """Yield links to the entries, if there are four or more entries."""
    if len(parts) < 4:
        return
    yield '<nav aria-label="Changed entries"><ul>'
    for number, part in enumerate(parts):
        yield f'<li><a href="#e{number}">{_entry(part)}</a> ({_KINDS[part.kind]})</li>'
    yield "</ul></nav>"


def _entry(part: Group) -> str:
    return "Outside of the entries" if part.entry is None else f"<code>{escape.html(part.entry)}</code>"


def _section(number: int, part: Group) -> Iterator[str]:
    title = f" {escape.html(part.title)}" if part.title else ""
    kind = f' <span class="kind">{_KINDS[part.kind]}</span>' if part.entry is not None else ""
    yield f'<section id="e{number}" aria-labelledby="h{number}">'
    yield f'<h2 id="h{number}" dir="auto">{_entry(part)}{title}{kind}</h2>'
    if part.kind == "modified":
        for change in part.changes:
            yield from _change(part, change)
    elif part.kind == "added":
        yield f"<ins>{_value(part.new)}</ins>"
    elif part.kind == "removed":
        yield f"<del>{_value(part.old)}</del>"
    yield "</section>"


def _change(part: Group, change: Change) -> Iterator[str]:
    where = part.relative(change) or "(itself)"
    kind = f' <span class="kind">{change.kind}</span>' if change.kind != "modified" else ""
    yield f"<h3>{escape.html(where)}{kind}</h3>"
    old, new = change.old, change.new
    if change.kind == "modified" and isinstance(old, str) and isinstance(new, str):
        if "\n" in old or "\n" in new:
            yield from _linewise(old.split("\n"), new.split("\n"))
        else:
            yield from _words(word_diff(old, new))
    elif change.kind != "moved":
        if change.kind != "added":
            yield f"<del>{_value(old)}</del>"
        if change.kind != "removed":
            yield f"<ins>{_value(new)}</ins>"


def _value(value: Any) -> str:
    """Return a value of any kind: a text as text, a container as an outline, other values as JSON."""
    if isinstance(value, str) and value:
        return f'<span class="text" dir="auto">{_text(value)}</span>'
    if isinstance(value, dict | list) and value:
        lines = "\n".join(" " * line.depth + escape.html(line.text) for line in outline(value, _COLUMNS))
        return f'<span class="text" dir="auto">{lines}</span>'
    return f'<span class="value">{escape.html(inline(value))}</span>'


def _text(text: str) -> str:
    """Return escaped text with line ends, since the page shows line ends."""
    return "\n".join(escape.html(line) for line in text.split("\n"))


def _words(spans: Sequence[Span]) -> Iterator[str]:
    alone = not any(span.same for span in spans)
    for tag, new in (("del", False), ("ins", True)):
        inner = "".join(
            text if span.same or alone or not text else f"<mark>{text}</mark>"
            for span in spans
            for text in [_text(span.new if new else span.old)]
        )
        yield f'<{tag} class="text" dir="auto">{inner}</{tag}>'


def _linewise(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for number, gathered in enumerate(hunks(old, new, 1)):
        place = max(gathered[0].old_start - 1, 0)
        if number or place:
            yield f'<div class="skip">line {place + 1}</div>'
        for region in gathered:
            yield from _same(old[place : region.old_start])
            gone, come = old[region.old_start : region.old_end], new[region.new_start : region.new_end]
            if len(gone) == len(come):
                for before, after in zip(gone, come, strict=True):
                    yield from _words(word_diff(before, after))
            else:
                yield from (f'<del dir="auto">{escape.html(line)}</del>' for line in gone)
                yield from (f'<ins dir="auto">{escape.html(line)}</ins>' for line in come)
            place = region.old_end
        yield from _same(old[place : place + 1])


def _same(lines: Sequence[str]) -> Iterator[str]:
    yield from (f'<div class="same" dir="auto">{escape.html(line)}</div>' for line in lines)
