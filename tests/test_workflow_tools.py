"""Workflows that are called as tools: runs of their own, kept, stopped, asked and counted with the run that calls them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from cogwork.app import App
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.child_run import used
from cogwork.tools.function import FunctionTool
from graphs.keeping import POLL
from state.errors import AnswerRefused, Fault, NotResumable, SpecError, WorkflowCancelled, WorkflowFailed
from state.services import CallContext, Within
from state.values import Json

pytestmark = [pytest.mark.req("X8", "T3")]
OK: dict[str, Json] = {"ok": {"type": "boolean"}}
THREAD: Any = {"configurable": {"thread_id": "one"}}


class Shop:
    """A folder of workflows, tools that keep a log, and doors that a tool waits at."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, list[str]()
        self.reached, self.door, self.never = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.wire = asyncio.Event()
        self.failing = 0
        self.settings: dict[str, Any] = {}

    @property
    def app(self) -> App:
        """cogwork with this shop's tools; anew each time, as another process would have it."""

        async def note(word: str, context: CallContext) -> str:
            self.log.append(word)
            return word

        async def wait(word: str) -> str:
            self.log.append(f"{word} begins")
            self.reached.set()
            await (self.door if word == "b" else self.never).wait()
            self.log.append(f"{word} ends")
            return word

        async def fail(word: str) -> str:
            self.log.append(word)
            self.failing -= 1
            if self.failing >= 0:
                raise Fault("unavailable", f"{word} is shut", origin="tool", retry_after=0)
            return word

        async def trip(word: str) -> str:
            await self.reached.wait()
            raise Fault("refused", f"{word} tripped", origin="tool")

        async def snap(word: str) -> str:
            await self.wire.wait()
            raise Fault("refused", f"{word} snapped", origin="tool")

        def tool(function: Callable[..., Any], effect: Any, name: str = "") -> FunctionTool:
            return FunctionTool.from_function(function, name=name or function.__name__, effect=effect)

        tools = (
            tool(note, "write"),
            tool(note, "read", "look"),
            tool(note, "none", "think"),
            tool(wait, "write"),
            tool(wait, "read", "watch"),
            tool(fail, "write"),
            tool(trip, "read"),
            tool(snap, "write"),
        )
        more = {"state_dir": self.folder / "state", "workflows": [self.folder], **self.settings}
        return App(settings=Settings(**more), tools=tools)

    def has(self, name: str, nodes: dict[str, Any], **more: Json) -> None:
        """Put a workflow into the folder."""
        spec = {"cogwork": "v1", "name": name, "nodes": nodes, **more}
        (self.folder / f"{name}.yaml").write_text(json.dumps(spec), encoding="utf-8")

    def graph(self, nodes: dict[str, Any], saver: Any, **more: Json) -> Any:
        """The graph of a workflow that calls others."""
        return self.app.compile({"cogwork": "v1", "name": "outer", "nodes": nodes, **more}, checkpointer=saver)

    def tool(self, name: str) -> Any:
        """The tool of that name."""
        found = self.app.services.tools.find(name)
        assert found is not None, self.app.services.tools.problem(name)
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A fresh shop."""
    return Shop(tmp_path)


@pytest.fixture
def saver(tmp_path: Path) -> Any:
    """Checkpoints in a file."""
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as opened:
        yield opened


def call(name: str, **more: Json) -> dict[str, Json]:
    """A step that calls a workflow, or another tool with the step's words."""
    keys = ("depends_on", "retry", "on_error", "timeout", "undo", "when")
    step = {key: more.pop(key) for key in keys if key in more}
    return {"type": "tool", "tool": name, "args": more, **step}


def note(word: str, **more: Json) -> dict[str, Json]:
    """A step that writes a word into the log."""
    return call("note", word=word, **more)


def children(saver: Any) -> list[str]:
    """The threads of the runs that calls have begun, in a stable order."""
    found = {each.config["configurable"]["thread_id"] for each in saver.list(None)}
    return sorted(thread for thread in found if thread.startswith("within-"))


def run_of(saver: Any, thread: str) -> dict[str, Any]:
    """The record of the run on a thread."""
    kept = saver.get_tuple({"configurable": {"thread_id": thread}})
    return dict(kept.checkpoint["channel_values"]["run"])


# -- what the tools are ------------------------------------------------------------------------------------------


