"""Each dialect's documents load into the spec that a person would write for them in the canonical form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphs.language.load import Workflow, load, load_all
from graphs.language.spec import ConditionNode, LlmNode, ToolNode
from nodes.base import Undo
from state.errors import SpecError
from state.problems import Problem

DOCUMENTS = Path(__file__).parent / "documents"


def canonical(name: str) -> Workflow:
    """The hand-written canonical form of a document."""
    return load(DOCUMENTS / f"{name}.canonical.yaml")


def codes(document: Any, **options: Any) -> list[str]:
    """The codes of the problems for which a document is refused."""
    return [problem.code for problem in problems(document, **options)]


def problems(document: Any, **options: Any) -> tuple[Problem, ...]:
    """The problems for which a document is refused."""
    with pytest.raises(SpecError) as caught:
        load(document, **options)
    return caught.value.problems


def template(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A tool template of steps a, b, c …, each calling a tool."""
    named = [{"step_id": chr(97 + index), "tool_name": "t", **step} for index, step in enumerate(steps)]
    return {"name": "n", "steps": named, **more}


@pytest.mark.req("T1", "T4")
def test_a_tool_template_loads_as_written_by_hand() -> None:
    workflow = load(DOCUMENTS / "tool_template.yaml")

    assert workflow.dialect == "tool_template"
    assert workflow.spec == canonical("tool_template").spec
    assert [(p.code, p.line) for p in workflow.warnings] == [("dialect_success", 16), ("dialect_success", 22)]
    assert workflow.problem("x", "", "/nodes/tell/args/message").pointer == "/steps/2/parameters/message"
    assert workflow.problem("x", "", "/nodes/find_tickets/retry/max_attempts").line == 8


@pytest.mark.req("E5")
def test_agent_steps_load_as_written_by_hand() -> None:
    workflow = load(DOCUMENTS / "agent_steps.yaml")

    assert workflow.dialect == "agent_steps"
    assert workflow.spec == canonical("agent_steps").spec
    assert workflow.warnings == ()
    assert workflow.problem("x", "", "/nodes/layout/set/garden_plan").pointer == "/steps/0/output_mapping/garden_plan"


@pytest.mark.req("X4")
def test_a_graph_definition_loads_as_written_by_hand() -> None:
    workflow = load(DOCUMENTS / "graph_definition.json")

    assert workflow.dialect == "graph_definition"
    assert workflow.spec == canonical("graph_definition").spec
    assert workflow.warnings == ()


def test_an_agent_file_loads_as_written_by_hand() -> None:
    found = load_all(DOCUMENTS / "agent_file.yaml")

    assert list(found) == ["answer_letter", "echo"]
    assert found["answer_letter"].spec == canonical("agent_file").spec
    assert load(DOCUMENTS / "agent_file.yaml", select="echo").spec == found["echo"].spec
    assert list(found["echo"].spec.nodes) == ["writer", "writer_2"] and list(found["echo"].spec.agents) == ["writer"]
    assert found["echo"].problem("x", "", "/agents/writer/model").line == 15


def test_one_of_several_workflows_must_be_selected() -> None:
    (problem,) = problems(DOCUMENTS / "agent_file.yaml")

    assert problem.code == "several_workflows" and "answer_letter, echo" in problem.message
    assert codes(DOCUMENTS / "agent_file.yaml", select="eco") == ["several_workflows"]


@pytest.mark.req("T2")
def test_free_names_become_inputs_and_other_words_are_left_alone() -> None:
    spec = load(
        template(
            {"parameters": {"x": "{{ repo }} repo {{ 'repo' }} {{ size(repo) }} {{ a_map.repo.repo }}"}},
            {"parameters": {"x": "{{ a.repo }}", "y": "{{ limit | default: 3 }}", "z": "{{ limit | default: 4 }}"}},
        )
    ).spec
    first = spec.nodes["a"]

    assert isinstance(first, ToolNode)
    assert first.args == {"x": "{{ input.repo }} repo {{ 'repo' }} {{ size(input.repo) }} {{ input.a_map.repo.repo }}"}
    assert spec.input["properties"] == {"repo": {}, "a_map": {}, "limit": {"default": None}}
    assert spec.input["required"] == ["repo", "a_map"]


def test_success_is_rewritten_in_expressions_only_and_only_without_a_field() -> None:
    class Known:
        """Tools of which one returns ``success``."""

        def find(self, name: str) -> Any:
            schema = {"type": "object", "properties": {"success": {"type": "boolean"}}} if name == "says" else {}
            return type("Tool", (), {"output_schema": schema})()

        def names(self) -> list[str]:
            return ["says", "t"]

    document = template(
        {},
        {"tool_name": "says"},
        {"condition": "{{a.success}} = true and b.success", "parameters": {"x": "a.success {{ a.success }}"}},
    )
    workflow = load(document, tools=Known())
    last = workflow.spec.nodes["c"]

    assert isinstance(last, ToolNode) and last.when == "{{steps.a.success}} == true and b.success"
    assert last.args == {"x": "a.success {{ steps.a.success }}"}
    assert {p.code for p in workflow.warnings} == {"dialect_success"}


