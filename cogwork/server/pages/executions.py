"""Executions: their list, and the page of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from cogwork.executions.statuses import ENDED, STATUSES
from cogwork.server.pages import advice
from cogwork.server.pages.forms import Control, control
from cogwork.server.pages.live import streamed
from cogwork.server.pages.looking import Look, Reading, chosen
from cogwork.server.pages.regions import Region
from cogwork.server.pages.routing import asked, router
from cogwork.server.pages.view import acting, execution_path, may, page, rendered, with_query
from cogwork.server.pages.waterfall import waterfall
from graphs.analysis.picture import embedded, scene

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine
    from graphs.analysis.picture.scene import Box

routes = router()
PER_PAGE: Final = 25
AGO: Final = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
FILTERS: Final = ("status", "workflow", "tag", "ago", "since", "session", "id")
DID: Final = {
    "started": "It is asked for.",
    "answered": "Your answer was taken.",
    "paused": "It rests.",
    "resumed": "It goes on.",
    "cancelled": "It is being cancelled.",
    "forked": "This is the fork. The other execution stays as it was.",
    "ended": "It had ended before that.",
}
"""What is said once a form has done what it is for."""


# -- the list --------------------------------------------------------------------------------------------------------


@routes.get("/executions")
async def list_executions(request: Request) -> Response:
    """The list, with its filters."""
    wanted = asked(request, *FILTERS)
    names = await _workflow_names(request)
    return page(
        request,
        "executions.html",
        section="executions",
        wanted=wanted,
        statuses=STATUSES,
        ago=AGO,
        names=names,
        regions=[await _rows(request)],
        live=with_query(wanted, cursor=request.query_params.get("cursor")),
    )


@routes.get("/live/executions")
async def live_list(request: Request) -> Response:
    """Its rows, whenever one is another."""

    async def parts() -> list[Region]:
        return [await _rows(request)]

    return await streamed(request, parts, every=1.0)


async def _rows(request: Request) -> Region:
    wanted, cursor = asked(request, *FILTERS), request.query_params.get("cursor")
    if wanted.get("ago") in AGO and "since" not in wanted:
        # The pages that follow are of the same time as the first.
        wanted["since"] = (datetime.now(UTC) - AGO[wanted["ago"]]).isoformat(timespec="minutes")

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        if name := wanted.get("id"):
            return {"executions": [await engine.get_execution_status(name)], "cursor": None}
        return await engine.list_executions(
            wanted.get("workflow"),
            wanted.get("status"),
            wanted.get("since"),
            limit=PER_PAGE,
            cursor=cursor or None,
            tags=[wanted["tag"]] if "tag" in wanted else [],
            session_id=wanted.get("session"),
        )

    found = await acting(request).perform("executions.read", "", look)
    html = rendered(request, "executions_rows.html", found=found, wanted=wanted, first=not cursor)
    return Region("rows", html)


async def _workflow_names(request: Request) -> list[str]:
    async def look(engine: WorkflowEngine) -> list[str]:
        found: Any = (await engine.list_workflows(limit=200))["workflows"]
        return sorted(each["name"] for each in found)

    return await acting(request).perform("workflows.read", "", look)


# -- one -------------------------------------------------------------------------------------------------------------


@routes.get("/executions/{execution}")
async def show_execution(request: Request, execution: str) -> Response:
    """One execution."""
    return await shown(request, execution)


async def shown(
    request: Request,
    name: str,
    *,
    status: int = 200,
    fault: str = "",
    forms: Mapping[str, Control] | None = None,
) -> Response:
    """The page of an execution; with ``fault`` what could not be done, with ``forms`` those that somebody has filled in."""
    reading, step = Reading(name), request.query_params.get("step", "")
    look, regions = await acting(request).perform(
        "executions.read", name, lambda engine: _regions(request, engine, reading, step, forms or {})
    )
    return page(
        request,
        "execution.html",
        status=status,
        section="executions",
        execution=look.execution,
        regions={region.name: region for region in regions},
        step=step,
        fault=fault,
        did=DID.get(request.query_params.get("did", ""), ""),
        over=look.execution.ended,
    )


@routes.get("/live/executions/{execution}")
async def live_execution(request: Request, execution: str) -> Response:
    """The parts of its page, as it goes on."""
    reading, step = Reading(execution), request.query_params.get("step", "")
    last: list[Look] = []

    async def parts() -> list[Region]:
        look, regions = await acting(request).perform(
            "executions.read", execution, lambda engine: _regions(request, engine, reading, step, {})
        )
        last[:] = [look]
        return regions

    async def mark() -> tuple[int, str, int]:
        return await reading.mark(acting(request).engine)

    return await streamed(request, parts, mark=mark, over=lambda: last[0].execution.ended, every=0.4)


async def _regions(
    request: Request, engine: WorkflowEngine, reading: Reading, step: str, forms: Mapping[str, Control]
) -> tuple[Look, list[Region]]:
    look = await reading.look(engine)
    about = {"look": look, "execution": look.execution, "step": step}
    asks = [_question(each, forms) for each in look.execution.questions]
    key = json.dumps([list(look.execution.questions), may(request, "executions.answer"), look.execution.status])
    drawn = waterfall(list(look.story.steps.values()), look.now)
    the_step = await chosen(engine, look, step) if step else None
    advised = advice.of(look.execution.error) if look.execution.error else None
    pieces: dict[str, dict[str, Any]] = {
        "head": {"ended": ENDED},
        "error": {"advice": advised},
        "graph": {"drawing": _drawing(request, look)},
        "step": {"chosen": the_step},
        "timeline": {"drawing": drawn},
        "steps": {},
        "result": {},
        "events": {"events": [(told.seq, told.event, advice.told(told.event)) for told in look.events[:-300:-1]]},
    }

    def made() -> list[Region]:
        texts = {name: rendered(request, f"execution_{name}.html", **about, **more) for name, more in pieces.items()}
        questions = rendered(request, "execution_questions.html", **about, asks=asks)
        return [*(Region(name, text) for name, text in texts.items()), Region("questions", questions, key)]

    return look, await asyncio.to_thread(made)


def _question(question: Mapping[str, Any], forms: Mapping[str, Control]) -> dict[str, Any]:
    at = str(question.get("at"))
    schema = question.get("form")
    form = forms.get(at) or control(schema if isinstance(schema, dict) else {}, at)
    return {**question, "at": at, "control": form}


def _drawing(request: Request, look: Look) -> Markup | None:
    """The graph with the states of its steps; each box leads to its step."""
    if look.plan is None:
        return None
    root = request.scope.get("root_path", "")

    def link(box: Box) -> str:
        return f"{root}{execution_path(look.execution.id)}{with_query({'step': box.id})}#step"

    return Markup(embedded(scene(look.plan, look.states), link))
