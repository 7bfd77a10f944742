"""The workflows under ``langgraph dev``, driven with langgraph-sdk as Studio and other clients drive it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests import servers
from tests.servers import Server, done, until

if why := servers.missing():
    pytest.skip(why, allow_module_level=True)

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

pytestmark = pytest.mark.timeout(900)
NODES = ["first", "slow", "quick1", "quick2", "quick3", "often", "again", "once", "meet"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of this module."""
    started = Server(tmp_path_factory.mktemp("server")).start()
    yield started
    started.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    """A client of the server."""
    async with server.client() as opened:
        yield opened


async def thread_of(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def run(client: LangGraphClient, graph: str, thread: str | None = None, **options: Any) -> dict[str, Any]:
    """The state at the end of a run, or where it rests; a failed run raises what the server says."""
    return await client.runs.wait(thread or await thread_of(client), graph, **options)


async def streamed(
    client: LangGraphClient, graph: str, mode: Any, thread: str | None = None, **options: Any
) -> list[Any]:
    """The chunks of a run: pairs of event and data."""
    thread = thread or await thread_of(client)
    source = client.runs.stream(thread, graph, stream_mode=mode, **options)
    return [(chunk.event, chunk.data) async for chunk in source if chunk.event != "metadata"]


# -- what is served ------------------------------------------------------------------------------------------------


@pytest.mark.req("D6")
async def test_every_workflow_of_langgraph_json_is_an_assistant(client: LangGraphClient) -> None:
    found = await client.assistants.search()
    assert {a["graph_id"] for a in found} == {"lanes", "review", "talk", "laps", "broken", "agent"}


@pytest.mark.req("D6")
async def test_the_input_schema_is_a_form_with_types_defaults_and_descriptions(client: LangGraphClient) -> None:
    assistant = (await client.assistants.search(graph_id="lanes"))[0]
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    form = schemas["input_schema"]
    assert form is not None
    assert form["properties"] == {
        "word": {"type": "string", "default": "hello", "description": "What is carried along the lanes."},
        "times": {
            "type": "integer",
            "default": 2,
            "minimum": 1,
            "maximum": 5,
            "description": "How often it is said at the end.",
        },
        "door": {
            "type": "string",
            "default": "",
            "description": "The door that the slow lane waits at; none means open.",
        },
    }
    assert (form["title"], form["description"]) == ("lanes", "Two lanes that meet; the slow one waits at a door.")


@pytest.mark.req("D6")
async def test_the_output_schema_names_what_a_run_gives(client: LangGraphClient) -> None:
    assistant = (await client.assistants.search(graph_id="lanes"))[0]
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    output = schemas["output_schema"]
    assert output is not None
    assert {"output", "run", "nodes", "results", "path"} <= set(output["properties"])
    assert schemas["state_schema"] is not None


@pytest.mark.req("D6", "X4")
async def test_the_drawing_shows_the_steps_and_edges_of_the_spec(client: LangGraphClient) -> None:
    drawing = await client.assistants.get_graph("lanes")
    assert [node["id"] for node in drawing["nodes"]] == ["__start__", *NODES, "__end__"]
    shown = {(edge["source"], edge["target"]): edge for edge in drawing["edges"]}
    assert ("first", "slow") in shown and ("quick3", "meet") in shown and ("meet", "__end__") in shown
    assert shown["often", "again"]["conditional"] and shown["often", "again"]["data"] == "input.times > 1"
    assert shown["often", "once"]["conditional"] and shown["often", "once"]["data"] == "else"
    assert not shown["first", "slow"].get("conditional")
    assert ("slow", "slow") not in shown


@pytest.mark.req("D6")
async def test_the_drawing_of_a_loop_shows_its_body(client: LangGraphClient) -> None:
    drawing = await client.assistants.get_graph("laps", xray=True)
    assert {"race", "race.leg", "race.arrive", "climb", "climb.step"} <= {str(n["id"]) for n in drawing["nodes"]}
    edges = {(e["source"], e["target"]) for e in drawing["edges"]}
    assert {("race", "race.leg"), ("race.leg", "race.arrive"), ("race.arrive", "race")} <= edges


def test_a_chain_of_300_steps_is_drawn_whole(stage: Any) -> None:
    nodes: dict[str, Any] = {"n0": {"type": "transform", "set": 0}}
    nodes |= {f"n{i}": {"type": "transform", "set": f"{{{{ n{i - 1} + 1 }}}}"} for i in range(1, 300)}
    drawing = stage.graph({"nodes": nodes}).get_graph()
    assert len(drawing.nodes) == 302
    assert {(e.source, e.target) for e in drawing.edges} == {
        ("__start__", "n0"),
        *((f"n{i}", f"n{i + 1}") for i in range(299)),
        ("n299", "__end__"),
    }


# -- running -------------------------------------------------------------------------------------------------------


@pytest.mark.req("D6", "X4", "X5")
async def test_wait_gives_the_state_that_the_run_ended_in(client: LangGraphClient, server: Server) -> None:
    state = await run(client, "lanes", input={"word": "hi", "times": 1})
    assert state["output"] == {"slow": "hi slowly", "quick": "hi-1-2-3", "how": "one time"}
    assert state["run"]["status"] == "completed"
    assert state["nodes"]["again"] == {
        "status": "skipped",
        "cause": {"reason": "not_selected", "by": "often"},
        "ended_at": state["nodes"]["again"]["ended_at"],
    }
    assert sorted(state["path"]) == sorted(NODES) and state["path"][-1] == "meet"
    executed = {"first": 1, "slow": 1, "slow?": 1, "quick1": 1, "quick2": 1, "quick3": 1, "meet": 1}
    assert server.executions(state["run"]["id"]) == executed


@pytest.mark.req("D6")
async def test_loops_run_under_the_server(client: LangGraphClient) -> None:
    state = await run(client, "laps", input={"runners": ["x", "y"]})
    assert state["output"] == {"arrived": ["0: x", "1: y"], "height": 3}


@pytest.mark.req("D6")
async def test_an_input_that_does_not_fit_is_refused_with_the_reason(client: LangGraphClient) -> None:
    with pytest.raises(Exception, match=r"InputRefused.*times"):
        await run(client, "lanes", input={"times": 9})


async def test_a_failed_run_says_where_and_why_and_keeps_what_was_done(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    with pytest.raises(Exception, match=r"WorkflowFailed.*divide.*zero"):
        await run(client, "broken", thread, input={"by": 0})
    assert (await client.threads.get(thread))["status"] == "error"
    state = (await client.threads.get_state(thread))["values"]
    assert state["run"]["status"] == "failed" and state["run"]["error"]["node"] == "divide"
    assert state["results"] == {"before": 12}


async def test_an_input_after_a_failed_run_begins_a_new_one(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    with pytest.raises(Exception, match="WorkflowFailed"):
        await run(client, "broken", thread, input={"by": 0})
    assert (await run(client, "broken", thread, input={"by": 3}))["output"] == 4


# -- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.req("D6")
async def test_the_values_stream_ends_with_the_final_state(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", "values", input={"word": "hi"})
    assert {event for event, _ in chunks} == {"values"}
    grown = [len(data.get("results", {})) for _, data in chunks]
    assert grown == sorted(grown) and len(grown) > 3
    assert chunks[-1][1]["output"]["quick"] == "hi-1-2-3"


@pytest.mark.req("D6")
async def test_the_updates_stream_has_each_step_once_and_no_yields(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", "updates", input={"word": "hi"})
    assert {event for event, _ in chunks} == {"updates"}
    assert Counter(name for _, data in chunks for name in data) == Counter(NODES)
    assert all(data[name]["nodes"][name]["status"] in ("done", "skipped") for _, data in chunks for name in data)


@pytest.mark.req("D6")
async def test_the_tasks_stream_pairs_each_start_with_one_result(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", "tasks", input={"word": "hi"})
    assert {event for event, _ in chunks} == {"tasks"}
    began = {data["id"]: data["name"] for _, data in chunks if "result" not in data}
    ended = {data["id"]: data["name"] for _, data in chunks if "result" in data}
    assert sorted(began.values()) == sorted(NODES)
    assert began == ended
    assert all(data["result"] for _, data in chunks if "result" in data)


@pytest.mark.req("D6")
async def test_the_custom_stream_tells_what_happens_step_by_step(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", "custom", input={"word": "hi", "times": 1})
    assert {event for event, _ in chunks} == {"custom"}
    told = [(data["event"], data["step"]) for _, data in chunks]
    work = ["first", "slow", "quick1", "quick2", "quick3", "meet"]
    assert [step for event, step in told if event == "step.skipped"] == ["again"]
    assert sorted(step for event, step in told if event == "step.started") == sorted(work)
    assert sorted(step for event, step in told if event == "step.finished") == sorted([*work, "often", "once"])
    assert told.index(("step.finished", "first")) < told.index(("step.started", "slow"))


@pytest.mark.req("D6")
async def test_the_tokens_of_a_model_are_streamed_from_its_step(client: LangGraphClient) -> None:
    chunks = await streamed(client, "talk", "messages-tuple", input={"question": "Who was the keeper?"})
    tokens = [
        m["content"]
        for _, (m, about) in chunks
        if m["type"] == "AIMessageChunk" and about["langgraph_node"] == "answer"
    ]
    assert len(tokens) > 3
    assert "Ana Souto" in "".join(tokens)


async def test_the_answer_that_was_streamed_is_the_message_that_is_kept(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    question = {"question": "Who was the keeper?"}
    chunks = await streamed(client, "talk", "messages-tuple", thread, input=question)
    tokens = {message["id"] for _, (message, _) in chunks if message["type"] == "AIMessageChunk"}
    kept = (await client.threads.get_state(thread))["values"]["messages"]
    assert tokens == {message["id"] for message in kept if message["type"] == "ai"}


@pytest.mark.req("D6")
async def test_the_events_stream_reaches_the_end(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", "events", input={"word": "hi"})
    last = [data for event, data in chunks if event == "events" and data["event"] == "on_chain_end"][-1]
    assert last["name"] == "lanes"
    assert "error" not in {event for event, _ in chunks}


@pytest.mark.req("D6")
async def test_several_modes_at_once_are_told_apart(client: LangGraphClient) -> None:
    chunks = await streamed(client, "lanes", ["values", "updates", "custom", "tasks"], input={"word": "hi"})
    assert {event for event, _ in chunks} == {"values", "updates", "custom", "tasks"}


# -- people --------------------------------------------------------------------------------------------------------


@pytest.mark.req("D4", "D6")
async def test_a_question_is_an_interrupt_with_its_form(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    state = await run(client, "review", thread, input={"topic": "tea"})
    assert len(state["__interrupt__"]) == 1
    assert (await client.threads.get(thread))["status"] == "interrupted"
    seen = await client.threads.get_state(thread)
    assert seen["next"] == ["approve"]
    [question] = seen["interrupts"]
    assert question["value"]["ask"] == "Publish the draft on tea?"
    assert question["value"]["show"] == {"draft": "draft on tea"}
    assert set(question["value"]["form"]["properties"]) == {"ok", "stars"}
    assert question["response_schema"]["properties"]["stars"]["maximum"] == 5
    assert [
        i["id"] for interrupts in (await client.threads.get(thread))["interrupts"].values() for i in interrupts
    ] == [question["id"]]


@pytest.mark.req("D6", "X8")
async def test_an_agents_call_waits_for_a_person_in_the_form_that_studio_knows(
    client: LangGraphClient, server: Server
) -> None:
    thread = await thread_of(client)
    await run(client, "agent", thread, input={})
    for turn, value in enumerate((2, 3)):
        [question] = (await client.threads.get_state(thread))["interrupts"]
        [action], [review] = question["value"]["action_requests"], question["value"]["review_configs"]
        assert (action["name"], action["args"]) == ("served.note", {"value": value})
        assert review["allowed_decisions"] == ["approve", "edit", "reject", "respond"]
        state = await run(client, "agent", thread, command={"resume": {"decisions": [{"type": "approve"}]}})
        assert state["results"][f"work[{turn}].calls[{1 - turn}].call"] == value
    assert state["output"] == "saw 3"
    made = [line.split()[1] for line in server.ledger.read_text().splitlines() if state["run"]["id"] in line]
    assert made == ["work[0].calls[0].call?", "work[0].calls[0].call", "work[0].calls[1].call", "work[1].calls[0].call"]


@pytest.mark.req("D4", "D6")
async def test_a_wrong_answer_is_refused_with_the_reason_and_the_question_stays_open(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    await run(client, "review", thread, input={"topic": "tea"})
    before = await client.threads.get_state(thread)
    with pytest.raises(Exception, match=r"AnswerRefused.*approve.*stars.*stays open"):
        await run(client, "review", thread, command={"resume": {"ok": True, "stars": 7}})
    after = await client.threads.get_state(thread)
    assert after["interrupts"] == before["interrupts"] and after["next"] == ["approve"]
    assert after["checkpoint"] == before["checkpoint"]
    state = await run(client, "review", thread, command={"resume": {"ok": True}})
    assert state["output"]["end"] == "published draft on tea with 3 stars"


@pytest.mark.req("D4", "D6")
async def test_an_answer_by_interrupt_id_resumes_and_repeats_nothing(client: LangGraphClient, server: Server) -> None:
    thread = await thread_of(client)
    await run(client, "review", thread, input={"topic": "tea"})
    [question] = (await client.threads.get_state(thread))["interrupts"]
    state = await run(client, "review", thread, command={"resume": {question["id"]: {"ok": False}}})
    assert state["output"] == {"end": "shelved draft on tea", "side": "aside"}
    assert server.executions(state["run"]["id"]) == {"draft": 1, "side": 1, "shelve": 1}
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_an_answer_where_nothing_is_asked_is_refused(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    await run(client, "lanes", thread, input={})
    with pytest.raises(Exception, match="NotResumable"):
        await run(client, "lanes", thread, command={"resume": {"ok": True}})


@pytest.mark.req("D6")
async def test_new_input_on_a_paused_run_is_refused_and_says_what_to_do(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    await run(client, "review", thread, input={"topic": "tea"})
    with pytest.raises(Exception, match=r"NotResumable.*waits for an answer at approve"):
        await run(client, "review", thread, input={"topic": "coffee"})
    state = await run(client, "review", thread, command={"resume": {"ok": True}})
    assert state["output"]["end"].startswith("published draft on tea")


@pytest.mark.req("D6")
async def test_a_second_input_on_a_finished_thread_is_a_new_run(client: LangGraphClient, server: Server) -> None:
    thread = await thread_of(client)
    one = await run(client, "lanes", thread, input={"word": "one"})
    two = await run(client, "lanes", thread, input={"word": "two"})
    assert two["output"]["quick"] == "two-1-2-3"
    assert one["run"]["id"] != two["run"]["id"]
    assert server.executions(two["run"]["id"])["meet"] == 1
    assert len(two["path"]) == len(NODES)


async def test_a_conversation_goes_on_over_several_inputs(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    await run(client, "talk", thread, input={"question": "Who was the keeper?"})
    state = await run(client, "talk", thread, input={"question": "When was it lit?"})
    assert [m["type"] for m in state["messages"]] == ["human", "ai", "human", "ai"]


@pytest.mark.req("D4", "D6")
async def test_a_session_of_the_newer_protocol_streams_asks_and_goes_on(client: LangGraphClient) -> None:
    async with client.threads.stream(assistant_id="review") as session:
        await session.run.start(input={"topic": "tea"})
        seen = [values async for values in session.values]
        assert seen and len(session.interrupts) == 1
        await session.run.respond({"ok": True})
        ended = await session.output
    assert ended["output"]["end"] == "published draft on tea with 3 stars"


# -- history and forks ---------------------------------------------------------------------------------------------


@pytest.mark.req("D6", "X5")
async def test_the_history_shows_the_steps_as_they_ended(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    await run(client, "lanes", thread, input={"word": "hi"})
    history = await client.threads.get_history(thread, limit=100)
    paths = [state["values"].get("path", []) for state in history]
    assert sorted(paths[0]) == sorted(NODES)
    assert all(set(earlier) <= set(later) for later, earlier in pairwise(paths))
    assert len(history) >= 5


@pytest.mark.req("D6", "X5")
async def test_a_fork_with_a_changed_value_runs_only_what_depends_on_it(
    client: LangGraphClient, server: Server
) -> None:
    thread = await thread_of(client)
    original = await run(client, "lanes", thread, input={"word": "hi"})
    history = await client.threads.get_history(thread, limit=100)
    done = {"first", "slow", "quick1", "quick2"}
    past = next(
        s for s in history if done <= set(s["values"]["path"]) and not {"quick3", "meet"} & set(s["values"]["path"])
    )
    changed = await client.threads.update_state(
        thread, {"results": {"quick2": "FORKED"}}, checkpoint=past["checkpoint"]
    )
    forked = await run(client, "lanes", thread, input=None, checkpoint=changed["checkpoint"])
    assert forked["output"]["quick"] == "FORKED-3"
    assert forked["run"]["id"] != original["run"]["id"]
    assert forked["run"]["forked_from"] == original["run"]["id"]
    assert server.executions(forked["run"]["id"]) == {"quick3": 1, "meet": 1}


@pytest.mark.req("D4", "D6", "X5")
async def test_a_fork_of_a_paused_run_asks_anew_with_the_changed_value_behind_it(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    original = await run(client, "review", thread, input={"topic": "tea"})
    await client.threads.update_state(thread, {"results": {"draft": "CHANGED"}})
    forked = await run(client, "review", thread, input=None)
    state = await client.threads.get_state(thread)
    assert state["next"] == ["approve"] and len(state["interrupts"]) == 1
    assert state["values"]["run"]["id"] == forked["run"]["id"] != original["run"]["id"]
    ended = await run(client, "review", thread, command={"resume": {"ok": True, "stars": 5}})
    assert ended["output"]["end"] == "published CHANGED with 5 stars"
    assert ended["run"]["forked_from"] == original["run"]["id"]


@pytest.mark.req("D6", "X5")
async def test_running_again_from_a_past_checkpoint_is_a_new_run_too(client: LangGraphClient, server: Server) -> None:
    thread = await thread_of(client)
    original = await run(client, "lanes", thread, input={"word": "hi"})
    history = await client.threads.get_history(thread, limit=100)
    past = next(s for s in history if "quick1" in s["values"]["path"] and "quick2" not in s["values"]["path"])
    again = await run(client, "lanes", thread, input=None, checkpoint=past["checkpoint"])
    assert again["output"] == original["output"]
    assert again["run"]["id"] != original["run"]["id"]
    ran = server.executions(again["run"]["id"])
    assert not {"first", "quick1"} & set(ran) and ran["quick2"] == ran["quick3"] == ran["meet"] == 1


# -- cancel, join, double texting ----------------------------------------------------------------------------------


async def test_join_waits_for_a_running_run(client: LangGraphClient, server: Server) -> None:
    thread = await thread_of(client)
    begun = await client.runs.create(thread, "lanes", input={"word": "hi", "door": "join"})
    joined = asyncio.create_task(client.runs.join(thread, begun["run_id"]))
    await until(lambda: any(line.endswith(" slow?") for line in server.entries()), "the slow step")
    server.open("join")
    await joined
    state = await client.threads.get_state(thread)
    assert state["values"]["output"]["slow"] == "hi slowly"


@pytest.mark.req("D6")
async def test_a_cancelled_run_keeps_what_was_done_and_can_go_on(client: LangGraphClient, server: Server) -> None:
    thread = await thread_of(client)
    begun = await client.runs.create(thread, "lanes", input={"word": "hi", "door": "cancel"})
    values = await done(client, thread, {"quick3", "again"})
    await until(lambda: server.executions(values["run"]["id"])["slow?"], "the slow step at its door")
    await client.runs.cancel(thread, begun["run_id"], wait=True)
    await until(lambda: server.let_go(values["run"]["id"], "slow"), "the slow step leaving its door")
    assert (await client.runs.get(thread, begun["run_id"]))["status"] == "interrupted"
    rest = (await client.threads.get_state(thread))["values"]
    assert "slow" not in rest["nodes"] and rest["nodes"]["quick3"]["status"] == "done"
    server.open("cancel")
    state = await run(client, "lanes", thread, input=None)
    assert state["output"] == {"slow": "hi slowly", "quick": "hi-1-2-3", "how": "2 times"}
    ran = server.executions(rest["run"]["id"])
    assert ran.pop("slow?") == 2
    assert set(ran.values()) == {1}
    assert state["run"]["id"] == rest["run"]["id"]


@pytest.mark.parametrize("strategy", ["reject", "enqueue", "interrupt", "rollback"])
async def test_a_second_call_while_one_runs_corrupts_nothing(
    client: LangGraphClient, server: Server, strategy: Any
) -> None:
    thread, door = await thread_of(client), f"double-{strategy}"
    one = await client.runs.create(thread, "lanes", input={"word": "one", "door": door})
    first_run = (await done(client, thread, {"quick3", "again"}))["run"]["id"]
    await until(lambda: server.executions(first_run)["slow?"], "the slow step at its door")
    two = None
    try:
        two = await client.runs.create(
            thread, "lanes", input={"word": "two", "door": door}, multitask_strategy=strategy
        )
    except APIStatusError as refused:
        assert strategy == "reject" and refused.response.status_code == 409
    if strategy in ("interrupt", "rollback"):  # the server says that a run has ended before its work has let go
        await until(lambda: server.let_go(first_run, "slow"), "the first run's slow step leaving its door")
    server.open(door)
    await client.runs.join(thread, one["run_id"]) if strategy in ("reject", "enqueue") else None
    if two is not None:
        await client.runs.join(thread, two["run_id"])
    values = (await client.threads.get_state(thread))["values"]
    if strategy in ("enqueue", "rollback"):
        assert values["output"]["quick"] == "two-1-2-3" and values["run"]["id"] != first_run
    elif strategy == "reject":
        assert values["output"]["quick"] == "one-1-2-3"
    else:  # the first run is unfinished, so the second input is refused, and the first can go on
        assert (await client.runs.get(thread, two["run_id"]))["status"] == "error"  # type: ignore[index]
        assert (await run(client, "lanes", thread, input=None))["output"]["quick"] == "one-1-2-3"
    for step, times in server.executions(first_run).items():
        assert times == 1 or step == "slow?"


# -- last: what the server said ------------------------------------------------------------------------------------


@pytest.mark.req("D6")
async def test_nothing_blocked_the_servers_event_loop(client: LangGraphClient, server: Server) -> None:
    await run(client, "review", input={"topic": "tea"})
    assert "Blocking" not in server.said()
    assert "internal error" not in server.said().lower()
