"""Migration files: names, directives in the head of a file, checksums.

A migration is named ``VERSION_slug.sql``. Companions have the same name with a suffix: ``VERSION_slug_rollback.sql``
undoes the migration, ``VERSION_slug_verify.sql`` checks its effect. Each of the three files can have a separate text
for one dialect, such as ``VERSION_slug.postgresql.sql``. ``R_slug.sql`` is repeatable: the file runs again after each
change of the file.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from kbstore.migrator.errors import MigrationError, MigrationFileError

NAME = re.compile(
    r"(?P<version>\d{8}_\d{6}|\d{3,14}|R)_(?P<slug>[A-Za-z][A-Za-z0-9_-]*?)(?:_(?P<part>rollback|verify))?"
    r"(?:\.(?P<dialect>sqlite|postgresql|mysql|mariadb))?\.sql"
)
CHECKSUM = "sha256"
BUILTIN = "builtin:"

_READS = {  # the file suffixes that each dialect reads, the preferred suffix first
    "sqlite": ("sqlite",),
    "postgresql": ("postgresql",),
    "mysql": ("mysql",),
    "mariadb": ("mariadb", "mysql"),
}
# Most files need none of these patterns, so each pattern is compiled on first use.
_DIRECTIVE = r"[ \t]*--[ \t]*migrator:[ \t]*(.*)"
_DURATION = r"(\d+)(ms|s|min)?"
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "min": 60.0}
_TRAILING = r"(?m)[ \t]+$"


class Directives(NamedTuple):
    """The directives in the head comment of a file.

    Attributes:
        transaction: Whether the file runs in one transaction, if the database can roll back DDL.
        lock_timeout_s: Seconds that a statement may wait for a lock, or `None` for the default.
        statement_timeout_s: Seconds that a statement may take, or `None` for the default.
        requires: Names or versions of migrations to be applied first.
        irreversible: The migration cannot be undone; `down` refuses it.
        allow: The lint rules to ignore.
    """

    transaction: bool = True
    lock_timeout_s: float | None = None
    statement_timeout_s: float | None = None
    requires: tuple[str, ...] = ()
    irreversible: bool = False
    allow: frozenset[str] = frozenset()


PLAIN = Directives()


class Script(NamedTuple):
    """The text of one file, as it is run.

    Attributes:
        file: The file's name, including a dialect.
        text: The text without a byte order mark; every line end is a line feed.
        checksum: ``sha256:`` and the digest of the text without trailing blanks. A checkout with other line ends has
            the same checksum.
    """

    file: str
    text: str
    checksum: str
    directives: Directives = PLAIN


class Migration(NamedTuple):
    """A migration and the paths of the companions.

    Attributes:
        name: ``VERSION_slug.sql`` for every dialect: the name in the history.
        version: The version as a number; `None` for a repeatable migration.
        rollback: The path of the rollback file, or `None`.
        verify: The path of the verify file, or `None`.
    """

    name: str
    version: int | None
    slug: str
    script: Script
    rollback: str | None = None
    verify: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether the migration runs again after a change of the file."""
        return self.version is None


def open_directory(directory: str | Path) -> Path:
    """Return the folder that ``--dir`` names; ``builtin:NAME`` is a set of samples in migrator.

    Raises:
        MigrationError: There is no such set.
    """
    text = str(directory)
    if not text.startswith(BUILTIN):
        return Path(directory)
    from kbstore.migrator.samples import sample_folder

    return sample_folder(text.removeprefix(BUILTIN))


def scan(directory: str | Path, dialect: str) -> list[Migration]:
    """Return the migrations of a folder in the order of runs: by version, then the repeatable migrations by slug.

    Args:
        directory: The folder, or ``builtin:NAME``. A folder that does not exist counts as empty.
        dialect: "sqlite", "postgresql", "mysql" or "mariadb".

    Raises:
        MigrationFileError: A file's name, encoding or directive is not understood, two migrations have one version, a
            companion has no migration, or a migration has no text for this dialect.
    """
    folder = open_directory(directory)
    chosen: dict[tuple[str, str, str], dict[str, str]] = {}
    for match in _named(folder):
        version, slug, part, own = match.groups()
        chosen.setdefault((version, slug, part or ""), {})[own or ""] = match.string
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for (version, slug, part), texts in chosen.items():
        found = next((texts[name] for name in (*_READS[dialect], "") if name in texts), None)
        if found is None:
            there = ", ".join(sorted(texts.values()))
            raise MigrationFileError(
                f"there is no text of this for {dialect}, only {there}",
                file=_join(version, slug, part),
                hint=f"add {_join(version, slug, part).removesuffix('.sql')}.{dialect}.sql, or one for all dialects",
            )
        parts.setdefault((version, slug), {})[part] = found
    place = f"{folder}{os.sep}"
    migrations = [_migration(place, version, slug, files) for (version, slug), files in parts.items()]
    migrations.sort(key=lambda each: (each.version is None, each.version or 0, each.slug))
    for one, other in pairwise(migrations):
        if one.version is not None and one.version == other.version:
            raise MigrationFileError(
                f"has the same version as {one.name}", file=other.name, hint="give one of the two another number"
            )
    return migrations


