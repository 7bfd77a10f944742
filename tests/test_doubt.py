"""A write of which nobody knows whether it was done: the run asks a person, believes the answer, and never guesses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.toolbox import FunctionTool, Toolbox
from state.errors import AnswerRefused, Fault, WorkflowFailed
from state.services import CallContext, Services
from tests.conftest import Stage, do, say, statuses
from tests.threads import Run, killed, questions, until

pytestmark = [pytest.mark.req("X5", "X12")]

DONE, NOT_DONE, RETRY = {"resolution": "done", "result": 7}, {"resolution": "not_done"}, {"resolution": "retry"}


def unsure(**more: Any) -> dict[str, Any]:
    """A write whose first attempt times out."""
    return do(7, effect="write", fault="timeout", until=1, **more)


def spec(node: Any, **more: Any) -> dict[str, Any]:
    """A write between two steps."""
    nodes = {"a": do(1), "w": {**node, "depends_on": ["a"]}, "b": do("{{ w + 1 }}")}
    return {"nodes": nodes, "output": "{{ b }}", **more}


class Mailbox:
    """Services with a tool that posts a letter, slowly, and says its number."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.keys: list[str] = []
        self.slow: asyncio.Event | None = asyncio.Event()

        async def post(context: CallContext, text: str = "") -> dict[str, int]:
            self.keys.append(context.idempotency_key)
            if self.slow is not None:
                await self.slow.wait()
            self.posted.append(text)
            return {"number": len(self.posted)}

        tool = FunctionTool.from_function(post, name="post", description="Post a letter.", effect="write")
        self.tools = Toolbox([tool])


@pytest.fixture
def mailbox(stage: Stage) -> Mailbox:
    """The tool ``post`` on the stage."""
    found = Mailbox()
    stage.services = Services(tools=found.tools, models=stage.services.models, prompts=stage.services.prompts)
    return found


POST: dict[str, Any] = {
    "nodes": {"w": {"type": "tool", "tool": "post", "args": {"text": "hello"}}, "b": say("{{ w.number }}")},
    "output": "{{ b }}",
}


async def test_a_write_that_timed_out_is_asked_about(stage: Stage) -> None:
    run = Run(stage, spec(unsure()))
    state = await run.go({})
    question = questions(state)["w"]
    assert (state["run"]["status"], state["run"]["reason"]) == ("paused", "in_doubt")
    assert (question["kind"], question["run"], question["show"]["tool"]) == ("in_doubt", state["run"]["id"], "do.write")
    assert question["show"]["args"]["value"] == 7 and question["show"]["begun_at"]
    assert list(questions(await run.again().go())) == ["w"]
    assert stage.paths() == ["a", "w"]


async def test_done_gives_the_step_its_result_and_nothing_is_called(stage: Stage) -> None:
    run = Run(stage, spec(unsure()))
    await run.go({})
    state = await run.say("w", {"resolution": "done", "result": 40})
    assert (state["run"]["status"], state["run"]["reason"], state["output"]) == ("completed", None, 41)
    assert stage.paths() == ["a", "w", "b"]


async def test_retry_calls_again_under_the_same_key(stage: Stage) -> None:
    run = Run(stage, spec(do(7, effect="write", hold="w", timeout="1s")))
    await run.die("w")
    assert list(questions(await run.go())) == ["w"]
    stage.door("w").set()
    state = await run.say("w", RETRY)
    assert (state["output"], stage.paths()) == (8, ["a", "w", "w", "b"])
    assert stage.keys[1] == stage.keys[2] == f"{state['run']['id']}:w:0"


async def test_not_done_fails_the_step(stage: Stage) -> None:
    run = Run(stage, spec(unsure()))
    await run.go({})
    with pytest.raises(WorkflowFailed, match="did not take place"):
        await run.say("w", NOT_DONE)
    assert ((await run.about())["error"]["node"], stage.paths()) == ("w", ["a", "w"])


