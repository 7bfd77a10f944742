"""The tables of the store in PostgreSQL, made by whichever process comes first."""

from __future__ import annotations

import time
from typing import Final

from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection, errors
from psycopg.rows import DictRow

VERSION: Final = 1
LOCK: Final = "hashtextextended('cogwork:setup', 0)"
PATIENCE_SECONDS: Final = 60.0
OURS: Final = (
    """create table if not exists cogwork_owners (
        thread text primary key, token text not null unique, holder text not null,
        server timestamptz not null, beat timestamptz not null)""",
    """create table if not exists cogwork_calls (
        thread text not null, run text not null, key text not null, step text not null, status text not null,
        body text not null, primary key (thread, run, key))""",
    """create table if not exists cogwork_requests (
        thread text primary key, id text not null, kind text not null, body text not null)""",
    """create table if not exists cogwork_pieces (
        thread text not null, hash bytea not null, body bytea not null, primary key (thread, hash))""",
    # They are compressed already.
    "alter table cogwork_pieces alter column body set storage external",
    "create table if not exists cogwork_tables (version integer primary key)",
    f"insert into cogwork_tables values ({VERSION}) on conflict do nothing",
)
"""``owners.token`` is unique so that changing it locks the row as deleting it would: see ``postgres_owners``."""


def prepare(connection: Connection[DictRow]) -> None:
    """Make the tables that are missing, LangGraph's and ours.

    One process at a time: LangGraph's ``setup`` fails where two run it at once. The others try for the lock again and again
    instead of waiting in the server, as LangGraph's ``CREATE INDEX CONCURRENTLY`` waits for every statement under way.

    Raises:
        psycopg.Error: the server refused.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not _prepared(connection):
        row = connection.execute(f"select pg_try_advisory_lock({LOCK}) as free").fetchone()
        if row is None or not row["free"]:
            if time.monotonic() > end:
                raise errors.LockNotAvailable("another process has been making the tables for a minute")
            time.sleep(0.05)
            continue
        try:
            PostgresSaver(connection).setup()
            for statement in OURS:
                connection.execute(statement)
        finally:
            connection.execute(f"select pg_advisory_unlock({LOCK})")


def _prepared(connection: Connection[DictRow]) -> bool:
    there = connection.execute(
        "select to_regclass('cogwork_tables') as ours, to_regclass('checkpoint_migrations') as theirs"
    ).fetchone()
    if there is None or there["ours"] is None or there["theirs"] is None:
        return False
    reached = connection.execute(
        "select (select max(version) from cogwork_tables) as ours, (select max(v) from checkpoint_migrations) as theirs"
    ).fetchone()
    if reached is None or reached["ours"] is None or reached["theirs"] is None:
        return False
    return bool(reached["ours"] >= VERSION and reached["theirs"] >= len(PostgresSaver.MIGRATIONS) - 1)
