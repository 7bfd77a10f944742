"""The types of columns that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from cogwork.errors import EngineError
from state.values import Json

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware instant."""
    return (at - EPOCH) // _MICROSECOND


def instant(micros: int) -> datetime:
    """The instant in UTC."""
    return EPOCH + timedelta(microseconds=micros)


class Instant(TypeDecorator[datetime]):
    """An aware ``datetime`` in UTC, kept as microseconds since 1970, so that it compares and sorts alike everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database.

        Raises:
            EngineError: ``invalid_input``; it has no time zone, so nobody knows which instant it is.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise EngineError("invalid_input", f"{value.isoformat()} has no time zone: say which, such as +00:00")
        return micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else instant(int(value))


def written_json(value: Json, what: str = "value", *, sorted_keys: bool = False) -> str:
    """The value as JSON that UTF-8 can hold: characters as they are, unless some are lone surrogates, which are escaped.

    Raises:
        EngineError: ``invalid_input``; it is no plain JSON: another type, NaN, an infinity, or nested too deeply.
    """

    def dumped(ascii_only: bool) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, sort_keys=sorted_keys, separators=(",", ":"), allow_nan=False)

    try:
        text = dumped(False)
        try:
            text.encode()
        except UnicodeEncodeError:
            return dumped(True)
    except (TypeError, ValueError, RecursionError) as err:
        raise EngineError("invalid_input", f"The {what} is no plain JSON: {err}") from err
    return text


class Plain(TypeDecorator[Json]):
    """Plain JSON as text; ``None`` is SQL's null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """To the database; PostgreSQL's text holds no NUL, and JSON escapes it.

        Raises:
            EngineError: ``invalid_input``; it is no plain JSON.
        """
        return None if value is None else written_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """From the database."""
        return None if value is None else json.loads(value)
