"""Whose figures are asked for, and whether there is such a workflow or agent at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import not_found
from cogwork.metrics.populations import Condition, Kind, Population, executions, steps
from cogwork.metrics.ranges import TimeRange
from cogwork.records.tables.agents import AGENTS
from cogwork.records.tables.executions import EXECUTIONS, STEPS
from cogwork.records.tables.library import WORKFLOWS
from state.values import Json

Known: TypeAlias = Callable[[Literal["workflow", "agent"]], Iterable[str]]
"""The names of workflows and agents that exist beside the records, such as those in files; called off the event loop."""
Of: TypeAlias = Literal["workflow", "node", "agent", "tool", "model", "overview"]
TURN: Final = "llm"
"""The kind of step that an agent's figures are taken of: its turns. What its tools did is among the figures of the tools."""
_COLUMNS: Final = {"agent": STEPS.c.agent, "tool": STEPS.c.tool, "model": STEPS.c.model, "node": STEPS.c.node}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A workflow by name or by id of the library, perhaps one version of it, a node of it; an agent, a tool or a model."""

    of: Of
    name: str = ""
    workflow: str = ""
    version: int | None = None
    by_id: bool = False
    aliases: tuple[str, ...] = ()
    """What else an agent is called: workflows name it by its id or by its name."""

    @property
    def kind(self) -> Kind:
        """Whether its figures are taken of executions or of steps."""
        return "executions" if self.of in ("workflow", "overview") else "steps"

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON, such as ``{"workflow": "greet", "version": 2}``."""
        told: dict[str, Json] = {"workflow": self.workflow} if self.workflow else {}
        if self.version is not None:
            told["version"] = self.version
        return told | ({self.of: self.name} if self.name else {})

    def population(self, range: TimeRange, key: sa.ColumnElement[Any] | None, dialect: str) -> Population:
        """What its figures are taken of, in groups by ``key``."""
        if self.kind == "steps":
            return steps(range, self._conditions(STEPS), key)
        # Not the version: steps are written anew with it only when an execution that was moved to another one has gone on.
        beside = (STEPS.c.workflow == self.workflow,) if self.workflow and not self.by_id else ()
        return executions(range, self._conditions(EXECUTIONS), key, dialect, beside)

    def at(self) -> sa.ColumnElement[Any]:
        """The instant that puts a row of it into a range or bucket."""
        return EXECUTIONS.c.created_at if self.kind == "executions" else STEPS.c.ended_at

    def _conditions(self, table: sa.Table) -> list[Condition]:
        found: list[Condition] = []
        if self.workflow:
            found.append((table.c.workflow_id if self.by_id else table.c.workflow) == self.workflow)
        if self.version is not None:
            found.append(table.c.version == self.version)
        if self.of in _COLUMNS:
            found.append(_COLUMNS[self.of].in_((self.name, *self.aliases)))
        if self.of == "agent":
            found.append(STEPS.c.kind == TURN)
        return found


def ensured(connection: Connection, subject: Subject, known: Known) -> Subject:
    """The subject, once it is known that its workflow or agent exists, and whether the workflow is meant by its id.

    Raises:
        EngineError: ``workflow_not_found`` or ``agent_not_found``, with the nearest names.
    """
    if subject.workflow:
        return _ensured_workflow(connection, subject, known)
    return _ensured_agent(connection, subject, known) if subject.of == "agent" else subject


def _ensured_workflow(connection: Connection, subject: Subject, known: Known) -> Subject:
    by_id = _exists(connection, WORKFLOWS.c.id, subject.workflow)
    columns = (EXECUTIONS.c.workflow, WORKFLOWS.c.name)
    if not by_id and not _any(connection, columns, subject.workflow):
        others = [*_names(connection, *columns), *known("workflow")]
        if subject.workflow not in others:
            raise not_found("workflow_not_found", "workflow", subject.workflow, others, workflow=subject.workflow)
    return replace(subject, by_id=by_id)


def _ensured_agent(connection: Connection, subject: Subject, known: Known) -> Subject:
    query = sa.select(AGENTS.c.id, AGENTS.c.name).where(
        sa.or_(AGENTS.c.id == subject.name, AGENTS.c.name == subject.name)
    )
    aliases = {name for row in connection.execute(query) for name in row} - {subject.name}
    if not aliases and not _any(connection, (AGENTS.c.id, STEPS.c.agent), subject.name):
        others = [*_names(connection, AGENTS.c.id, AGENTS.c.name, STEPS.c.agent), *known("agent")]
        if subject.name not in others:
            raise not_found("agent_not_found", "agent", subject.name, others, agent=subject.name)
    return replace(subject, aliases=tuple(sorted(aliases)))


def names_of(connection: Connection, of: Literal["node", "agent", "tool", "model"]) -> list[str]:
    """The nodes, agents, tools or models that any step tells of, sorted."""
    return _names(connection, _COLUMNS[of])


def _names(connection: Connection, *columns: sa.Column[Any]) -> list[str]:
    queries = [sa.select(column.label("name")).where(column.is_not(None)).distinct() for column in columns]
    return sorted({str(name) for query in queries for (name,) in connection.execute(query)})


def _any(connection: Connection, columns: Iterable[sa.Column[Any]], name: str) -> bool:
    return any(_exists(connection, column, name) for column in columns)


def _exists(connection: Connection, column: sa.Column[Any], name: str) -> bool:
    return connection.execute(sa.select(column).where(column == name).limit(1)).first() is not None
