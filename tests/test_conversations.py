"""Conversations on SQLite and PostgreSQL: messages in order and once, pages, topics, context, and the window that a model sees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.models.chat import ChatModels
from cogwork.sessions.conversations import Conversations
from cogwork.sessions.records import MAX_CONTENT_BYTES, Message, NewMessage
from cogwork.sessions.summarising import EXTRACT, ByModel
from cogwork.sessions.window import Window, framed, window
from prompts.conversation import entries
from prompts.library import PromptLibrary
from prompts.tokens import PER_MESSAGE, estimated
from state.errors import Fault
from tests.talks import DATABASES, Talks, talks_on
from tests.test_sessions import refused

pytestmark = pytest.mark.req("X9")


@pytest.fixture(params=DATABASES)
def talks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Talks]:
    with talks_on(request.param, tmp_path) as made:
        yield made


async def begun(talks: Talks, **given: Any) -> str:
    """A new conversation in a new session."""
    session = await talks.sessions.create("ana")
    return (await talks.conversations.start(session.id, **given)).id


def say(content: str, role: str = "user", **more: Any) -> NewMessage:
    return NewMessage(role=role, content=content, **more)  # type: ignore[arg-type]


async def texts(conversations: Conversations, talk: str, **asked: Any) -> list[str]:
    return [each.content for each in (await conversations.messages(talk, **asked)).items]


# -- messages ------------------------------------------------------------------------------------------------------


async def test_messages_are_numbered_in_the_order_in_which_they_were_added(talks: Talks) -> None:
    talk = await begun(talks, title="Travel", context={"city": "Bern"})
    await talks.conversations.add(talk, say("Be brief.", "system"), say("Hello."), say("Hi.", "assistant"))
    (last,) = await talks.conversations.add(talk, say("{}", "tool", execution_id="e", metadata={"tool_call_id": "c"}))
    assert (last.number, last.execution_id, last.metadata, last.at) == (4, "e", {"tool_call_id": "c"}, talks.clock())
    found = (await talks.conversations.messages(talk)).items
    assert [(m.number, m.role) for m in found] == [(1, "system"), (2, "user"), (3, "assistant"), (4, "tool")]
    assert found[-1] == last


async def test_a_message_of_a_known_id_is_not_added_again_and_another_of_that_id_is_refused(talks: Talks) -> None:
    talk, other = await begun(talks), await begun(talks)
    first = await talks.conversations.add(talk, say("One.", id="m1"))
    both = await talks.conversations.add(talk, say("One.", id="m1"), say("Two.", id="m2"))
    assert (both[0], both[1].number) == (first[0], 2)
    assert await texts(talks.conversations, talk) == ["One.", "Two."]
    assert (await refused(talks.conversations.add(talk, say("Else.", id="m1")))).code == "conflict"
    error = await refused(talks.conversations.add(other, say("New."), say("One.", id="m1")))
    assert (error.code, "in another conversation" in error.message) == ("conflict", True)
    assert await texts(talks.conversations, other) == []


async def test_pages_together_are_one_big_page(talks: Talks) -> None:
    talk = await begun(talks)
    await talks.conversations.add(talk, *(say(f"message {number}") for number in range(37)))
    whole = await texts(talks.conversations, talk, limit=1000)
    for size in (1, 5, 36, 37, 100):
        gathered: list[str] = []
        before: int | None = None
        while True:
            page = await talks.conversations.messages(talk, size, before=before)
            gathered = [each.content for each in page.items] + gathered
            if (before := page.before) is None:
                break
            await talks.conversations.add(talk, say("One that arrives meanwhile."))
        assert gathered == whole[: len(gathered)]
        assert gathered[:37] == whole[:37]
        whole = await texts(talks.conversations, talk, limit=1000)


async def test_writers_in_threads_of_their_own_neither_lose_nor_reorder_messages(talks: Talks) -> None:
    talk = await begun(talks)

    def write(name: str) -> None:
        async def every() -> None:
            for number in range(0, 30, 2):
                await talks.conversations.add(talk, say(f"{name} {number}"), say(f"{name} {number + 1}"))

        asyncio.run(every())

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for each in threads:
        each.start()
    await asyncio.to_thread(lambda: [each.join() for each in threads])
    found = (await talks.conversations.messages(talk, 1000)).items
    assert [m.number for m in found] == list(range(1, 91))
    for name in "abc":
        assert [m.content for m in found if m.content[0] == name] == [f"{name} {number}" for number in range(30)]
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first.content[0], int(first.content[2:]) + 1) == (second.content[0], int(second.content[2:]))


async def test_messages_are_found_by_their_words_and_signs_mean_themselves(talks: Talks) -> None:
    session = await talks.sessions.create("ana")
    for said in (["Ship the BLUE box", "100% sure"], ["The box is blue_ish"]):
        talk = await talks.conversations.start(session.id)
        await talks.conversations.add(talk.id, *map(say, said))
        talks.clock.pass_by(seconds=1)

    async def found(words: str) -> list[str]:
        return [m.content for m in await talks.conversations.search(session.id, words)]

    assert await found("blue box") == ["The box is blue_ish", "Ship the BLUE box"]
    assert await found("100%") == ["100% sure"]
    assert await found("e_i") == ["The box is blue_ish"]
    assert (await refused(talks.conversations.search(session.id, " "))).code == "invalid_input"


async def test_what_no_database_takes_is_shown_as_missing_and_what_is_too_long_is_refused(talks: Talks) -> None:
    talk = await begun(talks)
    (kept,) = await talks.conversations.add(talk, say("a\0b\ud800c 😀", metadata={"x\0": "\udfff"}))
    assert kept.content == "a\ufffdb\ufffdc 😀"
    assert (await talks.conversations.messages(talk)).items == (kept,)
    assert (await refused(talks.conversations.add(talk, say("x" * (MAX_CONTENT_BYTES + 1))))).code == "invalid_input"
    assert (await refused(talks.conversations.add(talk, say("x", "boss")))).code == "invalid_input"
    assert (await refused(talks.conversations.add(talk))).code == "invalid_input"
    assert (await refused(talks.conversations.messages(talk, 0))).code == "invalid_input"


# -- life, context, topics -----------------------------------------------------------------------------------------


async def test_an_ended_conversation_is_kept_and_takes_nothing_more(talks: Talks) -> None:
    talk = await begun(talks)
    await talks.conversations.add(talk, say("Hello."))
    assert (await talks.conversations.end(talk)).ended_at == talks.clock()
    for verb in (
        talks.conversations.add(talk, say("More.")),
        talks.conversations.update_context(talk, {"a": 1}),
        talks.conversations.new_topic(talk, "travel"),
        talks.conversations.switch(talk),
    ):
        assert (await refused(verb)).code == "illegal_move"
    assert await texts(talks.conversations, talk) == ["Hello."]


async def test_conversations_belong_to_active_sessions_and_the_newest_open_one_is_current(talks: Talks) -> None:
    session = await talks.sessions.create("ana")
    assert await talks.conversations.current(session.id) is None
    made = []
    for _ in range(3):
        made.append((await talks.conversations.start(session.id)).id)
        talks.clock.pass_by(seconds=1)
    await talks.conversations.end(made[2])
    current = await talks.conversations.current(session.id)
    assert current is not None and current.id == made[1]
    first = await talks.conversations.list(session.id, limit=2)
    rest = await talks.conversations.list(session.id, limit=2, cursor=first.cursor)
    assert [each.id for each in (*first.items, *rest.items)] == made[::-1]
    await talks.sessions.end(session.id)
    assert await talks.conversations.current(session.id) is None
    assert (await refused(talks.conversations.start(session.id))).code == "illegal_move"
    assert (await refused(talks.conversations.start("nobody"))).code == "session_not_found"
    assert (await refused(talks.conversations.get(made[0][:-1]))).details["suggestions"]


async def test_context_changes_entry_by_entry(talks: Talks) -> None:
    talk = await begun(talks, context={"city": "Bern", "guests": 2})
    assert await talks.conversations.update_context(talk, {"city": None, "date": "Friday"}) == {
        "guests": 2,
        "date": "Friday",
    }
    assert await talks.conversations.context(talk) == {"guests": 2, "date": "Friday"}


async def test_topics_have_messages_of_their_own_and_one_of_them_is_talked_about(talks: Talks) -> None:
    talk = await begun(talks)
    assert await talks.conversations.active_topic(talk) is None
    await talks.conversations.add(talk, say("Hello."))
    travel = await talks.conversations.new_topic(talk, "travel")
    assert await talks.conversations.active_topic(talk) is None
    await talks.conversations.switch(talk, travel.id)
    await talks.conversations.add(talk, say("To Rome."))
    food = await talks.conversations.new_topic(talk, "food", switch=True)
    await talks.conversations.add(talk, say("Pasta."))
    assert await talks.conversations.active_topic(talk) == food
    await talks.conversations.switch(talk, "travel")
    await talks.conversations.add(talk, say("By train."))
    assert await texts(talks.conversations, talk, topic="travel") == ["To Rome.", "By train."]
    assert await texts(talks.conversations, talk, topic="") == ["Hello."]
    assert await texts(talks.conversations, talk) == ["Hello.", "To Rome.", "Pasta.", "By train."]
    assert await talks.conversations.new_topic(talk, "travel") == travel
    assert {each.topic for each in await talks.conversations.topics(talk)} == {"travel", "food"}
    assert (await refused(talks.conversations.switch(talk, "travl"))).details["suggestions"] == ["travel"]
    assert await talks.conversations.switch(talk) is None


# -- the window ----------------------------------------------------------------------------------------------------


class Counted:
    """Sums up as ``n said``, or fails; keeps what it was asked."""

    by = "counted"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.fails = False

    async def __call__(self, before: str, messages: Sequence[Message], tokens: int, count: Callable[[str], int]) -> str:
        if self.fails:
            raise Fault("unavailable", "the model is away", origin="model")
        self.asked.append((before, [m.number for m in messages]))
        return f"{before} {messages[0].number}-{messages[-1].number}".strip()


def cost(shown: Window) -> int:
    summary = estimated(framed(shown.summary)) + PER_MESSAGE if shown.summary else 0
    return summary + sum(estimated(m.content) + PER_MESSAGE for m in shown.messages)


async def test_a_short_conversation_is_shown_whole(talks: Talks) -> None:
    talk = await begun(talks)
    await talks.conversations.add(talk, say("Hello."), say("Hi.", "assistant"))
    shown = await window(talks.conversations, talk, tokens=500)
    assert (shown.summary, [m.content for m in shown.messages]) == ("", ["Hello.", "Hi."])
    assert shown.history() == [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    assert entries(shown.history())[0].text == "Hello."


async def test_what_leaves_the_window_is_summed_up_once_and_every_message_is_kept(talks: Talks) -> None:
    talk, counted = await begun(talks), Counted()
    summarised: list[int] = []
    for number in range(1, 121):
        role = "user" if number % 2 else "assistant"
        await talks.conversations.add(talk, say(f"Message {number} says a little about the plan.", role))
        shown = await window(talks.conversations, talk, tokens=600, summarise=counted)
        assert shown.tokens == cost(shown) <= 600
        numbers = [m.number for m in shown.messages]
        assert numbers == list(range(shown.summarised_to + 1, number + 1))
    summarised = [number for _, numbers in counted.asked for number in numbers]
    assert summarised == list(range(1, shown.summarised_to + 1))
    assert 2 <= len(counted.asked) <= 20, "room is cleared for several turns at once"
    assert counted.asked[1][0] == "1-" + str(counted.asked[0][1][-1]), "the next one is told the one before"
    assert (shown.by, shown.messages[0].role) == ("counted", "user")
    assert len(await texts(talks.conversations, talk, limit=1000)) == 120
    again = await window(talks.conversations, talk, tokens=600, summarise=counted)
    assert again == shown


async def test_each_topic_has_a_window_and_a_summary_of_its_own(talks: Talks) -> None:
    talk, counted = await begun(talks), Counted()
    await talks.conversations.add(talk, *(say(f"Outside of topics, number {n} of many.") for n in range(60)))
    outside = await window(talks.conversations, talk, tokens=300, summarise=counted)
    await talks.conversations.new_topic(talk, "travel", switch=True)
    await talks.conversations.add(talk, say("To Rome."))
    inside = await window(talks.conversations, talk, tokens=300, summarise=counted)
    assert ([m.content for m in inside.messages], inside.summary) == (["To Rome."], "")
    await talks.conversations.switch(talk)
    assert await window(talks.conversations, talk, tokens=300, summarise=counted) == outside
    assert outside.summary


async def test_a_summary_that_fails_is_an_extract_instead(talks: Talks) -> None:
    talk, counted = await begun(talks), Counted()
    counted.fails = True
    await talks.conversations.add(talk, *(say(f"Point {n} matters. And then some more words.") for n in range(40)))
    shown = await window(talks.conversations, talk, tokens=400, summarise=counted)
    assert shown.by == "extract"
    assert shown.summary.startswith("…\nuser: Point ")
    assert "some more words" not in shown.summary


async def test_a_call_of_a_tool_and_its_result_are_not_parted(talks: Talks) -> None:
    talk = await begun(talks)
    for number in range(30):
        call = {"tool_calls": [{"id": f"c{number}"}]}
        await talks.conversations.add(
            talk,
            say(f"Look up {number} for me please."),
            say("", "assistant", metadata=call),
            say("found " * 10, "tool", metadata={"tool_call_id": f"c{number}"}),
        )
        shown = await window(talks.conversations, talk, tokens=400)
        roles = [m.role for m in shown.messages]
        assert roles == ["user", "assistant", "tool"] * (len(roles) // 3)
    assert shown.summary


async def test_a_very_long_conversation_is_summed_up_in_bounded_work_that_says_what_it_left_out(talks: Talks) -> None:
    talk, counted = await begun(talks), Counted()
    for _ in range(5):
        await talks.conversations.add(talk, *(say("Short.") for _ in range(500)))
    shown = await window(talks.conversations, talk, tokens=2000, messages=50, summarise=counted)
    assert (len(counted.asked), len(shown.messages), shown.messages[-1].number) == (8, 25, 2500)
    assert sum(len(numbers) for _, numbers in counted.asked) < 900
    assert "earlier messages are not in this summary.)" in shown.summary
    assert shown.summarised_to == 2475


async def test_of_two_who_sum_up_at_once_one_summary_is_kept_and_both_see_a_right_window(talks: Talks) -> None:
    talk = await begun(talks)
    await talks.conversations.add(talk, *(say(f"Number {n} of the many messages.") for n in range(50)))
    one, other = Counted(), Counted()
    shown = await asyncio.gather(
        *(window(talks.conversations, talk, tokens=300, summarise=each) for each in (one, other))
    )
    assert shown[0] == shown[1]
    assert len({each.summary for each in shown}) == 1


async def test_an_offline_model_sums_up_through_the_prompt(talks: Talks) -> None:
    talk = await begun(talks)
    await talks.conversations.add(talk, *(say(f"The parcel number {n} goes to Bern.") for n in range(30)))
    by_model = ByModel(ChatModels().find("offline"), PromptLibrary().find("session/summary"), "offline")
    shown = await window(talks.conversations, talk, tokens=250, summarise=by_model)
    assert (shown.by, shown.tokens <= 250) == ("model offline", True)
    assert shown.summary


async def test_an_extract_is_the_same_for_the_same_messages_and_within_its_room() -> None:
    told = [
        Message(
            id=str(n),
            conversation_id="c",
            number=n,
            topic_id=None,
            role="user",
            content=f"Point {n}! More.\nEven more.",
            at=None,  # type: ignore[arg-type]
            execution_id=None,
            metadata={},
        )
        for n in range(50)
    ]
    first = await EXTRACT("user: Before.", told, 60, estimated)
    assert first == await EXTRACT("user: Before.", told, 60, estimated)
    assert estimated(first) <= 60
    assert first.split("\n")[-1] == "user: Point 49!"
    assert await EXTRACT("user: Before.", told[:1], 60, estimated) == "user: Before.\nuser: Point 0!"


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant", "system"]),
        st.one_of(st.text(max_size=60), st.integers(1, 3000).map(lambda n: "word " * n)),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.integers(1, 900), st.integers(1, 12))
def test_a_window_never_exceeds_its_tokens_and_never_splits_or_loses_a_message(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str]]], tokens: int, most: int
) -> None:
    async def play(talks: Talks) -> None:
        talk = await begun(talks)
        for batch in batches:
            for role, content in batch:
                await talks.conversations.add(talk, say(content, role))
            shown = await window(talks.conversations, talk, tokens=tokens, messages=most)
            every = {m.number: m for m in (await talks.conversations.messages(talk, 1000)).items}
            assert shown.tokens == cost(shown) <= tokens
            assert len(shown.messages) <= most
            assert all(every[m.number] == m for m in shown.messages)
            numbers = [m.number for m in shown.messages]
            assert numbers == list(range(shown.summarised_to + 1, len(every) + 1))

    with talks_on("sqlite", tmp_path_factory.mktemp("talks")) as talks:
        asyncio.run(play(talks))


async def test_a_window_of_no_tokens_is_refused(talks: Talks) -> None:
    talk = await begun(talks)
    assert isinstance(await refused(window(talks.conversations, talk, tokens=0)), EngineError)
    assert (await refused(window(talks.conversations, "no-such", tokens=9))).code == "conversation_not_found"
