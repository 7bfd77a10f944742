"""The commands of the library, as people and pipes use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from cogwork.cli.library import library
from cogwork.cli.migrate import migrate
from cogwork.cli.root import Door
from cogwork.cli.runs import resume, run
from tests.libraries import flow

cli = typer.Typer(cls=Door)
cli.add_typer(library)
for command in (migrate, run, resume):
    cli.command(command.__name__)(command)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with its state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGWORK_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def write(value: Any = 1, **more: Any) -> str:
    """A workflow's file."""
    Path("flow.yaml").write_text(yaml.safe_dump(flow(value=value, **more)))
    return "flow.yaml"


def said(*words: str, code: int = 0) -> Result:
    """What a command says."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result


def data(*words: str, code: int = 0) -> Any:
    """What a command says to a pipe."""
    return json.loads(said(*words, "--json", code=code).stdout)


@pytest.mark.req("M10")
def test_publishing_labelling_and_rolling_back_from_the_command_line() -> None:
    assert data("library", "publish", write(1), "--label", "prod")["labels"] == {"latest": 1, "prod": 1}
    assert "is at version 2" in said("library", "publish", write(2), "-m", "two").stdout
    assert [(each["version"], each["labels"], each["note"]) for each in data("library", "versions", "flow")] == [
        (2, ["latest"], "two"),
        (1, ["prod"], ""),
    ]
    assert data("library", "rollback", "flow", "1")["version"] == 1
    assert data("library", "label", "flow", "prod", "2")["labels"]["prod"] == 2
    assert len(data("library", "versions", "flow", "--moves")) == 5
    assert "no version '7'" in said("library", "rollback", "flow", "7", code=4).stderr
    said("library", "publish", write(3), "--expect", "2", code=1)


@pytest.mark.req("E8", "M10")
def test_uses_users_and_differences_from_the_command_line() -> None:
    said("library", "publish", write(1))
    Path("outer.yaml").write_text(yaml.safe_dump(flow("outer", nodes={"a": {"use": "flow"}})))
    said("library", "publish", "outer.yaml")
    assert data("library", "uses", "outer") == [{"kind": "workflow", "name": "flow", "depth": 1}]
    assert "outer" in said("library", "users", "workflow", "flow").stdout
    said("library", "publish", write(1, input={"x": "string"}))
    assert "input x is new, and required" in said("library", "compare", "flow", "1", "2", code=1).stdout
    assert data("library", "compare", "flow", "1", "2", code=1)["impact"] == "breaking"
    assert "used by the workflows outer" in said("library", "delete", "flow", code=1).stderr
    said("library", "delete", "flow", "--force")
    assert [each["name"] for each in data("library", "list")["workflows"]] == ["outer"]


@pytest.mark.req("M10")
def test_migrate_plans_and_moves_the_open_runs_of_a_workflow() -> None:
    ask = {"type": "human", "ask": "Sure?"}
    said(
        "run",
        write(nodes={"q": ask, "z": {"type": "transform", "set": "old", "depends_on": ["q"]}}),
        "--thread",
        "r",
        code=3,
    )
    new = write(nodes={"q": ask, "z": {"type": "transform", "set": "new", "depends_on": ["q"]}})
    said("library", "publish", new)
    assert "can move" in said("migrate", "flow", "--plan").stdout
    assert data("migrate", "flow")[0]["moved"] is True
    assert "no open run" in said("migrate", "flow").stdout
    assert "new" in said("resume", "r", "--answer", 'q={"answer": "yes"}').stdout
    said("run", new, "--thread", "s", code=3)
    form = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    said("library", "publish", write(nodes={"q": {**ask, "form": form}}))
    told = data("migrate", "flow", code=1)
    assert (told[0]["thread"], told[0]["moved"]) == ("s", False)
    assert any("form is another" in reason for reason in told[0]["reasons"])
