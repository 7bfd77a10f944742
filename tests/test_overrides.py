"""What one execution does differently: overrides as data, checked like the workflow, kept with the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import cogwork
from cogwork.cli.root import cli
from graphs.language.dump import digest, to_dict
from graphs.language.load import load
from graphs.language.overrides import joined, overridden, placed
from state.errors import SpecError
from state.values import Json

pytestmark = [pytest.mark.req("M4")]

SPEC = """
cogwork: v1
name: over
mode: generic
input: {topic: {type: string, default: rain}}
limits: {max_steps: 50, max_tokens: 9000}
agents:
  writer: {instructions: Write.}
  thinker: {model: "openai:big"}
nodes:
  draft: {type: llm, prompt: "About {{ input.topic }}.", temperature: 1, retry: {max_attempts: 4, backoff: 2s}}
  each:
    for_each: ["a", "b"]
    nodes: {write: {type: llm, prompt: Go on now., agent: writer}}
  alone: {for_each: ["a"], type: llm, prompt: Go on now., agent: thinker}
  again:
    repeat: {max_iterations: 2, until: true}
    nodes: {deep: {for_each: [1], nodes: {look: {type: llm, prompt: Look at it., model: "openai:own"}}}}
  approve: {type: human, ask: "Keep it?", form: {ok: boolean}, depends_on: draft}
finally:
  nodes: {last: {type: llm, prompt: Say goodbye.}}
"""


def changed(**overrides: Json) -> dict[str, Any]:
    return to_dict(overridden(load(SPEC), overrides).spec)


def at(spec: dict[str, Any], *keys: str) -> Any:
    for key in keys:
        spec = spec[key]
    return spec


def test_the_model_is_that_of_every_step_that_names_none() -> None:
    spec = changed(model="openai:small")
    assert at(spec, "nodes", "draft", "model") == "openai:small"
    assert at(spec, "nodes", "each", "nodes", "write", "model") == "openai:small"
    assert at(spec, "finally", "nodes", "last", "model") == "openai:small"
    assert "model" not in at(spec, "nodes", "alone", "nodes", "do")
    assert at(spec, "nodes", "again", "nodes", "deep", "nodes", "look", "model") == "openai:own"


def test_mode_limits_agents_and_fields_of_steps_can_be_overridden() -> None:
    spec = changed(
        mode="coding",
        limits={"max_tokens": 100, "timeout": "1m"},
        agents={"writer": {"model": "openai:w"}},
        nodes={
            "draft": {"temperature": 0.5, "retry": {"max_attempts": 1}, "cache": "1h", "top_p": 0.9, "seed": 7},
            "each.write": {"max_tokens": 5},
            "again.deep.look": {"model": None},
            "again": {"repeat": {"max_iterations": 1}},
            "each": {"max_parallel": 1},
            "approve": {"timeout": "1d"},
            "finally.last": {"prompt": "Leave quietly now."},
        },
    )
    assert (spec["mode"], spec["limits"]) == ("coding", {"timeout": 60, "max_steps": 50, "max_tokens": 100})
    assert at(spec, "agents", "writer") == {"model": "openai:w", "instructions": "Write."}
    assert at(spec, "nodes", "draft", "retry") == {"max_attempts": 1, "backoff": 2}
    assert (at(spec, "nodes", "draft", "top_p"), at(spec, "nodes", "draft", "seed")) == (0.9, 7)
    assert at(spec, "nodes", "draft", "cache") == 3600
    assert at(spec, "nodes", "each", "nodes", "write", "max_tokens") == 5
    assert "model" not in at(spec, "nodes", "again", "nodes", "deep", "nodes", "look")
    assert at(spec, "nodes", "again", "repeat", "max_iterations") == 1
    assert at(spec, "finally", "nodes", "last", "prompt") == "Leave quietly now."


def test_a_loop_written_as_one_node_is_overridden_by_its_own_name() -> None:
    assert at(changed(nodes={"alone": {"temperature": 0}}), "nodes", "alone", "nodes", "do", "temperature") == 0


def test_without_overrides_the_workflow_is_itself() -> None:
    workflow = load(SPEC)
    assert overridden(workflow, None) is workflow
    assert overridden(workflow, {}) is workflow


def test_an_overridden_workflow_has_a_digest_of_its_own_and_the_original_keeps_its() -> None:
    workflow = load(SPEC)
    before = digest(workflow.spec)
    after = digest(overridden(workflow, {"nodes": {"draft": {"temperature": 0}}}).spec)
    assert (digest(workflow.spec), after == before) == (before, False)


def test_every_wrong_place_is_told_at_once() -> None:
    wrong: dict[str, Json] = {
        "limit": 1,
        "mode": "planing",
        "nodes": {"draf": {}, "draft": {"when": True, "prompt": "Say nothing at all."}, "each.write": {"x": 1}},
    }
    with pytest.raises(SpecError) as caught:
        overridden(load(SPEC), wrong)
    assert [(p.code, p.pointer) for p in caught.value.problems] == [
        ("unknown_override", "/limit"),
        ("unknown_override", "/mode"),
        ("unknown_override", "/nodes/draf"),
        ("override_refused", "/nodes/draft/prompt"),
        ("override_refused", "/nodes/draft/when"),
        ("unknown_override", "/nodes/each.write/x"),
    ]


def test_a_value_that_does_not_fit_is_told_at_its_place_in_the_overrides() -> None:
    with pytest.raises(SpecError) as caught:
        overridden(load(SPEC), {"nodes": {"alone": {"temperature": 9}}, "limits": {"max_tokens": "many"}})
    assert [(p.code, p.pointer) for p in caught.value.problems] == [
        ("bad_override", "/limits/max_tokens"),
        ("bad_override", "/nodes/alone/temperature"),
    ]


def test_a_model_that_is_not_allowed_is_found_by_check() -> None:
    found = cogwork.check(SPEC, overrides={"model": "nobody:x"}, settings=cogwork.Settings(openai_api_key="k"))
    assert {p.code for p in found if "nobody" in p.message} == {"unknown_model"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["draft", "{{ input.x }}"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "mode", "limits", "nodes", "agents", "draft", "each.write", "retry", "type"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_data_gives_a_workflow_with_the_same_steps_or_problems(data: Json) -> None:
    workflow = load(SPEC)
    try:
        made = overridden(workflow, data)
    except SpecError as error:
        assert error.problems and all(p.message for p in error.problems)
        return
    assert {name: step["type"] for name, step in to_dict(made.spec)["nodes"].items() if "type" in step} == {
        name: step["type"] for name, step in to_dict(workflow.spec)["nodes"].items() if "type" in step
    }


@pytest.mark.parametrize(
    ("key", "means"),
    [
        ("model", {"model": 1}),
        ("limits.max_tokens", {"limits": {"max_tokens": 1}}),
        ("nodes.draft.retry.max_attempts", {"nodes": {"draft": {"retry": {"max_attempts": 1}}}}),
        ("nodes.again.deep.look.model", {"nodes": {"again.deep.look": {"model": 1}}}),
        ("nodes.finally.last.model", {"nodes": {"finally.last": {"model": 1}}}),
        ("nodes.gone.model", {"nodes": {"gone": {"model": 1}}}),
    ],
)
def test_a_dotted_place_means_the_longest_path_of_a_step(key: str, means: Json) -> None:
    assert placed(load(SPEC), key, 1) == means


def test_of_two_overrides_the_later_holds() -> None:
    one: Json = {"limits": {"a": 1, "b": 2}, "model": "x"}
    assert joined(one, {"limits": {"b": 3}}) == {"limits": {"a": 1, "b": 3}, "model": "x"}


# -- runs --------------------------------------------------------------------------------------------------------

RESTS = """
cogwork: v1
name: rests
nodes:
  ask: {type: human, ask: "Go on?", form: {ok: boolean}}
  say: {type: tool, tool: text.read, args: {path: one.txt}, depends_on: ask}
