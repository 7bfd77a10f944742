"""On public queries, search by words is at least as good as plain BM25, and both together as the better of the two."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.settings import Settings
from benchmarks.toolsearch import (
    BM25,
    PLACE,
    SETS,
    many,
    meaning_ranker,
    queries_of,
    ranked,
    recall,
    tools_of,
    toolsearch,
    words_ranker,
)
from cogwork.tools.index.fusion import fused

FOLDER = Settings().data.parent.joinpath(*PLACE)
needs_data = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public queries are not at {FOLDER}")


@needs_data
@pytest.mark.req("T7")
@pytest.mark.parametrize("name", SETS)
def test_words_find_at_least_what_plain_bm25_finds(name: str) -> None:
    ranker, queries = words_ranker(tools_of(FOLDER)), queries_of(FOLDER, name)
    assert recall([ranked(ranker(query.text)) for query in queries], queries, 5) >= BM25[name]


@needs_data
@pytest.mark.req("T7")
@pytest.mark.parametrize("name", SETS)
def test_both_together_find_at_least_what_the_better_one_finds(name: str) -> None:
    tools, queries = tools_of(FOLDER), queries_of(FOLDER, name)
    words, meaning = words_ranker(tools), meaning_ranker(tools)
    if meaning is None:
        pytest.skip("cogwork[embeddings] is not installed")
    scores = [(words(query.text), meaning(query.text)) for query in queries]
    for k in (1, 5):
        parts = [recall([ranked(pair[part]) for pair in scores], queries, k) for part in (0, 1)]
        assert recall([ranked(fused(*pair)) for pair in scores], queries, k) >= max(parts)


async def test_without_the_queries_the_benchmark_says_so_and_still_measures_the_index(tmp_path: Path) -> None:
    first, *_, index = await toolsearch(Settings(data=tmp_path / "workflow_dags"))
    assert not first.rows
    assert "skipped" in first.notes[0]
    assert index.rows[0][0] == "index 4000 tools, by words"


def test_the_made_up_tools_all_differ() -> None:
    texts = sorted(each.name for each in many(500))
    assert all(one != other for one, other in pairwise(texts))
