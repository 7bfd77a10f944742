"""The engine as one caller has it: every use is allowed by the caller's role, and what changes something is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cogwork.identity.deeds import AuditLog, Deed
from cogwork.identity.roles import Principal, Verb
from state.values import Json

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine

T = TypeVar("T")
__all__ = ["Acting", "AuditLog"]


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

        A change is in the audit log before it is made; where it cannot be written down, it is not made.

        Raises:
            EngineError: ``permission_denied``, and all that ``work`` raises.
        """
        deed = Deed(
            principal=self.principal,
            verb=verb,
            target=target,
            audit=self.audit,
            door=self.door,
            request_id=self.request_id,
            details=self.details,
        )
        return await deed.perform(lambda: work(self.engine))
