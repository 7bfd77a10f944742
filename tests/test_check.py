"""The static checks: seeded faults are told under exactly their code, right workflows are left in peace."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from cogwork.secrets import SecretSource, SecretStore
from graphs.analysis.check import CODES, analyse, check
from graphs.language.load import Workflow, load
from graphs.language.overrides import overridden
from graphs.language.spec import object_schema
from state.errors import SpecError
from state.problems import Problem
from state.services import Services, Variable
from tests.fakes import FakeTool, fake_prompt, fake_services

HERE = Path(__file__).parent
HIT = object_schema({"title": {"type": "string"}, "url": {"type": "string"}, "score": {"type": "number"}})
LIBRARY = {
    "child": """
        name: child
        input: {topic: string, depth: {type: integer, default: 1}}
        nodes:
          find: {type: tool, tool: kb.search, args: {q: "{{ input.topic }}", limit: "{{ input.depth }}"}}
        output: {title: "{{ find.hits[0].title }}"}
    """,
    "limited": """
        name: limited
        limits: {max_steps: 5}
        nodes: {a: {type: transform, set: 1}}
    """,
    "ring": """
        name: ring
        nodes: {again: {use: ring}}
    """,
}


def services() -> Services:
    """What the cases may call."""
    guarded = SecretSource(value=SecretStr("hush-hush"), tools=("pay.*",))
    return replace(_bound(), secrets=SecretStore({"guarded": guarded}, {}))


def _bound() -> Services:
    return fake_services(
        tools={
            "kb.search": FakeTool(
                args_schema={
                    "type": "object",
                    "properties": {
                        "q": {"type": "string"},
                        "limit": {"type": "integer", "maximum": 50},
                        "lang": {"enum": ["en", "de"]},
                    },
                    "required": ["q"],
                    "additionalProperties": False,
                },
                output_schema=object_schema({"hits": {"type": "array", "items": HIT}, "total": {"type": "integer"}}),
            ),
            "mail.send": FakeTool(
                args_schema=object_schema({name: {"type": "string"} for name in ("to", "body", "token")}),
                output_schema=object_schema({"id": {"type": "string"}}),
                effect="write",
            ),
            "pay.charge": FakeTool(
                args_schema=object_schema({"amount": {"type": "number"}}),
                output_schema=object_schema({"id": {"type": "string"}}),
                effect="write",
                idempotent=False,
                effect_declared=True,
            ),
            "pay.refund": FakeTool(
                args_schema=object_schema({"id": {"type": "string"}}),
                output_schema=object_schema({"done": {"type": "boolean"}}),
                effect="write",
            ),
            "any.search": FakeTool(args_schema={"type": "object", "properties": {"q": {}}}),
            "code.run": FakeTool(args_schema=object_schema({}), output_schema={}, effect="write", needs_approval=True),
            "workflow.loop": FakeTool(reaches=frozenset({"workflow.loop"})),
            "workflow.torn": FakeTool(faults=("torn.yaml:3:1: error unknown_tool: no tool x", "another")),
            "open.tool": FakeTool(args_schema={"type": "object", "properties": {"path": {"type": "string"}}}),
        },
        models={"test:small": []},
        prompts={
            "summary": fake_prompt(
                "summary",
                Variable(name="text", schema={"type": "string"}),
                Variable(name="tone", schema={"enum": ["dry", "warm"]}, required=False, default="dry"),
            ),
            "coding/write": fake_prompt("coding/write"),
        },
    )


def used(name: str, user: Workflow) -> Workflow | None:
    """The workflow of that name in the little library of this test."""
    text = LIBRARY.get(name)
    return load(text, file=f"{name}.yaml") if text is not None else None


def problems_of(text: str, file: str = "case.yaml") -> list[Problem]:
    """All problems of a document, of its loading as well; ``file`` is where it is said to stand."""
    try:
        workflow = load(text, file=file)
    except SpecError as error:
        return list(error.problems)
    return check(workflow, services(), used)


def whole(text: str) -> str:
    """A document with the head that the cases leave out."""
    return f"cogwork: v1\nname: case\n{text}"


def cases(name: str) -> list[Any]:
    """The cases of one file."""
    table = yaml.safe_load((HERE / "faults" / f"{name}.yaml").read_text())
    return [pytest.param(case, id=title) for title, case in table.items()]


ALL = [*cases("reading"), *cases("naming"), *cases("meaning"), *cases("testing"), *cases("triggering")]
OVERRIDING = cases("overriding")
OVERRIDES_OF = """
input: {q: {type: string, default: x}}
agents: {writer: {instructions: Be brief.}}
nodes:
  search: {type: tool, tool: kb.search, args: {q: literal}}
  draft: {type: llm, prompt: summary, with: {text: "{{ input.q }}"}, agent: writer}
  sub: {use: child}
"""


@pytest.mark.req("M4")
@pytest.mark.parametrize("case", OVERRIDING)
def test_a_seeded_fault_of_overrides_is_told_where_it_stands_in_them(case: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        overridden(load(whole(OVERRIDES_OF)), case["overrides"])
    (found,) = caught.value.problems
    assert (found.code, found.pointer, found.file) == (case["code"], case["pointer"], "overrides")
    assert case.get("hint", "") in found.hint


@pytest.mark.parametrize("case", ALL)
def test_a_seeded_fault_is_told_under_its_code_and_no_other(case: dict[str, Any]) -> None:
    text = case["spec"] if case.get("whole") else whole(case["spec"])
    found = problems_of(text, case.get("file", "case.yaml"))
    assert {problem.code for problem in found} == {case["code"]}, [str(problem) for problem in found]
    assert {problem.severity for problem in found} == {case.get("severity", "error")}
    if "hint" in case:
        assert any(case["hint"] in problem.hint for problem in found), [problem.hint for problem in found]
    if "pointer" in case:
        assert [problem.pointer for problem in found] == [case["pointer"]]


@pytest.mark.parametrize("case", [*cases("naming"), *cases("meaning")])
def test_every_problem_says_where_it_is_and_what_is_wrong(case: dict[str, Any]) -> None:
    for problem in problems_of(whole(case["spec"])):
        assert problem.file in ("case.yaml", "ring.yaml", "child.yaml")
        assert problem.line > 0 and problem.column > 0 and problem.message


@pytest.mark.parametrize("case", cases("right"))
def test_a_right_workflow_has_no_problem_at_all(case: dict[str, Any]) -> None:
    assert [str(problem) for problem in problems_of(whole(case["spec"]))] == []


def test_all_problems_come_at_once_sorted_by_place_and_each_once() -> None:
    text = whole("""
