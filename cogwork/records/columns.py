"""The types of columns that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from cogwork.errors import EngineError
from cogwork.sealing.errors import SealError
from cogwork.sealing.seals import OPEN, Seals
from state.values import Json

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEALS: Final = "cogwork_seals"
MARKED: Final = "k"
"""How the fingerprints of requests begin that only holders of the key can compute."""
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
    """Plain JSON as text, sealed where the database is; ``None`` is SQL's null. ``place`` is its table and column."""

    impl = Text
    cache_ok = True

    def __init__(self, place: str = "") -> None:
        super().__init__()
        self.place = place

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """To the database; PostgreSQL's text holds no NUL, and JSON escapes it.

        Raises:
            EngineError: ``invalid_input``; it is no plain JSON.
        """
        return None if value is None else sealed_json(seals_of(dialect), written_json(value), value, self.place)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """From the database.

        Raises:
            EngineError: ``database_error``; it was altered or moved, or is sealed under a key that is not at hand.
        """
        return None if value is None else json.loads(opened_json(seals_of(dialect), value, self.place))


class Open(TypeDecorator[Json]):
    """Plain JSON as text that is never sealed: that of rows which can be added and checked, and nothing else."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """To the database.

        Raises:
            EngineError: ``invalid_input``; it is no plain JSON.
        """
        return None if value is None else written_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """From the database."""
        return None if value is None else json.loads(value)


class Words(TypeDecorator[str]):
    """Text that people, models and tools have written, sealed where the database is. ``place`` is its table and column."""

    impl = Text
    cache_ok = True

    def __init__(self, place: str = "") -> None:
        super().__init__()
        self.place = place

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else seals_of(dialect).sealed_text(value, self.place)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """From the database.

        Raises:
            EngineError: ``database_error``; it was altered or moved, or is sealed under a key that is not at hand.
        """
        return None if value is None else opened_words(seals_of(dialect), value, self.place)


# -- sealing ---------------------------------------------------------------------------------------------------------------


def seal_with(dialect: Dialect, seals: Seals) -> None:
    """From now on, what the dialect's engine writes into these columns is sealed so."""
    setattr(dialect, _SEALS, seals)


def seals_of(dialect: Dialect) -> Seals:
    """What the columns of the dialect's engine are sealed with."""
    found: Seals = getattr(dialect, _SEALS, OPEN)
    return found


def sealed_json(seals: Seals, text: str, value: Json, place: str) -> str:
    """The JSON of a value as it is kept: where it is sealed, an object that begins as no JSON of ours does, with the class of
    an error beside what is sealed, as errors are counted by it."""
    if not seals.on:
        return text
    told = {"class": value["class"][:64]} if isinstance(value, dict) and isinstance(value.get("class"), str) else {}
    return f" {written_json({**told, 'sealed': seals.sealed_text(text, place)})}"


def opened_json(seals: Seals, text: str, place: str) -> str:
    """The JSON again; what was never sealed is given as it is.

    Raises:
        EngineError: ``database_error``; it was altered or moved, or is sealed under a key that is not at hand.
    """
    if not text.startswith(" {"):
        return text
    held = json.loads(text)
    if not isinstance(held.get("sealed"), str):
        raise EngineError("database_error", f"A sealed value ({place}) was altered: restore it from a backup")
    return opened_words(seals, held["sealed"], place)


def opened_words(seals: Seals, text: str, place: str) -> str:
    """A text again; what was never sealed is given as it is.

    Raises:
        EngineError: ``database_error``; it was altered or moved, or is sealed under a key that is not at hand.
    """
    try:
        return seals.opened_text(text, place)
    except SealError as err:
        raise EngineError("database_error", str(err)) from err


def marked(seals: Seals, fingerprint: str) -> str:
    """The fingerprint of a request as it is kept: where values are sealed, nobody else can tell it from the request."""
    return f"{MARKED}{seals.name(fingerprint.encode())[1:]}" if seals.on else fingerprint
