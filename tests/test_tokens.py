"""Tokens are shown once, kept as digests, and die when they should, on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError, Unauthenticated
from cogwork.identity import token_text
from cogwork.identity.token_rows import Token
from cogwork.identity.tokens import Tokens
from cogwork.identity.verified import SECONDS, Verified
from cogwork.records.database import Records, opened
from cogwork.records.tables.identity import TOKENS
from tests import clusters

pytestmark = pytest.mark.req("M9")
START = datetime(2027, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def ticks(self) -> float:
        return self.seconds


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    with (
        clusters.schema() if request.param == "postgresql" else nullcontext() as url,
        opened(tmp_path / "records.sqlite", url) as made,
    ):
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(records: Records, clock: Clock) -> Tokens:
    return process(records, clock)


def process(records: Records, clock: Clock) -> Tokens:
    """The tokens as a process of its own has them."""
    return Tokens(records, clock.now, Verified(clock=clock.ticks))


def refused(reason: str) -> Any:
    return pytest.raises(Unauthenticated, check=lambda error: error.reason == reason)


def wrong(code: str, match: str | None = None) -> Any:
    return pytest.raises(EngineError, match=match, check=lambda error: error.code == code)


async def reads(records: Records, tokens: Tokens, text: str) -> int:
    """How many statements a verification takes."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(records.engine, "before_cursor_execute", note)
    try:
        await tokens.verify(text)
    finally:
        sa.event.remove(records.engine, "before_cursor_execute", note)
    return len(seen)


async def test_who_shows_a_token_is_the_principal_it_was_made_for(tokens: Tokens) -> None:
    text, token = await tokens.create("ci", "operator", expires_in=3600, metadata={"team": "shop"})
    found = await tokens.verify(text)
    assert (found.id, found.name, found.role, found.via) == (token.id, "ci", "operator", "token")
    assert found.metadata == {"team": "shop"}
    assert found.expires_at == START + timedelta(hours=1)


async def test_a_token_holds_256_bits_and_no_two_are_alike(tokens: Tokens) -> None:
    made = [(await tokens.create(f"t{number}", "viewer", expires_in=None))[0] for number in range(20)]
    assert all(re.fullmatch(r"cw_[0-9a-f]{16}_[0-9a-f]{64}", text) for text in made)
    assert len({text.split("_")[2] for text in made}) == 20


async def test_the_database_holds_no_secret_of_a_token(tokens: Tokens, records: Records, tmp_path: Path) -> None:
    text, token = await tokens.create("ci", "operator", expires_in=None)
    again, _ = await tokens.rotate(token.id)
    await tokens.verify(text)
    secrets = [each.split("_")[2] for each in (text, again)]
    rows = records.read(lambda connection: repr(connection.execute(sa.select(TOKENS)).all()))
    assert token.id in rows and not any(secret in rows for secret in secrets)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not any(secret.encode() in stored for secret in secrets)


async def test_what_is_not_valid_is_told_alike_outside_and_apart_inside(tokens: Tokens, clock: Clock) -> None:
    text, _ = await tokens.create("a", "viewer", expires_in=60)
    other, ended = await tokens.create("b", "viewer", expires_in=None)
    await tokens.revoke(ended.id)
    shown = {
        "malformed": "Bearer of bad news",
        "unknown": text[:-1] + ("0" if text[-1] != "0" else "1"),
        "revoked": other,
        "expired": text,
    }
    told = []
    for reason, each in shown.items():
        clock.seconds = 60.0 if reason == "expired" else 0.0
        with refused(reason) as caught:
            await tokens.verify(each)
        error = caught.value
        told.append((error.code, str(error), error.details, repr(error), error.dict()))
    assert told == [told[0]] * 4
    assert told[0][:3] == ("unauthenticated", "The token is not valid", {})
    with refused("unknown"):
        await tokens.verify(f"cw_{'0' * 16}_{'0' * 64}")


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(), st.from_regex(r"cw_[0-9a-f]{15,17}_[0-9a-f]{63,65}\n?", fullmatch=True)))
def test_only_the_very_form_of_a_token_is_looked_up(text: str) -> None:
    found = token_text.read(text)
    assert (found is not None) == bool(
        re.fullmatch(r"cw_[0-9a-f]{16}_[0-9a-f]{64}", text, re.ASCII) and text.isprintable()
    )
    if found is not None:
        assert token_text.text_of(*found) == text


