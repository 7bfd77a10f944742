"""Changes as clients are told of them: of executions they subscribe to, and of the workflows that are tools.

Who asks for something may run in another process, so changes are looked for in the records, and only while somebody listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, get_args

import mcp_types as types
import sqlalchemy as sa
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import EVENTS, EXECUTIONS
from cogwork.records.tables.library import LABELS, WORKFLOWS
from cogwork.server.mcp.replies import SCHEME

if TYPE_CHECKING:
    from cogwork.server.acting import Acting
    from cogwork.server.mcp.door import Context, Door
    from cogwork.workflow_engine import WorkflowEngine

log = logging.getLogger(__name__)
LEVELS: Final[tuple[types.LoggingLevel, ...]] = get_args(types.LoggingLevel)
_EXECUTION: Final = f"{SCHEME}executions/"


class Watch:
    """Looks for changes while somebody listens, and tells those who do."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._sessions: dict[int, Listener] = {}
        self._streams: Counter[str] = Counter()
        self._listening = 0
        self._acting: Acting | None = None
        self._seen: dict[str, Any] = {}
        self._library: Any = None
        self._task: asyncio.Task[None] | None = None
        door.heeds = self._heeds

    # -- connections of protocols before 2026 ----------------------------------------------------------------

    def greet(self, ctx: Context) -> Listener:
        """What is known of the connection; it is told of changes of the lists from now on."""
        connection = ctx.session._connection  # the SDK tells handlers of no other way to know when a connection ends
        if (known := self._sessions.get(id(connection))) is None:
            known = self._sessions[id(connection)] = Listener(ctx.session)
            connection.exit_stack.callback(self._sessions.pop, id(connection), None)
        self._begin(self._door.acting(ctx))
        return known

    def subscribe(self, ctx: Context, uri: str) -> None:
        """Tell the connection of changes of that resource."""
        self.greet(ctx).uris.add(uri)

    def unsubscribe(self, ctx: Context, uri: str) -> None:
        """Tell it no more."""
        self.greet(ctx).uris.discard(uri)

    def _heeds(self, ctx: Context, level: types.LoggingLevel) -> bool:
        known = self._sessions.get(id(ctx.session._connection))
        return known is None or LEVELS.index(level) >= LEVELS.index(known.level)

    # -- streams of later ones -------------------------------------------------------------------------------

    def listen(self, acting: Acting, uris: Iterable[str]) -> None:
        """Look for changes for a stream too; the bus tells it."""
        self._streams.update(uris)
        self._listening += 1
        self._begin(acting)

    def leave(self, uris: Iterable[str]) -> None:
        """The stream has ended."""
        self._streams.subtract(uris)
        self._streams += Counter()
        self._listening -= 1

    # -- looking ---------------------------------------------------------------------------------------------

    def _begin(self, acting: Acting) -> None:
        self._acting = acting
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def _uris(self) -> set[str]:
        return {*self._streams, *(uri for each in self._sessions.values() for uri in each.uris)}

    async def _watch(self) -> None:
        while self._sessions or self._listening:
            try:
                await self._look()
            except Exception as err:  # a database that is away for a moment must not end the watch
                log.warning("Changes are looked for again: %s", err)
            await asyncio.sleep(self._door.rules.look)

    async def _look(self) -> None:
        if self._acting is None:
            return
        engine = self._acting.engine
        library = await engine.parts.records.reading(_library)
        if self._library is not None and library != self._library:
            await self._tell(ToolsListChanged())
            await self._tell(ResourcesListChanged())
        self._library = library
        uris = [uri for uri in self._uris if uri.startswith(_EXECUTION)]
        at = await _executions(engine, {uri: _id(uri) for uri in uris})
        for uri in uris:
            if uri in self._seen and self._seen[uri] != at[uri]:
                await self._tell(ResourceUpdated(uri=uri))
        self._seen = at

    async def _tell(self, event: ServerEvent) -> None:
        await self._door.bus.publish(event)
        for each in tuple(self._sessions.values()):
            await each.tell(event)


class Listener:
    """A connection that is told of changes by itself."""

    def __init__(self, session: ServerSession) -> None:
        self._session, self.uris = session, set[str]()
        self.level: types.LoggingLevel = "info"
        """From which level it wants to be told what goes wrong within an execution."""

    async def tell(self, event: ServerEvent) -> None:
        """Tell it, where it is of interest; what cannot be told is left out."""
        if isinstance(event, ToolsListChanged):
            await self._session.send_tool_list_changed()
        elif isinstance(event, ResourcesListChanged):
            await self._session.send_resource_list_changed()
        elif isinstance(event, ResourceUpdated) and event.uri in self.uris:
            await self._session.send_resource_updated(event.uri)


def _id(uri: str) -> str:
    return uri.removeprefix(_EXECUTION).partition("/")[0]


def _library(connection: Connection) -> Any:
    """What changes with every change of the library."""
    workflows = sa.select(sa.func.count(), sa.func.max(WORKFLOWS.c.updated_at)).select_from(WORKFLOWS)
    labels = sa.select(sa.func.count(), sa.func.sum(LABELS.c.version)).select_from(LABELS)
    return tuple(connection.execute(workflows).one()), tuple(connection.execute(labels).one())


async def _executions(engine: WorkflowEngine, ids: dict[str, str]) -> dict[str, Any]:
    """What changes with every change of these executions."""
    if not ids:
        return {}

    def look(connection: Connection) -> dict[str, Any]:
        names = set(ids.values())
        rows = sa.select(EXECUTIONS.c.id, EXECUTIONS.c.status, EXECUTIONS.c.rev, EXECUTIONS.c.segment)
        stands = {row.id: tuple(row) for row in connection.execute(rows.where(EXECUTIONS.c.id.in_(names)))}
        counts = sa.select(EVENTS.c.execution_id, sa.func.max(EVENTS.c.seq)).where(EVENTS.c.execution_id.in_(names))
        last = {row[0]: row[1] for row in connection.execute(counts.group_by(EVENTS.c.execution_id))}
        return {uri: (stands.get(id), last.get(id)) for uri, id in ids.items()}

    return await engine.parts.records.reading(look)
