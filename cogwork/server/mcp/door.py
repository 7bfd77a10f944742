"""What all of the MCP server shares: who acts, the rules, what has been added, and the work that outlives a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus

from cogwork.server.acting import Acting
from cogwork.server.mcp.offers import Offers

log = logging.getLogger(__name__)
T = TypeVar("T")
Context: TypeAlias = ServerRequestContext[Any, Any]
Answer: TypeAlias = types.CallToolResult | types.InputRequiredResult
Read: TypeAlias = types.ReadResourceResult | types.InputRequiredResult
Got: TypeAlias = types.GetPromptResult | types.InputRequiredResult
Contents: TypeAlias = types.TextResourceContents | types.BlobResourceContents
CLOSING_SECONDS: Final = 20.0
"""How long the work that outlives its calls may take to come to rest when the server closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the server allows, and how much it gives at once.

    ``patience`` is how many seconds a call waits for an execution that goes on, ``look`` how many pass between two looks for
    changes, ``asks`` how often a person is asked the same again. ``max_text`` and ``max_output`` are bytes of JSON: of what a
    model reads of a result, and of an output that is in a result at all; a larger one is a resource.
    """

    allow_generated_writes: bool = False
    page: int = 50
    patience: float = 900.0
    look: float = 1.0
    asks: int = 5
    max_text: int = 64 * 1024
    max_output: int = 1024 * 1024
    max_subscriptions: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a tool: who calls, with what, over which connection."""

    ctx: Context
    params: types.CallToolRequestParams
    acting: Acting
    door: Door

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as they came."""
        return dict(self.params.arguments or {})


class ToolEntry(Protocol):
    """A tool: how it is shown, and what a call of it does."""

    @property
    def tool(self) -> types.Tool:
        """How it is shown."""

    @property
    def call(self) -> Callable[[Call], Awaitable[Answer]]:
        """What a call does; a ``CogworkError`` becomes a result that says so."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool with a function of ours behind it."""

    tool: types.Tool
    call: Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that is added, and what reads it."""

    resource: types.Resource
    read: Callable[[Context], Awaitable[Contents]]


@dataclass(frozen=True, slots=True)
class Template:
    """Resources that are added under a pattern; ``read`` gives None for what is not of it."""

    template: types.ResourceTemplate
    read: Callable[[Context, str], Awaitable[Contents | None]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that is added; ``values`` completes one of its arguments by name from what has been typed."""

    prompt: types.Prompt
    get: Callable[[Context, types.GetPromptRequestParams], Awaitable[Got]]
    values: Callable[[str, str], Sequence[str]] = lambda argument, typed: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an application adds to the server beside workflows."""

    tools: Sequence[ToolEntry] = ()
    resources: Sequence[Resource] = ()
    templates: Sequence[Template] = ()
    prompts: Sequence[Prompt] = ()


@dataclass(slots=True, kw_only=True)
class Door:
    """The server's own: one per server, open as long as it serves."""

    acting: Callable[[Context], Acting]
    rules: Rules = field(default_factory=Rules)
    extras: Extras = field(default_factory=Extras)
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    verbs: Mapping[str, ToolEntry] = field(default_factory=dict)
    offers: Offers = field(default_factory=Offers)
    heeds: Callable[[Context, types.LoggingLevel], bool] = lambda ctx, level: True
    """Whether a connection wants to be told what happens at that level."""
    closing: bool = False
    """Whether the server closes: then calls end because of that, and not because somebody gave them up."""
    _works: set[asyncio.Task[Any]] = field(default_factory=set)

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task for work that goes on when the call that began it has ended."""
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("Work behind a call ended: %s", error)

    async def close(self) -> None:
        """Let the work behind the calls come to rest, and stop what does not in time."""
        if self._works:
            await asyncio.wait(self._works, timeout=CLOSING_SECONDS if not self.closing else 0.0)
        for task in (left := tuple(self._works)):
            task.cancel()
        if left:
            await asyncio.wait(left)
