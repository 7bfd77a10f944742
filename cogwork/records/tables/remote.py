"""Executions whose work is done by another instance."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

REMOTES: Final = Table(
    f"{PREFIX}remotes",
    METADATA,
    Column("execution_id", String(255), primary_key=True),
    Column("workflow", String(255), nullable=False),
    Column("key", String(80), nullable=False),
    Column("writes", Boolean, nullable=False),
    Column("isolated", Boolean, nullable=False),
    Column("labels", Plain, nullable=False),
    Column("instance", String(63), nullable=False, server_default=""),
    Column("state", String(16), nullable=False, server_default="new"),
    Column("remote_id", String(255), nullable=False, server_default=""),
    Column("number", BigInteger, nullable=False, server_default="0"),
    Column("segment", BigInteger, nullable=False, server_default="0"),
    Column("moves", Integer, nullable=False, server_default="0"),
    Column("updated_at", Instant, nullable=False),
)
"""One row per execution of the mode ``remote``. ``workflow`` is how it is called there, ``key`` the idempotency key under which it
is asked for, ``writes`` whether it may change something, ``isolated`` whether it has a process of its own there, ``labels`` what
its instance must have. ``state`` is ``new`` (nobody has been asked), ``asked`` (``instance`` has been, and may have begun it) or
``begun`` (as ``remote_id``). ``number`` is the last event of its last rest there, ``segment`` the stretch that came to it,
``moves`` how often it has begun elsewhere."""
