"""Prompts within their tokens: what gives way first, where text is cut, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.partials import parse_prompt
from prompts.shortening import MARK, Shortening
from prompts.template import PromptError, PromptTemplate
from prompts.tokens import count, estimated
from state.errors import Fault
from state.services import Keep, RenderedPrompt
from state.values import Json

pytestmark = pytest.mark.req("X7")

HEAD = """---
variables:
  question: {{type: string}}
  notes: {notes}
  passages: {passages}
{more}---
# System
Answer from the passages.

# User
{{{{ question }}}}
{{{{#if notes}}}}
Notes: {{{{ notes }}}}
{{{{/if}}}}
{{{{#if passages}}}}
Passages: {{{{ passages }}}}
{{{{/if}}}}
"""


def prompt(
    notes: str = "{type: string, priority: 1, default: ''}",
    passages: str = "{type: array, priority: 2, default: []}",
    more: str = "",
) -> PromptTemplate:
    return parse_prompt(HEAD.format(notes=notes, passages=passages, more=more), name="ask")


def tokens(told: RenderedPrompt) -> int:
    return estimated(told.system) + estimated(told.user)


NOTES = "The first note is short. " * 40
PASSAGES = [{"path": f"docs/{n}.md", "text": "Invoices are kept for ten years."} for n in range(20)]
VALUES: dict[str, Json] = {"question": "How long are invoices kept?", "notes": NOTES, "passages": PASSAGES}


def test_a_prompt_that_fits_is_left_as_it_is() -> None:
    told = prompt().render(VALUES, tokens=100_000)
    assert told.shortened == ()
    assert NOTES.strip() in told.user


def test_the_lowest_priority_gives_way_first_and_it_is_said_how_much() -> None:
    whole = tokens(prompt().render(VALUES))
    told = prompt().render(VALUES, tokens=whole - 100)
    (cut,) = told.shortened
    assert (cut.variable, cut.how) == ("notes", cut.how)
    assert cut.how.startswith("kept the first ") and cut.how.endswith(f" of {len(NOTES):,} characters")
    assert 100 <= cut.dropped <= 120
    assert tokens(told) <= whole - 100
    assert MARK in told.user
    assert told.user.count("docs/") == 20


def test_lists_lose_whole_items_and_stay_lists() -> None:
    told = prompt().render(VALUES, tokens=300)
    assert [cut.variable for cut in told.shortened] == ["notes", "passages"]
    assert told.shortened[0].how == "left out"
    kept = told.user.count('"path"')
    assert 0 < kept < 20
    assert told.shortened[1].how == f"kept the first {kept} of 20 items"
    assert told.user.count('for ten years."\n') == kept


def test_what_has_no_priority_is_never_shortened() -> None:
    told = prompt().render(VALUES, tokens=40)
    assert "How long are invoices kept?" in told.user
    assert told.system == "Answer from the passages."
    assert [cut.how for cut in told.shortened] == ["left out", "left out"]
    assert "Notes" not in told.user and "Passages" not in told.user


def test_a_prompt_over_its_budget_is_invalid_input_that_says_by_how_much() -> None:
    values = {**VALUES, "question": "why? " * 500}
    with pytest.raises(Fault) as caught:
        prompt().render(values, tokens=200)
    fault = caught.value
    assert (fault.fault_class, fault.stage) == ("invalid_input", "render")
    details: Any = fault.details
    assert details["over"] == details["tokens"] - 200 > 700
    assert f"{details['over']:,} more than the 200" in fault.message
    assert "give a priority to one of question" in fault.message


def test_what_must_be_kept_at_least_is_kept() -> None:
    keeping = prompt(notes="{type: string, priority: 1, min: 50}")
    told = keeping.render(VALUES, tokens=200)
    kept = told.user.partition("Notes: ")[2].partition("\nPassages")[0]
    assert 50 <= estimated(kept) < 70


def test_a_most_holds_where_there_is_room_as_well() -> None:
    told = prompt(passages="{type: array, max: 120}").render(VALUES)
    assert [cut.variable for cut in told.shortened] == ["passages"]
    assert estimated(told.user.partition("Passages: ")[2]) <= 120


def test_the_budget_in_the_head_holds_where_nobody_gives_a_smaller_one() -> None:
    bounded = prompt(more="budget: 300\n")
    assert tokens(bounded.render(VALUES)) <= 300
    assert tokens(bounded.render(VALUES, tokens=150)) <= 150


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("head", "One goes here. Two goes here. […]"),
        ("tail", "[…] Three goes here. Four goes here."),
        ("both", "One goes here.\n[…]\nFour goes here."),
    ],
)
def test_text_is_cut_where_sentences_end(keep: Keep, kept: str) -> None:
    ways = Shortening("One goes here. Two goes here. Three goes here. Four goes here.", keep)
    size = 7 if keep != "both" else 6
    assert ways.at(size) == kept


def test_text_without_sentences_is_cut_between_words_and_long_words_within() -> None:
    assert Shortening("alpha beta gamma delta", "head").at(2) == "alpha beta […]"
    assert len(str(Shortening("x" * 1000, "head").at(3))) == 3 * 32 + len(" […]")


def test_no_letter_is_torn_from_its_accents() -> None:
    text = "e\u0301" * 200
    assert all(
        str(Shortening(text, "head").at(n))[:-4].count("e") * 2 == len(str(Shortening(text, "head").at(n))) - 4
        for n in range(1, 8)
    )


@pytest.mark.parametrize(("keep", "kept"), [("items", [1, 2]), ("head", [1, 2]), ("tail", [4, 5]), ("both", [1, 5])])
def test_which_items_stay_is_what_keep_says(keep: Keep, kept: list[int]) -> None:
    assert Shortening([1, 2, 3, 4, 5], keep).at(2) == kept


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ("{type: object, priority: 1}", "only text and lists can be shortened"),
        ("{type: string, priority: 1, keep: items}", "'keep' must be one of head, tail, both"),
        ("{type: string, priority: 1, keep: middle}", "'keep' must be one of"),
        ("{type: string, priority: high}", "'priority' must be a whole number"),
        ("{type: string, min: 5}", "'min' has no effect without 'priority' or 'max'"),
        ("{type: string, max: 5, min: 6}", "'min' is greater than 'max'"),
        ("{type: string, max: -1}", "'max' must be a whole number"),
        ("{type: string, max: true}", "'max' must be a whole number"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_line(notes: str, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        prompt(notes=notes)
    assert caught.value.problems[0].line == 4
    assert says in caught.value.problems[0].message


# -- laws --------------------------------------------------------------------------------------------------------

words = st.text(alphabet="ab cd.\n,é中🎉{}`", max_size=300)
values = st.fixed_dictionaries({"question": st.just("Why?"), "notes": words, "passages": st.lists(words, max_size=8)})
keeps = st.sampled_from(["head", "tail", "both"])


def made(keep: str) -> PromptTemplate:
    return prompt(
        notes=f"{{type: string, priority: 1, keep: {keep}, default: ''}}",
        passages=f"{{type: array, priority: 2, keep: {keep}, default: []}}",
    )


@given(values, keeps, st.integers(12, 400))
def test_a_rendered_prompt_is_never_over_its_budget(values: dict[str, Json], keep: str, budget: int) -> None:
    assert tokens(made(keep).render(values, tokens=budget)) <= budget


@given(values, keeps, st.integers(12, 400))
def test_a_higher_priority_loses_only_when_nothing_is_left_of_a_lower_one(
    values: dict[str, Json], keep: str, budget: int
) -> None:
    cuts = {cut.variable: cut for cut in made(keep).render(values, tokens=budget).shortened}
    if "passages" in cuts and values["notes"]:
        assert cuts["notes"].how == "left out"


@given(values, keeps, st.integers(12, 300), st.integers(0, 100))
def test_more_room_never_keeps_less(values: dict[str, Json], keep: str, budget: int, more: int) -> None:
    less, room = (
        {cut.variable: cut.dropped for cut in made(keep).render(values, tokens=each).shortened}
        for each in (budget, budget + more)
    )
    assert set(room) <= set(less)
    assert all(room[name] <= less[name] for name in room)


@given(words, keeps, st.integers(0, 60))
def test_shortening_what_was_shortened_changes_nothing(notes: str, keep: str, most: int) -> None:
    bounded = prompt(notes=f"{{type: string, max: {most}, keep: {keep}}}")

    def shortened(text: str) -> str:
        told = bounded.render({"question": "Why?", "notes": text, "passages": []})
        return told.user.partition("Notes: ")[2]

    once = shortened(notes)
    assert shortened(once) == once


@given(words, words)
def test_an_estimate_never_shrinks_when_a_text_goes_on(text: str, more: str) -> None:
    assert estimated(text) <= estimated(text + more) <= estimated(text) + estimated(more) + 1


def test_a_count_says_that_it_is_an_estimate() -> None:
    found = count("Hello there.", "no-such-model")
    assert (found.exact, found.method) == (False, "estimate by kinds of characters")
    assert found.tokens == 4
