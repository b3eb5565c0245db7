"""Names of objects: fixed-width segments of ``[0-9a-z]``, so that their order is the order of what they number.

::

    kbstore                      the marker: which format, and the store's random id
    log/<log>/<slot>             a slot; created once, never overwritten, never deleted
    blob/<sha-256>               parts of a slot that is too large for one object; truth, as slots are
    hint/<log>                   where the head was not long ago; overwritten, never trusted
    pack/<log>/<tier>/<index>    events of many slots once more, for reading many at once
    snap/<log>/<snapshot>        what one snapshot holds; its name tells number, tier, note and size
    data/<store>/<token>/<n>     the chunks of a large snapshot
    note/<name>/<number>         small caches of the store's own
    probe/<token>                asks a new server whether it keeps conditions; nobody needs it afterwards
    trash/<store>/<token>        names of objects that go once the grace period is over

``<store>`` is the id of the marker: objects of another store below the same prefix are not taken for ours.

A segment of a log's name is its length, the name, and zeros up to a fixed width. LIST is asked to start after a full
key of the level that it lists, and nothing else: some servers walk a tree of folders and skip keys otherwise.
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
"""What notes are usually made of: shortens names, and nothing else depends on it."""
_PROBE = re.compile(rf"probe/([0-9a-f]{{{_TOKEN}}})(/[0-9])?")
_DATA = re.compile(rf"data/([0-9a-f]{{{_TOKEN}}})/([0-9a-f]{{{_TOKEN}}})/[0-9]{{4,}}")
_TRASH = re.compile(rf"trash/([0-9a-f]{{{_TOKEN}}})/[0-9a-f]{{{_TOKEN}}}")
KINDS = ("log", "blob", "hint", "pack", "snap", "data", "note", "probe", "trash")
"""The first segments of all keys but the marker's."""
NUMBER_LIMIT = 10**_NUMBER
"""Numbers in keys are smaller than this."""


_CACHES = ("hint/", "pack/", "snap/", "data/", "note/")


class SnapshotName(NamedTuple):
    """What the name of a snapshot's object tells.

    Attributes:
        number: The record after which it was taken.
        tier: 1 to 3.
        token: Random; two snapshots of one number are told apart by it, and it names their data.
        size_bytes: Stored bytes of its chunks.
        index_bytes: Length of the object.
        leads_bytes: How much of it tells which chunks there are.
        inner_bytes: How much of it holds, beside that, the uppermost chunks, which are on the way to others.
        lead: The first bytes of the address of its first chunk; empty where it has none.
        requires: Numbers of the snapshots that it builds on.
        note: The caller's bytes; None where the object itself holds them.
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
    """Whether an object under this key can be made again from others."""
    return key.startswith(_CACHES)


def log_segment(log: str) -> str:
    """The segment of a log's name."""
    return f"{_DIGITS[len(log)]}{log:0<{_LOG}}"


def log_of(segment: str) -> str | None:
    """The log of a segment; None where it is none of ours."""
    if len(segment) != _LOG + 1 or segment[0] not in _DIGITS:
        return None
    log = segment[1 : 1 + _DIGITS.index(segment[0])]
    return log if log and log_segment(log) == segment else None


def number_segment(number: int) -> str:
    """The segment of a number."""
    return f"{number:0{_NUMBER}d}"


def number_of(segment: str) -> int | None:
    """The number of a segment; None where it is none of ours."""
    return int(segment) if len(segment) == _NUMBER and segment.isascii() and segment.isdigit() else None


def slot_key(log: str, slot: int) -> str:
    """The key of a slot."""
    return f"log/{log_segment(log)}/{number_segment(slot)}"


def probe_key(token: str, number: int | None = None) -> str:
    """The key of an object by which a server is tried."""
    return f"probe/{token}" if number is None else f"probe/{token}/{number}"


def probe_data(token: str) -> bytes:
    """What is written under that key: every byte, and what tells that it is ours."""
    return _probe_head(token) + bytes(range(256))


def _probe_head(token: str) -> bytes:
    return b"kbstore probe %s\r\n\0" % token.encode()


def is_probe(key: str, data: bytes) -> bool:
    """Whether an object is one by which a server was tried: its bytes name its key."""
    found = _PROBE.fullmatch(key)
    return found is not None and data.startswith(_probe_head(found[1]))


def data_key(store: str, token: str, number: int) -> str:
    """The key of chunks of a snapshot."""
    return f"data/{store}/{token}/{number:04d}"


def data_token(key: str, store: str) -> str | None:
    """The token of the snapshot that such a key belongs to; None if it is not one of this store."""
    found = _DATA.fullmatch(key)
    return found[2] if found is not None and found[1] == store else None


def trash_key(store: str, token: str) -> str:
    """The key of names that go later."""
    return f"trash/{store}/{token}"


def is_trash(key: str, store: str) -> bool:
    """Whether it is such a key of this store."""
    found = _TRASH.fullmatch(key)
    return found is not None and found[1] == store


def hint_key(log: str) -> str:
    """The key of the hint of a log's head."""
    return f"hint/{log_segment(log)}"


def pack_key(log: str, tier: str, index: int) -> str:
    """The key of a pack."""
    return f"pack/{log_segment(log)}/{tier}/{number_segment(index)}"


def note_folder(name: str) -> str:
    """The prefix of all notes of a name."""
    return f"note/{_letters(name.encode())}/"


def note_name(segment: str) -> str | None:
    """The name that such a folder stands for; None where it is none of ours."""
    raw = _bytes(segment)
    try:
        return raw.decode() if raw is not None else None
    except UnicodeDecodeError:
        return None


def snapshot_key(log: str, name: SnapshotName) -> str:
    """The key of a snapshot; its note stands in it where there is room."""
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
    """What a snapshot's key tells, behind the log's segment; None where it is none of ours."""
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
    """The part of an address that a snapshot's name carries."""
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
