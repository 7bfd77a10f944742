"""The shipped workflows: each is without fault, asks for what it needs, and is useful without a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cogwork.settings import HOUSE
from graphs.language.dump import to_dict, to_yaml
from graphs.language.schema import language_schema
from state.errors import InputRefused, WorkflowFailed
from state.schemas import faults
from tests.desk import CATALOG, Desk, question, says

LOG = """\
2026-03-02 10:00:00 ERROR mill.grinder: grinder 7 stalled
2026-03-02 10:00:01 ERROR mill.grinder: grinder 9 stalled
2026-03-02 10:00:02 CRITICAL mill.power: the generator of hall 3 is on fire
2026-03-02 10:00:03 INFO mill.server: still here
"""
QUIET = "2026-03-02 10:00:00 INFO mill.server: all is well\n"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return Desk()


@pytest.mark.req("D5")
@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("allow_python", [True, False])
def test_a_workflow_of_the_catalog_has_no_problem_whether_python_is_allowed_or_not(
    name: str, allow_python: bool
) -> None:
    assert Desk(allow_python=allow_python).app.check(name) == []


@pytest.mark.parametrize("name", CATALOG)
def test_every_input_and_the_workflow_itself_are_described_for_a_form(desk: Desk, name: str) -> None:
    schema = desk.graph(name).get_input_jsonschema()

    assert schema["description"]
    assert [key for key, part in schema["properties"].items() if not part.get("description")] == []


@pytest.mark.parametrize("name", CATALOG)
def test_at_most_one_input_must_be_given(desk: Desk, name: str) -> None:
    assert len(desk.graph(name).get_input_jsonschema()["required"]) <= 1


@pytest.mark.parametrize("name", CATALOG)
def test_a_workflow_of_the_catalog_names_the_schema_for_editors(name: str) -> None:
    first = (HOUSE / "graphs" / "catalog" / f"{name}.yaml").read_text().splitlines()[0]

    assert first == "# yaml-language-server: $schema=../../docs/schema.json"


@pytest.mark.parametrize("name", CATALOG)
def test_a_workflow_of_the_catalog_fits_the_published_schema_and_survives_being_written_and_read(
    desk: Desk, name: str
) -> None:
    spec = desk.app.load(name).spec

    assert faults(language_schema(), to_dict(spec)) == []
    assert desk.app.load(to_yaml(spec)).spec == spec


def test_the_catalog_holds_nothing_that_is_not_tested() -> None:
    assert {path.stem for path in (HOUSE / "graphs" / "catalog").glob("*.yaml")} == set(CATALOG)


# -- incident triage ---------------------------------------------------------------------------------------


def test_the_triage_asks_a_person_who_sees_the_whole_report(desk: Desk) -> None:
    asked = question(desk.state("incident_triage"))

    assert "reports/incident.md" in asked["ask"]
    assert says(
        asked["show"], "ZeroDivisionError", "shop/prices.py:12", "| 2 | error | `order", "3 errors and 2 warnings"
    )
    assert not Path("reports").exists()


def test_an_approved_report_is_written_with_the_comment_and_its_path_is_told(desk: Desk) -> None:
    told = desk.run("incident_triage", {"decision": "approve", "comment": "Ada is on it."})

    report = Path("reports/incident.md").read_text()
    assert (told["outcome"], told["path"], told["severity"]) == ("written", "reports/incident.md", "medium")
    assert says(
        report,
        "examples/data/shop.log",
        "ZeroDivisionError",
        "could not reach mail server",
        "## Comment\n\nAda is on it.",
    )


def test_a_rejected_report_is_not_written(desk: Desk) -> None:
    told = desk.run("incident_triage", {"decision": "reject", "comment": "Known since Monday."})

    assert (told["outcome"], told["path"], told["text"]) == ("rejected", None, "Known since Monday.")
    assert not Path("reports").exists()


def test_a_log_that_is_not_serious_disturbs_nobody(desk: Desk) -> None:
    Path("quiet.log").write_text(QUIET)

    told = desk.run("incident_triage", log="quiet.log")

    assert told["outcome"] == "not serious"
    assert "severity is none" in told["text"]


def test_which_severity_is_serious_can_be_chosen(desk: Desk) -> None:
    assert desk.run("incident_triage", serious=["critical"])["outcome"] == "not serious"


def test_another_log_makes_another_report(desk: Desk) -> None:
    Path("mill.log").write_text(LOG)

    shown = question(desk.state("incident_triage", log="mill.log", service="mill"))["show"]

    assert says(shown, "Severity: **critical**", "hall <n> is on fire", "grinder <n> stalled", "mill.log")
    assert not says(shown, "ZeroDivisionError")


def test_a_missing_log_fails_with_its_name(desk: Desk) -> None:
    with pytest.raises(WorkflowFailed, match=r"'nowhere\.log' does not exist"):
        desk.run("incident_triage", log="nowhere.log")


# -- without a language model, the modes say what their input holds ------------------------------------------

TRACE = """\
Traceback (most recent call last):
  File "shop/orders.py", line 31, in place
    total = price(items)
