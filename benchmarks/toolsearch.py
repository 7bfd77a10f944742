"""Tool search: how often the right tool is among the first, and what a query takes, by words, by meaning and by both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.figures import Table, median, verdict
from benchmarks.settings import Settings
from cogwork.tools.index import ToolIndex
from cogwork.tools.index.fusion import WORDS, fused
from cogwork.tools.index.lexical import Lexical
from cogwork.tools.index.wording import Wording, wording
from state.services import CallContext, Effect

PLACE: Final = ("tool_search", "metatool")
"""Of the public queries, beside the real graphs."""
SETS: Final = ("single", "multi")
BM25: Final = {"single": 0.463, "multi": 0.332}
"""Recall@5 of a plain BM25 on the same queries, which search by words must reach."""
MANY: Final = 4_000
MAX_SECONDS: Final = 5.0
"""For the index of so many tools."""
WEIGHTS: Final = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
Scores: TypeAlias = Mapping[str, float]
Ranker: TypeAlias = Callable[[str], Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A tool of which only the words are known."""

    name: str
    description: str
    args_schema: dict[str, Any]
    output_schema: dict[str, Any]
    effect: Effect = "read"
    idempotent: bool = True

    async def call(self, args: Mapping[str, Any], context: CallContext) -> Any:
        """Nothing can be called."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody wants, and the tools that do it."""

    text: str
    gold: tuple[str, ...]


async def toolsearch(settings: Settings) -> list[Table]:
    """Recall and time on public queries; how the weight of words was chosen; the time to index many tools."""
    settings.tell("toolsearch")
    table = Table(
        name="toolsearch",
        title="tool search",
        columns=("set", "by", "queries", "recall@1", "recall@5", "ms per query", "recall@5 wanted", "met"),
    )
    folder = settings.data.parent.joinpath(*PLACE)
    if not folder.is_dir():
        table.notes.append(f"skipped: the public queries are not at {folder}")
        return [table, _indexing()]
    tools, queries = tools_of(folder), {name: queries_of(folder, name) for name in SETS}
    by_words, by_meaning = words_ranker(tools), meaning_ranker(tools)
    if by_meaning is None:
        table.notes.append("skipped: search by meaning, as cogwork[embeddings] is not installed")
    for name in SETS:
        _measure(table, name, queries[name], by_words, by_meaning)
    chosen = [] if by_meaning is None else [_choice(queries, by_words, by_meaning)]
    return [table, *chosen, _indexing()]


def tools_of(folder: Path) -> list[Described]:
    """The tools of the public set."""
    rows = map(json.loads, (folder / "tools.jsonl").read_text(encoding="utf-8").splitlines())
    return [_described(row["name"], row["description"]) for row in rows]


def queries_of(folder: Path, name: str) -> list[Query]:
    """The queries of one of its sets."""
    rows = map(json.loads, (folder / f"queries_{name}.jsonl").read_text(encoding="utf-8").splitlines())
    return [Query(row["query"], tuple(row["gold"])) for row in rows]


def words_ranker(tools: Sequence[Described]) -> Ranker:
    """Scores by words."""
    lexical = Lexical()
    lexical.change((), _wordings(tools))
    return lexical.scores


def meaning_ranker(tools: Sequence[Described]) -> Ranker | None:
    """Scores by meaning, of the small local model; None where it is not installed."""
    try:
        from cogwork.models.wordllama import LocalEmbeddings
        from cogwork.tools.index.meaning import Meaning
    except ImportError:
        return None
    meaning = Meaning(LocalEmbeddings())
    meaning.change((), _wordings(tools))
    return meaning.scores


def recall(found: Sequence[Sequence[str]], queries: Sequence[Query], k: int) -> float:
    """The mean share of the right tools that is among the first ``k`` found."""
    shares = [
        sum(name in names[:k] for name in query.gold) / len(query.gold)
        for names, query in zip(found, queries, strict=True)
    ]
    return sum(shares) / len(shares)


def ranked(scores: Scores) -> list[str]:
    """The first names, those of one score by name."""
    return sorted(scores, key=lambda name: (-round(scores[name], 9), name))[:5]


