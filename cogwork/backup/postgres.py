"""Dumps of PostgreSQL by its own programs: ``pg_dump`` sees one snapshot of all schemas, ``pg_restore`` writes all or nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from cogwork.backup.errors import BackupError, Occupied
from cogwork.records.schema import TABLE
from cogwork.sealing.standing import KEY
from cogwork.sealing.standing import TABLE as SEALING

INHERITED: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"})
SCHEMA_ENTRY: Final = re.compile(r"^\d+; \d+ \d+ SCHEMA - (\S+) ", re.MULTILINE)


def schemas_of(url: SecretStr) -> tuple[str, ...]:
    """The schemas that cogwork uses there: that of records, checkpoints and memory, and that of the queue.

    Raises:
        BackupError: the server does not answer.
    """
    own = _asked(url, "select current_schema()")
    schema = str(own[0][0] or "public") if own else "public"
    return schema, "cogwork_queue" if schema == "public" else f"{schema}_queue"


def told(url: SecretStr) -> tuple[str | None, tuple[str, ...]]:
    """The revision of the records there, and the ids of the keys that are needed.

    Raises:
        BackupError: the server does not answer.
    """
    revision, keys = None, set[str]()
    if _asked(url, "select to_regclass(%s) is not null", TABLE)[0][0]:
        revision = next((str(row[0]) for row in _asked(url, f"select version_num from {TABLE}")), None)
        facts = _asked(url, "select name from cogwork_facts where name like %s", f"sealing:{KEY}%")
        keys |= {str(row[0]).rpartition(":")[2] for row in facts}
    if _asked(url, "select to_regclass(%s) is not null", SEALING)[0][0]:
        rows = _asked(url, f"select name from {SEALING} where name like %s", f"{KEY}%")
        keys |= {str(row[0]).removeprefix(KEY) for row in rows}
    return revision, tuple(sorted(keys))


def dump(url: SecretStr, schemas: Sequence[str], target: Path) -> None:
    """Dump the schemas in PostgreSQL's custom format.

    Raises:
        BackupError: ``pg_dump`` is missing, or failed.
    """
    names = [f"--schema={_quoted(schema)}" for schema in schemas]
    form = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    _run("pg_dump", url, *form, *names)
    target.chmod(0o600)


def restore(url: SecretStr, schemas: Sequence[str], source: Path, *, force: bool) -> None:
    """Write what was dumped, in one transaction.

    Raises:
        Occupied: the schemas hold tables, and ``force`` does not say that they may go.
        BackupError: ``pg_restore`` is missing, or failed; nothing was changed.
    """
    if (held := tables_in(url, schemas)) and not force:
        raise Occupied(
            f"The schema {held[0][0]} holds tables already, such as {held[0][1]}: name another database, or say --force"
        )
    rows = _asked(url, "select nspname from pg_namespace where nspname = any(%s)", list(schemas))
    there = {str(row[0]) for row in rows}
    contents = _run("pg_restore", None, "--list", str(source))
    # A schema that is there already, empty, need not be made; and one that is not ours alone must not be dropped.
    kept = SCHEMA_ENTRY.sub(lambda found: f";{found[0]}" if found[1].strip('"') in there else found[0], contents)
    chosen = source.with_suffix(".list")
    chosen.write_text(kept, encoding="utf-8")
    clean = ["--clean", "--if-exists"] if held else []
    form = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--use-list={chosen}"]
    _run("pg_restore", url, *form, *clean, str(source))


def tables_in(url: SecretStr, schemas: Sequence[str]) -> list[Any]:
    """The tables that stand in the schemas, by schema and name.

    Raises:
        BackupError: the server does not answer.
    """
    query = "select schemaname, tablename from pg_tables where schemaname = any(%s) order by 1, 2"
    return _asked(url, query, list(schemas))


def _asked(url: SecretStr, query: str, *values: Any) -> list[Any]:
    try:
        import psycopg
    except ImportError as err:
        raise BackupError(
            f"database_url is set, but {err.name or 'psycopg'} is missing: install cogwork[postgres]"
        ) from err
    try:
        with psycopg.connect(url.get_secret_value(), connect_timeout=10, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()
    except psycopg.Error as err:
        raise BackupError(f"The database cannot be used: {' '.join(str(err).split())}") from err


def _run(program: str, url: SecretStr | None, *words: str) -> str:
    """What a program of PostgreSQL says; the password goes to it by its environment, where no other user sees it."""
    path = shutil.which(program)
    if path is None:
        raise BackupError(f"{program} is not on the PATH: install PostgreSQL's client programs, as new as the server")
    environment, connection = _environment(), list[str]()
    if url is not None:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        given: dict[str, Any] = dict(conninfo_to_dict(url.get_secret_value()))
        if (password := given.pop("password", None)) is not None:
            environment["PGPASSWORD"] = str(password)
        connection = ["--no-password", f"--dbname={make_conninfo(**given)}"]
    command = [path, *connection, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[-2000:]
        raise BackupError(f"{program} failed: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _environment() -> dict[str, str]:
    """What these programs are given of our environment: keys and the like stay here."""
    return {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("PG")}


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