@pytest.mark.req("T4")
def test_retries_count_what_comes_after_the_first_attempt() -> None:
    spec = load(template({"retry_count": 0}, {"retry_count": 1}, {"retry": {"max_retries": 0}})).spec

    assert [node.retry and node.retry.max_attempts for node in spec.nodes.values()] == [None, 2, 1]  # type: ignore[union-attr]


@pytest.mark.req("T4")
def test_a_fallback_step_of_a_template_runs_only_in_place_of_the_step_that_it_serves() -> None:
    nodes = load(
        template({}, {"fallback": "c", "depends_on": ["a"]}, {"depends_on": ["a", "b"]}, {"depends_on": ["b", "c"]})
    ).spec.nodes

    assert {name: node.depends_on for name, node in nodes.items()} == {"a": [], "b": ["a"], "c": ["a"], "d": ["b"]}
    assert isinstance(nodes["b"], ToolNode) and [each.node for each in nodes["b"].fallback] == ["c"]


@pytest.mark.req("T4")
@pytest.mark.parametrize(
    "compensation",
    [
        "undo_it",
        {"step_id": "undo_it"},
        {"tool_name": "back", "parameters": {"id": "{{a.id}}", "of": "{{project}}"}},
        {"tool": "back", "args": {"id": "{{a.id}}", "of": "{{project}}"}},
    ],
)
def test_a_compensation_is_a_step_of_the_template_or_a_tool_with_its_parameters(compensation: Any) -> None:
    taking_back = {"step_id": "undo_it", "tool_name": "back", "depends_on": ["a"]}
    steps = [{"compensation": compensation}]
    if "tool" not in str(compensation):
        steps.append({**taking_back, "parameters": {"id": "{{a.id}}", "of": "{{project}}"}})
    spec = load(template(*steps)).spec
    node = spec.nodes["a"]

    assert isinstance(node, ToolNode) and list(spec.nodes) == ["a"]
    assert node.undo == Undo(tool="back", args={"id": "{{a.id}}", "of": "{{input.project}}"})


@pytest.mark.req("T4")
def test_the_result_that_a_compensation_calls_output_is_that_of_its_own_step() -> None:
    node = load(template({"compensation": {"tool_name": "back", "parameters": {"id": "{{output.id}}"}}})).spec.nodes[
        "a"
    ]
    other = load(template({"compensation": "back"})).spec.nodes["a"]

    assert isinstance(node, ToolNode) and node.undo == Undo(tool="back", args={"id": "{{output.id}}"})
    assert isinstance(other, ToolNode) and other.undo == Undo(tool="back")


def test_what_cannot_be_carried_is_a_warning_and_what_is_misspelt_an_error() -> None:
    workflow = load(
        template({"priority": 3, "retry": {"max_retries": 1, "retryable_errors": ["OddError"]}}, owner="me")
    )

    assert [(p.code, p.pointer) for p in workflow.warnings] == [
        ("dialect_ignored", "/owner"),
        ("dialect_ignored", "/steps/0/priority"),
        ("dialect_ignored", "/steps/0/retry/retryable_errors"),
    ]
    assert codes(template({"dependson": ["b"]})) == ["unknown_key"]
    assert codes(template({}, {"step_id": "a"})) == ["duplicate_key"]
    assert codes(template({"step_id": None})) == ["bad_value", "missing_key"]


@pytest.mark.req("E5")
def test_the_raw_result_outside_of_an_output_mapping_is_that_of_the_step_before() -> None:
    def steps(**last: Any) -> dict[str, Any]:
        ends = {"id": "c", "agent_id": "z", "input_mapping": {"all": "${output.x}"}, **last}
        return {"name": "n", "steps": [{"id": "a", "agent_id": "x"}, {"id": "b", "agent_id": "y"}, ends]}

    spec = load(steps(depends_on=["b"])).spec
    last, first = spec.nodes["c"], spec.nodes["a"]

    assert isinstance(last, LlmNode) and last.with_ == {"all": "${b.x}"}
    assert isinstance(first, LlmNode) and first.with_ == {"request": "{{ input }}"} and first.output is None
    assert spec.input["additionalProperties"] is True
    assert codes(steps(depends_on=["a", "b"])) == codes(steps()) == ["dialect_output"]


def test_a_mapping_of_the_whole_result_asks_for_text() -> None:
    spec = load({"name": "n", "steps": [{"id": "a", "agent_id": "x", "output_mapping": {"said": "${output}"}}]}).spec
    asked = spec.nodes["a_agent"]

    assert isinstance(asked, LlmNode) and asked.output is None
    assert spec.nodes["a"].model_dump()["set"] == {"said": "${a_agent}"}


