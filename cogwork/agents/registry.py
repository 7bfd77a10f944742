"""The registry of agents and hand-overs: those that people declare in files, and those that calls keep in the records.

A workflow takes over what an agent is when it is loaded, and its runs keep that. Nothing is opened before something is asked, and
asking alone makes no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogwork.agents.declared import declared_agents, fitting, named
from cogwork.agents.files import agent_of
from cogwork.agents.records import HandoffType, RegisteredAgent, RegisteredHandoff, Status, agent_id
from cogwork.errors import EngineError, not_found
from graphs.language.spec import Agent
from nodes.expression import ExpressionError, compile_condition
from state.values import Json

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cogwork.records.database import Records
    from cogwork.records.pages import Page

T = TypeVar("T")
_STATUSES: Final = ("active", "archived")


class Agents:
    """The registered agents and hand-overs.

    Args:
        records: opens the database, at the first call that needs it.
        folders: hold people's files.
        earlier: a state folder whose JSON files, of before there were records, are taken over once.
        unmade: whether there is no database yet, so that there is nothing to find in it.
        now: the clock.
    """

    def __init__(
        self,
        records: Callable[[], Records],
        folders: Sequence[Path] = (),
        *,
        earlier: Path | None = None,
        unmade: Callable[[], bool] = lambda: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._records, self._folders, self._earlier = records, folders, earlier
        self._unmade, self._now = unmade, now

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
            EngineError: ``invalid_input``; a name without letters, or fields that do not fit.
        """
        given = {**(config or {}), **({"model": model} if model else {}), **more}
        fields = {"description": description, "capabilities": [*capabilities], "tools": [*tools], **given}
        if instructions:
            fields["instructions"] = instructions
        agent, at = agent_of(name, fields), self._now()
        made = RegisteredAgent(id=agent_id(name), name=name, agent=agent, registered_at=at.isoformat())
        self._write(lambda connection: _kept().put_agent(connection, made, at))
        return made.id

    def get(self, agent: str) -> RegisteredAgent:
        """The agent of that id or name; one that a file declares goes first.

        Raises:
            EngineError: ``agent_not_found``, with the nearest names.
        """
        files = declared_agents(self._folders)
        found = named(files, agent) or self._read(lambda connection: _kept().agent_named(connection, agent), None)
        if found is None:
            known = [word for each in files for word in (each.id, each.name)]
            kept: list[str] = self._read(lambda connection: _kept().agent_words(connection), [])
            raise not_found("agent_not_found", "agent", agent, [*known, *kept])
        return found

    def listed(
        self, *, capabilities: Iterable[str] = (), status: Status | None = "active", limit: int | None = None
    ) -> list[RegisteredAgent]:
        """The agents that have all these capabilities, sorted by id."""
        wanted, files = [*capabilities], declared_agents(self._folders)
        ids = [each.id for each in files]
        rows: list[RegisteredAgent] = self._read(
            lambda connection: _kept().agents(connection, wanted, status, limit, but=ids), []
        )
        return sorted([*fitting(files, wanted, status), *rows], key=lambda each: each.id)[:limit]

    def page(
        self,
        *,
        capabilities: Iterable[str] = (),
        status: Status | None = "active",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[RegisteredAgent]:
        """A page of the agents that have all these capabilities: the declared ones, then the registered, the latest first.

        Raises:
            EngineError: ``invalid_input`` for a status or limit that is none, ``invalid_cursor``.
        """
        if status is not None and status not in _STATUSES:
            raise EngineError("invalid_input", f"There is no status {status!r} of agents: use active or archived")
        wanted, files = [*capabilities], declared_agents(self._folders)
        return self._opened().read(
            lambda connection: _kept().agent_page(
                connection,
                fitting(files, wanted, status),
                [each.id for each in files],
                capabilities=wanted,
                status=status,
                limit=limit,
                cursor=cursor,
            )
        )

    def archive(self, agent: str) -> None:
        """Take an agent out of use: no workflow that is loaded from now on finds it.

        Raises:
            EngineError: ``agent_not_found``, or ``invalid_input`` for one that a file declares.
        """
        found = self.get(agent)
        if found.source:
            raise EngineError("invalid_input", f"{found.id} stands in {found.source}; take the file away")
        at = self._now()

        def archived(connection: Connection) -> None:
            current = _kept().agent_named(connection, found.id) or found
            _kept().put_agent(connection, current.model_copy(update={"status": "archived"}), at)

        self._write(archived)

    def find(self, name: str) -> Agent | None:
        """The agent of that id or name with its registered hand-overs, as workflows take it over; None where there is none."""
        try:
            found = self.get(name)
        except EngineError as err:
            if err.code != "agent_not_found":
                raise
            return None
        if found.status != "active":
            return None
        handoffs = [each.canonical() for each in self.handoffs(source=found.id)]
        return found.agent.model_copy(update={"handoffs": [*found.agent.handoffs, *handoffs]})

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
        """Let one registered agent hand over to another, in place of what was said of the two before; the hand-over's id.

        Raises:
            EngineError: ``agent_not_found``; ``invalid_input`` for a trigger that is no expression, or a way back to the source.
        """
        one, other = self.get(source), self.get(target)
        made = _handoff(one.id, other.id, type, data_mapping or {}, [*trigger_conditions], description)
        at = self._now()

        def created(connection: Connection) -> None:
            if one.id in _kept().reach(connection, other.id):
                message = f"The hand-over of {one.id} to {other.id} would lead back to {one.id}"
                raise EngineError("invalid_input", message)
            _kept().put_handoff(connection, made, at)

        self._write(created)
        return made.id

    def get_handoff(self, handoff: str) -> RegisteredHandoff:
        """The hand-over of that id.

        Raises:
            EngineError: ``handoff_not_found``, with the nearest ids.
        """
        found: RegisteredHandoff | None = self._read(lambda connection: _kept().handoff_of(connection, handoff), None)
        if found is None:
            known: list[str] = self._read(lambda connection: _kept().handoff_words(connection), [])
            raise not_found("handoff_not_found", "hand-over", handoff, known)
        return found

    def handoffs(
        self, *, source: str | None = None, target: str | None = None, limit: int | None = None
    ) -> list[RegisteredHandoff]:
        """The registered hand-overs of these agents, by id or name, sorted by id."""
        one, other = self._id(source), self._id(target)
        return self._read(lambda connection: _kept().handoffs(connection, one, other, limit), [])

    def handoff_page(
        self, *, source: str | None = None, target: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[RegisteredHandoff]:
        """A page of the hand-overs of these agents, by id or name, the latest first.

        Raises:
            EngineError: ``invalid_input`` for the limit, ``invalid_cursor``.
        """
        one, other = self._id(source), self._id(target)
        return self._opened().read(
            lambda connection: _kept().handoff_page(connection, one, other, limit=limit, cursor=cursor)
        )

    def _id(self, agent: str | None) -> str | None:
        if agent is None:
            return None
        found = named(declared_agents(self._folders), agent)
        found = found or self._read(lambda connection: _kept().agent_named(connection, agent), None)
        return found.id if found is not None else agent

    # -- the records -----------------------------------------------------------------------------------------

    def _read(self, call: Callable[[Connection], T], otherwise: T) -> T:
        """What is found; ``otherwise`` where nothing was ever kept."""
        if self._unmade() and not self._left():
            return otherwise
        return self._opened().read(call)

    def _write(self, call: Callable[[Connection], Any]) -> None:
        self._opened().write(call)

    def _opened(self) -> Records:
        records, folder = self._records(), self._earlier
        if folder is not None and self._left():
            from cogwork.agents.earlier import take_over, taken_over

            if not records.read(lambda connection: taken_over(connection, folder)):
                at = self._now()
                records.write(lambda connection: take_over(connection, folder, at))
            self._earlier = None
        return records

    def _left(self) -> bool:
        return self._earlier is not None and any(
            next((self._earlier / kind).glob("*.json"), None) for kind in ("agents", "handoffs")
        )


def _handoff(
    source: str, target: str, type: HandoffType, mapping: Mapping[str, str], conditions: list[str], description: str
) -> RegisteredHandoff:
    from pydantic import ValidationError

    try:
        made = RegisteredHandoff(
            id=f"handoff-{source}-{target}",
            source=source,
            target=target,
            type=type,
            data_mapping=dict(mapping),
            trigger_conditions=conditions,
            description=description,
        )
        when = made.canonical().when
        compile_condition(when if isinstance(when, str) else "true")
    except ValidationError as err:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False))
        raise EngineError("invalid_input", f"The hand-over does not fit: {places}") from err
    except ExpressionError as err:
        raise EngineError("invalid_input", f"A trigger is no expression: {err}") from err
    return made


def _kept() -> Any:
    from cogwork.agents import kept

    return kept
