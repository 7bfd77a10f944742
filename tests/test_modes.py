"""The modes with a model that errs: what is wrong is found, sent back, or left out, and never believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from state.errors import Fault
from tests.desk import Desk, question


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return Desk()


@pytest.fixture
def python_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk at which Python may run."""
    monkeypatch.chdir(tmp_path)
    return Desk(allow_python=True)


def step(name: str, *earlier: str) -> dict[str, Any]:
    """A step of a plan."""
    return {"id": name, "title": f"Do {name}", "depends_on": list(earlier), "done_when": f"{name} is there"}


# -- planning ----------------------------------------------------------------------------------------------


@pytest.mark.req("D5")
def test_a_plan_with_a_circle_is_sent_back_with_the_fault_and_comes_out_in_order(desk: Desk) -> None:
    desk.scripted(
        {"steps": [step("a", "b"), step("b", "a"), step("c")]}, {"steps": [step("a"), step("b", "a"), step("c")]}
    )

    told = desk.run("planning", goal="Do it all.")

    assert (told["ok"], told["revisions"]) == (True, 1)
    assert told["parallel_groups"] == [["a", "c"], ["b"]]
    assert desk.model is not None
    assert "wait for each other in a circle" in desk.model.asked[1][-1].text


def test_a_plan_that_stays_wrong_comes_back_with_its_problems(desk: Desk) -> None:
    wrong = [{"steps": [step("a", ghost)]} for ghost in ("ghost", "spirit", "shade", "spook")]
    desk.scripted(*wrong)

    told = desk.run("planning", goal="Do it all.")

    assert (told["ok"], told["revisions"], told["steps"]) == (False, 3, wrong[-1]["steps"])
    assert told["problems"] == ["Step a depends on spook, which is no step of the plan."]


def test_revisions_end_where_the_model_has_no_further_idea(desk: Desk) -> None:
    wrong = {"steps": [step("a", "ghost")]}
    desk.scripted(wrong, wrong)

    told = desk.run("planning", goal="Do it all.")

    assert (told["ok"], told["revisions"]) == (False, 1)


def test_an_empty_plan_is_no_plan(desk: Desk) -> None:
    desk.scripted({"steps": []}, {"steps": [step("a")]})

    assert desk.run("planning", goal="Do it all.")["order"] == ["a"]


# -- coding ------------------------------------------------------------------------------------------------

WRONG = "def double(x):\n    return x + 1\n"
RIGHT = "def double(x):\n    return x * 2\n"
TESTS = "from solution import double\n\n\ndef test_double():\n    assert double(4) == 8\n"


@pytest.mark.req("D5")
def test_code_whose_tests_fail_is_repaired_and_passes(python_desk: Desk) -> None:
    python_desk.scripted({"code": WRONG, "tests": TESTS}, {"code": RIGHT})

    told = python_desk.run("coding", {"decision": "run"}, request="Double a number.")

    assert (told["code"], told["tested"], told["passed"], told["repairs"]) == (RIGHT, True, True, 1)
    assert "OK" in told["test_output"]
    assert python_desk.model is not None
    assert "AssertionError" in python_desk.model.asked[1][-1].text


def test_nothing_runs_before_a_person_has_seen_it_and_agreed(python_desk: Desk) -> None:
    python_desk.scripted({"code": "open('trace', 'w')\n", "tests": TESTS})

    state = python_desk.state("coding", request="Double a number.")

    assert question(state)["show"] == {"code": "open('trace', 'w')\n", "tests": TESTS}
    assert not any(path.startswith("tested") for path in state["nodes"])


def test_code_that_a_person_does_not_let_run_comes_back_untested(python_desk: Desk) -> None:
    python_desk.scripted({"code": RIGHT, "tests": TESTS})

    told = python_desk.run("coding", {"decision": "do_not_run"}, request="Double a number.")

    assert (told["code"], told["tested"], told["note"]) == (RIGHT, False, "Not tested, as was decided.")


def test_allowed_once_no_repaired_version_is_run_unseen(python_desk: Desk) -> None:
    python_desk.scripted({"code": WRONG, "tests": TESTS})

    told = python_desk.run("coding", {"decision": "run_once"}, request="Double a number.")

    assert (told["tested"], told["passed"], told["repairs"]) == (True, False, 0)


def test_repairs_end_where_the_model_has_no_further_idea(python_desk: Desk) -> None:
    python_desk.scripted({"code": WRONG, "tests": TESTS}, {"code": WRONG})

    told = python_desk.run("coding", {"decision": "run"}, request="Double a number.")

    assert (told["passed"], told["repairs"]) == (False, 1)


def test_repairs_end_after_three(python_desk: Desk) -> None:
    python_desk.scripted({"code": WRONG, "tests": TESTS}, *({"code": f"{WRONG}# {n}\n"} for n in range(3)))

    told = python_desk.run("coding", {"decision": "run"}, request="Double a number.")

    assert (told["passed"], told["repairs"]) == (False, 3)


def test_a_model_that_fails_to_repair_leaves_what_the_tests_said(python_desk: Desk) -> None:
    python_desk.scripted({"code": WRONG, "tests": TESTS}, Fault("refused", "no more today", origin="model"))

    told = python_desk.run("coding", {"decision": "run"}, request="Double a number.")

    assert (told["code"], told["tested"], told["passed"]) == (WRONG, True, False)
    assert "AssertionError" in told["test_output"]
    assert "no more today" in told["note"]


