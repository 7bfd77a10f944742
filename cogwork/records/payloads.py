"""Large values: compressed, and stored once however many rows name them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import seals_of, written_json
from cogwork.records.tables.payloads import PAYLOADS
from cogwork.sealing.errors import SealError
from cogwork.sealing.seals import MAGIC
from state.values import Json

COMPRESSED_ABOVE: Final = 1024
"""Bytes; smaller values are kept as they are."""
MAX_BYTES: Final = 64 * 1024 * 1024
RENEWED_AFTER: Final = timedelta(hours=1)
"""A value that is used again counts as stored anew when its last storing is as long ago; clean-up spares what is much younger,
and so never takes away what somebody is about to name."""
COMPRESSION: Final = "cogwork_compression_above"
LIMIT: Final = "cogwork_max_payload_bytes"
"""Options of connections: what holds there in place of ``COMPRESSED_ABOVE`` and ``MAX_BYTES``."""
_AT_ONCE: Final = 500


def kept(
    connection: Connection,
    value: Json,
    what: str = "value",
    limit: int | None = None,
    now: datetime | None = None,
) -> str:
    """Store a value; the digest that finds it again. Name it in the same transaction.

    Raises:
        EngineError: ``invalid_input``; it is larger than ``limit`` bytes (else those of the database), or no plain JSON.
    """
    limit = limit if limit is not None else connection.get_execution_options().get(LIMIT, MAX_BYTES)
    return keep_bytes(connection, encoded(value, what, limit), now)


def encoded(value: Json, what: str = "value", limit: int = MAX_BYTES) -> bytes:
    """The value's canonical JSON.

    Raises:
        EngineError: ``invalid_input``; it is larger than ``limit`` bytes, or no plain JSON.
    """
    data = written_json(value, what, sorted_keys=True).encode()
    limit = min(limit, MAX_BYTES)
    if len(data) > limit:
        raise EngineError(
            "invalid_input",
            f"The {what} has {len(data):,} bytes, and at most {limit:,} are kept: hand in a file or an address instead",
            bytes=len(data),
            limit=limit,
        )
    return data


def keep_bytes(connection: Connection, data: bytes, now: datetime | None = None) -> str:
    """Store the bytes of a value's JSON; the digest."""
    seals = seals_of(connection.dialect)
    digest, at = seals.name(data), now or datetime.now(UTC)
    query = sa.select(PAYLOADS.c.stored_at).where(PAYLOADS.c.digest == digest)
    stored_at = connection.execute(query).scalar()
    if stored_at is None or at - stored_at > RENEWED_AFTER:
        above = connection.get_execution_options().get(COMPRESSION, COMPRESSED_ABOVE)
        small = zlib.compress(data, 3) if len(data) > above else data
        encoding = "zlib" if len(small) < len(data) else "json"
        row = {
            "digest": digest,
            "encoding": encoding,
            "size": len(data),
            "data": seals.sealed(small if encoding == "zlib" else data, place_of(digest, encoding)),
            "stored_at": at,
        }
        _insert_or_renew(connection, row)
    return digest


def place_of(digest: str, encoding: str) -> str:
    """The place that a sealed value is bound to."""
    return f"payload {digest} {encoding}"


def hold(connection: Connection, digests: Iterable[str | None], now: datetime | None = None) -> None:
    """Say that these values are about to be named by another row, in this transaction: clean-up spares them.

    Raises:
        EngineError: ``database_error``; one of them is gone.
    """
    wanted, at = sorted({digest for digest in digests if digest is not None}), now or datetime.now(UTC)
    for some in _in_parts(wanted):
        rows = connection.execute(
            sa.select(PAYLOADS.c.digest, PAYLOADS.c.stored_at).where(PAYLOADS.c.digest.in_(some))
        ).all()
        old = [row.digest for row in rows if at - row.stored_at > RENEWED_AFTER]
        renewed = sa.update(PAYLOADS).where(PAYLOADS.c.digest.in_(old)).values(stored_at=at)
        changed = connection.execute(renewed).rowcount if old else 0
        if missing := set(some) - {row.digest for row in rows}:
            raise _gone(min(missing))
        if changed < len(old):
            raise _gone(old[0])


def _insert_or_renew(connection: Connection, row: dict[str, Any]) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(PAYLOADS).values(**row)
    later = {"stored_at": made.excluded.stored_at}
    connection.execute(made.on_conflict_do_update(index_elements=["digest"], set_=later))


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
    wanted = sorted({digest for digest in digests if digest is not None})
    values: dict[str | None, Json] = {}
    for some in _in_parts(wanted):
        query = sa.select(PAYLOADS).where(PAYLOADS.c.digest.in_(some))
        for row in connection.execute(query).mappings():
            values[row["digest"]] = _decoded(connection, row["digest"], row["encoding"], bytes(row["data"]))
    if missing := set(wanted) - values.keys():
        raise _gone(min(missing))
    return values


def _in_parts(digests: Sequence[str]) -> list[Sequence[str]]:
    return [digests[at : at + _AT_ONCE] for at in range(0, len(digests), _AT_ONCE)]


def _gone(digest: str) -> EngineError:
    return EngineError("database_error", f"The stored value {digest[:12]} is gone", digest=digest)


def _decoded(connection: Connection, digest: str, encoding: str, data: bytes) -> Json:
    sealed = data.startswith(MAGIC)
    try:
        if sealed:
            data = seals_of(connection.dialect).opened(data, place_of(digest, encoding))
        plain = unpacked(encoding, data)
    except SealError as err:
        raise EngineError("database_error", str(err), digest=digest) from err
    except (zlib.error, ValueError) as err:
        raise EngineError("database_error", f"The stored value {digest[:12]} is damaged: {err}", digest=digest) from err
    # What is sealed is bound to its name, which is no plain digest.
    if not sealed and hashlib.sha256(plain).hexdigest() != digest:
        raise EngineError("database_error", f"The stored value {digest[:12]} was altered", digest=digest)
    value: Json = json.loads(plain)
    return value


def unpacked(encoding: str, data: bytes) -> bytes:
    """The JSON of what is stored, but never more than the largest value has: what is stored is not trusted.

    Raises:
        ValueError, zlib.error: it is damaged.
    """
    if encoding != "zlib":
        return data
    inflating = zlib.decompressobj()
    plain = inflating.decompress(data, MAX_BYTES + 1)
    if len(plain) > MAX_BYTES or inflating.unconsumed_tail:
        raise ValueError("it unpacks to more than a value may have")
    if not inflating.eof:
        raise ValueError("it breaks off")
    return plain
