"""Finds and reads the configuration: ``health.toml``, or ``[tool.health]`` in ``pyproject.toml``, upward of a folder.

Without a configured store, the project around the folder gives the store; without a configured state folder, a default
place is used. Paths in a file are relative to the file. ``${NAME}`` in a text stands for an environment variable: so
the file can be kept with the code, and passwords elsewhere.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

from kbstore.health.errors import ConfigError
from kbstore.health.settings import Settings, Targets
from kbstore.kit.trust import fills_in, read_small, refuse_foreign, refuse_foreign_target, refuse_foreign_url

FILE = "health.toml"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # also builtin:NAME, of migrator


def load(
    folder: Path,
    environ: Mapping[str, str],
    *,
    file: Path | None = None,
    store: str | None = None,
    database: str | None = None,
) -> Settings:
    """Return the settings for a folder.

    Args:
        folder: Folder at which the search begins, upward.
        environ: The environment.
        file: Read this file instead of searching.
        store: Store to use instead of the file's.
        database: Database to use instead of the file's.

    Raises:
        ConfigError: The file cannot be read, or has a wrong setting.
    """
    found = (file, _table(file)) if file is not None else _find(folder, environ)
    settings, home = Settings(), folder
    if found is not None:
        path, table = found
        settings = parse(table, path, environ, found=file is None)
        home = path.parent
        settings = replace(
            settings,
            targets=_anchored(settings.targets, home),
            sinks=tuple(replace(sink, path=_under(home, sink.path)) for sink in settings.sinks),
            folder=os.path.abspath(home),  # noqa: PTH100 - a link stays one
        )
    chosen = settings.targets
    chosen = replace(
        chosen,
        store=store or chosen.store or environ.get("KBSTORE_STORE") or None,
        database=database or chosen.database,
    )
    if chosen.store is None:
        chosen = _with_project(chosen, folder, environ)
    if chosen.state is None:
        chosen = replace(chosen, state=str(_state_folder(chosen, home if found else None, environ)))
    return replace(settings, targets=chosen)


def parse(table: Mapping[str, Any], path: Path, environ: Mapping[str, str], *, found: bool = False) -> Settings:
    """Return the settings in a table of a configuration file.

    Args:
        table: Table as read from TOML.
        path: Path of the file, for messages.
        environ: Values for ``${NAME}``.
        found: True if nobody named the file: then `kbstore.kit.trust.fills_in` limits the variables.

    Raises:
        ConfigError: A key is unknown, a value has the wrong form, or a variable is not set.
    """
    from pydantic import TypeAdapter, ValidationError

    if "folder" in table:
        raise ConfigError(f"{path}: there is no setting 'folder'", hint="commands run in the folder of this file")
    try:
        return TypeAdapter(Settings).validate_python(_expanded(table, path, environ, found))
    except RecursionError:
        raise ConfigError(f"{path} is malformed: it is nested too deeply") from None
    except ValidationError as fault:
        error = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            known = _siblings(error["loc"])
            near = get_close_matches(str(error["loc"][-1]), known, n=1)
            raise ConfigError(
                f"{path}: there is no setting {where!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known here are {', '.join(known)}",
            ) from None
        raise ConfigError(f"{path}: {where}: {error['msg'][:1].lower()}{error['msg'][1:]}") from None


def _find(folder: Path, environ: Mapping[str, str]) -> tuple[Path, Mapping[str, Any]] | None:
    for place in (folder, *folder.parents):
        if (path := place / FILE).is_file() or (
            (path := place / "pyproject.toml").is_file() and b"[tool.health" in _bytes(path)
        ):
            refuse_foreign(path, environ)  # before it is parsed
            return path, _table(path)
    return None


def _table(path: Path) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(_bytes(path).decode())
    except (ValueError, RecursionError) as fault:
        raise ConfigError(f"{path} is malformed, not TOML: {fault}") from None
    if path.name == "pyproject.toml":
        found = table.get("tool", {}).get("health", {})
        return found if isinstance(found, dict) else {}
    return table


def _bytes(path: Path) -> bytes:
    try:
        return read_small(path)
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror}") from None


def _expanded(value: Any, path: Path, environ: Mapping[str, str], found: bool) -> Any:
    if isinstance(value, str):

        def text_of(match: re.Match[str]) -> str:
            if found and not fills_in(match[1], path, environ):
                raise ConfigError(
                    f"{path} may not use the environment variable {match[1]}: nobody named this file",
                    hint=f"trust its folder: kbstore trust {path.parent}; or name the file with --config",
                )
            if match[1] not in environ:
                raise ConfigError(f"{path}: the environment variable {match[1]} is not set")
            return environ[match[1]]

        return _VARIABLE.sub(text_of, value)
    if isinstance(value, dict):
        return {key: _expanded(item, path, environ, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, path, environ, found) for item in value]
    return value


def _siblings(where: tuple[int | str, ...]) -> list[str]:
    """Return the names of all settings beside this setting."""
    kind: Any = Settings
    for part in where[:-1]:
        if is_dataclass(kind):
            kind = {f.name: f.type for f in fields(kind)}.get(str(part))
        else:
            # A member of a list, or of a table with free names.
            kind = next((a for a in getattr(kind, "__args__", ()) if is_dataclass(a)), None)
    return [f.name for f in fields(kind) if f.name != "folder"] if kind is not None and is_dataclass(kind) else []


def _anchored(targets: Targets, home: Path) -> Targets:
    """Return the targets with paths that no longer depend on the current folder."""
    database = targets.database
    if database is not None and (found := re.fullmatch(r"(sqlite:///)([^/:].*)", database)):
        database = found[1] + str(home / found[2])
    return replace(
        targets,
        store=_under(home, targets.store),
        database=database,
        migrations=_under(home, targets.migrations),
        paths=tuple(str(home / Path(text).expanduser()) for text in targets.paths),
        state=_under(home, targets.state),
    )


def is_url(location: str) -> bool:
    """Return whether a store or a folder of migrations is a URL, or comes with a program (``builtin:NAME``)."""
    return _URL.match(location) is not None


def _under(home: Path, text: str | None) -> str | None:
    """Return a path of a configuration in `home`; a URL stays unchanged."""
    return text if text is None or is_url(text) else str(home / Path(text).expanduser())


def _with_project(targets: Targets, folder: Path, environ: Mapping[str, str]) -> Targets:
    """Return the targets with the store of the project around a folder, if there is a project.

    The few fields are read here, since `kbstore.worktree.project` loads the whole store; only a worker needs the store.
    """
    for place in (folder, *folder.parents):
        path = place / ".kbstore" / "config.json"
        if not path.is_file():
            continue
        refuse_foreign(path, environ)
        try:
            chosen = json.loads(_bytes(path))
            store, branch = str(chosen.get("store", "kb.db")), str(chosen.get("branch", "main"))
        except (ValueError, AttributeError, RecursionError):
            raise ConfigError(f"{path} is malformed", hint="run: kbstore status") from None
        if is_url(store):
            refuse_foreign_url(store, path, environ)
        elif not Path(store).is_absolute():
            home = Path(os.path.realpath(path.parent)).parent  # several folders may share a project by a link
            refuse_foreign_target(path.parent / store, home, environ)
        own = targets.branch if targets.branch != Targets().branch else branch
        return replace(targets, store=store if is_url(store) else str(path.parent / store), branch=own)
    return targets


def _state_folder(targets: Targets, home: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the default folder of the state.

    The folder is beside the configuration or the project's store, else among the user's folders for state.
    """
    if home is not None:
        return home / ".health"
    store = targets.store
    if store is not None and not is_url(store) and Path(store).parent.name == ".kbstore":
        return Path(store).parent / "health"
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or os.sep).joinpath(".local", "state")
    about = repr((os.path.abspath(store) if store and not is_url(store) else store, targets.database))  # noqa: PTH100 - no link is followed
    return Path(base, "kbstore-health", sha256(about.encode()).hexdigest()[:16])
