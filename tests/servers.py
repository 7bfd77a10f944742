"""A ``langgraph dev`` server of its own for tests: started, stopped, killed and started again on the same state."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
SERVED = HOUSE / "tests" / "served"
READY_SECONDS = 60.0
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
"""What a server sees of the environment; no key, no proxy and no setting of the caller's gets in."""
OFFLINE = {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "NO_COLOR": "1",
}


def missing() -> str | None:
    """Why no server can be started here; None where one can."""
    for module in ("langgraph_cli", "langgraph_api", "langgraph_sdk"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install 'langgraph-cli[inmem]' langgraph-sdk"
    return None


class Server:
    """``langgraph dev`` on a folder that holds a ``langgraph.json``; ``folder`` also keeps its state, ledger and doors."""

    def __init__(self, folder: Path, source: Path = SERVED, **environment: str) -> None:
        self.folder = folder
        self.ledger, self.doors = folder / "ledger", folder / "doors"
        self.state, self.log = folder / "state", folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.home = folder / "served"
        shutil.copytree(source, self.home, ignore=shutil.ignore_patterns("__pycache__", ".langgraph_api"))
        self.doors.mkdir()
        self.environment = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **OFFLINE,
            "PYTHONPATH": str(HOUSE),
            "COGWORK_STATE_DIR": str(self.state),
            "SERVED_LEDGER": str(self.ledger),
            "SERVED_DOORS": str(self.doors),
            **environment,
        }

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    # -- starting and ending ---------------------------------------------------------------------------------

    def start(self) -> Server:
        """Start it in a process group of its own, and wait until it answers."""
        self.port = _free_port()
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--n-jobs-per-worker", "4"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_answer()
        return self

    def stop(self) -> None:
        """End it as a person does with ctrl-C; with force where that takes long."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and its children at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(15)
        self.process = None

    def _await_answer(self) -> None:
        assert self.process is not None
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"langgraph dev ended with {self.process.returncode}:\n{self.said()[-4000:]}")
            if self._answers():
                return
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"langgraph dev did not answer within {READY_SECONDS} s:\n{self.said()[-4000:]}")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ok", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    # -- looking and touching --------------------------------------------------------------------------------

    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def entries(self) -> Counter[str]:
        """How often each line (``run step``) stands in the ledger."""
        return Counter(self.ledger.read_text().splitlines()) if self.ledger.exists() else Counter()

    def executions(self, run: str) -> Counter[str]:
        """How often each step of a run came to its end."""
        found = self.entries()
        return Counter({line.split()[1]: n for line, n in found.items() if line.startswith(f"{run} ")})

    def open(self, door: str) -> None:
        """Let the steps that wait at the door go on."""
        (self.doors / door).touch()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
