"""Pages of long lists: a cursor says where the next one begins, and stays right while rows arrive."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import instant, micros
from cogwork.records.tables.payloads import FACTS

T = TypeVar("T")
MAX_LIMIT: Final = 1000
_KEY: Final = "cursor_key"
_SIGNED: Final = 12


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and the cursor of the next page; ``None`` where there is none."""

    items: tuple[T, ...]
    cursor: str | None = None

    def map(self, change: Callable[[T], Any]) -> Page[Any]:
        """The page with each of its items changed."""
        return Page(tuple(change(item) for item in self.items), self.cursor)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a list has been read: the last row's instant in microseconds, and its key."""

    at: int
    key: str

    @classmethod
    def of(cls, at: datetime, key: str) -> Place:
        """The place behind the row of that instant and key."""
        return cls(micros(at), key)


def paged(
    connection: Connection,
    query: sa.Select[Any],
    at: sa.ColumnElement[Any],
    key: sa.ColumnElement[Any],
    *,
    filters: Mapping[str, Any],
    limit: int,
    cursor: str | None,
) -> Page[Mapping[str, Any]]:
    """One page of ``query``, the latest ``at`` first and of equal ones the greatest ``key``; both are among its columns.

    The cursor holds for the same ``filters`` only.

    Raises:
        EngineError: ``invalid_input`` for a limit that is none, ``invalid_cursor`` for a cursor that was not made here, was
            altered, or belongs to another list.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise EngineError(
            "invalid_input", f"limit is {limit!r}: it must be a number from 1 to {MAX_LIMIT}", limit=limit
        )
    if cursor is not None:
        after = opened_place(connection, cursor, filters)
        # A row of the list is beyond the cursor where its pair is smaller; both databases compare pairs by index.
        query = query.where(
            sa.tuple_(at, key) < sa.tuple_(sa.literal(instant(after.at), at.type), sa.literal(after.key))
        )
    rows: Sequence[Any] = connection.execute(query.order_by(at.desc(), key.desc()).limit(limit + 1)).mappings().all()
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        last = shown[-1]
        following = sealed_place(connection, Place.of(last[at.name], str(last[key.name])), filters)
    return Page(tuple(shown), following)


def sealed_place(connection: Connection, place: Place, filters: Mapping[str, Any]) -> str:
    """The cursor of a place in the list with these filters."""
    return _sealed(signing_key(connection), place.at, place.key, _fingerprint(filters))


def opened_place(connection: Connection, cursor: str, filters: Mapping[str, Any]) -> Place:
    """The place that a cursor means.

    Raises:
        EngineError: ``invalid_cursor``; it was not made here, was altered, or belongs to another list.
    """
    return Place(*_opened(signing_key(connection), cursor, _fingerprint(filters)))


def signing_key(connection: Connection) -> bytes:
    """The key of this database that its cursors are signed with; drawn when it is first needed."""
    query = sa.select(FACTS.c.value).where(FACTS.c.name == _KEY)
    known = connection.execute(query).scalar()
    if known is None:
        raise EngineError("database_error", "The records hold no key for cursors: they were not made by cogwork")
    return bytes.fromhex(known)


def new_signing_key() -> dict[str, str]:
    """The row that a new database begins with."""
    return {"name": _KEY, "value": secrets.token_hex(32)}


def _fingerprint(filters: Mapping[str, Any]) -> str:
    told = json.dumps({k: v for k, v in filters.items() if v is not None}, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _sealed(secret: bytes, at: int, key: str, of: str) -> str:
    body = json.dumps([at, key, of], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mark(secret, body) + body).decode().rstrip("=")


def _opened(secret: bytes, cursor: str, of: str) -> tuple[int, str]:
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mark, body = raw[:_SIGNED], raw[_SIGNED:]
        if not hmac.compare_digest(mark, _mark(secret, body)):
            raise ValueError
        at, key, made_for = json.loads(body)
    except (ValueError, binascii.Error, UnicodeError, AttributeError) as err:
        raise EngineError("invalid_cursor", "The cursor is none of this list: begin again without one") from err
    if made_for != of:
        raise EngineError("invalid_cursor", "The cursor belongs to a list with other filters: begin again without one")
    return int(at), str(key)


def _mark(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()[:_SIGNED]
