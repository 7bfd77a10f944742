"""What executions hold and use, and what can be executed here."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any, get_args

import sqlalchemy as sa

from cogwork.engine.parts import Parts
from cogwork.engine.queue import DEFAULT
from cogwork.errors import EngineError
from cogwork.executions.options import Mode
from cogwork.executions.result import step_rows
from cogwork.records.tables.executions import EXECUTIONS
from graphs.language.spec import MODES
from state.values import Json

KINDS = ("llm", "tool", "condition", "transform", "human", "for_each", "repeat", "use")


async def cleaned(parts: Parts, name: str) -> bool:
    """Take away the checkpoints of an execution that has ended; whether it had any.

    Raises:
        EngineError: ``execution_not_found``; ``in_use`` for one that is open.
    """
    execution = await parts.executions.get(name)
    if not execution.ended:
        message = f"Execution {name} is {execution.status}: cancel it first, or wait for its end"
        raise EngineError("in_use", message, execution_id=name, status=execution.status)
    if not execution.kept:
        return False
    await parts.saver.adelete_thread(execution.thread)
    gone = sa.update(EXECUTIONS).where(EXECUTIONS.c.id == name).values(kept=False)
    await parts.records.writing(lambda connection: connection.execute(gone))
    return True


async def used(parts: Parts, name: str | None) -> dict[str, Json]:
    """What an execution has used, or this process uses."""
    if name is None:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpu_s": spent.ru_utime + spent.ru_stime, "memory_mb": round(_resident() / 2**20, 1)}
    execution = await parts.executions.get(name)
    rows = await parts.records.reading(lambda connection: step_rows(connection, name))
    return {
        "seconds": execution.seconds,
        "step_seconds": round(sum(row["seconds"] or 0.0 for row in rows), 4),
        "calls": sum(row["attempts"] for row in rows if row["kind"] in ("llm", "tool")),
        **{key: execution.usage[key] for key in ("total_tokens", "cost_usd") if key in execution.usage},
        **execution.resources,
    }


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def capabilities(parts: Parts) -> dict[str, Json]:
    """What can be executed here, and how."""
    house: Any = parts.house
    return {
        "modes": [mode for mode in get_args(Mode) if mode != "remote" or parts.house.instances],
        "node_kinds": list(KINDS),
        "cognitive_modes": list(MODES),
        "tools": house.services.tools.names(),
        "queues": [DEFAULT, *parts.queues.limits],
        "database": parts.records.dialect,
        "pause": True,
        "resume": True,
        "schedules": True,
        "isolation": house.settings.isolation.model_dump(mode="json"),
    }