output: "{{ say.text }}"
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rests.yaml").write_text(RESTS)
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")
    return lambda *words: CliRunner().invoke(cli, [*words], catch_exceptions=False)


def test_a_run_goes_on_with_the_overrides_that_it_began_with(command: Callable[..., Result], tmp_path: Path) -> None:
    begun = command("run", "rests.yaml", "--set", "nodes.say.args.path=two.txt", "--thread", "t", "--json")
    assert begun.exit_code == 3, begun.output
    (tmp_path / "rests.yaml").unlink()
    ended = command("resume", "t", "-a", "ok=true", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout.splitlines()[-1])["output"].strip() == "two"


def test_set_goes_over_a_file_of_overrides(command: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "over.yaml").write_text("nodes: {say: {args: {path: gone.txt}, retry: {max_attempts: 2}}}\n")
    done = command(
        *("run", "rests.yaml", "--overrides", "over.yaml", "--set", "nodes.say.args.path=two.txt"),
        *("-a", "ok=true", "--json", "--no-checkpoint"),
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["output"].strip() == "two"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "nodes.sai.args.path=x"], "did you mean 'say'?"),
        (["--set", "nodes.say"], "is not of the form name=value"),
        (["--set", "limits.max_tokens=many"], "must be"),
        (["--overrides", "[1]"], ""),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    command: Callable[..., Result], words: list[str], says: str
) -> None:
    done = command("run", "rests.yaml", *words, "--thread", "t")
    assert done.exit_code != 0
    assert says.lower() in done.stderr.lower()
    assert command("status", "t").exit_code == 4


def test_overrides_work_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("two")
    spec = RESTS.replace(", depends_on: ask", "").replace(
        '  ask: {type: human, ask: "Go on?", form: {ok: boolean}}\n', ""
    )
    graph = cogwork.compile(spec, overrides={"nodes": {"say": {"args": {"path": "two.txt"}}}})
    assert graph.invoke({})["output"].strip() == "two"
    assert cogwork.load(spec, overrides={"limits": {"max_steps": 1}}).spec.limits.max_steps == 1
