"""Bearer tokens: made once, shown once, kept as digests, and verified on every request."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from cogwork.errors import EngineError, Unauthenticated, not_found
from cogwork.executions.store import utc_now
from cogwork.identity import token_text
from cogwork.identity.roles import Principal, Role
from cogwork.identity.token_rows import (
    LONGEST_SECONDS,
    Token,
    checked_metadata,
    checked_name,
    checked_role,
    end_after,
    token_of,
)
from cogwork.identity.verified import Verified
from cogwork.records import Records
from cogwork.records.pages import Page, paged
from cogwork.records.tables.identity import TOKENS

USE_NOTED_EVERY: Final = timedelta(minutes=1)
GRACE_SECONDS: Final = 3600.0
"""How long the secret before a rotation holds, where nothing else is said."""
_NOBODYS: Final = token_text.digest("")
_log = logging.getLogger(__name__)


class Tokens:
    """The tokens of the records.

    ``verify`` believes what it has found for at most ``verified.SECONDS``: as long may a token be taken that another process
    has revoked.
    """

    def __init__(
        self, records: Records, now: Callable[[], datetime] = utc_now, verified: Verified | None = None
    ) -> None:
        self._records, self._now = records, now
        self._verified = verified or Verified()

    # -- making and ending -----------------------------------------------------------------------------------

    async def create(
        self, name: str, role: Role, *, expires_in: float | None, metadata: Mapping[str, str] | None = None
    ) -> tuple[str, Token]:
        """The text that its holder shows, which is kept nowhere, and the token; it expires in so many seconds, or never.

        Raises:
            EngineError: ``invalid_input``; ``conflict`` where a token of that name is not revoked.
        """
        at, secret = self._now(), token_text.new_secret()
        row: dict[str, Any] = {
            "id": token_text.new_id(),
            "name": checked_name(name),
            "role": checked_role(role),
            "metadata": checked_metadata(metadata or {}),
            "created_at": at,
            "expires_at": end_after(at, expires_in),
        }
        await self._records.writing(lambda c: _insert(c, {**row, "secret": token_text.digest(secret)}))
        return token_text.text_of(row["id"], secret), token_of(row)

    async def rotate(
        self, id: str, *, grace: float = GRACE_SECONDS, expires_in: float | None = None
    ) -> tuple[str, Token]:
        """A new secret for the token; the one before holds for ``grace`` seconds more, any earlier one no longer.

        With ``expires_in`` the token expires in so many seconds, else when it would have.

        Raises:
            EngineError: ``token_not_found``, ``invalid_input``, or ``conflict`` where it is revoked.
        """
        if not 0 <= grace <= LONGEST_SECONDS:
            raise EngineError("invalid_input", "grace is a number of seconds, 0 or more")
        at, secret = self._now(), token_text.new_secret()
        change: dict[str, Any] = {"secret": token_text.digest(secret), "earlier_until": at + timedelta(seconds=grace)}
        if expires_in is not None:
            change["expires_at"] = end_after(at, expires_in)

        def write(connection: Connection) -> Token:
            if _found(connection, id).revoked_at is not None:
                raise EngineError("conflict", f"The token {id} is revoked: make a new one", id=id)
            connection.execute(
                sa.update(TOKENS).where(TOKENS.c.id == id).values(earlier_secret=TOKENS.c.secret, **change)
            )
            return _found(connection, id)

        token = await self._records.writing(write)
        self._verified.forget(id)
        return token_text.text_of(id, secret), token

    async def revoke(self, id: str) -> Token:
        """End a token for good; one that has been revoked stays as it is.

        Raises:
            EngineError: ``token_not_found``.
        """
        at = self._now()

        def write(connection: Connection) -> Token:
            holds = sa.and_(TOKENS.c.id == id, TOKENS.c.revoked_at.is_(None))
            connection.execute(sa.update(TOKENS).where(holds).values(revoked_at=at))
            return _found(connection, id)

        token = await self._records.writing(write)
        self._verified.forget(id)
        return token

    # -- looking ---------------------------------------------------------------------------------------------

    async def named(self, name: str) -> Token:
        """The token of that id, else the one that is not revoked of that name.

        Raises:
            EngineError: ``token_not_found``.
        """

        def read(connection: Connection) -> Token:
            in_force = TOKENS.c.revoked_at.is_(None)
            is_it = sa.or_(TOKENS.c.id == name, sa.and_(TOKENS.c.name == name, in_force))
            rows = connection.execute(sa.select(TOKENS).where(is_it)).mappings().all()
            if not rows:
                names = connection.execute(sa.select(TOKENS.c.name).where(in_force).limit(1000)).scalars()
                raise not_found("token_not_found", "token", name, names)
            return min((token_of(dict(row)) for row in rows), key=lambda token: token.id != name)

        return await self._records.reading(read)

    async def list(
        self, *, role: Role | None = None, ended: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[Token]:
        """The tokens, the latest first; ``ended`` whether those too that are revoked or expired.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        query = sa.select(TOKENS)
        query = query.where(TOKENS.c.role == checked_role(role)) if role is not None else query
        goes_on = sa.or_(TOKENS.c.expires_at.is_(None), TOKENS.c.expires_at > self._now())
        query = query if ended else query.where(TOKENS.c.revoked_at.is_(None), goes_on)
        filters = {"list": "tokens", "role": role, "ended": ended}
        page = await self._records.reading(
            lambda c: paged(c, query, TOKENS.c.created_at, TOKENS.c.id, filters=filters, limit=limit, cursor=cursor)
        )
        return page.map(token_of)

    # -- verifying -------------------------------------------------------------------------------------------

    async def verify(self, text: str) -> Principal:
        """Who shows this text.

        Raises:
            Unauthenticated: it is no token, or one that is unknown, expired or revoked; only its ``reason`` says which.
            EngineError: ``database_error``.
        """
        at, since = self._now(), self._verified.clock()
        given = token_text.read(text)
        if given is None:
            raise _refused("malformed")
        known = self._verified.get(text)
        if known is not None and (known.expires_at is None or at < known.expires_at):
            return known
        id, secret = given
        row = await self._records.reading(
            lambda c: c.execute(sa.select(TOKENS).where(TOKENS.c.id == id)).mappings().one_or_none()
        )
        token, until = _proven(dict(row) if row is not None else None, secret, at)
        await self._used(token, at)
        principal = token.principal(until)
        self._verified.put(text, principal, since)
        return principal

    async def _used(self, token: Token, at: datetime) -> None:
        """Write down that it was used; a database that cannot be written to does not end what may still be read."""
        due = at - USE_NOTED_EVERY
        if token.last_used_at is not None and token.last_used_at > due:
            return
        stale = sa.or_(TOKENS.c.last_used_at.is_(None), TOKENS.c.last_used_at <= due)
        update = sa.update(TOKENS).where(TOKENS.c.id == token.id, stale).values(last_used_at=at)
        try:
            await self._records.writing(lambda connection: connection.execute(update))
        except EngineError as err:
            _log.warning("The use of the token %s could not be written down: %s", token.id, err)


