"""Agents and hand-offs over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from cogwork.server.http.forms import (
    Caller,
    Cursor,
    Form,
    Limit,
    Name,
    Object,
    Prose,
    Tag,
    Text,
    View,
    errors,
    located,
    named,
)
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/agents", tags=["agents"])
handoffs = APIRouter(prefix="/handoffs", tags=["agents"])
Id = Annotated[str, named("agent's id or name")]
HandoffId = Annotated[str, named("hand-off's id")]


class Register(Form):
    """An agent to register."""

    name: Name
    description: Prose = ""
    capabilities: list[Tag] = Field(default_factory=list, max_length=64)
    tools: list[Name] = Field(default_factory=list, max_length=256)
    config: Object = Field(default_factory=dict, description="model, instructions, and other fields of the language.")


class CreateHandoff(Form):
    """A way from one agent to another."""

    source_agent_id: Name
    target_agent_id: Name
    handoff_type: Literal["sequential", "delegated"] = "sequential"
    data_mapping: dict[str, str] = Field(default_factory=dict, max_length=64)
    trigger_conditions: list[Prose] = Field(default_factory=list, max_length=32)
    description: Prose = ""


class AgentView(View):
    """An agent."""

    id: str
    name: str
    agent: dict[str, Any]
    status: Literal["active", "archived"]
    registered_at: str
    source: str


class Agents(View):
    """A page of agents."""

    agents: list[AgentView]
    cursor: str | None = None


class HandoffView(View):
    """A hand-off."""

    id: str
    source: str
    target: str
    type: Literal["sequential", "delegated"]
    data_mapping: dict[str, str]
    trigger_conditions: list[str]
    description: str


class Handoffs(View):
    """A page of hand-offs."""

    handoffs: list[HandoffView]
    cursor: str | None = None


@router.get("", response_model=Agents, responses=errors())
async def list_agents(
    acting: Caller,
    capability: Annotated[tuple[Tag, ...], Query(max_length=16, description="All of these.")] = (),
    status: Literal["active", "archived"] = "active",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of agents: those that files declare, then the registered, the latest first."""
    return await acting.perform(
        "agents.read", "", lambda engine: engine.list_agents(capability, status, limit=limit, cursor=cursor)
    )


@router.post("", status_code=201, response_model=AgentView, responses=errors())
async def register_agent(acting: Caller, body: Register, response: Response, request: Request) -> Any:
    """Register an agent, in place of one of the same id."""

    async def register(engine: WorkflowEngine) -> Any:
        about = body.model_dump(exclude={"name"})
        return await engine.get_agent(await engine.register_agent(body.name, **about))

    told = await acting.perform("agents.write", body.name, register)
    response.headers["Location"] = located(request, "get_agent", told["id"])
    return told


@router.get("/{agent}", response_model=AgentView, responses=errors())
async def get_agent(acting: Caller, agent: Id) -> Any:
    """An agent by id or name."""
    return await acting.perform("agents.read", agent, lambda engine: engine.get_agent(agent))


@handoffs.get("", response_model=Handoffs, responses=errors())
async def list_handoffs(
    acting: Caller, source: Text = None, target: Text = None, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """A page of hand-offs, the latest first."""
    return await acting.perform(
        "handoffs.read", "", lambda engine: engine.list_handoffs(source, target, limit=limit, cursor=cursor)
    )


@handoffs.post("", status_code=201, response_model=HandoffView, responses=errors())
async def create_handoff(acting: Caller, body: CreateHandoff, response: Response, request: Request) -> Any:
    """Let one agent hand over to another, in place of what was said of the two before."""

    async def create(engine: WorkflowEngine) -> Any:
        return await engine.get_handoff(await engine.create_handoff(**body.model_dump()))

    told = await acting.perform("handoffs.write", f"{body.source_agent_id} to {body.target_agent_id}", create)
    response.headers["Location"] = located(request, "get_handoff", told["id"])
    return told


@handoffs.get("/{handoff}", response_model=HandoffView, responses=errors())
async def get_handoff(acting: Caller, handoff: HandoffId) -> Any:
    """A hand-off."""
    return await acting.perform("handoffs.read", handoff, lambda engine: engine.get_handoff(handoff))
