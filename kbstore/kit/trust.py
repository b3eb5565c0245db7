"""Trust in configurations: the user's own configuration, and places explicitly trusted by the user.

A project is found in the current folder or above, so the project may come from anybody: in /tmp, on a share, in an
archive. Such a configuration could choose the server for the user's credentials, and the commands to run. So a
configuration is used if the file and its folders belong to the user (or to root), and no other user could have written
the file. Everything else needs ``kbstore trust DIR`` or ``KBSTORE_TRUST``. Only command lines ask for trust; a program
that names a place has decided already.
"""

import errno
import json
import os
import shlex
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, urlsplit

from kbstore.kit.errors import BackendError
from kbstore.kit.private_files import make_private_folder

VARIABLE = "KBSTORE_TRUST"
"""The environment variable with trusted folders, separated as in PATH."""

FILE = Path("kbstore", "trust.toml")
"""The file below XDG_CONFIG_HOME, or ~/.config."""

OWN_VARIABLES = "HEALTH_"
"""The prefix of the environment variables that any configuration may use."""

_PROJECT = ".kbstore"
_LINKS = 40  # as many as the system follows

LARGEST_BYTES = 1 << 20
"""The largest size of a configuration."""

_CHOOSING = {"endpoint", "profile", "cache", "ca"}
"""Options of a URL that choose the receiver of the user's credentials, or files to write on this machine."""


class Untrusted(BackendError):
    """A configuration was found, but is not the user's own, so nothing in it was used."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The places trusted by the user.

    Attributes:
        folders: Trusted folders, with everything below; absolute, without links.
        urls: Stores of projects, as written in the projects.
    """

    folders: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    def covers(self, place: Path) -> bool:
        """Return whether a place is in a trusted folder."""
        real = os.path.realpath(place)
        return any(os.path.commonpath([folder, real]) == folder for folder in self.folders)


def load(environ: Mapping[str, str]) -> Trust:
    """Read the trusted places from the file and the environment.

    Raises:
        Untrusted: The file cannot be read, or is not the user's own.
    """
    found = _read(_file(environ))
    named = {os.path.realpath(each) for each in environ.get(VARIABLE, "").split(os.pathsep) if each}
    return Trust(found.folders | named, found.urls)


def change(environ: Mapping[str, str], place: str, *, remove: bool = False) -> str:
    """Add or remove a trusted folder or URL; return the place in the stored form.

    Raises:
        Untrusted: The place is not a folder, nor the URL of a store on S3, or the file cannot be written. Or the place
            to remove is not stored; perhaps a parent folder is trusted.
    """
    file = _file(environ)
    if file is None:
        raise Untrusted("there is no folder for your configuration", hint="set XDG_CONFIG_HOME")
    known = _read(file)
    folders, urls = set(known.folders), set(known.urls)
    is_url = "://" in place
    kept = place if is_url else os.path.realpath(place)
    if not remove and not is_url and not Path(kept).is_dir():
        raise Untrusted(f"{place} is not a folder", hint="name the folder that holds the configuration, or a URL")
    if not remove and is_url and not place.lower().startswith("s3://"):
        raise Untrusted(
            f"{place} is not the URL of a store on S3, and no other needs trust",
            hint="name the URL as the project's configuration has it: s3://BUCKET/PREFIX?endpoint=...",
        )
    group = urls if is_url else folders
    if remove and kept not in group:
        over = covering(environ, place)
        raise Untrusted(
            f"{place} is trusted because {over} is" if over else f"{place} is not trusted",
            hint=_how_to_end(over, folders) if over else "kbstore trust lists what is",
        )
    group.discard(kept) if remove else group.add(kept)
    text = _array("folders", folders) + _array("urls", urls)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        make_private_folder(file.parent)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
        draft.replace(file)
    except OSError as fault:
        raise Untrusted(f"{file} cannot be written: {fault.strerror}", hint=f"or set {VARIABLE}") from fault
    return kept


def covering(environ: Mapping[str, str], place: str) -> str:
    """Return the trusted folder that covers a folder, or the URL if the URL is trusted; empty if not trusted."""
    known = load(environ)
    if "://" in place:
        return place if place in known.urls else ""
    real = os.path.realpath(place)
    return max((each for each in known.folders if os.path.commonpath([each, real]) == each), key=len, default="")


def _how_to_end(folder: str, kept: set[str]) -> str:
    """Return the command or step for ending the trust in a folder."""
    return f"kbstore trust --remove {shlex.quote(folder)}" if folder in kept else f"take it out of {VARIABLE}"


def _array(name: str, values: set[str]) -> str:
    """Return a list in TOML; the strings have the escapes of JSON."""
    lines = [f"    {json.dumps(each, ensure_ascii=False)},\n" for each in sorted(values)]
    return f"{name} = [\n{''.join(lines)}]\n"


def refuse_foreign(file: Path, environ: Mapping[str, str]) -> None:
    """Refuse a found configuration, unless the configuration is the user's own or trusted.

    Args:
        file: The configuration, or a folder.
        environ: The environment.

    Raises:
        Untrusted: The configuration belongs to another user, or another user could have written it.
    """
    folder = file.parent
    for place in (*_steps(file), *(_steps(folder) if folder.name == _PROJECT else ())):
        why = _foreign(place)
        is_folder = place.is_dir() and not place.is_symlink()
        inside = place if is_folder and place.name != _PROJECT else place.parent
        root = inside.parent if inside.name == _PROJECT else inside
        if why and not load(environ).covers(inside):
            shown = os.path.abspath(file)  # noqa: PTH100 - as the user sees it
            raise Untrusted(
                f"{shown} is not obeyed: {why}", hint=f"if you trust all that is in there: {_command(root)}"
            )


