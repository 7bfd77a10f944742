"""What happened in a session, counted from the records."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, TOPICS
from cogwork.sessions.records import Session, SessionMetrics


def session_metrics(connection: Connection, session: Session, at: datetime) -> SessionMetrics:
    """The counts and durations of a session up to ``at``."""
    theirs = sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.session_id == session.id)
    roles = _counted(connection, MESSAGES.c.role, MESSAGES.c.conversation_id.in_(theirs))
    statuses = _counted(connection, EXECUTIONS.c.status, EXECUTIONS.c.session_id == session.id)
    span = sa.type_coerce(EXECUTIONS.c.ended_at, sa.BigInteger) - sa.type_coerce(EXECUTIONS.c.started_at, sa.BigInteger)
    worked = connection.execute(sa.select(sa.func.sum(span)).where(EXECUTIONS.c.session_id == session.id)).scalar()
    until = session.ended_at or (session.expires_at if session.status == "expired" else None) or at
    return SessionMetrics(
        conversations=_number(connection, CONVERSATIONS.c.session_id == session.id, CONVERSATIONS),
        topics=_number(connection, TOPICS.c.conversation_id.in_(theirs), TOPICS),
        messages=sum(roles.values()),
        messages_by_role=roles,
        executions=sum(statuses.values()),
        executions_by_status=statuses,
        seconds=(until - session.created_at).total_seconds(),
        idle_seconds=max(0.0, (until - session.active_at).total_seconds()),
        working_seconds=float(worked or 0) / 1_000_000,
    )


def _counted(connection: Connection, column: sa.Column[str], where: sa.ColumnElement[bool]) -> dict[str, int]:
    rows = connection.execute(sa.select(column, sa.func.count()).where(where).group_by(column).order_by(column))
    return {str(name): int(count) for name, count in rows}


def _number(connection: Connection, where: sa.ColumnElement[bool], table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(where)).scalar_one())
