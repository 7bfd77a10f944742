"""Plans: every fault is told in a sentence, and what can be ordered is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogwork.tools.plans import check


def step(name: str, *earlier: str, **other: Any) -> dict[str, Any]:
    """A step without fault."""
    return {"id": name, "title": f"Do {name}", "depends_on": list(earlier), "done_when": "it is there", **other}


def test_a_plan_is_put_in_order_with_the_groups_that_can_go_side_by_side() -> None:
    told = check([step("ship", "test", "docs"), step("test", "build"), step("docs"), step("build")])

    assert told == {
        "ok": True,
        "problems": [],
        "order": ["docs", "build", "test", "ship"],
        "groups": [["docs", "build"], ["test"], ["ship"]],
    }


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "The plan has no steps."),
        ([step("a", "ghost")], "Step a depends on ghost, which is no step of the plan."),
        ([step("a", "a")], "Step a depends on itself."),
        ([step("a"), step("a")], "2 steps have the id a."),
        ([step("")], "Step 1 has no id."),
        ([step("a", title=" ")], "Step a has no title."),
        ([step("a", done_when=None)], "Step a has no done_when."),
        ([step(f"s{n}") for n in range(5)], "The plan has 5 steps; at most 4 are wanted."),
        ([step("a", "b"), step("b", "a")], "These steps wait for each other in a circle: a -> b -> a."),
    ],
)
def test_a_fault_of_a_plan_is_told_in_a_sentence(steps: list[dict[str, Any]], problem: str) -> None:
    told = check(steps, max_steps=4)

    assert not told["ok"]
    assert problem in told["problems"]


def test_what_waits_in_a_circle_is_in_no_group_and_the_rest_is() -> None:
    told = check([step("a", "b"), step("b", "a"), step("c")])

    assert told["groups"] == [["c"]]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.lists(st.sampled_from("abcdef"), max_size=3)), max_size=6))
def test_a_plan_is_right_exactly_when_all_its_steps_come_in_an_order_that_keeps_to_the_dependencies(
    drawn: list[tuple[str, list[str]]],
) -> None:
    steps = [step(name, *earlier) for name, earlier in drawn]
    told = check(steps)
    place = {name: position for position, name in enumerate(told["order"])}

    whole = bool(steps) and sorted(place) == sorted(one["id"] for one in steps)
    kept = whole and all(place.get(e, 99) < place[one["id"]] for one in steps for e in one["depends_on"])
    assert told["ok"] == kept
