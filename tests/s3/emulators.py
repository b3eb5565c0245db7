"""More servers that speak S3, each a process on a port of its own that dies with its parent."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from examples.s3.server import free_ports, running
from tests.conftest import ROOT

S3RVER_KEY = "S3RVER"
"""The one access key that s3rver knows, and its secret."""


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run ministack with nothing but its S3; gives its URL."""
    (port,) = free_ports(1)
    settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "PERSIST_STATE": "0"}
    with _running([sys.executable, "-m", "ministack"], folder, port, settings) as url:
        yield url


@contextmanager
def localbucket(folder: Path) -> Iterator[str]:
    """Run localbucket, which keeps each object as a file; gives its URL."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "localbucket", str(folder / "data"), "--port", str(port)]
    with _running(command, folder, port, {}) as url:
        yield url


@contextmanager
def s3rver(folder: Path) -> Iterator[str]:
    """Run s3rver, which ignores conditions; gives its URL. An error, not a skip, if it was not installed."""
    (port,) = free_ports(1)
    installed = ROOT / "build" / "npm" / "node_modules" / ".bin" / "s3rver"
    found = str(installed) if installed.exists() else shutil.which("s3rver")
    if found is None:
        raise RuntimeError("there is no s3rver: make s3rver")
    command = [found, "--directory", str(folder), "--port", str(port), "--address", "127.0.0.1", "--silent"]
    with _running(command, folder, port, {}) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int, settings: dict[str, str]) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONWARNINGS": "ignore", **settings}
    with running(command, folder, url, _answers, environ):
        yield url


def _answers(client: Any) -> None:
    with suppress(ClientError):  # a refusal is an answer as well
        client.list_buckets()
