"""The workflow control-flow patterns: which ones can be said, how, and what then happens.

``docs/patterns.md`` is made from this table: ``python -m tests.test_patterns`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from langgraph.checkpoint.memory import InMemorySaver

from state.errors import SpecError, WorkflowFailed
from tests.conftest import Stage, answer, causes, choose, do, say

DOC = Path(__file__).parents[1] / "docs" / "patterns.md"
FLAG = {"input": {"x": "integer"}}


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One pattern: its spec, an input, and what must be seen of the run."""

    name: str
    how: str
    spec: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    ran: tuple[str, ...] = ()
    """The tool steps that ran, in any order."""
    order: tuple[tuple[str, str], ...] = ()
    """Pairs of which the first ended before the second started."""
    output: Any = None
    skipped: dict[str, str] = field(default_factory=dict)
    """Step to reason."""
    refused: str = ""
    """The code of the problem, where the checks refuse the pattern."""
    answers: tuple[Any, ...] = ()
    most: int | None = None
    """How many tools were at work at a time, at most."""
    supported: str = "yes"


def _abc(**more: Any) -> dict[str, Any]:
    return {"a": do(1, turns=9), "b": do(2), **more}


PATTERNS = (
    Pattern(
        name="Sequence",
        how="a reference, or `depends_on`",
        spec={"nodes": {"a": do(1, turns=5), "b": do("{{ a + 1 }}", turns=2), "c": do(9, depends_on=["b"])}},
        ran=("a", "b", "c"),
        order=(("a", "b"), ("b", "c")),
        output=9,
    ),
    Pattern(
        name="Parallel split",
        how="several steps that wait for the same one",
        spec={"nodes": {"a": do(1), "b": do("{{ a }}", turns=5), "c": do("{{ a }}", turns=5)}},
        ran=("a", "b", "c"),
        order=(("a", "b"), ("a", "c")),
        output={"b": 1, "c": 1},
        most=2,
    ),
    Pattern(
        name="Synchronisation",
        how="a step that refers to several",
        spec={"nodes": _abc(c=do(["{{ a }}", "{{ b }}"]))},
        ran=("a", "b", "c"),
        order=(("a", "c"), ("b", "c")),
        output=[1, 2],
    ),
    Pattern(
        name="Exclusive choice",
        how="a `condition`: the first case that holds",
        spec={**FLAG, "nodes": {"q": choose(("input.x > 5", "big"), otherwise="small"), "big": do(1), "small": do(2)}},
        given={"x": 9},
        ran=("big",),
        output={"big": 1},
        skipped={"small": "not_selected"},
    ),
    Pattern(
        name="Simple merge",
        how="a step behind the branches; it runs once whichever was chosen",
        spec={
            **FLAG,
            "nodes": {
                "q": choose(("input.x > 5", "big"), otherwise="small"),
                "big": do(1),
                "small": do(2),
                "end": do("{{ big | default: small | default: 0 }}"),
            },
        },
        given={"x": 1},
        ran=("small", "end"),
        order=(("small", "end"),),
        output=2,
        skipped={"big": "not_selected"},
    ),
    Pattern(
        name="Multi-choice",
        how="a `condition` with `match: all`, or a list in `then`",
        spec={
            **FLAG,
            "nodes": {
                "q": choose(("input.x > 1", "a"), ("input.x > 5", "b"), ("input.x > 9", "c"), match="all"),
                "a": do(1),
                "b": do(2),
                "c": do(3),
            },
        },
        given={"x": 7},
        ran=("a", "b"),
        output={"a": 1, "b": 2},
        skipped={"c": "not_selected"},
    ),
    Pattern(
        name="Structured synchronising merge",
        how="the default join: waits for the branches that were taken, and for no other",
        spec={
            **FLAG,
            "nodes": {
                "q": choose(("input.x > 1", "a"), ("input.x > 5", "b"), ("input.x > 9", "c"), match="all"),
                "a": do(1, turns=9),
                "b": do(2),
                "c": do(3),
                "end": do(["{{ a | default: 0 }}", "{{ b | default: 0 }}", "{{ c | default: 0 }}"]),
            },
        },
        given={"x": 7},
        ran=("a", "b", "end"),
        order=(("a", "end"), ("b", "end")),
        output=[1, 2, 0],
        skipped={"c": "not_selected"},
    ),
    Pattern(
        name="Multi-merge", how="a step runs once in a run; put what should run per branch into a `use`", supported="no"
    ),
    Pattern(
        name="Structured discriminator",
        how="`join: any`: the first that is done starts it, later ones are ignored",
        spec={"nodes": _abc(c=do(3, depends_on=["a", "b"], join="any"))},
        ran=("a", "b", "c"),
        order=(("b", "c"),),
        output=3,
    ),
    Pattern(
        name="Blocking discriminator",
        how="a step never runs twice in a run, so there is nothing to block",
        supported="no",
    ),
    Pattern(
        name="Cancelling discriminator",
        how="`cancel_rest` is not there yet; `join: any` lets the rest finish",
        supported="not yet",
    ),
    Pattern(
        name="Structured partial join",
        how="`join: {at_least: n}`",
        spec={
            "nodes": {
                "a": do(1, turns=30),
                "b": do(2),
                "c": do(3),
                "end": do(9, depends_on=["a", "b", "c"], join={"at_least": 2}),
            }
        },
        ran=("a", "b", "c", "end"),
        order=(("b", "end"), ("c", "end")),
        output=9,
    ),
    Pattern(
        name="Generalised AND-join",
        how="`join: all`: runs only if every parent is done",
        spec={
            "nodes": _abc(
                gone=do(when="false"),
                c=do(3, depends_on=["a", "b", "gone"], join="all"),
                d=do(4, depends_on=["a", "b"], join="all"),
            )
        },
        ran=("a", "b", "d"),
        order=(("a", "d"), ("b", "d")),
        output={"d": 4},
        skipped={"gone": "when_false", "c": "when_false"},
    ),
    Pattern(
        name="Multiple instances, number known when written",
        how="`for_each` over a list in the spec",
        spec={"nodes": {"loop": {"for_each": [1, 2, 3], "nodes": {"a": do("{{ item * 2 }}")}}}},
        ran=("loop[0].a", "loop[1].a", "loop[2].a"),
        output=[2, 4, 6],
    ),
    Pattern(
        name="Multiple instances, number known when run",
        how="`for_each` over a value",
        spec={
            "nodes": {
                "list": do([5, 6]),
                "loop": {"for_each": "list", "nodes": {"a": do("{{ item + index }}")}},
                "end": do("{{ loop }}"),
            }
        },
        ran=("list", "loop[0].a", "loop[1].a", "end"),
        order=(("list", "loop[0].a"), ("loop[1].a", "end")),
        output=[5, 7],
    ),
    Pattern(
        name="Multiple instances, number not known before",
        how="the list of a `for_each` is fixed when it begins; `repeat` goes on until a condition holds, one after the other",
        supported="no",
    ),
    Pattern(
        name="Multiple instances, one after the other",
        how="`max_parallel: 1`",
        spec={"nodes": {"loop": {"for_each": [1, 2, 3], "max_parallel": 1, "nodes": {"a": do("{{ item }}", turns=4)}}}},
        ran=("loop[0].a", "loop[1].a", "loop[2].a"),
        order=(("loop[0].a", "loop[1].a"), ("loop[1].a", "loop[2].a")),
        output=[1, 2, 3],
        most=1,
    ),
    Pattern(
        name="Multiple instances, so many at a time",
        how="`max_parallel: n`",
        spec={
            "nodes": {"loop": {"for_each": [1, 2, 3, 4], "max_parallel": 2, "nodes": {"a": do("{{ item }}", turns=4)}}}
        },
        ran=("loop[0].a", "loop[1].a", "loop[2].a", "loop[3].a"),
        output=[1, 2, 3, 4],
        most=2,
    ),
    Pattern(
        name="Structured loop",
        how="`repeat` with `until` and `max_iterations`",
        spec={
            "nodes": {
                "loop": {
                    "repeat": {"max_iterations": 9, "until": "a >= 3", "initial": 0},
                    "nodes": {"a": do("{{ previous + 1 }}")},
                }
            }
        },
        ran=("loop[0].a", "loop[1].a", "loop[2].a"),
        order=(("loop[0].a", "loop[1].a"),),
        output=3,
    ),
    Pattern(
        name="Arbitrary cycles",
        how="edges lead forward only: every run is bounded and can be checked; use `repeat`",
        spec={"nodes": {"a": do("{{ b }}"), "b": do("{{ a }}")}},
        refused="cycle",
        supported="no",
    ),
    Pattern(
        name="Recursion",
        how="a workflow may not use itself; called as a tool it is an execution of its own, of bounded depth",
        spec={"nodes": {"a": {"use": "self"}}},
        refused="recursive_use",
        supported="no",
    ),
    Pattern(
        name="Implicit termination",
        how="a run ends when nothing is left to do",
        spec={"nodes": _abc()},
        ran=("a", "b"),
        output={"a": 1, "b": 2},
    ),
    Pattern(
        name="Explicit termination",
        how="a step that fails ends the run as failed; there is no step that ends it as completed",
        supported="as a failure",
    ),
    Pattern(
        name="Deferred choice",
        how="a `human` step whose answer chooses; two events that race are not there yet",
        spec={
            "nodes": {
                "ask": {"type": "human", "ask": "Which?", "form": {"way": {"enum": ["a", "b"]}}},
                "q": choose(("ask.way == 'a'", "a"), otherwise="b"),
                "a": do(1),
                "b": do(2),
            }
        },
        answers=({"way": "b"},),
        ran=("b",),
        output={"b": 2},
        skipped={"a": "not_selected"},
        supported="by people",
    ),
    Pattern(
        name="Interleaved routing",
        how="a `for_each` with `max_parallel: 1` for one body; steps that exclude each other in any order cannot be said",
        supported="in part",
    ),
    Pattern(
        name="Milestone",
        how="`when` on the status of another step, which is then settled; a milestone that expires again cannot be said",
        spec={
            "nodes": {
                "mark": do(1),
                "late": do(2, depends_on=["mark"], when="steps.mark.success"),
                "end": do("{{ late }}"),
            }
        },
        ran=("mark", "late", "end"),
        order=(("mark", "late"),),
        output=2,
        supported="in part",
    ),
    Pattern(
        name="Cancel activity",
        how="`timeout` cuts an attempt off; with `on_error: skip` the others go on",
        spec={"nodes": {"a": do(1, hold="for ever", timeout="200ms", on_error="skip"), "b": do(2)}},
        ran=("a", "b"),
        output={"b": 2},
        skipped={"a": "error_ignored"},
    ),
    Pattern(name="Cancel case", how="cancelling the call, or the execution; see `test_failure_policies`"),
    Pattern(
        name="Cancel region",
        how="a failing item of a loop, or a failing used workflow, cancels what is inside it, and only that",
    ),
)
SHOWN = tuple(p for p in PATTERNS if p.spec)


