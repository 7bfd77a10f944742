"""The MCP server: its tools, resources and what its clients are told, put together over whoever acts in a request."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from cogwork.server.acting import Acting
from cogwork.server.mcp.calling import Calling
from cogwork.server.mcp.door import Context, Door, Extras, Rules
from cogwork.server.mcp.execution_tools import execution_tools
from cogwork.server.mcp.house_tools import house_tools
from cogwork.server.mcp.looking import Looking
from cogwork.server.mcp.refusals import protocol_error
from cogwork.server.mcp.telling import Telling
from cogwork.server.mcp.watching import Watch
from cogwork.server.mcp.workflow_tools import workflow_tools
from state.errors import CogworkError

NAME: Final = "cogwork"
STATE_SECONDS: Final = 7 * 24 * 3600.0
"""How long a question may wait for its answer in a client of 2026; the execution waits longer, and resume_execution answers it."""
INSTRUCTIONS: Final = (
    "Each tool workflow.NAME is a workflow: called, it is executed, and the result is waited for. list_workflows finds more of "
    "them, execute_workflow takes options. An execution that asks a person rests as paused with its questions: answer with "
    "resume_execution. Executions and workflows are resources under cogwork://."
)


def mcp_server(
    acting: Callable[[Context], Acting],
    *,
    rules: Rules | None = None,
    extras: Extras | None = None,
    state_keys: list[bytes] | None = None,
) -> _Server:
    """The server; ``acting`` gives the engine as the caller of a request has it.

    ``state_keys`` (32 bytes or more each, the first seals) let several processes take each other's rounds of a call; without
    them a round is taken by the process that asked. What is in ``extras`` is served beside the workflows.
    """
    door = Door(acting=acting, rules=rules or Rules(), extras=extras or Extras())
    door.verbs = {
        each.tool.name: each for each in (*workflow_tools(), *execution_tools(), *house_tools(), *door.extras.tools)
    }
    watch = Watch(door)
    calling, looking, telling = Calling(door), Looking(door), Telling(door, watch)

    @asynccontextmanager
    async def lifespan(_: Server[Door]) -> AsyncIterator[Door]:
        try:
            yield door
        finally:
            await watch.close()
            await door.close()

    server = _Server(
        NAME,
        version=_version(),
        title="cogwork",
        description="Agent workflows as data: checked, durable, with people where they are needed.",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        get_tool_input_schema=calling.schema,
        on_list_tools=calling.tools,
        on_call_tool=calling.call,
        on_list_resources=looking.resources,
        on_list_resource_templates=looking.templates,
        on_read_resource=looking.read,
        on_completion=looking.complete,
        on_subscribe_resource=telling.subscribe,
        on_unsubscribe_resource=telling.unsubscribe,
        on_subscriptions_listen=telling.listen,
    )
    server.door = door
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, telling.level)
    if door.extras.prompts:
        server.add_request_handler("prompts/list", types.PaginatedRequestParams, looking.prompts)
        server.add_request_handler("prompts/get", types.GetPromptRequestParams, looking.prompt)
    server.middleware += [
        _Guard(door, watch),
        RequestStateBoundary(_sealing(acting, state_keys), default_audience=NAME),
    ]
    return server


def _sealing(acting: Callable[[Context], Acting], keys: list[bytes] | None) -> RequestStateSecurity:
    """How what a client of 2026 carries from round to round is sealed: for this principal, for this call alone."""
    return RequestStateSecurity(
        keys=keys or [secrets.token_bytes(32)], ttl=STATE_SECONDS, bind_principal=lambda ctx: acting(ctx).principal.id
    )


class _Server(Server[Door]):
    """The SDK's server, that says of protocols before 2026 too that its lists may change."""

    door: Door

    def get_capabilities(self, notification_options: Any = None, *more: Any, **named: Any) -> types.ServerCapabilities:
        """What is told to clients that greet."""
        return super().get_capabilities(notification_options or _changing(), *more, **named)

    def create_initialization_options(self, notification_options: Any = None, *more: Any, **named: Any) -> Any:
        """See ``get_capabilities``."""
        return super().create_initialization_options(notification_options or _changing(), *more, **named)


def _changing() -> NotificationOptions:
    return NotificationOptions(tools_changed=True, resources_changed=True)


class _Guard:
    """Around every message: who greets is told of changes, and no fault of ours says more than its number."""

    def __init__(self, door: Door, watch: Watch) -> None:
        self._door, self._watch = door, watch

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        try:
            result = await call_next(ctx)
        except (MCPError, ValidationError):
            raise
        except CogworkError as err:
            raise protocol_error(err, self._request_id(ctx)) from err
        except Exception as err:
            raise protocol_error(err, self._request_id(ctx)) from None
        if ctx.method == "notifications/initialized":
            self._watch.greet(ctx)
        return result

    def _request_id(self, ctx: Context) -> str:
        try:
            return self._door.acting(ctx).request_id
        except Exception:  # whoever acts may be what failed
            return ""


def _version() -> str:
    try:
        return version("cogwork")
    except PackageNotFoundError:
        return ""
