"""Versions of workflows over HTTP: what they are, what differs, where labels stand, who uses what, how they look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from cogwork.library.names import version_or_label
from cogwork.server.http.forms import ONE_LINE, Caller, Name, errors, named, preferred
from cogwork.server.http.workflow_forms import (
    Diff,
    Labels,
    Rollback,
    Schemas,
    SetLabel,
    Users,
    Uses,
    Versions,
    VersionView,
    WorkflowView,
)
from cogwork.server.http.workflows import Id
from cogwork.workflow_engine import WorkflowEngine

if TYPE_CHECKING:
    from cogwork.library.bundles import Bundle
    from cogwork.library.entries import VersionRecord
    from cogwork.server.acting import Acting

router = APIRouter(prefix="/workflows/{workflow}", tags=["versions"])
uses = APIRouter(tags=["versions"])
Which = Annotated[str, named("number of a version, or a label")]
Label = Annotated[str, named("label")]
Of = Annotated[str, Query(max_length=64, pattern=ONE_LINE, description="A version's number, or a label.")]
SVG: Final = "image/svg+xml"
MERMAID: Final = "text/vnd.mermaid"
PICTURES: Final = (SVG, MERMAID)
YAML: Final = "application/yaml"
SPECS: Final = ("application/json", YAML)
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}


@router.get("/versions", response_model=Versions, responses=errors())
async def list_versions(acting: Caller, workflow: Id) -> Any:
    """All versions, the newest first."""
    found = await acting.perform("workflows.read", workflow, lambda engine: engine.library.versions(workflow))
    return {"versions": [each.to_dict() for each in found]}


@router.get("/versions/{version}", response_model=VersionView, responses=errors())
async def get_version(acting: Caller, workflow: Id, version: Which) -> Any:
    """One version."""
    which = version_or_label(version)
    found = await acting.perform("workflows.read", workflow, lambda engine: engine.library.version(workflow, which))
    return found.to_dict()


@router.get("/diff", response_model=Diff, responses=errors())
async def diff_versions(acting: Caller, workflow: Id, a: Of, b: Of = "latest") -> Any:
    """What changes for callers, for people who answer, and for effects, from one version to another."""
    one, other = version_or_label(a), version_or_label(b)
    found = await acting.perform("workflows.read", workflow, lambda engine: engine.library.diff(workflow, one, other))
    return found.to_dict()


@router.post("/rollback", response_model=WorkflowView, responses=errors())
async def rollback(acting: Caller, workflow: Id, body: Rollback) -> Any:
    """Let a label stand at an earlier (or later) version."""

    async def roll(engine: WorkflowEngine) -> Any:
        made = await engine.library.rollback(
            workflow, version_or_label(body.version), label=body.label, author=acting.principal.name
        )
        return made.to_dict()

    return await acting.perform("workflows.write", workflow, roll)


@router.get("/labels", response_model=Labels, responses=errors())
async def list_labels(acting: Caller, workflow: Id) -> Any:
    """Where the labels stand, and every move of one."""

    async def read(engine: WorkflowEngine) -> Any:
        moves = await engine.library.label_moves(workflow)
        return {"labels": dict(await engine.library.labels(workflow)), "moves": [each.to_dict() for each in moves]}

    return await acting.perform("workflows.read", workflow, read)


@router.put("/labels/{label}", response_model=WorkflowView, responses=errors())
async def set_label(acting: Caller, workflow: Id, label: Label, body: SetLabel) -> Any:
    """Set or move a label."""

    async def move(engine: WorkflowEngine) -> Any:
        which = version_or_label(body.version) if body.version is not None else None
        return (await engine.library.label(workflow, label, which, author=acting.principal.name)).to_dict()

    return await acting.perform("workflows.write", workflow, move)


@router.delete("/labels/{label}", response_model=WorkflowView, responses=errors())
async def take_label(acting: Caller, workflow: Id, label: Label) -> Any:
    """Take a label away."""

    async def take(engine: WorkflowEngine) -> Any:
        return (await engine.library.unlabel(workflow, label, author=acting.principal.name)).to_dict()

    return await acting.perform("workflows.write", workflow, take)


@router.get("/uses", response_model=Uses, responses=errors())
async def list_uses(acting: Caller, workflow: Id, version: Of = "latest") -> Any:
    """What a version uses: workflows, tools, agents, models, prompts, modes."""
    which = version_or_label(version)
    found = await acting.perform("workflows.read", workflow, lambda engine: engine.library.uses(workflow, which))
    return {"uses": [each.to_dict() for each in found]}


@uses.get("/uses", response_model=Users, responses=errors())
async def list_users(
    acting: Caller,
    kind: Literal["workflow", "tool", "agent", "model", "prompt", "mode"],
    name: Annotated[Name, Query()],
    every_version: bool = False,
) -> Any:
    """The versions that use the thing of that kind and name, themselves or through others."""
    found = await acting.perform(
        "workflows.read", name, lambda engine: engine.library.users(kind, name, every_version=every_version)
    )
    return {"users": [each.to_dict() for each in found]}


# -- what a version is -------------------------------------------------------------------------------------------------


@router.get("/schema", response_model=Schemas, responses=errors())
async def get_schemas(acting: Caller, workflow: Id, version: Of = "latest") -> Any:
    """What a version takes and gives, as JSON Schemas."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await engine.library.version(workflow, version_or_label(version))
        input, output = await _schemas(engine, found)
        return {"workflow": found.name, "version": found.version, "input": input, "output": output}

    return await acting.perform("workflows.read", workflow, read)