def test_a_workflow_is_a_tool_with_its_input_output_and_description(shop: Shop) -> None:
    shop.has("add", {"a": call("think", word="{{ input.word }}")}, input={"word": "string"}, description="Adds a word.")
    tool = shop.tool("workflow.add")
    assert tool.args_schema["required"] == ["word"]
    assert tool.output_schema == {"type": "string"}
    assert tool.description == "Adds a word."
    assert "workflow.add" in shop.app.services.tools.names()
    assert "workflow.planning" in shop.app.services.tools.names()


@pytest.mark.parametrize(
    ("nodes", "effect"),
    [
        ({"a": {"type": "transform", "set": 1}}, "none"),
        ({"a": call("think", word="x"), "b": call("look", word="x")}, "read"),
        ({"a": {**note("x"), "effect": "read"}}, "read"),
        ({"a": call("look", word="x", undo={"tool": "note", "args": {"word": "y"}})}, "write"),
        ({"a": {"for_each": [1], "nodes": {"b": note("x")}}}, "write"),
        ({"a": {**call("look", word="x"), "fallback": [{"tool": "note"}]}}, "write"),
        ({"a": call("workflow.reads")}, "read"),
        ({"a": call("workflow.far")}, "write"),
        ({"a": {"type": "llm", "prompt": "Do it.", "tools": ["look"]}}, "read"),
        ({"a": {"type": "llm", "prompt": "Do it.", "tools": ["workflow.f*"]}}, "write"),
    ],
)
def test_its_effect_is_the_worst_of_its_steps(shop: Shop, nodes: dict[str, Any], effect: str) -> None:
    shop.has("reads", {"a": call("look", word="x")})
    shop.has("far", {"a": call("workflow.writes")})
    shop.has("writes", {"a": note("x")})
    shop.has("tried", nodes)
    assert shop.tool("workflow.tried").effect == effect


def test_check_knows_the_output_of_a_called_workflow_and_refuses_arguments_that_do_not_fit(shop: Shop) -> None:
    shop.has("pair", {"a": {"type": "transform", "set": 1}}, input={"n": "integer"}, output={"one": "{{ a }}"})
    nodes = {"p": call("workflow.pair", n="many"), "q": {"type": "transform", "set": "{{ p.two }}"}}
    found = shop.app.check({"cogwork": "v1", "name": "outer", "nodes": nodes})
    assert {(each.code, each.pointer) for each in found} >= {("argument_type", "/nodes/p/args/n")}
    assert any(each.pointer.startswith("/nodes/q") for each in found)


def test_a_workflow_that_calls_itself_or_cannot_run_is_refused_by_check(shop: Shop) -> None:
    shop.has("ring", {"a": call("workflow.back")})
    shop.has("back", {"a": call("workflow.ring")})
    shop.has("faulty", {"a": {"type": "transform", "set": "{{ nowhere }}"}})
    shop.has("right", {"a": {"type": "transform", "set": 1}})
    nodes = {name: call(f"workflow.{name}") for name in ("ring", "faulty", "right")}
    found = {each.pointer: each for each in shop.app.check({"cogwork": "v1", "name": "outer", "nodes": nodes})}
    assert found["/nodes/ring/tool"].code == "recursive_call"
    assert found["/nodes/faulty/tool"].code == "broken_workflow"
    assert "nowhere" in found["/nodes/faulty/tool"].message
    assert "/nodes/right/tool" not in found
    assert "recursive_call" in {each.code for each in shop.app.check("ring")}


def test_a_workflow_that_cannot_be_loaded_is_no_tool_and_check_says_why(shop: Shop) -> None:
    (shop.folder / "torn.yaml").write_text("cogwork: v1\nname: torn\nnodes: [", encoding="utf-8")
    assert shop.app.services.tools.find("workflow.torn") is None
    problem = shop.app.services.tools.problem("workflow.torn") or ""
    assert "torn.yaml cannot be loaded" in problem
    assert shop.app.services.tools.problem("workflow.nobody") is None


def test_the_settings_say_which_workflows_may_be_called(shop: Shop) -> None:
    shop.has("inner", {"a": note("x")})
    shop.settings = {"tools": ["note", "workflow.plan*"]}
    tools = shop.app.services.tools
    assert [name for name in tools.names() if name.startswith("workflow.")] == ["workflow.planning"]
    assert tools.find("workflow.inner") is None


