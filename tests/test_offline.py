"""The model that is always there: useful without a key, honest about what it is, and true to its material."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from cogwork.models.offline import NOTICE, OfflineModel
from nodes.structured import Answer, ask
from prompts.library import PromptLibrary

LIBRARY = PromptLibrary()
TEXT = {"type": "string"}


def form(**properties: Any) -> dict[str, Any]:
    """An object schema whose properties are all required."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def items(schema: dict[str, Any], **limits: Any) -> dict[str, Any]:
    """An array schema."""
    return {"type": "array", "items": schema, **limits}


async def asked(prompt: str, values: dict[str, Any], schema: dict[str, Any] | None = None) -> Answer:
    """What the offline model says to a shipped prompt."""
    file = LIBRARY.find(prompt)
    assert file is not None
    told = file.render(values)
    return await ask(OfflineModel(), [SystemMessage(told.system), HumanMessage(told.user)], schema)


async def said(text: str, schema: dict[str, Any] | None = None) -> Any:
    """What it says to a bare message."""
    return (await ask(OfflineModel(), [HumanMessage(text)], schema)).value


POOL = {
    "signature": "PoolTimeout in checkout.db",
    "count": 48,
    "first": "2026-11-01T02:10:00Z",
    "last": "2026-11-01T02:44:00Z",
    "sample": "PoolTimeout: no free connection, because transactions stay open in settle_invoice",
}
GATEWAY = {
    "signature": "HTTP 502 from payments",
    "count": 7,
    "first": "2026-11-01T02:12:00Z",
    "last": "2026-11-01T02:40:00Z",
    "sample": "upstream returned 502 Bad Gateway",
}
INCIDENT = form(title={**TEXT, "maxLength": 80}, summary=TEXT, likely_cause=TEXT, next_step=TEXT)


@pytest.mark.parametrize("groups", [[POOL, GATEWAY], [GATEWAY, POOL]])
async def test_an_incident_is_named_by_its_heaviest_group(groups: list[dict[str, Any]]) -> None:
    note = (await asked("incident/summary", {"groups": groups}, INCIDENT)).value
    assert "PoolTimeout in checkout.db" in note["title"]
    assert "55" in note["summary"]
    assert "2026-11-01T02:10:00Z" in note["summary"]
    assert "HTTP 502 from payments" in note["summary"]
    assert "settle_invoice" in note["likely_cause"]
    assert "checkout.db" in note["next_step"]


async def test_another_incident_gives_another_note() -> None:
    note = (await asked("incident/summary", {"groups": [GATEWAY]}, INCIDENT)).value
    assert "502" in note["title"]
    assert "upstream returned 502" in note["likely_cause"]
    assert "PoolTimeout" not in json.dumps(note)


STEP = form(id=TEXT, title=TEXT, depends_on=items(TEXT), done_when=TEXT)
PLAN = form(steps=items(STEP))


async def planned(goal: str, context: str = "") -> dict[str, list[str]]:
    """The plan's titles, each with the titles it depends on."""
    plan = (await asked("planning/plan", {"goal": goal, "context": context}, PLAN)).value["steps"]
    titles = {step["id"]: step["title"] for step in plan}
    assert len(titles) == len(plan)
    assert all(step["done_when"] for step in plan)
    return {step["title"]: sorted(titles[name] for name in step["depends_on"]) for step in plan}


async def test_a_plan_follows_the_order_of_the_goals_words() -> None:
    plan = await planned(
        "Back up the database, then create the new schema and copy the invoices. Finally switch the service."
    )
    assert plan == {
        "Back up the database": [],
        "Create the new schema": ["Back up the database"],
        "Copy the invoices": ["Create the new schema"],
        "Switch the service": ["Copy the invoices"],
    }


async def test_a_plan_lets_go_side_by_side_what_nothing_orders() -> None:
    plan = await planned(
        "- Write the parser\n- Write the printer\n- Test parser and printer\n- Publish the package after the test"
    )
    assert plan == {
        "Write the parser": [],
        "Write the printer": [],
        "Test parser and printer": ["Write the parser", "Write the printer"],
        "Publish the package": ["Test parser and printer"],
    }


async def test_a_plan_takes_its_order_from_the_context_too() -> None:
    goal = "- Update the dashboards\n- Load the readings"
    assert (await planned(goal))["Update the dashboards"] == []
    ordered = await planned(goal, "The dashboards need the readings.")
    assert ordered["Update the dashboards"] == ["Load the readings"]


