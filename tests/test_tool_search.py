"""Tools are found by what they say of themselves, whatever is asked, however the list changes, and only those allowed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

import cogwork
from cogwork.app import App
from cogwork.cli import root
from cogwork.settings import Settings
from cogwork.tools.index import ToolIndex
from cogwork.tools.index.fusion import fused
from state.services import CallContext, ToolFinder
from tests.fakes import FakeTool
from tests.web import serving

CONCEPTS = {
    "car": 0, "automobile": 0, "vehicle": 0,
    "rain": 1, "weather": 1, "forecast": 1,
    "money": 2, "bank": 2, "payment": 2,
}  # fmt: skip


class Concepts(Embeddings):
    """A model that knows a few words by their concept; says which texts it was asked for."""

    def __init__(self, *, model: str | None = "concepts", fails: bool = False, length: int = 4) -> None:
        self.model, self.fails, self.length = model, fails, length
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector per text."""
        if self.fails:
            raise ConnectionError("https://key-4711@embeddings.example is down")
        self.asked += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * (self.length - 1) + [0.1]
        for word in text.lower().replace(":", " ").replace(".", " ").split():
            if word in CONCEPTS:
                vector[CONCEPTS[word]] += 1.0
        return vector


def tool(name: str, description: str, effect: Any = "read", **parameters: str) -> FakeTool:
    """A tool with described parameters."""
    properties = {each: {"type": "string", "description": said} for each, said in parameters.items()}
    schema = {"type": "object", "properties": properties}
    return FakeTool(name=name, description=description, effect=effect, args_schema=schema)


TOOLS = [
    tool("vehicles.rent", "Reserve an automobile for some days.", "write", pickup="Where the keys are handed over."),
    tool("forecastByCity", "Temperatures and showers of the next days.", zipCode="Postal code of the place."),
    tool(
        "bank_transfer", "Send an amount from one account to another.", "write", iban="The receiver's account number."
    ),
    tool("bank_balance", "What an account holds.", iban="The account number."),
    tool("photos.resize", "Make pictures smaller.", "write", width="Pixels from left to right."),
]


def names(hits: Iterable[Any]) -> list[str]:
    return [hit.name for hit in hits]


@pytest.mark.req("X8", "T7")
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("transfer", "bank_transfer"),
        ("transferring amounts", "bank_transfer"),
        ("I would like to see the forecast, please", "forecastByCity"),
        ("forecastByCity", "forecastByCity"),
        ("photos.resize", "photos.resize"),
        ("postal codes", "forecastByCity"),
        ("zip code", "forecastByCity"),
        ("picture pixel", "photos.resize"),
        ("hand over keys", "vehicles.rent"),
    ],
)
def test_a_tool_is_found_by_words_of_its_name_its_description_and_its_parameters(query: str, first: str) -> None:
    assert names(ToolIndex(TOOLS).search(query))[0] == first


def test_a_word_of_the_name_counts_more_than_one_of_a_description() -> None:
    index = ToolIndex(
        [tool("a.page", "Print what is on the invoice."), tool("invoice.print", "Put it on paper."), *TOOLS]
    )
    assert names(index.search("invoice"))[0] == "invoice.print"


def test_only_tools_of_the_wanted_effect_and_names_are_found() -> None:
    index = ToolIndex(TOOLS)
    assert set(names(index.search("account"))) == {"bank_transfer", "bank_balance"}
    assert names(index.search("account", effect="read")) == ["bank_balance"]
    assert names(index.search("account", effect=("none", "write"))) == ["bank_transfer"]
    assert names(index.search("account", allowed=["bank_t*", "photos.resize"])) == ["bank_transfer"]
    assert index.search("account", allowed=[]) == []
    assert index.search("account", k=0) == []


def test_equal_tools_come_in_the_order_of_their_names_whatever_the_order_they_came_in() -> None:
    equal = [tool(f"copy.{letter}", "Duplicate a thing.") for letter in "dbca"]
    other = [tool(f"x{n}.y", "Something else.") for n in range(8)]
    found = [names(ToolIndex([*order, *other]).search("duplicate", 3)) for order in (equal, equal[::-1])]
    assert found == [["copy.a", "copy.b", "copy.c"]] * 2


