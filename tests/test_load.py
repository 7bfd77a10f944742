"""Loading the canonical form: what is accepted, what it becomes, and how faults are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphs.language.load import load
from graphs.language.spec import ForEach, HumanNode, LlmNode, Repeat, ToolNode, Use
from state.errors import SpecError
from state.problems import Problem


def refused(text: Any, **options: Any) -> list[Problem]:
    """The problems of a document that cannot be loaded."""
    with pytest.raises(SpecError) as caught:
        load(text, **options)
    problems = list(caught.value.problems)
    assert problems == sorted(problems, key=Problem.sort_key)
    assert not any("pydantic" in str(problem) or "Input should" in str(problem) for problem in problems)
    return problems


def step(fields: str) -> list[Problem]:
    """The problems of one step, written in flow style."""
    return refused(f"name: n\nnodes:\n  a: {{{fields}}}\n")


def test_every_fault_is_told_at_once_and_at_its_place() -> None:
    problems = refused(
        "name: x\nverson: 1\ntags: a\nmodee: coding\nnodes:\n  a: {type: tool, tool: t, arguments: {}}\n", file="f.yaml"
    )

    assert [(p.code, p.line, p.pointer) for p in problems] == [
        ("unknown_key", 2, "/verson"),
        ("wrong_type", 3, "/tags"),
        ("unknown_key", 4, "/modee"),
        ("unknown_key", 6, "/nodes/a/arguments"),
    ]
    assert [p.hint for p in problems if p.code == "unknown_key"] == [
        "Did you mean 'version'?",
        "Did you mean 'mode'?",
        "Did you mean 'args'?",
    ]
    assert {p.file for p in problems} == {"f.yaml"}


@pytest.mark.parametrize(
    ("fields", "code", "pointer", "said"),
    [
        ("type: tol", "unknown_step_type", "/nodes/a/type", "Did you mean 'tool'?"),
        ("prompt: hi", "missing_key", "/nodes/a", "`type: llm`?"),
        ("type: tool", "missing_key", "/nodes/a", "`a` lacks `tool`"),
        ("type: llm, prompt: p, timeout: 5x", "bad_duration", "/nodes/a/timeout", "30s"),
        ("type: llm, prompt: p, retry: {max_attempts: 0}", "bad_value", "/nodes/a/retry/max_attempts", "at least 1"),
        ("type: llm, prompt: p, retry: {on: [timeot]}", "bad_value", "/nodes/a/retry/on/0", "'timeout'"),
        ("type: llm, prompt: p, on_error: skp", "bad_value", "/nodes/a/on_error", "Did you mean 'skip'?"),
        ("type: llm, prompt: p, on_error: {thn: b}", "unknown_key", "/nodes/a/on_error/thn", "'then'"),
        ("type: llm, prompt: p, join: {at_least: 0}", "bad_value", "/nodes/a/join/at_least", "at least 1"),
        ("type: llm, prompt: p, when: 5", "wrong_type", "/nodes/a/when", "true or false or text"),
        ("type: llm, prompt: p, fallback: {model: m}", "wrong_type", "/nodes/a/fallback", "list"),
        ("type: llm, prompt: p, max_tokens: '5'", "wrong_type", "/nodes/a/max_tokens", "without quotes"),
        ("type: llm, prompt: p, history: 1", "wrong_type", "/nodes/a/history", "true or false"),
        ("type: llm, prompt: p, with_: {}", "unknown_key", "/nodes/a/with_", "Did you mean 'with'?"),
        ("type: llm, prompt: p, ask: hm", "unknown_key", "/nodes/a/ask", "human has it"),
        ("for_each: x", "missing_key", "/nodes/a", "`nodes:`"),
        ("for_each: 5, nodes: {b: {use: c}}", "wrong_type", "/nodes/a/for_each", "text or a list"),
        ("repeat: {until: x}, use: b", "missing_key", "/nodes/a/repeat", "`repeat` lacks `max_iterations`"),
        ("for_each: x, type: llm, promt: p, prompt: q", "unknown_key", "/nodes/a/promt", "'prompt'"),
        ("type: condition, cases: []", "bad_value", "/nodes/a/cases", "at least 1"),
        ("type: human, ask: q, form: {a: strng}", "bad_value", "/nodes/a/form/a", "'string'"),
        ("type: llm, prompt: p, output: {a: 5}", "wrong_type", "/nodes/a/output/a", "`a: string`"),
    ],
)
def test_a_fault_in_a_step_has_its_code_place_and_hint(fields: str, code: str, pointer: str, said: str) -> None:
    found = [(p.code, p.pointer, f"{p.message} {p.hint}") for p in step(fields)]

    assert any(f[:2] == (code, pointer) and said in f[2] for f in found), found


def test_alternatives_make_one_problem() -> None:
    assert len(step("type: llm, prompt: p, join: most")) == 1


@pytest.mark.parametrize("name", ["a.b", "a b", "a/b", "a:b", "a|b", "a[0]", ""])
def test_a_name_that_expressions_cannot_take_is_refused_in_every_block(name: str) -> None:
    inner = {name: {"type": "transform", "set": 1}}
    document = {"name": "n", "nodes": {"l": {"for_each": "x", "nodes": inner}, **inner}, "finally": {"nodes": inner}}

    assert [p.code for p in refused(document)] == ["bad_name"] * 3


def test_words_of_the_expressions_are_reserved() -> None:
    problems = refused("name: n\nnodes: {output: {use: a}, run: {use: b}}")

    assert [(p.code, p.line) for p in problems] == [("reserved_name", 2)] * 2


def test_unquoted_text_keeps_its_source_wherever_text_is_declared() -> None:
    spec = load(
        """
