"""The record of calls: a finished call is never made again, an interrupted write is asked about, failures are counted."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from graphs.runtime.recording import SHOWN_ARGS, Recording
from nodes.base import CallingNode
from state.durable import MemoryCalls
from state.errors import Fault, InDoubt, Unrecorded
from state.values import Json
from tests.fakes import FakeTool, fake_services
from tests.works import KEY, Disk, Work, node

pytestmark = [pytest.mark.req("X5", "X12")]


def using(tool: FakeTool, disk: Disk | None = None, **spec: Json) -> Work:
    """The work of a step that calls the tool."""
    return Work(node=node(type="tool", tool="t", **spec), services=fake_services({"t": tool}), disk=disk or Disk())


def write(*results: Any, **more: Any) -> FakeTool:
    """A write that must not be repeated."""
    return FakeTool(effect="write", idempotent=False, results=list(results), **more)


def read(*results: Any, **more: Any) -> FakeTool:
    """A read."""
    return FakeTool(effect="read", results=list(results), **more)


async def interrupted(work: Work, tool: FakeTool) -> None:
    """Run the work and give it up while its tool is at work."""
    reached = asyncio.Event()

    async def never(**args: Json) -> None:
        reached.set()
        await asyncio.Event().wait()

    tool.fn = never
    running = asyncio.create_task(work.run())
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    tool.fn = None


@pytest.mark.parametrize("make", [read, write])
async def test_a_finished_call_is_answered_from_the_record(make: Any) -> None:
    tool = make({"id": 7})
    work = using(tool)
    assert [(await work.run()).value, (await work.run()).value] == [{"id": 7}] * 2
    assert len(tool.calls) == 1


async def test_a_write_is_on_disk_before_it_is_made_and_its_result_after() -> None:
    disk = Disk()
    tool = write(fn=lambda: list(disk.written))
    work = using(tool, disk)
    assert (await work.run()).value == [[KEY, "begun", 1]]
    assert disk.written == [(KEY, "begun", 1), (KEY, "done", 1)]


@pytest.mark.parametrize(("effect", "written"), [("read", [(KEY, "done", 1)]), ("none", [])])
async def test_what_may_be_repeated_costs_no_write_before_it(effect: Any, written: list[Any]) -> None:
    work = using(FakeTool(effect=effect, results=[1]))
    await work.run()
    assert work.disk is not None and work.disk.written == written


@pytest.mark.parametrize(
    ("effect", "idempotent", "declared"),
    [
        ("read", False, {}),
        ("write", True, {}),
        ("write", False, {"idempotent": True}),
        ("write", False, {"effect": "read"}),
    ],
)
async def test_an_interrupted_call_that_may_be_repeated_is_made_again_under_its_key(
    effect: Any, idempotent: bool, declared: dict[str, Any]
) -> None:
    tool = FakeTool(effect=effect, idempotent=idempotent)
    work = using(tool, **declared)
    await interrupted(work, tool)
    tool.results = ["done"]
    assert (await work.run()).value == "done"
    assert {context.idempotency_key for _, context in tool.calls} == {KEY}


async def test_an_interrupted_write_is_asked_about_and_not_made_again() -> None:
    tool = write()
    work = using(tool, args={"to": "ann"}, retry={"max_attempts": 5, "on": ["transient", "cancelled"]})
    await interrupted(work, tool)
    doubt = await work.fault()
    assert isinstance(doubt, InDoubt)
    assert (doubt.key, doubt.target, doubt.arguments) == (KEY, "t", {"to": "ann"})
    assert doubt.begun_at == "2026-11-21T00:00:00+00:00"
    assert "interrupted" in doubt.reason
    assert len(tool.calls) == 1 and not doubt.transient


async def test_what_a_person_says_about_an_interrupted_write_counts() -> None:
    tool = write()
    work = using(tool)
    await interrupted(work, tool)
    recording = await work.disk.recording() if work.disk else None
    assert recording is not None
    await recording.take(KEY, {"paid": True})
    assert (await work.run()).value == {"paid": True}
    await recording.forget(KEY)
    tool.results = ["anew"]
    assert (await work.run()).value == "anew"


@pytest.mark.parametrize("error", [TimeoutError("slow"), ConnectionResetError("gone"), Fault("timeout", "slow")])
async def test_a_write_that_times_out_or_loses_its_connection_is_in_doubt(error: Exception) -> None:
    tool = write(error)
    work = using(tool, retry={"max_attempts": 3, "backoff": "1ms"})
    doubt = await work.fault()
    assert isinstance(doubt, InDoubt) and len(tool.calls) == 1
    assert isinstance(await work.fault(), InDoubt) and len(tool.calls) == 1


async def test_a_connection_that_was_refused_leaves_no_doubt() -> None:
    tool = write(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "done")
    assert (await using(tool, retry={"max_attempts": 2, "backoff": "1ms"}).run()).value == "done"


async def test_a_write_cut_off_by_its_timeout_is_in_doubt_with_the_limit_as_reason() -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    doubt = await using(write(fn=slow), timeout="1ms").fault()
    assert isinstance(doubt, InDoubt)
    assert (doubt.fault_class, "0.001 s" in doubt.reason) == ("timeout", True)
    assert doubt.record(node="a")["details"]["in_doubt"]["key"] == KEY


async def test_without_a_record_a_write_is_in_doubt_all_the_same() -> None:
    work = using(write(TimeoutError()), retry={"max_attempts": 3, "backoff": "1ms"})
    work.disk = None
    assert isinstance(await work.fault(), InDoubt)


async def test_a_write_whose_result_does_not_fit_was_done_and_is_not_made_again() -> None:
    tool = write("no number", "no number")
    retry = {"max_attempts": 3, "backoff": "1ms", "on": ["invalid_output"]}
    work = using(tool, output={"type": "integer"}, retry=retry)
    found = [await work.fault(), await work.fault()]
    assert [fault.fault_class for fault in found] == ["invalid_output"] * 2
    assert len(tool.calls) == 1


async def test_attempts_that_failed_before_a_crash_count() -> None:
    tool = read(Fault("unavailable", "1"))
    work = using(tool, retry={"max_attempts": 3, "backoff": "1h"})
    running = asyncio.create_task(work.run())
    while not work.retried:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    work.node = node(type="tool", tool="t", retry={"max_attempts": 3, "backoff": "1ms"})
    tool.results = [Fault("unavailable", "2"), Fault("unavailable", "3"), "too late"]
    assert (await work.fault()).message == "3"
    assert [context.attempt for _, context in tool.calls] == [1, 2, 3]
    assert (await work.fault()).message == "3" and len(tool.calls) == 3


async def test_a_final_failure_is_taken_from_the_record() -> None:
    tool = read(Fault("tool_error", "no", origin="tool", details={"why": 1}))
    work = using(tool)
    one, other = await work.fault(), await work.fault()
    assert one.record(node="a") == other.record(node="a")
    assert len(tool.calls) == 1


async def test_arguments_that_do_not_fit_leave_nothing_in_the_record() -> None:
    tool = write(args_schema={"type": "object", "required": ["to"]})
    work = using(tool)
    fault = await work.fault()
    assert (fault.fault_class, fault.stage, work.disk and work.disk.written) == ("invalid_input", "arguments", [])


async def test_a_write_is_not_made_when_its_intent_cannot_be_recorded() -> None:
    tool = write()
    work = using(tool)
    assert work.disk is not None
    work.disk.full = True
    with pytest.raises(Unrecorded, match="No space left"):
        await work.run()
    assert tool.calls == []
    work.disk.full, tool.results = False, ["done"]
    assert (await work.run()).value == "done"


async def test_a_result_that_cannot_be_recorded_stops_the_run_before_its_next_call() -> None:
    work = using(read(1))
    assert work.disk is not None
    work.disk.full = True
    assert (await work.run()).value == 1
    assert work.recording is not None
    with pytest.raises(Unrecorded):
        await work.recording.flush()


class Slow(Disk):
    """A disk whose next write takes until the door opens."""

    def __init__(self) -> None:
        super().__init__()
        self.door, self.reached = asyncio.Event(), asyncio.Event()

    async def keep(self, thread: str, call: Any) -> None:
        """Write the call, in a while."""
        self.reached.set()
        await self.door.wait()
        await super().keep(thread, call)


async def test_a_write_given_up_before_it_was_made_leaves_no_doubt() -> None:
    disk, tool = Slow(), write("done")
    work = using(tool, disk)
    running = asyncio.create_task(work.run())
    await disk.reached.wait()
    running.cancel()
    disk.door.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (disk.written, tool.calls) == ([(KEY, "begun", 1), (KEY, "forgotten", 0)], [])
    assert (await work.run()).value == "done"


class Unordered(Disk):
    """A store of several connections, the first of which to fail is slow."""

    async def keep(self, thread: str, call: Any) -> None:
        """Write the call; a failure takes a while."""
        for _ in range(50 if call.status == "failed" else 0):
            await asyncio.sleep(0)
        await super().keep(thread, call)


async def test_what_is_written_of_one_call_is_written_in_its_order() -> None:
    disk = Unordered()
    work = using(write(Fault("unavailable", "1"), "done"), disk, retry={"backoff": 0.000001, "jitter": False})
    await work.run()
    assert [(status, attempt) for _, status, attempt in disk.written] == [
        ("begun", 1),
        ("failed", 1),
        ("begun", 2),
        ("done", 2),
    ]


async def test_large_arguments_are_recorded_by_digest_and_beginning() -> None:
    work = using(read(1), args={"text": "x" * 100_000})
    await work.run()
    call = await work.disk.call() if work.disk else None
    assert call is not None
    assert (
        call.args["characters"] > 100_000 and len(call.args["shown"]) == SHOWN_ARGS and len(call.args["sha256"]) == 64
    )


# -- models ------------------------------------------------------------------------------------------------------------


def asking(answers: list[Any], **spec: Json) -> Work:
    """The work of a step that asks a model."""
    made: CallingNode = node(type="llm", prompt="How many?", **spec)
    return Work(node=made, services=fake_services(models={"m": answers}), disk=Disk())


async def test_an_answer_is_paid_once_and_rebuilt_from_the_record_with_its_message() -> None:
    work = asking(
        ["nonsense", '{"n": 3}'], output={"type": "object", "properties": {"n": {"type": "integer"}}}, history=True
    )
    one, other = await work.run(), await work.run()
    assert one.value == other.value == {"n": 3}
    assert one.usage == other.usage
    assert [(m.type, m.content, m.id) for m in one.messages] == [(m.type, m.content, m.id) for m in other.messages]
    assert [message.type for message in other.messages] == ["human", "ai"]
    call = await work.disk.call() if work.disk else None
    assert call is not None and (call.effect, call.repeatable, call.result["repaired"]) == ("read", True, True)


async def test_a_person_may_answer_for_a_call_of_which_nothing_is_recorded_any_more() -> None:
    record = MemoryCalls()
    recording = Recording("t", "r", record, {})
    await recording.take("r:pay[2].send:0", "sent")
    recording.failed("r:other:0", Fault("tool_error", "it did not take place"))
    await recording.flush()
    kept = await record.of_run("t", "r")
    assert (kept["r:pay[2].send:0"].step, kept["r:pay[2].send:0"].result) == ("pay[2].send", "sent")
    assert kept["r:other:0"].status == "failed"
