"""cogwork with MCP servers, for tests: opened, called, and seen to leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cogwork.app import App
from cogwork.breaker import Breakers
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer, Sources
from cogwork.tools.mcp.servers import Servers
from cogwork.tools.toolbox import Toolbox, checked_call
from state.errors import Fault
from state.services import CallContext
from state.values import Json

PATIENCE = 60.0
"""How long anything that has to happen may take; a loaded machine is slow."""
KEY = "run:step:0"


def context(run: str = "run", **more: Any) -> CallContext:
    """Who calls."""
    return CallContext(run=run, step="step", idempotency_key=KEY, **more)


@contextmanager
def opened(app: App | None = None, **servers: dict[str, Any]) -> Iterator[Opened]:
    """The tools of these servers; closed in the end, and every process that was started is gone."""
    with_settings = app or App(settings=Settings(mcp_servers={k: McpServer(**v) for k, v in servers.items()}))
    made = Opened(with_settings)
    seen: set[int] = set()
    try:
        yield made
        seen = made.pids()
    finally:
        with_settings.close()
    assert [pid for pid in seen if alive(pid)] == []


class Opened:
    """Tools of servers, called as steps call them."""

    def __init__(self, app: App) -> None:
        self.app, self.box = app, app.services.tools
        assert app.mcp is not None
        self.servers: Servers = app.mcp

    async def call(self, name: str, args: dict[str, Json] | None = None, **more: Any) -> Json:
        """The result of one call."""
        tool = self.box.find(name)
        assert tool is not None, self.box.problem(name) or f"there is no {name}"
        output = more.pop("output", None)
        async with asyncio.timeout(PATIENCE):
            return await checked_call(tool, args or {}, context(**more), output=output)

    async def fault(self, name: str, args: dict[str, Json] | None = None, **more: Any) -> Fault:
        """The fault that one call ends in."""
        try:
            result = await self.call(name, args, **more)
        except Fault as fault:
            return fault
        raise AssertionError(f"no fault: {result!r}")

    def health(self, server: str) -> dict[str, Json]:
        """How that server stands."""
        return next(each for each in self.servers.health() if each["server"] == server)

    def pids(self, server: str | None = None) -> set[int]:
        """The processes of the sessions that live."""
        return {pid for h in self.servers.health() if server in (None, h["server"]) for pid in h["pids"]}


def servers(environment: dict[str, str] | None = None, breakers: Breakers | None = None, **configured: Any) -> Toolbox:
    """A toolbox over servers whose sources and breakers the test chooses."""
    made = Servers(
        {k: McpServer(**v) for k, v in configured.items()},
        Sources(environment=environment if environment is not None else os.environ),
        breakers or Breakers(),
    )
    return Toolbox([], servers=made)


def alive(pid: int) -> bool:
    """Whether that process runs, and is not only waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something is seen to hold, and give it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := holds():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"never came: {what}")
