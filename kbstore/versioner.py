"""The face of the user's guide: versions of one JSON file, by few words. A thin layer over `Store`."""

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
    """Versions of one knowledge-base file. Its history is kept in ``.kbstore/`` beside the file.

    Args:
        path: The JSON file.
        clock: Gives the time; the machine's by default.

    Raises:
        WorkFileError: There is neither the file nor a history of it.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None) -> None:
        project, self._store = open_for_file(Path(path), clock=clock)
        self._copy = WorkingCopy(self._store, WorkFile(path), project, mode=mode_like(path, self._store.location))

    @property
    def store(self) -> Store:
        """The store underneath."""
        return self._store

    def create_version(self, description: str = "", author: str = "", tags: Sequence[str] = ()) -> str:
        """Make a version of the file as it is now.

        Returns:
            Its name, as ``v3_20250127_120000``; the newest one's where the file has not changed since.
        """
        return self._copy.commit(message=description, author=author, tags=tags).name

    def list_versions(self) -> list[dict[str, Any]]:
        """All versions, oldest first: dicts with ``version_id``, ``description``, ``author``, ``tags``, ``time``."""
        return [_row(version) for version in self._store.log(newest_first=False)]

    def restore_version(self, version_id: str) -> bool:
        """Write the file as it was at a version, and make that the newest version.

        Nothing that the file holds is lost: what is in no version is made one first. A file that is no JSON just now
        cannot be a version; it is copied to a file beside it whose name ends in ``.damaged``.

        Args:
            version_id: A name, also a shortened one such as ``v2_20250126``, or a tag.

        Returns:
            False where there is no such version, or one without a document (``v0``); nothing was done then.

        Raises:
            ConflictError: Somebody committed at the same time; the file is as it was.
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
        """Make a version of what is in none; False where the file is no JSON, and was set aside instead."""
        try:
            clean = self._copy.status().clean
        except BaseUnknown:
            clean = False
        except InvalidJSON:
            self._copy.file.set_aside()
            return False
        if not clean:
            self._copy.commit(message=why, base="HEAD")  # as the file is, whatever others committed since it was taken
        return True

    def compare_versions(self, old: str, new: str) -> dict[str, list[str]]:
        """Ids of the entries that were ``added``, ``removed`` and ``modified`` from one version to another.

        Raises:
            RevisionError: There is no such version.
        """
        diff = self._store.diff(old, new)
        return {"added": diff.added, "removed": diff.removed, "modified": diff.modified}

    def tag(self, name: str, version_id: str) -> None:
        """Name a version; a name that exists is moved."""
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
