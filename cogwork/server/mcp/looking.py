"""Resources, prompts and completions as clients list and read them."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from cogwork.server.mcp import resources
from cogwork.server.mcp.asking import modern
from cogwork.server.mcp.door import Context, Door, Got
from cogwork.server.mcp.refusals import protocol_error, unknown_resource
from state.errors import CogworkError

MOST: int = 100
"""Values that a completion may have at most, by the protocol."""


class Looking:
    """What the methods of resources, prompts and completions do."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def resources(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """A page of resources: what was added with the first, then workflows, then executions."""
        cursor, acting = params.cursor if params is not None else None, self._door.acting(ctx)
        added = [each.resource for each in self._door.extras.resources] if cursor is None else []
        try:
            found, following = await resources.listing(self._door, acting, cursor)
        except CogworkError as err:
            raise protocol_error(err, acting.request_id) from err
        return types.ListResourcesResult(resources=[*added, *found], next_cursor=following)

    async def templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """The patterns of addresses."""
        added = [each.template for each in self._door.extras.templates]
        return types.ListResourceTemplatesResult(resource_templates=[*resources.templates(), *added])

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """What stands at an address."""
        uri, acting, late = str(params.uri), self._door.acting(ctx), modern(ctx)
        found: Any = None
        for each in self._door.extras.resources:
            if str(each.resource.uri) == uri:
                found = await each.read(ctx)
        for template in self._door.extras.templates:
            found = found if found is not None else await template.read(ctx, uri)
        if found is None:
            try:
                found = await resources.read(self._door, acting, uri)
            except CogworkError as err:
                raise protocol_error(err, acting.request_id, modern=late) from err
        if found is None:
            raise unknown_resource(uri, modern=late)
        return types.ReadResourceResult(contents=[found])

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """What an argument of a prompt or of an address may be."""
        argument, typed = params.argument.name, params.argument.value
        values: list[str] = []
        if isinstance(params.ref, types.PromptReference):
            wanted = params.ref.name
            prompts = [each for each in self._door.extras.prompts if each.prompt.name == wanted]
            values = [value for each in prompts for value in each.values(argument, typed)]
        else:
            acting = self._door.acting(ctx)
            try:
                values = await resources.completions(acting, params.ref.uri, argument, typed)
            except CogworkError as err:
                raise protocol_error(err, acting.request_id) from err
        shown = types.Completion(values=values[:MOST], total=len(values), has_more=len(values) > MOST)
        return types.CompleteResult(completion=shown)

    async def prompts(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """The prompts that were added."""
        return types.ListPromptsResult(prompts=[each.prompt for each in self._door.extras.prompts])

    async def prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Got:
        """One of them."""
        for each in self._door.extras.prompts:
            if each.prompt.name == params.name:
                return await each.get(ctx, params)
        raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name[:200]!r}: prompts/list tells them")