def _measure(table: Table, name: str, queries: list[Query], by_words: Ranker, by_meaning: Ranker | None) -> None:
    subjects = {"words": by_words}
    if by_meaning is not None:
        meaning = by_meaning
        subjects |= {"meaning": meaning, "both": lambda text: fused(by_words(text), meaning(text))}
    best = 0.0
    for subject, ranker in subjects.items():
        found, took = [], []
        for query in queries:
            start = time.perf_counter()
            found.append(ranked(ranker(query.text)))
            took.append(time.perf_counter() - start)
        at_1, at_5 = recall(found, queries, 1), recall(found, queries, 5)
        wanted = {"words": BM25[name], "both": best}.get(subject)
        met = verdict(at_5 >= wanted) if wanted is not None else None
        table.rows.append((name, subject, len(queries), at_1, at_5, median(took) * 1000, wanted, met))
        best = max(best, at_5)


def _choice(queries: Mapping[str, list[Query]], by_words: Ranker, by_meaning: Ranker) -> Table:
    """Recall for each weight of words, on the half of the queries that it was chosen on and on the other half."""
    table = Table(
        name="toolsearch_weight",
        title="tool search: the weight of words beside meaning",
        columns=("weight", *(f"{name} @{k} {half}" for half in ("chosen", "other") for name in SETS for k in (1, 5))),
        notes=[f"in use: {WORDS}; chosen on the queries at even places, the other half was looked at afterwards"],
    )
    halves = [(queries[name][half::2]) for half in (0, 1) for name in SETS]
    scored = [[(by_words(q.text), by_meaning(q.text)) for q in half] for half in halves]
    for weight in WEIGHTS:
        row: list[float] = [weight]
        for half, pairs in zip(halves, scored, strict=True):
            found = [ranked(fused(words, meaning, weight=weight)) for words, meaning in pairs]
            row += [recall(found, half, 1), recall(found, half, 5)]
        table.rows.append(tuple(row))
    return table


def many(count: int) -> list[Described]:
    """So many made-up tools with parameters."""
    verbs = ("list", "read", "create", "update", "delete", "search", "export", "merge", "count", "archive")
    things = ("invoice", "customer", "ticket", "branch", "calendar", "report", "sensor", "payment", "photo", "server")
    made = []
    for number in range(count):
        verb, thing = verbs[number % 10], things[number // 10 % 10]
        text = f"{verb.title()} the {thing} records of region {number // 100}, with their history and all attachments."
        made.append(_described(f"{thing}s.{verb}_{number}", text, ("region", "since", "limit", f"{thing}_id")))
    return made


def _indexing() -> Table:
    table = Table(name="toolsearch_index", title="tool search: the index", columns=("what", "seconds", "limit", "met"))
    tools = many(MANY)
    start = time.perf_counter()
    index = ToolIndex(tools)
    took = time.perf_counter() - start
    table.rows.append((f"index {MANY} tools, by words", took, MAX_SECONDS, verdict(took <= MAX_SECONDS)))
    start = time.perf_counter()
    index.update([*tools[1:], _described("new.tool", "Something new.")])
    table.rows.append(("take over a list in which two differ", time.perf_counter() - start, None, None))
    start = time.perf_counter()
    index.search("archive the sensor records of region 7")
    table.rows.append(("one search", time.perf_counter() - start, None, None))
    if (ranker := _timed_meaning(tools)) is not None:
        table.rows.append(ranker)
    return table


def _timed_meaning(tools: Sequence[Described]) -> tuple[str, float, None, None] | None:
    start = time.perf_counter()
    if meaning_ranker(tools) is None:
        return None
    return (f"embed {MANY} tools, with loading the model", time.perf_counter() - start, None, None)


def _wordings(tools: Sequence[Described]) -> dict[str, Wording]:
    return {tool.name: wording(tool) for tool in tools}


def _described(name: str, description: str, parameters: Sequence[str] = ()) -> Described:
    schema = {"type": "object", "properties": {each: {"type": "string"} for each in parameters}}
    return Described(name=name, description=description, args_schema=schema, output_schema={})
