"""The executions that are recorded: made, found and moved."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from cogwork.errors import EngineError, not_found
from cogwork.executions.history import note
from cogwork.executions.options import Options
from cogwork.executions.record import Execution, execution_of
from cogwork.executions.statuses import ENDED, IllegalMove, Status, sources
from cogwork.records import Records, payloads
from cogwork.records.tables.executions import EXECUTION_TAGS, EXECUTIONS, SEGMENTS
from cogwork.remote import rows as remotes
from cogwork.remote.rows import Wanted
from state.values import Json


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


def new_id(workflow: str) -> str:
    """An id for an execution of the workflow, which is also that of its thread."""
    return f"{workflow}-{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An execution that is asked for."""

    workflow: str
    input: Json = None
    context: Mapping[str, Json] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    workflow_id: str | None = None
    version: int | None = None
    digest: str = ""
    session_id: str | None = None
    user_id: str | None = None
    parent_id: str | None = None
    batch_id: str | None = None
    origin: str = ""
    id: str | None = None
    """Its id, where the caller has drawn one."""
    remote: Wanted | None = None
    """How it is asked for on another instance, where it is to run there."""

    @property
    def fingerprint(self) -> str:
        """What must be the same where an idempotency key comes again."""
        told = {"workflow": self.workflow, "input": self.input, "overrides": self.options.overrides}
        return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Executions:
    """The executions in the records; ``now`` is their clock."""

    def __init__(self, records: Records, *, now: Callable[[], datetime] = utc_now) -> None:
        self.records, self.now = records, now

    # -- making ----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> tuple[Execution, bool]:
        """Record an execution as pending, with its first stretch; or find the one that its idempotency key means.

        The second value says whether it is new.

        Raises:
            EngineError: ``conflict``, the key came with another request before; ``invalid_input``, the input is too large.
        """
        data = payloads.encoded(request.input, "input")
        row = self._row(request)

        def made(connection: Connection) -> tuple[Execution, bool]:
            if (known := _of_key(connection, request)) is not None:
                return known, False
            digest = payloads.keep_bytes(connection, data)
            made = connection.execute(_INSERTED, {**row, "input": digest}).mappings().one()
            _tag(connection, row["id"], request.options.tags, row["created_at"])
            command = {"kind": "start", "context": dict(request.context)}
            queue_segment(connection, row["id"], 1, command, row["created_at"])
            if request.remote is not None:
                remotes.insert(connection, row["id"], request.remote, secrets.token_hex(16), row["created_at"])
            return execution_of(made, tuple(sorted(request.options.tags))), True

        try:
            return await self.records.writing(made)
        except EngineError as err:
            if isinstance(err.__cause__, IntegrityError):  # Somebody else has the key since we looked.
                return await self.records.writing(made)
            raise

    def _row(self, request: Request) -> dict[str, Any]:
        options, now = request.options, self.now()
        name = request.id or new_id(request.workflow)
        return {
            "id": name,
            "thread": name,
            "workflow": request.workflow,
            "workflow_id": request.workflow_id,
            "version": request.version,
            "digest": request.digest,
            "status": "pending",
            "mode": options.mode,
            "priority": options.priority,
            "tenant": options.tenant,
            "session_id": request.session_id,
            "user_id": request.user_id,
            "idempotency_key": options.idempotency_key,
            "request": request.fingerprint if options.idempotency_key else None,
            "parent_id": request.parent_id,
            "batch_id": request.batch_id,
            "origin": request.origin,
            "options": options.model_dump(mode="json", exclude_defaults=True),
            "metadata": options.metadata,
            "segment": 1,
            "created_at": now,
            "updated_at": now,
            "not_before": options.not_before(now),
            "deadline": options.deadline,
            "wake_at": options.deadline,
        }

    # -- finding ---------------------------------------------------------------------------------------------

    async def get(self, name: str) -> Execution:
        """The execution of that id.

        Raises:
            EngineError: ``execution_not_found``, with the nearest ids.
        """
        return await self.records.reading(lambda connection: found(connection, name))

    async def status_of(self, name: str) -> Status:
        """Its status.

        Raises:
            EngineError: ``execution_not_found``.
        """

        def look(connection: Connection) -> Status:
            status: Status | None = connection.execute(_STATUS, {"name": name}).scalar()
            return status if status is not None else found(connection, name).status

        return await self.records.reading(look)

    async def input_of(self, execution: Execution) -> Json:
        """What it was given."""
        return await self.records.reading(lambda connection: payloads.found(connection, execution.input))

    async def output_of(self, execution: Execution) -> Json:
        """What it came to; None before its end."""
        return await self.records.reading(lambda connection: payloads.found(connection, execution.output))

    # -- moving ----------------------------------------------------------------------------------------------

    async def move(
        self,
        name: str,
        wanted: Status,
        *,
        among: Collection[str] | None = None,
        verb: str = "",
        owner: str | None = None,
        number: int | None = None,
        **changes: Any,
    ) -> Execution:
        """Move the execution to another status, where the table of moves (and ``among``) allows it; of several callers that
        want it to leave the same status one succeeds.

        Raises:
            IllegalMove: it is in a status from which it cannot; ``changes`` are not made.
            EngineError: ``execution_not_found``.
        """
        return await self.records.writing(
            lambda connection: moved(
                connection, name, wanted, self.now(), among=among, verb=verb, owner=owner, number=number, **changes
            )
        )

    async def waits(self, execution: Execution, reason: str) -> None:
        """Say why a pending execution is not taken up; nothing where it is not pending any more, or in another stretch."""
        same = (EXECUTIONS.c.id == execution.id, EXECUTIONS.c.segment == execution.segment)
        said = sa.update(EXECUTIONS).where(*same, EXECUTIONS.c.status == "pending")
        values = {"reason": reason[:64], "updated_at": self.now()}
        await self.records.writing(lambda connection: connection.execute(said.values(**values)))

    async def next_segment(
        self,
        name: str,
        command: Mapping[str, Json] | None,
        *,
        among: Collection[str] = ("paused",),
        number: int | None = None,
        owner: str | None = None,
    ) -> Execution:
        """Let an execution go on: it is pending, with another stretch that begins with ``command``, or, where that is None, with
        what the stretch before began with: nobody knows how much of that was done, and what was is not done again.

        Raises:
            IllegalMove: its status is not ``among`` these, its stretch not ``number``, or it is not ``owner``'s.
        """
        return await self.records.writing(
            lambda connection: _gone_on(connection, name, command, self.now(), among, number, owner)
        )

    async def command_of(self, name: str, number: int) -> dict[str, Json]:
        """What a stretch of the execution begins with."""
        query = sa.select(SEGMENTS.c.command).where(SEGMENTS.c.execution_id == name, SEGMENTS.c.number == number)
        command: dict[str, Json] | None = await self.records.reading(lambda c: c.execute(query).scalar())
        return command if command is not None else {"kind": "go_on"}

    async def unbegun(self, name: str, number: int) -> dict[str, Json] | None:
        """What a stretch of the execution begins with that nobody has taken up; None where somebody has."""
        query = sa.select(SEGMENTS.c.command).where(SEGMENTS.c.execution_id == name, SEGMENTS.c.number == number)
        waiting = query.where(SEGMENTS.c.attempts == 0)
        command: dict[str, Json] | None = await self.records.reading(lambda c: c.execute(waiting).scalar())
        return command


