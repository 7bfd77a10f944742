"""The HTTP door on a loopback port for tests, and ``python -m tests.apis``, which attacks it from its own document."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from cogwork.server.asgi import Application
from cogwork.server.running import Server
from cogwork.server.sockets import protocol
from cogwork.settings import Settings

HOUSE = Path(__file__).resolve().parent.parent
PROGRAM = HOUSE / ".venv-schemathesis" / "bin" / "schemathesis"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "missing_required_header",
    "allow_header_conformance",
    "use_after_free",
)
MANY = {"requests": 10_000_000, "strangers": 10_000_000}
DOUBLE = {
    "cogwork": "v1",
    "name": "double",
    "input": {"n": {"type": "integer"}},
    "nodes": {"twice": {"type": "transform", "set": {"value": "{{ input.n * 2 }}"}}},
    "output": "{{ twice.value }}",
}
ASKING = {
    "cogwork": "v1",
    "name": "asking",
    "input": {"n": {"type": "integer", "default": 1}},
    "nodes": {
        "twice": {"type": "transform", "set": {"value": "{{ input.n * 2 }}"}},
        "approve": {"type": "human", "ask": "Is {{ twice.value }} right?", "form": {"yes": {"type": "boolean"}}},
        "after": {"type": "transform", "when": "approve.yes", "set": {"value": "{{ twice.value + 1 }}"}},
    },
    "output": "{{ after?.value | default: 0 }}",
}


@dataclass
class Door:
    """A server in a thread of this process."""

    address: str = ""
    application: Application | None = None
    listens: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening(folder: Path, **server: Any) -> Iterator[Door]:
    """A server on a free port of the loopback address, until the block ends."""
    limits = {**MANY, **server.pop("limits", {})}
    chosen = {"worker": False, "auth": "none", "port": 0, **server, "limits": limits}
    settings = Settings(state_dir=folder / "state", workflows=[folder], server=chosen)
    door = Door(application=Application(settings))
    held = settings.server.limits
    config = uvicorn.Config(
        door.application,  # type: ignore[arg-type]
        port=0,
        http=protocol(held.head_seconds, stall_seconds=held.stall_seconds),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        limit_concurrency=held.connections,
        timeout_keep_alive=int(held.head_seconds) or 1,
        timeout_graceful_shutdown=5,
    )

    def told(address: str) -> None:
        door.address = address
        door.listens.set()

    assert door.application is not None
    served = Server(config, door.application, told)
    thread = threading.Thread(target=lambda: asyncio.run(served.serve()), daemon=True)
    thread.start()
    try:
        assert door.listens.wait(60), "the server does not listen"
        yield door
    finally:
        served.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server does not end"


# -- attacks from the document -----------------------------------------------------------------------------------------


def known_of(address: str) -> dict[str, str]:
    """Things that there are on the server, by the names of the parts of paths that mean them."""
    with httpx2.Client(base_url=f"{address}/api/v1", trust_env=False) as client:

        def made(path: str, **body: Any) -> dict[str, Any]:
            answer = client.post(path, json=body)
            assert answer.status_code < 400, answer.text
            found: dict[str, Any] = answer.json()
            return found

        for spec in (DOUBLE, ASKING):
            if client.get(f"/workflows/{spec['name']}").status_code == 404:
                made("/workflows", source=spec)
        execution = made("/executions", workflow="asking", options={"mode": "sync"})["execution_id"]
        session = made("/sessions", user_id="ada")["id"]
        conversation = made(f"/sessions/{session}/conversations")["id"]
        batch = made("/batches", workflow="double", inputs=[{"n": 1}])["batch_id"]
        agents = [made("/agents", name=name, description="one")["id"] for name in ("Ada", "Bob")]
        handoff = made("/handoffs", source_agent_id=agents[0], target_agent_id=agents[1])["id"]
        memory = client.post("/memory?user=ada", json={"content": "She likes tea."}).json()["id"]
        for name in ("schedules/nightly", "triggers/called"):
            client.delete(f"/{name}")
        made("/schedules", name="nightly", workflow="double", definition={"cron": "0 3 * * *"}, input={"n": 1})
        made("/triggers", name="called", workflow="double", definition={"type": "webhook", "secret": "secret://hook"})
    return {
        "workflow": "asking",
        "version": "1",
        "label": "latest",
        "execution": execution,
        "step": "twice",
        "batch": batch,
        "agent": agents[0],
        "handoff": handoff,
        "session": session,
        "conversation": conversation,
        "memory": memory,
        "schedule": "nightly",
        "trigger": "called",
    }


@dataclass(frozen=True)
class Attack:
    """What an attack has come to: whether all was well, and what schemathesis says of it."""

    well: bool
    told: str


def missing() -> str | None:
    """Why nothing can be attacked here; None where it can."""
    if PROGRAM.exists():
        return None
    return (
        "schemathesis is not installed: python3 -m venv .venv-schemathesis && "
        ".venv-schemathesis/bin/pip install -r tests/attackers/requirements.txt"
    )


def attacked(address: str, examples: int, seed: int = 1) -> Attack:
    """Send what the document allows, and what it forbids, to each of its operations."""
    more = {
        "PYTHONPATH": str(HOUSE / "tests" / "attackers"),
        "SCHEMATHESIS_HOOKS": "hooks",
        "COGWORK_KNOWN": json.dumps(known_of(address)),
        "COGWORK_SPECS": json.dumps([DOUBLE, ASKING]),
        "NO_PROXY": "*",
        "NO_COLOR": "1",
    }
    command = [
        *(str(PROGRAM), "run", f"{address}/api/v1/openapi.json"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "60"),
        *("--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, check=False
        )
    return Attack(well=done.returncode == 0, told=done.stdout + done.stderr[-4000:])


def main(arguments: list[str] | None = None) -> int:
    """Attack, and print what was found; 1 where anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.apis", description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="requests of each kind per operation (50)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    if (why := missing()) is not None:
        print(why)
        return 2
    with tempfile.TemporaryDirectory() as folder, listening(Path(folder)) as door:
        found = attacked(door.address, asked.examples, asked.seed)
    print(found.told)
    return 0 if found.well else 1


if __name__ == "__main__":
    raise SystemExit(main())