name: n
version: 1.10
description: 0x1F
tags: [1.0, true]
vars: {n: 1.0}
input: {v: {type: string, default: 1.10, enum: [1.10, 010], title: 7}, n: {type: number, default: 1.10}}
nodes:
  a: {type: llm, prompt: 5, stop: [1e3], with: {x: 1.50}}
  b: {type: human, ask: 1.0, form: {v: {type: string}, n: {type: number}}, on_timeout: {v: 2.10, n: 2.10}}
"""
    ).spec
    first, asked = spec.nodes["a"], spec.nodes["b"]

    assert (spec.version, spec.description, spec.tags, spec.vars) == ("1.10", "0x1F", ["1.0", "true"], {"n": 1.0})
    assert spec.input["properties"]["v"] == {"type": "string", "default": "1.10", "enum": ["1.10", "010"], "title": "7"}
    assert spec.input["properties"]["n"]["default"] == 1.1
    assert isinstance(first, LlmNode) and (first.prompt, first.stop, first.with_) == ("5", ["1e3"], {"x": 1.5})
    assert isinstance(asked, HumanNode) and asked.on_timeout == {"v": "2.10", "n": 2.1}


def test_a_map_of_properties_becomes_a_full_schema_but_a_loops_output_stays_a_value() -> None:
    workflow = load(
        """
name: n
input: {repo: string, since: {type: string, default: now}}
nodes:
  a: {type: tool, tool: t, output: {ok: boolean}}
  l: {for_each: a.items, nodes: {b: {use: c}}, output: {type: "{{ b.x }}"}}
output: {type: object}
"""
    )
    spec = workflow.spec
    tool, loop = spec.nodes["a"], spec.nodes["l"]

    assert spec.input["required"] == ["repo"] and spec.input["additionalProperties"] is False
    assert isinstance(tool, ToolNode) and tool.output and tool.output["properties"] == {"ok": {"type": "boolean"}}
    assert isinstance(loop, ForEach) and loop.output == {"type": "{{ b.x }}"}
    assert spec.output == {"type": "object"}
    assert workflow.problem("x", "", "/input/properties/repo").pointer == "/input/repo"


def test_a_schema_that_looks_full_and_is_not_is_warned_about() -> None:
    workflow = load("name: n\nnodes: {a: {type: tool, tool: t, output: {type: array, items: {type: string}}}}")

    assert [(p.code, p.pointer, p.line) for p in workflow.warnings] == [("schema_shorthand", "/nodes/a/output", 2)]


def test_a_loop_over_one_node_is_a_loop_with_a_body() -> None:
    workflow = load(
        """
name: n
nodes:
  a:
    for_each: input.list
    max_parallel: 2
    type: llm
    when: input.go
    prompt: Look at {{ item }}
    output: {found: boolean}
  b: {repeat: {max_iterations: 3, until: do.ok}, use: other, with: {x: 1}, depends_on: a, output: "{{ do.y }}"}
"""
    )
    written = load(
        """
name: n
nodes:
  a:
    for_each: input.list
    max_parallel: 2
    when: input.go
    nodes: {do: {type: llm, prompt: "Look at {{ item }}", output: {found: boolean}}}
  b:
    repeat: {max_iterations: 3, until: do.ok}
    depends_on: [a]
    nodes: {do: {use: other, with: {x: 1}}}
    output: "{{ do.y }}"
"""
    )

    assert workflow.spec == written.spec
    assert isinstance(workflow.spec.nodes["b"], Repeat) and isinstance(workflow.spec.nodes["b"].nodes["do"], Use)
    placed = workflow.problem("x", "", "/nodes/a/nodes/do/prompt")
    assert (placed.pointer, placed.line) == ("/nodes/a/prompt", 9)
    assert workflow.problem("x", "", "/nodes/b/depends_on/0").pointer == "/nodes/b/depends_on"


def test_what_is_no_workflow_says_so() -> None:
    assert [p.code for p in refused("just a text")] == ["not_a_workflow"]
    assert [p.code for p in refused({"a": 1})] == ["not_a_workflow"]
    assert [p.code for p in refused({"cogwork": "v9", "name": "n"})] == ["unknown_dialect"]
    assert [p.code for p in refused({"name": "n", "steps": [{"id": "a", "type": "tool"}]})] == ["unknown_dialect"]
    assert [p.code for p in refused({"name": "n", "nodes": {"a": {"type": "tool", "tool": object()}}})] == [
        "wrong_type"
    ]


def test_a_file_is_named_by_a_path_or_by_one_line(tmp_path: Path) -> None:
    path = tmp_path / "greet.yaml"
    path.write_text("name: greet\nnodes: {a: {type: transform, set: 1}}\n")

    assert load(path).spec == load(str(path)).spec
    assert load(path).problem("x", "", "/nodes/a/set").line == 2
    assert refused(str(tmp_path / "none.yaml"))[0].code == "file_missing"


def test_a_spec_made_in_python_is_checked_like_a_text() -> None:
    spec = load("name: n\nnodes: {a: {type: transform, set: 1}}").spec
    renamed = spec.model_copy(update={"nodes": {"a b": spec.nodes["a"]}})

    assert load(spec).spec == spec and load(spec).source is None
    assert [p.code for p in refused(renamed)] == ["bad_name"]


def test_a_document_of_nothing_but_faults_is_refused_in_bounded_time() -> None:
    problems = refused(
        {"name": "n", "nodes": {"a": {"type": "llm", "prompt": "p", **{f"k{i}": i for i in range(20_000)}}}}
    )

    assert len(problems) == 1001 and problems[0].code == "too_many_problems"