@router.get(
    "/drawing",
    response_class=Response,
    responses={200: {"content": {SVG: _TEXT, MERMAID: _TEXT}}, **errors()},
    openapi_extra={"x-gives": PICTURES},
)
async def draw(
    acting: Caller,
    workflow: Id,
    request: Request,
    version: Of = "latest",
    format: Literal["svg", "mermaid"] | None = None,
) -> Any:
    """The graph of a version, drawn: SVG, or Mermaid text."""
    from graphs.analysis.expand import expand
    from graphs.analysis.picture import mermaid, scene, svg

    bundle = await _bundle(acting, workflow, version)
    type_ = {"svg": SVG, "mermaid": MERMAID, None: preferred(request.headers.get("accept", ""), PICTURES)}[format]

    def drawn() -> str:
        made = scene(expand(bundle.workflow, bundle.resolve)[0])
        return svg(made) if type_ == SVG else mermaid(made)

    return Response(await asyncio.to_thread(drawn), media_type=type_)


@router.get(
    "/spec",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}, YAML: {}}}, **errors()},
    openapi_extra={"x-gives": SPECS},
)
async def get_spec(
    acting: Caller,
    workflow: Id,
    request: Request,
    version: Of = "latest",
    format: Literal["json", "yaml"] | None = None,
) -> Any:
    """The spec of a version, in the canonical form."""
    from graphs.language.dump import to_json, to_yaml

    bundle = await _bundle(acting, workflow, version)
    chosen = {"json": SPECS[0], "yaml": YAML, None: preferred(request.headers.get("accept", ""), SPECS)}[format]
    text = to_yaml(bundle.workflow.spec) if chosen == YAML else to_json(bundle.workflow.spec)
    return Response(text, media_type=chosen)


async def _bundle(acting: Acting, workflow: str, version: str) -> Bundle:
    which = version_or_label(version)
    return await acting.perform("workflows.read", workflow, lambda engine: engine.library.bundle(workflow, which))


async def _schemas(engine: WorkflowEngine, version: VersionRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    from cogwork.executions.options import Options
    from cogwork.library.comparing import schemas

    bundle = (await engine.library.content_of(version)).bundle
    if bundle is not None:
        return await asyncio.to_thread(schemas, engine.library.house, bundle)
    graph = await engine.parts.graphs.published(version, Options())
    return dict(graph.input_schema), {}
