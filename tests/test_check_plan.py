"""The plan of blocks, undo, stand-ins and races: what the runtime and the pictures are told of them."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.analysis.check import analyse
from graphs.analysis.draw import drawable
from graphs.analysis.picture import mermaid, picture, scene, svg
from graphs.analysis.plan import Plan
from graphs.build import state_graph
from graphs.language.load import load
from tests.test_check import services

PART = {
    "name": "part",
    "nodes": {"work": {"type": "transform", "set": 1}},
    "finally": {"nodes": {"clean": {"type": "transform", "set": "{{ steps.work.status }}"}}},
}


def search(query: str = "x", **fields: Any) -> dict[str, Any]:
    """A step that reads."""
    return {"type": "tool", "tool": "kb.search", "args": {"q": query}, **fields}


def plan_of(nodes: dict[str, Any], **more: Any) -> Plan:
    """The plan of a workflow that has no errors."""
    spec = {"cogwork": "v1", "name": "planned", "nodes": nodes, **more}
    analysis = analyse(load(spec), services(), lambda name, user: load(PART) if name == "part" else None)
    assert [str(problem) for problem in analysis.errors] == []
    return analysis.plan


def paid(**fields: Any) -> dict[str, Any]:
    """A step that writes, and its undo."""
    undo = {"tool": "pay.refund", "args": {"id": "{{ output.id }} {{ pay.id }} {{ q }}"}}
    return {"type": "tool", "tool": "pay.charge", "args": {"amount": "{{ size(q) }}"}, "undo": undo, **fields}


def whole() -> Plan:
    """A workflow that has everything once."""
    return plan_of(
        {
            "q": {"type": "transform", "set": "word"},
            "pay": paid(),
            "find": search("{{ pay.id }}", fallback=[{"tool": "kb.search"}, {"node": "none"}]),
            "none": {"type": "transform", "set": {"hits": [], "total": "{{ size(q) }}"}},
            "each": {"for_each": [1, 2], "nodes": {"sub": {"use": "part"}}},
        },
        on_failure={
            "nodes": {
                "told": {"type": "transform", "set": "{{ q | default: run.error.class }}"},
                "more": {"for_each": [1], "type": "transform", "set": "{{ told }} {{ pay?.id | default: 0 }}"},
            }
        },
        **{"finally": {"nodes": {"told": {"type": "transform", "set": "{{ run.status }}"}}}},
    )


def test_blocks_are_steps_of_the_plan_and_scopes_of_their_own_but_no_members_of_the_workflow() -> None:
    plan = whole()
    assert plan.scopes[""].stages == {"on_failure": "on_failure", "finally": "finally"}
    assert plan.scopes["each.sub"].stages == {"finally": "each.sub.finally"}
    assert [step_id for step_id in plan.steps if "." in step_id] == [
        "each.sub",
        "each.sub.work",
        "each.sub.finally",
        "each.sub.finally.clean",
        "on_failure.told",
        "on_failure.more",
        "on_failure.more.do",
        "finally.told",
    ]
    stage = plan.scopes["on_failure"]
    assert (stage.kind, stage.parent, stage.header, stage.entries) == ("stage", "", "on_failure", ("on_failure.told",))
    assert list(plan.scopes[""].names) == ["q", "pay", "find", "none", "each"]
    assert plan.steps["on_failure"].pointer == "/on_failure"
    assert plan.steps["finally.told"].pointer == "/finally/nodes/told"


def test_what_a_block_refers_to_makes_no_edge_but_is_looked_up() -> None:
    plan = whole()
    assert plan.steps["on_failure.told"].parents == {}
    assert plan.steps["on_failure.more"].parents == {"on_failure.told": False}
    assert plan.steps["q"].successors == ("pay",)
    assert {lookup.target for lookup in plan.steps["on_failure.told"].lookups} == {"q", ""}


def test_the_arguments_of_an_undo_make_no_edge_and_see_the_steps_own_value() -> None:
    plan = whole()
    pay = plan.steps["pay"]
    assert [(each.root, each.target) for each in pay.undo_lookups] == [("output", "pay"), ("pay", "pay"), ("q", "q")]
    assert pay.fields["/undo/args"].evaluate({"output": {"id": 1}, "pay": {"id": 2}, "q": 3}) == {"id": "1 2 3"}
    assert pay.parents == {"q": True}
    undo = plan.steps["undo"]
    assert plan.undo is undo and (undo.kind, undo.scope, undo.successors) == ("undo", "", ())
    assert plan_of({"a": search()}).undo is None


def test_a_step_that_serves_as_a_fallback_has_no_parents_and_is_no_last_step() -> None:
    plan = whole()
    none = plan.steps["none"]
    assert plan.steps["find"].standins == ("", "none")
    assert (none.stands_in, none.parents, none.selectors) == ("find", {}, ("find",))
    assert plan.scopes[""].leaves == ("find", "each") and plan.sink == "each"
    assert plan.scopes[""].entries == ("q", "each")


def test_the_losers_of_a_race_are_those_that_lead_to_it_and_nowhere_else() -> None:
    plan = plan_of(
        {
            "q": {"type": "transform", "set": "word"},
            "a": search(),
            "a2": search("{{ a.total }}{{ 'x' }}", fallback=[{"node": "spare"}]),
            "spare": {"type": "transform", "set": {"hits": [], "total": 0}},
            "loop": {"for_each": [1], "nodes": {"i": search()}},
            "shared": search("{{ q }}"),
            "first": {
                "type": "transform",
                "set": 1,
                "depends_on": ["a2", "loop", "shared"],
                "join": {"at_least": 1},
                "cancel_rest": True,
            },
            "last": {"type": "transform", "set": 1, "depends_on": ["shared", "first"]},
        }
    )
    assert plan.steps["first"].losers == ("a", "a2", "loop")
    assert plan.steps["last"].losers == ()


def test_every_planned_step_is_a_node_of_the_graph_and_the_graph_compiles() -> None:
    plan = whole()
    graph = state_graph(plan)
    assert list(graph.nodes) == list(plan.steps)
    assert graph.nodes["on_failure"].ends == ("on_failure.told",)
    assert not any(mark in name for name in graph.nodes for mark in "|:")
    graph.compile()


def test_drawings_show_blocks_behind_the_flow_and_what_may_happen_dotted() -> None:
    plan = whole()
    edges = {(edge.source, edge.target): (edge.data, edge.conditional) for edge in drawable(plan).edges}
    assert edges["find", "none"] == ("fallback", True)
    assert edges["each", "on_failure"] == edges["find", "on_failure"] == ("on failure", True)
    assert edges["on_failure", "undo"] == ("undo", True)
    assert edges["undo", "finally"] == ("at the end", True)
    assert edges["each.sub.work", "each.sub.finally"] == ("at the end", True)
    assert ("none", "__end__") not in edges and edges["find", "__end__"] == (None, False)


@pytest.mark.parametrize("width", [200, 30])
def test_pictures_of_every_form_have_the_blocks_as_groups(width: int) -> None:
    drawn = scene(whole(), {"undo": "done"})
    text = "\n".join("".join(span.text for span in line) for line in picture(drawn, width))
    assert "on_failure: when the run has failed" in text and "finally: at the end in any case" in text
    chart = mermaid(drawn)
    assert "subgraph n" in chart and "on_failure — when the run has failed" in chart and '-. "fallback" .->' in chart
    assert "takes back what is finished" in svg(drawn)
