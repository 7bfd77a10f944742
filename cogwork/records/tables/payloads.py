"""Large values, stored once under their content, and the few facts about the database itself."""

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, Text

from cogwork.records.columns import Instant
from cogwork.records.tables.base import METADATA, PREFIX

PAYLOADS: Final = Table(
    f"{PREFIX}payloads",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("encoding", String(8), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("stored_at", Instant, nullable=False, index=True),
)
"""``digest`` is the SHA-256 of the value's JSON, or where it is sealed a name that only the database's keys give; ``size`` is
its length in bytes before compression."""
FACTS: Final = Table(
    f"{PREFIX}facts", METADATA, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
