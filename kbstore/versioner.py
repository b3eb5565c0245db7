"""The API of the user's guide: versions of a JSON file in a few calls. A thin layer over `Store`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kbstore.errors import InvalidJSON, RevisionError
from kbstore.history.version import Version
from kbstore.kit.clock import Clock
from kbstore.store import Store
from kbstore.worktree.json_file import WorkFile, mode_like
from kbstore.worktree.project import open_for_file
from kbstore.worktree.taken import BaseUnknown
from kbstore.worktree.working_copy import WorkingCopy


class KnowledgeBaseVersioner:
    """Versions of one knowledge-base file. The history is kept in ``.kbstore/`` beside the file.

    Args:
        path: The JSON file.
        clock: Gives the time; the machine's clock by default.

    Raises:
        WorkFileError: Neither the file nor a history of the file exists.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None) -> None:
        project, self._store = open_for_file(Path(path), clock=clock)
        self._copy = WorkingCopy(self._store, WorkFile(path), project, mode=mode_like(path, self._store.location))

    @property
    def store(self) -> Store:
        """The store that holds the versions."""
        return self._store

    def create_version(self, description: str = "", author: str = "", tags: Sequence[str] = ()) -> str:
        """Make a version of the file as it is now.

        Returns:
            The name of the version, such as ``v3_20250127_120000``. If the file has not changed, the name of the newest
            version.
        """
        return self._copy.commit(message=description, author=author, tags=tags).name

    def list_versions(self) -> list[dict[str, Any]]:
        """Return all versions, oldest first.

        Each version is a dict with ``version_id``, ``description``, ``author``, ``tags``, ``time`` and ``id``.
        """
        return [_row(version) for version in self._store.log(newest_first=False)]

    def restore_version(self, version_id: str) -> bool:
        """Write the file as it was at a version, and make the restored content the newest version.

        The present content of the file is never lost. If the content is not in any version, a version of it is made
        first. A file that is not JSON at present cannot become a version; it is copied to a file beside it whose name
        ends in ``.damaged``.

        Args:
            version_id: A name, also a shortened name such as ``v2_20250126``, or a tag.

        Returns:
            False if the version does not exist or has no document (``v0``); nothing was done then.

        Raises:
            ConflictError: Another writer committed at the same time; the file is unchanged.
            FileNotWritten: The version was made, but the file could not be written.
        """
        try:
            target = self._store.version(version_id)
        except RevisionError:
            return False
        if target.seq == 0:
            return False
        damaged = not self._keep(f"Before restoring {target.name}")
        self._copy.restore(target, force=damaged)
        return True

    def _keep(self, why: str) -> bool:
        """Make a version of uncommitted content; if the file is not JSON, copy the file aside and return False."""
        try:
            clean = self._copy.status().clean
        except BaseUnknown:
            clean = False
        except InvalidJSON:
            self._copy.file.set_aside()
            return False
        if not clean:
            self._copy.commit(message=why, base="HEAD")  # the version equals the file, whatever others committed
        return True

    def compare_versions(self, old: str, new: str) -> dict[str, list[str]]:
        """Return the ids of the entries ``added``, ``removed`` and ``modified`` between two versions.

        Raises:
            RevisionError: A version does not exist.
        """
        diff = self._store.diff(old, new)
        return {"added": diff.added, "removed": diff.removed, "modified": diff.modified}

    def tag(self, name: str, version_id: str) -> None:
        """Name a version; an existing name is moved."""
        self._store.tag(name, version_id, force=True)

    def close(self) -> None:
        """Release the store's files."""
        self._store.close()


def _row(version: Version) -> dict[str, Any]:
    fields = version.as_dict()
    return {
        "version_id": version.name,
        "description": version.message,
        "author": version.author,
        "tags": list(version.tags),
        "time": fields["time"],
        "id": version.id,
    }