def test_what_catalog_workflows_give_fits_what_their_tools_promise(shop: Shop) -> None:
    shop.settings = {"workflows": [], "model": "offline"}
    nodes = {"p": call("workflow.planning", goal="Move the office"), "q": call("workflow.generic", request="Say hello")}
    state = shop.graph(nodes, InMemorySaver(), output={"p": "{{ p }}", "q": "{{ q }}"}).invoke({}, THREAD)
    assert shop.tool("workflow.planning").output_schema
    assert set(state["output"]) == {"p", "q"}


# -- runs of their own ---------------------------------------------------------------------------------------------


async def test_each_call_is_a_run_of_its_own_on_a_thread_of_its_own_kept_by_the_same_saver(
    shop: Shop, saver: Any
) -> None:
    shop.has("add", {"a": note("{{ input.word }}")}, input={"word": "string"}, output="{{ a }}!")
    graph = shop.graph({"x": call("workflow.add", word="one"), "y": call("workflow.add", word="two")}, saver)
    state = await graph.ainvoke({}, THREAD)
    assert state["output"] == {"x": "one!", "y": "two!"}
    runs = [run_of(saver, thread) for thread in children(saver)]
    assert [run["status"] for run in runs] == ["completed", "completed"]
    assert len({run["id"] for run in runs} | {state["run"]["id"]}) == 3
    about = [saver.get_tuple({"configurable": {"thread_id": thread}}).metadata for thread in children(saver)]
    assert {each["cogwork_parent"] for each in about} == {f"{state['run']['id']}:{step}" for step in ("x", "y")}
    assert not any("langgraph_node" in each for each in about), "nothing of the caller's config reaches the run"


async def test_the_parent_hands_down_its_context_and_hears_how_far_the_child_has_come(shop: Shop, saver: Any) -> None:
    shop.has("who", {"a": note("{{ context.user.name }}"), "b": note("{{ a }} again")})
    graph = shop.graph({"x": call("workflow.who")}, saver)
    events = [each async for each in graph.aevents({}, THREAD, context={"user": {"name": "Ada"}})]
    told = [each.data["message"] for each in events if each.kind == "step.progress" and each.step == "x"]
    assert shop.log == ["Ada", "Ada again"]
    assert told[1:] == ["a finished", "b finished"]
    assert told[0].endswith(f"on thread {children(saver)[0]}")


async def test_called_again_under_its_key_a_finished_run_gives_its_result_and_does_nothing(
    shop: Shop, saver: Any
) -> None:
    shop.has("add", {"a": note("once")})
    context = CallContext(run="r", step="x", idempotency_key="r:x:0", within=Within(checkpointer=saver))
    assert await shop.tool("workflow.add").call({}, context) == "once"
    assert await shop.tool("workflow.add").call({}, context) == "once"
    other = CallContext(run="r", step="x", idempotency_key="r:x:1", within=Within(checkpointer=saver))
    await shop.tool("workflow.add").call({}, other)
    assert (shop.log, len(children(saver))) == (["once", "once"], 2)


