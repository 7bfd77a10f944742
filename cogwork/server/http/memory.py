"""What is remembered of users, sessions and projects, over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query

from cogwork.server.http.forms import ONE_LINE, Caller, Limit, Tag, Text, errors, named
from cogwork.server.http.session_forms import ChangeMemory, Cleared, Kind, Level, Memories, MemoryView, Remember
from cogwork.workflow_engine import WorkflowEngine

if TYPE_CHECKING:
    from cogwork.sessions.memory import Memory

router = APIRouter(prefix="/memory", tags=["memory"])
Id = Annotated[str, named("memory's id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose memory it is."""

    user: Text = None
    session: Text = None
    project: Text = None

    async def memory(self, engine: WorkflowEngine) -> Memory:
        """The memory; opening it reads the disk."""
        return await asyncio.to_thread(engine.memory, self.user, self.session, self.project)

    def __str__(self) -> str:
        return " ".join(each for each in (self.user, self.session, self.project) if each)


Of = Annotated[Whose, Depends()]
Types = Annotated[tuple[Kind, ...], Query(max_length=4, description="One of these.")]
Having = Annotated[tuple[Tag, ...], Query(max_length=16, description="All of these.")]


@router.get("", response_model=Memories, responses=errors())
async def list_memories(
    acting: Caller,
    whose: Of,
    query: Annotated[str | None, Query(min_length=1, max_length=1000, pattern=ONE_LINE)] = None,
    type: Types = (),
    tag: Having = (),
    at_least: Annotated[float, Query(ge=0, le=1)] = 0.0,
    limit: Limit = 50,
) -> Any:
    """What is remembered, the latest first; with a `query`, what suits it best, from all levels."""

    async def read(engine: WorkflowEngine) -> Any:
        memory = await whose.memory(engine)
        if query is None:
            found = await memory.entries(types=type, tags=tag, limit=limit)
        else:
            found = await memory.search(query, types=type, tags=tag, limit=limit, at_least=at_least, count=False)
        return {"memories": [each.to_dict() for each in found]}

    return await acting.perform("sessions.read", str(whose), read)


@router.post("", status_code=201, response_model=MemoryView, responses=errors())
async def remember(acting: Caller, whose: Of, body: Remember) -> Any:
    """Remember something; what is there already is not there twice."""

    async def add(engine: WorkflowEngine) -> Any:
        return (await (await whose.memory(engine)).add(**body.model_dump())).to_dict()

    return await acting.perform("sessions.write", str(whose), add)


@router.delete("", response_model=Cleared, responses=errors())
async def clear(acting: Caller, whose: Of, level: Level) -> Any:
    """Forget everything at a level."""

    async def forget(engine: WorkflowEngine) -> Any:
        return {"forgotten": await (await whose.memory(engine)).clear(level)}

    return await acting.perform("sessions.write", str(whose), forget)


@router.get("/{memory}", response_model=MemoryView, responses=errors())
async def get_memory(acting: Caller, whose: Of, memory: Id) -> Any:
    """One thing remembered."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await (await whose.memory(engine)).get(memory)).to_dict()

    return await acting.perform("sessions.read", memory, read)


@router.patch("/{memory}", response_model=MemoryView, responses=errors())
async def change_memory(acting: Caller, whose: Of, memory: Id, body: ChangeMemory) -> Any:
    """Change what is given; it keeps its id."""
    given = body.model_dump(exclude_none=True)

    async def change(engine: WorkflowEngine) -> Any:
        return (await (await whose.memory(engine)).update(memory, **given)).to_dict()

    return await acting.perform("sessions.write", memory, change)


@router.delete("/{memory}", status_code=204, responses=errors())
async def forget(acting: Caller, whose: Of, memory: Id) -> None:
    """Forget one thing for good."""

    async def gone(engine: WorkflowEngine) -> None:
        await (await whose.memory(engine)).forget(memory)

    await acting.perform("sessions.write", memory, gone)