_INSERTED: Final = sa.insert(EXECUTIONS).returning(EXECUTIONS)
_QUEUED: Final = sa.insert(SEGMENTS)
_FOUND: Final = (
    sa.select(EXECUTIONS, EXECUTION_TAGS.c.tag)
    .outerjoin(EXECUTION_TAGS, EXECUTION_TAGS.c.execution_id == EXECUTIONS.c.id)
    .where(EXECUTIONS.c.id == sa.bindparam("name", type_=sa.String))
    .order_by(EXECUTION_TAGS.c.tag)
)
_STATUS: Final = sa.select(EXECUTIONS.c.status).where(EXECUTIONS.c.id == sa.bindparam("name", type_=sa.String))


def found(connection: Connection, name: str) -> Execution:
    """The execution of that id.

    Raises:
        EngineError: ``execution_not_found``, with the nearest ids.
    """
    rows = connection.execute(_FOUND, {"name": name}).mappings().all()
    if not rows:
        raise not_found("execution_not_found", "execution", name, _nearby(connection, name), execution_id=name)
    return execution_of(rows[0], tuple(row["tag"] for row in rows if row["tag"] is not None))


def moved(
    connection: Connection,
    name: str,
    wanted: Status,
    now: datetime,
    *,
    among: Collection[str] | None = None,
    verb: str = "",
    owner: str | None = None,
    number: int | None = None,
    **changes: Any,
) -> Execution:
    """``Executions.move`` within a transaction; with ``owner`` only for whoever holds that token, with ``number`` only in that
    stretch. Whoever worked on it writes nothing more, and its history tells the rest or end that it came to."""
    allowed = [status for status in sources(wanted) if among is None or status in among]
    matching = [EXECUTIONS.c.id == name, EXECUTIONS.c.status.in_(allowed)]
    if owner is not None:
        matching.append(EXECUTIONS.c.owner == owner)
    if number is not None:
        matching.append(EXECUTIONS.c.segment == number)
    values: dict[str, Any] = {"reason": "", "owner": "", **changes, "status": wanted, "updated_at": now}
    values["rev"] = EXECUTIONS.c.rev + 1
    if wanted in ENDED:
        values = {"ended_at": now, "wake_at": None, "questions": None, **values}
    done = connection.execute(sa.update(EXECUTIONS).where(*matching).values(**values))
    if done.rowcount == 0:
        raise IllegalMove(name, found(connection, name).status, wanted, verb)
    execution = found(connection, name)
    note(connection, execution, now)
    return execution


