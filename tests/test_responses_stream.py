"""Stream chunks: what the events of an execution become, numbered, and taken up again after any of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.executions.history import Told
from cogwork.responses import Chunk, Response, as_sse, begins_after, chunks, response_of
from cogwork.responses.stream import LIMIT
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.events import EVENT_KINDS, Event
from tests.told import QUESTION, result

pytestmark = pytest.mark.req("X11")

AT = "2026-11-28T12:00:00+00:00"


def event(kind: Any, step: str = "", **data: Any) -> Event:
    return Event(kind=kind, run="r", at=AT, step=step, data=data)


HAPPENED = [
    event("run.started", workflow="w"),
    event("step.started", "ask"),
    event("step.token", "ask", text="he"),
    event("step.token", "ask", text="llo"),
    event("step.finished", "ask", seconds=0.5, attempts=1),
    event("run.paused", reason="human", questions=[QUESTION, {**QUESTION, "at": "second"}]),
    event("run.resumed"),
    event("run.completed", output="hello", usage={"total_tokens": 3}),
]


async def told(events: Iterable[Event], after: int = 0) -> AsyncIterator[Told]:
    """The history of these events after a number, as an execution has it."""
    for number, each in enumerate(events, 1):
        if number > after:
            yield Told(seq=number, event=each)


async def ended() -> Response:
    return response_of(result("hello", steps={"w": {"path": "a.md", "bytes": 3}, "v": {"path": "b.md", "bytes": 4}}))


async def test_the_events_of_a_run_become_chunks_that_clients_can_show() -> None:
    made = [each async for each in chunks(told(HAPPENED), response=ended)]
    assert [(each.id, each.kind) for each in made] == [
        ("1", "status"),
        ("2", "status"),
        ("3", "text"),
        ("4", "text"),
        ("5", "status"),
        ("6", "status"),
        ("6.1", "question"),
        ("6.2", "question"),
        ("7", "status"),
        ("8", "artifact"),
        ("8.1", "artifact"),
        ("8.2", "end"),
    ]
    assert "".join(each.data["text"] for each in made if each.kind == "text") == "hello"
    assert (
        made[4].data == {"seconds": 0.5, "attempts": 1, "event": "step.finished", "status": "done"}
        and made[4].step == "ask"
    )
    assert made[5].data["status"] == "paused" and made[6].data["form"] == QUESTION["form"]
    assert made[9].data["name"] == "a.md" and made[9].data["size"] == 3
    assert made[11].data["response"]["parts"][0]["content"] == "hello"


async def test_events_without_numbers_are_counted_and_the_end_has_the_output() -> None:
    async def events() -> AsyncIterator[Event]:
        for each in HAPPENED:
            yield each

    made = [each async for each in chunks(events())]
    assert made[-1].id == "8" and made[-1].data == {
        "output": "hello",
        "usage": {"total_tokens": 3},
        "status": "completed",
    }


async def test_a_stream_is_taken_up_after_any_of_its_chunks_without_loss_or_repetition() -> None:
    whole = [each async for each in chunks(told(HAPPENED), response=ended)]
    for seen in range(len(whole)):
        last = whole[seen].id
        rest = [each async for each in chunks(told(HAPPENED, begins_after(last)), after=last, response=ended)]
        assert rest == whole[seen + 1 :], last


@pytest.mark.parametrize("after", ["x", "1.x", "-1", "1.2.3", "9" * 40, " 1"])
async def test_what_is_no_id_of_a_chunk_is_refused(after: str) -> None:
    with pytest.raises(EngineError, match="no id of a chunk"):
        begins_after(after)
    with pytest.raises(EngineError, match="no id of a chunk"):
        _ = [each async for each in chunks(told(HAPPENED), after=after)]


@given(
    st.sampled_from(EVENT_KINDS),
    st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4),
    st.text(max_size=20),
)
@settings(max_examples=150, deadline=None)
async def test_any_event_becomes_one_chunk_or_more_each_one_event_of_three_lines(
    kind: Any, data: Any, step: str
) -> None:
    made = [each async for each in chunks(told([event(kind, step, **data)]))]
    assert made
    for each in made:
        lines = as_sse(each).split("\n")
        assert [line.partition(": ")[0] for line in lines] == ["id", "event", "data", "", ""]
        assert json.loads(lines[2].removeprefix("data: ")) == each.to_dict()


async def test_a_large_chunk_is_shortened() -> None:
    (made,) = [each async for each in chunks(told([event("run.completed", output="ö" * 500_000)]))]
    assert len(as_sse(made).encode()) < 2 * LIMIT and "more bytes" in made.data["output"]


def test_a_chunk_is_written_as_a_server_sent_event() -> None:
    chunk = Chunk(kind="text", number=12, piece=1, step="a", at=AT, data={"text": "x\ny"})
    assert as_sse(chunk) == (
        'id: 12.1\nevent: text\ndata: {"kind": "text", "id": "12.1", "step": "a", '
        f'"at": "{AT}", "data": {{"text": "x\\ny"}}}}\n\n'
    )


async def test_an_execution_is_streamed_to_its_question_and_from_there_to_its_end(tmp_path: Path) -> None:
    source = {
        "cogwork": "v1",
        "name": "asking",
        "nodes": {
            "sure": {"type": "human", "ask": "Sure?", "form": {"go": {"enum": ["yes", "no"]}}},
            "told": {"type": "transform", "set": {"text": "# {{ sure.go }}"}},
        },
        "output": "{{ told.text }}",
    }
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path / "state", workflows=[])) as engine:
        execution = await engine.execute_workflow(await engine.create_workflow(source=source))
        await execution.wait(60)
        resting = response_of(await engine.get_execution_result(execution.id))
        assert (resting.status, resting.actions[0].command) == ("paused", f"cogwork resume {execution.id} -a go=yes")
        seen = ""
        async for chunk in chunks(execution.events()):
            seen = chunk.id
            if chunk.kind == "question":
                break
        await execution.resume(resting.actions[0].body["answers"] | {"sure": {"go": "yes"}})

        async def response() -> Response:
            return response_of(await engine.get_execution_result(execution.id))

        rest = chunks(execution.events(after=begins_after(seen)), after=seen, response=response)
        made = [chunk async for chunk in rest]
        assert "question" not in {chunk.kind for chunk in made} and made[-1].kind == "end"
        assert made[-1].data["response"]["parts"][0]["kind"] == "markdown"