@pytest.mark.req("X5", "T3")
@pytest.mark.parametrize("pattern", [p for p in SHOWN if not p.refused], ids=lambda p: p.name)
async def test_the_pattern_runs_as_its_name_says(stage: Stage, pattern: Pattern) -> None:
    graph, config = stage.graph(pattern.spec, InMemorySaver()), stage.thread()
    state = await graph.ainvoke(pattern.given, config)
    for said in pattern.answers:
        state = await graph.ainvoke(answer(said), config)
    assert sorted(stage.paths()) == sorted(pattern.ran)
    assert [pair for pair in pattern.order if not stage.before(*pair)] == []
    assert state["output"] == pattern.output
    assert {path: reason for path, (reason, _) in causes(state).items()} == pattern.skipped
    assert pattern.most is None or stage.most == pattern.most


@pytest.mark.parametrize("pattern", [p for p in SHOWN if p.refused], ids=lambda p: p.name)
def test_the_pattern_is_refused_before_it_runs(stage: Stage, pattern: Pattern) -> None:
    stage.library["self"] = pattern.spec
    with pytest.raises(SpecError) as refused:
        stage.graph(pattern.spec)
    assert pattern.refused in {problem.code for problem in refused.value.problems}


async def test_a_discriminator_does_not_wait_for_the_slow_branch(stage: Stage) -> None:
    slow, opened = do(1, hold="slow"), []
    stage.on_start = lambda path: opened.append(path) or (stage.door("slow").set() if path == "c" else None)
    await stage.run({"nodes": {"a": slow, "b": do(2), "c": do(3, depends_on=["a", "b"], join="any")}})
    assert opened == ["a", "b", "c"]


