"""The stores that are measured: built once through the public interface, kept in the cache, copied to be changed.

All of them hold the workload's knowledge base and its stream of edits, committed in batches of 100. The 100 MB one is
grown by edits of its first 10,000 articles only, since making the workload's edits costs a copy of all keys each.

``python -m benchmarks.stores SIZE VERSIONS`` builds one.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from benchmarks import inputs
from kbstore import Store
from kbstore.backends import packing
from kbstore.backends.sqlite import schema
from kbstore.history import event, snapshot_writer, snapshots
from kbstore.history.index import paths
from kbstore.tree import node

AUTHOR = "bench@example.com"
EDITED_ARTICLES = 10_000
"""So many articles are edited, also where there are more."""

_BATCH = 100
_MARKS = (100, 1_000, 10_000, 100_000)
_TOLD = 10_000
_reuse = False


def built(size: str, versions: int) -> Path:
    """A store of a size (``M`` or ``L``) with so many versions; never change it, change a `copy`."""
    path = _path(size, versions)
    if not path.exists():
        _build(size, versions)
    return path


def reuse_older() -> None:
    """From now on take stores that an earlier state of the code built, where there are none of this one."""
    global _reuse
    _reuse = True


def prepare(wanted: Iterable[tuple[str, int]]) -> None:
    """Build what is missing of these stores (size and versions), each in a process of its own, and wait for them."""
    builders = []
    for size, versions in wanted:
        if not _path(size, versions).exists():
            inputs.document(size)
            command = [sys.executable, "-m", "benchmarks.stores", size, str(versions)]
            builders.append(subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1]))
    codes = [builder.wait() for builder in builders]
    if any(codes):
        sys.exit("a store could not be built")


@contextmanager
def changed(size: str, versions: int) -> Iterator[Store]:
    """A copy of a store, open, that may be changed and is thrown away."""
    with tempfile.TemporaryDirectory(prefix="kbstore-bench-") as folder:
        path = copy(built(size, versions), Path(folder))
        with Store.open(path, author=AUTHOR) as store:
            yield store


def further_edits(store: Store, count: int) -> Iterator[inputs.Patch]:
    """Edits of a store's newest document, of articles from all over it."""
    return iter(list(inputs.patches(store.checkout(), count, seed=13)))


def copy(path: Path, folder: Path) -> Path:
    """A copy of a store that may be changed."""
    return Path(shutil.copyfile(path, folder / path.name))


def document_file(size: str) -> Path:
    """The base document of a size as a JSON file."""
    inputs.document(size)
    return inputs.cache() / f"base-{size}.json"


def edits(base: Any, count: int, seed: int = 11) -> Iterator[list[dict[str, Any]]]:
    """Edits of the first articles of a document."""
    articles = base["problems"]
    few = {key: articles[key] for key in sorted(articles)[:EDITED_ARTICLES]}
    return inputs.patches({**base, "problems": few}, count, seed)


@cache
def _code() -> str:
    """Names the code that decides what a store holds, so that none from before a change is ever used."""
    sources = [
        Path(module.__file__ or "") for module in (event, node, packing, schema, snapshots, snapshot_writer, paths)
    ]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def _path(size: str, versions: int) -> Path:
    exact = inputs.cache() / f"{size}-{versions}-{_code()}.db"
    if not _reuse or exact.exists():
        return exact
    older = sorted(_of_any_code(size, versions), key=lambda path: path.stat().st_mtime)
    return older[-1] if older else exact


def _of_any_code(size: str, versions: int) -> list[Path]:
    return list(inputs.cache().glob(f"{size}-{versions}-*.db"))


def _build(size: str, versions: int) -> None:
    base = inputs.document(size)
    draft = _path(size, versions).with_suffix(".draft")
    for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
        leftover.unlink(missing_ok=True)
    store = Store.create(draft, base, author=AUTHOR)
    start = time.perf_counter()
    batch: list[dict[str, Any]] = []
    done = 1
    for patch in edits(base, versions - 1):
        # Kept as bytes: a later edit of the same article must not reach into an earlier patch.
        batch.append({"patch": orjson.dumps(patch), "message": f"edit {done}"})
        done += 1
        if len(batch) == _BATCH or done in (*_MARKS, versions):
            store.commit_many(batch)
            batch = []
            if done in _MARKS and not _path(size, done).exists():
                store.close()
                _keep(draft, size, done)
                store = Store.open(draft, author=AUTHOR)
            if done % _TOLD == 0:
                seconds = time.perf_counter() - start
                print(f"building {draft.stem}: {done:,} versions in {seconds:.0f} s", file=sys.stderr, flush=True)
    store.close()
    if _path(size, versions).exists():
        draft.unlink()
    else:
        draft.rename(_path(size, versions))
        _forget_older(size, versions)


def _keep(draft: Path, size: str, versions: int) -> None:
    path = _path(size, versions)
    shutil.copyfile(draft, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)
    _forget_older(size, versions)


def _forget_older(size: str, versions: int) -> None:
    for path in _of_any_code(size, versions):
        if path != _path(size, versions):
            path.unlink()


if __name__ == "__main__":
    built(sys.argv[1], int(sys.argv[2]))
