"""What the records say of the keys that they are sealed with: facts, beside those of their cursors."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from cogwork.errors import EngineError
from cogwork.records.grouped import database_error
from cogwork.records.tables.payloads import FACTS
from cogwork.sealing.errors import SealError
from cogwork.sealing.keys import Ring
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import Rows, standing

PREFIX = "sealing:"
"""How the names of these facts begin."""


def seals_of_records(engine: sa.Engine, where: str, ring: Ring) -> Seals:
    """The seals of the records.

    Raises:
        EngineError: ``database_error``; they are sealed with a key that the ring does not have, or fail.
    """

    def read() -> Rows:
        query = sa.select(FACTS.c.name, FACTS.c.value).where(FACTS.c.name.startswith(PREFIX))
        with engine.connect() as connection:
            return {row.name.removeprefix(PREFIX): row.value for row in connection.execute(query)}

    def add(rows: Rows) -> None:
        from sqlalchemy.dialects import postgresql, sqlite

        made = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert(FACTS)
        values = [{"name": f"{PREFIX}{name}", "value": value} for name, value in rows.items()]
        with engine.connect().execution_options(cogwork_writes=True) as connection, connection.begin():
            connection.execute(made.values(values).on_conflict_do_nothing(index_elements=["name"]))

    try:
        return standing(ring, f"the records in {where}", read, add)
    except SealError as err:
        engine.dispose()
        raise EngineError("database_error", str(err), database=where) from err
    except SQLAlchemyError as err:
        engine.dispose()
        raise database_error(where, err) from err
