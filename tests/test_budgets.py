"""A run that has used up a limit: it rests and asks for more, goes on where it was, and pays for nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langgraph.types import Command

from state.errors import AnswerRefused, WorkflowFailed
from state.services import Services
from tests.conftest import Stage, ask, do, say, statuses
from tests.fakes import ScriptedModel, ScriptedModels, ScriptedPrompts
from tests.threads import Run, killed, questions, until

pytestmark = [pytest.mark.req("X1", "X3")]

CHAIN = {"a": do(1), "b": do("{{ a + 1 }}"), "c": do("{{ b + 1 }}")}


async def test_a_run_at_its_limit_rests_and_goes_on_once_it_is_raised(stage: Stage) -> None:
    run = Run(stage, {"limits": {"max_steps": 2}, "nodes": CHAIN, "output": "{{ c }}"})
    state = await run.go({})
    assert (state["run"]["status"], state["run"]["reason"], statuses(state)) == (
        "paused",
        "budget",
        {"a": "done", "b": "done"},
    )
    (question,) = questions(state).values()
    assert (question["kind"], question["at"], question["limit"]) == ("budget", "run", "max_steps")
    assert "2 calls" in question["ask"]
    state = await run.again().go(Command(resume={"max_steps": 9}))
    assert (state["run"]["status"], state["output"], stage.paths()) == ("completed", 3, ["a", "b", "c"])


async def test_a_limit_that_is_not_raised_enough_is_refused_and_the_question_stays_open(stage: Stage) -> None:
    run = Run(stage, {"limits": {"max_steps": 2}, "nodes": CHAIN, "output": "{{ c }}"})
    await run.go({})
    for wrong in ({"max_steps": 2}, {"max_steps": 0}, {"max_steps": "many"}, {}, {"max_tokens": 5}):
        with pytest.raises(AnswerRefused):
            await run.go(Command(resume=wrong))
    assert list(questions(await run.go())) == ["run"]
    state = await run.say("run", {"max_steps": 3})
    assert (state["output"], stage.paths()) == (3, ["a", "b", "c"])


async def test_one_question_is_asked_for_many_branches_and_what_needs_no_call_goes_on(stage: Stage) -> None:
    nodes = {"a": do(1)} | {f"b{i}": do(f"{{{{ a + {i} }}}}") for i in range(4)}
    nodes |= {"free": say("{{ a }}"), "freer": say("{{ free + 1 }}"), "q": ask(depends_on=["freer"])}
    run = Run(stage, {"limits": {"max_steps": 1}, "nodes": nodes})
    state = await run.go({})
    assert sorted(questions(state)) == ["q", "run"]
    assert statuses(state) == {"a": "done", "free": "done", "freer": "done", "q": "waiting"}
    state = await run.say("run", {"max_steps": 99})
    assert (list(questions(state)), len(stage.paths())) == (["q"], 5)
    assert (await run.say("q", {"answer": "x"}))["run"]["status"] == "completed"


async def test_a_limit_is_asked_for_again_each_time_it_is_used_up(stage: Stage) -> None:
    run = Run(stage, {"limits": {"max_steps": 1}, "nodes": CHAIN, "output": "{{ c }}"})
    state = await run.go({})
    for limit in (2, 3):
        assert list(questions(state)) == ["run"]
        state = await run.say("run", {"max_steps": limit})
    assert (state["output"], stage.paths()) == (3, ["a", "b", "c"])


async def test_a_run_that_dies_at_its_limit_asks_again_and_keeps_what_was_raised(stage: Stage) -> None:
    nodes = {**CHAIN, "d": do("{{ c + 1 }}", hold="d"), "e": do("{{ d + 1 }}")}
    run = Run(stage, {"limits": {"max_steps": 2}, "nodes": nodes, "output": "{{ e }}"})
    await run.go({})
    assert list(questions(await run.again().go())) == ["run"]
    task = asyncio.create_task(run.say("run", {"max_steps": 4}))
    await until(lambda: "d" in stage.paths())
    await killed(task)
    stage.door("d").set()
    state = await run.again().go()
    assert list(questions(state)) == ["run"] and "4 calls" in questions(state)["run"]["ask"]
    assert (await run.say("run", {"max_steps": 5}))["output"] == 5
    assert stage.paths("end") == ["a", "b", "c", "d", "e"]


async def test_limits_hold_inside_loops_and_used_workflows(stage: Stage) -> None:
    stage.library["part"] = {"input": {"n": "integer"}, "nodes": {"p": do("{{ input.n }}")}, "output": "{{ p }}"}
    loop = {"for_each": [1, 2, 3], "nodes": {"sub": {"use": "part", "with": {"n": "{{ item }}"}}}, "output": "sub"}
    lap = {"repeat": {"max_iterations": 3, "initial": 0}, "nodes": {"y": do("{{ previous + 1 }}")}}
    run = Run(
        stage, {"limits": {"max_steps": 2}, "nodes": {"loop": loop, "lap": lap}, "output": ["{{ loop }}", "{{ lap }}"]}
    )
    state = await run.go({})
    for limit in (4, 6):
        assert (list(questions(state)), len(stage.paths())) == (["run"], limit - 2)
        state = await run.say("run", {"max_steps": limit})
    assert (state["output"], len(stage.paths()), len(set(stage.paths()))) == ([[1, 2, 3], 3], 6, 6)


async def test_a_limit_of_working_time_gives_up_reads_and_lets_writes_end(stage: Stage) -> None:
    nodes = {"w": do(1, effect="write", hold="w"), "r": do(2, hold="r"), "both": do("{{ w + r }}")}
    run = Run(stage, {"limits": {"timeout": "100ms"}, "nodes": nodes, "output": "{{ both }}"})
    task = await run.begun("w", "r")
    await until(lambda: ("cancel", "r") in stage.log)
    assert not task.done()
    stage.door("w").set()
    stage.door("r").set()
    state = await task
    assert (state["run"]["reason"], statuses(state), questions(state)["run"]["limit"]) == (
        "budget",
        {"w": "done"},
        "timeout",
    )
    assert state["run"]["worked"] >= 0.1
    with pytest.raises(AnswerRefused):
        await run.say("run", {"timeout": 0.1})
    state = await run.say("run", {"timeout": 600})
    assert (state["output"], sorted(stage.paths("end"))) == (3, ["both", "r", "w"])


async def test_rests_are_no_working_time(stage: Stage) -> None:
    run = Run(
        stage, {"limits": {"timeout": "10m"}, "nodes": {"q": ask(), "a": do("{{ q.answer }}")}, "output": "{{ a }}"}
    )
    before = (await run.go({}))["run"]["worked"]
    await asyncio.sleep(0.2)
    state = await run.say("q", {"answer": "x"})
    assert state["output"] == "x" and before <= state["run"]["worked"] < 600


async def test_used_tokens_and_money_rest_the_run_and_no_answer_is_paid_twice(stage: Stage) -> None:
    model = Billing(answers=["one", "two", "three"])
    models = Priced({"scripted": model})
    stage.services = Services(tools=stage.services.tools, models=models, prompts=ScriptedPrompts({}))
    said = {"type": "llm", "prompt": "Say something."}
    nodes = {"a": said, "b": {**said, "depends_on": ["a"]}, "c": {**said, "depends_on": ["b"]}}
    limits = {"max_tokens": 100, "max_cost_usd": 0.0007}
    run = Run(stage, {"limits": limits, "nodes": nodes, "output": ["{{ a }}", "{{ b }}", "{{ c }}"]})
    state = await run.go({})
    assert (questions(state)["run"]["limit"], state["nodes"]["a"]["usage"]["cost_usd"]) == ("max_tokens", 0.0004)
    state = await run.say("run", {"max_tokens": 1000})
    assert (questions(state)["run"]["limit"], len(model.asked)) == ("max_cost_usd", 2)
    with pytest.raises(AnswerRefused):
        await run.say("run", {"max_cost_usd": 0.0008})
    state = await run.say("run", {"max_cost_usd": 1})
    assert (state["output"], len(model.asked)) == (["one", "two", "three"], 3)


class Priced(ScriptedModels):
    """Models of which the settings say what a million tokens cost, asked and answered."""

    def price(self, name: str) -> tuple[float, float] | None:
        """Two dollars and four."""
        return 2.0, 4.0


class Billing(ScriptedModel):
    """A model that says that it used a hundred tokens and fifty."""

    async def _astream(self, *args: Any, **more: Any) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in super()._astream(*args, **more):
            yield chunk
        usage = UsageMetadata(input_tokens=100, output_tokens=50, total_tokens=150)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))


async def test_what_follows_a_failure_is_subject_to_no_limit(stage: Stage) -> None:
    clean = {"nodes": {"one": do(1), "two": do("{{ one }}")}}
    nodes = {"a": do(1), "b": do("{{ a }}", fault="tool_error")}
    run = Run(stage, {"limits": {"max_steps": 2}, "nodes": nodes, "finally": clean})
    with pytest.raises(WorkflowFailed):
        await run.go({})
    assert stage.paths() == ["a", "b", "finally.one", "finally.two"]


async def test_a_pause_counts_no_call_twice_against_the_limit(stage: Stage) -> None:
    run = Run(
        stage, {"limits": {"max_steps": 2}, "nodes": {"a": do(1, hold="a"), "b": do("{{ a }}")}, "output": "{{ b }}"}
    )
    task = await run.begun("a")
    await run.pause()
    await task
    stage.door("a").set()
    assert (await run.go())["output"] == 1
