"""A workflow built in Python is the workflow that a document would have said."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.language.builder import Builder, LlmFields, ToolFields, block, workflow
from graphs.language.dump import to_yaml
from graphs.language.load import load
from graphs.language.spec import Agent, Fallback, Limits
from nodes.base import AtLeast, Then, Undo
from nodes.condition import Case
from nodes.llm import LlmNode
from nodes.tool import ToolNode
from state.errors import SpecError

WRITTEN = """
name: every_kind
version: "2"
mode: coding
tags: [demo]
input: {repo: string, list: {type: array, default: []}}
vars: {most: 3}
agents: {reader: {model: "openai:small", instructions: Read.}}
limits: {timeout: 10m}
nodes:
  log:
    type: tool
    tool: git.log
    args: {path: "{{ input.repo }}"}
    retry: {max_attempts: 4, on: [timeout]}
    timeout: 30s
    undo: {tool: git.reset}
  any:
    type: condition
    cases: [{if: size(log.commits) > 0, then: draft}, {if: "input.list == []", then: [draft, ask]}]
    else: nothing
  draft:
    type: llm
    prompt: Sum up {{ log.commits }}
    with: {x: 1}
    agent: reader
    output: {title: string}
    fallback: [{model: "openai:tiny"}]
    on_error: {then: nothing}
  ask: {type: human, ask: Sure?, form: {ok: boolean}, timeout: 3d, on_timeout: {ok: false}}
  nothing: {type: transform, set: null}
  each:
    for_each: input.list
    max_parallel: 2
    join: {at_least: 1}
    depends_on: [log, any]
    nodes: {one: {use: other, with: {item: "{{ item }}"}}}
    output: "{{ one }}"
  again:
    repeat: {max_iterations: 3, until: step.ok}
    nodes: {step: {type: transform, set: {ok: true}}}
output: {notes: "{{ draft.title }}"}
parallel_groups: [[each, again]]
on_failure: {nodes: {say: {type: tool, tool: chat.say}}}
finally: {nodes: {clean: {type: tool, tool: fs.clean}}}
"""


def built() -> Builder:
    """The same in Python."""
    return (
        workflow(
            "every_kind",
            version="2",
            mode="coding",
            tags=["demo"],
            input={"repo": "string", "list": {"type": "array", "default": []}},
            vars={"most": 3},
            agents={"reader": Agent(model="openai:small", instructions="Read.")},
            limits=Limits(timeout=600),
        )
        .tool(
            "log",
            "git.log",
            args={"path": "{{ input.repo }}"},
            retry={"max_attempts": 4, "on": ["timeout"]},
            timeout="30s",
            undo=Undo(tool="git.reset"),
        )
        .condition(
            "any",
            [
                ("size(log.commits) > 0", "draft"),
                Case.model_validate({"if": "input.list == []", "then": ["draft", "ask"]}),
            ],
            else_="nothing",
        )
        .llm(
            "draft",
            "Sum up {{ log.commits }}",
            with_={"x": 1},
            agent="reader",
            output={"title": "string"},
            fallback=[Fallback(model="openai:tiny")],
            on_error=Then(then="nothing"),
        )
        .human("ask", "Sure?", form={"ok": "boolean"}, timeout="3d", on_timeout={"ok": False})
        .transform("nothing", None)
        .for_each(
            "each",
            "input.list",
            block().use("one", "other", with_={"item": "{{ item }}"}),
            max_parallel=2,
            join=AtLeast(at_least=1),
            depends_on=["log", "any"],
            output="{{ one }}",
        )
        .repeat("again", block().transform("step", {"ok": True}), max_iterations=3, until="step.ok")
        .output({"notes": "{{ draft.title }}"})
        .parallel_groups(["each", "again"])
        .on_failure(block().tool("say", "chat.say"))
        .finally_(block().tool("clean", "fs.clean"))
    )


def test_a_built_workflow_equals_the_written_one() -> None:
    assert built().spec() == load(WRITTEN).spec


def test_a_builder_never_changes() -> None:
    base = workflow("n").transform("a", 1)
    one, two = base.transform("b", 2), base.transform("c", 3)

    assert list(base.spec().nodes) == ["a"]
    assert (list(one.spec().nodes), list(two.spec().nodes)) == (["a", "b"], ["a", "c"])


def test_faults_are_those_of_a_document() -> None:
    with pytest.raises(SpecError) as caught:
        workflow("no name").tool("a b", "t", timeout="soon").build()

    assert sorted(p.code for p in caught.value.problems) == ["bad_duration", "bad_name", "bad_value"]


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        workflow("n").transform("a", 1).transform("a", 2).build()

    assert [p.code for p in caught.value.problems] == ["duplicate_key"]


def test_every_policy_of_a_step_can_be_said_in_python() -> None:
    spec = (
        workflow("policies", limits=Limits(max_tokens=500))
        .tool("near", "map.find", effect="read", cache="1h", total_timeout="1m", timeout="20s")
        .tool("far", "map.find", fallback=[Fallback(node="none")])
        .transform("none", {"found": False})
        .transform("first", "{{ near?.at | default: far?.at }}", join="any", cancel_rest=True)
        .tool("book", "desk.book", {"at": "{{ first }}"}, idempotent=True, undo={"tool": "desk.cancel"})
        .on_failure(block().tool("tell", "chat.say"))
        .finally_(block().tool("clean", "fs.clean"))
        .spec()
    )
    written = """
name: policies
limits: {max_tokens: 500}
nodes:
  near: {type: tool, tool: map.find, effect: read, cache: 1h, timeout: 20s, total_timeout: 1m}
  far: {type: tool, tool: map.find, fallback: [{node: none}]}
  none: {type: transform, set: {found: false}}
  first: {type: transform, set: "{{ near?.at | default: far?.at }}", join: any, cancel_rest: true}
  book: {type: tool, tool: desk.book, args: {at: "{{ first }}"}, idempotent: true, undo: {tool: desk.cancel}}
on_failure: {nodes: {tell: {type: tool, tool: chat.say}}}
finally: {nodes: {clean: {type: tool, tool: fs.clean}}}
"""
    assert spec == load(written).spec
    assert load(to_yaml(spec)).spec == spec


@pytest.mark.parametrize(
    ("kind", "fields", "positional"),
    [
        (LlmNode, LlmFields, {"type", "prompt", "with_"}),
        (ToolNode, ToolFields, {"type", "tool", "args", "output"}),
    ],
)
def test_whatever_a_node_may_have_can_be_said_in_python(kind: Any, fields: Any, positional: set[str]) -> None:
    assert set(kind.model_fields) == positional | set(fields.__annotations__)


def test_an_agent_built_in_python_is_the_written_one() -> None:
    spec = (
        workflow("talks")
        .llm(
            "ask",
            "Find out what it is.",
            tools=["text.*"],
            approve={"text.write": "ask"},
            budget={"max_turns": 3},
            stop_after=["text.write"],
            handoffs=False,
            top_p=0.5,
            seed=7,
        )
        .spec()
    )
    assert (
        spec
        == load(
            "name: talks\nnodes: {ask: {type: llm, prompt: Find out what it is., tools: [text.*], approve: {text.write: ask},"
            " budget: {max_turns: 3}, stop_after: [text.write], handoffs: false, top_p: 0.5, seed: 7}}\n"
        ).spec
    )
