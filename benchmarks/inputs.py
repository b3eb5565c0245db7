"""What is measured on: the generated knowledge base and its edits, and two real histories."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

Patch = list[dict[str, Any]]

ENTRIES = {"10 MB": "M", "100 MB": "L"}
"""The workload's names of the two sizes: 10,000 and 100,000 articles."""

HISTORIES = {"mime-db": 177_184, "kev": 193_362}
"""The real histories, and the bytes that ``git gc --aggressive`` leaves of each (git 2.43)."""


def shared() -> Path:
    """The folder with the shared data: ``KBSTORE_SHARED``, else ``../shared`` beside the checkout."""
    named = os.environ.get("KBSTORE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "bench" / "workload.py").is_file():
        sys.exit(
            f"benchmarks need bench/workload.py, and {folder} has none\n"
            "hint: put the shared folder beside the checkout, or name it in KBSTORE_SHARED"
        )
    return folder


def cache() -> Path:
    """Where stores that take long to build are kept between runs: ``KBSTORE_BENCH_CACHE``, else a temporary folder."""
    named = os.environ.get("KBSTORE_BENCH_CACHE")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "kbstore-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def workload() -> ModuleType:
    """The shared module that makes the knowledge base and its edits."""
    if "workload" not in sys.modules:
        spec = importlib.util.spec_from_file_location("workload", shared() / "bench" / "workload.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["workload"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["workload"])
    return sys.modules["workload"]


def document(size: str) -> Any:
    """The knowledge base of a size; a new value at each call."""
    return workload().load_base(size, str(cache()))


def articles(size: str) -> int:
    """How many articles the knowledge base of a size has."""
    return int(workload().SIZES[size][0])


def patches(base: Any, count: int, seed: int = 11) -> Iterator[Patch]:
    """So many edits, each on the document that the one before it left; `base` stays as it is."""
    return (patch for _, patch, _, _ in islice(workload().stream(base, count, seed), count))


def edited(base: Any, count: int, seed: int = 11) -> Any:
    """A document after so many edits; it shares what was not edited with `base`."""
    *_, (_, _, document, _) = islice(workload().stream(base, count, seed), count)
    return document


def history(name: str) -> Path:
    """The file of a real history."""
    return shared() / "data" / f"{name}.jsonl.xz"
