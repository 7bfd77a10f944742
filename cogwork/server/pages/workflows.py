"""Workflows: their list, the page of one with its versions and figures, and starting one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from cogwork.errors import EngineError
from cogwork.server.faults import engine_error, status_of
from cogwork.server.pages.forms import Control, control, filled
from cogwork.server.pages.routing import asked, form_of, router
from cogwork.server.pages.view import acting, execution_path, moved, page
from cogwork.server.pages.waterfall import over_time
from graphs.analysis.picture import embedded, scene
from state.errors import CogworkError

if TYPE_CHECKING:
    from cogwork.library.entries import VersionRecord
    from cogwork.workflow_engine import WorkflowEngine
    from graphs.analysis.picture.scene import Box

routes = router()
PER_PAGE: Final = 25
RANGES: Final = {"7d": "last_7_days", "30d": "last_30_days", "90d": "last_90_days"}
PRIORITIES: Final = ("normal", "high", "low")


@routes.get("/workflows")
async def list_workflows(request: Request) -> Response:
    """The library, searched by words and tag."""
    wanted = asked(request, "q", "tag", "status")
    cursor = request.query_params.get("cursor") or None

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        tags = [wanted["tag"]] if "tag" in wanted else []
        return await engine.list_workflows(tags, wanted.get("status"), PER_PAGE, cursor, wanted.get("q"))

    found = await acting(request).perform("workflows.read", "", look)
    return page(request, "workflows.html", section="workflows", found=found, wanted=wanted)


@routes.get("/workflows/{workflow}")
async def show_workflow(request: Request, workflow: str) -> Response:
    """One workflow: its graph, versions, executions and figures."""
    wanted = asked(request, "version", "against", "range", "step")
    found = await acting(request).perform("workflows.read", workflow, lambda engine: _looked(engine, workflow, wanted))
    drawing = _drawing(request, found, wanted)
    return page(request, "workflow.html", section="workflows", wanted=wanted, ranges=RANGES, drawing=drawing, **found)


async def _looked(engine: WorkflowEngine, name: str, wanted: dict[str, str]) -> dict[str, Any]:
    record = await engine.library.get(name)
    version = await engine.library.version(record.id, _which(wanted.get("version")))
    graph, trouble = await _graph(engine, version)
    executions = await engine.list_executions(record.id, limit=8)
    figures = await engine.metrics.workflow(record.id, RANGES.get(wanted.get("range", "30d"), "last_30_days"))
    buckets: Any = figures["throughput"]
    spec = graph.plan.spec if hasattr(graph, "plan") else None
    against = _which(wanted.get("against"))
    return {
        "record": record,
        "version": version,
        "versions": await engine.library.versions(record.id),
        "graph": graph,
        "spec": spec,
        "trouble": trouble,
        "executions": executions,
        "figures": figures,
        "chart": over_time(buckets),
        "buckets": [each for each in buckets if each["status_counts"]][-40:],
        "uses": await engine.library.uses(record.id, version.version, depth=1),
        "comparison": await engine.library.diff(record.id, against, version.version) if against is not None else None,
        "step": _step(graph, wanted.get("step")),
    }


def _which(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 9 else text


async def _graph(engine: WorkflowEngine, version: VersionRecord) -> tuple[Any, str]:
    from cogwork.executions.options import Options

    try:
        return await engine.parts.graphs.published(version, Options()), ""
    except CogworkError as err:
        return None, f"It cannot run as things are: {err}"


def _step(graph: Any, name: str | None) -> dict[str, Any] | None:
    """What the spec says of a step."""
    planned = graph.plan.steps.get(name) if name is not None and hasattr(graph, "plan") else None
    if planned is None:
        return None
    dump = planned.step.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return {
        "id": planned.id,
        "kind": planned.kind,
        "spec": {k: v for k, v in dump.items() if k not in ("type", "nodes")},
    }


def _drawing(request: Request, found: dict[str, Any], wanted: dict[str, str]) -> Markup | None:
    if found["spec"] is None:
        return None
    place = f"{request.scope.get('root_path', '')}/workflows/{quote(found['record'].id, safe='')}"
    version = f"version={found['version'].version}&" if "version" in wanted else ""

    def link(box: Box) -> str:
        return f"{place}?{version}step={quote(box.id, safe='')}#step"

    return Markup(embedded(scene(found["graph"].plan), link))


# -- starting --------------------------------------------------------------------------------------------------------


@routes.get("/workflows/{workflow}/start")
async def starting(request: Request, workflow: str) -> Response:
    """The form with which it is started."""
    return await _form(request, workflow, asked(request, "version"))


@routes.post("/workflows/{workflow}/start")
async def start(request: Request, workflow: str) -> Response:
    """Start it; what does not fit is shown again with what is wrong."""
    form = await form_of(request)
    chosen = {name: form.get(name, [""])[0].strip() for name in ("version", "priority", "tags", "key", "debug")}
    if not acting(request).principal.may("executions.start"):
        await acting(request).perform("executions.start", workflow, _nothing)
    schema = (await _about(request, workflow, chosen))["schema"]
    read = filled(schema, form, "in")
    if read.faults:
        fault = f"The input does not fit yet: {'; '.join(read.faults[:5])}"
        return await _form(request, workflow, chosen, control=read.control, fault=fault, status=422)
    options: dict[str, Any] = {
        "priority": chosen["priority"] or "normal",
        "tags": chosen["tags"].replace(",", " ").split(),
    }
    options |= {"idempotency_key": chosen["key"] or None, "debug": bool(chosen["debug"])}
    source = f"{workflow}@{chosen['version']}" if chosen["version"] else workflow

    async def work(engine: WorkflowEngine) -> str:
        value = read.value if isinstance(read.value, dict) else {}
        return (await engine.execute_workflow(source, value, options)).id

    try:
        made = await acting(request).perform("executions.start", workflow, work)
    except CogworkError as err:
        error = engine_error(err)
        if error.code in ("permission_denied", "workflow_not_found"):
            raise
        status = status_of(error.code)
        return await _form(request, workflow, chosen, control=read.control, fault=error.message, status=status)
    return moved(request, execution_path(made), did="started")


async def _nothing(engine: WorkflowEngine) -> None:
    """What somebody may not do is refused, and written down, before anything is looked at."""


async def _about(request: Request, workflow: str, chosen: dict[str, str]) -> dict[str, Any]:
    """The workflow, and the schema of its input."""

    async def look(engine: WorkflowEngine) -> dict[str, Any]:
        record = await engine.library.get(workflow)
        version = await engine.library.version(record.id, _which(chosen.get("version") or None))
        graph, trouble = await _graph(engine, version)
        if graph is None:
            raise EngineError("conflict", trouble)
        plan = getattr(graph, "plan", None)
        schema = plan.spec.input if plan is not None else getattr(graph, "input_schema", None) or {"type": "object"}
        return {"record": record, "version": version, "schema": schema}

    return await acting(request).perform("workflows.read", workflow, look)


async def _form(
    request: Request,
    workflow: str,
    chosen: dict[str, str],
    *,
    control: Control | None = None,
    fault: str = "",
    status: int = 200,
) -> Response:
    about = await _about(request, workflow, chosen)
    form = control or _made(about["schema"])
    asks = bool(form.inside) or form.kind != "group"
    defaults = {"priority": "normal", "tags": "", "key": "", "debug": "", "version": ""}
    return page(
        request,
        "start.html",
        status=status,
        section="workflows",
        control=form if asks else replace(form, inside=()),
        asks=asks,
        fault=fault,
        chosen={**defaults, **chosen},
        priorities=PRIORITIES,
        **about,
    )


def _made(schema: Any) -> Control:
    return control(schema if isinstance(schema, dict) else {}, "in")
