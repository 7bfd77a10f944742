"""The tables of the records, one file per subject; all of them belong to ``METADATA``."""

from cogwork.records.tables import agents, executions, library, payloads, remote, schedules, sessions, workers
from cogwork.records.tables.base import METADATA

__all__ = ["METADATA", "agents", "executions", "library", "payloads", "remote", "schedules", "sessions", "workers"]
