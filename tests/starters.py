"""An engine for schedules and triggers: starts nothing, remembers everything, and dies where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cogwork.errors import EngineError


class Died(BaseException):
    """The process is gone."""


class FakeEngine:
    """Starts an execution per key; ``lasts`` says how long each is open.

    ``dies`` is asked before and behind each start whether the process dies there; ``refuses`` gives the error of a start.
    """

    def __init__(self, now: Callable[[], datetime], lasts: timedelta = timedelta(0)) -> None:
        self.now, self.lasts = now, lasts
        self.started: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.dies: Callable[[str], bool] = lambda where: False
        self.refuses: Callable[[str], Exception | None] = lambda key: None

    async def start(
        self, workflow: str, version: str, input: Any, options: dict[str, Any], *, idempotency_key: str, origin: str
    ) -> str:
        self.calls.append(idempotency_key)
        if self.dies("before"):
            raise Died
        if (error := self.refuses(idempotency_key)) is not None:
            raise error
        asked = {"workflow": workflow, "version": version, "input": input, "options": options, "origin": origin}
        known = self.started.setdefault(idempotency_key, {**asked, "at": self.now(), "cancelled": False})
        if {name: known[name] for name in asked} != asked:
            raise EngineError("conflict", "another request under the same key")
        if self.dies("behind"):
            raise Died
        return f"exec-{idempotency_key}"

    def is_open(self, key: str) -> bool:
        known = self.started[key]
        return not known["cancelled"] and self.now() < known["at"] + self.lasts

    async def open_of(self, origin: str) -> list[str]:
        return [f"exec-{key}" for key, known in self.started.items() if known["origin"] == origin and self.is_open(key)]

    async def cancel(self, execution_id: str) -> None:
        self.started[execution_id.removeprefix("exec-")]["cancelled"] = True


class Clock:
    """The time of a test."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def ahead(self, **time: float) -> None:
        self.at += timedelta(**time)
