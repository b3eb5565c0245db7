"""Names of objects: fixed-width segments of ``[0-9a-z]``, so that names sort in the order of their numbers.

::

    kbstore                      the marker: the format, and the store's random id
    log/<log>/<slot>             a slot; created once, never overwritten, never deleted
    blob/<sha-256>               parts of a slot that is too large for one object; truth, like slots
    hint/<log>                   recent position of the head; overwritten, never trusted
    pack/<log>/<tier>/<index>    copies of the events of many slots, for reading many at once
    snap/<log>/<snapshot>        index of one snapshot; the name holds number, tier, note and sizes
    data/<store>/<token>/<n>     the chunks of a large snapshot
    note/<name>/<number>         small caches of the store itself
    probe/<token>                test whether a new server keeps conditions; not needed after the test
    trash/<store>/<token>        names of objects to remove when the grace period is over

``<store>`` is the id in the marker, so objects of another store below the same prefix are never taken for this store's.

The segment for a log is one digit for the length of the name, the name, and zeros up to a fixed width. LIST starts only
after a full key of the level that is listed: some servers walk a tree of folders, and skip keys otherwise.
"""

import base64
import binascii
import re
import string
import zlib
from typing import NamedTuple

MARKER = "kbstore"
_DIGITS = string.digits + string.ascii_lowercase
_NUMBER = 12
_LOG = 16
_LONGEST_SEGMENT = 200
_LONGEST_NAME = 500
_TOKEN = 16
_LEAD = 8
_LONGEST_DETAIL = 4096
_USUAL = b'0123456789abcdef,","root":""size":}y{"on":null[],"operations":0'
"""Text that notes usually contain, as deflate dictionary to shorten names. Reading a name needs the same dictionary."""
_PROBE = re.compile(rf"probe/([0-9a-f]{{{_TOKEN}}})(/[0-9])?")
_DATA = re.compile(rf"data/([0-9a-f]{{{_TOKEN}}})/([0-9a-f]{{{_TOKEN}}})/[0-9]{{4,}}")
_TRASH = re.compile(rf"trash/([0-9a-f]{{{_TOKEN}}})/[0-9a-f]{{{_TOKEN}}}")
KINDS = ("log", "blob", "hint", "pack", "snap", "data", "note", "probe", "trash")
"""The first segments of all keys except the marker."""
NUMBER_LIMIT = 10**_NUMBER
"""Numbers in keys are smaller than this."""


_CACHES = ("hint/", "pack/", "snap/", "data/", "note/")


class SnapshotName(NamedTuple):
    """The data in the name of a snapshot's object.

    Attributes:
        number: The record after which the snapshot was taken.
        tier: 1 to 3.
        token: Random text to distinguish the snapshots of a record, and to name their data.
        size_bytes: Stored bytes of all chunks.
        index_bytes: Length of the object.
        leads_bytes: Length of the beginning with the list of the chunks.
        inner_bytes: Length of the beginning with, in addition, the uppermost chunks, on the way to all others.
        lead: First bytes of the address of the first chunk; empty if the snapshot has no chunks.
        requires: Numbers of the snapshots required by this snapshot.
        note: The caller's bytes; None if only the object holds the note.
    """

    number: int
    tier: int
    token: str
    size_bytes: int
    index_bytes: int
    leads_bytes: int
    inner_bytes: int
    lead: bytes
    requires: tuple[int, ...]
    note: bytes | None


def is_cache(key: str) -> bool:
    """Return whether the object under a key can be made again from other objects."""
    return key.startswith(_CACHES)


def log_segment(log: str) -> str:
    """Return the key segment for a log."""
    return f"{_DIGITS[len(log)]}{log:0<{_LOG}}"


def log_of(segment: str) -> str | None:
    """Return the log of a key segment; None if the segment is not valid."""
    if len(segment) != _LOG + 1 or segment[0] not in _DIGITS:
        return None
    log = segment[1 : 1 + _DIGITS.index(segment[0])]
    return log if log and log_segment(log) == segment else None


def number_segment(number: int) -> str:
    """Return the key segment for a number."""
    return f"{number:0{_NUMBER}d}"


def number_of(segment: str) -> int | None:
    """Return the number of a key segment; None if the segment is not valid."""
    return int(segment) if len(segment) == _NUMBER and segment.isascii() and segment.isdigit() else None


def slot_key(log: str, slot: int) -> str:
    """Return the key of a slot."""
    return f"log/{log_segment(log)}/{number_segment(slot)}"