@pytest.mark.parametrize(
    "query",
    ["", " ", '"', "'", "NEAR(a b)", "name: bank", "bank*", "a AND", "NOT", "(", "^bank", "-bank", "bank OR", "{name}:x",
     "\0", "\ud800", "🦊", "ﷺ", "१२", "a\u0301", "'; DROP TABLE tools; --", "bank " * 200_000, "x" * 1_000_000, "銀行振込"],
    ids=lambda query: repr(query[:12]),
)  # fmt: skip
def test_whatever_is_asked_is_a_query_and_never_an_error(query: str) -> None:
    index = ToolIndex(TOOLS, embeddings=Concepts())
    assert len(index.search(query)) <= len(TOOLS)
    assert names(ToolIndex(TOOLS).search("transfer")) == ["bank_transfer"]
    if query.strip(" *^-(").startswith("bank"):
        assert names(ToolIndex(TOOLS).search(query))[0].startswith("bank")


@given(st.text(st.characters(codec=None), max_size=60), st.text(st.characters(codec=None), max_size=60))
def test_any_text_may_be_asked_and_any_text_may_describe_a_tool(query: str, description: str) -> None:
    index = ToolIndex([*TOOLS, tool("odd", description)])
    assert set(names(index.search(query))) <= {"odd", *(each.name for each in TOOLS)}


@pytest.mark.parametrize(
    "schema",
    [{}, {"properties": None}, {"properties": {"a": True, "b": None}}, {"properties": {"a": {"description": 7}}},
     {"properties": {"a": {"anyOf": "x", "items": 3}}}, {"$ref": "#"}, {"properties": {1: {}}}],
    ids=str,
)  # fmt: skip
def test_a_tool_with_an_odd_schema_is_found_by_its_name(schema: Any) -> None:
    assert names(ToolIndex([FakeTool(name="odd.one", description="", args_schema=schema)]).search("odd")) == ["odd.one"]


def test_a_schema_that_holds_itself_and_a_description_of_megabytes_are_read_up_to_a_limit() -> None:
    ring: dict[str, Any] = {"properties": {"ring": {}}}
    ring["properties"]["ring"] = ring
    index = ToolIndex([FakeTool(name="ring", args_schema=ring), tool("long", "word " * 500_000 + "treasure")])
    assert names(index.search("ring"))[0] == "ring"
    assert index.search("treasure") == []


def test_a_list_that_changes_is_taken_over_tool_by_tool() -> None:
    model = Concepts()
    index = ToolIndex(TOOLS, embeddings=model)
    index.search("car")
    learnt = len(model.asked)
    said_again = [tool("bank_balance", "What an account holds.", iban="The account number."), *TOOLS[:3]]
    assert index.update(said_again) == 1
    assert index.search("resize") and names(index.search("resize pictures", allowed=["photos.*"])) == []
    assert index.update([*TOOLS[:3], tool("bank_balance", "How much money is left.")]) == 1
    assert names(index.search("money"))[0] == "bank_balance"
    embedded = [text for text in model.asked[learnt:] if ":" in text]
    assert embedded == ["bank balance: How much money is left."]
    assert len(index) == 4


def test_ten_thousand_tools_are_taken_up_and_the_one_is_found() -> None:
    crowd = [tool(f"thing{n}.do", f"Do the thing number {n}.") for n in range(10_000)]
    index = ToolIndex([*crowd, tool("needle.thread", "Thread a needle.")])
    assert names(index.search("thread the needle"))[0] == "needle.thread"
    assert index.update([*crowd[1:], crowd[0]]) == 1


def test_several_threads_search_while_the_list_changes() -> None:
    index, found, faults = ToolIndex(TOOLS), list[str](), list[BaseException]()

    def work(number: int) -> None:
        try:
            for turn in range(30):
                index.update([*TOOLS, tool(f"extra{number}", f"Turn {turn}.")])
                found.extend(names(index.search("transfer")))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert faults == []
    assert found.count("bank_transfer") == 120


# -- meaning -------------------------------------------------------------------------------------------------------------


@pytest.mark.req("T7")
def test_with_embeddings_a_tool_is_found_that_shares_no_word_with_the_query() -> None:
    assert ToolIndex(TOOLS).search("a car") == []
    assert names(ToolIndex(TOOLS, embeddings=Concepts()).search("a car"))[0] == "vehicles.rent"


def test_words_decide_between_tools_of_like_meaning() -> None:
    found = names(ToolIndex(TOOLS, embeddings=Concepts()).search("bank: transfer"))
    assert found[:2] == ["bank_transfer", "bank_balance"]


def test_a_failing_model_leaves_the_search_by_words_says_so_without_secrets_and_is_left_alone_for_a_while() -> None:
    model = Concepts(fails=True)
    index = ToolIndex(TOOLS, embeddings=model)
    assert names(index.search("transfer")) == ["bank_transfer"]
    assert index.trouble == "the embedding model failed: ConnectionError"
    model.fails = False
    assert names(index.search("transfer")) == ["bank_transfer"]
    assert model.asked == []
    assert "left alone" in index.trouble


