"""Models in runs: which one a step gets, what serves when it fails, and what the run says that it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.cache.memory import InMemoryCache
from pydantic import SecretStr
from typer.testing import CliRunner

from cogwork.app import App
from cogwork.cli.root import cli
from cogwork.models.provider import ModelFacts, ModeModel, Prices, Provider
from cogwork.settings import Settings
from nodes.structured import ask
from state.errors import WorkflowFailed
from state.services import Price
from state.usage import added, billed, cost, counted, total
from tests.misbehaving import DONE, Mode, endpoint, event, refusing, replying

ONE = {"cogwork": "v1", "name": "one", "nodes": {"a": {"type": "llm", "prompt": "Say hello."}}, "output": "{{ a }}"}


def saying(text: str, asked: int = 1000, answered: int = 100, *, finish: str = "stop", **details: Any) -> Mode:
    """An endpoint that says so, and that it used so many tokens."""
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered, **details}
    told = event({"role": "assistant", "content": text}) + event(finish=finish) + event(choices=[], usage=usage)
    return replying(told + DONE)


def app(tmp_path: Path, **settings: Any) -> App:
    """cogwork with these settings and no others."""
    return App(settings=Settings(state_dir=tmp_path / "state", **{"model": "own:tiny", **settings}))


def own(address: str, **settings: Any) -> dict[str, Provider]:
    """The endpoint as the provider ``own``."""
    return {"own": Provider(base_url=address, api_key=SecretStr("sk-canary-4711"), **settings)}


def spec(**node: Any) -> dict[str, Any]:
    """A workflow of one llm step."""
    return {**ONE, "nodes": {"a": {**ONE["nodes"]["a"], **node}}}  # type: ignore[dict-item]


PRICED = {"own:tiny": ModelFacts(price=Prices(input=2, output=10, cached_input=0.5))}


# -- what it costs -----------------------------------------------------------------------------------------------


@pytest.mark.req("X6")
async def test_a_run_says_what_it_cost_in_its_record_its_last_event_and_its_state(tmp_path: Path) -> None:
    mode = saying(
        "hello", prompt_tokens_details={"cached_tokens": 400}, completion_tokens_details={"reasoning_tokens": 60}
    )
    async with endpoint(mode) as address:
        graph = app(tmp_path, providers=own(address), model_facts=PRICED).compile(ONE)
        events = [each async for each in graph.aevents({})]
        state = await graph.ainvoke({})
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "cached_input_tokens": 400,
        "reasoning_tokens": 60,
        "cost_usd": 0.0024,
    }
    assert state["nodes"]["a"]["usage"] == {**usage, "model": "own:tiny"}
    assert state["run"]["usage"] == {**usage, "models": {"own:tiny": {**usage, "calls": 1}}}
    assert events[-1].kind == "run.completed"
    assert events[-1].data["usage"] == state["run"]["usage"]


@pytest.mark.req("X6")
async def test_each_call_of_a_step_is_billed_at_the_price_of_its_own_model(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with endpoint(saying("no number")) as dear, endpoint(saying('{"n": 3}')) as cheap:
        facts = {**PRICED, "spare:tiny": ModelFacts(price=Prices(input=1, output=1))}
        providers = {**own(dear), "spare": Provider(base_url=cheap)}
        graph = app(tmp_path, providers=providers, model_facts=facts).compile(
            spec(output=schema, fallback=[{"model": "spare:tiny"}])
        )
        state = await graph.ainvoke({})
    usage = state["nodes"]["a"]["usage"]
    assert state["nodes"]["a"]["fallback"] == "model:spare:tiny"
    assert [(call["model"], call["cost_usd"]) for call in usage["calls"]] == [
        ("own:tiny", 0.003),
        ("own:tiny", 0.003),
        ("spare:tiny", 0.0011),
    ]
    assert usage["cost_usd"] == pytest.approx(0.0071)
    assert state["run"]["usage"]["models"]["own:tiny"]["calls"] == 2


async def test_a_failed_run_says_what_it_cost_too(tmp_path: Path) -> None:
    async with endpoint(saying("no number")) as address:
        graph = app(tmp_path, providers=own(address), model_facts=PRICED).compile(spec(output={"type": "integer"}))
        events = [each async for each in graph.aevents({})]
    assert events[-1].kind == "run.failed"
    assert events[-1].data["usage"]["cost_usd"] == pytest.approx(0.006)


async def test_what_is_billed_counts_against_the_limit_of_the_run(tmp_path: Path) -> None:
    two = {**spec(), "limits": {"max_cost_usd": 0.002}}
    two["nodes"] = {**two["nodes"], "b": {"type": "llm", "prompt": "Say it again.", "depends_on": "a"}}
    async with endpoint(saying("hello")) as address:
        graph = app(tmp_path, providers=own(address), model_facts=PRICED).compile(
            two, checkpointer=tmp_path / "c.sqlite"
        )
        events = [each async for each in graph.aevents({}, {"configurable": {"thread_id": "t"}})]
    assert (events[-1].kind, events[-1].data["reason"]) == ("run.paused", "budget")
    assert events[-1].data["usage"]["cost_usd"] == pytest.approx(0.003)


def test_a_price_counts_cached_tokens_apart_and_the_rest_once() -> None:
    usage = counted(
        {
            "input_tokens": 100,
            "output_tokens": 10,
            "total_tokens": 110,
            "input_token_details": {"cache_read": 60, "cache_creation": 20},
        }
    )
    assert cost(usage, Price(1, 2)) == pytest.approx(120e-6)
    assert cost(usage, Price(1, 2, 0.1, 1.5)) == pytest.approx((20 + 6 + 30 + 20) * 1e-6)


def test_usages_add_up_whoever_is_missing() -> None:
    one, other = billed({"total_tokens": 5}, "a", Price(1, 1)), billed({"total_tokens": 7}, "b", None)
    assert added({}, one) == one == added(one, {})
    assert added(one, other) == {"total_tokens": 12, "cost_usd": 0.0, "calls": [one, other]}
    assert total([{"usage": added(one, other)}, {"usage": other}, {}])["models"]["b"] == {
        "total_tokens": 14,
        "calls": 2,
    }
    assert total([{}, {"status": "done"}]) == {}


def test_show_and_the_end_of_a_run_tell_people_what_it_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(json.dumps(ONE))
    runner = CliRunner()
    assert "✓ completed · run t · 27 tokens" in runner.invoke(cli, ["run", "one.yaml", "--thread", "t"]).output
    shown = runner.invoke(cli, ["show", "t"]).output
    assert "used 27 tokens" in shown
    assert json.loads(runner.invoke(cli, ["show", "t", "--json"]).output)["usage"]["models"]["offline"]["calls"] == 1


# -- which model answers -------------------------------------------------------------------------------------------


@pytest.mark.req("X6", "X12")
async def test_the_fallback_models_of_a_mode_serve_in_order_and_the_record_says_which(tmp_path: Path) -> None:
    async with endpoint(refusing(500)) as dead, endpoint(saying("served")) as alive:
        providers = {**own(dead), "spare": Provider(base_url=alive)}
        modes = {"coding": ModeModel(model="own:tiny", fallback=("own:other", "spare:tiny"))}
        graph = app(tmp_path, providers=providers, modes=modes).compile({**ONE, "mode": "coding"})
        events = [each async for each in graph.aevents({})]
    assert [each.data["fallback"] for each in events if each.kind == "step.fallback"] == [
        "model:own:other",
        "model:spare:tiny",
    ]
    finished = next(each for each in events if each.kind == "step.finished")
    assert (finished.data["fallback"], events[-1].data["output"]) == ("model:spare:tiny", "served")


@pytest.mark.req("X12")
async def test_when_every_fallback_of_the_mode_fails_the_first_fault_is_told_once(tmp_path: Path) -> None:
    async with endpoint(refusing(500)) as dead:
        modes = {"coding": ModeModel(model="own:tiny", fallback=("own:other",))}
        graph = app(tmp_path, providers=own(dead), modes=modes).compile({**ONE, "mode": "coding"})
        with pytest.raises(WorkflowFailed) as caught:
            await graph.ainvoke({})
    assert [each["fallback"] for each in caught.value.error["details"]["fallbacks"]] == ["model:own:other"]


async def test_a_step_with_a_fallback_of_its_own_does_not_use_those_of_its_mode(tmp_path: Path) -> None:
    async with endpoint(refusing(500)) as dead, endpoint(saying("served")) as alive:
        providers = {**own(dead), "spare": Provider(base_url=alive)}
        modes = {"coding": ModeModel(model="own:tiny", fallback=("own:other",))}
        graph = app(tmp_path, providers=providers, modes=modes).compile(
            {**spec(fallback=[{"model": "spare:tiny"}]), "mode": "coding"}
        )
        state = await graph.ainvoke({})
    assert state["nodes"]["a"]["fallback"] == "model:spare:tiny"


@pytest.mark.req("X12")
async def test_an_endpoint_that_is_left_alone_is_not_called_and_the_fallback_serves(tmp_path: Path) -> None:
    calls: list[int] = []

    async def dead(writer: Any) -> None:
        calls.append(1)
        await refusing(500)(writer)

    async with endpoint(dead) as address, endpoint(saying("served")) as alive:
        providers = {**own(address, breaker_threshold=2), "spare": Provider(base_url=alive)}
        graph = app(tmp_path, providers=providers).compile(spec(fallback=[{"model": "spare:tiny"}]))
        outputs = [(await graph.ainvoke({}))["output"] for _ in range(5)]
    assert (outputs, len(calls)) == (["served"] * 5, 2)


async def settings_sent(tmp_path: Path, node: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """What the endpoint is asked for by a step of the mode coding."""
    sent: list[dict[str, Any]] = []

    async with endpoint(saying("ok"), sent) as address:
        graph = app(tmp_path, providers=own(address), **settings).compile({**spec(**node), "mode": "coding"})
        await graph.ainvoke({})
    return sent[0]


@pytest.mark.req("X6", "X13")
async def test_a_step_outranks_its_mode_and_the_mode_what_is_said_of_the_model(tmp_path: Path) -> None:
    facts = {"own:tiny": ModelFacts(temperature=0.1, top_p=0.1, seed=1)}
    modes = {"coding": ModeModel(model="own:tiny", temperature=0.2, top_p=0.2)}
    sent = await settings_sent(tmp_path, {"temperature": 0.3}, model_facts=facts, modes=modes)
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.3, 0.2, 1)


async def test_the_settings_of_a_mode_are_not_those_of_another_model_that_a_step_names(tmp_path: Path) -> None:
    modes = {"coding": ModeModel(model="own:tiny", temperature=0.2)}
    sent = await settings_sent(tmp_path, {"model": "own:other", "frequency_penalty": 0.5, "stop": ["x"]}, modes=modes)
    assert (sent["model"], sent.get("temperature"), sent["frequency_penalty"], sent["stop"]) == (
        "other",
        None,
        0.5,
        ["x"],
    )


async def test_a_kept_answer_is_not_used_for_a_model_that_is_asked_otherwise_or_elsewhere(tmp_path: Path) -> None:
    cache: Any = InMemoryCache()

    async def answer(address: str, **facts: Any) -> tuple[Any, bool]:
        settings = {"providers": own(address), "model_facts": {"own:tiny": ModelFacts(**facts)}}
        state = await app(tmp_path, **settings).compile(spec(cache="1h"), cache=cache).ainvoke({})
        return state["output"], state["nodes"]["a"].get("cached", False)

    async with endpoint(saying("one")) as one, endpoint(saying("two")) as two:
        assert await answer(one) == ("one", False)
        assert await answer(one) == ("one", True)
        assert await answer(two) == ("two", False)
        assert await answer(one, temperature=0.5) == ("one", False)
        assert await answer(one, temperature=0.5) == ("one", True)


async def test_a_text_that_ends_at_its_token_limit_is_marked_in_record_and_event(tmp_path: Path) -> None:
    async with endpoint(saying("hel", finish="length")) as address:
        graph = app(tmp_path, providers=own(address)).compile(ONE)
        events = [each async for each in graph.aevents({})]
        state = await graph.ainvoke({})
    assert state["nodes"]["a"]["truncated"] is True
    assert next(each for each in events if each.kind == "step.finished").data["truncated"] is True


@pytest.mark.req("M9")
async def test_the_key_is_in_no_record_event_or_state(tmp_path: Path) -> None:
    async with endpoint(refusing(401)) as address:
        known = app(tmp_path, providers=own(address, headers={"x-team": SecretStr("canary-team")}))
        graph = known.compile(spec(), checkpointer=tmp_path / "c.sqlite")
        events = [each async for each in graph.aevents({}, {"configurable": {"thread_id": "t"}})]
    told = str([each.to_dict() for each in events]) + repr(known.models.find(None)) + str(known.models.health())
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "canary" not in told + repr(known.settings)
    assert b"canary" not in kept


async def test_a_model_of_the_app_can_be_asked_outside_of_runs(tmp_path: Path) -> None:
    async with endpoint(saying("hello")) as address:
        known = app(tmp_path, providers=own(address)).models
        assert (await ask(known.find(None), [HumanMessage("Hello?")])).text == "hello"
        assert known.loaded() == ["own:tiny"]
