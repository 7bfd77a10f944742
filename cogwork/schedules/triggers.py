"""Event triggers and their verbs; webhooks are delivered here, files and ends of workflows looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import micros
from cogwork.records.database import Records
from cogwork.records.pages import Page, paged
from cogwork.records.tables.schedules import TRIGGERS
from cogwork.schedules.endings import Ended, ended_since
from cogwork.schedules.files import MOST, Seen, compare, look
from cogwork.schedules.keeping import firings_of
from cogwork.schedules.ports import Starter
from cogwork.schedules.recording import event_id, record_event, record_note
from cogwork.schedules.rows import Firing, TriggerRecord, firing_by_id, trigger_of
from cogwork.schedules.starting import Starting
from cogwork.schedules.store import drawn, utc_now
from cogwork.schedules.trigger_rows import (
    found_trigger,
    insert_trigger,
    made_trigger,
    remove_trigger,
    switched_trigger,
    write_trigger,
)
from cogwork.schedules.webhooks import received
from graphs.language.triggers import EventTrigger, FileTrigger, WebhookTrigger, WorkflowTrigger
from state.errors import Fault
from state.services import NoSecrets, Secrets
from state.values import Json

_BAD_REST: Final = timedelta(minutes=1)
"""How long a trigger rests whose source cannot be looked at."""


class Triggers:
    """The event triggers of the records.

    Args:
        start: starts executions; without it, what an event fires is left to the next worker that ticks.
        secrets: what webhooks are signed with.
        roots: the folders under which files are looked for.
    """

    def __init__(
        self,
        records: Records,
        start: Starter | None = None,
        *,
        secrets: Secrets | None = None,
        roots: Sequence[Path] = (),
        now: Callable[[], datetime] = utc_now,
        new_id: Callable[[str], str] = drawn,
    ) -> None:
        self._records, self._now, self._new_id = records, now, new_id
        self._secrets, self._roots = secrets or NoSecrets(), tuple(roots)
        self._starting = Starting(records, start, now) if start is not None else None

    # -- what there is ---------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        workflow: str,
        definition: EventTrigger | Mapping[str, Any],
        *,
        version: str = "",
        enabled: bool = True,
    ) -> TriggerRecord:
        """Add a trigger; ``definition`` has a ``type`` and, as in a spec, its fields, ``when``, ``input`` and ``options``.

        Raises:
            EngineError: ``invalid_input`` says what is wrong and what to do; ``conflict`` where the name is taken.
        """
        made = made_trigger(self._new_id("trg"), name, workflow, definition, version, self._now(), enabled=enabled)
        await self._records.writing(lambda connection: insert_trigger(connection, made))
        return made

    async def get(self, name: str) -> TriggerRecord:
        """The trigger of that name or id.

        Raises:
            EngineError: ``trigger_not_found``, with the nearest names.
        """
        return await self._records.reading(lambda connection: found_trigger(connection, name))

    async def list(
        self, *, workflow: str | None = None, kind: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[TriggerRecord]:
        """The triggers, the latest first.

        Raises:
            EngineError: ``invalid_input`` for the limit, ``invalid_cursor``.
        """
        query = sa.select(TRIGGERS)
        if workflow is not None:
            query = query.where(TRIGGERS.c.workflow == workflow)
        if kind is not None:
            query = query.where(TRIGGERS.c.kind == kind)
        filters = {"list": "triggers", "workflow": workflow, "kind": kind}
        at, key = TRIGGERS.c.created_at, TRIGGERS.c.id
        page = await self._records.reading(
            lambda connection: paged(connection, query, at, key, filters=filters, limit=limit, cursor=cursor)
        )
        return page.map(trigger_of)

    async def firings(self, name: str, limit: int = 50, cursor: str | None = None) -> Page[Firing]:
        """What became of its events, the latest first.

        Raises:
            EngineError: ``trigger_not_found``, ``invalid_input``, ``invalid_cursor``.
        """
        return await self._records.reading(
            lambda connection: firings_of(connection, found_trigger(connection, name).id, limit, cursor)
        )

    async def enable(self, name: str) -> TriggerRecord:
        """Let it listen from now on; what happened before starts nothing.

        Raises:
            EngineError: ``trigger_not_found``.
        """
        return await self._records.writing(lambda connection: switched_trigger(connection, name, True, self._now()))

    async def disable(self, name: str) -> TriggerRecord:
        """Let it listen no more; firings that have not begun are dropped.

        Raises:
            EngineError: ``trigger_not_found``.
        """
        return await self._records.writing(lambda connection: switched_trigger(connection, name, False, self._now()))

    async def delete(self, name: str) -> None:
        """Remove it; the record of its firings stays for as long as any.

        Raises:
            EngineError: ``trigger_not_found``.
        """

        def removed(connection: Connection) -> None:
            remove_trigger(connection, found_trigger(connection, name, lock=True), "the trigger was deleted")

        await self._records.writing(removed)

    # -- webhooks --------------------------------------------------------------------------------------------

    async def deliver(self, name: str, headers: Mapping[str, str], body: bytes) -> Firing:
        """Take a request of a webhook; what became of it. The same delivery once more gives the first one's firing.

        Raises:
            EngineError: ``trigger_not_found``; ``permission_denied`` for a wrong signature or an old timestamp;
                ``invalid_input`` for a body that cannot be read; ``conflict`` while the trigger is disabled.
        """
        trigger = await self.get(name)
        definition = trigger.definition
        if not isinstance(definition, WebhookTrigger):
            raise EngineError(
                "invalid_input", f"The trigger {name!r} is of the kind {trigger.kind}, and takes no requests"
            )
        try:
            secret = str(self._secrets.resolve(definition.secret))
        except Fault as err:
            raise EngineError("permission_denied", f"The trigger cannot verify anything: {err.message}") from err
        delivery = received(definition, secret, headers, body, self._now())
        if not trigger.enabled:
            raise EngineError("conflict", f"The trigger {trigger.name!r} is disabled", name=trigger.name)
        event: dict[str, Json] = {"headers": dict(delivery.headers), "body": delivery.body}
        now = self._now()
        firing = await self._records.writing(
            lambda connection: record_event(connection, trigger, delivery.key, event, delivery.body, now)
        )
        if self._starting is None or firing.outcome not in ("planned", "starting"):
            return firing
        return replace(await self._starting.work(firing.id), duplicate=firing.duplicate)

    # -- what is looked for ----------------------------------------------------------------------------------

    async def poll(self) -> int:
        """Look for files and ends of workflows where it is time to; how many events were recorded."""
        query = sa.select(TRIGGERS).where(TRIGGERS.c.next_at <= self._now()).order_by(TRIGGERS.c.next_at)
        rows = await self._records.reading(lambda connection: connection.execute(query).mappings().all())
        recorded = 0
        for row in rows:
            try:
                trigger = trigger_of(row)
            except EngineError:
                rest = sa.update(TRIGGERS).where(TRIGGERS.c.id == row["id"]).values(next_at=self._now() + _BAD_REST)
                await self._records.writing(lambda connection, rest=rest: connection.execute(rest).rowcount)  # type: ignore[misc]
                continue
            match trigger.definition:
                case FileTrigger() as definition:
                    seen = await asyncio.to_thread(look, definition, self._roots)
                    recorded += await self._looked(trigger, definition, seen)
                case WorkflowTrigger() as definition:
                    recorded += await self._ended(trigger, definition)
                case _:
                    pass
        return recorded

    async def _looked(self, trigger: TriggerRecord, definition: FileTrigger, seen: Seen) -> int:
        now = self._now()
        compared = compare(definition, trigger.position, seen, now)

        def recorded(connection: Connection) -> int:
            if not _unmoved(connection, trigger):
                return 0
            if seen.cut:
                told = f"more than {MOST:,} files fit the pattern, and only so many are looked at: make it narrower"
                record_note(connection, trigger, f"cut-{now:%Y%m%d}", "gap", told, now)
            for found in compared.events:
                event = found.event()
                record_event(connection, trigger, found.key, event, event, now)
            following = now + timedelta(seconds=definition.every)
            write_trigger(connection, replace(trigger, position=compared.position, next_at=following))
            return len(compared.events)

        return await self._records.writing(recorded)

    async def _ended(self, trigger: TriggerRecord, definition: WorkflowTrigger) -> int:
        now, behind, recorded = self._now(), None, 0
        position = trigger.position if isinstance(trigger.position, dict) else {}
        while True:
            page = await self._records.reading(
                lambda connection, behind=behind: ended_since(connection, definition, position, behind)  # type: ignore[misc]
            )
            if page:
                recorded += await self._records.writing(
                    lambda connection, page=page: _record_ends(connection, trigger, page, now)  # type: ignore[misc]
                )
                behind = page[-1]
            if not page:
                break
        reached = max(position["ended_at"], micros(behind.at) if behind is not None else 0)
        moved = replace(
            trigger, position={**position, "ended_at": reached}, next_at=now + timedelta(seconds=definition.every)
        )

        def move(connection: Connection) -> None:
            if _unmoved(connection, trigger):
                write_trigger(connection, moved)

        await self._records.writing(move)
        return recorded


def _unmoved(connection: Connection, trigger: TriggerRecord) -> bool:
    """Whether nobody has looked or changed anything since the trigger was read; nobody will until the transaction ends."""
    query = sa.select(TRIGGERS.c.next_at, TRIGGERS.c.updated_at).where(TRIGGERS.c.id == trigger.id).with_for_update()
    row = connection.execute(query).first()
    return row is not None and tuple(row) == (trigger.next_at, trigger.updated_at)


def _record_ends(connection: Connection, trigger: TriggerRecord, page: Sequence[Ended], now: datetime) -> int:
    recorded = 0
    for ended in page:
        key = _key(ended)
        if firing_by_id(connection, event_id(trigger, key)) is None:
            event = ended.event(connection)
            record_event(connection, trigger, key, event, event["output"], now, depth=ended.depth, at=ended.at)
            recorded += 1
    return recorded


def _key(ended: Ended) -> str:
    import hashlib

    return hashlib.sha256(str(ended.row["id"]).encode()).hexdigest()[:32]