def _command(place: str | Path) -> str:
    return f"kbstore trust {shlex.quote(str(place))}"


def refuse_foreign_target(file: Path, root: Path, environ: Mapping[str, str]) -> None:
    """Refuse a project's file if a link leads out of the project's folder, unless the folder is trusted.

    Raises:
        Untrusted: The file would be written elsewhere.
    """
    real, folder = os.path.realpath(file), os.path.realpath(root)
    if os.path.commonpath([real, folder]) != folder and not load(environ).covers(root):
        raise Untrusted(
            f"{file} leads out of its folder, to {real}",
            hint=f"if that is meant: {_command(os.path.abspath(root))}",  # noqa: PTH100
        )


def refuse_foreign_url(url: str, file: Path, environ: Mapping[str, str]) -> None:
    """Refuse a project's store URL that chooses a server or a folder, unless the user trusts the URL.

    Raises:
        Untrusted: The URL makes such a choice, and is not trusted on this machine.
    """
    try:
        chosen = _CHOOSING.intersection(name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))
    except ValueError:
        return  # not the URL of a store: opening the store reports the error
    if not chosen:
        return
    trust = load(environ)
    if url not in trust.urls and not trust.covers(file):
        raise Untrusted(
            f"the URL in {file} says where your credentials go ({', '.join(sorted(chosen))}); you have not trusted it",
            hint=f"if that is your server: {_command(url)}",
        )


def trust_url(url: str, environ: Mapping[str, str]) -> None:
    """Trust a store's URL named by the user, if the URL needs trust and the trust can be stored."""
    try:
        refuse_foreign_url(url, Path(os.sep), environ)
    except Untrusted:
        with suppress(Untrusted):  # then commands of the project ask the user later
            change(environ, url)


def fills_in(name: str, file: Path, environ: Mapping[str, str]) -> bool:
    """Return whether a found configuration may use an environment variable."""
    return name.startswith(OWN_VARIABLES) or load(environ).covers(file)


def _steps(file: Path) -> list[Path]:
    """Return a file in the real folder; for a link, also the target, link by link."""
    steps: list[Path] = []
    place = file
    while len(steps) < _LINKS:
        whole = place.name in ("", "..")
        place = Path(os.path.realpath(place) if whole else os.path.join(os.path.realpath(place.parent), place.name))  # noqa: PTH118
        steps.append(place)
        if not place.is_symlink():
            break
        place = place.parent / place.readlink()
    return steps


def _foreign(real: Path) -> str:
    """Return the reason why a configuration, or a link to it, may come from another user; empty if it cannot.

    The folders of `real` must not be links.
    """
    if not hasattr(os, "geteuid"):
        return ""
    user = os.geteuid()
    own = [real, real.parent, real.parent.parent] if real.parent.name == _PROJECT else [real, real.parent]
    for place in (*own, *(each for each in real.parents if each not in own)):
        try:
            found = place.lstat()
        except OSError as fault:
            return f"{place} cannot be looked at ({fault.strerror})"
        # In a folder like /tmp, with the sticky bit set, no user can move another user's files.
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & stat.S_IWOTH and not sticky and not stat.S_ISLNK(found.st_mode):
            return f"everybody may write {place}"
        if place in own and found.st_uid not in (user, 0) and not _is_shared_place(place, real):
            return f"{place} belongs to another user (uid {found.st_uid})"
    return ""


def _is_shared_place(place: Path, file: Path) -> bool:
    """Return whether this is a folder like /tmp, with files of many owners."""
    return place != file and bool(place.stat().st_mode & stat.S_ISVTX)


def read_small(file: Path, most_bytes: int = LARGEST_BYTES) -> bytes:
    """Read a whole configuration, if the size is acceptable.

    Raises:
        OSError: The file is too large, is not a regular file, or cannot be read.
    """
    with _regular(file) as source:
        return _small(source, most_bytes)


def _small(source: IO[bytes], most_bytes: int = LARGEST_BYTES) -> bytes:
    data = source.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EOVERFLOW, f"it is larger than {most_bytes >> 20} MiB")
    return data


def _regular(file: Path) -> IO[bytes]:
    """Open a regular file of unknown origin; refuse a pipe, which could block for ever, and a device."""
    if stat.S_ISREG(file.stat().st_mode):
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
        source = os.fdopen(handle, "rb")
        if stat.S_ISREG(os.fstat(handle).st_mode):  # it may have been exchanged
            return source
        source.close()
    raise OSError(errno.EINVAL, "it is not a regular file")


def _file(environ: Mapping[str, str]) -> Path | None:
    base = environ.get("XDG_CONFIG_HOME") or (environ.get("HOME") and os.path.join(environ["HOME"], ".config"))  # noqa: PTH118
    return Path(base) / FILE if base else None


def _read(file: Path | None) -> Trust:
    import tomllib

    if file is None:
        return Trust()
    try:
        with _regular(file) as source:
            found = os.fstat(source.fileno())
            if hasattr(os, "geteuid") and (found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH):
                raise Untrusted(f"{file} is not your own, or everybody may write it", hint="look at it, then remove it")
            table = tomllib.loads(_small(source).decode())
        lists = [table.get(name, []) for name in ("folders", "urls")]
        if any(not isinstance(one, str) for each in lists for one in each):
            raise TypeError("folders and urls are lists of texts")
        return Trust(*(frozenset(each) for each in lists))
    except FileNotFoundError:
        return Trust()
    except OSError as fault:
        raise Untrusted(f"{file} cannot be read: {fault.strerror}", hint="check its permissions") from fault
    except (ValueError, TypeError, RecursionError) as fault:
        raise Untrusted(f"{file} is malformed: {fault}", hint="fix it, or remove it and trust again") from fault