def test_after_a_kill_the_same_run_goes_on_and_repeats_nothing(shop: Shop) -> None:
    (shop.folder / "mine.py").write_text(
        "import os, pathlib, signal, cogwork\n"
        "LOG = pathlib.Path('log.txt')\n"
        "@cogwork.tool(effect='write')\n"
        "def mark(word: str) -> str:\n"
        "    LOG.open('a').write(word + ' ')\n"
        "    return word\n"
        "@cogwork.tool(effect='read')\n"
        "def dies(word: str) -> str:\n"
        "    if not os.path.exists('died'):\n"
        "        pathlib.Path('died').touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return word\n"
    )
    shop.has("deep", {"a": call("mark", word="deep"), "b": call("dies", word="{{ a }}")})
    shop.has("inner", {"a": call("mark", word="inner"), "b": call("workflow.deep", depends_on="a")})
    shop.has("outer", {"x": call("workflow.inner"), "y": call("mark", word="{{ x }}-outer")})
    given = {**os.environ, "COGWORK_PYTHON_TOOLS": '["mine.py"]', "COGWORK_WORKFLOWS": '["."]'}

    def cogwork(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cogwork", *words, "--json"]
        return subprocess.run(command, cwd=shop.folder, env=given, capture_output=True, text=True, check=False)

    assert cogwork("run", "outer", "--thread", "one").returncode == -9
    listed = {row["thread"]: row["status"] for row in json.loads(cogwork("list").stdout)}
    done = cogwork("resume", "one")
    assert json.loads(done.stdout.splitlines()[-1])["output"] == "deep-outer", done.stderr
    assert (shop.folder / "log.txt").read_text() == "inner deep deep-outer "
    after = {row["thread"]: row["status"] for row in json.loads(cogwork("list").stdout)}
    assert set(after) == set(listed)
    assert (len(after), set(after.values())) == (3, {"completed"})


async def test_a_changed_file_does_not_keep_the_run_that_began_with_the_old_one_from_going_on(
    shop: Shop, saver: Any
) -> None:
    asks = {"type": "human", "ask": "Well?", "form": OK}
    shop.has("inner", {"a": note("old"), "who": asks, "b": note("{{ a }} {{ who.ok }}")}, output="{{ b }}")
    graph = shop.graph({"x": call("workflow.inner")}, saver)
    await graph.ainvoke({}, THREAD)
    shop.has("inner", {"z": note("new")})
    again = shop.graph({"x": call("workflow.inner")}, saver)
    state = await again.ainvoke(Command(resume={"ok": True}), THREAD)
    assert (state["run"]["status"], shop.log) == ("completed", ["old", "old true"])


async def test_without_a_checkpointer_the_run_lives_as_long_as_the_call(shop: Shop) -> None:
    shop.has("inner", {"a": note("x")})
    state = await shop.graph({"x": call("workflow.inner")}, None).ainvoke({})
    assert (state["output"], shop.log) == ("x", ["x"])
    shop.has("asks", {"a": {"type": "human", "ask": "Well?"}})
    with pytest.raises(WorkflowFailed, match="without checkpoints nobody can answer"):
        await shop.graph({"x": call("workflow.asks")}, None).ainvoke({})


async def test_runs_within_each_other_are_bounded_in_depth(shop: Shop, saver: Any) -> None:
    shop.settings = {"max_workflow_depth": 2}
    for name, below in (("one", "two"), ("two", "three")):
        shop.has(name, {"a": call(f"workflow.{below}")})
    shop.has("three", {"a": note("deepest")})
    with pytest.raises(WorkflowFailed) as failed:
        await shop.graph({"x": call("workflow.one")}, saver).ainvoke({}, THREAD)
    assert failed.value.error["class"] == "refused"
    assert "workflow.three would be run number 3 within another, and at most 2 are allowed" in str(failed.value)
    assert shop.log == []
    state = await shop.graph({"x": call("workflow.two")}, saver).ainvoke({}, {"configurable": {"thread_id": "two"}})
    assert (state["output"], shop.log) == ("deepest", ["deepest"])


# -- people --------------------------------------------------------------------------------------------------------


async def test_what_a_run_within_runs_asks_is_asked_by_the_outermost_and_its_answer_handed_down(
    shop: Shop, saver: Any
) -> None:
    asks = {"type": "human", "ask": "Send {{ a }}?", "show": {"text": "{{ a }}"}, "form": OK}
    shop.has("deep", {"a": note("draft"), "who": asks, "b": note("sent {{ who.ok }}")})
    shop.has("inner", {"x": call("workflow.deep")})
    graph = shop.graph({"x": call("workflow.inner"), "y": note("beside")}, saver)
    state = await graph.ainvoke({}, THREAD)
    question = state["__interrupt__"][0].value
    assert (question["at"], question["ask"], question["show"]["text"]) == ("x", "Send draft?", "draft")
    with pytest.raises(AnswerRefused):
        await graph.ainvoke(Command(resume={"ok": "perhaps"}), THREAD)
    anew = shop.graph({"x": call("workflow.inner"), "y": note("beside")}, saver)
    state = await anew.ainvoke(Command(resume={"ok": True}), THREAD)
    assert sorted(shop.log) == ["beside", "draft", "sent true"]
    assert state["results"]["x"] == "sent true"
    assert {run_of(saver, thread)["status"] for thread in children(saver)} == {"completed"}


async def test_several_questions_of_one_run_are_asked_one_after_the_other(shop: Shop, saver: Any) -> None:
    human = {"type": "human", "form": OK}
    first, second = {**human, "ask": "First?"}, {**human, "ask": "Second?"}
    shop.has("two", {"a": first, "b": second}, output="{{ a.ok }}-{{ b.ok }}")
    graph = shop.graph({"x": call("workflow.two")}, saver)
    state = await graph.ainvoke({}, THREAD)
    assert state["__interrupt__"][0].value["ask"] == "First?"
    state = await graph.ainvoke(Command(resume={"ok": True}), THREAD)
    assert state["__interrupt__"][0].value["ask"] == "Second?"
    state = await graph.ainvoke(Command(resume={"ok": False}), THREAD)
    assert state["output"] == "true-false"


async def test_a_run_that_rests_at_its_own_limit_asks_for_a_higher_one(shop: Shop, saver: Any) -> None:
    shop.has("three", {"a": note("1"), "b": note("2{{ a }}"), "c": note("3{{ b }}")}, limits={"max_steps": 2})
    graph = shop.graph({"x": call("workflow.three")}, saver)
    state = await graph.ainvoke({}, THREAD)
    assert "max_steps" in state["__interrupt__"][0].value["form"]["required"]
    state = await graph.ainvoke(Command(resume={"max_steps": 9}), THREAD)
    assert (state["output"], shop.log) == ("321", ["1", "21", "321"])


# -- failures ------------------------------------------------------------------------------------------------------


async def test_a_run_that_fails_fails_the_step_with_its_error_and_where_to_find_it(shop: Shop, saver: Any) -> None:
    shop.failing = 99
    shop.has("shut", {"a": call("fail", word="door")})
    with pytest.raises(WorkflowFailed) as failed:
        await shop.graph({"x": call("workflow.shut")}, saver).ainvoke({}, THREAD)
    error, thread = failed.value.error, children(saver)[0]
    assert (error["class"], error["origin"], error["node"]) == ("unavailable", "tool", "x")
    assert error["message"] == "workflow.shut failed at a: door is shut"
    assert error["details"]["thread"] == thread
    assert error["details"]["run"] == run_of(saver, thread)["id"]
    assert error["details"]["error"]["node"] == "a"


async def test_a_retry_begins_the_failed_workflow_anew_on_its_thread(shop: Shop, saver: Any) -> None:
    shop.failing = 1
    shop.has("shut", {"b": note("before"), "a": call("fail", word="door", depends_on="b")})
    step = call("workflow.shut", retry={"max_attempts": 3, "backoff": 0.001})
    state = await shop.graph({"x": step}, saver).ainvoke({}, THREAD)
    assert shop.log == ["before", "door", "before", "door"]
    assert (state["nodes"]["x"]["attempts"], len(children(saver))) == (2, 1)


async def test_an_edit_of_the_input_is_refused_before_any_run_begins(shop: Shop, saver: Any) -> None:
    shop.has("add", {"a": note("x")}, input={"word": "string"})
    with pytest.raises(SpecError, match="word"):
        shop.graph({"x": call("workflow.add")}, saver)
    with pytest.raises(WorkflowFailed, match="do not fit"):
        await shop.graph(
            {"x": {**call("workflow.add"), "args": {"word": "{{ input.n }}"}}}, saver, input={"n": {}}
        ).ainvoke({"n": 3}, THREAD)
    assert children(saver) == []


# -- stopping ------------------------------------------------------------------------------------------------------


def waiting(shop: Shop, tool: str = "wait") -> None:
    """A workflow that writes, waits at the door, and says how it ends."""
    shop.has(
        "slow",
        {
            "a": note("a", undo={"tool": "note", "args": {"word": "a taken back"}}),
            "b": call(tool, word="b", depends_on="a"),
            "c": note("c", depends_on="b"),
        },
        **{"finally": {"nodes": {"f": note("{{ run.status }}")}}},
    )


@pytest.mark.parametrize("undo", [False, True])
async def test_cancelling_the_run_cancels_the_run_within_it(shop: Shop, saver: Any, undo: bool) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow"), "y": note("never", depends_on="x")}, saver)
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    await graph.acancel(THREAD, undo=undo)
    with pytest.raises(WorkflowCancelled):
        await running
    assert run_of(saver, children(saver)[0])["status"] == "cancelled"
    assert shop.log == ["a", "b begins", *(["a taken back"] if undo else []), "cancelled"]


async def test_a_write_in_flight_within_a_cancelled_run_ends_first(shop: Shop, saver: Any) -> None:
    shop.has("slow", {"b": call("wait", word="b"), "c": call("watch", word="c", depends_on="b")})
    graph = shop.graph({"x": call("workflow.slow")}, saver)
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    cancelling = asyncio.create_task(graph.acancel(THREAD))
    while await saver.requests.open(children(saver)[0]) is None:
        await asyncio.sleep(0)
    assert shop.log == ["b begins"]
    shop.door.set()
    await cancelling
    with pytest.raises(WorkflowCancelled):
        await running
    assert shop.log[:2] == ["b begins", "b ends"]
    assert run_of(saver, children(saver)[0])["status"] == "cancelled"


async def test_pausing_the_run_pauses_the_run_within_it_and_both_go_on_together(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow")}, saver)
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    await graph.apause(THREAD)
    assert (await running)["run"]["status"] == "paused"
    assert run_of(saver, children(saver)[0])["status"] == "paused"
    shop.door.set()
    state = await shop.graph({"x": call("workflow.slow")}, saver).ainvoke(None, THREAD)
    assert (state["run"]["status"], state["output"], len(children(saver))) == ("completed", "c", 1)
    assert shop.log == ["a", "b begins", "b begins", "b ends", "c", "completed"]


async def test_a_call_that_is_abandoned_leaves_a_run_that_goes_on_later(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow")}, saver)
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    shop.door.set()
    state = await shop.graph({"x": call("workflow.slow")}, saver).ainvoke(None, THREAD)
    assert (state["output"], shop.log.count("a"), len(children(saver))) == ("c", 1, 1)


async def test_when_another_step_fails_the_run_within_is_cancelled_and_taken_back(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow"), "y": call("trip", word="y")}, saver)
    with pytest.raises(WorkflowFailed, match="y tripped"):
        await graph.ainvoke({}, THREAD)
    assert run_of(saver, children(saver)[0])["status"] == "cancelled"
    assert shop.log == ["a", "b begins", "a taken back", "cancelled"]


async def test_at_the_time_limit_of_the_calling_run_the_run_within_rests_too(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow")}, saver, limits={"timeout": 0.3})
    state = await graph.ainvoke({}, THREAD)
    assert state["__interrupt__"][0].value["limit"] == "timeout"
    for child in children(saver):  # where the machine let it begin in that time
        assert run_of(saver, child)["status"] == "paused"
    shop.door.set()
    state = await graph.ainvoke(Command(resume={"timeout": 600}), THREAD)
    assert (state["output"], shop.log.count("a"), "a taken back" in shop.log) == ("c", 1, False)


async def resting_at_the_limit(shop: Shop, saver: Any, thread: str) -> None:
    """The run within has been asked to rest, which takes as long as the write in it."""
    while (found := await saver.requests.open(thread)) is None or found.kind != "pause":
        await asyncio.sleep(0.01)
    await asyncio.sleep(5 * POLL)  # the time stays used up, and is looked at again and again
    assert run_of(saver, thread)["status"] == "running"


async def test_a_run_within_rests_at_the_limit_however_long_its_write_takes(shop: Shop, saver: Any) -> None:
    waiting(shop)
    graph = shop.graph({"x": call("workflow.slow")}, saver, limits={"timeout": 1})
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    (child,) = children(saver)
    await resting_at_the_limit(shop, saver, child)
    shop.door.set()
    assert (await running)["__interrupt__"][0].value["limit"] == "timeout"
    assert run_of(saver, child)["status"] == "paused"
    assert shop.log == ["a", "b begins", "b ends"]


async def test_a_run_within_that_is_to_rest_is_taken_back_when_another_step_fails(shop: Shop, saver: Any) -> None:
    waiting(shop)
    graph = shop.graph({"x": call("workflow.slow"), "y": call("snap", word="y")}, saver, limits={"timeout": 1})
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    (child,) = children(saver)
    await resting_at_the_limit(shop, saver, child)
    shop.wire.set()
    while (await saver.requests.open(child)).kind != "cancel":
        await asyncio.sleep(0.01)
    shop.door.set()
    with pytest.raises(WorkflowFailed, match="y snapped"):
        await running
    assert run_of(saver, child)["status"] == "cancelled"
    assert shop.log == ["a", "b begins", "b ends", "a taken back", "cancelled"]


async def test_a_step_that_takes_too_long_cancels_its_run_and_leaves_nothing_at_work(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    with pytest.raises(WorkflowFailed, match="took longer than") as failed:
        await shop.graph({"x": call("workflow.slow", timeout=0.4)}, saver).ainvoke({}, THREAD)
    assert failed.value.error["class"] == "timeout"
    assert run_of(saver, children(saver)[0])["status"] == "cancelled"
    assert shop.log == ["a", "b begins", "a taken back", "cancelled"]


async def test_a_run_that_somebody_paused_by_itself_asks_whether_to_go_on(shop: Shop, saver: Any) -> None:
    waiting(shop, "watch")
    graph = shop.graph({"x": call("workflow.slow")}, saver)
    running = asyncio.create_task(graph.ainvoke({}, THREAD))
    await shop.reached.wait()
    thread = children(saver)[0]
    inner = shop.app.compile("slow", checkpointer=saver)
    await inner.apause({"configurable": {"thread_id": thread}})
    state = await running
    assert state["__interrupt__"][0].value["ask"] == f"workflow.slow was paused (thread {thread}). Go on with it?"
    shop.door.set()
    state = await graph.ainvoke(Command(resume={}), THREAD)
    assert (state["output"], shop.log.count("a")) == ("c", 1)


# -- what it costs -------------------------------------------------------------------------------------------------


async def test_what_the_run_within_used_counts_as_the_use_of_the_step(shop: Shop, saver: Any) -> None:
    shop.settings = {"model": "offline", "prices": {"offline": (1.0, 2.0)}}
    shop.has("talks", {"a": {"type": "llm", "prompt": "Say hello."}, "b": {"type": "llm", "prompt": "And {{ a }}"}})
    state = await shop.graph({"x": call("workflow.talks")}, saver).ainvoke({}, THREAD)
    kept = saver.get_tuple({"configurable": {"thread_id": children(saver)[0]}}).checkpoint["channel_values"]
    inner = [kept["nodes"][name]["usage"]["total_tokens"] for name in ("a", "b")]
    assert state["nodes"]["x"]["usage"]["total_tokens"] == sum(inner) > 0
    assert state["nodes"]["x"]["usage"] == used(kept)


async def test_what_its_models_say_is_not_streamed_as_if_a_step_of_the_calling_run_said_it(
    shop: Shop, saver: Any
) -> None:
    shop.settings = {"model": "offline"}
    shop.has("talks", {"a": {"type": "llm", "prompt": "Say hello."}})
    nodes = {"a": call("workflow.talks"), "b": {"type": "llm", "prompt": "And {{ a }}"}}
    events = [each async for each in shop.graph(nodes, saver).aevents({}, THREAD)]
    assert {each.step for each in events if each.kind == "step.token"} == {"b"}


async def test_it_counts_against_the_limits_of_the_run_that_calls(shop: Shop, saver: Any) -> None:
    shop.settings = {"model": "offline"}
    shop.has("talks", {"a": {"type": "llm", "prompt": "Say hello."}})
    nodes = {"x": call("workflow.talks"), "y": {"type": "llm", "prompt": "And {{ x }}", "max_tokens": 1}}
    state = await shop.graph(nodes, saver, limits={"max_tokens": 2}).ainvoke({}, THREAD)
    assert state["__interrupt__"][0].value["limit"] == "max_tokens"


async def test_a_run_is_not_new_input_for_somebody_who_resumes_it_by_hand(shop: Shop, saver: Any) -> None:
    shop.has("inner", {"who": {"type": "human", "ask": "Well?", "form": OK}, "b": note("{{ who.ok }}!")})
    graph = shop.graph({"x": call("workflow.inner")}, saver)
    await graph.ainvoke({}, THREAD)
    inner, thread = shop.app.compile("inner", checkpointer=saver), {"configurable": {"thread_id": children(saver)[0]}}
    with pytest.raises(NotResumable):
        await inner.ainvoke({}, thread)
    await inner.ainvoke(Command(resume={"ok": False}), thread)
    state = await graph.ainvoke(Command(resume={"ok": True}), THREAD)
    assert (state["output"], shop.log) == ("false!", ["false!"])