def graph(edges: list[dict[str, Any]], *names: str, **more: Any) -> dict[str, Any]:
    """A graph definition of transforms."""
    nodes = {name: {"type": "transform", "configuration": {"set": name}} for name in names}
    return {"name": "g", "nodes": nodes, "edges": edges, **more}


@pytest.mark.req("X4")
def test_a_fallback_of_a_graph_node_is_a_model_or_another_node() -> None:
    def fallbacks(type: str, **configuration: Any) -> list[dict[str, Any]]:
        nodes = {
            "a": {"type": type, "configuration": configuration},
            "b": {"type": "tool", "configuration": {"tool": "t"}},
        }
        node = load({"name": "n", "nodes": nodes, "edges": []}).spec.nodes["a"]
        assert isinstance(node, LlmNode | ToolNode)
        return [each.model_dump(exclude_none=True) for each in node.fallback]

    assert fallbacks("llm", prompt="Say one.", fallback=["x:small", "b"]) == [{"model": "x:small"}, {"node": "b"}]
    assert fallbacks("tool", tool="t", fallback="b") == [{"node": "b"}]
    assert fallbacks("tool", tool="t", fallback={"tool": "u"}) == [{"tool": "u"}]


@pytest.mark.req("X4")
def test_an_edge_that_leads_back_is_refused_with_the_way_to_write_a_loop() -> None:
    edges = [{"from": "a", "to": "b"}, {"source": "b", "target": "c"}, {"from": "c", "to": "a", "condition": "x"}]
    (problem,) = problems(graph(edges, "a", "b", "c", entryPoint="a"))

    assert (problem.code, problem.pointer) == ("dialect_cycle", "/edges/2")
    assert "repeat:" in problem.hint


def test_conditional_edges_of_any_node_go_through_a_route() -> None:
    edges = [{"from": "a", "to": "b", "condition": "state.n > 1"}, {"from": "a", "to": "c", "condition": "n > 2"}]
    workflow = load(
        graph([*edges, {"from": "a", "to": "d"}], "a", "b", "c", "d", entry_point="a", exit_points=["b", "c"])
    )
    route = workflow.spec.nodes["a_route"]

    assert isinstance(route, ConditionNode) and route.match == "all" and route.depends_on == ["a"]
    assert [(case.if_, case.then) for case in route.cases] == [("input.n > 1", "b"), ("input.n > 2", "c")]
    assert workflow.spec.nodes["d"].depends_on == ["a"] and workflow.spec.nodes["b"].depends_on == []
    assert workflow.spec.output == {"b": "{{ b | default: null }}", "c": "{{ c | default: null }}"}


def test_what_the_entry_point_does_not_reach_is_left_out_with_a_warning() -> None:
    workflow = load(graph([{"from": "a", "to": "b"}], "a", "b", "island", entryPoint="a"))

    assert list(workflow.spec.nodes) == ["a", "b"]
    assert [(p.code, p.pointer) for p in workflow.warnings] == [("dialect_ignored", "/nodes/island")]
    assert codes(graph([{"from": "a", "to": "bb"}], "a", "b", entryPoint="x")) == ["dialect_unknown_node"] * 2


def test_a_field_that_two_nodes_produce_is_that_of_the_last() -> None:
    document = graph([{"from": "a", "to": "b"}, {"from": "b", "to": "c"}], "a", "b", "c", entryPoint="a")
    for name in ("a", "b"):
        document["nodes"][name]["outputSchema"] = {"total": {"type": "integer"}}
    document["nodes"]["c"]["configuration"] = {"expression": "total + 1"}

    spec = load(document).spec

    assert (
        spec.nodes["c"].model_dump()["set"]
        == "{{ coalesce(steps['b']?.output?.total, steps['a']?.output?.total) + 1 }}"
    )


def test_an_agent_file_may_be_one_workflow_with_descriptions_for_agents() -> None:
    spec = load(
        {
            "name": "one",
            "agents": [{"reader": "Reads documents"}],
            "steps": [{"agent": "reader", "input": "hello"}, {"agent": "reader", "output": {"to": "user"}}],
        }
    ).spec
    first = spec.nodes["reader"]

    assert spec.agents["reader"].description == "Reads documents"
    assert isinstance(first, LlmNode) and first.prompt_file is None and first.with_ == {"request": "hello"}
    assert spec.output == "{{ reader_2 }}"


def test_an_edge_for_all_other_cases_is_the_else_of_its_condition() -> None:
    nodes = {name: {"type": "tool", "configuration": {"tool": "t"}} for name in "ab"}
    nodes["q"] = {"type": "condition", "configuration": {}}
    edges = [{"from": "START", "to": "q"}, {"from": "q", "to": "a", "condition": "x > 1"}]
    edges += [{"from": "q", "to": "b", "condition": "default"}, {"from": "a", "to": "END"}]
    question = load({"name": "g", "nodes": nodes, "edges": edges}).spec.nodes["q"]

    assert isinstance(question, ConditionNode) and question.else_ == "b"
    assert [(case.if_, case.then) for case in question.cases] == [("input.x > 1", "a")]