@pytest.mark.parametrize("answer", [[[]], [[float("nan")] * 4], [["x"]], [[1.0], [2.0]], None, [[[1.0]]]], ids=str)
def test_vectors_that_are_none_are_a_failure_of_the_model(answer: Any) -> None:
    model = Concepts()
    model.embed_documents = lambda texts: answer  # type: ignore[method-assign]
    index = ToolIndex(TOOLS[:1], embeddings=model)
    assert names(index.search("automobile")) == ["vehicles.rent"]
    assert index.trouble


def test_a_query_whose_vector_has_another_length_is_a_failure_of_the_model() -> None:
    model = Concepts()
    index = ToolIndex(TOOLS, embeddings=model)
    index.search("car")
    model.length = 5
    assert names(index.search("transfer")) == ["bank_transfer"]
    assert "UnfitVectors" in index.trouble


def test_vectors_are_kept_on_disk_and_asked_for_once_by_model(tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "embeddings.sqlite"

    def asked(model: Concepts, tools: list[FakeTool]) -> int:
        assert names(ToolIndex(tools, embeddings=model, cache=cache).search("car"))[0] == "vehicles.rent"
        return len(model.asked) - 1

    assert asked(Concepts(), TOOLS) == 5
    assert asked(Concepts(), TOOLS) == 0
    assert asked(Concepts(), [*TOOLS, tool("new", "New.")]) == 1
    assert asked(Concepts(model="another"), TOOLS) == 5
    assert asked(Concepts(model=None), TOOLS) == 5, "a model without a name may be any: nothing is kept for it"


@pytest.mark.parametrize("broken", ["text", "folder", "truncated"])
def test_a_file_of_vectors_that_cannot_be_used_is_as_good_as_none(broken: str, tmp_path: Path) -> None:
    cache = tmp_path / "embeddings.sqlite"
    if broken == "text":
        cache.write_text("not a database " * 100)
    elif broken == "folder":
        cache.mkdir()
    else:
        ToolIndex(TOOLS, embeddings=Concepts(), cache=cache).search("car")
        with sqlite3.connect(cache) as database:
            database.execute("UPDATE vectors SET vector = x'00112233445566'")
    index = ToolIndex(TOOLS, embeddings=Concepts(), cache=cache)
    assert names(index.search("car"))[0] == "vehicles.rent"
    assert index.trouble == ""


def test_the_fusion_keeps_the_better_of_two_rankings_when_the_other_says_nothing() -> None:
    meaning = {"a": 0.9, "b": 0.5, "c": 0.1}
    assert fused({}, {}) == {}
    assert fused({"a": 3.0, "b": 1.5}, {}) == {"a": 1.0, "b": 0.5}
    assert fused({}, meaning) == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})
    assert fused({"c": 7.0}, meaning)["a"] > fused({"c": 7.0}, meaning)["c"]
    shifted = {name: 0.7 + like / 10 for name, like in meaning.items()}
    assert fused({"b": 2.0}, meaning) == pytest.approx(fused({"b": 2.0}, shifted))
    assert fused({}, {"only": 0.3}) == {"only": 1.0}


# -- the doors -----------------------------------------------------------------------------------------------------------


@pytest.mark.req("X8")
def test_an_app_finds_built_in_and_own_tools_and_only_what_its_settings_allow() -> None:
    app = App(settings=Settings(), tools=tuple(TOOLS))
    assert names(app.search_tools("transfer an amount", 1)) == ["bank_transfer"]
    assert "text.search" in names(app.search_tools("find passages in text files"))
    strict = App(settings=Settings(tools=["text.*", "tools.search"]), tools=tuple(TOOLS))
    assert {name.split(".")[0] for name in names(strict.search_tools("transfer text from bank to file", 50))} == {
        "text"
    }


@pytest.mark.req("X8")
def test_a_workflow_searches_the_tools_that_it_may_call() -> None:
    spec = {
        "cogwork": "v1",
        "name": "finds",
        "input": {"wish": {"type": "string"}},
        "nodes": {"found": {"type": "tool", "tool": "tools.search", "args": {"query": "{{ input.wish }}", "k": 1}}},
        "output": "{{ found.tools }}",
    }
    graph = App(settings=Settings(), tools=tuple(TOOLS)).compile(spec)
    (found,) = asyncio.run(graph.ainvoke({"wish": "transfer an amount"}))["output"]
    assert (found["name"], found["effect"], found["args"]) == ("bank_transfer", "write", {"iban": "string?"})
    assert 0 < found["score"] <= 1


