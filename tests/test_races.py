"""Races: a join that starts early gives up what only leads to it; reads are cut off, writes end and can be taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.conftest import Stage, answer, ask, causes, do, say, statuses
from tests.dying import Ledger, at_every_write, died_at, settled

BACK = {"tool": "do.write", "args": {"value": "back"}}
CLEAN = {"nodes": {"clean": do("{{ run.status }}", "write")}}
LOST = ("race_lost", "won")


def won(*parents: str, join: Any = "any", **more: Any) -> dict[str, Any]:
    """The step that ends a race between its parents."""
    return {**do("won", **more), "depends_on": list(parents), "join": join, "cancel_rest": True}


async def ends(stage: Stage, nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The state that a run of these steps ends or rests in, failed or not."""
    return await settled(stage.graph({"nodes": nodes, **more}, InMemorySaver()), {}, stage.thread())


# -- what becomes of losers ----------------------------------------------------------------------------------------


@pytest.mark.req("X5")
async def test_a_read_that_is_too_late_is_cut_off_and_skipped(stage: Stage) -> None:
    state = await ends(stage, {"quick": do(1), "slow": do(2, hold="never"), "won": won("quick", "slow")})
    assert (state["run"]["status"], statuses(state)["slow"], causes(state)["slow"]) == ("completed", "skipped", LOST)
    assert ("cancel", "slow") in stage.log


@pytest.mark.req("X5")
async def test_at_least_two_of_four_give_up_the_other_two(stage: Stage) -> None:
    nodes = {"a": do(1), "b": do(2, hold="never"), "c": do(3, turns=9), "d": do(4, hold="never")}
    state = await ends(stage, {**nodes, "won": won(*nodes, join={"at_least": 2})})
    assert causes(state) == {"b": LOST, "d": LOST}


@pytest.mark.req("X5")
async def test_what_has_not_begun_never_begins_and_what_comes_behind_the_losers_neither(stage: Stage) -> None:
    chain = {"one": do(1, turns=30), "two": do("{{ one }}"), "three": say("{{ two }}")}
    state = await ends(stage, {"quick": do(1), **chain, "won": won("quick", "three")})
    assert causes(state) == {"one": LOST, "two": LOST, "three": LOST}
    assert sorted(stage.paths()) == ["one", "quick", "won"]


@pytest.mark.req("X5")
async def test_a_step_that_leads_elsewhere_too_goes_on(stage: Stage) -> None:
    nodes = {"quick": do(1), "both": do(2, turns=30), "won": won("quick", "both"), "else": do("{{ both }}")}
    state = await ends(stage, {**nodes})
    assert (causes(state), stage.paths("end")) == ({}, ["quick", "won", "both", "else"])


@pytest.mark.req("X5", "T4")
async def test_a_write_that_is_too_late_ends_is_recorded_and_is_taken_back_with_the_rest() -> None:
    stage = Ledger()
    write = {**do(2, "write", turns=40), "undo": BACK}
    nodes = {
        "quick": do(1),
        "write": write,
        "won": won("quick", "write"),
        "bad": do(fault="refused", depends_on=["won"]),
    }
    state = await ends(stage, nodes)
    assert (statuses(state)["write"], state["run"]["undo"]) == ("done", {"done": ["write"], "not_done": []})
    assert [key.split(":", 1)[1] for key in stage.ended][-1] == "write:undo"


@pytest.mark.req("X5", "X12")
async def test_a_loser_that_fails_once_the_race_is_decided_fails_nothing(stage: Stage) -> None:
    nodes = {"quick": do(1), "late": do(2, "write", turns=40, fault="refused"), "won": won("quick", "late", turns=5)}
    state = await ends(stage, {**nodes, "after": do("{{ won }}")}, output="{{ after }}")
    assert (state["run"]["status"], state["output"], causes(state)) == ("completed", "won", {"late": LOST})
    assert state["nodes"]["late"]["error"]["class"] == "refused"


@pytest.mark.req("X5")
async def test_a_person_who_was_asked_in_vain_is_asked_no_more(stage: Stage) -> None:
    nodes = {"quick": do(1, turns=9), "who": ask(), "won": won("quick", "who")}
    state = await ends(stage, nodes)
    assert ("__interrupt__" in state, state["run"]["status"], causes(state)) == (False, "completed", {"who": LOST})


@pytest.mark.req("X5")
async def test_the_first_of_two_people_withdraws_the_question_to_the_other(stage: Stage) -> None:
    nodes = {"a": ask(), "b": ask(), "won": {**say("{{ a | default: b }}"), **won("a", "b"), "type": "transform"}}
    nodes["won"] = say("{{ steps.a.status }}", depends_on=["a", "b"], join="any", cancel_rest=True)
    graph, config = stage.graph({"nodes": nodes}, InMemorySaver()), stage.thread()
    state = await graph.ainvoke({}, config)
    assert sorted(question.value["at"] for question in state["__interrupt__"]) == ["a", "b"]
    state = await settled(graph, answer({"b": {"answer": "me"}}), config)
    assert (state["run"]["status"], causes(state)) == ("completed", {"a": LOST})
    assert (await graph.aget_state(config)).interrupts == ()


