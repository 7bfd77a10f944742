"""The JSON files in which agents and hand-overs were kept before there were records: taken over once, and left as they are."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.agents.files import read_record
from cogwork.agents.kept import put_agent, put_handoff
from cogwork.agents.records import RegisteredAgent, RegisteredHandoff
from cogwork.records.tables.payloads import FACTS


def earlier_files(folder: Path) -> list[Path]:
    """The files that calls have left in a state folder."""
    return [path for kind in ("agents", "handoffs") for path in sorted((folder / kind).glob("*.json"))]


def taken_over(connection: Connection, folder: Path) -> bool:
    """Whether these files, by their names, are in the records already."""
    query = sa.select(FACTS.c.name).where(FACTS.c.name == _mark(folder))
    return connection.execute(query).first() is not None


def take_over(connection: Connection, folder: Path, now: datetime) -> int:
    """Bring the files of a state folder into the records, unless that was done; what is in the records already stays. How many
    were new.

    Raises:
        EngineError: ``invalid_input``; a file cannot be read, and nothing was taken over.
    """
    if taken_over(connection, folder):
        return 0
    new = 0
    for path in earlier_files(folder):
        if path.parent.name == "agents":
            new += put_agent(connection, read_record(path, RegisteredAgent), now, replace=False)
        else:
            new += put_handoff(connection, read_record(path, RegisteredHandoff), now, replace=False)
    _once(connection, {"name": _mark(folder), "value": now.isoformat()})
    return new


def _mark(folder: Path) -> str:
    told = "\n".join([str(folder.resolve()), *(f"{path.parent.name}/{path.name}" for path in earlier_files(folder))])
    return f"taken_over:{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"


def _once(connection: Connection, row: dict[str, Any]) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(FACTS).values(**row)
    connection.execute(made.on_conflict_do_nothing(index_elements=["name"]))