def test_the_tool_that_finds_tools_does_not_find_itself() -> None:
    app = App(settings=Settings(), tools=tuple(TOOLS))
    query = "find the tools by their names, descriptions and parameters"
    assert names(app.search_tools(query))[0] == "tools.search"
    searching: Any = app.services.tools.find("tools.search")
    found = asyncio.run(searching.call({"query": query, "k": 3}, CallContext(run="r", step="s", idempotency_key="k")))
    assert len(found["tools"]) == 3
    assert "tools.search" not in [each["name"] for each in found["tools"]]


def test_nodes_reach_the_search_through_their_services_and_among_the_tools_they_name() -> None:
    finder: ToolFinder | None = App(settings=Settings(), tools=tuple(TOOLS)).services.finder
    assert finder is not None
    assert finder.search("account", 5, ["bank_balance", "photos.resize"]) == ["bank_balance"]
    assert finder.search("transfer", 1) == ["bank_transfer"]


def test_an_app_takes_any_embeddings_and_keeps_their_vectors_in_its_state_folder(tmp_path: Path) -> None:
    app = App(settings=Settings(state_dir=tmp_path), tools=tuple(TOOLS), embeddings=Concepts())
    assert names(app.search_tools("a car", 1)) == ["vehicles.rent"]
    assert (tmp_path / "embeddings.sqlite").is_file()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(root.cli, list(words))


def test_the_command_finds_tools_for_people_and_for_programs(command: Any) -> None:
    shown = command("tools", "search", "commits of a git repository", "-n", "2")
    assert shown.exit_code == 0
    assert "git.log" in shown.stdout
    rows = json.loads(command("tools", "search", "commits of a git repository", "--json", "-n", "1").stdout)
    assert [row["name"] for row in rows] == ["git.log"]
    assert rows[0]["args"]["limit"] == "integer?"
    assert command("tools", "search", "zzzzqqq").stdout.strip() == "no tool has a word of that"
    assert json.loads(command("tools", "search", "zzzzqqq", "--json").stdout) == []
    assert "text.write" in command("tools").stdout


@pytest.mark.parametrize(
    ("embeddings", "said"), [("voyage:3", "There are no embeddings 'voyage:3'"), ("openai:x", "OPENAI_API_KEY")]
)
def test_embeddings_that_cannot_be_had_are_named(
    embeddings: str, said: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGWORK_EMBEDDINGS", embeddings)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    refused = command("tools", "search", "anything")
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_embeddings_come_from_any_service_that_speaks_openais_protocol(tmp_path: Path) -> None:
    asked = []

    async def embed(request: Request) -> JSONResponse:
        asked.append((request.headers["authorization"], await request.json()))
        vectors = Concepts().embed_documents(asked[-1][1]["input"])
        rows = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
        return JSONResponse(
            {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        )

    with serving(Starlette(routes=[Route("/v1/embeddings", embed, methods=["POST"])])) as port:
        chosen = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "canary-key"}
        settings = Settings(state_dir=tmp_path, embeddings="openai:concepts", tools=["vehicles.*", "bank_*"], **chosen)  # type: ignore[arg-type]
        app = App(settings=settings, tools=tuple(TOOLS))
        assert names(app.search_tools("a car", 1)) == ["vehicles.rent"]
    assert app.finder.trouble == ""
    assert [key for key, _ in asked] == ["Bearer canary-key"] * 2
    assert asked[0][1]["input"][0].startswith("bank balance: What"), "texts are sent, not tokens of another model"
    assert asked[0][1]["model"] == "concepts"


def test_the_list_of_tools_says_which_services_have_none(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGWORK_OPENAPI", json.dumps({"shop": {"document": "gone.yaml"}}))
    listed = command("tools", "--json")
    assert "The service shop has no tools: gone.yaml" in listed.stderr
    assert "text.write" in [row["name"] for row in json.loads(listed.stdout)]


def test_the_small_local_model_finds_what_no_word_says(tmp_path: Path) -> None:
    pytest.importorskip("wordllama", reason="cogwork[embeddings] is not installed")
    app = cogwork.App(settings=Settings(state_dir=tmp_path, embeddings="local"), tools=tuple(TOOLS))
    assert names(app.search_tools("hire a car for the holidays", 1)) == ["vehicles.rent"]
    assert names(app.search_tools("is it going to rain tomorrow?", 1)) == ["forecastByCity"]
    assert app.finder.trouble == ""
