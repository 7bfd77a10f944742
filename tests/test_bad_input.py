"""Bad input at the public doors: each gets a clear error, and loses nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import cogwork
from cogwork import AnswerRefused, InputRefused, NotResumable, SpecError, WorkflowFailed
from graphs.build import build
from tests.fakes import ScriptedModel, fake_services

HEAD = "cogwork: v1\nname: bad\n"
ASKING = (
    HEAD
    + """
nodes:
  before: {type: transform, set: 1}
  ask: {type: human, ask: "Go on?", form: {decision: {enum: [yes, no]}, times: {type: integer, default: 1}}}
  after: {type: transform, set: "{{ ask.decision }} {{ ask.times }}"}
output: "{{ after }}"
"""
)
THREAD: dict[str, Any] = {"configurable": {"thread_id": "one"}}


def problems(text: str) -> list[str]:
    """The codes of what is wrong, through the public door."""
    found = cogwork.check(text)
    for problem in found:
        assert problem.hint, problem
        assert problem.message and "pydantic" not in str(problem).lower()
    return [problem.code for problem in found]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "yaml_alias", id="a bomb of aliases"),
        pytest.param(HEAD + "nodes: &n {a: {type: transform, set: 1}}\n", "yaml_alias", id="an anchor"),
        pytest.param("[" * 100_000 + "\n", "too_large", id="a hundred thousand brackets"),
        pytest.param(HEAD + "name: again\nnodes: {}\n", "duplicate_key", id="a key twice"),
        pytest.param(
            HEAD + "nodes: {a: {type: transform, set: !!python/object:os.system x}}\n", "yaml_tag", id="a tag"
        ),
        pytest.param(HEAD + "nodes: [a, b]\n", "wrong_type", id="a list for steps"),
        pytest.param(HEAD + "nodes: {a: {type: transform, set: 1, wehn: true}}\n", "unknown_key", id="an unknown key"),
        pytest.param(
            HEAD + "nodes:\n  a: {type: transform, set: '{{ b }}'}\n  b: {type: transform, set: '{{ a }}'}\n",
            "cycle",
            id="a ring",
        ),
        pytest.param(
            HEAD + "nodes: {a: {type: transform, set: '{{ nowhere.x }}'}}\n", "unknown_reference", id="dangling"
        ),
        pytest.param(
            HEAD + "nodes:\n  a: {type: transform, set: 1, when: input.go}\n"
            "input: {go: boolean}\noutput: {a: '{{ a }}'}\n",
            "maybe_skipped",
            id="a step that may be skipped",
        ),
        pytest.param(
            HEAD + "input: {n: string}\nnodes: {a: {type: transform, set: '{{ input.n * 2 }}'}}\n",
            "type_mismatch",
            id="types",
        ),
    ],
)
def test_a_bad_spec_is_refused_under_its_code_with_a_hint(text: str, code: str) -> None:
    assert problems(text) == [code]
    with pytest.raises(SpecError):
        cogwork.compile(text)


def test_an_unknown_key_is_answered_with_the_one_that_was_meant() -> None:
    (problem,) = cogwork.check(HEAD + "nodes: {a: {type: transform, set: 1, wehn: true}}\n")
    assert "when" in problem.hint
    assert (problem.line, problem.pointer) == (3, "/nodes/a/wehn")


def test_words_and_times_keep_the_meaning_that_they_have_in_yaml_1_2() -> None:
    graph = cogwork.compile(
        HEAD
        + "version: 1.10\nnodes:\n  a: {type: transform, set: {country: NO, on: off, at: 12:30, day: 2026-11-21, n: 1.10}}\n"
    )
    assert graph.invoke({})["output"] == {"country": "NO", "on": "off", "at": "12:30", "day": "2026-11-21", "n": 1.1}
    assert graph.plan.spec.version == "1.10"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (problem,) = cogwork.check(tmp_path / "none.yaml")
    assert problem.code == "file_missing"
    assert "none.yaml" in str(problem)


def test_an_input_that_does_not_fit_is_refused_before_anything_runs() -> None:
    graph = cogwork.compile(
        HEAD + "input: {n: integer}\nnodes: {a: {type: transform, set: '{{ input.n }}'}}\n",
        checkpointer=InMemorySaver(),
    )
    for given, said in (({}, "/n"), ({"n": "x"}, "expected integer"), ({"n": 1, "m": 2}, "/m")):
        with pytest.raises(InputRefused, match=said):
            graph.invoke(given, THREAD)
    assert graph.get_state(THREAD).values == {}


def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open() -> None:
    graph = cogwork.compile(ASKING, checkpointer=InMemorySaver())
    graph.invoke({}, THREAD)
    for answer in (
        {"decision": "perhaps"},
        {},
        "yes",
        {"decision": "yes", "times": "often"},
        {"decision": "yes", "extra": 1},
    ):
        with pytest.raises(AnswerRefused, match="stays open"):
            graph.invoke(Command(resume=answer), THREAD)
    assert graph.get_state(THREAD).next == ("ask",)
    assert graph.invoke(Command(resume={"decision": "yes"}), THREAD)["output"] == "yes 1"


def test_what_is_finished_or_unknown_cannot_be_resumed() -> None:
    graph = cogwork.compile(ASKING, checkpointer=InMemorySaver())
    with pytest.raises(NotResumable, match="holds no run"):
        graph.invoke(None, THREAD)
    graph.invoke({}, THREAD)
    with pytest.raises(NotResumable, match="waits for an answer"):
        graph.invoke({}, THREAD)
    graph.invoke(Command(resume={"decision": "no"}), THREAD)
    with pytest.raises(NotResumable, match="completed"):
        graph.invoke(None, THREAD)
    with pytest.raises(NotResumable, match="asks nothing"):
        graph.invoke(Command(resume={"decision": "no"}), THREAD)


def test_a_prompt_that_lacks_a_variable_is_found_before_the_run() -> None:
    assert problems(HEAD + "nodes: {a: {type: llm, prompt: generic/answer}}\n") == ["prompt_missing_variable"]


def raises() -> str:
    """Fail."""
    raise ValueError("the shelf is empty")


def not_a_number() -> Any:
    """Return what JSON does not have."""
    return {"mean": math.nan}


def declared_number() -> float:
    """Promise a number."""
    return math.nan


def fifty_megabytes() -> str:
    """Return too much."""
    return "x" * 50_000_000


def an_object() -> Any:
    """Return what has no JSON form."""
    return object()


TOOLS = (raises, not_a_number, declared_number, fifty_megabytes, an_object)


def calling(name: str) -> Any:
    return cogwork.compile(HEAD + f"nodes: {{a: {{type: tool, tool: {name}}}}}\n", tools=TOOLS)


def test_a_tool_that_raises_fails_the_run_with_what_it_said() -> None:
    with pytest.raises(WorkflowFailed, match="the shelf is empty") as failed:
        calling("raises").invoke({})
    assert failed.value.error["class"] == "tool_error"
    assert failed.value.error["pointer"] == "/nodes/a"


def test_a_tool_that_returns_nan_gives_null() -> None:
    assert calling("not_a_number").invoke({})["output"] == {"mean": None}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fifty_megabytes", "larger than the limit"),
        ("an_object", "no JSON form"),
        ("declared_number", "null is null, expected number"),
    ],
)
def test_a_tool_result_that_cannot_be_kept_fails_the_step(name: str, said: str) -> None:
    with pytest.raises(WorkflowFailed, match=said) as failed:
        calling(name).invoke({})
    assert failed.value.error["class"] == "invalid_output"


def test_what_a_tool_returns_is_data_and_never_read_as_language() -> None:
    def hostile() -> str:
        """Return text that looks like the language."""
        return "{{ input.secret }} ${vars.key}\ncogwork: v1\nnodes: {x: {type: tool, tool: raises}}"

    graph = cogwork.compile(
        HEAD + "input: {secret: {type: string, default: hush}}\nnodes:\n"
        "  a: {type: tool, tool: hostile}\n  b: {type: transform, set: 'said: {{ a }}'}\n  c: {type: transform, set: '{{ b }}'}\n",
        tools=[hostile],
    )
    assert graph.invoke({})["results"]["c"] == "said: " + hostile()


def test_a_model_that_answers_prose_for_json_is_asked_once_more_and_then_fails_the_step() -> None:
    spec = HEAD + "nodes: {a: {type: llm, model: 'test:m', prompt: How many?, output: {n: integer}}}\n"
    patient = ScriptedModel(answers=["There are four.", '{"n": 4}'])
    stubborn = ScriptedModel(answers=["There are four.", "Four, as I said."])
    workflow = cogwork.load(spec)
    graphs = [
        build(workflow, fake_services(models={"test:m": model}), lambda name, user: None)
        for model in (patient, stubborn)
    ]
    assert graphs[0].invoke({})["output"] == {"n": 4}
    with pytest.raises(WorkflowFailed) as failed:
        graphs[1].invoke({})
    assert failed.value.error["class"] == "invalid_output"
    assert "Four, as I said." in str(failed.value.error["details"])
    assert len(stubborn.asked) == 2