def test_tests_that_were_given_are_not_replaced_by_the_models_own(python_desk: Desk) -> None:
    python_desk.scripted({"code": RIGHT, "tests": "def test_nothing(): pass"})

    told = python_desk.run("coding", {"decision": "run"}, request="Double a number.", tests=TESTS)

    assert (told["tests"], told["passed"]) == (TESTS, True)
    assert "test_double" in told["test_output"]


# -- information -------------------------------------------------------------------------------------------

DAYS = {"path": "examples/documents/leave.md", "line": 3, "quote": "Everybody has 27 days of vacation a year."}
INVENTED = {**DAYS, "quote": "The chef has 40 days of vacation."}


@pytest.mark.req("D5")
def test_a_refuted_citation_is_removed_and_the_answer_written_again_without_it(desk: Desk) -> None:
    desk.scripted({"answer": "27 days, the chef 40.", "citations": [DAYS, INVENTED]}, {"answer": "27 days."})

    told = desk.run("information", question="How many days of vacation are there?")

    assert (told["found"], told["answer"]) == (True, "27 days.")
    assert [cited["quote"] for cited in told["citations"]] == [DAYS["quote"]]
    assert [cited["quote"] for cited in told["refuted"]] == [INVENTED["quote"]]
    assert desk.model is not None
    assert "chef" not in desk.model.asked[1][-1].text


def test_an_answer_without_any_confirmed_citation_is_not_told(desk: Desk) -> None:
    desk.scripted({"answer": "The chef has 40 days.", "citations": [INVENTED]})

    told = desk.run("information", question="How many days of vacation are there?")

    assert (told["found"], told["answer"]) == (False, "Not found in the documents.")


@pytest.mark.parametrize(
    "elsewhere",
    [
        {**DAYS, "line": 17},
        {**DAYS, "path": "examples/documents/travel.md"},
        {**DAYS, "path": "pyproject.toml", "line": 1, "quote": "[project]"},
        {**DAYS, "path": "/etc/passwd", "line": 1, "quote": "root"},
        {**DAYS, "path": "nowhere.md"},
    ],
    ids=["another line", "another file", "a file that was not found", "a file outside", "no file"],
)
def test_a_quote_counts_only_at_the_place_that_is_cited_and_was_found(desk: Desk, elsewhere: dict[str, Any]) -> None:
    desk.scripted({"answer": "27 days.", "citations": [elsewhere]})

    told = desk.run("information", question="How many days of vacation are there?")

    assert (told["found"], len(told["refuted"])) == (False, 1)


def test_a_question_without_any_passage_costs_no_model_call(desk: Desk) -> None:
    desk.scripted()

    assert desk.run("information", question="xyzzy")["found"] is False


# -- debugging, generic and the router -----------------------------------------------------------------------


@pytest.mark.req("D5")
def test_the_model_sees_the_source_around_the_error_and_files_that_are_gone_are_left_out(desk: Desk) -> None:
    trace = (
        'Traceback (most recent call last):\n  File "shop/gone.py", line 3, in main\n    place()\n'
        '  File "shop/orders.py", line 31, in place\n    total = price(items)\nKeyError: 1\n'
    )
    cause = {"cause": "No item.", "file": "shop/orders.py", "line": 31, "evidence": "total = price(items)"}
    desk.scripted({"causes": [cause], "next_step": "Print the items."})

    told = desk.run("debugging", text=trace, source="examples/data", question="Since when?")

    assert [place["path"] for place in told["places"]] == ["examples/data/shop/orders.py"]
    assert (told["causes"], told["next_step"]) == ([cause], "Print the items.")
    assert desk.model is not None
    assert "sold out meanwhile" in desk.model.asked[0][-1].text and "Since when?" in desk.model.asked[0][-1].text


def test_a_request_that_no_rule_decides_is_given_to_the_model(desk: Desk) -> None:
    desk.scripted({"mode": "planning", "why": "It names an order of work."}, {"steps": [step("a")]})

    told = desk.run("auto", request="The harbour, in three stages.")

    assert (told["mode"], told["why"]) == ("planning", "It names an order of work.")
    assert told["result"]["order"] == ["a"]


def test_a_request_that_a_rule_decides_costs_no_choice_by_the_model(desk: Desk) -> None:
    desk.scripted({"causes": [], "next_step": "Look."})

    told = desk.run("auto", request="Traceback (most recent call last):\nKeyError: 1")

    assert (told["mode"], told["result"]["next_step"]) == ("debugging", "Look.")


@pytest.mark.req("R5")
def test_a_person_is_asked_from_within_the_mode_that_the_router_chose(python_desk: Desk) -> None:
    python_desk.scripted({"code": RIGHT, "tests": TESTS})

    told = python_desk.run("auto", {"decision": "run"}, request="Double a number.", material=TESTS)

    assert (told["mode"], told["why"]) == ("coding", "The material holds tests.")
    assert told["result"]["passed"]


def test_later_requests_on_a_thread_see_the_earlier_ones(desk: Desk) -> None:
    desk.scripted("Noted.", "Petrel.")
    graph, thread = desk.graph("generic"), {"configurable": {"thread_id": "talk"}}

    graph.invoke({"request": "The boat is called Petrel."}, thread)
    graph.invoke({"request": "How is it called?"}, thread)

    assert desk.model is not None
    told = "\n".join(message.text for message in desk.model.asked[1])
    assert "The boat is called Petrel." in told and "Noted." in told
