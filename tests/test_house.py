"""The shape of the project: its rooms, its dependencies and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path

import pytest
from langgraph.graph.state import CompiledStateGraph
from packaging.requirements import Requirement
from packaging.version import Version

import cogwork
from graphs.language.spec import NODE_TYPES

HOUSE = Path(__file__).parent.parent
CATALOG = sorted((HOUSE / "graphs" / "catalog").glob("*.yaml"))
FLOORS = {
    "langgraph": "1.2",
    "langgraph-checkpoint": "4.3",
    "langgraph-checkpoint-sqlite": "3.1",
    "langchain-core": "1.3.3",
    "langchain-openai": "1.1.14",
    "langsmith": "0.8.18",
}
"""Below these are published advisories that matter here."""


@pytest.mark.req("D1")
def test_the_libraries_of_the_design_are_installed_and_none_is_below_its_advisories() -> None:
    declared = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {Requirement(line).name for line in declared}
    assert {"langgraph", "langchain-core", "langchain-openai", "langgraph-checkpoint-sqlite", "pydantic"} <= names
    for name, floor in FLOORS.items():
        assert Version(version(name)) >= Version(floor), name


def test_what_is_locked_is_what_is_installed_and_the_lock_names_no_index() -> None:
    lock = (HOUSE / "requirements-dev.lock").read_text()
    assert "://" not in lock
    locked = dict(line.split(" ")[0].split("==") for line in lock.splitlines() if "==" in line and line[0].isalpha())
    assert locked["langgraph"] == version("langgraph")
    assert {line.split("==")[0] for line in (HOUSE / "requirements.lock").read_text().splitlines() if "==" in line} <= {
        line.split("==")[0] for line in lock.splitlines() if "==" in line
    }


@pytest.mark.req("D2")
def test_the_top_level_is_the_one_of_the_design() -> None:
    for name in ("pyproject.toml", "graphs", "nodes", "state", "prompts", "langgraph.json", "tests", "README.md"):
        assert (HOUSE / name).exists(), name
    served = json.loads((HOUSE / "langgraph.json").read_text())["graphs"]
    from cogwork import entrypoints

    for target in served.values():
        path, _, name = target.partition(":")
        assert (HOUSE / path).is_file()
        assert isinstance(getattr(entrypoints, name), CompiledStateGraph)


def test_the_generic_names_of_the_rooms_clash_with_no_installed_package() -> None:
    owners = packages_distributions()
    for name in ("graphs", "nodes", "state", "prompts"):
        assert set(owners.get(name, [])) <= {"cogwork"}, owners[name]
    assert [d.name for d in distributions()].count("cogwork") <= 1


@pytest.mark.req("D3")
@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.stem)
def test_a_ready_workflow_compiles_to_a_state_graph_whose_nodes_are_its_steps(path: Path) -> None:
    graph = cogwork.compile(path)
    assert isinstance(graph, CompiledStateGraph)
    assert set(graph.builder.nodes) == set(graph.plan.steps)
    assert {"input", "nodes", "results", "output", "messages"} <= set(graph.channels)
    kinds = {step.kind for step in graph.plan.steps.values()}
    assert kinds <= {*NODE_TYPES, "for_each", "repeat", "use"}


@pytest.mark.req("D3")
def test_the_ready_workflows_use_all_five_node_kinds() -> None:
    kinds = {step.kind for path in CATALOG for step in cogwork.compile(path).plan.steps.values()}
    assert set(NODE_TYPES) <= kinds


def test_importing_cogwork_imports_neither_langgraph_nor_langchain() -> None:
    code = "import sys, cogwork; print([m for m in sys.modules if m.split('.')[0] in ('langgraph', 'langchain_core', 'pydantic')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOUSE, check=True).stdout
    assert said.strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    for name in cogwork.__all__:
        assert (getattr(cogwork, name).__doc__ or "").strip(), name
