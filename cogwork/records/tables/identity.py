"""The tokens that callers show, and the log of what callers did."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, text

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

_IN_FORCE: Final = text("revoked_at IS NULL")
TOKENS: Final = Table(
    f"{PREFIX}tokens",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("secret", String(80), nullable=False),
    Column("earlier_secret", String(80)),
    Column("earlier_until", Instant),
    Column("metadata", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    Index("ix_cogwork_tokens_page", "created_at", "id"),
    Index(
        "uq_cogwork_tokens_name",
        "name",
        unique=True,
        sqlite_where=_IN_FORCE,
        postgresql_where=_IN_FORCE,
    ),
)
"""``secret`` is a digest; ``earlier_secret`` that of the one before a rotation, which holds until ``earlier_until``."""
AUDIT: Final = Table(
    f"{PREFIX}audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("principal_id", String(255), nullable=False),
    Column("principal_name", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("via", String(32), nullable=False),
    Column("verb", String(64), nullable=False),
    Column("target", String(512), nullable=False),
    Column("outcome", String(48), nullable=False),
    Column("door", String(32), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("details", Plain, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Index("ix_cogwork_audit_at", "at"),
    Index("ix_cogwork_audit_principal", "principal_id", "seq"),
    Index("ix_cogwork_audit_target", "target", "seq"),
)
"""Rows are added only: triggers of the migration refuse everything else. ``digest`` is over the row and ``previous``, the
digest of the row before."""
AUDIT_HEAD: Final = Table(
    f"{PREFIX}audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
)
"""One row: the last of the log, which is so known to be missing where somebody has cut it off; writers wait here for each
other."""
