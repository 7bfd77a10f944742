"""Tools as clients list and call them: the verbs, what was added, and the workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from cogwork.errors import EngineError
from cogwork.server.acting import Acting
from cogwork.server.mcp.door import Answer, Call, Context, Door
from cogwork.server.mcp.offers import Offer
from cogwork.server.mcp.refusals import protocol_error, refused
from cogwork.server.mcp.shelf import offered
from cogwork.server.mcp.workflow_tools import call_workflow
from cogwork.tools.workflows import PREFIX
from cogwork.workflow_engine import WorkflowEngine
from state.errors import CogworkError


class Calling:
    """What the tools' methods of the protocol do."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """A page of tools: the verbs with the first, then the workflows; what may not be read is not listed."""
        cursor, acting = params.cursor if params is not None else None, self._door.acting(ctx)
        verbs = [each.tool for each in self._door.verbs.values()] if cursor is None else []
        try:
            offers, following = await acting.perform("workflows.read", "workflows", lambda e: self._page(e, cursor))
        except EngineError as err:
            raise protocol_error(err, acting.request_id) from err
        return types.ListToolsResult(tools=[*verbs, *(offer.tool for offer in offers)], next_cursor=following)

    async def _page(self, engine: WorkflowEngine, cursor: str | None) -> tuple[list[Offer], str | None]:
        return await offered(engine, self._door.offers, limit=self._door.rules.page, cursor=cursor)

    def schema(self, name: str) -> Mapping[str, Any] | None:
        """The schema by which the SDK checks headers against arguments; workflows ask for no headers."""
        entry = self._door.verbs.get(name)
        return entry.tool.input_schema if entry is not None else None

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> Answer:
        """What a call comes to; an error of the tool is a result, an unknown tool is one of the protocol."""
        acting = self._door.acting(ctx)
        call = Call(ctx=ctx, params=params, acting=acting, door=self._door)
        try:
            return await self._called(call)
        except (CogworkError, ValidationError) as err:
            return refused(err, acting.request_id)
        except MCPError:
            raise
        except Exception as err:
            return refused(err, acting.request_id)

    async def _called(self, call: Call) -> Answer:
        name = call.params.name
        if (entry := self._door.verbs.get(name)) is not None:
            return await entry.call(call)
        if name.startswith(PREFIX):
            offer = await self._offer(call.acting, name)
            if offer is not None:
                return await call_workflow(call, offer)
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {name[:200]!r}: tools/list tells them")

    async def _offer(self, acting: Acting, name: str) -> Offer | None:
        return await acting.perform("workflows.read", name, lambda engine: self._door.offers.find(engine, name))
