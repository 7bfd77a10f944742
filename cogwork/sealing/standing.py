"""What a database says of the keys that it is sealed with: a canary for each, and the key of its names, sealed itself."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from cogwork.sealing.errors import KeyMissing
from cogwork.sealing.keys import KEY_BYTES, Ring
from cogwork.sealing.seals import Seals, text_sealed_under

KEY: Final = "key:"
"""How the names of canaries begin; the id of their key follows."""
NAMES: Final = "names"
TABLE: Final = "cogwork_sealing"
_LOCK: Final = 0x0C09_0003
Rows = Mapping[str, str]
"""What a database says, by name."""


def standing(ring: Ring, where: str, read: Callable[[], Rows], add: Callable[[Rows], None]) -> Seals:
    """The seals of a database, which must be sealed with keys of the ring only; what is missing there is added.

    ``add`` leaves alone what is there already, as another process may have been first.

    Raises:
        KeyMissing: it is sealed with a key that the ring does not have.
        Unopened: a canary or the key of the names was altered.
    """
    rows = read()
    _refuse_strangers(ring, where, rows)
    if not ring.keys:
        return Seals(where=where)
    seals = Seals(ring=ring, where=where)
    if missing := _missing(seals, rows):
        add(missing)
        rows = read()
    for name, text in rows.items():
        if name.startswith(KEY):
            seals.opened_text(text, name)
    return Seals(ring=ring, where=where, names=bytes.fromhex(seals.opened_text(rows[NAMES], NAMES)))


def renewed(seals: Seals) -> Rows:
    """What the database is to say once all of it is sealed under the first key."""
    canary = f"{KEY}{seals.ring.ids[0]}"
    return {canary: seals.sealed_text("cogwork", canary), NAMES: seals.sealed_text(seals.names.hex(), NAMES)}


def _refuse_strangers(ring: Ring, where: str, rows: Rows) -> None:
    """The canaries name their keys; the key of the names may be sealed under one whose canary is gone."""
    used = {name.removeprefix(KEY) for name in rows if name.startswith(KEY)}
    used |= {sealed for text in rows.values() if (sealed := text_sealed_under(text)) is not None}
    if strangers := sorted(used - set(ring.ids)):
        raise KeyMissing(where, strangers)


def _missing(seals: Seals, rows: Rows) -> Rows:
    canary = f"{KEY}{seals.ring.ids[0]}"
    made = {canary: seals.sealed_text("cogwork", canary)} if canary not in rows else {}
    if NAMES not in rows:
        made[NAMES] = seals.sealed_text(secrets.token_hex(KEY_BYTES), NAMES)
    return made


# -- SQLite ----------------------------------------------------------------------------------------------------------------


def of_sqlite(connection: sqlite3.Connection, ring: Ring, where: str) -> Seals:
    """The seals of a SQLite file, which says what it says in a table of its own; made where a ring with keys meets it first.

    Raises:
        KeyMissing: it is sealed with a key that the ring does not have.
        sqlite3.Error: the file fails.
    """

    def read() -> Rows:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLE,)).fetchone()
        return dict(connection.execute(f"SELECT name, value FROM {TABLE}").fetchall()) if there else {}

    def add(rows: Rows) -> None:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        for row in rows.items():
            connection.execute(f"INSERT OR IGNORE INTO {TABLE} (name, value) VALUES (?, ?)", row)
        connection.commit()

    return standing(ring, where, read, add)


def swept(connection: sqlite3.Connection) -> bool:
    """Write a file anew, so that nothing deleted is left in it or its journal; False where others held that up."""
    try:
        connection.execute("VACUUM")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError:
        return False
    return not busy


# -- PostgreSQL ------------------------------------------------------------------------------------------------------------


def of_postgres(connection: Any, ring: Ring, where: str) -> Seals:
    """The same of a schema of PostgreSQL, through a connection of psycopg that commits each statement.

    Raises:
        KeyMissing: it is sealed with a key that the ring does not have.
        psycopg.Error: the server refused.
    """

    def read() -> Rows:
        there = connection.execute("select to_regclass(%s) is not null as there", (TABLE,)).fetchone()
        if not _first(there):
            return {}
        rows = connection.execute(f"select name || '=' || value as said from {TABLE}").fetchall()
        return dict(str(_first(row)).split("=", 1) for row in rows)

    def add(rows: Rows) -> None:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(f"create table if not exists {TABLE} (name text primary key, value text not null)")
            for row in rows.items():
                connection.execute(f"insert into {TABLE} (name, value) values (%s, %s) on conflict do nothing", row)

    return standing(ring, where, read, add)


def _first(row: Any) -> Any:
    """The only value of a row, whichever kind of rows the connection gives."""
    return next(iter(row.values())) if isinstance(row, Mapping) else row[0]
