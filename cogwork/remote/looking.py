"""Executions that rest here while another instance has them: taken up again as soon as they stand otherwise there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from cogwork.executions.record import Execution, execution_of
from cogwork.executions.statuses import IllegalMove
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.remote import rows
from cogwork.remote.instance import Refused
from cogwork.remote.instances import Instances
from cogwork.remote.rows import Remote
from state.errors import Fault
from state.values import Json

if TYPE_CHECKING:
    from cogwork.engine.parts import Parts

AT_ONCE: Final = 200
TOGETHER: Final = 10
TAKEN_UP: Final[dict[str, Json]] = {"kind": "mirror"}
"""What a stretch begins with that only looks at how the execution stands there."""


async def look(parts: Parts) -> int:
    """Let those go on that rest here and not there, or that nobody could ask about; how many."""
    resting = sa.select(EXECUTIONS).where(EXECUTIONS.c.mode == "remote", EXECUTIONS.c.status == "paused")
    query = resting.order_by(sa.func.random()).limit(AT_ONCE)  # however many rest, none is always left out
    found = await parts.records.reading(lambda c: [execution_of(row) for row in c.execute(query).mappings()])
    gate = asyncio.Semaphore(TOGETHER)

    async def one(execution: Execution) -> bool:
        async with gate:
            return await _looked(parts, execution)

    return sum(await asyncio.gather(*map(one, found)))


async def _looked(parts: Parts, execution: Execution) -> bool:
    row = await parts.records.reading(lambda connection: rows.found(connection, execution.id))
    if not await _stands_otherwise(execution, row, parts.house.instances):
        return False
    with suppress(IllegalMove):  # somebody has resumed it
        number = execution.segment
        await parts.dispatch.enqueue(await parts.executions.next_segment(execution.id, TAKEN_UP, number=number))
        return True
    return False


async def _stands_otherwise(execution: Execution, row: Remote, instances: Instances) -> bool:
    """Whether its instance answers, and knows more of it than is recorded here."""
    instance: Any = instances.get(row.instance)
    if instance is None or row.state == "new":
        return False
    try:
        if row.state == "asked":
            await instance.standing()
            return True
        status = await instance.status(row.remote_id)
    except Refused as no:
        return no.status == 404
    except Fault:
        return False
    doubted = any(str(question.get("at")).startswith("instance:") for question in execution.questions)
    return doubted or status.status != "paused" or status.segment != row.segment
