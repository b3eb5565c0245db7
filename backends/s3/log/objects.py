"""Pieces of objects: read from the server, many at once, and checked."""

from collections.abc import Iterable, Sequence

from kbstore.backends.packing import digest
from kbstore.backends.s3.format.slot import Piece
from kbstore.backends.s3.transport.client import Client, Want
from kbstore.kit.errors import CorruptStore

_MERGE_GAP_BYTES = 32 * 1024
_LARGEST_RANGE_BYTES = 4 * 1024 * 1024


def read_pieces(client: Client, pieces: Iterable[Piece]) -> dict[Piece, bytes | None]:
    """Return the bytes of pieces; None for a piece of a missing object. Neighbours share a request.

    Raises:
        CorruptStore: A piece does not match the digest.
    """
    ranges = _merged(sorted(set(pieces)))
    got = client.get_many([Want(group[0].key, group[0].start, group[-1].start + group[-1].size) for group in ranges])
    found: dict[Piece, bytes | None] = {}
    for group, answer in zip(ranges, got, strict=True):
        for piece in group:
            if answer is None:
                found[piece] = None
                continue
            start = piece.start - group[0].start
            data = answer.data[start : start + piece.size]
            found[piece] = checked(piece, data)
    return found


def checked(piece: Piece, data: bytes) -> bytes:
    """Return the bytes after a check against a piece.

    Raises:
        CorruptStore: The bytes do not match.
    """
    if len(data) != piece.size or digest(data) != piece.digest:
        raise CorruptStore(f"{piece.key} is damaged from byte {piece.start} on", hint="run: kbstore verify")
    return data


def _merged(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Join pieces near one another in an object, unless the request becomes too large."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if groups:
            first, last = groups[-1][0], groups[-1][-1]
            near = piece.key == last.key and piece.start - (last.start + last.size) <= _MERGE_GAP_BYTES
            if near and piece.start + piece.size - first.start <= _LARGEST_RANGE_BYTES:
                groups[-1].append(piece)
                continue
        groups.append([piece])
    return groups
