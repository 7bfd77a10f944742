"""The examples run as they stand, and teach what they say."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

from cogwork.settings import HOUSE
from state.errors import WorkflowFailed
from tests.desk import EXAMPLES, Desk, question, says


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return Desk()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_problem_and_names_the_schema_for_editors(name: str) -> None:
    path = HOUSE / "examples" / name

    assert Desk().app.check(path) == []
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=../docs/schema.json"


def test_the_first_workflow_answers_with_its_default_and_with_another_question(desk: Desk) -> None:
    usual, other = desk.run("first.yaml"), desk.run("first.yaml", question="Who approves flights?")

    assert says(usual, "27 days", "examples/documents/leave.md")
    assert says(other, "Ruben Akintola", "examples/documents/travel.md")


def test_the_loop_answers_in_the_order_of_the_questions(desk: Desk) -> None:
    told = desk.run("for_each.yaml")

    assert [answer["question"][:4] for answer in told["answers"]] == ["Who ", "When", "What"]
    assert [answer["found"] == "nothing" for answer in told["answers"]] == [False, False, True]
    assert (told["unanswered"], told["errors"]) == (1, [])


def test_the_loop_collects_what_fails(desk: Desk) -> None:
    told = desk.run("for_each.yaml", folder="nowhere", questions=["a?", "b?"])

    assert told["answers"] == [None, None]
    assert len(told["errors"]) == 2 and "'nowhere' does not exist" in told["errors"][0]


def test_the_handover_takes_its_announcement_back_where_it_fails_and_delivers_where_it_does_not(desk: Desk) -> None:
    with pytest.raises(WorkflowFailed):
        desk.run("handover.yaml")
    assert [file.name for file in Path("reports").iterdir()] == ["failed.md"]
    assert "missing.md" in Path("reports/failed.md").read_text()

    told = desk.run("handover.yaml", source="examples/documents/missing.md", spare="examples/documents/leave.md")
    assert told == {"delivered": "reports/delivered.md"}
    assert Path("reports/handover.md").exists()


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """A repository with two commits."""
    where = tmp_path / "boat"
    where.mkdir()
    identity = ["-c", "user.name=Ines", "-c", "user.email=ines@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", str(where)], check=True)
    for subject in ("Hoist the sail by a single rope", "Ring the bell in fog"):
        commit = ["git", *identity, "-C", str(where), "commit", "-q", "--allow-empty", "-m", subject]
        subprocess.run(commit, check=True)
    return "boat"


def test_release_notes_are_drafted_shown_and_written(desk: Desk, repository: str) -> None:
    asked = question(desk.state("release_notes.yaml", repo=repository, since="2020-01-01"))
    told = desk.run(
        "release_notes.yaml", {"decision": "publish", "title": "Petrel 2"}, repo=repository, since="2020-01-01"
    )

    assert says(asked["show"], "Hoist the sail by a single rope", "Ring the bell in fog")
    assert told == {"text": "reports/release_notes.md"}
    assert says(Path("reports/release_notes.md").read_text(), "# Petrel 2", "- Ring the bell in fog")


def test_release_notes_that_are_rejected_are_not_published(desk: Desk, repository: str) -> None:
    told = desk.run("release_notes.yaml", {"decision": "reject"}, repo=repository, since="2020-01-01")

    assert told == {"text": "Not published."}
    assert not Path("reports").exists()


def test_no_commits_make_no_release_notes_and_ask_nobody(desk: Desk, repository: str) -> None:
    told = desk.run("release_notes.yaml", repo=repository, since="2090-01-01")

    assert told == {"text": "No changes since 2090-01-01."}


@pytest.mark.req("D6")
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGWORK_MODEL", "offline")

    told = runpy.run_path(str(HOUSE / "examples" / "python_api.py"))["main"]()

    assert told["ordered"] == ["kettle", "teapot"]
    assert says(told, "kettle (left: 3)")
    assert "refused:" in capsys.readouterr().out
