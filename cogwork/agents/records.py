"""A registered agent and a registered hand-over, as data."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from cogwork.errors import EngineError
from graphs.language.agents import trigger
from graphs.language.spec import Agent, Handoff

HandoffType: TypeAlias = Literal["sequential", "delegated"]
"""``sequential``: when the source's answer meets the triggers; ``delegated``: when the source's model decides."""
Status: TypeAlias = Literal["active", "archived"]
_UNFIT: Final = re.compile(r"[^a-z0-9]+")


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegisteredAgent(_Kept):
    """An agent as it is registered: what the language's ``agents:`` says of one, with its id, name and status."""

    id: str
    name: str
    agent: Agent
    status: Status = "active"
    registered_at: str = ""
    source: str = Field("", description="The file that declares it; empty for one that was registered by a call.")


class RegisteredHandoff(_Kept):
    """A hand-over between two registered agents."""

    id: str
    source: str
    target: str
    type: HandoffType = "sequential"
    data_mapping: dict[str, str] = Field(
        default_factory=dict, description="Field of the answer to the target's name of it."
    )
    trigger_conditions: list[str] = Field(default_factory=list, description="All must hold; completion always does.")
    description: str = ""

    def canonical(self) -> Handoff:
        """The hand-over as the language writes it."""
        when = trigger(self.trigger_conditions) if self.type == "sequential" else None
        told = {target: f"{{{{ output.{source} }}}}" for source, target in self.data_mapping.items()}
        return Handoff(to=self.target, when=when, with_=told, description=self.description)


def agent_id(name: str) -> str:
    """The id of an agent of that name: ``Project Architect Agent`` and ``agent-project-architect`` are one.

    Raises:
        EngineError: ``invalid_input``; the name holds no letter or digit.
    """
    plain = _UNFIT.sub("-", name.lower()).strip("-").removeprefix("agent-").removesuffix("-agent")
    if not plain:
        raise EngineError("invalid_input", f"{name!r} cannot be the name of an agent: it holds no letter or digit")
    return f"agent-{plain}"
