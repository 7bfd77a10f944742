"""Agents and hand-overs that are registered once: found by workflows, kept by their runs, listed by what they can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from cogwork.agents import AgentError, Agents
from cogwork.app import App
from cogwork.cli.root import cli
from cogwork.settings import Settings
from graphs.language.agents import trigger

pytestmark = [pytest.mark.req("E3")]


@pytest.fixture
def app(tmp_path: Path) -> App:
    """cogwork with a state folder and a folder of agents of its own."""
    return App(settings=Settings(state_dir=tmp_path / "state", agents=[tmp_path / "agents"], roots=[tmp_path]))


def documented(agents: Agents) -> str:
    """The agent of the documents' example, registered as they do it."""
    return agents.register(
        "Project Architect Agent",
        description="Designs and maintains project structure",
        capabilities=["structure_generation", "dependency_analysis"],
        tools=["text.search"],
        config={"model": "offline", "instructions": "You design projects."},
    )


def test_an_agent_is_registered_got_and_listed_by_its_capabilities(app: App) -> None:
    found = documented(app.agents)
    assert found == "agent-project-architect"
    other = app.agents.register("Detail", capabilities=["detail"])
    got = app.agents.get(found)
    assert (got.name, got.agent.model, got.agent.instructions) == (
        "Project Architect Agent",
        "offline",
        "You design projects.",
    )
    assert [each.id for each in app.agents.listed(capabilities=["structure_generation"])] == [found]
    assert [each.id for each in app.agents.listed()] == [other, found]
    assert [each.id for each in app.agents.listed(limit=1)] == [other]


def test_a_registered_agent_is_there_for_another_process(app: App) -> None:
    found = documented(app.agents)
    again = App(settings=app.settings)
    assert again.agents.get(found) == app.agents.get("Project Architect Agent")


def test_an_archived_agent_is_not_found_by_workflows_and_still_listed_where_asked(app: App) -> None:
    found = documented(app.agents)
    app.agents.archive(found)
    assert app.agents.listed() == [] and app.agents.find(found) is None
    assert [each.id for each in app.agents.listed(status="archived")] == [found]


def test_an_agent_that_is_not_there_is_named_with_the_nearest_one(app: App) -> None:
    documented(app.agents)
    with pytest.raises(AgentError, match="did you mean 'agent-project-architect'") as refused:
        app.agents.get("agent-projekt-architect")
    assert refused.value.code == "agent_not_found"


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("!!", {}, "holds no letter or digit"),
        ("a", {"tols": []}, "tols"),
        ("a", {"approve": {"x": "maybe"}}, "approve"),
        ("a", {"config": {"modell": "x"}}, "modell"),
    ],
)
def test_an_agent_that_does_not_fit_is_refused_with_the_place(app: App, name: str, fields: Any, said: str) -> None:
    with pytest.raises(AgentError, match=said) as refused:
        app.agents.register(name, **fields)
    assert refused.value.code == "invalid_input"
    assert app.agents.listed() == []


def spec(agent: str) -> dict[str, Any]:
    return {
        "cogwork": "v1",
        "name": "ask",
        "nodes": {"a": {"type": "llm", "prompt": "Say what there is.", "agent": agent}},
    }


def test_a_workflow_names_a_registered_agent_and_takes_it_over(app: App) -> None:
    documented(app.agents)
    workflow = app.load(spec("agent-project-architect"))
    assert workflow.spec.agents["agent-project-architect"].tools == ["text.search"]
    assert app.check(workflow) == []


def test_an_agent_that_nobody_declares_is_a_problem(app: App) -> None:
    assert [problem.code for problem in app.check(spec("agent-nobody"))] == ["unknown_agent"]


def test_what_a_workflow_declares_itself_goes_first(app: App) -> None:
    documented(app.agents)
    own = {**spec("agent-project-architect"), "agents": {"agent-project-architect": {"instructions": "Mine."}}}
    assert app.load(own).spec.agents["agent-project-architect"].instructions == "Mine."


def test_a_graph_keeps_the_agent_that_it_was_built_with(app: App) -> None:
    documented(app.agents)
    before = app.compile(spec("agent-project-architect"))
    app.agents.register("Project Architect Agent", instructions="Changed.")
    after = app.compile(spec("agent-project-architect"))
    assert before.digest != after.digest
    assert before.plan.scopes[""].agents["agent-project-architect"].instructions == "You design projects."


def test_a_file_of_the_folder_declares_an_agent(app: App, tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "writer.yaml").write_text("name: The Writer\ninstructions: Write.\noutput: {text: string}\n")
    found = app.agents.get("The Writer")
    assert (found.id, found.agent.instructions) == ("agent-writer", "Write.")
    assert found.agent.output is not None and found.agent.output["required"] == ["text"]


