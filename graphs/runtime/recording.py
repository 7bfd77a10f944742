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
from state.durable import CallRecord, MemoryCalls, RecordedCall
from state.errors import Asked, Fault, InDoubt, Unrecorded
from state.services import Effect
from state.values import Json

ANSWER = ":answer:"
"""What stands between a call's key and the id of a question of its, in the key under which the answer is kept."""
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
        self._writing: dict[str, asyncio.Task[None]] = {}
        """The last write of each call that is not known to be on disk; the writes of one call follow each other."""
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
        except Asked:
            await self.forget(key)
            raise
        except Fault as fault:
            self.failed(key, fault)
            raise
        self._end(replace(call, status="done", result=result, ended_at=self._stamp()))
        return result

    def failed(self, key: str, fault: Fault) -> None:
        """The attempt that was begun last has surely failed."""
        call = self._begun(key)
        self._end(
            replace(call, status="failed", error=fault.record(node=call.step), ended_at=self._stamp()), needed=True
        )

    def answers(self, key: str) -> Mapping[str, Json]:
        """What people have answered to what the call of that key has asked, by the question's id."""
        mark = f"{key}{ANSWER}"
        return {other[len(mark) :]: call.result for other, call in self._known.items() if other.startswith(mark)}

    async def answered(self, key: str, target: str, id: str, answer: Json) -> None:
        """A person has answered what the call asked; the answer is on disk when this returns."""
        step = key.removeprefix(f"{self.run}:").rpartition(":")[0]
        call = RecordedCall(
            key=f"{key}{ANSWER}{id}",
            run=self.run,
            step=step,
            target=target,
            effect="none",
            repeatable=True,
            status="done",
            result=answer,
            begun_at=self._stamp(),
            ended_at=self._stamp(),
        )
        self._known[call.key] = call
        self._keep(call)
        await self.flush()

    async def take(self, key: str, result: Json) -> None:
        """A person says that the call was done, with this result."""
        self._known[key] = replace(self._begun(key), status="done", result=result, ended_at=self._stamp())
        self._keep(self._known[key])
        await self.flush()

    def _begun(self, key: str) -> RecordedCall:
        """The call as it was begun; a stand-in where the process that began it kept its record in memory only."""
        known = self._known.get(key)
        if known is not None:
            return known
        step = key.removeprefix(f"{self.run}:").rpartition(":")[0]
        return RecordedCall(key=key, run=self.run, step=step, target="", effect="write", repeatable=False)

    async def forget(self, key: str) -> None:
        """A person says that the call was not done: it may be made anew."""
        self._known.pop(key, None)
        self._write(key, lambda: self.record.forget(self.thread, key))
        await self.flush()

    async def flush(self) -> None:
        """Wait until all that was recorded is on disk.

        Raises:
            Unrecorded: some of it could not be written.
        """
        while self._writing:
            await asyncio.wait(list(self._writing.values()))
        if self._broken is not None:
            raise self._broken

    async def _begin(self, call: RecordedCall) -> None:
        """Note the intent; on disk where the call must not be repeated."""
        if self._broken is not None:
            raise self._broken
        before, self._known[call.key] = self._known.get(call.key), call
        if call.repeatable:
            return
        try:
            await asyncio.shield(self._keep(call))
        except asyncio.CancelledError:
            self._withdraw(call.key, before)
            raise
        if self._broken is not None:
            self._withdraw(call.key, before)
            raise self._broken

    def _withdraw(self, key: str, before: RecordedCall | None) -> None:
        """Take back an intent whose call was not made."""
        if before is None:
            del self._known[key]
            self._write(key, lambda: self.record.forget(self.thread, key))
        else:
            self._known[key] = before
            self._keep(before)

    def _end(self, call: RecordedCall, *, needed: bool = False) -> None:
        self._known[call.key] = call
        if needed or call.effect != "none":
            if type(self.record) is MemoryCalls:
                self.record.note(self.thread, call)
            else:
                self._keep(call)

    def _keep(self, call: RecordedCall) -> asyncio.Task[None]:
        return self._write(call.key, lambda: self.record.keep(self.thread, call))

    def _write(self, key: str, write: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._written(key, self._writing.get(key), write))
        self._writing[key] = task
        task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        if self._writing.get(key) is task:
            del self._writing[key]

    async def _written(
        self, key: str, before: asyncio.Task[None] | None, write: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        try:
            await write()
        except Exception as error:
            self._broken = self._broken or Unrecorded(key, error)

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