KeyError: 'voucher'
"""
OFFLINE: dict[str, list[tuple[dict[str, Any], list[str]]]] = {
    "planning": [
        (
            {"goal": "Draft the newsletter, then send it to the harbour office."},
            ["Draft the newsletter", "harbour office"],
        ),
        ({"goal": "Paint the boat, then tow it to Bregenz."}, ["Paint the boat", "Bregenz"]),
    ],
    "coding": [
        ({"request": "Write tide_height(hour)."}, ["def tide_height(hour)", "no language model was used"]),
        ({"request": "Mend it.", "code": "def knots(speed):\n    return speed\n"}, ["def knots(speed)"]),
    ],
    "information": [
        ({"question": "How many days of vacation do we have?"}, ["27 days", "leave.md"]),
        ({"question": "Who approves flights?"}, ["Ruben Akintola", "travel.md"]),
    ],
    "debugging": [
        (
            {"text": TRACE, "source": "examples/data"},
            ["KeyError: 'voucher'", "examples/data/shop/orders.py", "total = price(items)"],
        ),
        (
            {"log": "examples/data/shop.log", "source": "examples/data"},
            ["ZeroDivisionError", "examples/data/shop/prices.py", "len(items)"],
        ),
    ],
    "generic": [
        ({"request": "Who steers?", "material": "Ines steers the boat. Ada cooks."}, ["Ines steers the boat"]),
        ({"request": "Who cooks?", "material": "Ines steers the boat. Ada cooks."}, ["Ada cooks"]),
    ],
    "auto": [
        (
            {"request": "Plan the regatta: book the lake, then invite the clubs."},
            ["planning", "Book the lake", "“Plan”"],
        ),
        ({"request": "Who approves flights?"}, ["information", "Ruben Akintola"]),
    ],
}


@pytest.mark.req("D5")
@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_offline_each_result_holds_facts_of_its_own_input_alone(desk: Desk, name: str) -> None:
    told = [desk.run(name, **given) for given, _ in OFFLINE[name]]

    for position, (_, facts) in enumerate(OFFLINE[name]):
        assert says(told[position], *facts), told[position]
        assert not any(says(other, *facts) for other in told if other is not told[position])


def test_a_plan_comes_in_an_order_with_the_groups_that_can_go_side_by_side(desk: Desk) -> None:
    told = desk.run("planning", goal="Buy flour, buy eggs and order sugar, then write the label.")

    assert told["ok"] and told["problems"] == [] and told["revisions"] == 0
    assert told["parallel_groups"] == [["buy_flour", "buy_eggs", "order_sugar"], ["write_label"]]
    assert told["order"] == ["buy_flour", "buy_eggs", "order_sugar", "write_label"]


def test_a_blank_is_no_goal(desk: Desk) -> None:
    with pytest.raises(InputRefused, match="/goal"):
        desk.run("planning", goal=" \n")


def test_offline_a_constraint_is_no_step_and_too_many_steps_are_said(desk: Desk) -> None:
    goal = "Update the changelog, run the tests, build the wheel and publish it."

    told = desk.run("planning", goal=goal, constraints=["No deploys on Fridays."], max_steps=3)

    assert not says(told, "Fridays")
    assert (told["ok"], told["problems"]) == (False, ["The plan has 4 steps; at most 3 are wanted."])
    assert told["steps"][0]["title"] == "Update the changelog"


@pytest.mark.parametrize("question", ["What is the salary of the boss?", "Which colour has the moon?", "xyzzy"])
def test_what_the_documents_do_not_hold_is_not_found(desk: Desk, question: str) -> None:
    told = desk.run("information", question=question)

    assert (told["found"], told["answer"], told["citations"]) == (False, "Not found in the documents.", [])
    assert told["files_searched"] == 7


def test_every_citation_offline_stands_in_its_file(desk: Desk) -> None:
    for asked in ("When is the barometer calibrated?", "How long are applications kept?", "What do visitors wear?"):
        told = desk.run("information", question=asked)
        assert told["citations"] and not told["refuted"]
        for cited in told["citations"]:
            lines = (HOUSE / "examples/documents" / Path(cited["path"]).name).read_text().splitlines()
            assert cited["quote"] in "\n".join(lines[cited["line"] - 1 :])


def test_of_a_chain_of_errors_all_are_told_and_the_last_is_the_one_that_was_seen(desk: Desk) -> None:
    chain = (
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    x['k']\nKeyError: 'k'\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        'Traceback (most recent call last):\n  File "b.py", line 2, in g\n    f()\nRuntimeError: no luck\n'
    )

    told = desk.run("debugging", text=chain)

    assert (told["error"], told["chain"]) == ("RuntimeError: no luck", ["KeyError", "RuntimeError"])
    assert told["places"] == []


def test_nothing_to_debug_is_said_plainly(desk: Desk) -> None:
    told = desk.run("debugging")

    assert told["next_step"] == "No error was found in the text."
    assert told["causes"] == []


def test_code_that_may_not_run_comes_back_untested_and_says_what_to_set(desk: Desk) -> None:
    told = desk.run("coding", request="Write tide_height(hour).")

    assert (told["tested"], told["passed"]) == (False, False)
    assert "COGWORK_ALLOW_PYTHON=true" in told["note"]


def test_on_one_thread_the_generic_mode_is_a_conversation(desk: Desk) -> None:
    graph, thread = desk.graph("generic"), {"configurable": {"thread_id": "talk"}}

    graph.invoke({"request": "Remember: the boat of Ines is called Petrel."}, thread)
    state = graph.invoke({"request": "How is the boat of Ines called?"}, thread)

    assert "Petrel" in state["output"]["answer"]
    assert len(state["messages"]) == 4


@pytest.mark.parametrize("mode", ["planning", "coding", "information", "debugging", "generic"])
def test_a_mode_that_was_chosen_by_the_person_is_taken(desk: Desk, mode: str) -> None:
    told = desk.run("auto", request="Look at the harbour and tell Ada.", mode=mode)

    assert (told["mode"], told["why"]) == (mode, "You chose it.")


@pytest.mark.parametrize(
    ("request_", "mode"),
    [
        ("Make a roadmap for the mobile app", "planning"),
        ("Refactor the parser so that it uses a generator", "coding"),
        ("Who approves flights?", "information"),
        ("Our nightly job crashes since Monday", "debugging"),
        ("Hello, how are you?", "generic"),
        ("Write a poem about rain", "generic"),
        (TRACE, "debugging"),
    ],
)
def test_the_router_tells_plain_requests_apart_and_says_why(desk: Desk, request_: str, mode: str) -> None:
    told = desk.run("auto", request=request_)

    assert told["mode"] == mode
    assert told["why"]
