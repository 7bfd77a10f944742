"""Sessions on SQLite and PostgreSQL: their life, their time, their state and what is counted of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.sessions.records import MAX_STATE_BYTES, NewMessage, SessionPolicy
from tests.talks import DATABASES, Talks, talks_on

pytestmark = pytest.mark.req("X10")


@pytest.fixture(params=DATABASES)
def talks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Talks]:
    with talks_on(request.param, tmp_path) as made:
        yield made


async def refused(coroutine: Any) -> EngineError:
    """The error that it ends with."""
    with pytest.raises(EngineError) as caught:
        await coroutine
    return caught.value


async def test_a_session_has_what_it_was_created_with(talks: Talks) -> None:
    made = await talks.sessions.create(
        "ana", ttl=60, preferences={"tone": "dry"}, mode="coding", metadata={"door": "web"}, id="s-1"
    )
    assert (made.id, made.user_id, made.status, made.mode) == ("s-1", "ana", "active", "coding")
    assert (made.preferences, made.metadata) == ({"tone": "dry"}, {"door": "web"})
    assert made.expires_at == talks.clock() + timedelta(seconds=60)
    assert await talks.sessions.find("s-1") == made
    assert (await refused(talks.sessions.create(id="s-1"))).code == "conflict"


async def test_an_unknown_session_is_not_found_and_the_nearest_is_suggested(talks: Talks) -> None:
    await talks.sessions.create(id="support-ana")
    error = await refused(talks.sessions.get("suport-ana"))
    assert (error.code, error.details["suggestions"]) == ("session_not_found", ["support-ana"])


async def test_each_use_begins_the_time_of_a_session_anew_and_without_use_it_expires(talks: Talks) -> None:
    await talks.sessions.create(ttl=100, id="s")
    for _ in range(5):
        talks.clock.pass_by(seconds=99)
        await talks.sessions.get("s")
    assert (await talks.sessions.find("s")).active_at == talks.clock()
    talks.clock.pass_by(seconds=100)
    error = await refused(talks.sessions.get("s"))
    assert error.code == "session_not_found"
    assert "expired at 2026-03-01T12:09:55+00:00: create a new one, or restore it" in error.message
    assert (await talks.sessions.find("s")).status == "expired"


async def test_a_session_of_a_fixed_policy_expires_however_much_it_is_used(talks: Talks) -> None:
    sessions = talks.sessions_with(SessionPolicy(sliding=False))
    await sessions.create(ttl=100, id="s")
    talks.clock.pass_by(seconds=99)
    await sessions.get("s")
    talks.clock.pass_by(seconds=1)
    assert (await refused(sessions.get("s"))).details["status"] == "expired"


async def test_a_session_without_a_time_lasts(talks: Talks) -> None:
    await talks.sessions.create(ttl=None, id="s")
    talks.clock.pass_by(days=4000)
    assert (await talks.sessions.get("s")).status == "active"
    assert await talks.sessions.expire() == 0


async def test_sweeping_marks_what_is_late_ends_its_conversations_and_purging_deletes_after_the_retention(
    talks: Talks,
) -> None:
    sessions = talks.sessions_with(SessionPolicy(ttl=60, retention=timedelta(days=7)))
    for name in ("early", "late", "lasting"):
        await sessions.create(ttl={"early": 60, "late": 86_400, "lasting": None}[name], id=name)
    talk = await talks.conversations.start("early")
    await talks.conversations.add(talk.id, NewMessage(role="user", content="Hello."))
    talks.clock.pass_by(minutes=2)
    assert [await sessions.expire(), await sessions.expire()] == [1, 0]
    ended = await sessions.find("early")
    assert (ended.status, ended.ended_at) == ("expired", ended.expires_at)
    assert (await talks.conversations.get(talk.id)).ended_at == talks.clock()
    assert await sessions.purge() == 0
    talks.clock.pass_by(days=7)
    assert await sessions.purge() == 1
    assert (await refused(sessions.find("early"))).code == "session_not_found"
    assert (await refused(talks.conversations.get(talk.id))).code == "conversation_not_found"
    assert {each.id for each in await sessions.list()} == {"lasting", "late"}


async def test_an_ended_session_is_refused_until_it_is_restored(talks: Talks) -> None:
    await talks.sessions.create(ttl=50, id="s")
    assert (await talks.sessions.end("s")).status == "ended"
    assert (await talks.sessions.end("s")).ended_at == talks.clock()
    error = await refused(talks.sessions.get("s"))
    assert (error.code, "was ended at" in error.message) == ("illegal_move", True)
    talks.clock.pass_by(seconds=500)
    again = await talks.sessions.restore("s")
    assert (again.status, again.ended_at, again.expires_at) == ("active", None, talks.clock() + timedelta(seconds=50))


async def test_updates_change_entry_by_entry_and_null_takes_away(talks: Talks) -> None:
    await talks.sessions.create(preferences={"tone": "dry", "length": "short"}, mode="coding", id="s")
    changed = await talks.sessions.update("s", preferences={"tone": None, "units": "metric"}, mode=None, ttl=5)
    assert changed.preferences == {"length": "short", "units": "metric"}
    assert (changed.mode, changed.expires_at) == (None, talks.clock() + timedelta(seconds=5))


async def test_a_deleted_session_is_gone_with_what_was_said_in_it(talks: Talks) -> None:
    await talks.sessions.create(id="s")
    talk = await talks.conversations.start("s")
    await talks.conversations.new_topic(talk.id, "travel", switch=True)
    await talks.conversations.add(talk.id, NewMessage(role="user", content="Hello.", id="m-1"))
    await talks.sessions.delete("s")
    assert (await refused(talks.sessions.find("s"))).code == "session_not_found"
    await talks.sessions.create(id="s2")
    other = await talks.conversations.start("s2")
    assert (await talks.conversations.add(other.id, NewMessage(role="user", content="New.", id="m-1")))[0].number == 1


# -- state ---------------------------------------------------------------------------------------------------------


async def test_state_is_restored_as_it_was_saved_and_of_two_who_change_one_revision_one_wins(talks: Talks) -> None:
    await talks.sessions.create(id="s")
    empty = await talks.sessions.load_state("s")
    assert (empty.value, empty.revision) == ({}, 0)
    assert await talks.sessions.save_state("s", {"step": 1, "list": [1.5, None, "ä"]}, expected=0) == 1
    assert (await talks.sessions.load_state("s")).value == {"step": 1, "list": [1.5, None, "ä"]}
    both = await asyncio.gather(
        *(talks.sessions.save_state("s", {"who": who}, expected=1) for who in ("a", "b")), return_exceptions=True
    )
    lost = [each for each in both if isinstance(each, EngineError)]
    assert ([each for each in both if each == 2], [each.code for each in lost]) == ([2], ["conflict"])
    assert await talks.sessions.save_state("s", {"who": "last"}) == 3


async def test_state_is_bounded_and_plain(talks: Talks) -> None:
    await talks.sessions.create(id="s")
    error = await refused(talks.sessions.save_state("s", {"much": "x" * MAX_STATE_BYTES}))
    assert (error.code, "state cannot be kept" in error.message) == ("invalid_input", True)
    assert (await refused(talks.sessions.save_state("s", {"odd": object()}))).code == "invalid_input"  # type: ignore[dict-item]
    assert (await talks.sessions.load_state("s")).revision == 0


# -- lists and counts ----------------------------------------------------------------------------------------------


async def test_lists_are_by_user_and_status_and_an_unswept_session_counts_as_expired(talks: Talks) -> None:
    await talks.sessions.create("ana", ttl=10, id="old")
    await talks.sessions.create("ana", ttl=1000, id="new")
    await talks.sessions.create("bob", id="bobs")
    await talks.sessions.create("ana", id="done")
    await talks.sessions.end("done")
    talks.clock.pass_by(seconds=20)

    async def listed(**filters: Any) -> set[str]:
        return {each.id for each in await talks.sessions.list(**filters)}

    assert await listed(user_id="ana") == {"old", "new", "done"}
    assert await listed(status="active") == {"new", "bobs"}
    assert await listed(status="expired", user_id="ana") == {"old"}
    assert await listed(status="ended") == {"done"}
    assert (await refused(talks.sessions.list(status="asleep"))).code == "invalid_input"  # type: ignore[arg-type]


async def test_pages_together_are_one_big_page_and_a_cursor_is_for_its_list_only(talks: Talks) -> None:
    for number in range(23):
        await talks.sessions.create("ana" if number % 3 else "bob", id=f"s{number:02}")
        talks.clock.pass_by(seconds=number % 2)
    whole = [each.id for each in await talks.sessions.list(limit=1000)]
    assert len(whole) == 23
    for size in (1, 4, 22, 23):
        gathered: list[str] = []
        cursor: str | None = None
        while True:
            page = await talks.sessions.list(limit=size, cursor=cursor)
            gathered += [each.id for each in page]
            if (cursor := page.cursor) is None:
                break
        assert gathered == whole
    first = await talks.sessions.list(limit=2)
    assert (await refused(talks.sessions.list(user_id="ana", limit=2, cursor=first.cursor))).code == "invalid_cursor"


async def test_metrics_count_messages_executions_and_durations(talks: Talks) -> None:
    await talks.sessions.create(id="s")
    talk = await talks.conversations.start("s")
    await talks.conversations.new_topic(talk.id, "travel")
    for role in ("user", "assistant", "user"):
        await talks.conversations.add(talk.id, NewMessage(role=role, content="Yes."))  # type: ignore[arg-type]
    talks.records.write(lambda c: c.execute(EXECUTIONS.insert(), [*map(talks_execution(talks), range(3))]))
    talks.clock.pass_by(seconds=90)
    found = await talks.sessions.metrics("s")
    assert (found.conversations, found.topics, found.messages) == (1, 1, 3)
    assert (found.messages_by_role, found.executions_by_status) == (
        {"assistant": 1, "user": 2},
        {"completed": 2, "running": 1},
    )
    assert (found.seconds, found.idle_seconds, found.working_seconds) == (90.0, 90.0, 3.0)


def talks_execution(talks: Talks) -> Any:
    """Rows of executions in the session ``s``; the first two took 1 and 2 seconds."""

    def row(number: int) -> dict[str, Any]:
        at = talks.clock()
        ended = at + timedelta(seconds=number + 1) if number < 2 else None
        return {
            "id": f"e{number}",
            "thread": f"e{number}",
            "workflow": "w",
            "status": "completed" if ended else "running",
            "mode": "sync",
            "priority": 0,
            "session_id": "s",
            "options": {},
            "metadata": {},
            "created_at": at,
            "started_at": at,
            "ended_at": ended,
            "updated_at": at,
        }

    return row


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unfit",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": True},
        {"mode": "thinking"},
        {"user_id": ""},
        {"user_id": "a\nb"},
        {"user_id": "a\0b"},
        {"id": "x" * 300},
        {"id": "\ud800"},
        {"preferences": ["dry"]},
        {"metadata": {"much": "x" * 70_000}},
    ],
    ids=str,
)
async def test_what_does_not_fit_is_refused_in_a_sentence_and_nothing_is_kept(
    unfit: dict[str, Any], tmp_path: Path
) -> None:
    with talks_on("sqlite", tmp_path) as talks:
        error = await refused(talks.sessions.create(**unfit))
        assert error.code == "invalid_input"
        assert len(error.message) < 200
        assert len(await talks.sessions.list()) == 0


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["use", "wait", "wait long", "end", "restore", "sweep"]), max_size=25))
def test_whatever_happens_a_session_is_usable_exactly_while_its_time_lasts_and_nobody_ended_it(
    tmp_path_factory: pytest.TempPathFactory, moves: list[str]
) -> None:
    async def play(talks: Talks) -> None:
        await talks.sessions.create(ttl=100, id="s")
        until, ended = talks.clock() + timedelta(seconds=100), False
        for move in moves:
            late = talks.clock() >= until
            if move == "use" and not ended and not late:
                await talks.sessions.get("s")
                until = talks.clock() + timedelta(seconds=100)
            elif move == "use":
                assert (await refused(talks.sessions.get("s"))).code in ("session_not_found", "illegal_move")
            elif move.startswith("wait"):
                talks.clock.pass_by(seconds=101 if "long" in move else 60)
            elif move == "end":
                await talks.sessions.end("s")
                ended = ended or not late
            elif move == "restore":
                await talks.sessions.restore("s")
                until, ended = talks.clock() + timedelta(seconds=100), False
            else:
                await talks.sessions.expire()
            late = talks.clock() >= until
            status = (await talks.sessions.find("s")).status
            assert status == ("ended" if ended else "expired" if late else "active")

    with talks_on("sqlite", tmp_path_factory.mktemp("talks")) as talks:
        asyncio.run(play(talks))