async def test_a_secret_of_another_token_is_none_of_this_one(tokens: Tokens) -> None:
    first, _ = await tokens.create("a", "admin", expires_in=None)
    second, _ = await tokens.create("b", "viewer", expires_in=None)
    with refused("unknown"):
        await tokens.verify(f"cw_{first.split('_')[1]}_{second.split('_')[2]}")


async def test_a_token_dies_at_the_instant_it_expires_although_it_was_just_verified(
    tokens: Tokens, clock: Clock
) -> None:
    text, _ = await tokens.create("a", "viewer", expires_in=10)
    clock.seconds = 9.9
    await tokens.verify(text)
    clock.seconds = 10.0
    with refused("expired"):
        await tokens.verify(text)


async def test_a_revoked_token_dies_here_at_once_and_in_other_processes_within_five_seconds(
    tokens: Tokens, records: Records, clock: Clock
) -> None:
    far = process(records, clock)
    text, token = await tokens.create("a", "viewer", expires_in=None)
    for each in (tokens, far):
        await each.verify(text)
    assert SECONDS <= 5
    clock.seconds = 4.0
    assert (await tokens.revoke(token.id)).revoked_at == START + timedelta(seconds=4)
    with refused("revoked"):
        await tokens.verify(text)
    clock.seconds = 5.0
    with refused("revoked"):
        await far.verify(text)
    assert (await tokens.revoke(token.id)).revoked_at == START + timedelta(seconds=4), "it stays as it is"


async def test_a_token_that_was_verified_a_moment_ago_asks_the_database_nothing(
    tokens: Tokens, records: Records, clock: Clock
) -> None:
    text, _ = await tokens.create("a", "viewer", expires_in=None)
    assert await reads(records, tokens, text) > 0
    assert await reads(records, tokens, text) == 0
    clock.seconds = 5.0
    assert await reads(records, tokens, text) == 1, "it is looked up again, and its use not written down again"


async def test_the_last_use_is_written_down_once_a_minute(tokens: Tokens, clock: Clock) -> None:
    text, _ = await tokens.create("a", "viewer", expires_in=None)
    seen = []
    for clock.seconds in (0.0, 10.0, 59.0, 65.0, 100.0, 130.0):
        await tokens.verify(text)
        last = (await tokens.named("a")).last_used_at
        assert last is not None
        seen.append((last - START).total_seconds())
    assert seen == [0, 0, 0, 65, 65, 130]


async def test_a_rotated_token_takes_the_new_secret_at_once_and_the_old_one_for_the_grace(
    tokens: Tokens, clock: Clock
) -> None:
    old, token = await tokens.create("a", "operator", expires_in=None)
    await tokens.verify(old)
    new, rotated = await tokens.rotate(token.id, grace=60)
    assert rotated.earlier_until == START + timedelta(seconds=60)
    assert (await tokens.verify(new)).id == (await tokens.verify(old)).id == token.id
    assert (await tokens.verify(old)).expires_at == START + timedelta(seconds=60)
    assert (await tokens.verify(new)).expires_at is None
    clock.seconds = 60.0
    with refused("rotated"):
        await tokens.verify(old)
    await tokens.verify(new)
    newest, _ = await tokens.rotate(token.id, grace=0)
    for each, reason in ((old, "unknown"), (new, "rotated")):
        with refused(reason):
            await tokens.verify(each)
    assert (await tokens.verify(newest)).role == "operator"


