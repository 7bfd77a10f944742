"""What a statement is given, checked before the database sees it: SQLite takes what PostgreSQL refuses, and both shall behave
alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cogwork.errors import EngineError
from cogwork.records.columns import Words

_INT32: Final = 2**31
_INT64: Final = 2**63


def hold_to_columns(engine: Engine) -> None:
    """See to it that every statement of the engine is refused that holds what a column cannot: ``invalid_input`` names it.

    Refused are NUL and lone surrogates in texts, texts longer than their column, whole numbers beyond it, and NaN.
    """

    @sa.event.listens_for(engine, "before_cursor_execute")
    def check(
        connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        compiled = getattr(context, "compiled", None)
        if compiled is None:
            return
        kept = _kept(context)
        for given in context.compiled_parameters:
            for name, value in given.items():
                column = kept.get(name)
                for each in value if isinstance(value, list | tuple) else (value,):
                    _fits(
                        column.name if column is not None else name, each, column.type if column is not None else None
                    )


def _kept(context: Any) -> Mapping[str, sa.Column[Any]]:
    """The columns that an insert or update writes to, by the names of the values; those that it only looks for need not fit."""
    if not (context.isinsert or context.isupdate):
        return {}
    columns = context.compiled.statement.table.c
    return dict(_written(context, columns))


def _written(context: Any, columns: Any) -> Iterator[tuple[str, sa.Column[Any]]]:
    for name in context.compiled.binds:
        # Values of an insert with several rows are called column_m0, column_m1 and so on.
        plain, _, number = name.rpartition("_m")
        if name in columns:
            yield name, columns[name]
        elif number.isdigit() and plain in columns:
            yield name, columns[plain]


def _fits(name: str, value: Any, column: sa.types.TypeEngine[Any] | None) -> None:
    if isinstance(value, str):
        _text_fits(name, value, column)
    elif isinstance(value, float) and not math.isfinite(value):
        raise EngineError("invalid_input", f"{name} is {value}: it must be a finite number", field=name)
    elif isinstance(value, int) and not isinstance(value, bool):
        small = isinstance(column, sa.Integer) and not isinstance(column, sa.BigInteger)
        bound = _INT32 if small else _INT64
        if not -bound <= value < bound:
            raise EngineError("invalid_input", f"{name} is out of range: at most {bound - 1}", field=name)


def _text_fits(name: str, value: str, column: sa.types.TypeEngine[Any] | None) -> None:
    if isinstance(column, sa.types.TypeDecorator) and not isinstance(column, Words):
        return  # It is escaped on its way into the database.
    if "\x00" in value:
        raise EngineError("invalid_input", f"{name} holds the character NUL, which texts cannot have", field=name)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as err:
            raise EngineError(
                "invalid_input", f"{name} holds half of a character (a lone surrogate)", field=name
            ) from err
    length = getattr(column, "length", None)
    if isinstance(column, sa.String) and length is not None and len(value) > length:
        raise EngineError(
            "invalid_input",
            f"{name} has {len(value):,} characters, and at most {length:,} are kept",
            field=name,
            length=len(value),
            limit=length,
        )
