"""Builds stores as a malicious writer can: every row has the right digest, whatever stands in it.

So nothing that only finds damage notices: what is refused is refused for what it says.
"""

import hashlib
import os
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zstandard

from kbstore.backends.sqlite import schema
from kbstore.backends.sqlite.cache import note_digest
from kbstore.backends.sqlite.digests import body_digest, pack_digest, record_digest
from kbstore.jsondoc.canonical import encode

TIME = "2025-01-01T00:00:00.000000Z"
TRUTH = 4


def sha(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def event(body: bytes, state: str, *, seq: int = 1, parents: Sequence[str] = (), **fields: Any) -> bytes:
    """Return the header of a version with this body; `fields` are added, or replace others (None leaves one out)."""
    plain = {
        "author": "eve", "format": 1, "message": "m", "parents": list(parents), "patch": sha(body), "seq": seq,
        "state": state, "time": TIME,
    }  # fmt: skip
    return encode({name: value for name, value in (plain | fields).items() if value is not None})


def ref(seq: int = 1, parent: str | None = None, **fields: Any) -> bytes:
    """Return the record of a change of a tag, branch or setting; `fields` as for `event`."""
    plain: dict[str, Any] = {"author": "eve", "branch": "main", "format": 1, "parent": parent, "seq": seq,
                             "time": TIME, "version": 0}  # fmt: skip
    return encode({name: value for name, value in (plain | fields).items() if value is not None})


def long_value(address: bytes) -> bytes:
    """Return the body that makes the value with this root the whole document."""
    return b'[{"op":"add","path":"","value_node":"%s"}]' % address.hex().encode()


class Forge:
    """Writes a store row by row.

    Args:
        path: The file; it is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        schema.create(self._connection)
        self._connection.execute("PRAGMA synchronous=OFF")
        self._logs: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def record(self, log: str, header: bytes, body: bytes = b"") -> str:
        """Append a record in a slot of its own; returns its id."""
        ordinal, number = self._logs.get(log, (len(self._logs), 0))
        number += 1
        self._logs[log] = ordinal, number
        ident, write_id = (ordinal << 32) + number, os.urandom(16)
        digest = record_digest(ident, log.encode(), number, len(body), b"b" + write_id, header)
        row = (ident, log, number, len(body), digest, _text(header))
        self._connection.execute("INSERT INTO records(id,log,slot,size,digest,header) VALUES(?,?,?,?,?,?)", row)
        if body:
            self._connection.execute("INSERT INTO bodies VALUES(?,?,?)", (ident, body_digest(ident, body), body))
        self._connection.execute("INSERT INTO writes VALUES(?,?)", (write_id, ident))
        return sha(header)

    def pack(
        self,
        chunks: Sequence[bytes],
        *,
        frame: bytes | None = None,
        sizes: Sequence[int] | None = None,
        addresses: Sequence[bytes] | None = None,
    ) -> None:
        """Add a pack of truth with these chunks; a frame, sizes or addresses that are given are taken as they are."""
        named = addresses or [hashlib.sha256(chunk).digest() for chunk in chunks]
        lengths = sizes if sizes is not None else [len(chunk) for chunk in chunks]
        directory = b"".join(named) + struct.pack(f"<{len(lengths)}I", *lengths)
        packed = frame if frame is not None else zstandard.ZstdCompressor().compress(b"".join(chunks))
        (newest,) = self._connection.execute("SELECT ifnull(max(id), 0) FROM packs").fetchone()
        digest = pack_digest(TRUTH, 0, None, directory, packed)
        row = (newest + 1, TRUTH, 0, None, digest, directory, packed)
        self._connection.execute("INSERT INTO packs VALUES(?,?,?,?,?,?,?)", row)
        places = [(int.from_bytes(address[:8], signed=True), newest + 1) for address in named]
        self._connection.executemany("INSERT OR IGNORE INTO chunks VALUES(?,?)", places)

    def note(self, name: str, number: int, data: bytes) -> None:
        """Put a note into the caches."""
        row = (name, number, note_digest(name, number, data), data)
        self._connection.execute("INSERT OR REPLACE INTO notes VALUES(?,?,?,?)", row)

    def document(self, nodes: Sequence[bytes], **fields: Any) -> str:
        """Add a first version whose document has these nodes, the root last; returns its id."""
        self.pack(nodes)
        root = hashlib.sha256(nodes[-1]).digest()
        body = long_value(root)
        return self.record("main", event(body, root.hex(), **fields), body)


def copied(path: Path) -> tuple[dict[str, list[tuple[bytes, bytes]]], list[bytes]]:
    """Read a store's logs (headers with bodies) and the chunks of its truth, to be written again otherwise."""
    from kbstore.backends import open_backend

    backend = open_backend(str(path), read_only=True)
    try:
        logs = {}
        for log in backend.logs():
            headers = [record.header for record in backend.read(log)]
            bodies = dict(backend.bodies(log, range(1, len(headers) + 1)))
            logs[log] = [(header, bodies[number]) for number, header in enumerate(headers, 1)]
    finally:
        backend.close()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    chunks = []
    for directory, frame in connection.execute("SELECT directory, frame FROM packs WHERE tier=4 ORDER BY id"):
        raw, count = zstandard.ZstdDecompressor().decompress(frame), len(directory) // 36
        start = 0
        for size in struct.unpack_from(f"<{count}I", directory, 32 * count):
            chunks.append(raw[start : start + size])
            start += size
    connection.close()
    return logs, chunks


def rewritten(path: Path, logs: Mapping[str, Sequence[tuple[bytes, bytes]]], chunks: Sequence[bytes] = ()) -> Path:
    """Write a store with these records and chunks."""
    with Forge(path) as forge:
        for log, records in logs.items():
            for header, body in records:
                forge.record(log, header, body)
        if chunks:
            forge.pack(chunks)
    return path


def _text(header: bytes) -> str | bytes:
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header
