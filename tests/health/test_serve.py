"""Health over HTTP: quick whatever the checks do, one word for strangers, everything for who has the token."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.health.support import demo_store, environment, wait_for

PLUGIN = """
import time
from kbstore.health import Result, registry

@registry.add("acme.blocked", timeout=40, impact="degraded")
def blocked(ctx):
    "Hangs."
    time.sleep(3600)
"""


class Server:
    """A running `health serve`."""

    def __init__(self, folder: Path, site: Path | None = None) -> None:
        env = environment()
        if site is not None:
            env["PYTHONPATH"] = f"{site}{os.pathsep}{env['PYTHONPATH']}"
        call = [sys.executable, "-u", "-c", "from kbstore.health.cli import main; main()", "serve", "--port", "0"]
        self.process = subprocess.Popen(call, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])

    def get(self, path: str, token: str | None = None) -> tuple[int, str, str]:
        """Status, media type and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.headers["content-type"], answer.read().decode()
        finally:
            connection.close()

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store and a configuration with a token."""
    demo_store(tmp_path)
    (tmp_path / "health.toml").write_text('[targets]\nstore = "kb.db"\n[serve]\ntoken = "t0k3n"\nevery = 0.5\n')
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """A server over a sound store, once it is ready."""
    there = Server(folder)
    try:
        wait_for(lambda: there.get("/readyz")[0] == 200)
        yield there
    finally:
        assert there.close() == 0


def test_strangers_get_one_word_and_the_trusted_everything(server: Server) -> None:
    """Each endpoint, with and without the token, in its media type."""
    for path in ("/livez", "/readyz"):
        assert server.get(path) == (200, "application/json", '{"status": "healthy"}\n')
        assert server.get(path, "wrong")[2] == '{"status": "healthy"}\n'
    details = json.loads(server.get("/readyz", "t0k3n")[2])
    assert details["checks"]["store.reachable"]["status"] == "healthy"
    assert "store.chain" not in details["checks"]
    code, kind, body = server.get("/health")
    assert (code, kind, json.loads(body)) == (200, "application/health+json", {"status": "pass"})
    wait_for(lambda: "store.chain" in json.loads(server.get("/health", "t0k3n")[2])["checks"])
    _, kind, body = server.get("/metrics")
    assert kind.startswith("application/openmetrics-text")
    assert [family.name for family in text_string_to_metric_families(body)] == ["health"]
    families = {f.name: f for f in text_string_to_metric_families(server.get("/metrics", "t0k3n")[2])}
    assert any(s.labels["check"] == "store.head" for s in families["health_check"].samples)
    assert server.get("/nothing")[0] == 404


def test_it_says_when_the_store_is_gone(server: Server, folder: Path) -> None:
    """503 as soon as the next look finds it, with the name of the check for who may know; metrics stay readable."""
    (folder / "kb.db").rename(folder / "elsewhere.db")
    wait_for(lambda: server.get("/readyz")[0] == 503)
    assert server.get("/readyz")[2] == '{"status": "unhealthy"}\n'
    details = json.loads(server.get("/readyz", "t0k3n")[2])
    assert details["checks"]["store.reachable"]["status"] == "unhealthy"
    assert server.get("/metrics")[0] == 200
    assert server.get("/livez")[0] == 200
    (folder / "elsewhere.db").rename(folder / "kb.db")
    wait_for(lambda: server.get("/readyz")[0] == 200)


def test_answers_come_while_a_check_is_blocked(folder: Path) -> None:
    """A check that hangs makes no answer wait: the others are there, and it is told at its timeout."""
    site = folder / "site"
    info = site / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_blocked.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kbstore.health.checks]\nblocked = acme_blocked\n")
    server = Server(folder, site)
    try:
        wait_for(lambda: server.get("/readyz")[0] == 200)
        began = time.monotonic()
        details: dict[str, Any] = json.loads(server.get("/health", "t0k3n")[2])
        assert time.monotonic() - began < 5
        assert "store.reachable" in details["checks"]
        assert "acme.blocked" not in details["checks"]
    finally:
        assert server.close() == 0


def test_a_port_that_is_taken(server: Server, folder: Path) -> None:
    """The second server on a port ends with 3, and says which and what to do."""
    call = [sys.executable, "-c", "from kbstore.health.cli import main; main()", "serve", "--port", str(server.port)]
    done = subprocess.run(call, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert f"error: cannot listen on 127.0.0.1, port {server.port}: " in done.stderr
    assert "hint: choose another with --host and --port" in done.stderr
