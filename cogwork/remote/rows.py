"""What is known of an execution whose work is done by another instance: where it is, under which id, and how far it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.tables.executions import EVENTS, EXECUTIONS
from cogwork.records.tables.remote import REMOTES

State: TypeAlias = Literal["new", "asked", "begun"]
LOOKED_BACK: Final = 200
"""How many of the last events are looked through for the number that they have at the instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The row of such an execution; see ``cogwork/records/tables/remote.py``."""

    execution_id: str
    workflow: str
    key: str
    writes: bool
    isolated: bool = False
    labels: tuple[str, ...] = ()
    instance: str = ""
    state: State = "new"
    remote_id: str = ""
    number: int = 0
    segment: int = 0
    moves: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How an execution is asked for that is to run elsewhere."""

    workflow: str
    writes: bool
    isolated: bool = False
    labels: tuple[str, ...] = ()


def insert(connection: Connection, execution: str, wanted: Wanted, key: str, now: datetime) -> None:
    """Write down that an execution is to run elsewhere."""
    row = {**asdict(wanted), "labels": list(wanted.labels), "key": key}
    connection.execute(sa.insert(REMOTES).values(execution_id=execution, updated_at=now, **row))


def found(connection: Connection, execution: str) -> Remote:
    """The row of the execution.

    Raises:
        EngineError: ``execution_not_found``; it runs nowhere else.
    """
    row = connection.execute(sa.select(REMOTES).where(REMOTES.c.execution_id == execution)).mappings().first()
    if row is None:
        message = f"Execution {execution} does not say where it runs: its record has been taken away"
        raise EngineError("execution_not_found", message, execution_id=execution)
    fields = {name: value for name, value in row.items() if name != "updated_at"}
    return Remote(**{**fields, "labels": tuple(fields["labels"] or ())})


def changed(connection: Connection, execution: str, now: datetime, **changes: Any) -> Remote:
    """The row with these changes; where it has begun is told in the execution's metadata too."""
    connection.execute(sa.update(REMOTES).where(REMOTES.c.execution_id == execution).values(updated_at=now, **changes))
    row = found(connection, execution)
    if "remote_id" in changes:
        _tell(connection, row)
    return row


def _tell(connection: Connection, row: Remote) -> None:
    where = EXECUTIONS.c.id == row.execution_id
    before: Mapping[str, Any] = connection.execute(sa.select(EXECUTIONS.c.metadata).where(where)).scalar() or {}
    told = {**before, "remote": {"instance": row.instance, "execution_id": row.remote_id}}
    connection.execute(sa.update(EXECUTIONS).where(where).values(metadata=told))


def last_number(connection: Connection, row: Remote) -> int:
    """The number of the last event of the execution that is recorded here, as it is counted at its instance."""
    query = sa.select(EVENTS.c.data).where(EVENTS.c.execution_id == row.execution_id)
    latest = connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(LOOKED_BACK)).scalars()
    moves = [data for data in latest if isinstance(data, dict)]
    numbers: list[int] = [
        data["number"] for data in moves if isinstance(data.get("number"), int) and data.get("move") == row.moves
    ]
    return max([row.number, *numbers])
