"""The calls of one run: a finished one is answered from the record, an interrupted write is never made again blindly.

When the disk is waited for:

    a write that must not be repeated   its intent is on disk before the call
    any other call                      nothing is written before it: called again it does no harm
    results and failures                handed to the store at once, which writes in order, so that they are on disk no
                                        later than the step's own end; a call without effect leaves only its failures
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from nodes.execution import Do
from nodes.reuse import digest
from state.durable import CallRecord, RecordedCall
from state.errors import Fault, InDoubt, Unrecorded
from state.services import Effect
from state.values import Json

SHOWN_ARGS = 4_000
"""The longest arguments, in characters of JSON, that are recorded whole."""


class Recording:
    """What the calls of one run go through, within one call of its graph.

    Args:
        thread: the thread that the run belongs to.
        run: the run's id.
        record: where calls are kept.
        known: what the record holds of the run (``CallRecord.of_run``).
        now: the clock.
    """

    def __init__(
        self,
        thread: str,
        run: str,
        record: CallRecord,
        known: Mapping[str, RecordedCall],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.thread, self.run, self.record, self.now = thread, run, record, now
        self._known = dict(known)
        self._writing: set[asyncio.Task[None]] = set()
        self._broken: Unrecorded | None = None

    def known(self, key: str) -> RecordedCall | None:
        """The call of that key, as it was last recorded."""
        return self._known.get(key)

    async def once(
        self,
        key: str,
        *,
        step: str,
        target: str,
        effect: Effect,
        repeatable: bool,
        attempt: int,
        args: Json,
        do: Do,
    ) -> Json:
        """The recorded result, else that of ``do``.

        A call that is cut off, or leaves a doubt, stays ``begun``.

        Raises:
            InDoubt: it was begun before, nobody knows how it ended, and it must not be repeated; or ``do`` says so.
            Fault: of ``do``, recorded.
            Unrecorded: the intent, or what was written before, could not be written; nothing was called.
        """
        known = self._known.get(key)
        if known is not None and known.status == "done":
            return known.result
        if known is not None and known.status == "begun" and not known.repeatable:
            raise _interrupted(known)
        call = RecordedCall(
            key=key,
            run=self.run,
            step=step,
            target=target,
            effect=effect,
            repeatable=repeatable,
            attempt=attempt,
            args=shortened(args),
            begun_at=self._stamp(),
        )
        await self._begin(call)
        try:
            result = await do()
        except InDoubt:
            raise
        except Fault as fault:
            self.failed(key, fault)
            raise
        self._end(replace(call, status="done", result=result, ended_at=self._stamp()))
        return result

    def failed(self, key: str, fault: Fault) -> None:
        """The attempt that was begun last has surely failed."""
        error = fault.record(node=self._known[key].step)
        self._end(replace(self._known[key], status="failed", error=error, ended_at=self._stamp()), needed=True)

    async def take(self, key: str, result: Json) -> None:
        """A person says that the call was done, with this result."""
        call = replace(self._known[key], status="done", result=result, ended_at=self._stamp())
        self._known[key] = call
        await self._kept(key, self.record.keep(self.thread, call))

    async def forget(self, key: str) -> None:
        """A person says that the call was not done: it may be made anew."""
        self._known.pop(key, None)
        await self._kept(key, self.record.forget(self.thread, key))

    async def flush(self) -> None:
        """Wait until all that was recorded is on disk.

        Raises:
            Unrecorded: some of it could not be written.
        """
        while self._writing:
            await asyncio.wait(self._writing)
        if self._broken is not None:
            raise self._broken

    async def _begin(self, call: RecordedCall) -> None:
        """Note the intent; on disk where the call must not be repeated."""
        if self._broken is not None:
            raise self._broken
        before, self._known[call.key] = self._known.get(call.key), call
        if call.repeatable:
            return
        writing = self._write(call.key, self.record.keep(self.thread, call))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._restore(call.key, before)
            self._write(call.key, self._withdrawn(call.key, before, writing))
            raise
        if self._broken is not None:
            self._restore(call.key, before)
            raise self._broken

    def _restore(self, key: str, before: RecordedCall | None) -> None:
        if before is None:
            del self._known[key]
        else:
            self._known[key] = before

    async def _withdrawn(self, key: str, before: RecordedCall | None, writing: asyncio.Task[None]) -> None:
        """Take back an intent whose call was cancelled before it was made."""
        await asyncio.wait((writing,))
        if before is None:
            await self.record.forget(self.thread, key)
        else:
            await self.record.keep(self.thread, before)

    def _end(self, call: RecordedCall, *, needed: bool = False) -> None:
        self._known[call.key] = call
        if needed or call.effect != "none":
            self._write(call.key, self.record.keep(self.thread, call))

    def _write(self, key: str, writing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._noted(key, writing))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _noted(self, key: str, writing: Coroutine[Any, Any, None]) -> None:
        try:
            await self._kept(key, writing)
        except Unrecorded as error:
            self._broken = self._broken or error

    async def _kept(self, key: str, writing: Coroutine[Any, Any, None]) -> None:
        try:
            await writing
        except Exception as error:
            raise Unrecorded(key, error) from error

    def _stamp(self) -> str:
        return self.now().isoformat()


def _interrupted(known: RecordedCall) -> InDoubt:
    return InDoubt(
        known.key,
        known.target,
        "it was interrupted before it ended",
        arguments=known.args,
        begun_at=known.begun_at,
    )


def shortened(args: Json) -> Json:
    """The arguments as they are recorded: whole, or their digest and beginning."""
    text = json.dumps(args, ensure_ascii=False)
    if len(text) <= SHOWN_ARGS:
        return args
    return {"sha256": digest(args), "characters": len(text), "shown": text[:SHOWN_ARGS]}