@pytest.mark.parametrize(
    ("policy", "output"),
    [
        ({"on_error": "skip"}, "none"),
        ({"on_error": {"then": "other"}}, "none"),
        ({"fallback": [{"tool": "do.read", "args": {"value": 5}}]}, 5),
        ({"fallback": [{"node": "served"}]}, 6),
    ],
)
async def test_after_not_done_the_policies_of_the_step_decide(stage: Stage, policy: Any, output: Any) -> None:
    nodes: dict[str, Any] = {"w": {**unsure(), **policy}, "b": say("{{ w | default: 'none' }}")}
    if "on_error" in policy and policy["on_error"] != "skip":
        nodes["other"] = do("in its place")
    if policy.get("fallback") == [{"node": "served"}]:
        nodes["served"] = do(6)
    run = Run(stage, {"nodes": nodes, "output": "{{ b | default: 'none' }}"})
    await run.go({})
    state = await run.say("w", NOT_DONE)
    assert (state["run"]["status"], state["output"], stage.paths().count("w")) == (
        "completed",
        output,
        1 + (output == 5),
    )


async def test_what_is_no_result_of_the_tool_is_refused_and_the_question_stays_open(
    stage: Stage, mailbox: Mailbox
) -> None:
    run = Run(stage, POST)
    task = asyncio.create_task(run.go({}))
    await until(lambda: bool(mailbox.keys))
    await killed(task)
    await run.go()
    for wrong in (
        {"resolution": "done"},
        {"resolution": "done", "result": {"number": "one"}},
        {"resolution": "perhaps"},
        {},
    ):
        with pytest.raises(AnswerRefused):
            await run.go(Command(resume=wrong))
    assert list(questions(await run.go())) == ["w"]
    state = await run.go(Command(resume={"resolution": "done", "result": {"number": 12}}))
    assert (state["output"], mailbox.posted, len(mailbox.keys)) == (12, [], 1)


