"""Executions over HTTP: asked for, looked at, moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from cogwork.server.doors import doors_of
from cogwork.server.http.execution_forms import (
    Cancel,
    DryRun,
    Executions,
    ExecutionView,
    Fork,
    Moved,
    Reason,
    ResultView,
    Resume,
    Start,
    Steps,
    StepView,
    Tried,
    Usage,
    Wanted,
    Why,
)
from cogwork.server.http.explaining import explained
from cogwork.server.http.forms import Caller, Cursor, Key, Limit, Name, errors, located, named
from cogwork.server.http.rendering import GIVES, rendered
from cogwork.server.sources import overrides_of, workflow_of
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/executions", tags=["executions"])
Id = Annotated[str, named("execution's id")]
_GOES_ON = frozenset({"pending", "running"})


@router.post("", status_code=202, response_model=ExecutionView, responses={200: {"model": ExecutionView}, **errors()})
async def start_execution(acting: Caller, body: Start, response: Response, request: Request, key: Key = None) -> Any:
    """Ask for an execution. 202 while it goes on, 200 where it has ended or rests by the end of the `wait`."""
    workflow = await workflow_of(body.workflow)
    options = chosen(body.options.given(), key)

    async def start(engine: WorkflowEngine) -> Mapping[str, Any]:
        handle = await engine.execute_workflow(workflow, body.input, options, context=body.context)
        return await _waited(engine, handle.id, body.wait)

    told = await acting.perform("executions.start", _target(body.workflow), start)
    response.headers["Location"] = located(request, "get_execution", told["execution_id"])
    return _answered(told, response)


@router.post("/dry-run", response_model=Tried, responses=errors())
async def dry_run(acting: Caller, body: DryRun) -> Any:
    """Check all that is checked before an execution, and walk its paths on mocks: nothing is called, and nothing kept."""
    workflow, options = await workflow_of(body.workflow), chosen(body.options.given(), None)
    return await acting.perform(
        "executions.read",
        _target(body.workflow),
        lambda engine: engine.dry_run(workflow, body.input, options, context=body.context),
    )


@router.get("", response_model=Executions, responses=errors())
async def list_executions(
    acting: Caller, wanted: Annotated[Wanted, Depends()], limit: Limit = 20, cursor: Cursor = None
) -> Any:
    """A page of executions, the latest first."""
    return await acting.perform(
        "executions.read",
        "",
        lambda engine: engine.list_executions(**wanted.given(), limit=limit, cursor=cursor),
    )


@router.get("/{execution}", response_model=ExecutionView, responses=errors())
async def get_execution(acting: Caller, execution: Id) -> Any:
    """How an execution stands."""
    return await acting.perform("executions.read", execution, lambda engine: engine.get_execution_status(execution))


@router.get(
    "/{execution}/result",
    response_model=ResultView,
    responses={
        **errors(),
        200: {"content": {each: {"schema": {"type": "string"}} for each in GIVES if "json" not in each}},
    },
    openapi_extra={"x-gives": GIVES},
)
async def get_result(
    acting: Caller, execution: Id, request: Request, format: str | None = Query(None, max_length=40)
) -> Any:
    """What an execution has come to, up to now where it has not ended."""
    result = await acting.perform("executions.read", execution, lambda engine: engine.get_execution_result(execution))
    accept, settings = request.headers.get("accept", ""), doors_of(request.scope).settings
    return await rendered(result, format, accept, settings=settings, request_id=acting.request_id)


@router.get("/{execution}/steps", response_model=Steps, responses=errors())
async def get_steps(
    acting: Caller, execution: Id, status: Annotated[str | None, Query(max_length=20, pattern=r"^[a-z]*$")] = None
) -> Any:
    """The steps that have begun or ended: times, attempts, and why one was skipped."""
    result = await acting.perform("executions.read", execution, lambda engine: engine.get_execution_result(execution))
    steps = [step for step in result.steps if status is None or step["status"] == status]
    return {"execution_id": execution, "status": result.execution.status, "steps": steps}


@router.get("/{execution}/steps/{step}", response_model=StepView, responses=errors())
async def get_step(acting: Caller, execution: Id, step: Annotated[str, named("step's path")]) -> Any:
    """One step."""
    from cogwork.errors import not_found

    result = await acting.perform("executions.read", execution, lambda engine: engine.get_execution_result(execution))
    found = {str(each["path"]): each for each in result.steps}
    if step not in found:
        raise not_found("not_found", "step", step, found)
    return {**found[step], "result": result.intermediate_results.get(step)}


@router.get("/{execution}/why", response_model=Why, responses=errors())
async def explain(acting: Caller, execution: Id, step: Name | None = None) -> Any:
    """Why an execution, or one of its steps, is where it is: what decided, with the values that it read."""
    return await acting.perform("executions.read", execution, lambda engine: explained(engine, execution, step))


@router.get("/{execution}/usage", response_model=Usage, responses=errors())
async def get_usage(acting: Caller, execution: Id) -> Any:
    """What an execution has used: time, calls, tokens, cost; of an isolated one processor time and memory."""
    return await acting.perform("executions.read", execution, lambda engine: engine.get_resource_usage(execution))


# -- moving ------------------------------------------------------------------------------------------------------------


@router.post("/{execution}/pause", response_model=Moved, responses=errors())
async def pause_execution(acting: Caller, execution: Id, body: Reason | None = None) -> Any:
    """Let an execution rest."""
    reason = body.reason if body is not None else ""

    async def pause(engine: WorkflowEngine) -> Any:
        return await _moved(engine, execution, await engine.pause_execution(execution, reason))

    return await acting.perform("executions.move", execution, pause)


@router.post("/{execution}/cancel", response_model=Moved, responses=errors())
async def cancel_execution(acting: Caller, execution: Id, body: Cancel | None = None) -> Any:
    """End an execution in order; with `undo` its finished steps are taken back."""
    asked = body or Cancel()

    async def cancel(engine: WorkflowEngine) -> Any:
        done = await engine.cancel_execution(execution, asked.reason, undo=asked.undo)
        return await _moved(engine, execution, done)

    return await acting.perform("executions.move", execution, cancel)


@router.post(
    "/{execution}/resume",
    status_code=202,
    response_model=ExecutionView,
    responses={200: {"model": ExecutionView}, **errors()},
)
async def resume_execution(acting: Caller, execution: Id, response: Response, body: Resume | None = None) -> Any:
    """Go on with a paused execution, with the answers to what it asks; an answer that does not fit changes nothing."""
    asked = body or Resume()

    async def resume(engine: WorkflowEngine) -> Mapping[str, Any]:
        await engine.resume_execution(execution, asked.answers)
        return await _waited(engine, execution, asked.wait)

    return _answered(await acting.perform("executions.answer", execution, resume), response)


@router.post("/{execution}/fork", status_code=202, response_model=ExecutionView, responses=errors())
async def fork_execution(acting: Caller, execution: Id, body: Fork, response: Response, request: Request) -> Any:
    """Begin another execution at a past step of this one; what had ended by then is not done again."""

    async def fork(engine: WorkflowEngine) -> Mapping[str, Any]:
        handle = await engine.fork_execution(
            execution, body.at, side=body.side, values=body.values, input_data=body.input
        )
        return dict(handle)

    told = await acting.perform("executions.start", execution, fork)
    response.headers["Location"] = located(request, "get_execution", told["execution_id"])
    return told


@router.post("/{execution}/clean-up", response_model=Moved, responses=errors())
async def clean_up_execution(acting: Caller, execution: Id) -> Any:
    """Take away what an execution that has ended holds beside its record: its checkpoints and calls."""

    async def clean(engine: WorkflowEngine) -> Any:
        return await _moved(engine, execution, await engine.clean_up_execution(execution))

    return await acting.perform("executions.clean", execution, clean)


# -- inside ------------------------------------------------------------------------------------------------------------


def chosen(options: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The options as the engine takes them."""
    if "overrides" in options:
        options["overrides"] = overrides_of(options["overrides"])
    return {**options, **({"idempotency_key": key} if key is not None else {})}


async def _waited(engine: WorkflowEngine, execution: str, seconds: float) -> Mapping[str, Any]:
    if seconds > 0:
        await engine.parts.dispatch.wait(execution, seconds)
    return await engine.get_execution_status(execution)


def _answered(told: Mapping[str, Any], response: Response) -> Mapping[str, Any]:
    response.status_code = 202 if told["status"] in _GOES_ON else 200
    return told


async def _moved(engine: WorkflowEngine, execution: str, done: bool) -> dict[str, Any]:
    return {"moved": done, "execution": await engine.get_execution_status(execution)}


def _target(given: Any) -> str:
    """How the audit log names a workflow."""
    return given[:255] if isinstance(given, str) and "\n" not in given else "a spec"
