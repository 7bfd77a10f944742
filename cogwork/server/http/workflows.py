"""Workflows of the library over HTTP: published, listed, changed, taken out of use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from cogwork.errors import EngineError
from cogwork.library.entries import WorkflowRecord
from cogwork.server.faults import problem_of
from cogwork.server.http.forms import Caller, Cursor, Limit, Tag, Text, errors, located, named
from cogwork.server.http.workflow_forms import Create, Deleted, Update, Validate, Validated, Workflows, WorkflowView
from cogwork.server.sources import refuse_paths, spec_of
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/workflows", tags=["workflows"])
Id = Annotated[str, named("workflow's id or name")]
Match = Annotated[
    str | None,
    Header(alias="If-Match", max_length=80, description="The `ETag` of the version that the change was made for."),
]
_MATCH: Final = re.compile(r'(?:W/)?"v(\d{1,9})(?:-[0-9a-z]{1,40})?"|\*')


@router.get("", response_model=Workflows, responses=errors())
async def list_workflows(
    acting: Caller,
    text: Text = None,
    tag: Annotated[tuple[Tag, ...], Query(max_length=16, description="All of these.")] = (),
    status: Literal["active", "archived"] | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Any:
    """A page of workflows, the latest made first; `text` is looked for in name, title and description."""
    return await acting.perform(
        "workflows.read",
        "",
        lambda engine: engine.list_workflows(tags=tag, status=status, limit=limit, cursor=cursor, text=text),
    )


@router.post("", status_code=201, response_model=WorkflowView, responses=errors())
async def create_workflow(acting: Caller, body: Create, response: Response, request: Request) -> Any:
    """Publish a workflow; its first version."""
    source = await spec_of(body.source)
    about = body.model_dump(exclude={"source"}, exclude_none=True)

    async def create(engine: WorkflowEngine) -> WorkflowRecord:
        return await engine.library.create(source, **about, author=acting.principal.name)

    made = await acting.perform("workflows.write", body.name or "a new workflow", create)
    response.headers["Location"] = located(request, "get_workflow", made.id)
    return _told(made, response)


@router.post("/validate", response_model=Validated, responses=errors())
async def validate(acting: Caller, body: Validate) -> Any:
    """Every problem of a spec, also those that keep it from loading; nothing is kept."""
    from state.errors import SpecError

    async def check(engine: WorkflowEngine) -> Any:
        import asyncio

        try:
            source = await spec_of(body.source)
        except SpecError as error:
            return error.problems
        refuse_paths(body.overrides)
        return await asyncio.to_thread(engine.app.check, source, body.overrides)

    problems = await acting.perform("workflows.read", "a spec", check)
    valid = not any(problem.severity == "error" for problem in problems)
    return {"valid": valid, "problems": [problem_of(problem) for problem in problems]}


@router.get("/{workflow}", response_model=WorkflowView, responses=errors())
async def get_workflow(acting: Caller, workflow: Id, response: Response) -> Any:
    """A workflow."""
    found = await acting.perform("workflows.read", workflow, lambda engine: engine.library.get(workflow))
    return _told(found, response)


@router.put("/{workflow}", response_model=WorkflowView, responses=errors())
async def update_workflow(acting: Caller, workflow: Id, body: Update, response: Response, match: Match = None) -> Any:
    """Publish another version; executions that are open keep theirs. What changes nothing makes none."""
    source = await spec_of(body.source) if body.source is not None else None
    refuse_paths(body.updates)
    expected = body.expected_version if match is None else _expected(match)

    async def update(engine: WorkflowEngine) -> WorkflowRecord:
        return await engine.library.update(
            workflow,
            source,
            updates=body.updates,
            expected_version=expected,
            author=acting.principal.name,
            note=body.note,
        )

    return _told(await acting.perform("workflows.write", workflow, update), response)


@router.delete("/{workflow}", response_model=Deleted, responses=errors())
async def delete_workflow(acting: Caller, workflow: Id, force: bool = False) -> Any:
    """Delete a workflow; `force` also where it is in use. Its versions stay for executions that began with them."""
    await acting.perform("workflows.delete", workflow, lambda engine: engine.delete_workflow(workflow, force=force))
    return {"deleted": workflow}


@router.post("/{workflow}/archive", response_model=WorkflowView, responses=errors())
async def archive_workflow(acting: Caller, workflow: Id, response: Response) -> Any:
    """Take a workflow out of use; its open executions go on."""
    made = await acting.perform("workflows.write", workflow, lambda engine: engine.library.archive(workflow))
    return _told(made, response)


@router.post("/{workflow}/restore", response_model=WorkflowView, responses=errors())
async def restore_workflow(acting: Caller, workflow: Id, response: Response) -> Any:
    """Take an archived workflow into use again, or, by its id, a deleted one."""
    made = await acting.perform("workflows.write", workflow, lambda engine: engine.library.restore(workflow))
    return _told(made, response)


def _told(workflow: WorkflowRecord, response: Response) -> Any:
    response.headers["ETag"] = f'"v{workflow.version}"'
    return workflow.to_dict()


def _expected(match: str) -> int | None:
    """The version that ``If-Match`` names; None where any will do.

    Raises:
        EngineError: ``invalid_input``; it is no ETag of a workflow.
    """
    found = _MATCH.fullmatch(match.strip())
    if found is None:
        raise EngineError("invalid_input", f'If-Match is {match[:80]!r}: it must be an ETag such as "v3", or *')
    return int(found[1]) if found[1] is not None else None
