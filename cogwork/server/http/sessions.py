"""Sessions over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response

from cogwork.server.http.forms import Caller, Cursor, Limit, Text, errors, located, named, shown
from cogwork.server.http.session_forms import (
    CreateSession,
    Revision,
    SaveState,
    SessionFigures,
    Sessions,
    SessionView,
    StateView,
    UpdateSession,
)
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/sessions", tags=["sessions"])
Id = Annotated[str, named("session's id")]


@router.get("", response_model=Sessions, responses=errors())
async def list_sessions(
    acting: Caller,
    user_id: Text = None,
    status: Literal["active", "ended", "expired"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of sessions, the latest first."""

    async def read(engine: WorkflowEngine) -> Any:
        page = await engine.sessions.list(user_id=user_id, status=status, limit=limit, cursor=cursor)
        return shown(page.items, "sessions", page.cursor)

    return await acting.perform("sessions.read", "", read)


@router.post("", status_code=201, response_model=SessionView, responses=errors())
async def create_session(acting: Caller, body: CreateSession, response: Response, request: Request) -> Any:
    """Begin a session; without `ttl` it lasts as long as the settings say, with null until it is ended."""
    given = body.model_dump(exclude_unset=True)

    async def create(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.create(**given)).to_dict()

    told = await acting.perform("sessions.write", body.id or "a new session", create)
    response.headers["Location"] = located(request, "get_session", told["id"])
    return told


@router.get("/{session}", response_model=SessionView, responses=errors())
async def get_session(acting: Caller, session: Id) -> Any:
    """A session as it is, also one that has ended or expired."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.find(session)).to_dict()

    return await acting.perform("sessions.read", session, read)


@router.patch("/{session}", response_model=SessionView, responses=errors())
async def update_session(acting: Caller, session: Id, body: UpdateSession) -> Any:
    """Change a session; `ttl` counts from now."""
    given = body.model_dump(exclude_unset=True)

    async def update(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.update(session, **given)).to_dict()

    return await acting.perform("sessions.write", session, update)


@router.post("/{session}/end", response_model=SessionView, responses=errors())
async def end_session(acting: Caller, session: Id) -> Any:
    """End a session and its conversations."""

    async def end(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.end(session)).to_dict()

    return await acting.perform("sessions.write", session, end)


@router.post("/{session}/restore", response_model=SessionView, responses=errors())
async def restore_session(acting: Caller, session: Id) -> Any:
    """Make an ended or expired session active again."""

    async def restore(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.restore(session)).to_dict()

    return await acting.perform("sessions.write", session, restore)


@router.delete("/{session}", status_code=204, responses=errors())
async def delete_session(acting: Caller, session: Id) -> None:
    """Delete a session with all that was said in it; its executions stay."""
    await acting.perform("sessions.write", session, lambda engine: engine.sessions.delete(session))


@router.get("/{session}/state", response_model=StateView, responses=errors())
async def load_state(acting: Caller, session: Id) -> Any:
    """What is kept for a session."""

    async def load(engine: WorkflowEngine) -> Any:
        found = await engine.sessions.load_state(session)
        return {"state": found.value, "revision": found.revision}

    return await acting.perform("sessions.read", session, load)


@router.put("/{session}/state", response_model=Revision, responses=errors())
async def save_state(acting: Caller, session: Id, body: SaveState) -> Any:
    """Keep another state for a session; with `expected`, only in place of that revision."""

    async def save(engine: WorkflowEngine) -> Any:
        return {"revision": await engine.sessions.save_state(session, body.state, expected=body.expected)}

    return await acting.perform("sessions.write", session, save)


@router.get("/{session}/metrics", response_model=SessionFigures, responses=errors())
async def get_session_metrics(acting: Caller, session: Id) -> Any:
    """What happened in a session up to now."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await engine.sessions.metrics(session)).to_dict()

    return await acting.perform("metrics.read", session, read)
