"""Ten thousand tools in one toolbox: what finding, listing and checking costs, counted in operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cogwork.tools.toolbox import Toolbox
from graphs.analysis.check import check
from graphs.analysis.rules.subject import MOST_COMPARED
from graphs.language.load import load
from state.problems import Problem
from state.services import Services
from tests.fakes import FakeTool, fake_services

pytestmark = [pytest.mark.req("X8")]

MANY = 10_000
STEPS = 200


class Name(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: str) -> bool:
        Name.compared += 1
        return str.__lt__(self, other)

    __hash__ = str.__hash__


class Counting:
    """A toolbox that counts what is asked of it."""

    def __init__(self, box: Toolbox) -> None:
        self.box, self.found, self.listed = box, 0, 0

    def find(self, name: str) -> Any:
        self.found += 1
        return self.box.find(name)

    def names(self) -> Iterator[str]:
        for name in self.box.names():
            self.listed += 1
            yield name

    def problem(self, name: str) -> str | None:
        return self.box.problem(name)

    async def release(self, run: str) -> None:
        await self.box.release(run)


def toolbox(**more: Any) -> Toolbox:
    """Tools ``group0.tool0000`` and so on."""
    return Toolbox((FakeTool(name=Name(f"group{i % 100}.tool{i:05}")) for i in range(MANY)), **more)


def checked(tool: str, **step: Any) -> tuple[list[Problem], Counting]:
    """The problems of a workflow with very many steps, each of which names a tool of that form."""
    tools = Counting(toolbox())
    given = fake_services(models={"m": []})
    nodes = {f"s{i}": {"type": "tool", "tool": tool.format(i=i, g=i % 100), **step} for i in range(STEPS)}
    services = Services(tools=tools, models=given.models, prompts=given.prompts)
    return check(load({"cogwork": "v1", "name": "many", "nodes": nodes}), services, lambda name, user: None), tools


def test_names_are_sorted_once_and_given_in_order_ever_after() -> None:
    Name.compared = 0
    box = toolbox()
    once = Name.compared
    assert MANY <= once <= MANY * 20
    for _ in range(100):
        names = box.names()
    assert Name.compared == once
    assert (len(names), names == sorted(names)) == (MANY, True)
    names.clear()
    assert len(box.names()) == MANY


def test_tools_are_allowed_by_names_and_patterns() -> None:
    patterns = [f"group{i}.*" for i in range(50)] + ["group99.tool00099"]
    names = toolbox(allowed=patterns).names()
    assert (len(names), names[-1]) == (MANY // 2 + 1, "group99.tool00099")
    assert toolbox(allowed=[]).names() == []


def test_checking_tools_that_are_there_looks_each_up_and_lists_none() -> None:
    problems, tools = checked("group{g}.tool{i:05}")
    assert [problem.code for problem in problems] == []
    assert tools.found <= STEPS * 20
    assert tools.listed == 0


def test_checking_tools_that_are_not_there_compares_no_more_names_than_is_worth_it() -> None:
    problems, tools = checked("group{g}.toll{i:05}")
    assert [problem.code for problem in problems] == ["unknown_tool"] * STEPS
    meant = [problem for problem in problems if "did you mean" in problem.hint]
    assert len(meant) == MOST_COMPARED // MANY
    assert all("the settings allow group0.tool00000, " in problem.hint for problem in problems if problem not in meant)
    assert tools.listed <= MOST_COMPARED + STEPS * 20
