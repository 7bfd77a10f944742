"""Large values: compressed, and stored once however many rows name them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.tables.payloads import PAYLOADS
from state.values import Json

COMPRESSED_ABOVE: Final = 1024
"""Bytes; smaller values are kept as they are."""
MAX_BYTES: Final = 64 * 1024 * 1024


def kept(connection: Connection, value: Json, what: str = "value", limit: int = MAX_BYTES) -> str:
    """Store a value; the digest that finds it again.

    Raises:
        EngineError: ``invalid_input``; it is larger than ``limit`` bytes.
    """
    return keep_bytes(connection, encoded(value, what, limit))


def encoded(value: Json, what: str = "value", limit: int = MAX_BYTES) -> bytes:
    """The value's canonical JSON.

    Raises:
        EngineError: ``invalid_input``; it is larger than ``limit`` bytes.
    """
    data = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > limit:
        raise EngineError(
            "invalid_input",
            f"The {what} has {len(data):,} bytes, and at most {limit:,} are kept: hand in a file or an address instead",
            bytes=len(data),
            limit=limit,
        )
    return data


def keep_bytes(connection: Connection, data: bytes) -> str:
    """Store the bytes of a value's JSON; the digest."""
    digest = hashlib.sha256(data).hexdigest()
    known = connection.execute(sa.select(PAYLOADS.c.digest).where(PAYLOADS.c.digest == digest)).first()
    if known is None:
        small = zlib.compress(data, 3) if len(data) > COMPRESSED_ABOVE else data
        encoding = "zlib" if len(small) < len(data) else "json"
        row = {
            "digest": digest,
            "encoding": encoding,
            "size": len(data),
            "data": small if encoding == "zlib" else data,
            "stored_at": datetime.now(UTC),
        }
        _insert_once(connection, row)
    return digest


def _insert_once(connection: Connection, row: dict[str, object]) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(PAYLOADS)
    connection.execute(made.values(**row).on_conflict_do_nothing(index_elements=["digest"]))


def found(connection: Connection, digest: str | None) -> Json:
    """The value of that digest; None for none.

    Raises:
        EngineError: ``database_error``; it is gone, or was altered.
    """
    return found_all(connection, [digest]).get(digest) if digest is not None else None


def found_all(connection: Connection, digests: Iterable[str | None]) -> dict[str | None, Json]:
    """The values of those digests.

    Raises:
        EngineError: ``database_error``; one of them is gone, or was altered.
    """
    wanted = {digest for digest in digests if digest is not None}
    if not wanted:
        return {}
    rows = connection.execute(sa.select(PAYLOADS).where(PAYLOADS.c.digest.in_(wanted))).mappings().all()
    values: dict[str | None, Json] = {
        row["digest"]: _decoded(row["digest"], row["encoding"], row["data"]) for row in rows
    }
    if missing := wanted - values.keys():
        raise EngineError("database_error", f"The stored value {min(missing)[:12]} is gone", digest=min(missing))
    return values


def _decoded(digest: str, encoding: str, data: bytes) -> Json:
    try:
        plain = _unpacked(bytes(data)) if encoding == "zlib" else bytes(data)
    except (zlib.error, ValueError) as err:
        raise EngineError("database_error", f"The stored value {digest[:12]} is damaged: {err}", digest=digest) from err
    if hashlib.sha256(plain).hexdigest() != digest:
        raise EngineError("database_error", f"The stored value {digest[:12]} was altered", digest=digest)
    value: Json = json.loads(plain)
    return value


def _unpacked(data: bytes) -> bytes:
    """The bytes, but never more than the largest value has: what is stored is not trusted."""
    inflating = zlib.decompressobj()
    plain = inflating.decompress(data, MAX_BYTES + 1)
    if len(plain) > MAX_BYTES or inflating.unconsumed_tail:
        raise ValueError("it unpacks to more than a value may have")
    return plain
