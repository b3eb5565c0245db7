"""The author of a commit: the option, KBSTORE_AUTHOR, the configuration, git's user, else user@host."""

import os
from pathlib import Path

from kbstore.history.change import default_author


def author_of(option: str | None, configured: str, folder: Path) -> str:
    """Return the author for a commit made now.

    Args:
        option: The value of ``--author``.
        configured: The author in ``.kbstore/config.json``.
        folder: The folder for asking git for the user.
    """
    return option or os.environ.get("KBSTORE_AUTHOR") or configured or _git_user(folder) or default_author()


def _git_user(folder: Path) -> str:
    """Return ``Name <address>`` from git's settings in a folder; empty without git or without a user."""
    import subprocess

    command = ["git", "config", "--null", "--get-regexp", r"^user\.(name|email)$"]
    try:
        answer = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found: dict[str, str] = {}
    for entry in answer.stdout.decode("utf-8", "replace").split("\0"):
        key, _, value = entry.partition("\n")
        found[key] = value.strip()
    name, address = found.get("user.name", ""), found.get("user.email", "")
    return f"{name} <{address}>" if name and address else name or address