input: {q: string, unused: string}
nodes:
  z: {type: tool, tool: kb.serch, args: {q: "{{ input.q }}"}}
  a: {type: tool, tool: kb.search, args: {q: 1, limmit: 2}, undo: {tool: x}}
  b: {type: transform, set: "{{ nobody }}"}
output: {text: "{{ z.x }}", other: "{{ missing }}"}
""")
    found = problems_of(text)
    assert [problem.code for problem in found] == [
        "unused_input",
        "unknown_tool",
        "argument_type",
        "unknown_argument",
        "without_effect",
        "unknown_tool",
        "unknown_reference",
        "unknown_reference",
    ]
    assert found == sorted(set(found), key=Problem.sort_key)
    assert problems_of(text) == found


def test_a_fault_in_a_used_workflow_is_placed_in_its_own_file_and_told_once() -> None:
    LIBRARY["faulty"] = "name: faulty\nnodes:\n  a: {type: tool, tool: nope}\n"
    try:
        found = problems_of(whole("nodes: {one: {use: faulty}, two: {use: faulty}}"))
    finally:
        del LIBRARY["faulty"]
    assert [(p.code, p.file, p.line, p.pointer) for p in found] == [("unknown_tool", "faulty.yaml", 3, "/nodes/a/tool")]


def test_warnings_are_no_errors() -> None:
    analysis = analyse(load(whole("vars: {n: 1}\nnodes: {a: {type: transform, set: 1}}")), services(), used)
    assert [problem.code for problem in analysis.problems] == ["unused_var"]
    assert analysis.errors == ()


def test_values_that_double_from_step_to_step_cost_no_more_than_others() -> None:
    nodes: dict[str, Any] = {name: {"type": "transform", "set": {"p": "{{ run.id }}"}} for name in ("a0", "b0")}
    for index in range(1, 80):
        for name in ("a", "b"):
            before = f"{{{{ {name}{index - 1} }}}}"
            nodes[f"{name}{index}"] = {"type": "transform", "set": {"p": before, "q": before}}
    nodes["either"] = {"type": "transform", "set": "{{ run.attempt == 1 ? a79 : b79 }}"}
    assert check(load({"cogwork": "v1", "name": "case", "nodes": nodes}), services(), used) == []


def test_a_chain_of_a_thousand_conditions_needs_no_deep_stack() -> None:
    nodes: dict[str, Any] = {
        f"n{index}": {
            "type": "transform",
            "set": {"a": f"{{{{ n{index - 1} }}}}" if index else 1},
            "when": f"run.attempt == {index}",
        }
        for index in range(1_000)
    }
    found = check(load({"cogwork": "v1", "name": "case", "nodes": nodes, "output": "{{ n999 }}"}), services(), used)
    assert [problem.code for problem in found] == ["maybe_skipped"]


def test_a_list_written_into_a_loop_may_have_ten_thousand_items_and_no_more() -> None:
    loop = {"type": "transform", "set": "{{ item }}"}
    found = {
        size: [problem.code for problem in check(load(whole_of(loop | {"for_each": [0] * size})), services(), used)]
        for size in (10_000, 10_001)
    }
    assert found == {10_000: [], 10_001: ["too_many_items"]}


def whole_of(step: dict[str, Any]) -> dict[str, Any]:
    """A workflow of one step."""
    return {"cogwork": "v1", "name": "case", "nodes": {"a": step}}


FILES = {
    "file_missing": None,
    "file_unreadable": "",
    "not_utf8": b"\xff\xfe",
    "json_syntax": b'{"name": "x" "nodes": {}}',
}


@pytest.mark.parametrize("code", FILES)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, code: str) -> None:
    path, content = tmp_path / "case.json", FILES[code]
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    with pytest.raises(SpecError) as caught:
        load(path)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_what_is_too_large_is_refused() -> None:
    assert {p.code for p in problems_of("x" * 1_000_001)} == {"too_large"}


ELSEWHERE = {
    *FILES,
    "too_large",
    "too_many_items",
    "too_many_problems",
    "several_workflows",
    *(code for code in CODES if code.startswith("dialect_")),
}
"""Codes that the tests of the loader and of the dialects raise."""


def test_every_code_is_documented_and_raised_by_a_case() -> None:
    raised = {parameter.values[0]["code"] for parameter in (*ALL, *OVERRIDING)}
    assert raised | ELSEWHERE == set(CODES)
    assert all(CODES.values())


def test_no_module_raises_a_code_that_is_not_documented() -> None:
    tellers = {"report", "problem", "at", "refusal", "refuse", "warn", "unplaced", "_refusal"}
    for path in sorted((HERE.parent / "graphs").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            told = [a.value for a in call.args[:3] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if name in tellers and told and re.fullmatch(r"[a-z][a-z0-9_]*", told[0]):
                assert told[0] in CODES, f"{path}: {told[0]}"
