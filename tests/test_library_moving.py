"""Open runs move to another version of their workflow where what they have done means the same there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from cogwork.library.moving import move
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.postgres import PostgresCheckpoints
from state.errors import Owned
from tests.clusters import schema
from tests.conftest import Stage, answer, ask, choose, do, say, statuses
from tests.libraries import DATABASES

FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
OLD = {
    "nodes": {
        "a": do(1),
        "pick": choose(("a == 1", "q"), otherwise="other"),
        "other": do(0),
        "q": ask("Sure?", form=FORM, depends_on=["a"]),
        "z": do("{{ q.ok }}"),
    }
}


@pytest.fixture(params=DATABASES)
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The savers that outlive a process."""
    if request.param == "sqlite":
        with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as saver:
            yield saver
    else:
        with schema() as url, PostgresCheckpoints(url) as saver:
            yield saver


def changed(**nodes: Any) -> dict[str, Any]:
    """The old workflow with other nodes; None takes one out."""
    kept = {**OLD["nodes"], **nodes}
    return {"nodes": {name: node for name, node in kept.items() if node is not None}}


async def asked(stage: Stage, saver: Any, spec: Any = OLD) -> tuple[Any, Any]:
    """A run that waits for its answer, with its graph."""
    graph, config = stage.graph(spec, saver), stage.thread()
    await graph.ainvoke({}, config)
    return graph, config


@pytest.mark.req("M10")
async def test_a_moved_run_keeps_what_is_done_and_goes_on_by_the_new_version(stage: Stage, saver: Any) -> None:
    old, config = await asked(stage, saver)
    more = changed(
        z=do("{{ q.ok }}", effect="write"), fresh=do("{{ a + 1 }}"), end=say("{{ fresh }}", depends_on=["z"])
    )
    new = stage.graph({"input": {"k": {"type": "integer", "default": 4}}, **more}, saver)
    run = (await old.aget_state(config)).values["run"]
    assert (await move(old.plan, new, config)).possible
    moved = (await new.aget_state(config)).values
    assert (moved["run"]["id"], moved["run"]["digest"], moved["input"]) == (run["id"], new.digest, {"k": 4})
    assert stage.paths() == ["a"]
    state = await new.ainvoke(answer({"q": {"ok": True}}), config)
    assert (state["run"]["status"], state["run"]["id"]) == ("completed", run["id"])
    assert state["output"]["end"] == 2
    assert sorted(stage.paths()) == ["a", "fresh", "z"]
    assert statuses(state)["other"] == "skipped"


@pytest.mark.req("M10")
async def test_a_run_whose_next_step_is_gone_goes_on_with_those_that_are_there(stage: Stage, saver: Any) -> None:
    old = stage.graph(
        {"nodes": {"a": do(1), "b": do(2, hold="h", depends_on=["a"]), "c": do(3, depends_on=["b"])}}, saver
    )
    new = stage.graph({"nodes": {"a": do(1), "c": do(3, depends_on=["a"]), "e": do(4, depends_on=["a"])}}, saver)
    config = stage.thread()
    running = asyncio.create_task(old.ainvoke({}, config))
    while ("start", "b") not in stage.log:
        await asyncio.sleep(0.001)
    with pytest.raises(Owned):
        await move(old.plan, new, config)
    await old.apause(config)
    await running
    assert (await move(old.plan, new, config)).possible
    assert (await new.ainvoke(None, config))["output"] == {"c": 3, "e": 4}


@pytest.mark.req("M10")
async def test_a_plan_changes_nothing(stage: Stage, saver: Any) -> None:
    old, config = await asked(stage, saver)
    new = stage.graph(changed(z=do(9)), saver)
    assert (await move(old.plan, new, config, plan_only=True)).possible
    assert (await old.aget_state(config)).values["run"]["digest"] == old.digest


ELSE: Any = {"otherwise": "other"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a done step that is gone": (
        changed(a=None, q=ask("Sure?", form=FORM), pick=choose(("run.attempt == 1", "q"), **ELSE)),
        "a, which is done, is gone",
    ),
    "a done step of another kind": (changed(a=say(1)), "a step of kind transform instead of tool"),
    "a done step by another tool": (changed(a=do(1, effect="write")), "was done by do.read"),
    "a question with another form": (
        changed(q=ask("Sure?", depends_on=["a"]), z=do("{{ q.answer }}")),
        "its form is another",
    ),
    "a question that is gone": (
        changed(q=None, z=do(1), pick=choose(("a == 1", "z"), **ELSE)),
        "q, which is waiting, is gone",
    ),
    "a choice that is no target": (
        changed(pick=choose(("a == 1", "z"), **ELSE), q=ask("Sure?", form=FORM, depends_on=["a"])),
        "has chosen q",
    ),
    "a new step before a done one": (
        changed(before=do(0), a=do(1, depends_on=["before"])),
        "would have come before",
    ),
    "an input that is required now": ({"input": {"k": "string"}, **OLD}, "input does not fit"),
}


@pytest.mark.req("M10")
@pytest.mark.parametrize("case", REFUSED)
async def test_a_run_that_cannot_move_keeps_its_version(stage: Stage, tmp_path: Path, case: str) -> None:
    spec, said = REFUSED[case]
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as saver:
        old, config = await asked(stage, saver)
        judged = await move(old.plan, stage.graph(spec, saver), config)
        assert not judged.possible
        assert any(said in reason for reason in judged.reasons), judged.reasons
        state = await old.ainvoke(answer({"q": {"ok": True}}), config)
        assert (state["run"]["status"], state["run"]["digest"]) == ("completed", old.digest)


@pytest.mark.req("M10")
async def test_an_ended_run_stays_where_it_is(stage: Stage, saver: Any) -> None:
    old, config = await asked(stage, saver)
    await old.ainvoke(Command(resume={"ok": True}), config)
    assert (await move(old.plan, stage.graph(changed(z=do(9)), saver), config)).reasons == ("it has ended: completed",)


@pytest.mark.req("M10")
async def test_items_of_an_open_loop_move_with_their_questions(stage: Stage, saver: Any) -> None:
    def spec(question: str, after: int) -> dict[str, Any]:
        body = {"get": do("{{ item }}"), "q": ask(question, depends_on=["get"])}
        return {"nodes": {"each": {"for_each": [1, 2], "nodes": body}, "last": do(after, depends_on=["each"])}}

    old, config = await asked(stage, saver, spec("Old?", 1))
    new = stage.graph(spec("New?", 2), saver)
    assert (await move(old.plan, new, config)).possible
    questions = {i.value["at"]: {"answer": "y"} for i in (await new.aget_state(config)).interrupts}
    assert set(questions) == {"each[0].q", "each[1].q"}
    state = await new.ainvoke(answer(questions), config)
    assert (state["run"]["status"], state["output"]) == ("completed", 2)
    assert stage.paths().count("each[0].get") == 1
