"""Whatever an endpoint does, a call ends in time and with a typed fault; the table of docs/models.md says with which."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from cogwork.models.chat import ChatModels, Provider
from nodes.structured import ask, take_turn
from state.errors import FAULT_CLASSES, Fault
from tests.misbehaving import DONE, HELLO, MODES, endpoint, event, flooding, head, replying, stalling

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
ASKED = [HumanMessage("Where is the harbour?")]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PATIENCE = 20.0
"""Seconds after which a call counts as hanging; an endpoint that is silent is so for ever."""
SILENCE = {"timeout_s": 0.3, "deadline_s": 5.0}
LATE = {"timeout_s": 5.0, "deadline_s": 0.6}
LIMITS: dict[str, dict[str, Any]] = {
    **{mode: SILENCE for mode in MODES if mode.startswith("silent")},
    "one byte at a time": LATE,
    "comments without end": LATE,
    "events without end": {"max_reply_bytes": 300_000},
}


def models(address: str, **limits: Any) -> ChatModels:
    """Models of that endpoint."""
    given = {"timeout_s": 5.0, "deadline_s": 10.0, **limits}
    provider = Provider(base_url=address, api_key=SecretStr("sk-canary-1234"), **given)
    return ChatModels(default="local:tiny", providers={"local": provider})


def promised() -> Iterator[tuple[str, str, str]]:
    """What the page says: what the endpoint does, what asking for text ends with, and asking for a value."""
    for line in PAGE.read_text().partition("<!-- faults -->")[2].partition("<!-- /faults -->")[0].splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0] not in ("the endpoint", "---"):
            yield cells[0], cells[1], cells[2]


async def outcome(mode: str, schema: dict[str, Any] | None) -> str:
    """How a call ends, in the words of the page."""
    async with endpoint(MODES[mode]) as address:
        model = models(address, **LIMITS.get(mode, {})).find(None)
        async with asyncio.timeout(PATIENCE):
            try:
                answer = await ask(model, ASKED, schema)
            except Fault as fault:
                assert fault.origin == "model"
                assert "canary" not in f"{fault.message} {fault.details}"
                wait = f", retry_after {fault.retry_after:g}" if fault.retry_after else ""
                return f"{fault.fault_class}{wait}"
    return "truncated" if answer.truncated else "an answer"


def test_the_page_tells_of_every_mode_and_of_no_other() -> None:
    assert [mode for mode, _, _ in promised()] == [*MODES, "not there"]
    assert {text.partition(",")[0] for _, text, _ in promised()} <= {*FAULT_CLASSES, "truncated"}
    assert {value.partition(",")[0] for _, _, value in promised()} <= {*FAULT_CLASSES}


@pytest.mark.req("X6", "X12")
@pytest.mark.parametrize("mode", MODES)
async def test_a_call_for_text_ends_as_the_page_says(mode: str) -> None:
    said = {name: text for name, text, _ in promised()}
    assert await outcome(mode, None) == said[mode]


@pytest.mark.req("X6", "X12")
@pytest.mark.parametrize("mode", MODES)
async def test_a_call_for_a_value_ends_as_the_page_says(mode: str) -> None:
    said = {name: value for name, _, value in promised()}
    assert await outcome(mode, SCHEMA) == said[mode]


async def test_an_endpoint_that_is_not_there_is_a_connection_fault() -> None:
    async with endpoint(replying(b"")) as address:
        pass
    with pytest.raises(Fault) as caught:
        await ask(models(address).find(None), ASKED)
    assert ("not there", caught.value.fault_class, caught.value.fault_class) in list(promised())


async def test_tool_arguments_that_are_no_json_are_told_and_not_guessed() -> None:
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": he'}}
    body = event({"tool_calls": [call]}) + event(finish="tool_calls") + DONE
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    async with endpoint(replying(body)) as address:
        answer = await take_turn(models(address).find(None), ASKED, [tool])
    assert [set(call) for call in answer.calls] == [{"id", "name", "error"}]


async def test_halves_of_a_character_in_two_pieces_are_one_character() -> None:
    body = event({"content": "a\ud83d"}) + event({"content": "\ude00"}) + event(finish="stop") + DONE
    async with endpoint(replying(body)) as address:
        assert (await ask(models(address).find(None), ASKED)).text == "a😀"


async def test_a_deadline_ends_a_stream_whose_every_piece_comes_in_time() -> None:
    async def ticking(writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        while True:
            writer.write(HELLO)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with endpoint(ticking) as address, asyncio.timeout(PATIENCE):
        with pytest.raises(Fault) as caught:
            await ask(models(address, timeout_s=5.0, deadline_s=0.5).find(None), ASKED)
    assert caught.value.details == {"limit": "deadline_s", "seconds": 0.5}


@pytest.mark.parametrize("mode", ["silent before the answer", "cut before its end", "events without end"])
async def test_a_model_that_is_called_without_the_nodes_has_the_same_guarantees(mode: str) -> None:
    async with endpoint(MODES[mode]) as address, asyncio.timeout(PATIENCE):
        model = models(address, **LIMITS.get(mode, {})).find(None)
        with pytest.raises(Fault) as caught:
            async for _ in model.bind(stop=["x"]).astream(ASKED):
                pass
    assert {name: text for name, text, _ in promised()}[mode] == caught.value.fault_class


@pytest.mark.parametrize("mode", ["silent before the answer", "unauthorized"])
async def test_a_model_that_is_called_without_a_loop_has_the_same_guarantees(mode: str) -> None:
    async with endpoint(MODES[mode]) as address, asyncio.timeout(PATIENCE):
        model = models(address, **LIMITS.get(mode, {})).find(None)
        with pytest.raises(Fault) as caught:
            await asyncio.to_thread(model.invoke, ASKED)
    assert {name: text for name, text, _ in promised()}[mode] == caught.value.fault_class


async def test_a_call_that_is_given_up_lets_its_connection_go() -> None:
    async with endpoint(stalling(head(), HELLO)) as address:
        known = models(address, max_concurrency=1)
        task = asyncio.create_task(ask(known.find(None), ASKED, on_token=lambda text: heard.set()))
        heard = asyncio.Event()
        await asyncio.wait_for(heard.wait(), PATIENCE)
        assert known.health()[0]["under_way"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert known.health()[0]["under_way"] == 0


async def test_a_reply_may_be_as_large_as_the_settings_say_and_no_larger() -> None:
    async with endpoint(flooding(HELLO)) as address:
        with pytest.raises(Fault, match=r"exceeds 2,048 bytes") as caught:
            await ask(models(address, max_reply_bytes=2_048).find(None), ASKED)
    assert caught.value.fault_class == "invalid_output"


def test_the_classes_of_the_page_are_words_of_the_language() -> None:
    assert all(re.fullmatch(r"[a-z_]+(, retry_after \d+)?", cell) for row in promised() for cell in row[1:])
