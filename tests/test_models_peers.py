"""Models of both protocols against an endpoint that other people have written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from cogwork.models.chat import ChatModels, Provider
from nodes.structured import ask, take_turn
from state.errors import Fault
from tests.peers import needs
from tests.peers.models import Mock, aimock, answering, saying
from tests.test_models_openai import endpoint, error

pytestmark = needs("llmock")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "ships": {"type": "integer", "minimum": 0}},
    "required": ["city", "ships"],
    "additionalProperties": False,
}
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a place.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
LONG = "The harbour of Lisse lies by the water, as harbours do."
FIXTURES = (
    saying("Where is the harbour?", LONG, chunkSize=7, usage={"prompt_tokens": 70, "completion_tokens": 30}),
    saying("Give me a value.", {"city": "Lisse", "ships": 3}, chunkSize=5),
    saying("does not fit", {"city": "Lisse", "ships": 3}),
    saying("Give me a bad value.", {"city": "Lisse"}),
    saying("Be cut.", LONG, chunkSize=4, truncateAfterChunks=3),
    saying("Be gone.", LONG, chunkSize=4, latency=40, disconnectAfterMs=200),
    saying("Stall.", LONG, chunkSize=4, latency=20_000),
    saying("Say too much.", "It goes on and", finishReason="length"),
    answering("Be busy.", {"error": {"message": "slow down", "type": "x"}, "status": 429, "retryAfter": 7}),
    answering("Be down.", {"error": {"message": "broken", "type": "x"}, "status": 500}),
    answering(
        "Use tools.",
        {"toolCalls": [{"name": "look", "arguments": {"at": "the quay"}}, {"name": "look", "arguments": {"at": "b"}}]},
    ),
    answering(
        "Say and use.",
        {"content": "I look.", "toolCalls": [{"name": "look", "arguments": {"at": "x" * 300}}]},
    ),
)
KINDS = ("openai", "anthropic")


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with aimock(tmp_path_factory.mktemp("aimock"), *FIXTURES) as running:
        yield running


def model(mock: Mock, kind: str, call: dict[str, Any] | None = None, **settings: Any) -> Any:
    """A model of that kind."""
    provider = getattr(mock, kind)(**settings)
    return ChatModels(providers={"peer": provider}).find("peer:tiny", settings=call)


async def fault(mock: Mock, kind: str, told: str, **settings: Any) -> Fault:
    """What asking for that ends with."""
    with pytest.raises(Fault) as caught:
        await ask(model(mock, kind, **settings), [HumanMessage(told)])
    assert caught.value.origin == "model"
    return caught.value


@pytest.mark.req("X6")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_is_streamed_and_counted(mock: Mock, kind: str) -> None:
    heard: list[str] = []
    asked = [SystemMessage("Be brief."), HumanMessage("Where is the harbour?")]
    answer = await ask(model(mock, kind), asked, on_token=heard.append)
    assert (answer.text, "".join(heard), answer.truncated) == (LONG, LONG, False)
    assert len([piece for piece in heard if piece]) > 4
    assert answer.usage["output_tokens"] == 30
    assert answer.usage["total_tokens"] == answer.usage["input_tokens"] + 30
    assert answer.model == "tiny"


@pytest.mark.req("X6")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_value_by_schema_is_parsed(mock: Mock, kind: str) -> None:
    answer = await ask(model(mock, kind), [HumanMessage("Give me a value.")], SCHEMA)
    assert (answer.value, answer.repaired) == ({"city": "Lisse", "ships": 3}, False)


async def sent(kind: str, schema: Any = None, **settings: Any) -> dict[str, Any]:
    """What an endpoint of that kind is sent."""
    async with endpoint(error(500)) as server:
        address = f"http://127.0.0.1:{server.port}" + ("/v1" if kind == "openai" else "")
        provider = Provider(kind=kind, base_url=address)
        one = ChatModels(providers={"own": provider}).find("own:tiny", settings=settings)
        with pytest.raises(Fault):
            await ask(one, [HumanMessage("Give me a value.")], schema)
    return server.requests[0]


async def test_a_schema_goes_out_in_the_words_of_each_protocol() -> None:
    openai, anthropic = await sent("openai", SCHEMA), await sent("anthropic", SCHEMA)
    assert openai["response_format"]["json_schema"]["schema"] == SCHEMA
    assert anthropic["output_config"]["format"]["schema"]["required"] == ["city", "ships"]


async def test_a_schema_that_anthropics_protocol_has_no_words_for_goes_out_in_plain_ones() -> None:
    body = await sent("anthropic", {"required": ["city"]})
    assert "output_config" not in body
    assert '{"required": ["city"]}' in str(body["messages"])


async def test_call_settings_go_out_under_the_names_of_each_protocol() -> None:
    settings = {"temperature": 0.25, "top_p": 0.5, "max_tokens": 77, "stop": ["END"]}
    openai, anthropic = await sent("openai", **settings), await sent("anthropic", **settings)
    assert {**openai, **{"temperature": 0.25, "top_p": 0.5, "max_completion_tokens": 77, "stop": ["END"]}} == openai
    assert {
        **anthropic,
        **{"temperature": 0.25, "top_p": 0.5, "max_tokens": 77, "stop_sequences": ["END"]},
    } == anthropic


async def test_a_setting_that_a_protocol_does_not_have_is_refused() -> None:
    provider = Provider(kind="anthropic", base_url="http://127.0.0.1:9")
    with pytest.raises(Fault, match="takes no seed"):
        ChatModels(providers={"own": provider}).find("own:tiny", settings={"seed": 1})


@pytest.mark.req("X6")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_value_that_does_not_fit_is_repaired_once(mock: Mock, kind: str) -> None:
    answer = await ask(model(mock, kind), [HumanMessage("Give me a bad value.")], SCHEMA)
    assert (answer.value, answer.repaired) == ({"city": "Lisse", "ships": 3}, True)
    assert len(answer.usage["calls"]) == 2


@pytest.mark.req("X6")
@pytest.mark.parametrize("kind", KINDS)
async def test_parallel_tool_calls_arrive_whole(mock: Mock, kind: str) -> None:
    answer = await take_turn(model(mock, kind), [HumanMessage("Use tools.")], [LOOK])
    assert [(call["name"], call["args"]) for call in answer.calls] == [
        ("look", {"at": "the quay"}),
        ("look", {"at": "b"}),
    ]
    assert len({call["id"] for call in answer.calls}) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_call_in_many_pieces_beside_text_arrives_whole(mock: Mock, kind: str) -> None:
    answer = await take_turn(model(mock, kind), [HumanMessage("Say and use.")], [LOOK])
    assert (answer.text, answer.calls[0]["args"]) == ("I look.", {"at": "x" * 300})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("told", "fault_class"), [("Be cut.", "connection"), ("Be gone.", "connection"), ("Be down.", "unavailable")]
)
async def test_a_stream_that_is_cut_is_a_fault_and_no_answer(
    mock: Mock, kind: str, told: str, fault_class: str
) -> None:
    assert (await fault(mock, kind, told)).fault_class == fault_class


@pytest.mark.req("X12")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_busy_endpoint_says_when_to_come_back(mock: Mock, kind: str) -> None:
    found = await fault(mock, kind, "Be busy.")
    assert (found.fault_class, found.retry_after) == ("rate_limited", 7.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limits", [{"timeout_s": 0.3}, {"deadline_s": 0.3}])
async def test_a_stalled_endpoint_is_given_up_in_time(mock: Mock, kind: str, limits: dict[str, float]) -> None:
    async with asyncio.timeout(15):
        assert (await fault(mock, kind, "Stall.", **limits)).fault_class == "timeout"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_that_ends_at_its_token_limit_says_so(mock: Mock, kind: str) -> None:
    assert (await ask(model(mock, kind), [HumanMessage("Say too much.")])).truncated


@pytest.mark.parametrize("kind", KINDS)
async def test_an_invoked_model_answers_without_streaming(mock: Mock, kind: str) -> None:
    said = await model(mock, kind).ainvoke([HumanMessage("Where is the harbour?")])
    assert said.text == LONG
    assert mock.requests("Where is the harbour?")[-1]["body"].get("stream") in (None, False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_serves_several_event_loops_and_none(mock: Mock, kind: str) -> None:
    asked, one = [HumanMessage("Where is the harbour?")], model(mock, kind)
    answers = [asyncio.run(ask(one, asked)).text, one.invoke(asked).text, asyncio.run(ask(one, asked)).text]
    assert answers == [LONG] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_taken_from_the_environment(mock: Mock, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN", "LANGSMITH_GATEWAY_API_KEY"):
        monkeypatch.setenv(name, "canary")
    for name in ("OPENAI_PROXY", "ANTHROPIC_PROXY", "HTTP_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/canary")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "x-canary: canary\nauthorization: canary")
    one = model(mock, kind, headers={"X-Team": "harbour"})
    assert asyncio.run(ask(one, [HumanMessage("Where is the harbour?")])).text == LONG
    sent = mock.requests("Where is the harbour?")[-1]["headers"]
    assert sent["x-team"] == "harbour"
    assert "canary" not in str(sent)
    assert [name for name in sent if name.startswith(("openai", "x-stainless", "x-canary"))] == []


@pytest.mark.req("X6")
@pytest.mark.parametrize("kind", KINDS)
async def test_warming_opens_the_connection_and_releasing_closes_it(mock: Mock, kind: str) -> None:
    known = ChatModels(providers={"peer": getattr(mock, kind)()})
    assert (known.info("peer:tiny").state, known.loaded()) == ("ready", [])
    info = await known.warm("peer:tiny")
    assert (info.state, info.served, known.loaded()) == ("loaded", False, ["peer:tiny"])
    transport = known._endpoints["peer"].connections()
    assert transport.open
    await known.release("peer:tiny")
    assert (known.info("peer:tiny").state, known.loaded(), transport.open) == ("ready", [], False)
    assert (await ask(known.find("peer:tiny"), [HumanMessage("Where is the harbour?")])).text == LONG


async def test_an_endpoint_that_cannot_be_reached_cannot_be_warmed(mock: Mock) -> None:
    known = ChatModels(providers={"peer": mock.openai(base_url="http://127.0.0.1:9/v1")})
    with pytest.raises(Fault) as caught:
        await known.warm("peer:tiny")
    assert caught.value.fault_class == "connection"
