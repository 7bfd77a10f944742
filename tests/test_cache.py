"""Results kept for other runs: what is reused, what never is, and that a broken cache costs nothing but time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.sqlite import SqliteCache

from state.errors import Fault
from state.values import Json
from tests.fakes import FakeTool, fake_services
from tests.works import Disk, Work, node

pytestmark = [pytest.mark.req("X5", "T4")]


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> BaseCache[Any]:
    """Each of LangGraph's caches."""
    return InMemoryCache() if request.param == "memory" else SqliteCache(path=str(tmp_path / "cache.sqlite"))


def work(tool: FakeTool, cache: Any, /, **spec: Json) -> Work:
    """The work of a step that calls the tool, in a run of its own."""
    made = node(type="tool", tool="t", **{"cache": "1h", **spec})
    return Work(node=made, services=fake_services({"t": tool}), disk=Disk(), more={"cache": cache})


def asking(answers: list[Any], cache: Any, /, **spec: Json) -> Work:
    """The work of a step that asks a model."""
    made = node(type="llm", **{"prompt": "How many?", "cache": "1h", **spec})
    return Work(node=made, services=fake_services(models={"m": answers, "n": answers}), more={"cache": cache})


@pytest.mark.parametrize("effect", ["none", "read"])
async def test_another_run_gets_the_kept_result(cache: BaseCache[Any], effect: Any) -> None:
    tool = FakeTool(effect=effect, results=[{"n": [1, None, "ä"]}])
    first, second = await work(tool, cache).run(), await work(tool, cache).run()
    assert first.value == second.value == {"n": [1, None, "ä"]}
    assert (first.cached, second.cached, len(tool.calls)) == (False, True, 1)


async def test_an_answer_from_the_cache_costs_no_tokens_and_still_joins_the_history(cache: BaseCache[Any]) -> None:
    first = await asking(["three"], cache, history=True).run()
    second = await asking([], cache, history=True).run()
    assert (first.value, second.value, second.cached, second.usage) == ("three", "three", True, {})
    assert [m.content for m in second.messages] == ["How many?", "three"]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "How few?"},
        {"model": "n"},
        {"temperature": 0.5},
        {"system": "Be brief."},
        {"output": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    ],
)
async def test_a_question_that_differs_in_anything_is_asked(other: dict[str, Json]) -> None:
    cache = InMemoryCache[Any]()
    await asking(["three"], cache).run()
    outcome = await asking(['{"n": 4}'], cache, **other).run()
    assert not outcome.cached and outcome.value in ('{"n": 4}', {"n": 4})


@pytest.mark.parametrize("other", [{"args": {"q": 2}}, {"output": {"type": "integer"}}])
async def test_a_call_that_differs_in_anything_is_made(other: dict[str, Json]) -> None:
    cache, tool = InMemoryCache[Any](), FakeTool(results=[1, 2])
    await work(tool, cache, args={"q": 1}).run()
    assert (await work(tool, cache, **{"args": {"q": 1}, **other}).run()).value == 2


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_write_is_never_answered_from_the_cache(idempotent: bool) -> None:
    cache, tool = InMemoryCache[Any](), FakeTool(effect="write", idempotent=idempotent, results=[1, 2])
    assert [(await work(tool, cache).run()).value, (await work(tool, cache).run()).value] == [1, 2]


async def test_a_failure_is_not_kept(cache: BaseCache[Any]) -> None:
    tool = FakeTool(results=[Fault("tool_error", "no"), "yes"])
    await work(tool, cache).fault()
    assert (await work(tool, cache).run()).value == "yes"


async def test_without_cache_in_the_step_nothing_is_kept() -> None:
    cache, tool = InMemoryCache[Any](), FakeTool(results=[1, 2])
    assert [(await work(tool, cache, cache=None).run()).value for _ in range(2)] == [1, 2]


async def test_a_result_is_kept_no_longer_than_the_step_says(cache: BaseCache[Any]) -> None:
    tool = FakeTool(results=[1])
    await work(tool, cache, cache="1m").run()
    assert 30 < _left(cache) <= 60


def _left(cache: BaseCache[Any]) -> float:
    """Seconds until the only entry expires."""
    import time

    if isinstance(cache, SqliteCache):
        (expiry,) = cache._conn.execute("SELECT expiry FROM cache").fetchone()
    else:
        assert isinstance(cache, InMemoryCache)
        ((_, _, expiry),) = cache._cache["cogwork", "tool"].values()
    return float(expiry) - time.time()


async def test_the_record_of_the_run_goes_before_the_cache() -> None:
    cache, tool = InMemoryCache[Any](), FakeTool(results=["mine", "theirs"])
    one = work(tool, cache)
    await one.run()
    await cache.aclear()
    await work(tool, cache).run()
    again = await one.run()
    assert (again.value, again.cached) == ("mine", False)


# -- broken caches -----------------------------------------------------------------------------------------------------


def _corrupt(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE cache SET val = X'C1FF00'")
    yield


def _exchanged(path: Path) -> Iterator[None]:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    kind, raw = JsonPlusSerializer().dumps_typed({"value": "forged", "sha256": "0" * 64})
    with sqlite3.connect(path) as database:
        database.execute("UPDATE cache SET encoding = ?, val = ?", (kind, raw))
    yield


def _locked(path: Path) -> Iterator[None]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    yield
    database.close()


def _gone(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE cache")
    yield


@pytest.mark.parametrize("harm", [_corrupt, _exchanged, _locked, _gone])
async def test_a_broken_cache_does_not_fail_the_step(tmp_path: Path, harm: Callable[[Path], Iterator[None]]) -> None:
    path = tmp_path / "cache.sqlite"
    cache = SqliteCache[Any](path=str(path))
    cache._conn.execute("PRAGMA busy_timeout = 100")
    tool = FakeTool(results=["first", "second"])
    await work(tool, cache).run()
    for _ in harm(path):
        outcome = await work(tool, cache).run()
    assert (outcome.value, outcome.cached) == (("first", True) if harm is _locked else ("second", False))


async def test_a_cache_that_cannot_be_written_does_not_fail_the_step(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = SqliteCache[Any](path=str(path))
    cache._conn.execute("PRAGMA busy_timeout = 100")
    tool = FakeTool(results=["first", "second"])
    for _ in _locked(path):
        assert (await work(tool, cache).run()).value == "first"
    assert (await work(tool, cache).run()).value == "second"


class _Odd(InMemoryCache[Any]):
    """A cache that answers with what nobody put there."""

    def __init__(self, entry: Any) -> None:
        super().__init__()
        self.entry = entry

    async def aget(self, keys: Any) -> Any:
        """The odd entry under every key."""
        return dict.fromkeys(keys, self.entry)


@pytest.mark.parametrize("entry", [7, "text", {}, {"value": object(), "sha256": ""}, {"value": 1}, None])
async def test_an_entry_that_is_none_of_ours_counts_as_missing(entry: Any) -> None:
    outcome = await work(FakeTool(results=["made"]), _Odd(entry)).run()
    assert (outcome.value, outcome.cached) == ("made", False)
