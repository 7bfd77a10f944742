"""Instances of cogwork in processes of their own, with tools that write down what they do; started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.services import CallContext

TOKEN = "token-of-the-tests"
PATIENCE = 120.0
READING = {
    "cogwork": "v1",
    "name": "reading",
    "input": {"n": {"type": "integer"}},
    "nodes": {
        "one": {"type": "tool", "tool": "ledger.look", "args": {"n": "{{ input.n }}"}},
        "two": {"type": "tool", "tool": "ledger.look", "args": {"n": "{{ one }}"}},
    },
    "output": "{{ two }}",
}
WRITING = {
    **READING,
    "name": "writing",
    "nodes": {
        "write": {"type": "tool", "tool": "ledger.change", "args": {"n": "{{ input.n }}"}},
        "two": {"type": "tool", "tool": "ledger.look", "args": {"n": "{{ write }}"}},
    },
}
ASKING = {
    "cogwork": "v1",
    "name": "asking",
    "nodes": {
        "who": {"type": "human", "ask": "Who is it?", "form": {"name": {"type": "string"}}},
        "hello": {"type": "transform", "set": "Hello, {{ who.name }}!"},
    },
    "output": "{{ hello }}",
}
LOCAL = {
    "cogwork": "v1",
    "name": "european",
    "requires": {"labels": ["eu"]},
    "nodes": {"here": {"type": "transform", "set": "done"}},
    "output": "{{ here }}",
}


def engine_of(folder: Path, name: str, **given: Any) -> WorkflowEngine:
    """An engine named ``name`` over the workflows of the folder, with its tools; its state is its own."""
    flows = folder / "flows"
    flows.mkdir(exist_ok=True)
    for spec in (READING, WRITING, ASKING, LOCAL):
        if not (path := flows / f"{spec['name']}.json").exists():
            path.write_text(json.dumps(spec))
    settings = Settings(state_dir=folder / name, workflows=[flows], **given)
    return WorkflowEngine(settings=settings, tools=_tools(folder, name), worker=True)


def _tools(folder: Path, name: str) -> list[Any]:
    """``ledger.look`` reads and ``ledger.change`` writes; each waits while the file ``hold-NAME-look`` or
    ``hold-NAME-change`` is there."""
    from cogwork.tools.function import FunctionTool

    def made(verb: str) -> Any:
        async def noted(context: CallContext, n: int) -> int:
            _append(folder, f"begin {name} {context.step}")
            while (folder / f"hold-{name}-{verb}").exists():
                await asyncio.sleep(0.01)
            _append(folder, f"end {name} {context.step}")
            return n + 1

        return noted

    return [
        FunctionTool.from_function(made(verb), name=f"ledger.{verb}", description="Note it.", effect=effect)  # type: ignore[arg-type]
        for verb, effect in (("look", "read"), ("change", "write"))
    ]


def _append(folder: Path, line: str) -> None:
    handle = os.open(folder / "ledger", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


def ledger(folder: Path) -> Counter[str]:
    """How often each line was written: ``begin INSTANCE STEP`` and ``end INSTANCE STEP``."""
    path = folder / "ledger"
    return Counter(path.read_text().splitlines() if path.exists() else [])


# -- processes -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Served:
    """An instance in a process of its own."""

    folder: Path
    name: str
    port: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Served:
        """Start it, on the port that it had, and return at once."""
        mark = self._mark
        mark.unlink(missing_ok=True)
        given = json.dumps({"port": self.port, **self.settings})
        with open(self.folder / f"{self.name}.log", "ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.instances", str(self.folder), self.name, given], stdout=said, stderr=said
            )
        return self

    def ready(self) -> Served:
        """Wait until it serves."""
        until = time.monotonic() + PATIENCE
        while not self._mark.exists():
            assert self.process is not None and self.process.poll() is None, self.said()
            assert time.monotonic() < until, "an instance does not begin"
            time.sleep(0.02)
        self.port = int(self._mark.read_text().rpartition(":")[2])
        return self

    @property
    def _mark(self) -> Path:
        return self.folder / f"ready-{self.name}"

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def hold(self, verb: str) -> Path:
        """Let its tool ``look`` or ``change`` wait until the file is gone."""
        path = self.folder / f"hold-{self.name}-{verb}"
        path.touch()
        return path

    def said(self) -> str:
        """What it has printed."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-4000:]


@contextmanager
def served(folder: Path, **settings: Mapping[str, Any]) -> Iterator[dict[str, Served]]:
    """Instances by name with their settings, ended with the block."""
    made = {name: Served(folder, name, settings=given).start() for name, given in settings.items()}
    try:
        for each in made.values():
            each.ready()
        yield made
    finally:
        for each in made.values():
            if each.process is not None and each.process.poll() is None:
                each.process.send_signal(signal.SIGCONT)
                each.process.kill()
                each.process.wait()


def sections(made: Mapping[str, Served], **more: Mapping[str, Any]) -> dict[str, Any]:
    """The settings section of these instances, as another one has it."""
    return {name: {"url": each.url, "token": TOKEN, **more.get(name, {})} for name, each in made.items()}


# -- within the process --------------------------------------------------------------------------------------------------


def _main(folder: Path, name: str, given: dict[str, Any]) -> None:
    import uvicorn

    from cogwork.server.asgi import Application
    from cogwork.server.running import Server

    port = given.pop("port")
    made = engine_of(folder, name, **given)
    application = Application(made.app.settings, made)

    def ready(address: str) -> None:
        application.api.state.doors.verify = _verify
        mark = folder / f"ready-{name}"
        mark.with_suffix(".part").write_text(address)
        mark.with_suffix(".part").replace(mark)

    config = uvicorn.Config(application, host="127.0.0.1", port=port, ws="none", lifespan="on", log_level="warning")
    Server(config, application, ready).run()


async def _verify(token: str) -> Any:
    from cogwork.errors import EngineError
    from cogwork.identity.roles import Principal

    if token == TOKEN:
        return Principal(id="tests", name="tests", role="operator")
    raise EngineError(
        "unauthenticated", "The token has expired" if token == "expired-token" else "The token is not valid"
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