def read_script(path: str) -> Script:
    """Read one file, with directives and checksum.

    Raises:
        MigrationFileError: The file cannot be read, is not UTF-8, or has an unknown directive.
    """
    # Plain strings: with pathlib's objects, reading hundreds of files takes twice the time.
    name = path.rpartition(os.sep)[2]
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            raw = file.read().removeprefix(b"\xef\xbb\xbf")
    except OSError as fault:
        raise MigrationFileError(f"cannot be read: {fault.strerror}", file=name) from fault
    try:
        text = raw.decode()
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        raise MigrationFileError("is not UTF-8", file=name, line=line, hint="save the file as UTF-8") from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Script(name, text, checksum(text), _directives(text, name) if "migrator:" in text else PLAIN)


def checksum(text: str) -> str:
    """Return ``sha256:`` and the digest of a text; trailing blanks and the kind of line ends do not count."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if " \n" in plain or "\t\n" in plain or plain[-1:] in (" ", "\t"):
        plain = re.sub(_TRAILING, "", plain)
    return f"{CHECKSUM}:{hashlib.sha256(plain.rstrip(chr(10)).encode()).hexdigest()}"


def parse_version(text: str) -> int:
    """Return the number of a version as people write it: ``003``, ``20250127_120000``, or a migration's whole name.

    Raises:
        MigrationError: The text is not a version.
    """
    match = re.match(r"(\d{8}_\d{6}|\d{1,14})(?:_[A-Za-z].*)?$", text)
    if match is None:
        raise MigrationError(f"{text!r} is not a version", hint="write it as in the file's name: 003, 20250127_120000")
    return int(match[1].replace("_", ""))


def find(migrations: Iterable[Migration], text: str) -> Migration:
    """Return the migration with this name (with or without ``.sql``), version or slug.

    Raises:
        MigrationError: No migration, or more than one, fits.
    """
    known = list(migrations)
    for test in (
        lambda each: each.name in (text, f"{text}.sql"),
        lambda each: each.version is not None and re.fullmatch(r"[\d_]+", text) and each.version == parse_version(text),
        lambda each: each.slug == text,
    ):
        found = [each for each in known if test(each)]
        if len(found) == 1:
            return found[0]
        if found:
            raise MigrationError(f"{text!r} means {' and '.join(each.name for each in found)}")
    raise MigrationError(f"there is no migration {text!r}", hint="migrator status lists them")


def new_name(name: str, directory: str | Path, now: datetime) -> str:
    """Return the file name of a new migration.

    Args:
        name: The subject, in words or as a slug. A name ending in ``_rollback`` or ``_verify`` makes a companion of the
            newest migration whose slug is the rest of the name.
        directory: The folder of the migrations.
        now: The version, to the second. If the version is taken, seconds are added.

    Raises:
        MigrationError: The name cannot be made a slug, a companion has no migration, or the companion exists already.
    """
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", name.strip().removesuffix(".sql")).strip("_-")
    stem = re.fullmatch(r"(.*?)(?:_(rollback|verify))?", slug)
    if stem is None or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", stem[1]):
        raise MigrationError(f"{name!r} makes no file name", hint="begin with a letter: add_orders")
    if len(slug) > 200:
        raise MigrationError(f"the name is {len(slug)} characters long", hint="200 are enough")
    named = _named(open_directory(directory))
    if stem[2] is None:
        taken = {int(match["version"].replace("_", "")) for match in named if match["version"] != "R"}
        while int(now.strftime("%Y%m%d%H%M%S")) in taken:
            now += timedelta(seconds=1)
        return f"{now:%Y%m%d_%H%M%S}_{slug}.sql"
    same = {match["version"] for match in named if match["slug"] == stem[1] and not match["part"]} - {"R"}
    if not same:
        raise MigrationError(f"there is no migration {stem[1]!r} for this {stem[2]}", hint="migrator status lists them")
    made = f"{max(same, key=lambda version: int(version.replace('_', '')))}_{slug}.sql"
    if any(match.string == made for match in named):
        raise MigrationError(f"{made} is there already", hint="edit it")
    return made


def _named(folder: Path) -> Sequence[re.Match[str]]:
    """Return the parsed names of the SQL files of a folder, sorted."""
    try:
        names = sorted(name for name in os.listdir(folder) if name[-4:].lower() == ".sql")  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise MigrationFileError(f"cannot be read: {fault.strerror}", file=str(folder)) from fault
    found = []
    for name in names:
        match = NAME.fullmatch(name)
        if match is None:
            if name.startswith("."):
                continue
            raise MigrationFileError(
                "is not named as a migration is, and would be left out in silence",
                file=name,
                hint="name it VERSION_slug.sql (20250127_120000_add_orders.sql), or keep it in another folder",
            )
        found.append(match)
    return found


def _migration(place: str, version: str, slug: str, files: dict[str, str]) -> Migration:
    name = _join(version, slug, "")
    if "" not in files:
        part, file = next(iter(files.items()))
        raise MigrationFileError(
            f"is the {part} of a migration that is not there", file=file, hint=f"add {name}, or remove this file"
        )
    script = read_script(place + files[""])
    number = None if version == "R" else int(version.replace("_", ""))
    rollback, verify = (place + files[part] if part in files else None for part in ("rollback", "verify"))
    return Migration(name, number, slug, script, rollback, verify)


def _join(version: str, slug: str, part: str) -> str:
    return f"{version}_{slug}{'_' if part else ''}{part}.sql"


def _directives(text: str, file: str) -> Directives:
    """Read the directives in the head: the lines before the first line that is neither blank nor a ``--`` comment."""
    fields: dict[str, Any] = {}
    head = True
    for number, line in enumerate(text.split("\n"), 1):
        head = head and (not line.strip() or line.lstrip().startswith("--"))
        match = re.fullmatch(_DIRECTIVE, line)
        if match is None:
            continue
        if not head:
            raise MigrationFileError(
                "a directive stands after the first statement, where it is not read",
                file=file,
                line=number,
                hint="move it to the top of the file",
            )
        for word in match[1].split():
            key, _, value = word.partition("=")
            if key in fields:
                raise MigrationFileError(f"{key} is given twice", file=file, line=number)
            fields[key] = _directive(key, value, file, number)
    known = {_FIELDS[key]: value for key, value in fields.items()}
    return PLAIN._replace(**known)


_FIELDS = {
    "transaction": "transaction",
    "lock_timeout": "lock_timeout_s",
    "statement_timeout": "statement_timeout_s",
    "requires": "requires",
    "irreversible": "irreversible",
    "allow": "allow",
}


def _directive(key: str, value: str, file: str, line: int) -> object:
    listed = tuple(part for part in value.split(",") if part)
    if key == "transaction" and value in ("on", "off"):
        return value == "on"
    if key in ("lock_timeout", "statement_timeout") and (match := re.fullmatch(_DURATION, value)):
        return int(match[1]) * _SECONDS[match[2]]
    if key == "requires" and listed:
        return listed
    if key == "allow" and listed:
        _refuse_unknown_rules(listed, file, line)
        return frozenset(listed)
    if key == "irreversible" and not value:
        return True
    if key in _FIELDS:
        raise MigrationFileError(
            f"the directive {key} does not take {value!r}",
            file=file,
            line=line,
            hint="transaction=on|off lock_timeout=5s statement_timeout=1min requires=NAME irreversible allow=RULE",
        )
    raise MigrationFileError(
        f"there is no directive {key!r}", file=file, line=line, hint="there are: " + ", ".join(_FIELDS)
    )


def _refuse_unknown_rules(names: Sequence[str], file: str, line: int) -> None:
    from kbstore.migrator.lint import RULES, is_known_rule

    for name in names:
        if not is_known_rule(name):
            raise MigrationFileError(
                f"allow= names {name!r}, and no rule is called that",
                file=file,
                line=line,
                hint="there are: " + ", ".join(sorted(RULES)) + ", and those of squawk as squawk/NAME",
            )
