"""The engine as one caller has it: every use is allowed by the caller's role, and what changes something is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from cogwork.errors import EngineError
from cogwork.identity.roles import CHANGING, Principal, Verb
from state.errors import CogworkError
from state.values import Json

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine

T = TypeVar("T")


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
        """Append one entry; ``outcome`` is ``done``, ``denied``, or the code of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """The engine for one caller of one request; all doors use it, none the engine itself."""

    engine: WorkflowEngine
    principal: Principal
    audit: AuditLog
    door: str
    request_id: str
    details: Mapping[str, Json] = field(default_factory=dict)

    async def perform(self, verb: Verb, target: str, work: Callable[[WorkflowEngine], Awaitable[T]]) -> T:
        """What ``work`` comes to, where the role allows the verb; ``target`` names what it is done to.

        Raises:
            EngineError: ``permission_denied``, and all that ``work`` raises.
        """
        outcome = "done"
        try:
            self.principal.require(verb)
            return await work(self.engine)
        except EngineError as error:
            outcome = "denied" if error.code == "permission_denied" else error.code
            raise
        except CogworkError as error:
            outcome = type(error).__name__
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            if verb in CHANGING or outcome == "denied":
                await self.audit.note(
                    self.principal,
                    verb,
                    target,
                    outcome=outcome,
                    door=self.door,
                    request_id=self.request_id,
                    details=self.details,
                )
