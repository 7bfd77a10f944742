"""PostgreSQL for tests: a schema of their own on the machine's server, or a whole cluster that may be stopped."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVERS = (
    os.environ.get("COGWORK_TEST_DATABASE_URL", ""),
    "postgresql://127.0.0.1:5432/test",
    "postgresql://postgres@127.0.0.1:5432/test",
)


@functools.cache
def _server() -> str | None:
    """The address of a server that answers, or None."""
    psycopg = pytest.importorskip("psycopg")
    for url in filter(None, SERVERS):
        with contextlib.suppress(psycopg.Error), psycopg.connect(url, connect_timeout=3):
            return url
    return None


@contextmanager
def schema() -> Iterator[str]:
    """The address of an empty schema on the machine's server, dropped at the end; skips where no server answers."""
    import psycopg

    if (url := _server()) is None:
        pytest.skip("no PostgreSQL answers: set COGWORK_TEST_DATABASE_URL")
    name = f"cogwork_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {name}")
        try:
            yield f"{url}?options=-csearch_path%3D{name}"
        finally:
            connection.execute(f"drop schema {name} cascade")


class Cluster:
    """A PostgreSQL cluster in a folder of its own, on a free port of the loopback."""

    def __init__(self, folder: Path, binaries: Path, user: str | None) -> None:
        self.folder, self._binaries, self._user = folder, binaries, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"postgresql://cogwork@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-U", "cogwork", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        options += " -c max_connections=200"
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; ``immediate`` is as if it had crashed."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self.folder / "data"), *arguments]
        # Output to a file: the server inherits it, and a pipe would stay open as long as the server runs.
        with open(self.folder / "said", "a") as said:
            done = subprocess.run(command, user=self._user, cwd=self.folder, stdout=said, stderr=said, check=False)
        assert done.returncode == 0, (self.folder / "said").read_text()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running cluster, removed at the end; skips where PostgreSQL's programs are missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else Path(shutil.which("initdb") or "")
    if not initdb.is_file():
        pytest.skip("PostgreSQL's initdb is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cogwork-pg-"))
    user = _unprivileged()
    if user is not None:
        shutil.chown(folder, user)
    try:
        made = Cluster(folder, initdb.parent, user)
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(AssertionError):  # A test may have left it stopped.
                made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)
