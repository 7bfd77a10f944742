"""The tool that checks the steps of a plan: what is wrong with them, and the order in which they can be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool

MAX_STEPS: Final = 1_000


class CheckedPlan(TypedDict):
    """Whether a plan can be carried out.

    ``groups`` holds the ids of steps that can go side by side, group after group, and ``order`` the same in one list;
    both hold what can be ordered at all. ``problems`` are sentences, empty exactly when ``ok``.
    """

    ok: bool
    problems: list[str]
    order: list[str]
    groups: list[list[str]]


def plan_tools() -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(check, name="plan.check", effect="none")]


def check(
    steps: Annotated[
        list[dict[str, Any]],
        Field(max_length=MAX_STEPS, description="The steps: id, title, depends_on (ids) and done_when."),
    ],
    max_steps: Annotated[int, Field(ge=1, le=MAX_STEPS, description="The most steps that the plan may have.")] = 50,
) -> CheckedPlan:
    """Check a plan's steps (names, dependencies, circles, gaps) and put them in order, with groups that can go side by side."""
    needs = {_id(step): _needs(step) for step in steps}
    problems = [*_counted(steps, max_steps), *_named(steps), *_dangling(needs), *_circles(needs)]
    groups = list(_groups(needs))
    return CheckedPlan(
        ok=not problems, problems=problems, order=[name for group in groups for name in group], groups=groups
    )


def _id(step: Mapping[str, Any]) -> str:
    return str(step.get("id") or "")


def _needs(step: Mapping[str, Any]) -> list[str]:
    told = step.get("depends_on")
    return [str(name) for name in told] if isinstance(told, list) else []


def _counted(steps: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    if not steps:
        yield "The plan has no steps."
    if len(steps) > most:
        yield f"The plan has {len(steps)} steps; at most {most} are wanted."


def _named(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        if not _id(step):
            yield f"Step {number} has no id."
        for key in ("title", "done_when"):
            if not str(step.get(key) or "").strip():
                yield f"Step {_id(step) or number} has no {key}."
    yield from (
        f"{count} steps have the id {name}." for name, count in Counter(map(_id, steps)).items() if count > 1 and name
    )


def _dangling(needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, earlier in needs.items():
        for other in dict.fromkeys(earlier):
            if other == name:
                yield f"Step {name} depends on itself."
            elif other not in needs:
                yield f"Step {name} depends on {other}, which is no step of the plan."


def _known(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The dependencies that exist, in the order of the steps."""
    return {name: [other for other in earlier if other in needs and other != name] for name, earlier in needs.items()}


def _circles(needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    try:
        TopologicalSorter(_known(needs)).prepare()
    except CycleError as error:
        # graphlib names each node's predecessors in turn; read backwards it says what depends on what.
        yield f"These steps wait for each other in a circle: {' -> '.join(reversed(error.args[1]))}."


def _groups(needs: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Steps whose dependencies all stand in earlier groups; steps that wait in a circle are in none."""
    waiting, done = _known(needs), set[str]()
    while ready := [name for name, earlier in waiting.items() if done.issuperset(earlier)]:
        yield ready
        done.update(ready)
        waiting = {name: earlier for name, earlier in waiting.items() if name not in done}
