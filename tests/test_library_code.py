"""Workflows that are code: registered, injected, found by reference, and run like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from cogwork.errors import EngineError
from cogwork.library import Library
from cogwork.library.code import CodeRegistry
from cogwork.library.code_graph import CodeGraph, status_of
from cogwork.library.code_steps import as_plain
from cogwork.library.results import RunResult
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.postgres import PostgresCheckpoints
from state.errors import InputRefused, NotResumable, Owned
from state.events import Event
from tests import code_flows
from tests.clusters import schema
from tests.libraries import DATABASES, library_on, records_on

CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture(params=DATABASES)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    """A library on each of the databases."""
    code_flows.LOG.clear()
    code_flows.GATES.clear()
    with records_on(request.param, tmp_path) as records:
        yield library_on(records, tmp_path)


@pytest.fixture(params=["memory", *DATABASES])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each of the savers."""
    code_flows.LOG.clear()
    code_flows.GATES.clear()
    if request.param == "memory":
        yield InMemorySaver()
    elif request.param == "sqlite":
        with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as saver:
            yield saver
    else:
        with schema() as url, PostgresCheckpoints(url) as saver:
            yield saver


def code_graph(graph: Any, saver: Any, **more: Any) -> CodeGraph:
    """A graph on a saver."""
    return CodeGraph(graph, name="code", digest="d", checkpointer=saver, **more)


async def told(graph: CodeGraph, input: Any, **more: Any) -> list[Event]:
    """All events of a call."""
    return [event async for event in graph.aevents(input, CONFIG, **more)]


def kinds(events: list[Event]) -> list[tuple[str, str]]:
    """Kind and step of each event."""
    return [(event.kind, event.step) for event in events]


async def started(word: str) -> None:
    """Wait until a node has said the word."""
    while word not in code_flows.LOG:
        await asyncio.sleep(0.001)


def elsewhere(library: Library, *allowed: str) -> CodeRegistry:
    """The registry of another process, with the code that it may import."""
    house: Any = SimpleNamespace(
        settings=SimpleNamespace(code_workflows=allowed), services=library.house.services, mcp=None
    )
    return CodeRegistry(house)


def empty() -> dict[str, Any]:
    """Builds no graph."""
    return {}


# -- registering -----------------------------------------------------------------------------------------------


@pytest.mark.req("R1", "R4")
async def test_a_class_is_registered_with_arguments_and_gets_the_parts_of_the_house_by_name(library: Library) -> None:
    made = await library.register(code_flows.Research, depth=3)
    assert (made.name, made.description, made.metadata) == ("research", "Looks into a topic.", {"class": "Research"})
    version = await library.version("research")
    assert (version.kind, version.reference, version.arguments) == ("code", "tests.code_flows:Research", {"depth": 3})
    graph = await library.code.graph(version, checkpointer=InMemorySaver())
    events = await told(graph, {"topic": "bees"})
    assert events[-1].data["output"] == {"topic": "bees", "log": ["bees 3 True", "told"]}


@pytest.mark.req("R1")
async def test_registering_again_makes_a_version_only_where_something_has_changed(library: Library) -> None:
    assert (await library.register(code_flows.Research)).version == 1
    assert (await library.register(code_flows.Research)).version == 1
    assert (await library.register(code_flows.Research, depth=2)).version == 2
    assert (await library.diff("research", 1, 2)).lines == ['internal: code arguments is {"depth": 2} instead of {}']


@pytest.mark.req("R1")
async def test_graphs_and_functions_are_workflows_and_other_things_are_refused(library: Library) -> None:
    for thing, name in (
        (code_flows.ASKS, "asks"),
        (code_flows.ASKS.compile(), "compiled"),
        (code_flows.rounds, "rounds"),
    ):
        assert (await library.register(thing, name=name)).name == name
    assert (await library.version("asks")).reference == "tests.code_flows:ASKS"
    for thing, arguments, said in (
        (object(), {}, "cannot be a workflow"),
        (code_flows.Research, {"dept": 2}, "did you mean depth"),
        (code_flows.ASKS, {"depth": 2}, "takes no argument"),
        (lambda needed: None, {}, "needs the argument"),
    ):
        with pytest.raises(EngineError, match=said) as caught:
            await library.register(thing, name="wrong", **arguments)
        assert caught.value.code == "invalid_input"
    await library.register(empty)
    with pytest.raises(EngineError, match="dict has none of"):
        await library.code.graph(await library.version("empty"))


