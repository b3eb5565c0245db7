"""Checks of names and ids from callers, so that every name is safe as a file name, key or SQL value.

A wrong name is a mistake of the calling code, not of a user, hence `ValueError`.
"""

import re

_LOG = re.compile(r"[0-9a-z]{1,16}")
_NOTE = re.compile(r"[0-9a-z/-]{1,40}")
_ADDRESS_BYTES = 32
MAX_WRITE_ID = 64
"""Longest id of a write, in characters."""


def is_log(name: str) -> bool:
    """Return whether a log may have this name; a name read from a store may be damaged."""
    return _LOG.fullmatch(name) is not None


def check_log(log: str) -> str:
    """Return the name of a log, checked.

    Raises:
        ValueError: The name is not 1 to 16 characters of ``[0-9a-z]``.
    """
    if not is_log(log):
        raise ValueError(f"a log's name is 1 to 16 characters of [0-9a-z], not {log!r}")
    return log


def check_note(name: str) -> str:
    """Return the name of a note, checked.

    Raises:
        ValueError: The name is not 1 to 40 characters of ``[0-9a-z/-]``.
    """
    if not _NOTE.fullmatch(name):
        raise ValueError(f"a note's name is 1 to 40 characters of [0-9a-z/-], not {name!r}")
    return name


def check_write_id(write_id: str) -> str:
    """Return the id of a write, checked.

    Raises:
        ValueError: The id is empty or longer than `MAX_WRITE_ID` characters.
    """
    if not 0 < len(write_id) <= MAX_WRITE_ID:
        raise ValueError(f"a write id has 1 to {MAX_WRITE_ID} characters, not {len(write_id)}")
    return write_id


def check_address(address: bytes) -> bytes:
    """Return the address of a chunk, checked.

    Raises:
        ValueError: The address is not 32 bytes long.
    """
    if len(address) != _ADDRESS_BYTES:
        raise ValueError(f"the address of a chunk is the 32 bytes of a SHA-256, not {len(address)} bytes")
    return address
