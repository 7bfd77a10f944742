"""One connection to a server: opened, kept and closed by one task, whoever uses it and from wherever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mcp import Client
from mcp.client._transport import TransportStreams
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    ClientRequest,
    ElicitResult,
    ErrorData,
    Implementation,
    ListRootsResult,
    PaginatedRequestParams,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from cogwork.tools.mcp.child import ENDED_BY_US, GRACE, Life
from cogwork.tools.mcp.faults import Gone, innermost
from cogwork.tools.mcp.questions import Elicited, Questions, named
from cogwork.tools.mcp.thread import THREAD
from state.errors import Fault
from state.values import Json

Progress = ProgressFnT
Transport = Callable[[Life], AbstractAsyncContextManager[TransportStreams]]
SETTLING: Final = 0.3
"""Seconds in which what a dying server has said last, and how it died, comes in."""
_RAW: Final[TypeAdapter[Any]] = TypeAdapter(dict[str, Any])
_CROWDED: Final = "Several calls are on their way, and this question names none of them: use a session per call"
_QUOTING: Final = (
    *("mcp.client.streamable_http", "mcp.client.session", "mcp.client.client", "mcp.client.subscriptions"),
    *("mcp.shared.jsonrpc_dispatcher", "httpx2", "httpcore2.http11", "httpcore2.connection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How sessions with a server are begun."""

    transport: Transport
    connect_timeout: float
    protocol: Literal["auto", "legacy"]
    roots: tuple[Path, ...]
    changed: Callable[[], None]
    """Told that the server's list of tools is another now."""