async def test_explicit_termination_as_failed_stops_the_other_branches(stage: Stage) -> None:
    with pytest.raises(WorkflowFailed):
        await stage.run({"nodes": {"a": do(hold="for ever"), "stop": do(fault="refused", turns=2)}})
    assert stage.log[-1] == ("cancel", "a")


async def test_a_failing_item_cancels_its_own_region_only(stage: Stage) -> None:
    bad = "{{ item == 1 ? 'refused' : '' }}"
    body = {"a": do(fault=bad, turns=3), "b": do("{{ item }}", turns=20)}
    loop = {"for_each": [1, 2], "on_item_error": "collect", "nodes": body, "output": "{{ b }}"}
    assert await stage.output({"nodes": {"loop": loop, "say": say("{{ loop }}")}, "output": "{{ say }}"}) == [None, 2]
    assert stage.paths("cancel") == ["loop[0].b"]


# -- the page --------------------------------------------------------------------------------------------------


def page() -> str:
    """The text of ``docs/patterns.md``."""
    rows = [f"| {p.name} | {p.supported} | {p.how} |" for p in PATTERNS]
    shown = [f"## {p.name}\n\n```yaml\n{_yaml(p.spec)}```" for p in SHOWN]
    head = (
        "# Control-flow patterns\n\nThe patterns by which workflow languages are compared, what cogwork has for each, and a"
        " spec that the tests run.\nMade by `python -m tests.test_patterns`; a test keeps it up to date.\n"
    )
    return "\n".join([head, "| pattern | supported | how |\n|---|---|---|", *rows, "", "\n\n".join(shown), ""])


def _yaml(spec: dict[str, Any]) -> str:
    plain: Callable[[Any], Any] = lambda value: json.loads(json.dumps(value))  # noqa: E731
    return yaml.safe_dump(plain(spec), sort_keys=False, default_flow_style=None, width=110)


def test_the_page_of_patterns_is_up_to_date() -> None:
    assert DOC.read_text(encoding="utf-8") == page(), "run python -m tests.test_patterns"


if __name__ == "__main__":
    DOC.write_text(page(), encoding="utf-8")
