"""A deed: allowed by the role of who does it, and written down before and after."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from cogwork.errors import EngineError
from cogwork.identity.roles import CHANGING, Principal, Verb
from state.errors import CogworkError
from state.values import Json

T = TypeVar("T")
BEGUN: Final = "begun"
"""The outcome of the entry that stands in the log before anything is changed."""
END_SECONDS: Final = 30.0
"""How long it is tried to write down the end of what a caller no longer waits for."""
_log = logging.getLogger(__name__)


class AuditLog(Protocol):
    """Where it is written down who did what."""

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
        """Append one entry; ``outcome`` is ``begun``, ``done``, ``denied``, ``cancelled``, or the code of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody is about to do, and to what."""

    principal: Principal
    verb: Verb
    target: str
    audit: AuditLog
    door: str
    request_id: str
    details: Mapping[str, Json] = field(default_factory=dict)

    async def perform(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` comes to, where the role allows the verb.

        Of what changes something it is written down first that it has begun: where that cannot be, it is not done. What
        cannot be written down of its end is told to the log of the program, and the entry of its beginning stays without one.

        Raises:
            EngineError: ``permission_denied``, ``database_error`` before anything is done, and all that ``work`` raises.
        """
        if not self.principal.may(self.verb):
            await self._note("denied")
            self.principal.require(self.verb)
        if self.verb in CHANGING:
            await self._note(BEGUN)
        outcome = "done"
        try:
            return await work()
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            if self.verb in CHANGING or outcome == "denied":
                await self._end(outcome)

    async def _note(self, outcome: str) -> None:
        await self.audit.note(
            self.principal,
            self.verb,
            self.target,
            outcome=outcome,
            door=self.door,
            request_id=self.request_id,
            details=self.details,
        )

    async def _end(self, outcome: str) -> None:
        """Write down how it ended, although the caller may have gone."""
        from anyio import move_on_after

        with move_on_after(END_SECONDS, shield=True) as scope:
            try:
                await self._note(outcome)
            except EngineError as err:
                _log.error("The end of %s of %s is not in the audit log: %s", self.verb, self.request_id, err)
        if scope.cancelled_caught:
            _log.error("The end of %s of %s is not in the audit log: it took too long", self.verb, self.request_id)


def outcome_of(error: BaseException) -> str:
    """What is written down of an error: its code, or its kind; never its words."""
    import asyncio

    match error:
        case EngineError(code="permission_denied"):
            return "denied"
        case EngineError():
            return error.code
        case CogworkError():
            return type(error).__name__
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return "failed"
