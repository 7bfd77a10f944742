"""One configured server: its sessions, its list of tools, and every request to it. Lives in the loop of the connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    URL_ELICITATION_REQUIRED,
    CallToolRequest,
    CallToolRequestParams,
    ClientRequest,
)

from cogwork.breaker import Breaker
from cogwork.tools.mcp.config import McpServer, Sources
from cogwork.tools.mcp.entrance import way_in
from cogwork.tools.mcp.faults import fault_of, is_gone
from cogwork.tools.mcp.listing import Listing, listed
from cogwork.tools.mcp.questions import Questions, elicitations
from cogwork.tools.mcp.redaction import Redaction
from cogwork.tools.mcp.session import Opening, Progress, Session
from cogwork.tools.mcp.spacing import Spacing
from state.errors import Asked, Fault
from state.values import Json

log = logging.getLogger("cogwork.mcp")
KEY: Final = "cogwork/idempotencyKey"
"""Where in ``_meta`` of a call its key stands, so that a server can recognise a repeated one."""
MAX_ROUNDS: Final = 20
"""How often in a row a call may be answered with questions that have been answered."""
SHARED: Final = ""
LISTING: Final = "listing"


class Server:
    """One server; all but ``listing``, ``trouble`` and ``breaker`` is touched in its loop alone.

    Args:
        name: its name in the settings.
        config: what the settings say of it.
        sources: where the values come from that the settings refer to.
        breaker: its circuit breaker.
    """

    def __init__(self, name: str, config: McpServer, sources: Sources, breaker: Breaker) -> None:
        self.name, self.config, self.breaker = name, config, breaker
        self.listing: Listing | None = None
        """Its tools; None while nobody has asked."""
        self.trouble: Fault | None = None
        """Why they could not be listed last."""
        self.redaction = Redaction()
        self._sources = sources
        self._sessions: dict[str, Session] = {}
        self._spacing = Spacing()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listing_now = asyncio.Lock()
        self._stale = False
        self._numbers = count()

    # -- requests ------------------------------------------------------------------------------------------

    async def call(
        self, tool: str, args: Mapping[str, Json], run: str, key: str, questions: Questions, progress: Progress | None
    ) -> dict[str, Json] | Asked:
        """The result of a call as the server gives it, or the question that has to be answered first.

        Raises:
            Fault: typed, in time.
        """
        async with self._scope(run) as scope:
            going_on = questions.resumed()
            for _ in range(MAX_ROUNDS):
                request = self._calling(tool, args, key, going_on)
                try:
                    result = await self._ask(request, scope, f"calling {tool}", questions, progress)
                except Fault as fault:
                    if questions.raised and fault.fault_class not in ("timeout", "connection"):
                        return questions.first()
                    if not going_on or fault.fault_class not in ("invalid_input", "tool_error"):
                        raise
                    questions.start_over()  # the server no longer knows the state that it gave
                    going_on = {}
                    continue
                if questions.raised:
                    return questions.first()
                if result.get("resultType") != "input_required":
                    return result
                given = questions.responses(result, self.config.roots)
                if given is None:
                    return questions.first()
                going_on = {"input_responses": given or None, "request_state": result.get("requestState")}
            raise Fault("invalid_output", f"MCP server {self.name}, calling {tool}: it asks without end", origin="tool")

    async def request(self, request: ClientRequest, doing: str, run: str = SHARED) -> dict[str, Json]:
        """The answer to any other request, as plain JSON.

        Raises:
            Fault: typed, in time; ``invalid_input`` where it asks something back.
        """
        async with self._scope(run) as scope:
            result = await self._ask(request, scope, doing, Questions(self.name, {}, self.redaction), None)
        if result.get("resultType") == "input_required":
            raise Fault(
                "invalid_input", f"MCP server {self.name}, {doing}: it asks for more than was given", origin="tool"
            )
        return result

    def _calling(self, tool: str, args: Mapping[str, Json], key: str, going_on: Mapping[str, Any]) -> CallToolRequest:
        params = CallToolRequestParams(name=tool, arguments=dict(args), _meta={KEY: key}, **going_on)
        return CallToolRequest(params=params)

    async def _ask(
        self, request: ClientRequest, scope: str, doing: str, questions: Questions, progress: Progress | None
    ) -> dict[str, Json]:
        """One request; on a new session where the server does not know the old one any more.

        Raises:
            Fault: typed.
        """
        for attempt in (1, 2):
            session = await self._session(scope)
            try:
                return await session.ask(request, self.config.read_timeout, progress=progress, questions=questions)
            except Exception as error:
                again = await self._mended(error, session, questions)
                if not again or attempt == 2:
                    raise self._fault(error, doing) from error
        raise AssertionError("unreachable")

    async def _mended(self, error: Exception, session: Session, questions: Questions) -> bool:
        """Whether nothing was done and asking again may help, as what was in the way no longer is."""
        if is_gone(error):
            self._drop(session)
            return True
        if isinstance(error, MCPError) and error.code == URL_ELICITATION_REQUIRED:
            for each in elicitations(error):
                questions.put(each)
        if isinstance(error, MCPError) and error.code == HEADER_MISMATCH:
            await listed(session.tools, self.config, self.redaction)
            return True
        return False

    def _fault(self, error: BaseException, doing: str) -> Fault:
        return fault_of(error, self.name, doing, self.redaction)

    # -- sessions ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _scope(self, run: str) -> AsyncIterator[str]:
        """Under what name the session of a call of that run is held; one of its own ends with the call."""
        if self.config.session != "call":
            yield run if self.config.session == "run" else SHARED
            return
        scope = f"call {next(self._numbers)}"
        try:
            yield scope
        finally:
            self._let_go(scope)

    async def _session(self, scope: str) -> Session:
        """The session of that name, opened where there is none that lives.

        Raises:
            Fault: it cannot be opened.
        """
        if self._living(scope) is None:
            await self._spacing.wait()
        session = self._living(scope)  # another call may have opened it meanwhile
        if session is None:
            session = self._sessions[scope] = Session(self._opening())
        try:
            await session.opened()
        except Exception as error:
            self._unopened(session)
            raise self._connecting(error) from error
        self._spacing.succeeded()
        return session

    def _living(self, scope: str) -> Session | None:
        session = self._sessions.get(scope)
        return None if session is None or session.over else session

    def _let_go(self, scope: str) -> None:
        if (session := self._sessions.pop(scope, None)) is not None:
            self._later(session.close())

    def _connecting(self, error: Exception) -> Fault:
        """The fault of a session that could not be opened, in which no call can have been made."""
        fault = self._fault(error, "connecting")
        if fault.fault_class in ("permission_denied", "rate_limited"):
            return fault
        return Fault("unavailable", fault.message, origin="tool", retry_after=fault.retry_after)

    def _unopened(self, session: Session) -> None:
        if session not in self._sessions.values():
            return  # somebody who waited for the same session has seen to it
        self._drop(session)
        self._spacing.failed()

    def _drop(self, session: Session) -> None:
        for scope in [scope for scope, held in self._sessions.items() if held is session]:
            del self._sessions[scope]
        self._later(session.close())

    def _opening(self) -> Opening:
        return Opening(
            transport=way_in(self.name, self.config, self._sources, self.redaction),
            connect_timeout=self.config.connect_timeout,
            protocol=self.config.protocol,
            roots=tuple(self.config.roots),
            changed=self._changed,
        )

    async def release(self, run: str) -> None:
        """Close the session of that run."""
        if self.config.session == "run" and (session := self._sessions.pop(run, None)) is not None:
            await session.close()

    async def close(self) -> None:
        """Close every session."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions), *self._tasks, return_exceptions=True)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the list of tools ---------------------------------------------------------------------------------

    async def list(self) -> None:
        """Fetch the list of tools; whoever asks meanwhile waits for the same.

        Raises:
            Fault: it cannot be had; also kept as ``trouble``.
        """
        waited = self._listing_now.locked()
        async with self._listing_now:
            if waited and self.listing is not None and not self._stale:
                return
            try:
                self._stale = False
                self.listing = await self._listed()
                self.trouble = None
            except Fault as fault:
                self.trouble = fault
                raise

    async def _listed(self) -> Listing:
        scope = SHARED if self.config.session == "shared" else LISTING
        session = await self._session(scope)
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                if not session.offers("tools"):
                    return Listing()
                return await listed(session.tools, self.config, self.redaction)
        except Exception as error:
            fault = self._fault(error, "listing its tools")
            raise fault from error
        finally:
            if scope is LISTING:
                self._let_go(LISTING)

    def _changed(self) -> None:
        """The list is another now: fetch it, once however often that is said meanwhile."""
        if not self._stale:
            self._stale = True
            self._later(self._follow())

    async def _follow(self) -> None:
        try:
            await self.list()
        except Fault as fault:
            log.warning("The changed list of an MCP server's tools could not be fetched: %s", fault)

    # -- what is told --------------------------------------------------------------------------------------

    def health(self) -> dict[str, Json]:
        """How it stands, as plain JSON; may be read from any thread."""
        sessions = list(self._sessions.values())
        alive = [session for session in sessions if not session.over]
        return {
            "server": self.name,
            "transport": self.config.transport,
            "session": self.config.session,
            "state": "connected" if alive else ("unreachable" if self.trouble is not None else "not connected"),
            "sessions": len(alive),
            "tools": len(self.listing.tools) if self.listing is not None else None,
            "pids": [session.life.pid for session in alive if session.life.pid is not None],
            "is": next((session.server for session in alive if session.server), ""),
            "trouble": self.trouble.message if self.trouble is not None else "",
            "breaker": self.breaker.health(),
        }