@pytest.mark.req("R1", "R4")
async def test_another_process_imports_only_code_that_its_settings_allow(library: Library) -> None:
    await library.register(code_flows.Research, depth=2)
    version = await library.version("research")
    with pytest.raises(EngineError, match="code_workflows") as caught:
        await elsewhere(library, "mypkg.*").graph(version)
    assert caught.value.code == "permission_denied"
    graph = await elsewhere(library, "tests.code_flows:*").graph(version, checkpointer=InMemorySaver())
    assert (await told(graph, {"topic": "x"}))[-1].data["output"]["log"][0] == "x 2 True"


@pytest.mark.req("R1")
async def test_code_without_a_reference_runs_here_and_is_refused_elsewhere(library: Library) -> None:
    class Local:
        def build(self) -> Any:
            return code_flows.line(("a", code_flows.add("a")))

    await library.register(Local)
    version = await library.version("Local")
    assert version.reference == ""
    assert await library.code.graph(version, checkpointer=InMemorySaver())
    with pytest.raises(EngineError, match="only be run by the process that registered it"):
        await elsewhere(library, "*").graph(version)


@pytest.mark.req("R1")
async def test_code_that_has_changed_since_it_was_published_is_not_run_as_that_version(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.register(code_flows.rounds)
    version = await library.version("rounds")
    monkeypatch.setattr(code_flows, "rounds", code_flows.fan)
    with pytest.raises(EngineError, match="not the code here") as caught:
        await elsewhere(library, "tests.*").graph(version)
    assert caught.value.code == "conflict"


@pytest.mark.req("R3")
async def test_workflows_are_initialised_in_order_and_shut_down_in_the_reverse(library: Library) -> None:
    await library.register(code_flows.Research, name="one", depth=1)
    await library.register(code_flows.Research, name="two", depth=2)
    await library.code.initialize_all()
    await library.register(code_flows.Research, name="three", depth=3)
    assert await library.code.shutdown_all() == []
    begun, ended = code_flows.LOG[:3], code_flows.LOG[3:]
    assert begun == [f"initialize research {n}" for n in (1, 2, 3)]
    assert ended == [f"shutdown research {n}" for n in (3, 2, 1)]


# -- running ---------------------------------------------------------------------------------------------------


@pytest.mark.req("R2", "R5")
async def test_a_run_tells_its_steps_and_its_output(saver: Any) -> None:
    graph = code_graph(code_flows.line(("a", code_flows.add("a")), ("b", code_flows.add("b"))), saver)
    events = await told(graph, {"topic": "x"})
    assert kinds(events) == [
        ("run.started", ""),
        ("step.started", "a"),
        ("step.finished", "a"),
        ("step.started", "b"),
        ("step.finished", "b"),
        ("run.completed", ""),
    ]
    assert events[-1].data["output"] == {"topic": "x", "log": ["a", "b"]}
    assert len({event.run for event in events}) == 1
    assert status_of(await graph.aget_state(CONFIG)) == "completed"
    with pytest.raises(NotResumable, match="has ended"):
        await told(graph, None)


@pytest.mark.req("R5")
async def test_a_question_is_answered_by_its_path_and_nothing_finished_runs_again(saver: Any) -> None:
    graph = code_graph(code_flows.ASKS, saver)
    last = (await told(graph, {"topic": "x"}))[-1]
    asked = {"at": "ask", "ask": "Go on?", "form": {}, "kind": "human", "show": {"question": "Go on?", "topic": "x"}}
    assert (last.kind, last.data) == ("run.paused", {"questions": [asked], "reason": "human"})
    assert await graph.aquestions(CONFIG) == [asked]
    with pytest.raises(NotResumable, match="not finished"):
        await told(graph, {"topic": "y"})
    events = await told(graph, Command(resume={"ask": "yes"}))
    assert kinds(events)[0] == ("run.resumed", "")
    assert events[-1].data["output"]["log"] == ["first", "yes", "last"]
    assert events[-1].run == last.run
    assert code_flows.LOG == ["first", "last"]


@pytest.mark.req("R5")
async def test_of_two_questions_each_answer_finds_its_own(saver: Any) -> None:
    graph = code_graph(code_flows.fan(), saver)
    last = (await told(graph, {"topic": "x"}))[-1]
    assert {each["at"]: each["ask"] for each in last.data["questions"]} == {"ask": "What of a?", "ask[1]": "What of b?"}
    with pytest.raises(NotResumable, match="Several questions"):
        await told(graph, Command(resume="yes"))
    half = (await told(graph, Command(resume={"ask[1]": "B"})))[-1]
    assert [each["at"] for each in half.data["questions"]] == ["ask"]
    assert (await told(graph, Command(resume="A")))[-1].data["output"]["log"] == ["A", "B"]


@pytest.mark.req("R5")
async def test_a_paused_run_rests_between_nodes_and_goes_on(saver: Any) -> None:
    graph = code_graph(code_flows.WAITS, saver)
    running = asyncio.create_task(told(graph, {"topic": "x"}))
    await started("waiting")
    with pytest.raises(Owned):
        await told(graph, None)
    pausing = asyncio.create_task(graph.apause(CONFIG, "a break"))
    await asyncio.sleep(0.1)
    code_flows.gate("wait").set()
    await pausing
    last = (await running)[-1]
    assert (last.kind, last.data) == ("run.paused", {"questions": [], "reason": "requested"})
    events = await told(graph, None)
    assert kinds(events)[1:3] == [("step.started", "last"), ("step.finished", "last")]
    assert events[-1].data["output"]["log"] == ["first", "waited", "last"]


@pytest.mark.req("R3", "R5")
async def test_a_cancelled_run_is_cut_off_and_over_and_the_thread_free(saver: Any) -> None:
    graph = code_graph(code_flows.WAITS, saver)
    running = asyncio.create_task(told(graph, {"topic": "x"}))
    await started("waiting")
    await graph.acancel(CONFIG, reason="enough")
    last = (await running)[-1]
    assert (last.kind, last.data["error"]["message"]) == ("run.cancelled", "enough")
    assert status_of(await graph.aget_state(CONFIG)) == "cancelled"
    code_flows.gate("wait").set()
    assert (await told(graph, {"topic": "y"}))[-1].kind == "run.completed"


@pytest.mark.req("R5")
async def test_a_resting_run_is_cancelled_by_whoever_asks_and_undo_is_refused(saver: Any) -> None:
    graph = code_graph(code_flows.ASKS, saver)
    await told(graph, {"topic": "x"})
    with pytest.raises(NotResumable, match="take its steps back"):
        await graph.acancel(CONFIG, undo=True)
    assert (await graph.acancel(CONFIG))["log"] == ["first"]
    assert status_of(await graph.aget_state(CONFIG)) == "cancelled"
    with pytest.raises(NotResumable, match="nothing to cancel"):
        await graph.acancel(CONFIG)


@pytest.mark.req("R2")
async def test_a_failed_run_ends_with_its_error_and_the_summary_tells_it(saver: Any) -> None:
    graph = code_graph(code_flows.FAILS, saver)
    result = await graph.arun({"topic": "x"}, CONFIG)
    summary = result.summarize_results()
    assert (summary["success"], summary["outputs"]) == (False, {"first": {"log": ["first"]}})
    assert [each["message"] for each in summary["errors"]] == ["ValueError: the node is broken"]
    assert summary["execution_time"] >= 0
    assert status_of(await graph.aget_state(CONFIG)) == "failed"


@pytest.mark.req("R2")
async def test_an_output_too_large_to_keep_is_said_to_be_and_not_shortened(saver: Any) -> None:
    def writes(state: code_flows.State) -> dict[str, Any]:
        return {"log": ["x" * (9 << 20)]}

    graph = code_graph(code_flows.line(("a", writes)), saver)
    events = [event async for event in graph.aevents({"topic": "x"}, CONFIG)]
    assert (events[-1].kind, events[-1].data["error"]["class"]) == ("run.failed", "invalid_output")


@pytest.mark.req("R2")
def test_a_text_that_cannot_be_shown_whole_says_that_it_is_not() -> None:
    assert str(as_plain("x" * (9 << 20))).endswith("… (9437184 characters, shortened)")
    assert as_plain("x" * 20_000) == "x" * 20_000


async def test_the_summary_of_a_workflow_is_read_from_its_state(stage: Any) -> None:
    state = await stage.run({"nodes": {"a": {"type": "transform", "set": {"n": 1}}}})
    summary = RunResult.from_state(state).summarize_results()
    assert (summary["success"], summary["outputs"], summary["output"], summary["errors"]) == (
        True,
        {"a": {"n": 1}},
        {"n": 1},
        [],
    )


async def test_a_graph_that_goes_round_has_a_path_per_round_and_an_end(saver: Any) -> None:
    events = await told(code_graph(code_flows.rounds(), saver), {"topic": "x"})
    assert [event.step for event in events if event.kind == "step.finished"] == ["turn", "turn[1]", "turn[2]"]
    last = (await told(code_graph(code_flows.rounds(), saver, recursion_limit=20), {"topic": "endless"}))[-1]
    assert (last.kind, last.data["error"]["class"]) == ("run.failed", "budget_exceeded")


async def test_tokens_are_streamed_and_messages_are_plain_in_the_output(saver: Any) -> None:
    graph = code_graph(code_flows.chatting(), saver)
    events = await told(graph, {"messages": [{"role": "user", "content": "Speak."}]}, tokens=True)
    said = [event.data["text"] for event in events if event.kind == "step.token"]
    assert "".join(said) == "one two three"
    assert {event.step for event in events if event.kind == "step.token"} == {"say"}
    talk = [(each["role"], each["content"]) for each in events[-1].data["output"]["messages"]]
    assert talk == [("user", "Speak."), ("assistant", "one two three")]


async def test_a_run_that_was_cut_off_goes_on_where_it_was(saver: Any) -> None:
    graph = code_graph(code_flows.WAITS, saver)
    running = asyncio.create_task(told(graph, {"topic": "x"}))
    await started("waiting")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert status_of(await graph.aget_state(CONFIG)) == "unfinished"
    code_flows.gate("wait").set()
    events = await told(graph, None)
    assert events[-1].data["output"]["log"] == ["first", "waited", "last"]
    assert code_flows.LOG == ["first", "waiting", "waiting", "last"]


async def test_an_input_with_unknown_fields_is_refused_with_a_suggestion(saver: Any) -> None:
    graph = code_graph(code_flows.ASKS, saver)
    with pytest.raises(InputRefused, match="did you mean topic"):
        await told(graph, {"topik": "x"})
    with pytest.raises(InputRefused, match="must be an object"):
        await told(graph, "x")
    with pytest.raises(NotResumable, match="has not begun"):
        await told(graph, None)


@pytest.mark.req("R5")
async def test_a_node_that_ended_beside_a_question_is_not_told_again(saver: Any) -> None:
    both = code_flows.line(("ask", code_flows.asking))
    both.add_node("beside", code_flows.add("beside"))
    both.add_edge("__start__", "beside")
    graph = code_graph(both, saver)
    assert ("step.finished", "beside") in kinds(await told(graph, {"topic": "x"}))
    events = await told(graph, Command(resume="yes"))
    assert {event.step for event in events} == {"", "ask"}
    assert events[-1].data["output"]["log"] == ["yes", "beside"]
    assert code_flows.LOG == ["beside"]