class Session:
    """One session, begun at once; used within the loop that it was made in."""

    def __init__(self, opening: Opening) -> None:
        _quieten()
        self.opening = opening
        self.life = Life()
        self.failed: BaseException | None = None
        """Why it could not be opened, or what broke it."""
        self._client: Client | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking: list[Questions] = []
        self._owner = asyncio.create_task(self._own(), name="mcp session")

    @property
    def over(self) -> bool:
        """Whether it can no longer be used."""
        return self.life.over.done()

    @property
    def server(self) -> str:
        """Name and version that the server gives itself; empty where it does not."""
        info = self._client.server_info if self._client is not None and not self.over else None
        return f"{info.name} {info.version}" if info is not None else ""

    async def opened(self) -> None:
        """Wait until it can be used.

        Raises:
            BaseException: what kept it from being opened.
        """
        await asyncio.wait({self._ready})
        self._ready.result()

    async def ask(
        self,
        request: ClientRequest,
        seconds: float,
        *,
        progress: Progress | None = None,
        questions: Questions | None = None,
    ) -> dict[str, Json]:
        """The answer of the server as plain JSON; given up after so many seconds, and the server is told.

        Raises:
            Gone: the session was over before; nothing was sent.
            TimeoutError: there was no answer in time.
            MCPError: the server's own error, or the end of the connection.
            ValidationError: the answer is not what the protocol asks for.
        """
        if self._client is None or self.over:
            raise Gone(self.ending)
        task = asyncio.create_task(self._client.session.send_request(request, _RAW, progress_callback=progress))
        task.add_done_callback(_heard)
        with self._attending(questions):
            try:
                ends: set[asyncio.Future[Any]] = {task, self.life.over}
                await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if not task.done() and self.over:
                    await asyncio.wait({task}, timeout=SETTLING)
            finally:
                if not task.done():
                    task.cancel()
        return await self._outcome(task)

    async def _outcome(self, task: asyncio.Task[dict[str, Json]]) -> dict[str, Json]:
        if not task.done():
            if self.over:
                raise MCPError(CONNECTION_CLOSED, self.ending)
            raise TimeoutError
        try:
            return task.result()
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                await asyncio.wait({self.life.over}, timeout=SETTLING)
                if self.over:
                    raise MCPError(CONNECTION_CLOSED, self.ending) from error
            raise

    async def tools(self, cursor: str | None) -> tuple[list[dict[str, Json]], str | None]:
        """A page of the server's list of tools, and the cursor of the next."""
        if self._client is None or self.over:
            raise Gone(self.ending)
        params = PaginatedRequestParams(cursor=cursor) if cursor is not None else None
        page = await self._client.session.list_tools(params=params)
        return [_described(tool) for tool in page.tools], page.next_cursor

    def offers(self, what: str) -> bool:
        """Whether the server says that it has ``tools``, ``resources`` or ``prompts``."""
        return self._client is not None and getattr(self._client.server_capabilities, what, None) is not None

    @property
    def ending(self) -> str:
        """Why it is over, with the last words of the server."""
        words = f"; it wrote: {' / '.join(list(self.life.words)[-3:])}" if self.life.words else ""
        return f"{self.life.reason or 'the connection is closed'}{words}"

    async def close(self) -> None:
        """End it, and wait until its process is gone."""
        self.life.end(ENDED_BY_US)
        if not self._ready.done():
            self._owner.cancel()
        await asyncio.wait({self._owner}, timeout=4 * GRACE)

    # -- the owner -----------------------------------------------------------------------------------------

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.opening.connect_timeout):
                    self._client = await stack.enter_async_context(self._made())
                self._ready.set_result(None)
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(self._follow(self._client))
                    await asyncio.wait({self.life.over})
                    following.cancel()
        except (Exception, asyncio.CancelledError) as error:
            self.failed = error
        finally:
            self.life.end(_reason(self.failed))
            if not self._ready.done():
                self._ready.set_exception(self._unopened())
                self._ready.exception()

    def _unopened(self) -> BaseException:
        match innermost(self.failed):
            case TimeoutError():
                return TimeoutError(f"it did not answer the greeting within {self.opening.connect_timeout:g} s")
            case MCPError() as error if error.code == CONNECTION_CLOSED:
                return Gone(self.ending)
            case None | asyncio.CancelledError():
                return Gone(self.ending)
            case error:
                return error

    def _made(self) -> Client:
        return Client(
            self.opening.transport(self.life),
            client_info=Implementation(name="cogwork", version="1"),
            elicitation_callback=self._elicited,
            list_roots_callback=self._rooted if self.opening.roots else None,
            message_handler=self._told,
            mode=self.opening.protocol,
            cache=None,
        )

    async def _follow(self, client: Client) -> None:
        """Keep the stream of changes open where the protocol has one; their notices come in as all others do."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed or client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        with contextlib.suppress(Exception):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    pass

    # -- what the server asks and tells --------------------------------------------------------------------

    @contextmanager
    def _attending(self, questions: Questions | None) -> Iterator[None]:
        if questions is None:
            yield
            return
        self._asking.append(questions)
        try:
            yield
        finally:
            self._asking.remove(questions)

    async def _elicited(self, context: ClientRequestContext, params: Elicited) -> ElicitResult | ErrorData:
        if len(self._asking) != 1:
            return ErrorData(code=INVALID_REQUEST, message=_CROWDED)
        questions = self._asking[0]
        try:
            return questions.answered(params)
        except Fault as fault:
            questions.fault = fault
            return ErrorData(code=INVALID_REQUEST, message=fault.message)

    async def _rooted(self, context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=named(self.opening.roots))

    async def _told(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.opening.changed()


def _described(tool: Tool) -> dict[str, Json]:
    """What matters of a tool; its schemas are handed on as they are, however deep."""
    return {
        "name": tool.name,
        "description": tool.description or tool.title,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None,
    }


def _reason(error: BaseException | None) -> str:
    match error:
        case None | asyncio.CancelledError():
            return ENDED_BY_US
        case TimeoutError():
            return "it did not answer the greeting in time"
        case _:
            return f"the connection broke ({type(error).__name__})"


def _heard(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to hear how a request that was given up ends."""
    if not task.cancelled():
        task.exception()


class _Elsewhere(logging.Filter):
    """Lets pass what does not come from our sessions."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD


_ELSEWHERE: Final = _Elsewhere()


def _quieten() -> None:
    """Keep out of the logs what the SDK quotes from servers, which may hold secrets; the faults tell what happened."""
    for name in _QUOTING:
        logging.getLogger(name).addFilter(_ELSEWHERE)