def probe_key(token: str, number: int | None = None) -> str:
    """Return the key of an object that tests a server."""
    return f"probe/{token}" if number is None else f"probe/{token}/{number}"


def probe_data(token: str) -> bytes:
    """Return the content of a test object: a head that names the key, and every byte value."""
    return _probe_head(token) + bytes(range(256))


def _probe_head(token: str) -> bytes:
    return b"kbstore probe %s\r\n\0" % token.encode()


def is_probe(key: str, data: bytes) -> bool:
    """Return whether an object is a test of a server: the content names the key."""
    found = _PROBE.fullmatch(key)
    return found is not None and data.startswith(_probe_head(found[1]))


def data_key(store: str, token: str, number: int) -> str:
    """Return the key of an object with chunks of a snapshot."""
    return f"data/{store}/{token}/{number:04d}"


def data_token(key: str, store: str) -> str | None:
    """Return the snapshot's token in a data key; None if the key is not a data key of this store."""
    found = _DATA.fullmatch(key)
    return found[2] if found is not None and found[1] == store else None


def trash_key(store: str, token: str) -> str:
    """Return the key of a list of objects to remove later."""
    return f"trash/{store}/{token}"


def is_trash(key: str, store: str) -> bool:
    """Return whether a key is a trash key of this store."""
    found = _TRASH.fullmatch(key)
    return found is not None and found[1] == store


def hint_key(log: str) -> str:
    """Return the key of a log's hint."""
    return f"hint/{log_segment(log)}"


def pack_key(log: str, tier: str, index: int) -> str:
    """Return the key of a pack."""
    return f"pack/{log_segment(log)}/{tier}/{number_segment(index)}"


def note_folder(name: str) -> str:
    """Return the prefix of the keys of all notes with a name."""
    return f"note/{_letters(name.encode())}/"


def note_name(segment: str) -> str | None:
    """Return the name that the segment of a note folder encodes; None if the segment is not valid."""
    raw = _bytes(segment)
    try:
        return raw.decode() if raw is not None else None
    except UnicodeDecodeError:
        return None


def snapshot_key(log: str, name: SnapshotName) -> str:
    """Return the key of a snapshot, with the note in the key if there is room."""
    head = f"{number_segment(name.number)}{name.tier}{name.token}"
    sizes = (name.size_bytes, name.index_bytes, name.leads_bytes, name.inner_bytes)
    numbers = ",".join(map(str, (*sizes, *name.requires))).encode()
    detail = bytes([len(name.lead)]) + name.lead + bytes([len(numbers)]) + numbers
    text = f"{head}{_letters(_deflate(detail + b'y' + (name.note or b'')))}"
    if len(text) > _LONGEST_NAME or name.note is None:
        text = f"{head}{_letters(_deflate(detail + b'n'))}"
    segments = [text[at : at + _LONGEST_SEGMENT] for at in range(0, len(text), _LONGEST_SEGMENT)]
    return f"snap/{log_segment(log)}/{'/'.join(segments)}"


def snapshot_of(key: str) -> SnapshotName | None:
    """Decode a snapshot's key, given without the log's segment; return None if the key is not valid."""
    segment = key.replace("/", "")
    number = number_of(segment[:_NUMBER])
    start = _NUMBER + 1 + _TOKEN
    raw = _bytes(segment[start:])
    if number is None or raw is None or segment[_NUMBER : _NUMBER + 1] not in ("1", "2", "3"):
        return None
    try:
        unpacker = zlib.decompressobj(wbits=-15, zdict=_USUAL)
        detail = unpacker.decompress(raw, _LONGEST_DETAIL)
        at = 1 + detail[0]
        lead, end = detail[1:at], at + 1 + detail[at]
        size, index, leads, inner, *requires = map(int, detail[at + 1 : end].split(b","))
        note = detail[end + 1 :] if detail[end : end + 1] == b"y" else None
    except (zlib.error, ValueError, IndexError):
        return None
    tier = int(segment[_NUMBER])
    return SnapshotName(
        number, tier, segment[_NUMBER + 1 : start], size, index, leads, inner, lead, tuple(requires), note
    )


def lead_of(address: bytes) -> bytes:
    """Return the lead of an address: the first bytes, for names of snapshots and lists of chunks."""
    return address[:_LEAD]


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15, zdict=_USUAL)
    return packer.compress(data) + packer.flush()


def _letters(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _bytes(letters: str) -> bytes | None:
    try:
        return base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        return None
