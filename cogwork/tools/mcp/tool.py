"""A tool of a server, as workflows call it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cogwork.tools.mcp.faults import tool_fault
from cogwork.tools.mcp.listing import Listed
from cogwork.tools.mcp.questions import Questions
from cogwork.tools.mcp.results import text_of, value_of
from cogwork.tools.mcp.session import Progress
from state.errors import Asked, Fault
from state.services import CallContext, Effect
from state.values import Json, Schema, normalise

if TYPE_CHECKING:
    from cogwork.tools.mcp.server import Server
    from cogwork.tools.mcp.thread import LoopThread

MAX_TOLD: Final = 1_000
"""How often the progress of one call is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """A tool of an MCP server under the name ``SERVER.tool``."""

    name: str
    listed: Listed
    server: Server = field(repr=False)
    thread: LoopThread = field(repr=False)
    needs_approval: bool = False

    @property
    def description(self) -> str:
        """What the server says that it does."""
        return self.listed.description

    @property
    def args_schema(self) -> Schema:
        """The server's schema of its arguments."""
        return self.listed.args_schema

    @property
    def output_schema(self) -> Schema:
        """The server's schema of its structured content; empty where it has none."""
        return self.listed.output_schema

    @property
    def effect(self) -> Effect:
        """What the settings say, or the server where it is believed; else ``write``."""
        return self.listed.effect

    @property
    def effect_declared(self) -> bool:
        """Whether anybody who is believed has said what the effect is."""
        return self.listed.effect_declared

    @property
    def idempotent(self) -> bool:
        """What the settings say, or the server where it is believed; else only what does not write."""
        return self.listed.idempotent

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        """The result of one call, from any event loop.

        Raises:
            Fault: typed, within the server's read timeout (and connect timeout, where there is no connection yet).
            Asked: the server asks a person.
        """
        self._still_there()
        questions = Questions(self.server.name, context.answers, self.server.redaction)
        plain = normalise(dict(args))
        async with self.server.breaker.guarding("tool"):
            work = self.server.call(
                self.listed.name, plain, context.run, context.idempotency_key, questions, _passed_on(context)
            )
            result = await self.thread.run(work)
        if isinstance(result, Asked):
            raise result
        return self._value(result)

    def _still_there(self) -> None:
        listing = self.server.listing
        if listing is not None and self.listed.name not in listing.tools:
            raise Fault(
                "invalid_input", f"MCP server {self.server.name} no longer offers {self.listed.name}", origin="tool"
            )

    def _value(self, result: Mapping[str, Json]) -> Json:
        redaction, config = self.server.redaction, self.server.config
        if result.get("isError"):
            raise tool_fault(text_of(result.get("content") or []), self.server.name, self.listed.name, redaction)
        structured = bool(self.output_schema)
        value = value_of(result, structured=structured, limit=config.max_result_bytes, name=self.name)
        return redaction.value(value)


def _passed_on(context: CallContext) -> Progress:
    """Tells the caller, in its own loop, how far the call has come."""
    loop, told = asyncio.get_running_loop(), 0

    async def told_of(progress: float, total: float | None, message: str | None) -> None:
        nonlocal told
        told += 1
        if told <= MAX_TOLD and not loop.is_closed():
            loop.call_soon_threadsafe(context.progress, progress, total, (message or "")[:500])

    return told_of
