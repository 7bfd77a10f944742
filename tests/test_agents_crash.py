"""Agents whose process dies, that are paused or cancelled: no finished turn is asked again, no finished call is repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field

from graphs.graph import WorkflowGraph
from state.errors import Asked, WorkflowFailed
from state.services import CallContext
from tests.conftest import answer
from tests.dying import Ledger, at_every_write
from tests.fakes import FakeTool, ScriptedModel, ScriptedModels, ScriptedPrompts, ScriptedTools, calls, fake_services
from tests.threads import Run

pytestmark = [pytest.mark.req("D4", "X12", "T4")]


class Deciding(ScriptedModel):
    """A model that answers by how many turns its conversation has had, as often as it is asked."""

    plan: list[Any] = Field(default_factory=list)

    async def _astream(self, messages: list[Any], *given: Any, **more: Any) -> AsyncIterator[ChatGenerationChunk]:
        turns = sum(isinstance(message, AIMessage) for message in messages)
        self.answers[:] = [self.plan[turns]]
        async for chunk in super()._astream(messages, *given, **more):
            yield chunk


def _deciding(name: str, *plan: Any) -> dict[str, Any]:
    return {name: Deciding(plan=list(plan))}


PLAN: tuple[Any, ...] = (
    calls(("do_read", {"value": 1}), ("do_write", {"value": 2})),
    calls(("do_write", {"value": 3})),
    "the end",
)
SPEC: dict[str, Any] = {
    "nodes": {
        "x": {"type": "llm", "prompt": "Work now.", "model": "main", "tools": ["do.*"]},
        "y": {"type": "transform", "set": "{{ x }}"},
    }
}


class Talking(Ledger):
    """A ledger whose graphs can ask models."""

    def __init__(self) -> None:
        super().__init__()
        models = ScriptedModels(
            {**_deciding("main", *PLAN), **_deciding("first", '{"ready": true}'), **_deciding("second", *PLAN)}
        )
        self.services = replace(self.services, models=models, prompts=ScriptedPrompts({}))


@pytest.mark.parametrize("policy", ["allow", "ask"])
def test_a_crash_at_any_write_continues_the_conversation_and_repeats_nothing(policy: str) -> None:
    spec = {"nodes": {**SPEC["nodes"], "x": {**SPEC["nodes"]["x"], "approve": {"do.*": policy}}}}
    assert at_every_write(spec, ledger=Talking) > 8


def test_a_crash_at_any_write_around_a_hand_over_ends_it_as_it_would_have_ended() -> None:
    agents = {
        "one": {
            "model": "first",
            "output": {"ready": {"type": "boolean"}},
            "handoffs": [{"to": "two", "when": "output.ready"}],
        },
        "two": {"model": "second", "tools": ["do.*"], "approve": {"do.*": "allow"}},
    }
    spec = {"agents": agents, "nodes": {"x": {"type": "llm", "prompt": "Work now.", "agent": "one"}}}
    assert at_every_write(spec, ledger=Talking) > 8


async def test_a_conversation_that_is_paused_within_a_call_goes_on_with_that_call() -> None:
    stage = Talking()
    stage.services.models.models["main"] = Deciding(  # type: ignore[attr-defined]
        plan=[calls(("do_read", {"value": 1}), ("do_read", {"value": 2, "hold": "door"})), "the end"]
    )
    run = Run(stage, SPEC)
    task = await run.begun("x[0].calls[1].call")
    await run.pause()
    assert (await task)["run"]["status"] == "paused"
    stage.door("door").set()
    state = await run.go()
    assert state["output"] == "the end"
    assert stage.paths("end") == ["x[0].calls[0].call", "x[0].calls[1].call"]


async def test_a_run_limit_rests_in_the_middle_of_a_conversation_and_goes_on_when_it_is_raised() -> None:
    stage = Talking()
    spec = {**SPEC, "limits": {"max_steps": 3}}
    spec["nodes"] = {**SPEC["nodes"], "x": {**SPEC["nodes"]["x"], "approve": {"do.*": "allow"}}}
    graph, thread = stage.graph(spec, InMemorySaver()), stage.thread()
    state = await graph.ainvoke({}, thread)
    assert state["__interrupt__"][0].value["limit"] == "max_steps"
    state = await graph.ainvoke(answer({"max_steps": 50}), thread)
    assert state["output"] == "the end"
    assert len(stage.ended) == len(set(stage.ended)) == 3


# -- tools that ask --------------------------------------------------------------------------------------------


def _paint(told: list[Any]) -> FakeTool:
    class Painting(FakeTool):
        async def call(self, args: Any, context: CallContext) -> Any:
            told.append(dict(context.answers))
            given = context.answers.get("q1")
            if given is None:
                raise Asked(
                    "q1", "Which color?", {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}}, kept=7
                )
            context.progress(1, 2, "half painted")
            return given["answer"]["color"], given["kept"]

    return Painting(effect="write", idempotent=False)


def _painted(told: list[Any], saver: Any) -> WorkflowGraph:
    from graphs.build import build
    from graphs.language.load import load

    services = fake_services()
    services = replace(services, tools=ScriptedTools({"paint": _paint(told)}))
    services.tools.find("paint").name = "paint"  # type: ignore[union-attr]
    spec = {"cogwork": "v1", "name": "paint", "nodes": {"a": {"type": "tool", "tool": "paint"}}}
    return build(load(spec), services, lambda name, user: None, checkpointer=saver)


async def test_a_tool_that_asks_is_called_again_with_the_answer_also_in_another_process() -> None:
    told, saver, thread = list[Any](), InMemorySaver(), {"configurable": {"thread_id": "t"}}
    state = await _painted(told, saver).ainvoke({}, thread)
    [question] = state["__interrupt__"]
    assert (question.value["kind"], question.value["ask"]) == ("elicitation", "Which color?")
    assert state["run"]["reason"] == "human"
    events = [event async for event in _painted(told, saver).aevents(answer({"color": "blue"}), thread)]
    assert events[-1].data["output"] == ["blue", 7]
    assert [event.data["message"] for event in events if event.kind == "step.progress"] == ["half painted"]
    assert told == [{}, {"q1": {"answer": {"color": "blue"}, "kept": 7}}]


async def test_an_answer_that_does_not_fit_what_the_tool_asks_is_refused_and_the_question_stays_open() -> None:
    from state.errors import AnswerRefused

    saver, thread = InMemorySaver(), {"configurable": {"thread_id": "t"}}
    graph = _painted([], saver)
    await graph.ainvoke({}, thread)
    with pytest.raises(AnswerRefused):
        await graph.ainvoke(answer({"color": "green"}), thread)
    assert (await graph.ainvoke(answer({"color": "red"}), thread))["output"] == ["red", 7]


async def test_a_tool_that_asks_where_nobody_can_answer_fails_with_the_reason() -> None:
    with pytest.raises(WorkflowFailed, match="without checkpoints nobody can answer"):
        await _painted([], None).ainvoke({})
