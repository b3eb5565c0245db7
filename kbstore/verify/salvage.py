"""Rescue of a damaged store: all provable events and documents are written into a folder, with a report on the rest.

All output is proved from its own bytes (see `kbstore.verify.proof`), and can be trusted in spite of the damage to the
store. ``report.json`` is written last: a folder without this file is not complete.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import orjson

from kbstore.errors import CorruptStore, KBStoreError
from kbstore.history.branch import MAIN_BRANCH, MAIN_LOG, Line, Segment
from kbstore.history.event import Event, event_id, plain_body
from kbstore.history.index.orders import OrderIndex
from kbstore.history.member_order import Orders
from kbstore.history.reader import Reader
from kbstore.history.refs import decode_ref
from kbstore.jsondoc.canonical import encode
from kbstore.kit.os_errors import advice
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import materialise
from kbstore.verify.proof import Proved
from kbstore.verify.verify import Report, verify_store

_COPY_BYTES = 1 << 20


@dataclass(slots=True)
class Salvaged:
    """The output of `salvage`.

    Attributes:
        events: Number of versions with a proved event.
        patches: Number of proved events written with the patch.
        documents: Number of documents written.
        refs: Number of changes of tags and branches.
        report: The report of `kbstore.verify.verify`.
    """

    events: int = 0
    patches: int = 0
    documents: int = 0
    refs: int = 0
    report: Report = field(default_factory=Report)


def salvage(
    store: Reader,
    folder: Path,
    *,
    documents: bool = True,
    mode: int = 0o666,
    progress: Callable[[int, int], None] | None = None,
) -> Salvaged:
    """Write ``events.jsonl``, ``documents/BRANCH/vN.json`` and ``report.json`` into a folder.

    Args:
        store: The store.
        folder: An empty folder, or the path for a new folder.
        documents: False leaves the documents out.
        mode: The mode of the new files.
        progress: Called with the number of versions checked so far, and of all versions.

    Raises:
        KBStoreError: The folder cannot be written, or is not empty.
    """
    begun = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise KBStoreError(f"there is something in {folder} already", hint="name a folder that is empty or new")
        begun = True
        with ExitStack() as stack:
            recalled = store.backend.recalled()
            if recalled is not store.backend:
                stack.callback(recalled.close)
                store = Reader(recalled, store.branch, None)
            writing = _Writing(store, folder, stack, documents=documents, mode=mode)
            writing.done.report = verify_store(store, progress=progress, witness=writing)
            writing.finish()
    except OSError as fault:
        stays = f"salvage takes a new folder, and what it has written stays in {folder}" if begun else None
        hint = "; ".join(filter(None, (advice(fault), stays)))
        raise KBStoreError(f"cannot write {fault.filename or folder}: {fault.strerror}", hint=hint or None) from fault
    return writing.done


class _Writing:
    """Writer for all proved parts from `verify_store`.

    Events of branches wait in files of their own until the change that starts the branch is written.
    """

    def __init__(self, store: Reader, folder: Path, stack: ExitStack, *, documents: bool, mode: int) -> None:
        self.done = Salvaged()
        self._store = store
        self._folder = folder
        self._stack = stack
        self._documents = documents
        self._mode = mode
        self._nodes = Nodes(store.backend)
        self._waiting: dict[str, tuple[str, IO[bytes]]] = {}
        self._changes: list[bytes] = []
        self._lost = 0
        self._branch = MAIN_BRANCH
        self._log = MAIN_LOG
        self._orders = store.orders
        self._order: str | None = None

    def branch(self, name: str, segments: tuple[Segment, ...]) -> None:
        """Begin a branch: the lines of the branch wait in a file of their own."""
        file = SpooledTemporaryFile(_COPY_BYTES, dir=str(self._folder))  # noqa: SIM115 - the stack closes it
        self._log = segments[-1].log
        self._waiting[self._log] = name, self._stack.enter_context(file)
        self._branch, self._lost, self._order = name, 0, None
        index = OrderIndex(self._store.backend, Line(self._store.backend, segments))
        self._orders = Orders(index, self._nodes)
        with suppress(CorruptStore):
            self._order = index.root(segments[-1].offset)

    def version(self, proved: Proved) -> None:
        """Write the event, if the bytes match the id, and the document, if the nodes match the state's hash."""
        if proved.header is None or proved.event is None:
            self._lost += 1
        else:
            self._waiting[self._log][1].write(self._line(proved, proved.header, proved.event))
            self.done.events += 1
            self._lost = 0
            self._order = proved.event.order or self._order
        if self._documents and proved.root is not None:
            try:
                document = materialise(proved.root, self._nodes)
            except CorruptStore:
                return
            with suppress(CorruptStore):  # else members are in canonical order
                document = self._orders.read(self._order).arranged(document, canonical=True)
            place = self._folder / "documents" / self._branch.replace("/", "%2F")
            place.mkdir(parents=True, exist_ok=True)
            self._write(place / f"v{proved.seq}.json", document)
            self.done.documents += 1

    def change(self, header: bytes) -> None:
        """Take a change of a tag or branch, with bytes that match the id."""
        self._changes.append(header)
        self.done.refs += 1

    def finish(self) -> None:
        """Write the lines in order, and the report."""
        with self._create(self._folder / "events.jsonl") as file:
            for line in self._in_order():
                file.write(line)
        done, report = self.done, self.done.report
        told = {
            "schema_version": 1,
            "store": self._store.location.encode(errors="backslashreplace").decode(),
            "head": report.head,
            "versions": report.versions,
            "events": done.events,
            "patches": done.patches,
            "documents": done.documents,
            "refs": done.refs,
            "problems": report.problems,
        }
        self._write(self._folder / "report.json", told)

    def _line(self, proved: Proved, header: bytes, event: Event) -> bytes:
        patch, order = None, b""
        if proved.body is not None:
            with suppress(CorruptStore):
                patch = plain_body(proved.body, self._nodes)
                self.done.patches += 1
        if event.order is not None:
            order = b'"order":null,'
            with suppress(CorruptStore):
                order = b'"order":%s,' % encode(self._orders.patch(self._order, event.order))
        where = _where(self._branch)
        lost = b'"lost":%d,' % self._lost if self._lost else b""
        line = b'{%s"event":%s,"id":"%s",%s%s"patch":%s}\n'
        return line % (where, header, event_id(header).encode(), lost, order, encode(patch))

    def _in_order(self) -> Iterator[bytes]:
        """Yield the main line, then each change of a tag or branch; after the start of a branch, its own versions."""
        yield from self._taken(MAIN_LOG, MAIN_BRANCH)
        for number, header in enumerate(self._changes, 1):
            yield b'{"id":"%s","ref":%s}\n' % (event_id(header).encode(), header)
            event = decode_ref(header, number)
            if event.starts:
                yield from self._taken(event.log or "", event.name)
        for log, (branch, _) in list(self._waiting.items()):  # branches whose start is lost
            yield from self._taken(log, branch)

    def _taken(self, log: str, called: str) -> Iterator[bytes]:
        """Yield the lines of a branch, under the name of the branch at the time of the import."""
        branch, waiting = self._waiting.pop(log, ("", None))
        if waiting is not None:
            waiting.seek(0)
            if branch != called:
                begin = len(_where(branch))
                yield from (b"{" + _where(called) + line[begin + 1 :] for line in waiting)
                return
            while data := waiting.read(_COPY_BYTES):
                yield data

    def _write(self, path: Path, value: Any) -> None:
        with self._create(path) as file:
            file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def _create(self, path: Path) -> IO[bytes]:
        return open(path, "xb", opener=lambda name, flags: os.open(name, flags, self._mode))


def _where(branch: str) -> bytes:
    """Return the member of a line for the branch of the event."""
    return b"" if branch == MAIN_BRANCH else b'"branch":%s,' % encode(branch)
