"""The sinks of alerts: a log, a command, a webhook. A sink takes an alert, or raises `SendFault`.

An alert may arrive twice, with the same ``id``: a receiver may take an alert and still fail to answer. The body of a
webhook is signed: ``X-Health-Signature: t=SECONDS,v1=HEX``, with HEX the HMAC-SHA-256 of ``SECONDS.BODY`` under the
sink's secret.
"""

import hmac
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from kbstore.health.settings import Sink
from kbstore.health.watch.http import SendFault, request
from kbstore.kit.escape import visible

SIGNATURE = "X-Health-Signature"


def send(sink: Sink, alert: Mapping[str, Any], now_s: float, folder: str | None = None) -> None:
    """Hand an alert to a sink.

    Args:
        sink: The sink.
        alert: The JSON object of `Alert.as_dict`, with its ``id``.
        now_s: The present, in seconds since 1970; part of the signature, so that receivers can refuse old messages.
        folder: Folder in which a command runs; None is the current folder.

    Raises:
        SendFault: The sink did not take the alert.
    """
    if sink.kind == "log":
        _log(sink, alert)
    elif sink.kind == "command":
        _command(sink, alert, folder)
    else:
        _webhook(sink, alert, now_s)


def signature(secret: str, now_s: float, body: bytes) -> str:
    """Return the value of the header that signs a body."""
    stamp = str(int(now_s))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def _log(sink: Sink, alert: Mapping[str, Any]) -> None:
    hint = f" ({alert['hint']})" if alert.get("hint") and alert["status"] != "healthy" else ""
    text = f"{alert['time']} {alert['kind']} {alert['check']}: {alert['status']}: {alert['message']}{hint}"
    line = visible(text) + "\n"
    try:
        if sink.path is None:
            sys.stderr.write(line)
            sys.stderr.flush()
        else:
            with Path(sink.path).open("a", encoding="utf-8") as file:
                file.write(line)
    except OSError as fault:
        raise SendFault(f"{sink.path or 'stderr'}: {fault.strerror}") from None


def _command(sink: Sink, alert: Mapping[str, Any], folder: str | None) -> None:
    try:
        process = subprocess.Popen(
            list(sink.command),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, IndexError) as fault:
        raise SendFault(f"the command cannot be run: {fault}") from None
    try:
        process.communicate(json.dumps(dict(alert)).encode() + b"\n", timeout=sink.timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise SendFault(f"the command did not end within {sink.timeout:g} s") from None
    if process.returncode:
        raise SendFault(f"the command ended with exit code {process.returncode}")


def _webhook(sink: Sink, alert: Mapping[str, Any], now_s: float) -> None:
    body = json.dumps(dict(alert)).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "health",
        "X-Health-Delivery": str(alert.get("id", "")),
    }
    if sink.secret:
        headers[SIGNATURE] = signature(sink.secret, now_s, body)
    request("POST", sink.url or "", body, headers, sink.timeout)
