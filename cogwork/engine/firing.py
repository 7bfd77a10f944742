"""Schedules and triggers as workers see to them: what they start, what published workflows say of them, and when to look."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from cogwork.engine.parts import Parts
from cogwork.engine.starting import Starting
from cogwork.engine.worker import Chore
from cogwork.errors import EngineError
from cogwork.executions.options import options_of
from cogwork.executions.statuses import OPEN, IllegalMove
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.library import WORKFLOWS
from cogwork.schedules.clockwork import Clockwork
from cogwork.schedules.from_spec import sync
from cogwork.schedules.notifications import Listener
from cogwork.schedules.store import Schedules
from cogwork.schedules.triggers import Triggers
from state.values import Json

AGAIN: Final = timedelta(minutes=1)
"""How far back changes of workflows are looked for again: one may be committed after a later one."""


class QueueStarter:
    """Starts what is due in the queue."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(
        self,
        workflow: str,
        version: str,
        input: Json,
        options: dict[str, Any],
        *,
        idempotency_key: str,
        origin: str,
    ) -> str:
        """Start an execution, or find the one that was started under this key; its id.

        Raises:
            EngineError: ``invalid_input`` and the like, for which nothing was started.
        """
        chosen = options_of(options, idempotency_key=idempotency_key)
        if chosen.mode == "sync":
            raise EngineError("invalid_input", "What a worker starts runs in the queue: its mode is async or isolated")
        place = self._parts.starting.place
        starting = Starting(self._parts.library, self._parts.graphs, origin, place=place)
        source = f"{workflow}@{version}" if version else workflow
        request, _ = await starting.request(source, input if isinstance(input, dict) else {}, chosen)
        return (await self._parts.dispatch.start(request)).id

    async def open_of(self, origin: str) -> list[str]:
        """The executions of that origin that have not ended."""
        query = sa.select(EXECUTIONS.c.id).where(EXECUTIONS.c.origin == origin, EXECUTIONS.c.status.in_(OPEN))
        return [*await self._parts.records.reading(lambda c: c.execute(query).scalars().all())]

    async def cancel(self, execution_id: str) -> None:
        """Have the execution cancelled; one that has ended is left as it is."""
        with suppress(IllegalMove):
            await self._parts.dispatch.cancel(execution_id, "the next firing of its schedule takes its place")


def schedules_of(parts: Parts) -> Schedules:
    """The schedules, which fire into the queue."""
    return Schedules(parts.records, QueueStarter(parts), now=parts.executions.now)


def triggers_of(parts: Parts) -> Triggers:
    """The event triggers, which fire into the queue."""
    house: Any = parts.house
    return Triggers(
        parts.records,
        QueueStarter(parts),
        secrets=house.secrets,
        roots=house.settings.roots,
        now=parts.executions.now,
    )


class Following:
    """Lets the schedules and triggers that workflows hold follow the versions that are published, whoever published them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: dict[str, tuple[str, str | int]] = {}
        self._since: datetime | None = None

    async def follow(self) -> int:
        """Look at what has changed since the last time; how many workflows that was."""
        query = sa.select(WORKFLOWS.c.id, WORKFLOWS.c.name, WORKFLOWS.c.status, WORKFLOWS.c.deleted_at)
        if self._since is not None:
            query = query.where(WORKFLOWS.c.updated_at > self._since - AGAIN)
        begun = self._parts.executions.now()
        rows = await self._parts.records.reading(lambda c: c.execute(query).mappings().all())
        changed = 0
        for row in rows:
            changed += await self._one(row["id"], row["name"], row["status"] == "active" and row["deleted_at"] is None)
        self._since = begun
        return changed

    async def _one(self, id: str, name: str, active: bool) -> bool:
        version: Any = None
        if active:
            with suppress(EngineError):  # It was deleted this very moment.
                version = await self._parts.library.version(id)
        state = (name, version.digest if version is not None else "")
        if self._seen.get(id) == state:
            return False
        triggers: Any = {}
        if version is not None and version.kind == "spec":
            content = await self._parts.library.content(id, version.version)
            triggers = content.bundle.workflow.spec.triggers if content.bundle is not None else {}
        with suppress(
            EngineError
        ):  # A name that the engine has given away stays where it is; the workflow is looked at again.
            await sync(self._parts.records, name, triggers, now=self._parts.executions.now)
            self._seen[id] = state
        return True


def firing_chores(parts: Parts) -> list[Chore]:
    """What a worker does for schedules and triggers."""
    house: Any = parts.house
    clockwork = Clockwork(parts.records, QueueStarter(parts), triggers=triggers_of(parts), now=parts.executions.now)

    async def tick() -> None:
        due = await clockwork.next_wake()
        if due is not None and due <= parts.executions.now():
            await clockwork.tick()

    found = [
        Chore(name="follow", seconds=3.0, do=Following(parts).follow),
        Chore(name="tick", seconds=1.0, do=tick),
    ]
    if (url := house.settings.database_url) is not None:
        listener = Listener(
            parts.records, database=url.get_secret_value(), secrets=house.secrets, now=parts.executions.now
        )
        found.append(Chore(name="listen", seconds=5.0, do=listener.run))
    return found
