"""A server with pages for tests: workflows that ask, fail, retry and take as long as the test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import uvicorn

from cogwork.identity.roles import Role
from cogwork.server.asgi import Application, application
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from cogwork.workflow_engine import WorkflowEngine
from state.errors import Fault
from state.services import CallContext

ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": ["approve", "reject"], "description": "What becomes of the refund."},
        "amount": {"type": "number", "minimum": 0, "maximum": 500, "title": "Amount in euros"},
        "note": {"type": "string", "minLength": 3, "description": "The customer reads this."},
        "notify": {"type": "boolean", "default": True},
        "address": {
            "type": "object",
            "title": "Where to",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["city"],
        },
        "lines": {"type": "array", "items": {"type": "integer"}},
        "channels": {"type": "array", "items": {"enum": ["mail", "phone", "letter"]}},
    },
    "required": ["decision", "amount", "note"],
}
REFUND: dict[str, Any] = {
    "cogwork": "v1",
    "name": "refund",
    "description": "Look up an order, ask whether to refund it, and pay.",
    "tags": ["shop"],
    "input": {
        "order": {"type": "string", "description": "The number of the order."},
        "express": {"type": "boolean", "default": False},
        "copies": {"type": "integer", "default": 1, "minimum": 1, "maximum": 3},
    },
    "nodes": {
        "found": {"type": "tool", "tool": "shop.order", "args": {"number": "{{ input.order }}"}},
        "large": {"type": "condition", "cases": [{"if": "found.total > 1000", "then": "manager"}], "else": "ask"},
        "manager": {"type": "transform", "set": {"told": "the manager decides"}},
        "ask": {"type": "human", "ask": "Refund {{ found.total }} € to {{ found.customer }}?", "form": ANSWER},
        "pay": {
            "type": "tool",
            "tool": "shop.pay",
            "args": {"amount": "{{ ask.amount }}"},
            "retry": {"max_attempts": 3, "backoff": 0.05, "jitter": False},
        },
        "letters": {"for_each": "{{ [1, 2, 3] }}", "nodes": {"copy": {"type": "transform", "set": "{{ item * 2 }}"}}},
    },
    "output": {"paid": "{{ pay?.paid }}", "note": "{{ ask?.note }}", "letters": "{{ letters }}"},
}
WAITING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "long_job",
    "description": "A read that takes as long as it takes.",
    "nodes": {
        "first": {"type": "transform", "set": {"value": 1}},
        "wait": {"type": "tool", "tool": "shop.wait", "args": {"after": "{{ first.value }}"}},
        "last": {"type": "transform", "set": {"value": "{{ wait.value }}"}},
    },
    "output": "{{ last.value }}",
}
FAILING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "failing",
    "nodes": {
        "first": {"type": "transform", "set": {"value": 1}},
        "order": {"type": "tool", "tool": "shop.order", "args": {"number": "none-{{ first.value }}"}},
    },
}
TESTED = (REFUND, WAITING, FAILING)


class Shop:
    """The tools: an order that may be there, a payment that fails the first time, a read that waits for a door."""

    def __init__(self) -> None:
        self.door = threading.Event()

    @property
    def tools(self) -> list[FunctionTool]:
        """As an engine takes them."""
        return [
            FunctionTool.from_function(self.order, name="shop.order", effect="read"),
            FunctionTool.from_function(self.pay, name="shop.pay", effect="write", idempotent=True),
            FunctionTool.from_function(self.wait, name="shop.wait", effect="read"),
        ]

    async def order(self, number: Annotated[str, "The number of the order."]) -> dict[str, Any]:
        """Look up an order of the shop."""
        if number.startswith("none"):
            raise Fault("invalid_input", f"There is no order {number}")
        return {"number": number, "total": 120, "customer": "Ann"}

    async def pay(self, context: CallContext, amount: float) -> dict[str, Any]:
        """Pay money back to a customer."""
        if context.attempt == 1:
            raise Fault("unavailable", "The bank does not answer")
        return {"paid": amount}

    async def wait(self, after: int) -> dict[str, Any]:
        """Wait until the door is open."""
        while not self.door.is_set():
            await asyncio.sleep(0.02)
        return {"value": after + 1}


class Served:
    """The application served on loopback by a thread of its own."""

    def __init__(self, made: Application, shop: Shop) -> None:
        self.application, self.shop = made, shop
        self.address = ""
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def engine(self) -> WorkflowEngine:
        """The engine behind the doors."""
        found: WorkflowEngine = self.application.api.state.doors.engine
        return found

    def call(self, work: Any) -> Any:
        """What a coroutine of the engine comes to."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def token(self, role: Role) -> str:
        """A token of that role."""
        text: str = self.call(self.application.api.state.doors.issue(role, role, 3600))
        return text

    def code(self) -> str:
        """What signs one person in."""
        text: str = self.application.api.state.doors.sign_in_code()
        return text

    def publish(self, *specs: dict[str, Any]) -> None:
        """Put workflows into the library."""
        for spec in specs:
            self.call(self.engine.create_workflow(source=spec))


@contextmanager
def serving(folder: Path, *, prefix: str = "", **server: Any) -> Iterator[Served]:
    """The server, while the block lasts; with a prefix it is mounted below it in another application."""
    settings = Settings(state_dir=folder / "state", workflows=[folder], server=server)
    shop = Shop()
    engine = WorkflowEngine(settings=settings, tools=shop.tools, worker=settings.server.worker)
    made = application(settings, engine)
    served = Served(made, shop)
    ready = threading.Event()
    # A stream that a browser holds open ends with its connection.
    config = uvicorn.Config(
        _below(made, prefix), port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    listening = uvicorn.Server(config)

    async def main() -> None:
        served.loop = asyncio.get_running_loop()
        async with made.api.router.lifespan_context(made.api):
            task = asyncio.create_task(listening.serve())
            while not listening.started and not task.done():
                await asyncio.sleep(0.005)
            port = next(s.getsockname()[1] for each in listening.servers for s in each.sockets)
            served.address = f"http://127.0.0.1:{port}{prefix}"
            ready.set()
            await task

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(60), "the server did not start"
        yield served
    finally:
        shop.door.set()
        made.api.state.doors.draining = True
        listening.should_exit = True
        thread.join(60)


def _below(made: Application, prefix: str) -> Any:
    if not prefix:
        return made
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount(prefix, made)])
