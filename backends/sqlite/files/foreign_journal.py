"""Detects a rollback journal that belongs to another file than the file beside it.

A program that changed the journal mode and was killed leaves a journal, and SQLite writes the pages in the journal over
whatever file has the name by then. The first page in the journal has the mark of the last write (see `foreign_log`) of
the journal's file. A journal of a program that set ``user_version`` and was killed in the middle is refused as well.
"""

import os
import struct
from pathlib import Path

from kbstore.backends.sqlite.files.foreign_log import number_of, unproven

_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_HEADER = struct.Struct(">8s I 8x I I")
"""Records, sector size, page size; the layout is https://www.sqlite.org/fileformat2.html#the_rollback_journal."""
_NUMBER_AT = 60
_TO_THE_END = 0xFFFFFFFF
_SMALLEST, _LARGEST = 32, 65_536


def refuse_foreign_journal(path: Path, journal: str) -> None:
    """Make sure that a journal is the file's own journal; changes nothing.

    Args:
        path: The file.
        journal: The rollback journal beside the file; not empty.

    Raises:
        StoreUnavailable: The journal was made for another file, or for another state of this file.
    """
    kept, found = _kept_number(journal), number_of(path)
    if kept is None or found is None or kept == found:
        return
    raise unproven(path, journal)


def _kept_number(journal: str) -> int | None:
    """Return the mark in the first page in a journal; None if the journal would change no first page."""
    try:
        with open(journal, "rb") as file:  # noqa: PTH123 - it carries no locks
            size = os.fstat(file.fileno()).st_size
            start = 0
            while len(header := os.pread(file.fileno(), _HEADER.size, start)) == _HEADER.size:
                magic, records, sector_bytes, page_bytes = _HEADER.unpack(header)
                if magic != _MAGIC or not (_SMALLEST <= sector_bytes <= _LARGEST and 512 <= page_bytes <= _LARGEST):
                    return None
                record_bytes = page_bytes + 8
                at = start + sector_bytes
                if records == _TO_THE_END:
                    records = max(0, size - at) // record_bytes
                for number in range(records):
                    page = os.pread(file.fileno(), _NUMBER_AT + 8, at + number * record_bytes)
                    if len(page) == _NUMBER_AT + 8 and page[:4] == b"\0\0\0\1":
                        return int.from_bytes(page[-4:])
                end = at + records * record_bytes
                start = -(-end // sector_bytes) * sector_bytes
    except OSError:
        return None
    return None