async def test_a_rotation_may_give_a_new_end_and_a_revoked_token_cannot_be_rotated(
    tokens: Tokens, clock: Clock
) -> None:
    _, token = await tokens.create("a", "viewer", expires_in=10)
    clock.seconds = 20.0
    text, renewed = await tokens.rotate(token.id, expires_in=100)
    assert renewed.expires_at == START + timedelta(seconds=120)
    await tokens.verify(text)
    await tokens.revoke(token.id)
    with wrong("conflict", "is revoked"):
        await tokens.rotate(token.id)
    for call in (tokens.rotate("nobody"), tokens.revoke("nobody"), tokens.named("nobody")):
        with wrong("token_not_found"):
            await call


async def test_a_name_is_that_of_one_token_until_it_is_revoked(tokens: Tokens) -> None:
    _, first = await tokens.create("ci", "viewer", expires_in=None)
    with wrong("conflict", "There is a token 'ci' already"):
        await tokens.create("ci", "viewer", expires_in=None)
    await tokens.revoke(first.id)
    _, second = await tokens.create("ci", "viewer", expires_in=None)
    assert (await tokens.named("ci")).id == second.id
    assert (await tokens.named(first.id)).revoked_at is not None
    with wrong("token_not_found", "did you mean ci"):
        await tokens.named("cj")


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 256},
        {"role": "root"},
        {"expires_in": 0},
        {"expires_in": -5},
        {"expires_in": float("nan")},
        {"expires_in": 1e12},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "x" * 5000}},
    ],
)
async def test_a_token_that_cannot_be_is_refused(tokens: Tokens, given: dict[str, Any]) -> None:
    with wrong("invalid_input"):
        await tokens.create(**{"name": "a", "role": "viewer", "expires_in": None, **given})
    assert len(await tokens.list()) == 0


async def test_tokens_are_listed_in_pages_the_latest_first_with_their_state(tokens: Tokens, clock: Clock) -> None:
    for number in range(5):
        clock.seconds = float(number)
        await tokens.create(f"t{number}", "viewer" if number % 2 else "admin", expires_in=100)
    await tokens.revoke((await tokens.named("t3")).id)
    names, cursor = [], None
    while True:
        page = await tokens.list(limit=2, cursor=cursor)
        names += [each.name for each in page.items]
        if (cursor := page.cursor) is None:
            break
    assert names == ["t4", "t3", "t2", "t1", "t0"]
    assert [each.name for each in await tokens.list(role="viewer", ended=False)] == ["t1"]
    clock.seconds = 103.0
    assert [each.name for each in await tokens.list(ended=False)] == ["t4"]
    states = {each.name: each.state(clock.now()) for each in await tokens.list()}
    assert states == {"t0": "expired", "t1": "expired", "t2": "expired", "t3": "revoked", "t4": "valid"}


async def test_a_token_can_be_used_while_the_database_takes_no_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "records.sqlite") as records:
        text, _ = await Tokens(records).create("a", "viewer", expires_in=None)

        @sa.event.listens_for(records.engine, "checkout")
        def read_only(connection: Any, *_: Any) -> None:
            connection.execute("PRAGMA query_only = 1")

        assert (await Tokens(records).verify(text)).name == "a"
    assert "could not be written down" in caplog.text and text.split("_")[2] not in caplog.text


def test_a_token_that_is_shown_as_text_holds_no_secret() -> None:
    text = token_text.text_of(token_text.new_id(), token_text.new_secret())
    said = token_text.without_tokens(f"curl -H 'Authorization: Bearer {text}'")
    assert text.split("_")[2] not in said and text.split("_")[1] in said
    token = Token(id="a", name="b", role="viewer", created_at=START, metadata={})
    assert "secret" not in repr(token)


def test_the_memory_of_verified_tokens_is_bounded_and_holds_no_text() -> None:
    from cogwork.identity.roles import LOCAL
    from cogwork.identity.verified import MOST

    kept = Verified(clock=lambda: 0.0)
    for number in range(MOST + 10):
        kept.put(f"t{number}", LOCAL, 0.0)
    assert kept.get("t0") is None and kept.get(f"t{MOST + 9}") is LOCAL
    assert len(kept._kept) == MOST and "t99" not in repr(kept._kept)
