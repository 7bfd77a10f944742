"""How the MCP servers of other people, and ours that are made for tests, are configured and started."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import BIN

SERVED = Path(__file__).resolve().parent.parent / "served_mcp"
VENV = Path(sys.executable).parent
START_SECONDS = 60.0
"""How long a server may take to listen; a loaded machine is slow."""


def filesystem(*folders: Path, **more: Any) -> dict[str, Any]:
    """``server-filesystem`` on these folders."""
    return {"command": str(BIN / "mcp-server-filesystem"), "args": [str(f) for f in folders], **more}


def memory(file: Path, **more: Any) -> dict[str, Any]:
    """``server-memory``, which keeps its graph in the file."""
    return {"command": str(BIN / "mcp-server-memory"), "env": {"MEMORY_FILE_PATH": str(file)}, **more}


def everything(**more: Any) -> dict[str, Any]:
    """``server-everything`` over its standard streams."""
    return {"command": str(BIN / "mcp-server-everything"), "args": ["stdio"], **more}


def git(repository: Path, **more: Any) -> dict[str, Any]:
    """``mcp-server-git`` on a repository."""
    return {"command": str(VENV / "mcp-server-git"), "args": ["--repository", str(repository)], **more}


def clock(**more: Any) -> dict[str, Any]:
    """``mcp-server-time``."""
    return {"command": str(VENV / "mcp-server-time"), "args": ["--local-timezone", "Europe/Berlin"], **more}


def raw(way: str, notes: Path | None = None, **more: Any) -> dict[str, Any]:
    """Our server that comes to harm in that way."""
    told = [] if notes is None else [str(notes)]
    return {"command": sys.executable, "args": ["-S", "-E", str(SERVED / "raw.py"), way, *told], **more}


def house(**more: Any) -> dict[str, Any]:
    """Our server that behaves."""
    return {"command": sys.executable, "args": [str(SERVED / "house.py")], **more}


@contextmanager
def listening(command: list[str], port: int, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that was started and listens on the port; killed in the end."""
    process = subprocess.Popen(
        command, env={"PATH": "/usr/bin:/bin", **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_port(port, process)
        yield process
    finally:
        process.kill()
        process.wait()


def house_at(port: int) -> list[str]:
    """The command of our server that behaves, over HTTP."""
    return [sys.executable, str(SERVED / "house.py"), str(port)]


def everything_at(node: str) -> list[str]:
    """The command of ``server-everything`` over HTTP; the port is ``PORT`` of its environment."""
    return [node, str(BIN / "mcp-server-everything"), "streamableHttp"]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}: {process.args!r}")
