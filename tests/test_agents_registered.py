"""Agents and hand-overs that are registered once: found by workflows, kept by their runs, listed by what they can do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from cogwork.agents import Agents, AgentVerbs, RegisteredAgent
from cogwork.app import App
from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.settings import Settings
from graphs.language.agents import trigger
from tests.clusters import schema

pytestmark = [pytest.mark.req("E3")]


@pytest.fixture(params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """cogwork with records, a state folder and a folder of agents of its own."""
    with schema() if request.param == "postgresql" else nullcontext() as url:
        made = App(
            settings=Settings(
                state_dir=tmp_path / "state", agents=[tmp_path / "agents"], roots=[tmp_path], database_url=url
            )
        )
        yield made
        made.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[App]:
    """The same on SQLite, where there is no database yet."""
    made = App(settings=Settings(state_dir=tmp_path / "state", agents=[tmp_path / "agents"]))
    yield made
    made.close()


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
    again.close()


def test_an_archived_agent_is_not_found_by_workflows_and_still_listed_where_asked(app: App) -> None:
    found = documented(app.agents)
    app.agents.archive(found)
    assert app.agents.listed() == [] and app.agents.find(found) is None
    assert [each.id for each in app.agents.listed(status="archived")] == [found]


def test_an_agent_that_is_not_there_is_named_with_the_nearest_one(app: App) -> None:
    documented(app.agents)
    with pytest.raises(EngineError, match="did you mean agent-project-architect") as refused:
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
    with pytest.raises(EngineError, match=said) as refused:
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
    with pytest.raises(EngineError, match="bad"):
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
    with pytest.raises(EngineError, match="no hand-over"):
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
    with pytest.raises(EngineError, match="lead back to agent-three"):
        app.agents.create_handoff("three", "one")
    with pytest.raises(EngineError, match="no expression"):
        app.agents.create_handoff("one", "three", trigger_conditions=["source_output.a ="])
    with pytest.raises(EngineError, match="no agent 'four'"):
        app.agents.create_handoff("one", "four")
    assert len(app.agents.handoffs()) == 2


def test_of_two_hand_overs_made_at_once_that_form_a_ring_one_is_refused(app: App) -> None:
    names = [f"agent-a{number}" for number in range(6)]
    for name in names:
        app.agents.register(name)

    def created(pair: tuple[str, str]) -> bool:
        try:
            app.agents.create_handoff(*pair)
        except EngineError as refused:
            assert "lead back" in str(refused)
            return False
        return True

    pairs = [pair for one, other in zip(names[::2], names[1::2], strict=True) for pair in ((one, other), (other, one))]
    with ThreadPoolExecutor(len(pairs)) as pool:
        made = list(pool.map(created, pairs))
    assert sum(made) == len(pairs) / 2 == len(app.agents.handoffs())


def test_a_hand_over_that_is_not_there_or_does_not_fit_says_what_is_meant(app: App) -> None:
    app.agents.register("one")
    app.agents.register("two")
    app.agents.create_handoff("one", "two")
    with pytest.raises(EngineError, match="did you mean handoff-agent-one-agent-two") as lost:
        app.agents.get_handoff("handoff-one-two")
    assert (lost.value.code, lost.value.details["suggestions"]) == (
        "handoff_not_found",
        ["handoff-agent-one-agent-two"],
    )
    with pytest.raises(EngineError, match="type") as refused:
        app.agents.create_handoff("one", "two", type="sideways")  # type: ignore[arg-type]
    assert refused.value.code == "invalid_input"


# -- the engine's verbs ----------------------------------------------------------------------------------------


@pytest.mark.req("E4")
async def test_the_documents_verbs_register_get_and_list_agents_and_hand_overs(app: App) -> None:
    verbs = AgentVerbs(app.agents)
    architect = await verbs.register_agent(
        name="Project Architect Agent",
        description="Designs and maintains project structure",
        capabilities=["structure_generation", "dependency_analysis"],
        tools=["tool-structure-generator", "tool-dependency-analyzer"],
        config={"model": "gpt-4o", "instructions": "You are a Project Architect Agent."},
    )
    detail = await verbs.register_agent("Detail", capabilities=["structure_generation"])
    assert (await verbs.get_agent(architect)).agent.model == "gpt-4o"
    found = await verbs.list_agents(capabilities=["structure_generation"], status="active", limit=10)
    assert {each.id for each in found} == {architect, detail}
    assert [each.id for each in await verbs.list_agents(capabilities=["dependency_analysis"])] == [architect]
    handoff = await verbs.create_handoff(
        source_agent_id="agent-project-architect",
        target_agent_id="agent-detail",
        handoff_type="sequential",
        data_mapping={"architecture_plan": "detailed_requirements"},
        trigger_conditions=["completion", "source_output.plan_complete = true"],
    )
    assert (await verbs.get_handoff(handoff)).target == detail
    listed = await verbs.list_handoffs(source_agent_id="agent-project-architect", limit=10)
    assert [each.id for each in listed] == [handoff]
    await verbs.archive_agent(detail)
    assert [each.id for each in await verbs.list_agents(status="archived")] == [detail]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20])
async def test_pages_of_any_size_are_the_whole_list_with_the_declared_ones_first(
    app: App, tmp_path: Path, limit: int
) -> None:
    (tmp_path / "agents").mkdir()
    for name in ("b", "a", "c", "r4"):
        (tmp_path / "agents" / f"{name}.yaml").write_text("capabilities: [x]\n")
    (tmp_path / "agents" / "other.yaml").write_text("capabilities: [y]\n")
    for number in range(7):
        app.agents.register(f"r{number}", capabilities=["x", "z"][: 1 + number % 2])
    app.agents.register("other one", capabilities=["y"])
    verbs, seen, cursor = AgentVerbs(app.agents), list[RegisteredAgent](), None
    while True:
        page = await verbs.list_agents(capabilities=["x"], limit=limit, cursor=cursor)
        assert len(page) <= limit
        seen += page.items
        if len(seen) == 4:
            app.agents.register("r-late", capabilities=["x"])
        if (cursor := page.cursor) is None:
            break
        with pytest.raises(EngineError) as refused:
            await verbs.list_agents(capabilities=["y"], limit=limit, cursor=cursor)
        assert refused.value.code == "invalid_cursor"
    ids = [each.id for each in seen]
    assert ids[:4] == ["agent-a", "agent-b", "agent-c", "agent-r4"]
    assert [id for id in ids[4:] if id != "agent-r-late"] == [f"agent-r{n}" for n in (6, 5, 3, 2, 1, 0)]


async def test_a_page_that_cannot_be_is_refused(app: App) -> None:
    verbs = AgentVerbs(app.agents)
    for wrong in ({"limit": 0}, {"limit": 100_000}, {"status": "gone"}):
        with pytest.raises(EngineError) as refused:
            await verbs.list_agents(**wrong)
        assert refused.value.code == "invalid_input"
    with pytest.raises(EngineError) as lost:
        await verbs.list_handoffs(cursor="AAAA")
    assert lost.value.code == "invalid_cursor"


# -- what is opened, and what was kept before --------------------------------------------------------------------


def test_no_database_is_opened_by_a_workflow_that_names_no_agent_and_none_is_made_by_asking(
    plain: App, tmp_path: Path
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "writer.yaml").write_text("instructions: Write.\n")
    assert plain.check({"cogwork": "v1", "name": "x", "nodes": {"a": {"type": "llm", "prompt": "Say hello."}}}) == []
    assert plain.check(spec("agent-writer")) == []
    assert [problem.code for problem in plain.check(spec("agent-nobody"))] == ["unknown_agent"]
    assert [each.id for each in plain.agents.listed()] == ["agent-writer"]
    assert plain.agents.handoffs() == []
    assert not (tmp_path / "state").exists()


def left_behind(folder: Path) -> dict[str, str]:
    """What an earlier cogwork kept in a state folder."""
    agent = {"capabilities": ["old"], "instructions": "You are old."}
    files = {
        "agents/agent-old.json": {"id": "agent-old", "name": "Old", "agent": agent, "registered_at": "2026-01-01"},
        "agents/agent-gone.json": {"id": "agent-gone", "name": "Gone", "agent": {}, "status": "archived"},
        "handoffs/handoff-agent-old-agent-new.json": {
            "id": "handoff-agent-old-agent-new",
            "source": "agent-old",
            "target": "agent-new",
        },
    }
    for name, record in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(record))
    return {name: (folder / name).read_text() for name in files}


def test_files_of_before_there_were_records_are_taken_over_once_and_left_as_they_are(app: App, tmp_path: Path) -> None:
    left = left_behind(tmp_path / "state")
    assert app.agents.get("Old").agent.instructions == "You are old."
    assert [each.id for each in app.agents.listed(capabilities=["old"])] == ["agent-old"]
    assert [each.id for each in app.agents.listed(status="archived")] == ["agent-gone"]
    assert [each.target for each in app.agents.handoffs(source="Old")] == ["agent-new"]
    app.agents.register("Old", instructions="New.")
    again = App(settings=app.settings)
    assert again.agents.get("agent-old").agent.instructions == "New."
    assert {name: (tmp_path / "state" / name).read_text() for name in left} == left
    left_behind(tmp_path / "state" / "more")  # Nothing of another folder is taken over.
    (tmp_path / "state" / "agents" / "agent-late.json").write_text('{"id": "agent-late", "name": "Late", "agent": {}}')
    assert App(settings=app.settings).agents.get("Late").id == "agent-late"
    assert again.agents.get("agent-old").agent.instructions == "New."
    again.close()


def test_a_file_of_before_that_cannot_be_read_is_named_and_nothing_is_taken_over(app: App, tmp_path: Path) -> None:
    left_behind(tmp_path / "state")
    bad = tmp_path / "state" / "agents" / "agent-torn.json"
    bad.write_text('{"id": ')
    with pytest.raises(EngineError, match="agent-torn") as refused:
        app.agents.listed()
    assert refused.value.code == "invalid_input"
    bad.unlink()
    assert [each.id for each in app.agents.listed()] == ["agent-old"]


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
