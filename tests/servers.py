"""A ``langgraph dev`` server of its own for tests: started, stopped, killed and started again on the same state."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

HOUSE = Path(__file__).resolve().parent.parent
SERVED = HOUSE / "tests" / "served"
READY_SECONDS = 240.0
"""How long a server may take to start, and anything that is waited for to come; a loaded machine is slow."""
STOP_SECONDS = 60.0
STARTS = 5
"""How often a server is started whose port somebody else took between the probe and its start."""
PORTS = 600
"""How many ports each worker of pytest-xdist draws from, all below those that the kernel hands out by itself."""
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
        for _ in range(STARTS):
            if self._started():
                return self
        raise RuntimeError(f"langgraph dev found no port {STARTS} times:\n{self.said()[-4000:]}")

    def _started(self) -> bool:
        """Start it; False where its port was taken before it could listen."""
        self.port, before = _free_port(), len(self.said())
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
        try:
            answered = self._await_answer(lambda: self.said()[before:])
        except BaseException:
            self.kill()
            raise
        if not answered:
            self.kill()
        return answered

    def client(self) -> LangGraphClient:
        """A client of it that is as patient as the tests are."""
        from langgraph_sdk import get_client

        return get_client(url=self.url, timeout=READY_SECONDS)

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
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
        self.process = None

    def _await_answer(self, said: Callable[[], str]) -> bool:
        """Wait for an answer that is its own; False where somebody else has its port."""
        assert self.process is not None
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            ended = self.process.poll()
            if "already in use" in said():
                return False
            if ended is not None:
                raise RuntimeError(f"langgraph dev ended with {ended}:\n{said()[-4000:]}")
            if "Application started up" in said() and self._answers():
                return True
            time.sleep(0.1)
        raise RuntimeError(f"langgraph dev did not answer within {READY_SECONDS} s:\n{said()[-4000:]}")

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
        """How often each step of a run came to its end; with a question mark, how often one began to wait at a door."""
        found = self.entries()
        own = {line.split()[1]: n for line, n in found.items() if line.startswith(f"{run} ")}
        return Counter({step: n for step, n in own.items() if not step.endswith("!")})

    def let_go(self, run: str, step: str) -> bool:
        """Whether a step of a run that waited at a door was cancelled there."""
        return self.entries()[f"{run} {step}!"] > 0

    def open(self, door: str) -> None:
        """Let the steps that wait at the door go on."""
        (self.doors / door).touch()


async def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something is seen to hold, and give it; ``holds`` may be async."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        found = holds()
        if found := await found if inspect.isawaitable(found) else found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came: {what}")


async def values_of(client: LangGraphClient, thread: str) -> dict[str, Any]:
    """The values that a thread's checkpoint holds now."""
    values = (await client.threads.get_state(thread))["values"]
    return values if isinstance(values, dict) else {}


async def done(client: LangGraphClient, thread: str, steps: set[str]) -> dict[str, Any]:
    """Wait until the checkpoint of a thread says that the steps are done; its values."""

    async def look() -> dict[str, Any] | None:
        values = await values_of(client, thread)
        return values if steps <= set(values.get("path", [])) else None

    found: dict[str, Any] = await until(look, f"the end of {steps}")
    return found


def _free_port() -> int:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + worker % 20 * PORTS
    for port in random.sample(range(first, first + PORTS), PORTS):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port from {first} on")
