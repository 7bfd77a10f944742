"""The tables of the records, one file per subject; all of them belong to ``METADATA``."""

from cogwork.records.columns import Plain, Words
from cogwork.records.tables import agents, executions, identity, library, payloads, remote, schedules, sessions, workers
from cogwork.records.tables.base import METADATA

for _table in METADATA.tables.values():
    for _column in _table.columns:
        if isinstance(_column.type, Plain | Words):
            _column.type.place = f"{_table.name}.{_column.name}"

__all__ = [
    "METADATA",
    "agents",
    "executions",
    "identity",
    "library",
    "payloads",
    "remote",
    "schedules",
    "sessions",
    "workers",
]
