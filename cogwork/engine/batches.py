"""Batches: many executions of one workflow that are asked for, watched and ended together."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cogwork.engine.dispatch import Dispatch
from cogwork.errors import EngineError, not_found
from cogwork.executions.listing import Filter, counts, listed
from cogwork.executions.statuses import ENDED, OPEN, IllegalMove
from cogwork.executions.store import Request
from cogwork.records.tables.executions import BATCHES
from state.values import Json

MOST: Final = 100_000
AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it stands: how many executions of it have which status."""

    id: str
    name: str
    total: int
    counts: Mapping[str, int]
    created_at: datetime

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self.counts.get(status, 0) for status in ENDED)

    @property
    def done(self) -> bool:
        """Whether all have."""
        return self.ended >= self.total

    def to_dict(self) -> dict[str, Json]:
        """The batch as plain JSON; ``progress`` goes from 0 to 1."""
        return {
            "batch_id": self.id,
            "name": self.name,
            "total": self.total,
            "counts": dict(self.counts),
            "ended": self.ended,
            "progress": self.ended / self.total if self.total else 1.0,
            "done": self.done,
            "created_at": self.created_at.isoformat(),
        }


class Batches:
    """Batches of executions through the queue."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch, self._executions = dispatch, dispatch.executions

    async def start(self, requests: Sequence[Request], name: str = "", key: str | None = None) -> Batch:
        """Ask for all of them; those that had been asked for under their idempotency keys before are not asked for again.

        With a ``key`` of its own the same batch is asked for once: whoever asks again completes what was not asked for yet.

        Raises:
            EngineError: ``invalid_input``, there are none, or too many; ``conflict``, the key came with another batch before.
        """
        if not 1 <= len(requests) <= MOST:
            raise EngineError("invalid_input", f"A batch has from 1 to {MOST:,} executions, not {len(requests):,}")
        batch = f"batch-{secrets.token_hex(6) if key is None else _digest(key)[:24]}"
        if key is not None:
            requests = [_keyed(request, batch, number) for number, request in enumerate(requests)]
        asked = _digest(*(request.fingerprint for request in requests))
        row = {
            "id": batch,
            "name": name[:255],
            "total": len(requests),
            "options": {"asked": asked},
            "created_at": self._executions.now(),
        }
        if key is None or not await self._known(batch, asked):
            await self._made(row)
        for first in range(0, len(requests), AT_ONCE):
            some = [replace(request, batch_id=batch) for request in requests[first : first + AT_ONCE]]
            await asyncio.gather(*(self._dispatch.start(request) for request in some))
        return await self.get(batch)

    async def _known(self, batch: str, asked: str) -> bool:
        """Whether the batch is there.

        Raises:
            EngineError: ``conflict``; it is another one.
        """
        query = sa.select(BATCHES.c.options).where(BATCHES.c.id == batch)
        found = await self._executions.records.reading(lambda c: c.execute(query).scalar())
        if found is not None and found.get("asked") != asked:
            told = f"The idempotency key belongs to batch {batch}, which was asked for with others: use a new key"
            raise EngineError("conflict", told, batch_id=batch)
        return found is not None

    async def _made(self, row: dict[str, Any]) -> None:
        try:
            await self._executions.records.writing(lambda c: c.execute(sa.insert(BATCHES).values(**row)))
        except EngineError as err:
            known = isinstance(err.__cause__, IntegrityError)  # Somebody else has the key since we looked.
            if not known or not await self._known(row["id"], row["options"]["asked"]):
                raise

    async def get(self, batch: str) -> Batch:
        """The batch as it stands.

        Raises:
            EngineError: ``batch_not_found``.
        """

        def look(connection: Any) -> Batch:
            row = connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch)).mappings().first()
            if row is None:
                latest = sa.select(BATCHES.c.id).order_by(BATCHES.c.created_at.desc()).limit(50)
                raise not_found("batch_not_found", "batch", batch, connection.execute(latest).scalars())
            about = {name: row[name] for name in ("id", "name", "total", "created_at")}
            return Batch(**about, counts=counts(connection, batch_id=batch))

        return await self._executions.records.reading(look)

    async def cancel(self, batch: str, reason: str = "") -> Batch:
        """End all of its executions that are open."""
        await self.get(batch)
        cursor, wanted = None, Filter(batch_id=batch, status=OPEN)
        while True:
            page = await self._executions.records.reading(partial(listed, wanted=wanted, limit=100, cursor=cursor))
            for execution in page.items:
                with suppress(IllegalMove):
                    await self._dispatch.cancel(execution.id, reason)
            if (cursor := page.cursor) is None:
                return await self.get(batch)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _keyed(request: Request, batch: str, number: int) -> Request:
    """The request under a key of its own, where it has none: asked for again with its batch, it is the same execution."""
    if request.options.idempotency_key is not None:
        return request
    return replace(request, options=request.options.model_copy(update={"idempotency_key": f"{batch}/{number}"}))
