"""Reads objects and pieces of them: from memory, from this machine's cache, or from the server, many at once."""

from collections.abc import Iterable, Sequence

from kbstore.backends.packing import digest
from kbstore.backends.s3.format.slot import Piece
from kbstore.backends.s3.transport.client import Client, Want
from kbstore.kit.errors import CorruptStore

_MERGE_GAP_BYTES = 32 * 1024
_LARGEST_RANGE_BYTES = 4 * 1024 * 1024


def read_pieces(client: Client, pieces: Iterable[Piece]) -> dict[Piece, bytes | None]:
    """The bytes of pieces; None where their object is gone. Neighbours are read with one request.

    Raises:
        CorruptStore: One does not match its digest.
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
    """These bytes, if they are what the piece should hold.

    Raises:
        CorruptStore: They are not.
    """
    if len(data) != piece.size or digest(data) != piece.digest:
        raise CorruptStore(f"{piece.key} is damaged from byte {piece.start} on", hint="run: kbstore verify")
    return data


def _merged(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that stand near one another in one object, together, as far as that is no large request."""
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