@pytest.mark.parametrize("text", ["[1, 2]", "a: &b 1", "instructions: {}", "\x00"])
def test_a_file_that_declares_no_agent_is_named_in_the_error(app: App, tmp_path: Path, text: str) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "bad.yaml").write_text(text)
    with pytest.raises(AgentError, match="bad"):
        app.agents.listed()


# -- hand-overs ------------------------------------------------------------------------------------------------


@pytest.mark.req("E4")
def test_a_hand_over_is_created_got_and_listed(app: App) -> None:
    documented(app.agents)
    app.agents.register("Detail")
    made = app.agents.create_handoff(
        "agent-project-architect",
        "agent-detail",
        data_mapping={"architecture_plan": "detailed_requirements"},
        trigger_conditions=["completion", "source_output.plan_complete = true"],
    )
    assert app.agents.get_handoff(made).target == "agent-detail"
    assert [each.id for each in app.agents.handoffs(source="agent-project-architect")] == [made]
    assert app.agents.handoffs(source="agent-detail") == []
    with pytest.raises(AgentError, match="no hand-over"):
        app.agents.get_handoff("handoff-x")


@pytest.mark.req("E4")
def test_the_documents_triggers_become_expressions_on_the_answer() -> None:
    assert trigger(["completion"]) is True
    assert trigger([]) is True
    assert trigger(["completion", "source_output.plan_complete = true"]) == "output.plan_complete == true"
    assert trigger(["source_output.a = 1", "source_output.b > 2"]) == "(output.a == 1) and (output.b > 2)"


@pytest.mark.req("E4")
@pytest.mark.parametrize("done", [True, False])
async def test_a_registered_hand_over_happens_when_its_trigger_is_met_and_is_told(app: App, done: bool) -> None:
    schema = {"plan_complete": {"const": done}, "architecture_plan": {"const": "three layers"}}
    app.agents.register("Architect", model="offline", output=schema)
    app.agents.register("Detail", model="offline", instructions="Work it out.")
    app.agents.create_handoff(
        "agent-architect",
        "agent-detail",
        data_mapping={"architecture_plan": "detailed_requirements"},
        trigger_conditions=["completion", "source_output.plan_complete = true"],
    )
    graph = app.compile(spec("agent-architect"), checkpointer=InMemorySaver())
    events = [event async for event in graph.aevents({}, {"configurable": {"thread_id": "t"}})]
    assert events[-1].kind == "run.completed"
    handed = [event.data for event in events if event.kind == "step.handoff"]
    assert [each["target"] for each in handed] == (["agent-detail"] if done else [])
    if done:
        assert json.loads(handed[0]["told"]) == {"detailed_requirements": "three layers"}


@pytest.mark.req("E4")
def test_a_hand_over_that_leads_back_or_whose_trigger_is_none_is_refused(app: App) -> None:
    for name in ("one", "two", "three"):
        app.agents.register(name)
    app.agents.create_handoff("one", "two")
    app.agents.create_handoff("two", "three")
    with pytest.raises(AgentError, match="lead back to agent-three"):
        app.agents.create_handoff("three", "one")
    with pytest.raises(AgentError, match="no expression"):
        app.agents.create_handoff("one", "three", trigger_conditions=["source_output.a ="])
    with pytest.raises(AgentError, match="no agent 'four'"):
        app.agents.create_handoff("one", "four")
    assert len(app.agents.handoffs()) == 2


# -- the command line ------------------------------------------------------------------------------------------


def test_the_command_registers_lists_shows_and_archives_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert "no agent is registered" in runner.invoke(cli, ["agents"]).stdout
    (tmp_path / "writer.yaml").write_text(
        "name: Writer\ndescription: Writes.\ncapabilities: [text]\ninstructions: Write.\n"
    )
    assert runner.invoke(cli, ["agents", "--register", "writer.yaml"]).exit_code == 0
    assert [each["id"] for each in json.loads(runner.invoke(cli, ["agents", "--json", "-c", "text"]).stdout)] == [
        "agent-writer"
    ]
    assert json.loads(runner.invoke(cli, ["agents", "--json", "-c", "music"]).stdout) == []
    shown = json.loads(runner.invoke(cli, ["agents", "Writer", "--json"]).stdout)
    assert shown["agent"]["instructions"] == "Write."
    assert runner.invoke(cli, ["agents", "Writer", "--archive"]).exit_code == 0
    assert json.loads(runner.invoke(cli, ["agents", "--json"]).stdout) == []
    lost = runner.invoke(cli, ["agents", "Wrighter"])
    assert lost.exit_code != 0 and "did you mean" in lost.stderr
