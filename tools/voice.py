"""Count words that stand for other words in docstrings and help: ``python -m tools.voice``.

A reader whose first language is another one stumbles over "it", "which" and "those"; a noun says what is meant. The
limit holds for the docstrings of a package together with the help texts of its commands, since click takes help from
docstrings and from ``help=``. structlog has 2.8 of these words in 100, dulwich 1.7.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LIMIT = 4.0
"""Pronouns in 100 words."""
PRONOUNS = frozenset((
    "it", "its", "that", "which", "those", "these", "what", "who", "whom", "whose", "none", "one", "ones", "they",
    "them",
))  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("backends", "health", "kbstore", "migrator")
_CODE = re.compile(r"`[^`]*`|``.*?``", re.DOTALL)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


def main() -> int:
    """Print the packages, and files if asked for; return 1 if a package is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="print each file too, the worst first")
    parser.add_argument("places", nargs="*", type=Path, help="files or folders; all packages by default")
    chosen = parser.parse_args()
    places = chosen.places or [ROOT / name for name in PACKAGES]
    over = False
    for place in places:
        counts = {path: count(path) for path in sorted(sources(place))}
        pronouns, words = (sum(pair[at] for pair in counts.values()) for at in (0, 1))
        rate = 100 * pronouns / max(words, 1)
        over = over or rate > LIMIT
        print(f"{rate:5.1f} in 100 of {words:,} words: {place.name}")
        if chosen.files:
            for path, (some, of) in sorted(counts.items(), key=lambda pair: -pair[1][0]):
                print(f"    {some:4} of {of:5}  {path}")
    return int(over)


def sources(place: Path) -> Iterator[Path]:
    """The Python files of a folder; a link to another package is not followed."""
    if place.is_file():
        yield place
        return
    for each in place.iterdir():
        if each.is_dir() and not each.is_symlink():
            yield from sources(each)
        elif each.suffix == ".py":
            yield each


def count(path: Path) -> tuple[int, int]:
    """Return the pronouns and the words in the docstrings and help texts of a file."""
    words = [word.lower() for text in texts(path) for word in _WORD.findall(_CODE.sub(" x ", text))]
    return sum(word in PRONOUNS for word in words), len(words)


def texts(path: Path) -> Iterator[str]:
    """Yield the docstrings of modules, classes, functions and attributes, and what is given as ``help=``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
        elif isinstance(node, ast.keyword) and node.arg in ("help", "short_help", "epilog"):
            yield from (
                each.value
                for each in ast.walk(node.value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


if __name__ == "__main__":
    sys.exit(main())
