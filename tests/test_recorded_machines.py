"""State machines that a production service recorded: translated, run here, and held against what it said."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from cogwork.tools.toolbox import FunctionTool, Toolbox
from state.errors import Fault, WorkflowFailed
from tests.asl import NotSaid, spec_of
from tests.conftest import Stage

RECORDED = Path(__file__).parents[2] / "shared" / "data" / "semantics" / "asl_recorded_15.jsonl"
MACHINES = [json.loads(line) for line in RECORDED.read_text().splitlines()] if RECORDED.exists() else []
EXPECTED_GAPS = {
    "test_map_state_retry": "Retry",
    "test_map_state_catch_legacy": "Catch",
    "test_map_state_catch_empty_fail": "Catch",
    "test_parallel_state_catch": "Catch",
    "test_map_state_legacy_reentrant": "a jump back",
    "test_choice_singleton_composite[CHOICE_STATE_SINGLETON_COMPOSITE_JSONATA]": "JSONata",
}
"""Machines that cannot be translated, with what stands in the way."""

pytestmark = pytest.mark.skipif(not MACHINES, reason=f"the recordings are not at {RECORDED}")


def _name(machine: dict[str, Any]) -> str:
    return str(machine["id"].split("::")[1])


async def _fail(error: str, cause: str, given: Any) -> None:
    raise Fault("tool_error", f"{error}: {cause}", details={"error": error, "cause": cause})


async def _run(stage: Stage, machine: dict[str, Any]) -> tuple[str, Any, list[str]]:
    """Status, output and the states entered, in order."""
    stage.services = dataclasses.replace(
        stage.services, tools=Toolbox([FunctionTool.from_function(_fail, name="asl.fail", effect="none")])
    )
    given = machine["input"]
    graph, config = stage.graph(spec_of(machine["definition"]), InMemorySaver()), stage.thread()
    status, entered = "SUCCEEDED", []
    try:
        async for event in graph.astream(
            {"given": json.loads(given) if isinstance(given, str) else given}, config, stream_mode="custom"
        ):
            if event["event"] in ("step.finished", "step.failed", "step.opened"):
                entered.append((event["event"], event["step"].split(".")[-1]))
    except WorkflowFailed as failed:
        status = "FAILED"
        cause = failed.error
        while (
            isinstance(cause.get("details"), dict)
            and "cause" in cause["details"]
            and isinstance(cause["details"]["cause"], dict)
        ):
            cause = cause["details"]["cause"]
        assert {k: cause["details"][k] for k in ("error", "cause")} == machine["error"]
    states = _states(machine["definition"])
    names = [(kind, name.removesuffix("__loop")) for kind, name in entered]
    opened = {name for kind, name in names if kind == "step.opened"}
    shown = [name for kind, name in names if name in states and (kind == "step.opened" or name not in opened)]
    return status, (await graph.aget_state(config)).values.get("output"), shown


def _states(machine: dict[str, Any]) -> set[str]:
    inner = [s.get("ItemProcessor") or s.get("Iterator") for s in machine["States"].values()]
    return set(machine["States"]).union(*(_states(part) for part in inner if part))


@pytest.mark.parametrize("machine", [m for m in MACHINES if _name(m) not in EXPECTED_GAPS], ids=_name)
async def test_a_machine_ends_as_the_service_recorded_it(stage: Stage, machine: dict[str, Any]) -> None:
    status, output, entered = await _run(stage, machine)
    recorded = machine["output"]
    assert status == machine["status"]
    assert output == (json.loads(recorded) if isinstance(recorded, str) else recorded)
    assert Counter(entered) == Counter(machine["states_entered"])
    assert entered == machine["states_entered"]


@pytest.mark.parametrize("machine", [m for m in MACHINES if _name(m) in EXPECTED_GAPS], ids=_name)
def test_a_machine_that_cannot_be_said_is_still_one(machine: dict[str, Any]) -> None:
    with pytest.raises(NotSaid, match=EXPECTED_GAPS[_name(machine)]):
        spec_of(machine["definition"])