def _gone_on(
    connection: Connection,
    name: str,
    command: Mapping[str, Json] | None,
    now: datetime,
    among: Collection[str],
    number: int | None,
    owner: str | None,
) -> Execution:
    matching = [EXECUTIONS.c.id == name, EXECUTIONS.c.status.in_(among)]
    if number is not None:
        matching.append(EXECUTIONS.c.segment == number)
    if owner is not None:
        matching.append(EXECUTIONS.c.owner == owner)
    values = {"status": "pending", "reason": "", "owner": "", "questions": None, "wake_at": EXECUTIONS.c.deadline}
    counted = {"segment": EXECUTIONS.c.segment + 1, "rev": EXECUTIONS.c.rev + 1, "updated_at": now}
    done = connection.execute(sa.update(EXECUTIONS).where(*matching).values(**values, **counted))
    if done.rowcount == 0:
        raise IllegalMove(name, found(connection, name).status, "running", "resumed")
    execution = found(connection, name)
    if command is None:
        before = (SEGMENTS.c.execution_id == name, SEGMENTS.c.number == execution.segment - 1)
        command = connection.execute(sa.select(SEGMENTS.c.command).where(*before)).scalar()
    queue_segment(connection, name, execution.segment, command or {"kind": "go_on"}, now)
    return execution


def _of_key(connection: Connection, request: Request) -> Execution | None:
    key = request.options.idempotency_key
    if key is None:
        return None
    matching = (EXECUTIONS.c.tenant == request.options.tenant, EXECUTIONS.c.idempotency_key == key)
    row = connection.execute(sa.select(EXECUTIONS.c.id, EXECUTIONS.c.request).where(*matching)).first()
    if row is None:
        return None
    if row.request != request.fingerprint:
        raise EngineError(
            "conflict",
            f"The idempotency key {key!r} belongs to execution {row.id}, which was asked for with another workflow, input "
            "or overrides: use a new key",
            execution_id=row.id,
        )
    return found(connection, row.id)


def _nearby(connection: Connection, name: str) -> list[str]:
    """Ids that begin alike, and the latest ones."""
    like = name[:8].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    alike = sa.select(EXECUTIONS.c.id).where(EXECUTIONS.c.id.like(like, escape="\\")).limit(50)
    latest = sa.select(EXECUTIONS.c.id).order_by(EXECUTIONS.c.created_at.desc(), EXECUTIONS.c.id.desc()).limit(50)
    return [*connection.execute(alike).scalars(), *connection.execute(latest).scalars()]


def _tag(connection: Connection, name: str, tags: Iterable[str], at: datetime) -> None:
    rows = [{"execution_id": name, "tag": tag, "created_at": at} for tag in tags]
    if rows:
        connection.execute(sa.insert(EXECUTION_TAGS), rows)


def queue_segment(connection: Connection, name: str, number: int, command: Mapping[str, Json], at: datetime) -> None:
    """Note the next stretch of the execution."""
    row = {"execution_id": name, "number": number, "command": dict(command), "queued_at": at}
    connection.execute(_QUEUED, row)
