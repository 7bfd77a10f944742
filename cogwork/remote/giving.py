"""Giving an execution to an instance: once, however often that is asked, and to another only where that does nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cogwork.executions.record import Execution
from cogwork.executions.store import Executions
from cogwork.remote import ends, rows
from cogwork.remote.instance import Instance, Refused
from cogwork.remote.instances import Instances
from cogwork.remote.placing import forwarded
from cogwork.remote.rows import Remote
from cogwork.remote.sections import Policy, RemoteSection
from state.durable import Request
from state.errors import Fault
from state.events import Event

PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Giving:
    """One execution on its way to an instance; ``row`` says how far it is, and is written before anything is asked."""

    execution: Execution
    row: Remote
    executions: Executions
    instances: Instances
    section: RemoteSection
    asked: Callable[[], Awaitable[Request | None]]
    avoid: frozenset[str] = frozenset()
    troubles: dict[str, Refused | Fault] = field(default_factory=dict)

    async def done(self) -> Event | None:
        """None once an instance has begun it (``row`` says which); else why none has, as the last event.

        Raises:
            Lost: an instance was asked, and does not say whether it has begun it.
        """
        until, pause = _clock() + self.section.lost_after, PAUSE
        while self.row.state != "begun":
            if (wish := await self.asked()) is not None and self.row.state == "new":
                return ends.unbegun(self.row, wish)
            tried = await self._round(wish)
            if tried is None:
                return None
            if self.row.state == "new" and not any(map(_passes, self.troubles.values())):
                return ends.nowhere(self.row, self.troubles)
            if _clock() > until:
                if self.row.state == "new":
                    return ends.nowhere(self.row, self.troubles)
                raise Lost(tried)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return None

    async def _round(self, wish: Request | None) -> Exception | None:
        """Ask the one that was asked before, else each that may be in turn; None once one has begun it, else the last trouble."""
        if self._is_asked:
            instance = self.instances.get(self.row.instance)
            if instance is None:
                return Fault(
                    "unavailable", f"The settings name no instance {self.row.instance} any more", origin="tool"
                )
            return await self._given(instance, again=True)
        trouble: Exception = Fault("unavailable", "there is no instance that may run it", origin="tool")
        for instance in await self._candidates():
            instance.starting += 1
            try:
                found = await self._given(instance, again=False)
            finally:
                instance.starting -= 1
            if found is None or self._is_asked:
                return found
            trouble = found
        return trouble

    @property
    def _is_asked(self) -> bool:
        """Whether an instance may have begun it."""
        return self.row.state == "asked"

    async def _candidates(self) -> list[Instance]:
        """The instances that may run it, in the order of the policy."""
        options = self.execution.options
        if (target := options.get("target")) is not None:
            return [self.instances[target]] if target in self.instances else []
        names = self.instances.having({*self.row.labels, *(options.get("labels") or ())})
        kept = [name for name in names if name not in self.avoid]
        policy: Policy = options.get("policy") or self.section.policy
        return await self.instances.order(policy, kept)

    async def _given(self, instance: Instance, *, again: bool) -> Exception | None:
        """Ask one instance; None where it has begun it. ``again`` says that it may have when it was asked before, so that its
        refusal says nothing about that."""
        body = await self._body()
        if not again:
            await self._note(instance=instance.name, state="asked")
        try:
            begun = await instance.start(body, self.row.key)
        except (Refused, Fault) as trouble:
            self.troubles[instance.name] = trouble
            nothing_done = isinstance(trouble, Refused) or trouble.fault_class in ("unavailable", "permission_denied")
            if nothing_done and not again:
                await self._note(instance="", state="new")
            return trouble
        await self._note(state="begun", remote_id=begun.execution_id, number=0, segment=0)
        return None

    async def _body(self) -> Mapping[str, Any]:
        return {
            "workflow": self.row.workflow,
            "input": await self.executions.input_of(self.execution) or {},
            "options": forwarded(self.execution.options, isolated=self.row.isolated),
        }

    async def _note(self, **changes: Any) -> None:
        now = self.executions.now()
        self.row = await self.executions.records.writing(
            lambda connection: rows.changed(connection, self.execution.id, now, **changes)
        )


class Lost(Exception):
    """An instance has been silent for too long; ``trouble`` is the last that was heard of it."""

    def __init__(self, trouble: Exception) -> None:
        self.trouble = trouble
        super().__init__(str(trouble))


def _passes(trouble: Refused | Fault) -> bool:
    """Whether it may be otherwise in a moment."""
    return trouble.busy if isinstance(trouble, Refused) else trouble.fault_class == "unavailable"


def _clock() -> float:
    return asyncio.get_running_loop().time()
