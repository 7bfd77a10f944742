"""Our MCP server as tests meet it: in memory, and over HTTP on loopback with bearer tokens, limits and an audit log."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult
from starlette.types import ASGIApp, Receive, Scope, Send

from cogwork.errors import EngineError
from cogwork.identity.roles import LOCAL, Principal, Role, Verb
from cogwork.sections import ServerLimits
from cogwork.server.acting import Acting
from cogwork.server.asgi import application
from cogwork.server.mcp.door import Extras, Rules
from cogwork.server.mcp.server import mcp_server
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.values import Json

LEGACY, MODERN = "legacy", "2026-07-28"
TOKENS: Mapping[str, Principal] = {
    f"token-of-{role}": Principal(id=f"p-{role}", name=role, role=role, via="token")
    for role in ("viewer", "operator", "author", "admin")
}


@dataclass
class Audit:
    """An audit log in memory: ``(who, verb, target, outcome)``."""

    entries: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def note(
        self,
        principal: Principal,
        verb: Verb,
        target: str,
        *,
        outcome: str,
        door: str,
        request_id: str,
        details: Mapping[str, Json],
    ) -> None:
        """Append one entry."""
        self.entries.append((principal.name, verb, target, outcome))


@dataclass
class House:
    """An engine with what the doors put around it."""

    engine: WorkflowEngine
    audit: Audit = field(default_factory=Audit)
    numbers: Any = field(default_factory=lambda: count(1))

    def acting(self, principal: Principal = LOCAL) -> Acting:
        """The engine as that one has it."""
        request = f"req-{next(self.numbers)}"
        return Acting(engine=self.engine, principal=principal, audit=self.audit, door="mcp", request_id=request)

    def server(self, rules: Rules | None = None, extras: Extras | None = None, role: Role = "admin") -> Any:
        """A server in memory, for a principal of that role."""
        principal = TOKENS[f"token-of-{role}"]
        return mcp_server(lambda ctx: self.acting(principal), rules=rules or Rules(look=0.05), extras=extras)

    def served(
        self, rules: Rules | None = None, extras: Extras | None = None, *, token: bool = False
    ) -> AbstractAsyncContextManager[Served]:
        """Our whole application over HTTP, with all its layers; with ``token``, something in front of
        that puts the token of an admin into each request."""
        return _served(self, rules, extras, token)


@asynccontextmanager
async def house(tmp_path: Path, tools: Any = (), **settings: Any) -> AsyncIterator[House]:
    """A house on SQLite with a worker beside it."""
    given = {"state_dir": tmp_path / "state", "workflows": [], **settings}
    async with WorkflowEngine(settings=Settings(_env_file=None, **given), tools=tools) as engine:
        yield House(engine)


# -- over HTTP -----------------------------------------------------------------------------------------------


class Porch:
    """In front of the application: counts what it answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.statuses: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1
            await send(message)

        await self.app(scope, receive, counted)


@dataclass
class Served:
    """Where the server listens, and the porch before it."""

    url: str
    porch: Porch

    def transport(self, role: Role = "admin", http: httpx2.AsyncClient | None = None) -> Any:
        """A client's way to it, with the token of that role."""
        return streamable_http_client(self.url, http_client=http or self.http(role))

    def http(self, role: str = "admin") -> httpx2.AsyncClient:
        """Plain HTTP with the token of that role."""
        return httpx2.AsyncClient(headers={"Authorization": f"Bearer token-of-{role}"}, timeout=30)


@asynccontextmanager
async def _served(house: House, rules: Rules | None, extras: Extras | None, token: bool) -> Any:
    settings = house.engine.app.settings
    server = settings.server.model_copy(update={"limits": ServerLimits(requests=1_000_000, sessions=100_000)})
    made = application(
        settings.model_copy(update={"server": server}),
        house.engine,
        extras=extras,
        rules=rules or Rules(look=0.05),
    )
    porch = Porch(made)
    async with listening(Bearer(porch) if token else porch) as port:
        made.api.state.doors.verify = _verified
        made.api.state.doors.audit = house.audit
        yield Served(f"http://127.0.0.1:{port}/mcp", porch)


async def _verified(token: str) -> Principal:
    if token not in TOKENS:
        raise EngineError("unauthenticated", "The token is not valid")
    return TOKENS[token]


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[int]:
    """The application on a port of loopback, in this event loop."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]  # signals are the test runner's
        task = asyncio.create_task(server.serve([bound]))
        try:
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            yield int(bound.getsockname()[1])
        finally:
            server.should_exit = True
            await task


# -- clients -------------------------------------------------------------------------------------------------


class Person:
    """Who answers forms: with what is given, in turn."""

    def __init__(self, *answers: dict[str, Any] | str) -> None:
        self.answers, self.asked = list(answers), list[Any]()

    async def __call__(self, context: Any, params: ElicitRequestParams) -> ElicitResult:
        """The next answer; a text is what a person does instead of answering."""
        self.asked.append(params)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            return ElicitResult(action=answer)  # type: ignore[arg-type]
        return ElicitResult(action="accept", content=answer)


def client(server: Any, mode: str = LEGACY, person: Person | None = None, **more: Any) -> Client:
    """A client of a server, in the era that is wanted."""
    return Client(server, mode=mode, elicitation_callback=person, read_timeout_seconds=60, **more)


async def called(client: Client, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The structured content of a call that went well."""
    result = await client.call_tool(tool, dict(arguments or {}), **more)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    return dict(result.structured_content)


async def refused(client: Client, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The error of a call that was refused."""
    result = await client.call_tool(tool, dict(arguments or {}))
    assert isinstance(result, CallToolResult) and result.is_error, result
    error: dict[str, Any] = result.structured_content["error"]
    return error


class Bearer:
    """In front of a server for clients that can send no headers of their own: puts a token into each request."""

    def __init__(self, app: ASGIApp, role: str = "admin") -> None:
        self.app, self.role = app, role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            scope = {
                **scope,
                "headers": [*scope["headers"], (b"authorization", f"Bearer token-of-{self.role}".encode())],
            }
        await self.app(scope, receive, send)
