"""The records: workflows, executions, agents, sessions and schedules in one SQL schema, on SQLite or PostgreSQL."""

from cogwork.records.database import Records

__all__ = ["Records"]
