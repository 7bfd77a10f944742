"""Fallbacks: who serves when a step has failed for good, and what counts as serving."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.language.spec import Agent, TransformNode
from state.errors import Fault, InDoubt
from state.values import Json
from tests.fakes import FakeTool, ScriptedModel, fake_services
from tests.works import Disk, Work, node, step_call

pytestmark = [pytest.mark.req("E5", "T4", "X12")]


def down() -> FakeTool:
    """A tool that always fails."""
    return FakeTool(fn=_raise)


def _raise(**args: Json) -> None:
    raise Fault("tool_error", "down", origin="tool")


def tools(spec: dict[str, Json], **others: FakeTool) -> Work:
    """The work of a step whose own tool always fails."""
    made = node(type="tool", tool="main", **spec)
    return Work(node=made, services=fake_services({"main": down(), **others}), disk=Disk())


def asking(
    spec: dict[str, Json], models: dict[str, list[Any]], agents: dict[str, Any] | None = None, **tool: Any
) -> Work:
    """The work of a step that asks a model."""
    made = node(type="llm", prompt="How many?", **{"model": "main", **spec})
    return Work(node=made, services=fake_services(tool, models=models), disk=Disk(), more={"agents": agents or {}})


async def test_fallbacks_are_tried_in_order_until_one_serves() -> None:
    work = tools(
        {"fallback": [{"tool": "b"}, {"tool": "c"}, {"tool": "d"}]}, b=down(), c=FakeTool(results=[7]), d=down()
    )
    outcome = await work.run()
    assert (outcome.value, outcome.fallback) == (7, "tool:c")
    assert work.fell_back == [("tool:b", "tool_error"), ("tool:c", "tool_error")]


async def test_a_step_that_succeeds_by_itself_names_no_fallback() -> None:
    work = Work(
        node=node(type="tool", tool="main", fallback=[{"tool": "b"}]),
        services=fake_services({"main": FakeTool(results=[1]), "b": down()}),
    )
    assert (await work.run()).fallback == ""


async def test_the_first_fault_is_told_with_what_the_fallbacks_said() -> None:
    work = tools({"fallback": [{"tool": "b"}, {"tool": "gone"}]}, b=FakeTool(results=[Fault("refused", "no")]))
    fault = await work.fault()
    assert (fault.fault_class, fault.message) == ("tool_error", "down")
    told = [(one["fallback"], one["class"]) for one in fault.record(node="a")["details"]["fallbacks"]]
    assert told == [("tool:b", "refused"), ("tool:gone", "invalid_input")]


async def test_a_fallback_tool_gets_its_own_arguments_and_without_any_those_of_the_step() -> None:
    b, c = FakeTool(results=[Fault("refused", "no")]), FakeTool(results=["ok"])
    work = tools(
        {"args": {"q": "{{ word }}"}, "fallback": [{"tool": "b", "args": {"x": "{{ word }}!"}}, {"tool": "c"}]},
        b=b,
        c=c,
    )
    work.names = {"word": "hi"}
    await work.run()
    assert [args for args, _ in (*b.calls, *c.calls)] == [{"x": "hi!"}, {"q": "hi"}]


async def test_each_fallback_has_keys_and_attempts_of_its_own() -> None:
    b = FakeTool(results=[Fault("unavailable", "1"), "ok"])
    work = tools({"retry": {"max_attempts": 2, "backoff": "1ms"}, "fallback": [{"tool": "gone"}, {"tool": "b"}]}, b=b)
    await work.run()
    assert [(context.idempotency_key, context.attempt) for _, context in b.calls] == [
        ("r1:step:2000", 1),
        ("r1:step:2000", 2),
    ]


async def test_another_process_takes_the_fallback_where_it_was_left() -> None:
    main, b = (
        FakeTool(results=[Fault("tool_error", "down")]),
        FakeTool(effect="write", idempotent=False, results=["paid"]),
    )
    work = Work(
        node=node(type="tool", tool="main", fallback=[{"tool": "b"}]),
        services=fake_services({"main": main, "b": b}),
        disk=Disk(),
    )
    assert [(await work.run()).value, (await work.run()).value] == ["paid", "paid"]
    assert (len(main.calls), len(b.calls)) == (1, 1)


async def test_what_does_not_fit_the_schema_of_the_step_does_not_serve() -> None:
    work = tools(
        {"output": {"type": "integer"}, "fallback": [{"tool": "b"}, {"tool": "c"}]},
        b=FakeTool(results=["seven"]),
        c=FakeTool(results=[7]),
    )
    outcome = await work.run()
    assert (outcome.value, outcome.fallback) == (7, "tool:c")
    assert work.fell_back[1] == ("tool:c", "invalid_output")


@pytest.mark.parametrize("fault_class", ["timeout", "connection"])
async def test_a_write_in_doubt_is_not_replaced(fault_class: Any) -> None:
    b = FakeTool(results=[])
    main = FakeTool(effect="write", idempotent=False, results=[Fault(fault_class, "?")])
    made = node(type="tool", tool="main", fallback=[{"tool": "b"}])
    work = Work(node=made, services=fake_services({"main": main, "b": b}), disk=Disk())
    assert isinstance(await work.fault(), InDoubt)
    assert b.calls == []


async def test_a_fallback_in_doubt_is_asked_about_and_what_the_person_says_serves() -> None:
    b = FakeTool(effect="write", idempotent=False, results=[Fault("timeout", "?")])
    work = tools({"fallback": [{"tool": "b"}, {"tool": "c"}]}, b=b, c=down())
    doubt = await work.fault()
    assert isinstance(doubt, InDoubt) and doubt.key == "r1:step:1000"
    assert work.disk is not None
    await (await work.disk.recording()).take(doubt.key, "paid")
    assert (await work.run()).fallback == "tool:b"
    assert len(b.calls) == 1


async def test_a_cancelled_step_is_not_replaced() -> None:
    work = Work(
        node=node(type="tool", tool="main", fallback=[{"tool": "b"}]),
        services=fake_services({"main": FakeTool(results=[Fault("cancelled", "stop")]), "b": FakeTool()}),
    )
    assert (await work.fault()).fault_class == "cancelled"
    assert work.fell_back == []


# -- models and agents -------------------------------------------------------------------------------------------------


async def test_another_model_is_asked_the_same_question() -> None:
    work = asking({"fallback": [{"model": "b"}]}, {"main": [Fault("unavailable", "down")], "b": ["three"]})
    outcome = await work.run()
    assert (outcome.value, outcome.fallback) == ("three", "model:b")
    main, other = (work.services.models.find(name) for name in ("main", "b"))
    assert isinstance(main, ScriptedModel) and isinstance(other, ScriptedModel)
    assert [m.content for m in main.asked[0]] == [m.content for m in other.asked[0]] == ["How many?"]


async def test_another_agent_answers_with_its_model_and_instructions() -> None:
    agents = {"one": Agent(model="main", instructions="Be one."), "two": Agent(model="b", instructions="Be two.")}
    spec: dict[str, Json] = {"model": None, "agent": "one", "fallback": [{"agent": "nobody"}, {"agent": "two"}]}
    work = asking(spec, {"main": [Fault("unavailable", "down")], "b": ["two's answer"]}, agents)
    outcome = await work.run()
    assert (outcome.value, outcome.fallback) == ("two's answer", "agent:two")
    other = work.services.models.find("b")
    assert isinstance(other, ScriptedModel) and other.asked[0][0].content == "Be two."


async def test_a_tool_can_answer_in_place_of_a_model() -> None:
    spec: dict[str, Json] = {"fallback": [{"tool": "t", "args": {"q": "{{ word }}"}}]}
    work = asking(spec, {"main": [Fault("unavailable", "down")]}, t=FakeTool(results=["from the tool"]))
    work.names = {"word": "hi"}
    outcome = await work.run()
    assert (outcome.value, outcome.fallback, outcome.messages) == ("from the tool", "tool:t", ())


# -- nodes -------------------------------------------------------------------------------------------------------------


async def test_a_node_stands_in_with_its_own_policies() -> None:
    work = tools({"fallback": [{"node": "other"}]}, b=FakeTool(results=[Fault("unavailable", "1"), 7]))
    other = node(type="tool", tool="b", retry={"max_attempts": 2, "backoff": "1ms", "jitter": False})
    work.more["standins"] = {0: (other, step_call(other, work.services, path="other"))}
    outcome = await work.run()
    assert (outcome.value, outcome.fallback, work.retried) == (7, "node:other", [(1, 0.001, "unavailable")])


async def test_a_transform_stands_in_if_its_value_fits() -> None:
    work = tools({"output": {"type": "integer"}, "fallback": [{"node": "text"}, {"node": "number"}]})
    work.more["standins"] = {
        at: (other, step_call(other, work.services, path="other"))
        for at, other in enumerate([TransformNode(set="none"), TransformNode(set=0)])
    }
    outcome = await work.run()
    assert (outcome.value, outcome.fallback) == (0, "node:number")


async def test_a_write_of_a_fallback_is_seen_as_in_flight_by_the_call_of_the_step() -> None:
    seen: list[set[str]] = []
    b = FakeTool(effect="write", idempotent=True, fn=lambda: seen.append(set(work.call.writing if work.call else ())))
    work = tools({"fallback": [{"tool": "b"}]}, b=b)
    await work.run()
    assert seen == [{"r1:step:1000"}] and work.call is not None and not work.call.writing