def _proven(row: Mapping[str, Any] | None, secret: str, at: datetime) -> tuple[Token, datetime | None]:
    """The token of the row if the secret is its own, and until when where that is one from before a rotation.

    As many digests are compared, in constant time, whether there is a row or not.
    """
    given = token_text.digest(secret)
    kept, earlier = (row["secret"], row["earlier_secret"] or _NOBODYS) if row is not None else (_NOBODYS, _NOBODYS)
    current, former = hmac.compare_digest(given, kept), hmac.compare_digest(given, earlier)
    if row is None or not (current or former):
        raise _refused("unknown")
    token = token_of(row)
    if (state := token.state(at)) != "valid":
        raise _refused(state, token.id)
    until = None if current else token.earlier_until
    if until is not None and at >= until:
        raise _refused("rotated", token.id)
    return token, until


def _refused(reason: str, id: str = "") -> Unauthenticated:
    _log.info("A token was refused: %s %s", reason, id)
    return Unauthenticated(reason)


def _insert(connection: Connection, row: Mapping[str, Any]) -> None:
    try:
        connection.execute(sa.insert(TOKENS).values(**row))
    except IntegrityError as err:
        name = row["name"]
        message = f"There is a token {name!r} already: revoke it first, or choose another name"
        raise EngineError("conflict", message, name=name) from err


def _found(connection: Connection, id: str) -> Token:
    row = connection.execute(sa.select(TOKENS).where(TOKENS.c.id == id)).mappings().one_or_none()
    if row is None:
        raise not_found("token_not_found", "token", id)
    return token_of(dict(row))
