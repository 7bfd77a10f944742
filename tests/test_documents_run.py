"""The notations of the documents do not only load: they run, through the public door."""

from __future__ import annotations

from typing import Any

import pytest

import cogwork
from cogwork import Fault
from graphs.build import build
from tests.fakes import ScriptedModel, fake_services

TEMPLATE = {
    "name": "ship_change",
    "description": "Open a change for the oldest ticket and tell the team.",
    "steps": [
        {"step_id": "tickets", "tool_name": "tracker_list", "parameters": {"project": "{{project}}"}, "retry_count": 2},
        {
            "step_id": "change",
            "tool_name": "tracker_open",
            "depends_on": ["tickets"],
            "parameters": {"title": "{{title|default:'Mend'}}", "body": "Closes {{tickets.items[0].number}}"},
            "condition": "{{tickets.success}} == true",
            "timeout_seconds": 5,
        },
        {
            "step_id": "tell",
            "tool_name": "chat_post",
            "depends_on": ["change"],
            "parameters": {"text": "Opened {{change.url}}"},
        },
        {
            "step_id": "count",
            "tool_name": "chat_post",
            "depends_on": ["tickets"],
            "parameters": {"text": "{{tickets.items[0].name}}"},
        },
    ],
    "parallel_groups": [["change", "count"]],
    "metadata": {"category": "tracker"},
}


@pytest.mark.req("T1", "T2", "T3")
def test_a_tool_template_runs_with_its_retries_conditions_and_substitutions() -> None:
    said: list[str] = []
    tries = iter([Fault("unavailable", "try later"), None])

    def tracker_list(project: str) -> dict[str, Any]:
        """List tickets."""
        if (fault := next(tries)) is not None:
            raise fault
        return {"items": [{"number": 7, "name": f"{project} leaks"}]}

    def tracker_open(title: str, body: str) -> dict[str, Any]:
        """Open a change."""
        said.append(f"{title}: {body}")
        return {"url": "tracker/changes/1"}

    def chat_post(text: str) -> None:
        """Post a line."""
        said.append(text)

    tools = [cogwork.FunctionTool.from_function(tracker_list, effect="read"), tracker_open, chat_post]
    graph = cogwork.compile(TEMPLATE, tools=tools)
    state = graph.invoke({"project": "pump"})
    assert state["run"]["status"] == "completed"
    assert state["nodes"]["tickets"]["attempts"] == 2
    assert sorted(said) == ["Mend: Closes 7", "Opened tracker/changes/1", "pump leaks"]
    assert state["path"].index("change") < state["path"].index("tell")


AGENT_STEPS = {
    "name": "Garden Planning",
    "steps": [
        {
            "id": "layout",
            "agent_id": "designer",
            "input_mapping": {"wish": "${input.wish}"},
            "output_mapping": {"beds": "${output.plan}"},
            "retry_policy": {"max_retries": 1, "backoff_factor": 2},
        },
        {
            "id": "list",
            "agent_id": "buyer",
            "input_mapping": {"beds": "${steps.layout.output.beds}"},
            "output_mapping": {"shopping": "${output.items}"},
            "depends_on": ["layout"],
        },
    ],
}


@pytest.mark.req("E5")
def test_agent_steps_run_with_their_mappings() -> None:
    spec = cogwork.load(AGENT_STEPS).spec
    agents = {name: {"model": f"test:{name}", "instructions": f"You are the {name}."} for name in ("designer", "buyer")}
    designer = ScriptedModel(answers=['{"plan": "two beds of beans"}'])
    buyer = ScriptedModel(answers=['{"items": "beans"}'])
    services = fake_services(models={"test:designer": designer, "test:buyer": buyer})
    workflow = cogwork.load({**cogwork_dict(spec), "agents": agents})
    state = build(workflow, services, lambda name, user: None).invoke({"wish": "something green"})
    assert state["results"]["layout"] == {"beds": "two beds of beans"}
    assert state["results"]["list"] == {"shopping": "beans"}
    assert "something green" in designer.asked[0][-1].text
    assert "two beds of beans" in buyer.asked[0][-1].text
    assert "You are the buyer." in buyer.asked[0][0].text


def cogwork_dict(spec: cogwork.WorkflowSpec) -> dict[str, Any]:
    """The canonical form of a spec."""
    from graphs.language.dump import to_dict

    return to_dict(spec)
