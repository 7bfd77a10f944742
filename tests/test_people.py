"""People: questions, answers by path, id or alone, refusals, deadlines, and what goes on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import cogwork
from state.errors import AnswerRefused, NotResumable, WorkflowFailed
from tests.conftest import Stage, answer, do, say

FORM = {"ok": {"type": "boolean"}, "note": {"type": "string", "default": "none"}}


def ask(question: str = "Well?", **more: Any) -> dict[str, Any]:
    return {"type": "human", "ask": question, "form": FORM, **more}


def asked(state: dict[str, Any]) -> list[str]:
    return sorted(i.value["at"] for i in state.get("__interrupt__", ()))


class Talk:
    """A run on a thread of its own."""

    def __init__(self, stage: Stage, nodes: dict[str, Any], **more: Any) -> None:
        self.graph, self.config = stage.graph({"nodes": nodes, **more}, InMemorySaver()), stage.thread()

    async def start(self, **given: Any) -> dict[str, Any]:
        return await self.graph.ainvoke(given, self.config)

    async def say(self, resume: Any) -> dict[str, Any]:
        return await self.graph.ainvoke(answer(resume), self.config)


@pytest.mark.req("D4")
async def test_the_answer_with_its_defaults_becomes_the_value(stage: Stage) -> None:
    talk = Talk(
        stage,
        {"a": do(7), "q": ask("Take {{ a }}?", show={"a": "{{ a }}"}), "b": say("{{ q.note }}")},
        output="{{ q }}",
    )
    state = await talk.start()
    shown = state["__interrupt__"][0].value
    assert (shown["ask"], shown["show"], shown["at"]) == ("Take 7?", {"a": 7}, "q")
    assert (await talk.say({"ok": True}))["output"] == {"ok": True, "note": "none"}
    assert stage.paths() == ["a"], "a finished step ran again"


@pytest.mark.parametrize("wrong", [{"ok": "yes"}, {}, "text", None, 7, {"ok": True, "more": 1}])
async def test_a_wrong_answer_is_refused_and_the_question_stays_open(stage: Stage, wrong: Any) -> None:
    talk = Talk(stage, {"q": ask(), "b": say("{{ q.ok }}")}, output="{{ b }}")
    await talk.start()
    with pytest.raises((AnswerRefused, NotResumable)):
        await talk.say({"q": wrong})
    assert asked(await talk.graph.ainvoke(None, talk.config)) == ["q"]
    assert (await talk.say({"ok": True}))["output"] is True


@pytest.mark.req("D4", "X5")
async def test_other_branches_go_on_while_a_person_is_asked(stage: Stage) -> None:
    talk = Talk(stage, {"q": ask(), "a": do(turns=9), "b": do(depends_on=["a"]), "c": do("{{ q.ok }}")})
    state = await talk.start()
    assert (asked(state), stage.paths()) == (["q"], ["a", "b"])
    await talk.say({"ok": True})
    assert stage.paths() == ["a", "b", "c"]


@pytest.mark.parametrize("first", ["one", "two"])
async def test_of_two_questions_the_answered_one_goes_on_and_the_other_is_asked_again(stage: Stage, first: str) -> None:
    nodes = {"one": ask(), "two": ask(), "after_one": do("{{ one.ok }}"), "after_two": do("{{ two.ok }}")}
    talk, other = Talk(stage, nodes), {"one": "two", "two": "one"}[first]
    assert asked(await talk.start()) == ["one", "two"]
    assert asked(await talk.say({first: {"ok": True}})) == [other]
    assert stage.paths() == [f"after_{first}"]
    state = await talk.say({other: {"ok": False}})
    assert (asked(state), state["run"]["status"]) == ([], "completed")
    assert stage.paths() == [f"after_{first}", f"after_{other}"]


async def test_answers_by_interrupt_id_and_several_at_once_are_taken(stage: Stage) -> None:
    talk = Talk(stage, {"one": ask(), "two": ask()}, output=["{{ one.ok }}", "{{ two.ok }}"])
    state = await talk.start()
    ids = {i.value["at"]: i.id for i in state["__interrupt__"]}
    assert (await talk.say({ids["one"]: {"ok": True}, ids["two"]: {"ok": False}}))["output"] == [True, False]


async def test_a_bare_answer_to_several_questions_is_refused_with_their_names(stage: Stage) -> None:
    talk = Talk(stage, {"one": ask(), "two": ask()})
    await talk.start()
    with pytest.raises(NotResumable, match="one, two"):
        await talk.say({"ok": True})


async def test_a_scalar_answers_a_form_that_is_a_scalar(stage: Stage) -> None:
    form = {"type": "object", "properties": {"n": {"type": "integer"}}}
    talk = Talk(stage, {"q": {"type": "human", "ask": "How many?", "form": form}}, output="{{ q.n }}")
    await talk.start()
    assert (await talk.say({"n": 3}))["output"] == 3


async def test_people_in_a_loop_are_asked_together_and_answered_in_any_order(stage: Stage) -> None:
    body = {"q": ask("{{ item }}?"), "a": do("{{ q.ok }}")}
    talk = Talk(stage, {"loop": {"for_each": ["x", "y", "z"], "max_parallel": 2, "nodes": body}}, output="{{ loop }}")
    assert asked(await talk.start()) == ["loop[0].q", "loop[1].q"]
    assert asked(await talk.say({"loop[1].q": {"ok": False}})) == ["loop[0].q", "loop[2].q"]
    assert asked(await talk.say({"loop[2].q": {"ok": True}})) == ["loop[0].q"]
    assert (await talk.say({"loop[0].q": {"ok": True}}))["output"] == [True, False, True]
    assert stage.paths() == ["loop[1].a", "loop[2].a", "loop[0].a"]


async def test_a_repeated_question_is_asked_until_the_answer_ends_it(stage: Stage) -> None:
    loop = {"repeat": {"max_iterations": 5, "until": "q.ok"}, "nodes": {"q": ask()}}
    talk = Talk(stage, {"loop": loop}, output="{{ loop.note }}")
    assert asked(await talk.start()) == ["loop[0].q"]
    assert asked(await talk.say({"ok": False})) == ["loop[1].q"]
    assert (await talk.say({"ok": True, "note": "done"}))["output"] == "done"


async def test_after_the_deadline_the_answer_for_it_is_taken_and_late_ones_are_refused(stage: Stage) -> None:
    talk = Talk(stage, {"q": ask(timeout="1ms", on_timeout={"ok": False})}, output="{{ q }}")
    state = await talk.start()
    await _passed(state["__interrupt__"][0].value["deadline"])
    with pytest.raises(AnswerRefused, match="after the deadline"):
        await talk.say({"ok": True})
    state = await talk.graph.ainvoke(None, talk.config)
    assert (state["output"], state["nodes"]["q"]["timed_out"]) == ({"ok": False, "note": "none"}, True)


async def test_without_an_answer_for_it_a_deadline_fails_the_step(stage: Stage) -> None:
    talk = Talk(stage, {"q": ask(timeout="1ms")})
    state = await talk.start()
    await _passed(state["__interrupt__"][0].value["deadline"])
    with pytest.raises(WorkflowFailed, match="nobody answered"):
        await talk.graph.ainvoke(None, talk.config)


async def test_a_failure_behind_one_answer_withdraws_the_other_question(stage: Stage) -> None:
    talk = Talk(stage, {"one": ask(), "two": ask(), "bad": do("{{ one.ok }}", fault="tool_error")})
    await talk.start()
    with pytest.raises(WorkflowFailed, match="bad was told to fail"):
        await talk.say({"one": {"ok": True}})
    snapshot = await talk.graph.aget_state(talk.config)
    assert (snapshot.values["nodes"]["two"]["status"], snapshot.interrupts, snapshot.next) == ("cancelled", (), ())


async def test_an_answer_where_nothing_is_asked_is_refused(stage: Stage) -> None:
    talk = Talk(stage, {"a": do()})
    await talk.start()
    with pytest.raises(NotResumable, match="asks nothing"):
        await talk.graph.ainvoke(Command(resume=1), talk.config)


async def _passed(deadline: str) -> None:
    """Let the loop turn until the clock has passed a moment of a few milliseconds' distance."""
    import asyncio
    from datetime import UTC, datetime

    while datetime.now(UTC) <= datetime.fromisoformat(deadline):
        await asyncio.sleep(0)


async def test_an_answer_is_taken_where_the_thread_stands_and_nowhere_before() -> None:
    spec = {
        "cogwork": "v1",
        "name": "twice",
        "nodes": {"ask": {"type": "human", "ask": "Which?", "form": {"x": {"enum": ["yes", "no"]}}}},
        "output": "{{ ask.x }}",
    }
    graph = cogwork.compile(spec, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "one"}}
    await graph.ainvoke({}, thread)
    asked = (await graph.aget_state(thread)).config
    assert (await graph.ainvoke(Command(resume={"x": "yes"}), asked))["output"] == "yes"
    with pytest.raises(NotResumable, match="fork it first"):
        await graph.ainvoke(Command(resume={"x": "no"}), asked)
    await graph.ainvoke(None, asked)
    assert (await graph.ainvoke(Command(resume={"x": "no"}), thread))["output"] == "no"