async def test_after_a_crash_the_record_says_that_the_write_had_begun(
    stage: Stage, mailbox: Mailbox, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoints.sqlite"
    with SqliteCheckpoints(path) as saver:
        task = asyncio.create_task(Run(stage, POST, saver).go({}))
        await until(lambda: bool(mailbox.keys))
        await killed(task)
    with SqliteCheckpoints(path) as saver:
        run = Run(stage, POST, saver, {"configurable": {"thread_id": "thread-1"}})
        question = questions(await run.go())["w"]
        assert question["show"] == {"tool": "post", "args": {"text": "hello"}, "begun_at": question["show"]["begun_at"]}
    mailbox.slow = None
    with SqliteCheckpoints(path) as saver:
        run = Run(stage, POST, saver, {"configurable": {"thread_id": "thread-1"}})
        assert (await run.say("w", RETRY))["output"] == 1
    assert (mailbox.posted, len(set(mailbox.keys))) == (["hello"], 1)


HELD: dict[str, dict[str, Any]] = {
    "loop[1].w": {"for_each": [1, 2], "nodes": {"w": do(7, effect="write", hold="{{ item == 2 ? 'w' : '' }}")}},
    "lap[0].w": {"repeat": {"max_iterations": 1}, "nodes": {"w": do([7, 7], effect="write", hold="w")}},
    "sub.w": {"use": "part"},
}


@pytest.mark.parametrize("path", HELD)
@pytest.mark.parametrize(("said", "calls"), [(DONE, 1), (RETRY, 2)])
async def test_inside_loops_and_used_workflows_each_doubt_is_asked_at_its_path(
    stage: Stage, path: str, said: Any, calls: int
) -> None:
    stage.library["part"] = {"nodes": {"w": do([7, 7], effect="write", hold="w")}, "output": "{{ w }}"}
    name = path.partition(".")[0].partition("[")[0]
    run = Run(stage, {"nodes": {name: HELD[path]}, "output": f"{{{{ {name} }}}}"})
    await run.die(path)
    stage.door("w").set()
    state = await run.go()
    assert list(questions(state)) == [path]
    state = await run.say(path, said if path == "loop[1].w" or said == RETRY else {**said, "result": [7, 7]})
    assert (state["output"], stage.paths().count(path)) == ([7, 7], calls)


async def test_an_undo_in_doubt_is_asked_about_and_the_others_go_on(stage: Stage) -> None:
    def undoing(value: Any, **undo: Any) -> dict[str, Any]:
        return {**do(value, effect="write"), "undo": {"tool": "do.write", "args": undo}}

    nodes = {"a": undoing(1), "b": undoing("{{ a }}", fault="timeout"), "c": do("{{ b }}", fault="tool_error")}
    run = Run(stage, {"nodes": nodes})
    state = await run.go({})
    assert (state["run"]["status"], questions(state)["undo[0]"]["kind"]) == ("paused", "in_doubt")
    with pytest.raises(WorkflowFailed):
        await run.say("undo[0]", {"resolution": "done"})
    assert (await run.about())["undo"] == {"done": ["b", "a"], "not_done": []}
    assert stage.paths() == ["a", "b", "c", "b", "a"]


async def test_an_undo_that_was_not_done_is_listed(stage: Stage) -> None:
    undone = {**do(1, effect="write"), "undo": {"tool": "do.write", "args": {"fault": "timeout"}}}
    run = Run(stage, {"nodes": {"a": undone, "b": do("{{ a }}", fault="tool_error")}})
    await run.go({})
    with pytest.raises(WorkflowFailed):
        await run.say("undo[0]", NOT_DONE)
    undo = (await run.about())["undo"]
    assert (undo["done"], [entry["step"] for entry in undo["not_done"]]) == ([], ["a"])


async def test_two_doubts_are_answered_one_after_the_other(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"v": unsure(), "w": unsure()}, "output": "{{ v + w }}"})
    assert sorted(questions(await run.go({}))) == ["v", "w"]
    state = await run.say("w", {"resolution": "done", "result": 1})
    assert (list(questions(state)), state["run"]["status"]) == (["v"], "paused")
    assert (await run.say("v", {"resolution": "done", "result": 2}))["output"] == 3
    assert sorted(stage.paths()) == ["v", "w"]


async def test_what_a_person_said_outlives_a_crash(stage: Stage) -> None:
    nodes = {"w": unsure(), "x": do("{{ w }}", hold="x")}
    run = Run(stage, {"nodes": nodes, "output": "{{ x }}"})
    await run.go({})
    task = asyncio.create_task(run.say("w", DONE))
    await until(lambda: "x" in stage.paths())
    await killed(task)
    stage.door("x").set()
    assert ((await run.go())["output"], stage.paths("end")) == (7, ["x"])


async def test_without_checkpoints_nobody_can_say_so_the_doubt_is_a_failure(stage: Stage) -> None:
    with pytest.raises(WorkflowFailed, match="Nobody knows whether"):
        await stage.run(spec(unsure(retry={"max_attempts": 3, "backoff": "1ms"})))
    assert stage.paths() == ["a", "w"]
    assert (
        statuses(await stage.run({"nodes": {"w": unsure(on_error="skip"), "b": do(1)}, "output": "{{ b }}"}))["w"]
        == "skipped"
    )


async def test_a_read_cut_off_is_called_again_and_nobody_is_asked(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"r": do(7, hold="r")}, "output": "{{ r }}"})
    await run.die("r")
    stage.door("r").set()
    assert ((await run.go())["output"], stage.paths()) == (7, ["r", "r"])


async def test_a_write_that_says_it_failed_leaves_no_doubt(stage: Stage) -> None:
    run = Run(stage, spec(do(7, effect="write", fault="unavailable")))
    with pytest.raises(WorkflowFailed) as failed:
        await run.go({})
    assert Fault.from_record(failed.value.error).fault_class == "unavailable"
