"""Lists of what else there is: schedules and triggers, agents, sessions with what was said, tools."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from starlette.responses import Response

from cogwork.server.pages.routing import asked, router
from cogwork.server.pages.view import acting, page

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine

routes = router()
PER_PAGE: Final = 25
MESSAGES: Final = 50


@routes.get("/schedules")
async def schedules(request: Request) -> Response:
    """What starts workflows by itself."""

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        cursor, other = (request.query_params.get(name) or None for name in ("cursor", "triggers"))
        by_time = await engine.schedules.list(limit=PER_PAGE, cursor=cursor)
        by_event = await engine.triggers.list(limit=PER_PAGE, cursor=other)
        last = [(await engine.schedules.firings(each.id, limit=1)).items for each in by_time.items]
        return {"schedules": by_time, "triggers": by_event, "last": [each[0] if each else None for each in last]}

    found = await acting(request).perform("schedules.read", "", look)
    return page(request, "schedules.html", section="schedules", **found)


@routes.get("/agents")
async def agents(request: Request) -> Response:
    """The registered agents and their hand-overs."""

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        found = await engine.list_agents(limit=PER_PAGE, cursor=request.query_params.get("cursor") or None)
        return {"found": found, "handoffs": (await engine.list_handoffs(limit=100))["handoffs"]}

    found = await acting(request).perform("agents.read", "", look)
    return page(request, "agents.html", section="agents", **found)


@routes.get("/sessions")
async def sessions(request: Request) -> Response:
    """The sessions of users."""
    wanted = asked(request, "user", "status")

    async def look(engine: WorkflowEngine) -> Any:
        status: Any = wanted.get("status")
        cursor = request.query_params.get("cursor") or None
        return await engine.sessions.list(user_id=wanted.get("user"), status=status, limit=PER_PAGE, cursor=cursor)

    found = await acting(request).perform("sessions.read", "", look)
    return page(request, "sessions.html", section="sessions", found=found, wanted=wanted)


@routes.get("/sessions/{session}")
async def session(request: Request, session: str) -> Response:
    """One session, with what was said in one of its conversations."""
    wanted = asked(request, "conversation", "before")

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        found = await engine.sessions.find(session)
        talks = await engine.conversations.list(found.id, limit=PER_PAGE)
        listed: tuple[Any, ...] = tuple(talks.items)
        name = wanted.get("conversation") or (listed[0].id if listed else None)
        before = wanted.get("before", "")
        number = int(before) if before.isdigit() and len(before) < 12 else None
        messages = await engine.conversations.messages(name, MESSAGES, before=number) if name else None
        executions = await engine.list_executions(session_id=found.id, limit=8)
        return {"found": found, "talks": listed, "chosen": name, "messages": messages, "executions": executions}

    found = await acting(request).perform("sessions.read", session, look)
    return page(request, "session.html", section="sessions", **found)


@routes.get("/tools")
async def tools(request: Request) -> Response:
    """A search over all tools."""
    from cogwork.tools.finding import found as told

    query = asked(request, "q").get("q", "")

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        names = sorted(await asyncio.to_thread(engine.app.services.tools.names))
        hits = await asyncio.to_thread(engine.app.search_tools, query, 30) if query else []
        return {"count": len(names), "hits": [told(hit) for hit in hits], "names": names if not query else []}

    found = await acting(request).perform("tools.read", "", look)
    return page(request, "tools.html", section="tools", query=query, **found)
