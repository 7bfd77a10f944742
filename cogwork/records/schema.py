"""The schema of the records: which revision a database has, and how it comes to that of this code."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from cogwork.errors import EngineError
from cogwork.records.database import PATIENCE_SECONDS
from cogwork.records.grouped import database_error

HEAD: Final = "0004"
"""The revision that this code needs; the newest file in ``migrations/versions``."""
TABLE: Final = "cogwork_revision"
_LOCK: Final = 0x0C09_0001
_CONFIG: Final = Path(__file__).parent / "migrations"
_MIGRATING: Final = threading.Lock()
"""Alembic keeps what it is working on in a global of its module."""


def revision(connection: Connection) -> str | None:
    """The revision of the database's schema; None where there is none yet."""
    if not sa.inspect(connection).has_table(TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {TABLE}").scalar()


def bring_up(engine: sa.Engine, where: str) -> bool:
    """Bring the database to ``HEAD``, one process at a time; whether it was new.

    Raises:
        EngineError: ``database_error``; it cannot be used, is newer than this code, or has a schema that is none of ours.
    """
    try:
        with engine.connect() as connection:
            found = _known(revision(connection), where)
        return found != HEAD and _migrated(engine, where)
    except SQLAlchemyError as err:
        raise database_error(where, err) from err


def _known(found: str | None, where: str) -> str | None:
    if found is None or found == HEAD or found in _revisions():
        return found
    if found.isdigit() and found > HEAD:
        raise EngineError(
            "database_error",
            f"The records in {where} have revision {found} of the schema, and this cogwork knows {HEAD}: "
            "use the newer cogwork that made them",
            revision=found,
            known=HEAD,
        )
    raise EngineError(
        "database_error",
        f"The records in {where} have a schema of an unknown revision {found!r}: no cogwork made it; use another database",
        revision=found,
        known=HEAD,
    )


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def _migrated(engine: sa.Engine, where: str) -> bool:
    from alembic import command

    with _MIGRATING, engine.connect().execution_options(cogwork_writes=True) as connection:
        _locked(connection)
        found = _known(revision(connection), where)
        if found != HEAD:
            command.upgrade(config(connection), "head")
        connection.commit()
        return found is None


def _locked(connection: Connection) -> None:
    """Wait for other processes that migrate; on SQLite the transaction is the lock."""
    if connection.dialect.name == "sqlite":
        return
    end = time.monotonic() + PATIENCE_SECONDS
    while not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_LOCK})").scalar():
        if time.monotonic() > end:
            raise EngineError("database_error", "Another process has been migrating the records for too long")
        time.sleep(0.1)


def config(connection: Connection | None = None) -> Any:
    """Alembic's configuration for these migrations."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(_CONFIG))
    made.attributes["connection"] = connection
    return made