async def test_a_sign_that_a_step_is_done_comes_from_the_goal() -> None:
    plan = (await asked("planning/plan", {"goal": "Verify the totals until they match to the cent."}, PLAN)).value
    assert [step["done_when"] for step in plan["steps"]] == ["they match to the cent"]


async def test_contradicting_orders_never_close_a_circle() -> None:
    plan = await planned("- Build the wall after the roof\n- Build the roof after the wall")
    assert sum(len(needs) for needs in plan.values()) == 1


async def test_a_revised_plan_keeps_its_steps_and_takes_in_the_feedback() -> None:
    step = {"id": "move", "title": "Move the shop", "depends_on": [], "done_when": "it answers there"}
    values = {"goal": "Move the shop.", "plan": {"steps": [step]}, "feedback": "Make a backup before the move."}
    steps = (await asked("planning/revise", values, PLAN)).value["steps"]
    assert [(s["title"], len(s["depends_on"])) for s in steps] == [("Move the shop", 1), ("Make a backup", 0)]
    assert steps[0]["done_when"] == "it answers there"


PASSAGES = [
    {
        "path": "docs/retention.md",
        "line": 12,
        "text": "Logs live 30 days.\nInvoices are kept for ten years, as taxes ask.",
    },
    {"path": "docs/team.md", "line": 3, "text": "The on-call rota changes on Mondays. Ana keeps the list."},
]
CITED = form(answer=TEXT, citations=items(form(path=TEXT, line={"type": "integer"}, quote=TEXT)))


@pytest.mark.parametrize(
    ("question", "fact", "path"),
    [
        ("How long are invoices kept?", "ten years", "docs/retention.md"),
        ("When does the on-call rota change?", "Mondays", "docs/team.md"),
    ],
)
async def test_an_answer_cites_verbatim_from_the_passage_that_holds_it(question: str, fact: str, path: str) -> None:
    told = (await asked("information/answer", {"question": question, "passages": PASSAGES}, CITED)).value
    assert fact in told["answer"]
    source = next(p for p in PASSAGES if p["path"] == path)
    assert told["citations"]
    assert all((c["path"], c["line"]) == (path, source["line"]) for c in told["citations"])
    assert all(c["quote"] in str(source["text"]) for c in told["citations"])


async def test_a_question_that_the_passages_do_not_answer_gets_no_citation() -> None:
    told = (await asked("information/answer", {"question": "Who paints the fence?", "passages": PASSAGES}, CITED)).value
    assert told["citations"] == []
    assert "does not answer" in told["answer"]


SOURCE = {
    "path": "app/report.py",
    "line": 39,
    "text": "def render(rows):\n    for row in rows:\n        out.append(row['total'])\n",
}
FRAMES = [
    {"file": "app/main.py", "line": 9, "function": "main"},
    {"file": "app/report.py", "line": 41, "function": "render"},
]
CAUSES = form(
    causes=items(form(cause=TEXT, evidence=TEXT, file=TEXT, line={"type": "integer"}), maxItems=3), next_step=TEXT
)


@pytest.mark.parametrize(("key", "line"), [("total", 41), ("rows", 40)])
async def test_an_error_is_traced_to_the_line_that_names_it(key: str, line: int) -> None:
    frames = [FRAMES[0], {**FRAMES[1], "line": line}]
    error = {"type": "KeyError", "message": repr(key), "frames": frames}
    told = (await asked("debugging/explain", {"error": error, "excerpts": [SOURCE]}, CAUSES)).value
    first = told["causes"][0]
    assert (first["file"], first["line"]) == ("app/report.py", line)
    assert first["evidence"] in SOURCE["text"]
    assert key in first["cause"]
    assert f"app/report.py:{line}" in told["next_step"]


async def test_a_traceback_in_plain_text_is_understood() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "app/pay.py", line 7, in pay\n'
        "    total / count\nZeroDivisionError: division by zero"
    )
    told = await said(f"Explain this error:\n\n```\n{trace}\n```", CAUSES)
    assert told["causes"][0]["evidence"] == "total / count"
    assert "ZeroDivisionError" in told["causes"][0]["cause"]


CODE = form(code=TEXT, tests=TEXT)


