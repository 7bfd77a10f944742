"""The probes of all that an engine depends on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cogwork.engine.parts import Parts
from cogwork.metrics.health import Part, aside
from cogwork.metrics.probes import disk_probe, records_probe, service_probes, workers_probe
from cogwork.records.tables.executions import EXECUTIONS

if TYPE_CHECKING:
    from cogwork.metrics.health import Probe

LONG: timedelta = timedelta(minutes=5)
"""An execution that has been waiting in the queue for longer says that there are too few workers."""


def probes(parts: Parts) -> dict[str, Probe]:
    """The probes, by the name of the part."""
    house: Any = parts.house
    return {
        "records": records_probe(parts.records),
        "disk": disk_probe(house.settings.state_dir),
        "checkpoints": lambda: _checkpoints(parts),
        "memory": lambda: aside(lambda: _memory(parts)),
        "queue": lambda: _queue(parts),
        "workers": workers_probe(parts.records, now=parts.executions.now),
        **service_probes(house.health),
    }


async def _checkpoints(parts: Parts) -> Part:
    await parts.saver.aget_tuple({"configurable": {"thread_id": "health", "checkpoint_ns": ""}})
    return Part(status="healthy", detail=parts.saver.where)


def _memory(parts: Parts) -> Part:
    from cogwork.sessions.entries import Place

    parts.talks.memory(Place(user="health"))
    return Part(status="healthy", detail="memory can be opened")


async def _queue(parts: Parts) -> Part:
    queue = await asyncio.to_thread(parts.queue)
    depth = await queue.depth()
    now = parts.executions.now()
    waiting = sa.select(sa.func.min(sa.func.coalesce(EXECUTIONS.c.not_before, EXECUTIONS.c.created_at))).where(
        EXECUTIONS.c.status == "pending", sa.func.coalesce(EXECUTIONS.c.not_before, EXECUTIONS.c.created_at) <= now
    )
    oldest = await parts.records.reading(lambda c: c.execute(waiting).scalar())
    late = oldest is not None and now - oldest > LONG
    told = ", ".join(f"{count} {name.lower()}" for name, count in sorted(depth.items())) or "empty"
    more = f"; the oldest has been waiting since {oldest.isoformat()}: start workers" if late and oldest else ""
    return Part(status="degraded" if late else "healthy", detail=told + more)
