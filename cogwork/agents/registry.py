"""The registry of agents and hand-overs, each a file that people can read and mend.

A registered agent is a JSON file of the state folder, one that people write a YAML or JSON file of the folders ``agents`` of
the settings; the latter go first. A workflow takes over what an agent is when it is loaded, and its runs keep that.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cogwork.agents.files import SUFFIXES, agent_of, declared, read_record, write_record
from cogwork.agents.records import AgentError, HandoffType, RegisteredAgent, RegisteredHandoff, Status, agent_id
from graphs.language.spec import Agent
from nodes.expression import ExpressionError, compile_condition
from state.values import Json


@dataclass(frozen=True, slots=True)
class Agents:
    """The registered agents and hand-overs: calls register into the folder ``kept``, ``folders`` hold people's files."""

    kept: Path
    folders: Sequence[Path] = ()

    # -- agents ----------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        *,
        description: str = "",
        capabilities: Iterable[str] = (),
        tools: Iterable[str] = (),
        model: str | None = None,
        instructions: str = "",
        config: Mapping[str, Json] | None = None,
        **more: Any,
    ) -> str:
        """Register an agent, in place of one of the same id; its id, made from the name.

        ``config`` may hold ``model`` and ``instructions``, as the documents have it; ``more`` are further fields of the
        language's agents (``approve``, ``output``, ``handoffs``).

        Raises:
            AgentError: ``invalid_input``; a name without letters, or fields that do not fit.
        """
        given = {**(config or {}), **({"model": model} if model else {}), **more}
        fields = {"description": description, "capabilities": list(capabilities), "tools": list(tools), **given}
        if instructions:
            fields["instructions"] = instructions
        agent = agent_of(name, fields)
        made = RegisteredAgent(id=agent_id(name), name=name, agent=agent, registered_at=datetime.now(UTC).isoformat())
        write_record(self.kept / "agents" / f"{made.id}.json", made)
        return made.id

    def get(self, agent: str) -> RegisteredAgent:
        """The agent of that id or name.

        Raises:
            AgentError: ``agent_not_found``, with the nearest name.
        """
        found = self._all()
        for each in found:
            if agent in (each.id, each.name):
                return each
        known = [word for each in found for word in (each.id, each.name)]
        close = difflib.get_close_matches(agent, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(e.id for e in found) or 'none'}"
        raise AgentError("agent_not_found", f"There is no agent {agent!r}; {hint}")

    def listed(
        self, *, capabilities: Iterable[str] = (), status: Status | None = "active", limit: int | None = None
    ) -> list[RegisteredAgent]:
        """The agents that have all these capabilities, sorted by id."""
        wanted = set(capabilities)
        fits = (
            each
            for each in self._all()
            if wanted <= set(each.agent.capabilities) and (status is None or each.status == status)
        )
        return sorted(fits, key=lambda each: each.id)[:limit]

    def archive(self, agent: str) -> None:
        """Take an agent out of use: no workflow that is loaded from now on finds it.

        Raises:
            AgentError: ``agent_not_found``, or ``invalid_input`` for one that a file declares.
        """
        found = self.get(agent)
        if found.source:
            raise AgentError("invalid_input", f"{found.id} stands in {found.source}; take the file away")
        write_record(self.kept / "agents" / f"{found.id}.json", found.model_copy(update={"status": "archived"}))

    def find(self, name: str) -> Agent | None:
        """The agent of that id or name with its registered hand-overs, as workflows take it over; None where there is none."""
        try:
            found = self.get(name)
        except AgentError:
            return None
        if found.status != "active":
            return None
        handoffs = [each.canonical() for each in self.handoffs(source=found.id)]
        return found.agent.model_copy(update={"handoffs": [*found.agent.handoffs, *handoffs]})

    def _all(self) -> list[RegisteredAgent]:
        found: dict[str, RegisteredAgent] = {}
        for each in (*self._declared(), *self._registered()):
            found.setdefault(each.id, each)
        return list(found.values())

    def _registered(self) -> Iterator[RegisteredAgent]:
        for path in sorted((self.kept / "agents").glob("*.json")):
            yield read_record(path, RegisteredAgent)

    def _declared(self) -> Iterator[RegisteredAgent]:
        for folder in self.folders:
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                if path.suffix in SUFFIXES:
                    yield declared(path)

    # -- hand-overs ------------------------------------------------------------------------------------------

    def create_handoff(
        self,
        source: str,
        target: str,
        *,
        type: HandoffType = "sequential",
        data_mapping: Mapping[str, str] | None = None,
        trigger_conditions: Iterable[str] = (),
        description: str = "",
    ) -> str:
        """Let one registered agent hand over to another; the hand-over's id.

        Raises:
            AgentError: ``agent_not_found``; ``invalid_input`` for a trigger that is no expression, or a way back to the source.
        """
        one, other = self.get(source), self.get(target)
        if one.id in self._reach(other.id):
            raise AgentError("invalid_input", f"The hand-over of {one.id} to {other.id} would lead back to {one.id}")
        made = RegisteredHandoff(
            id=f"handoff-{one.id}-{other.id}",
            source=one.id,
            target=other.id,
            type=type,
            data_mapping=dict(data_mapping or {}),
            trigger_conditions=list(trigger_conditions),
            description=description,
        )
        when = made.canonical().when
        try:
            compile_condition(when if isinstance(when, str) else "true")
        except ExpressionError as err:
            raise AgentError("invalid_input", f"A trigger is no expression: {err}") from err
        write_record(self.kept / "handoffs" / f"{made.id}.json", made)
        return made.id

    def get_handoff(self, handoff: str) -> RegisteredHandoff:
        """The hand-over of that id.

        Raises:
            AgentError: ``handoff_not_found``.
        """
        for each in self.handoffs():
            if each.id == handoff:
                return each
        raise AgentError("handoff_not_found", f"There is no hand-over {handoff!r}")

    def handoffs(
        self, *, source: str | None = None, target: str | None = None, limit: int | None = None
    ) -> list[RegisteredHandoff]:
        """The registered hand-overs of these agents, by id or name, sorted by id."""
        found = [read_record(path, RegisteredHandoff) for path in sorted((self.kept / "handoffs").glob("*.json"))]
        ids = {word: each.id for each in self._all() for word in (each.id, each.name)} if source or target else {}
        wanted = [
            each
            for each in found
            if (source is None or each.source == ids.get(source, source))
            and (target is None or each.target == ids.get(target, target))
        ]
        return wanted[:limit]

    def _reach(self, start: str) -> set[str]:
        reached, waiting = {start}, [start]
        known = self.handoffs()
        while waiting:
            current = waiting.pop()
            fresh = {each.target for each in known if each.source == current} - reached
            reached |= fresh
            waiting += fresh
        return reached