@pytest.mark.req("X5", "R5")
async def test_a_loop_that_is_too_late_ends_its_writes_and_begins_no_more_items(stage: Stage) -> None:
    each = {
        "for_each": [1, 2, 3, 4],
        "max_parallel": 2,
        "nodes": {"s": do("{{ item }}", "write", turns=40), "t": do("{{ s }}")},
    }
    state = await ends(stage, {"quick": do(1), "each": each, "won": won("quick", "each")})
    assert (statuses(state)["each"], causes(state)["each"]) == ("skipped", LOST)
    assert sorted(path for path in stage.paths("end") if "[" in path) == ["each[0].s", "each[1].s"]
    assert not set(statuses(state).values()) & {"open", "waiting"}


@pytest.mark.req("X5", "R5")
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 40])
async def test_a_used_workflow_that_is_too_late_ends_with_its_blocks(stage: Stage, turns: int) -> None:
    blocks = {"on_failure": {"nodes": {"tell": do("{{ run.status }}", "write")}}, "finally": CLEAN}
    stage.library = {"part": {"nodes": {"x": do(1, hold="never"), "w": do(2, "write", turns=60), "q": ask()}, **blocks}}
    nodes = {"quick": do(1, turns=turns), "part": {"use": "part"}, "won": won("quick", "part")}
    state = await ends(stage, nodes)
    assert (state["run"]["status"], causes(state)["part"]) == ("completed", LOST)
    begun = "part" in {path.split(".")[0] for path in stage.paths()}
    told = [path for path in stage.paths("end") if path.startswith("part.") and path != "part.w"]
    assert told == (["part.on_failure.tell", "part.finally.clean"] if begun or turns else told)
    assert ("part.w" in stage.paths("end")) == ("part.w" in stage.paths())
    assert not set(statuses(state).values()) & {"open", "waiting"}


@pytest.mark.req("X5")
async def test_a_race_in_each_item_of_a_loop_is_decided_for_that_item(stage: Stage) -> None:
    stage.delay = lambda path: 200 if path in ("each[0].a", "each[1].b") else 0
    body = {"nodes": {"a": do("a"), "b": do("b"), "won": won("a", "b")}, "output": "{{ won }}"}
    state = await ends(stage, {"each": {"for_each": [0, 1], **body}})
    assert causes(state) == {"each[0].a": ("race_lost", "each[0].won"), "each[1].b": ("race_lost", "each[1].won")}


async def test_a_winner_that_is_skipped_gives_nobody_up(stage: Stage) -> None:
    nodes = {"quick": do(1), "slow": do(2, turns=30), "won": {**won("quick", "slow"), "when": "false"}}
    state = await ends(stage, nodes)
    assert (statuses(state)["slow"], causes(state)) == ("done", {"won": ("when_false", "won")})


@pytest.mark.req("X5", "T4")
async def test_a_late_write_in_doubt_is_asked_about_though_the_race_is_lost(stage: Stage) -> None:
    write = {**do(2, "write", hold="never"), "timeout": "50ms"}
    graph = stage.graph({"nodes": {"quick": do(1), "write": write, "won": won("quick", "write")}}, InMemorySaver())
    config = stage.thread()
    state = await asyncio.wait_for(graph.ainvoke({}, config), 20)
    (asked,) = state["__interrupt__"]
    assert (asked.value["kind"], asked.value["at"], statuses(state)["won"]) == ("in_doubt", "write", "done")
    state = await settled(graph, answer({"resolution": "not_done"}), config)
    assert (state["run"]["status"], causes(state)) == ("completed", {"write": LOST})


# -- crashes -------------------------------------------------------------------------------------------------------

PART = {"nodes": {"x": do(1, turns=9), "y": do("{{ x }}", hold="never")}, "finally": CLEAN}
LOOP = {"for_each": [1, 2, 3], "max_parallel": 2, "nodes": {"s": do("{{ item }}", hold="never")}}
CRASHES: dict[str, dict[str, Any]] = {
    "reads": {"quick": do(1), "slow": do(2, hold="never"), "won": won("quick", "slow", turns=25)},
    "writes": {"quick": do(1), "slow": do(2, "write", turns=9), "won": won("quick", "slow", turns=25)},
    "people": {"quick": do(1), "who": ask(), "won": won("quick", "who", turns=25)},
    "loops": {"quick": do(1, turns=25), "each": LOOP, "won": won("quick", "each", turns=25)},
    "used workflows": {"quick": do(1, turns=25), "part": {"use": "part"}, "won": won("quick", "part", turns=25)},
}


LOSERS = ("slow", "each", "part")


@pytest.mark.req("X5", "R5")
@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_at_any_write_of_a_race_ends_it_as_it_would_have_ended(where: str) -> None:
    spec = {"nodes": {**CRASHES[where], "after": do("{{ won }}", "write")}, "output": "{{ after }}"}
    assert at_every_write(spec, {"part": PART}) > 3


@pytest.mark.req("X5")
@pytest.mark.parametrize("where", ["reads", "people", "loops", "used workflows"])
def test_a_crash_after_a_race_is_decided_starts_no_loser_again(where: str) -> None:
    after, died, decided = 1, True, 0
    while died:
        stage = Ledger()
        stage.library = {"part": PART}
        died, state = asyncio.run(died_at(stage, {"nodes": CRASHES[where]}, after))
        assert state["run"]["status"] == "completed"
        if died and "won" in (begun := stage.paths()[: stage.survived]):
            decided += 1
            again = [path for path in stage.paths()[len(begun) :] if path.split(".")[0].split("[")[0] in LOSERS]
            assert not [path for path in again if "finally" not in path], f"death at write {after}"
        after += 1
    assert decided
