"""The audit log: who did what, when, through which door, and what came of it; it only grows."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.executions.store import utc_now
from cogwork.identity import bounding
from cogwork.identity.appending import Appending
from cogwork.identity.chain import Broken, Entry, Followed, Mark, entry_of, follow
from cogwork.identity.exporting import write_lines
from cogwork.identity.roles import Principal, Verb
from cogwork.records import Records
from cogwork.records.columns import EPOCH, instant
from cogwork.records.pages import MAX_LIMIT, Page, Place, opened_place, sealed_place
from cogwork.records.tables.identity import AUDIT, AUDIT_HEAD
from state.values import Json

_AT_ONCE: Final = 1000
_UNREAD: Final = [
    sa.type_coerce(column, sa.Text if column.name == "details" else sa.BigInteger).label(column.name)
    if isinstance(column.type, sa.types.TypeDecorator)
    else column
    for column in AUDIT.c
]
"""The columns as they are stored: what somebody has altered need not be readable."""


class Audit:
    """The audit log of the records.

    ``hide`` is asked to take known secrets out of details, as ``SecretStore.redact`` does; tokens, what is called a secret,
    and inputs, outputs and answers are never written down.
    """

    def __init__(
        self,
        records: Records,
        now: Callable[[], datetime] = utc_now,
        hide: Callable[[Json], Json] | None = None,
    ) -> None:
        self._records, self._now, self._hide = records, now, hide
        self._appending = Appending(records)

    async def note(
        self,
        principal: Principal,
        verb: Verb,
        target: str,
        *,
        outcome: str,
        door: str,
        request_id: str,
        details: Mapping[str, Json],
    ) -> None:
        """Append one entry; it is on disk when this returns. Texts are cut to what their columns hold.

        Raises:
            EngineError: ``database_error``; it is not.
        """
        seen: Any = [target, dict(details)]
        seen = self._hide(seen) if self._hide is not None else seen
        entry = Entry(
            seq=0,
            at=self._now(),
            principal_id=bounding.line(principal.id, 255),
            principal_name=bounding.line(principal.name, 255),
            role=principal.role,
            via=bounding.line(principal.via, 32),
            verb=verb,
            target=bounding.line(seen[0], 512),
            outcome=bounding.line(outcome, 48),
            door=bounding.line(door, 32),
            request_id=bounding.line(request_id, 128),
            details=bounding.details(seen[1]),
        )
        await self._appending.put(entry)

    # -- reading ---------------------------------------------------------------------------------------------

    async def entries(
        self,
        *,
        principal: str | None = None,
        verb: str | None = None,
        outcome: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Entry]:
        """The entries, the latest first, that are of this principal (by id or name), verb, outcome and target, and not before
        ``since`` nor at or after ``until``.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise EngineError("invalid_input", f"limit is {limit!r}: it must be a number from 1 to {MAX_LIMIT}")
        plain = {"verb": verb, "outcome": outcome, "target": target}
        wanted = [AUDIT.c[name] == value for name, value in plain.items() if value is not None]
        if principal is not None:
            wanted.append(sa.or_(AUDIT.c.principal_id == principal, AUDIT.c.principal_name == principal))
        wanted += [AUDIT.c.at >= since] if since is not None else []
        wanted += [AUDIT.c.at < until] if until is not None else []
        filters = {**plain, "list": "audit", "principal": principal, "since": since, "until": until}
        return await self._records.reading(lambda c: _page(c, wanted, filters, limit, cursor))

    async def head(self) -> Mark:
        """The last entry's number and digest: kept elsewhere, it proves later that all before is unchanged.

        Raises:
            EngineError: ``database_error``; somebody has taken it away.
        """
        return await self._records.reading(_head)

    async def verify_chain(self, begin: Mark | None = None) -> Followed:
        """Follow the chain from its beginning, or from the entry after ``begin``, to its end.

        A mark that was kept is itself looked at: where another entry stands there, the chain is broken at it. Where none does,
        because what came until then was archived, the entry after it tells.
        """
        total, last = 0, begin or Mark()
        if begin is not None and (why := await self._unlike(begin)) is not None:
            return Followed(0, begin, why)
        while True:
            head = await self.head()
            rows = await self._after(last.seq)
            followed = follow(rows, last)
            total, last = total + followed.entries, followed.last
            if followed.broken is not None:
                return Followed(total, last, followed.broken)
            if head.seq > last.seq and not rows:
                return Followed(total, last, Broken(last.seq + 1, "it is missing"))
            if not rows:
                return Followed(total, last, _beyond(await self.head(), last))

    async def lines(self, begin: int = 0) -> AsyncIterator[str]:
        """Each entry after number ``begin`` as a line of JSON, the oldest first, up to the last one of now."""
        last, head = begin, (await self.head()).seq
        while rows := [row for row in await self._after(last) if row.seq <= head]:
            for row in rows:
                yield json.dumps(row.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n"
            last = rows[-1].seq

    async def export(self, path: str | os.PathLike[str], begin: int = 0) -> Mark | None:
        """Write the entries after number ``begin`` to a file as JSON Lines; the mark of the last one, None where there is none.

        The file is there whole or not at all; one that is there is not written over.

        Raises:
            EngineError: ``conflict``; there is such a file.
            OSError: it cannot be written.
        """
        last = await write_lines(path, self.lines(begin))
        told = json.loads(last) if last is not None else None
        return Mark(told["seq"], told["digest"]) if told is not None else None

    async def _unlike(self, mark: Mark) -> Broken | None:
        """What is wrong about the place of a mark that was kept."""
        query = sa.select(AUDIT.c.digest).where(AUDIT.c.seq == mark.seq)
        found = await self._records.reading(lambda connection: connection.execute(query).scalar())
        if found is not None and found != mark.digest:
            return Broken(mark.seq, "another one stands there")
        head = await self.head()
        return Broken(head.seq + 1, "it is missing") if head.seq < mark.seq else None

    async def _after(self, seq: int) -> list[Entry]:
        query = sa.select(*_UNREAD).where(AUDIT.c.seq > seq).order_by(AUDIT.c.seq).limit(_AT_ONCE)
        return await self._records.reading(lambda c: [_read(dict(row)) for row in c.execute(query).mappings()])

    def close(self) -> None:
        """Write what waits to be written."""
        self._appending.close()


def _page(
    connection: Connection, wanted: Sequence[Any], filters: Mapping[str, Any], limit: int, cursor: str | None
) -> Page[Entry]:
    query = sa.select(AUDIT).where(*wanted).order_by(AUDIT.c.seq.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(AUDIT.c.seq < int(opened_place(connection, cursor, filters).key))
    found = [entry_of(dict(row)) for row in connection.execute(query).mappings()]
    shown = tuple(found[:limit])
    more = len(found) > limit
    return Page(shown, sealed_place(connection, Place(0, str(shown[-1].seq)), filters) if more else None)


def _read(row: Mapping[str, Any]) -> Entry:
    """The entry of a row; one that nobody can have written is made to fit no digest."""
    told = dict(row)
    try:
        return entry_of({**told, "at": instant(told["at"]), "details": json.loads(told["details"])})
    except (ValueError, TypeError, OverflowError, RecursionError):
        return entry_of({**told, "at": EPOCH, "details": {}, "digest": ""})


def _head(connection: Connection) -> Mark:
    found = connection.execute(sa.select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.digest).where(AUDIT_HEAD.c.id == 1)).first()
    if found is None:
        raise EngineError(
            "database_error", "The audit log has lost its head: somebody has changed the database by hand"
        )
    return Mark(found.seq, found.digest)


def _beyond(head: Mark, last: Mark) -> Broken | None:
    """What the head says of the last row, when both were read after all rows."""
    if head.seq < last.seq:
        return Broken(head.seq + 1, "it was put in by somebody else than the log")
    if head.seq == last.seq and head.digest != last.digest:
        return Broken(last.seq, "it was altered")
    return None
