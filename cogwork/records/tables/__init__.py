"""The tables of the records, one file per subject; all of them belong to ``METADATA``."""

from cogwork.records.tables import agents, executions, identity, library, payloads, schedules, sessions, workers
from cogwork.records.tables.base import METADATA

__all__ = ["METADATA", "agents", "executions", "identity", "library", "payloads", "schedules", "sessions", "workers"]
