"""What people do to executions: answer, pause, resume, cancel, fork, and run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from cogwork.errors import EngineError
from cogwork.server.faults import engine_error, status_of
from cogwork.server.pages.executions import shown
from cogwork.server.pages.forms import Control, Filled, filled
from cogwork.server.pages.routing import form_of, router
from cogwork.server.pages.view import acting, execution_path, may, moved
from state.errors import AnswerRefused, CogworkError

if TYPE_CHECKING:
    from cogwork.executions.record import Execution
    from cogwork.workflow_engine import WorkflowEngine

routes = router()


@routes.post("/executions/{execution}/answer")
async def answer(request: Request, execution: str) -> Response:
    """Answer one of its questions; what does not fit is shown again with what is wrong."""
    form = await form_of(request)
    at = form.get("at", [""])[0]
    if not may(request, "executions.answer"):
        await acting(request).perform("executions.answer", execution, _nothing)
    question = await _question(request, execution, at)
    if question is None:
        return await shown(request, execution, status=409, fault=f"It does not ask {at or 'that'} any more.")
    read = filled(question.get("form") or {}, form, at)
    if read.faults:
        return await shown(request, execution, status=422, fault=_unfit(read), forms={at: read.control})

    async def resume(engine: WorkflowEngine) -> Any:
        return await engine.resume_execution(execution, {at: read.value})

    try:
        await acting(request).perform("executions.answer", execution, resume)
    except (AnswerRefused, EngineError) as err:
        return await _refused(request, execution, err, {at: read.control})
    return moved(request, execution_path(execution), did="answered")


@routes.post("/executions/{execution}/pause")
async def pause(request: Request, execution: str) -> Response:
    """Let it rest."""
    return await _move(request, execution, "paused", lambda engine: engine.pause_execution(execution))


@routes.post("/executions/{execution}/resume")
async def resume(request: Request, execution: str) -> Response:
    """Let it go on."""
    return await _move(request, execution, "resumed", lambda engine: engine.resume_execution(execution))


@routes.post("/executions/{execution}/cancel")
async def cancel(request: Request, execution: str) -> Response:
    """End it; with ``undo`` what it has done is taken back."""
    form = await form_of(request)
    reason, undo = form.get("reason", [""])[0].strip()[:1000], "undo" in form
    return await _move(
        request, execution, "cancelled", lambda engine: engine.cancel_execution(execution, reason, undo=undo)
    )


@routes.post("/executions/{execution}/fork")
async def fork(request: Request, execution: str) -> Response:
    """Begin a new one from a step of it."""
    form = await form_of(request)
    at, side = form.get("at", [""])[0], form.get("side", ["before"])[0]

    async def work(engine: WorkflowEngine) -> str:
        return (await engine.fork_execution(execution, at, side="after" if side == "after" else "before")).id

    return await _new(request, execution, "forked", work)


@routes.post("/executions/{execution}/rerun")
async def rerun(request: Request, execution: str) -> Response:
    """Ask for the same again, from the beginning."""

    async def work(engine: WorkflowEngine) -> str:
        record: Execution = await engine.parts.executions.get(execution)
        source = f"{record.workflow_id}@{record.version}" if record.workflow_id else record.workflow
        input: Any = await engine.parts.executions.input_of(record)
        kept = ("overrides", "retry", "timeout", "queue", "tags", "isolation", "trace", "debug", "streaming", "tenant")
        options = {name: record.options[name] for name in kept if name in record.options}
        mode = "isolated" if record.mode == "isolated" else "async"
        about = {**options, "mode": mode, "priority": record.priority, "metadata": {"run_again_of": execution}}
        return (await engine.execute_workflow(source, input, about)).id

    return await _new(request, execution, "started", work)


async def _move(request: Request, execution: str, did: str, work: Any) -> Response:
    try:
        done = await acting(request).perform("executions.move", execution, work)
    except CogworkError as err:
        return await _refused(request, execution, err, {})
    return moved(request, execution_path(execution), did="ended" if done is False else did)


async def _new(request: Request, execution: str, did: str, work: Any) -> Response:
    try:
        made = await acting(request).perform("executions.start", execution, work)
    except CogworkError as err:
        return await _refused(request, execution, err, {})
    return moved(request, execution_path(made), did=did)


async def _refused(request: Request, name: str, err: CogworkError, forms: dict[str, Control]) -> Response:
    """The execution's page with what could not be done; a page of its own where that cannot be shown."""
    error = engine_error(err)
    if error.code in ("permission_denied", "execution_not_found"):
        raise error
    return await shown(request, name, status=status_of(error.code), fault=error.message, forms=forms)


async def _nothing(engine: WorkflowEngine) -> None:
    """What somebody may not do is refused, and written down, before anything is looked at."""


async def _question(request: Request, name: str, at: str) -> dict[str, Any] | None:
    status: Any = await acting(request).perform(
        "executions.read", name, lambda engine: engine.get_execution_status(name)
    )
    found = [each for each in status["questions"] if str(each.get("at")) == at]
    return found[0] if found and status["status"] == "paused" else None


def _unfit(read: Filled) -> str:
    count = len(read.faults)
    return f"{count} {'thing does' if count == 1 else 'things do'} not fit yet: {'; '.join(read.faults[:5])}"