async def test_code_in_the_request_is_returned_as_it_stands() -> None:
    code, tests = "def top(xs):\n    return sorted(xs)", "def test_top():\n    assert top([1]) == 1"
    request = f"Mend this:\n\n```python\n{code}\n```\n\n```python\n{tests}\n```"
    told = (await asked("coding/write", {"request": request}, CODE)).value
    assert told == {"code": code, "tests": tests}


async def test_code_that_was_not_given_is_a_skeleton_that_says_so_and_fails_its_tests() -> None:
    told = (await asked("coding/write", {"request": "Write slugify(text) that makes a slug."}, CODE)).value
    space: dict[str, Any] = {}
    exec(told["code"], space)
    exec(told["tests"], space)
    with pytest.raises(NotImplementedError, match="makes a slug"):
        space["slugify"]("x")
    with pytest.raises(AssertionError):
        next(value for name, value in space.items() if name.startswith("test_"))()
    assert "no language model" in told["code"]


async def test_a_summary_keeps_what_matters_and_changes_with_its_material() -> None:
    one = "The lock gate at Lisse broke. The crane had struck the lock gate. Repairs of the lock gate take a month. Tea was served."
    told = (await asked("generic/answer", {"request": "Summarise this", "material": one})).text
    assert "Repairs of the lock gate take a month." in told
    other = (
        await asked("generic/answer", {"request": "Summarise this", "material": "The ferry to Texel runs hourly."})
    ).text
    assert "Texel" in other
    assert "lock gate" not in other


@pytest.mark.req("D5")
@pytest.mark.parametrize(
    ("request_", "mode"),
    [
        ("Why does my build crash with KeyError: 'x'?", "debugging"),
        ("Write a function that parses dates", "coding"),
        ("What does the handbook say about travel?", "information"),
        ("Plan the move to the new office", "planning"),
        ("Good morning!", "generic"),
    ],
)
async def test_the_router_chooses_the_mode_that_a_request_needs(request_: str, mode: str) -> None:
    choice = form(mode={"enum": ["planning", "coding", "information", "debugging", "generic"]})
    assert (await asked("router/choose", {"request": request_}, choice)).value == {"mode": mode}


async def test_every_text_says_that_no_language_model_was_used() -> None:
    for text in ("Hello", "What is it? The box is red.", "Write add(a, b).", "Translate: the harbour is closed today"):
        assert (await said(text)).rstrip().endswith(NOTICE)


async def test_it_streams_pieces_that_add_up_and_reports_estimated_usage() -> None:
    heard: list[str] = []
    answer = await ask(OfflineModel(), [HumanMessage("What is red? The box is red.")], on_token=heard.append)
    assert len(heard) > 5
    assert "".join(heard) == answer.text
    assert (answer.model, answer.finish_reason) == ("offline", "stop")
    assert answer.usage["total_tokens"] == answer.usage["input_tokens"] + answer.usage["output_tokens"] > 0
    message = OfflineModel().invoke("What is red? The box is red.")
    assert message.text == answer.text
    assert message.response_metadata["usage_is_estimated"] is True


async def test_the_same_question_gets_the_same_answer() -> None:
    values = {"groups": [POOL, GATEWAY]}
    first, second = [await asked("incident/summary", values, INCIDENT) for _ in range(2)]
    assert replace(first, message_id=None) == replace(second, message_id=None)


async def test_earlier_messages_are_material_too() -> None:
    talk = [HumanMessage("Hello, my name is Ana."), AIMessage("Hello!"), HumanMessage("What is my name?")]
    assert "Ana" in (await ask(OfflineModel(), talk)).text


async def test_it_stops_at_stop_words_and_at_the_token_limit() -> None:
    told = "What is red? The box is red."
    assert (await OfflineModel(stop=["red"]).ainvoke(told)).text == "The box is "
    limited = await ask(OfflineModel(max_tokens=3), [HumanMessage(told)])
    assert (limited.truncated, len(limited.text)) == (True, 12)


async def test_a_long_document_is_answered_from() -> None:
    long = "\n".join(f"Room {number} is kept at {number % 9 + 10} degrees." for number in range(3_000))
    answer = await ask(
        OfflineModel(), [HumanMessage(f"How warm is the vault?\n\n{long}\nThe vault is kept at 4 degrees.")]
    )
    assert "The vault is kept at 4 degrees." in answer.text
