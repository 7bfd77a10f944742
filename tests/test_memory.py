"""Long-term memory in LangGraph's store, on SQLite and PostgreSQL: kept once, found by words and meaning, forgotten for good."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import BaseStore, GetOp, PutOp, SearchOp

from cogwork.errors import EngineError
from cogwork.sessions.entries import MAX_CONTENT, TYPES, Entry, Place, score
from cogwork.sessions.memory import Memory
from cogwork.sessions.store import MemoryStore, memory_store
from tests.clusters import schema
from tests.talks import DATABASES, Clock, Meanings, Talks, talks_on
from tests.test_sessions import refused

pytestmark = pytest.mark.req("X9")


@pytest.fixture(params=DATABASES)
def talks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Talks]:
    with talks_on(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(talks: Talks) -> Iterator[MemoryStore]:
    made = talks.store()
    yield made
    made.close()


@pytest.fixture
def memory(talks: Talks, store: MemoryStore) -> Memory:
    return talks.memory(store)


async def found(memory: Memory, query: str, **asked: object) -> list[str]:
    return [entry.content for entry in await memory.search(query, **asked)]  # type: ignore[arg-type]


# -- entries -------------------------------------------------------------------------------------------------------


async def test_an_entry_has_what_it_was_added_with(talks: Talks, memory: Memory) -> None:
    made = await memory.add(
        " Ana ships on Fridays. ", type="procedural", tags=["Ship", "ship"], relevance=0.9, source="chat"
    )
    assert (made.content, made.type, made.tags, made.relevance) == (
        "Ana ships on Fridays.",
        "procedural",
        ("ship",),
        0.9,
    )
    assert (made.source, made.created_at, made.level) == ("chat", talks.clock(), "user")
    assert await memory.get(made.id) == made
    assert isinstance(memory.store, BaseStore)


async def test_equal_contents_are_one_entry_with_the_tags_of_both(talks: Talks, memory: Memory) -> None:
    first = await memory.add("Ana likes blue.", tags=["colour"])
    talks.clock.pass_by(days=3)
    again = await memory.add("ana  likes BLUE.", tags=["taste"], type="preference")
    assert (again.id, again.content, again.tags) == (first.id, "Ana likes blue.", ("colour", "taste"))
    assert (again.created_at, again.updated_at, again.type) == (first.created_at, talks.clock(), "preference")
    assert await memory.entries() == (again,)


async def test_an_updated_entry_keeps_its_id_and_its_old_content_may_be_added_anew(memory: Memory) -> None:
    first = await memory.add("The office is in Bern.")
    changed = await memory.update(first.id, content="The office is in Basel.", relevance=1.0)
    assert (changed.id, changed.relevance) == (first.id, 1.0)
    assert (await memory.add("The office is in Basel.")).id == first.id
    old = await memory.add("The office is in Bern.")
    assert old.id != first.id
    assert (await refused(memory.update(old.id, content="the office is in basel."))).code == "conflict"
    assert len(await memory.entries()) == 2


async def test_what_is_forgotten_is_gone_with_what_was_counted(memory: Memory) -> None:
    made = await memory.add("The code is 1234.")
    assert await found(memory, "code") == ["The code is 1234."]
    await memory.forget(made.id)
    assert await found(memory, "code") == []
    error = await refused(memory.get(made.id))
    assert error.code == "memory_not_found"
    assert (await memory.add("The code is 1234.")).uses == 0


async def test_unknown_ids_are_refused_with_the_nearest(memory: Memory) -> None:
    made = await memory.add("Something.")
    assert (await refused(memory.forget(made.id[:-1]))).details["suggestions"] == [made.id]
    assert (await refused(memory.get("a\0b"))).code == "memory_not_found"


async def test_each_user_session_and_project_has_a_memory_of_its_own(talks: Talks, store: MemoryStore) -> None:
    places = [
        Place(user="ana"),
        Place(user="ana.b"),
        Place(user="ANA"),
        Place(user="ana", session="s"),
        Place(user="ana", project="p"),
        Place(session="s"),
        Place(user="session", session="s-s"),
    ]
    for number, place in enumerate(places):
        memory = talks.memory(store, place)
        await memory.add(f"Secret {number}.", level=place.levels()[-1])
    seen = [sorted(await found(talks.memory(store, place), "secret")) for place in places]
    assert seen == [
        ["Secret 0."],
        ["Secret 1."],
        ["Secret 2."],
        ["Secret 0.", "Secret 3."],
        ["Secret 0.", "Secret 4."],
        ["Secret 5."],
        ["Secret 6."],
    ]
    assert await talks.memory(store, places[3]).clear("session") == 1
    assert await found(talks.memory(store, places[3]), "secret") == ["Secret 0."]
    assert await found(talks.memory(store, places[5]), "secret") == ["Secret 5."]
    assert (await refused(talks.memory(store, Place()).add("x"))).code == "invalid_input"
    assert (await refused(talks.memory(store, places[0]).add("x", level="project"))).code == "invalid_input"


async def test_memory_is_bounded_and_says_so(talks: Talks, store: MemoryStore) -> None:
    small = Memory(store, Place(user="ana"), now=talks.clock, max_entries=2)
    await small.add("One.")
    await small.add("Two.")
    error = await refused(small.add("Three."))
    assert (error.code, "forget some first" in error.message) == ("conflict", True)
    assert (await small.add("two.")).content == "Two."


@pytest.mark.parametrize(
    "unfit",
    [
        {"content": ""},
        {"content": "x" * (MAX_CONTENT + 1)},
        {"content": 5},
        {"type": "rumour"},
        {"relevance": 1.1},
        {"relevance": float("nan")},
        {"tags": [""]},
        {"tags": ["x" * 65]},
        {"tags": [f"t{n}" for n in range(33)]},
    ],
    ids=lambda unfit: str(unfit)[:40],
)
async def test_what_does_not_fit_is_refused(unfit: dict[str, object], tmp_path: Path) -> None:
    with talks_on("sqlite", tmp_path) as talks:
        store = talks.store()
        error = await refused(talks.memory(store).add(**{"content": "x", **unfit}))  # type: ignore[arg-type]
        assert error.code == "invalid_input"
        assert (await refused(talks.memory(store).search("x", limit=0))).code == "invalid_input"
        store.close()


async def test_odd_characters_come_back_or_are_shown_as_missing(memory: Memory) -> None:
    made = await memory.add("a\0b \ud800 {{ input.x }} 😀", source="\0", tags=["ü"])
    assert (await memory.get(made.id)).content == "a\ufffdb \ufffd {{ input.x }} 😀"
    assert await found(memory, "{{ input.x }} OR NEAR(") == [made.content]


async def test_what_others_have_written_into_the_store_is_passed_over(talks: Talks, memory: Memory) -> None:
    await memory.add("A real one.")
    junk = [{"content": "real"}, {"type": "factual", "content": 5}, {"type": "x", "content": "real", "tags": 3}]
    await memory.store.abatch([PutOp(("memory", "u-ana", "all"), f"junk{n}", value) for n, value in enumerate(junk)])
    assert await found(memory, "real") == ["A real one."]
    assert len(await memory.entries()) == 1


# -- finding -------------------------------------------------------------------------------------------------------


async def test_words_of_any_form_find_an_entry_and_types_and_tags_choose(memory: Memory) -> None:
    await memory.add("Invoices are shipped by post.", type="procedural", tags=["post", "money"])
    await memory.add("Ana met the supplier of parcels.", type="episodic", tags=["post"])
    await memory.add("Ana's cat is called Tom.")
    assert await found(memory, "shipping an invoice") == ["Invoices are shipped by post."]
    assert await found(memory, "ana", types=["episodic"]) == ["Ana met the supplier of parcels."]
    assert await found(memory, "post", tags=["POST", "money"]) == ["Invoices are shipped by post."]
    assert await found(memory, "supplier cat invoices", limit=2) != []
    assert len(await memory.search("supplier cat invoices", limit=2)) == 2
    assert await found(memory, "zebra") == []
    assert await found(memory, "") == []
    assert [e.content for e in await memory.entries(tags=["money"])] == ["Invoices are shipped by post."]


async def test_of_equally_fitting_entries_the_newer_the_more_used_and_the_more_relevant_come_first(
    talks: Talks, memory: Memory
) -> None:
    await memory.add("Plan alpha.", type="episodic")
    talks.clock.pass_by(days=60)
    await memory.add("Plan beta.", type="episodic")
    assert await found(memory, "plan", count=False) == ["Plan beta.", "Plan alpha."]
    weighty = await memory.add("Plan gamma.", type="episodic", relevance=1.0)
    assert (await found(memory, "plan", count=False))[0] == "Plan gamma."
    await memory.update(weighty.id, relevance=0.5)
    for _ in range(3):
        await memory.search("gamma")
    assert (await found(memory, "plan", count=False))[0] == "Plan gamma."
    used = await memory.get(weighty.id)
    assert (used.uses, used.used_at) == (3, talks.clock())
    assert (await memory.search("plan", at_least=0.4, count=False))[0].id == weighty.id
    assert await memory.search("plan", at_least=0.99) == ()


ENTRY = Entry(
    id="e",
    level="user",
    type="factual",
    content="x",
    tags=(),
    relevance=0.5,
    source="",
    created_at=Clock().at,
    updated_at=Clock().at,
)


@given(
    st.floats(-2, 2),
    st.sampled_from(TYPES),
    st.floats(0, 1),
    st.integers(0, 10_000),
    st.floats(0, 5000),
    st.floats(0, 500),
)
def test_a_score_is_from_0_to_1_and_falls_with_age_and_rises_with_use(
    similarity: float, kind: str, relevance: float, uses: int, days: float, more: float
) -> None:
    clock = Clock()
    entry = replace(ENTRY, type=kind, relevance=relevance, uses=uses)  # type: ignore[arg-type]
    clock.pass_by(days=days)
    now = score(entry, similarity, clock())
    assert 0 <= now <= 1
    assert score(replace(entry, uses=uses + 1), similarity, clock()) >= now
    clock.pass_by(days=more)
    assert score(entry, similarity, clock()) <= now


# -- meaning -------------------------------------------------------------------------------------------------------


async def test_with_a_model_entries_are_found_by_what_they_mean_and_each_is_embedded_once(
    talks: Talks, store: MemoryStore
) -> None:
    model = Meanings()
    memory = Memory(store, Place(user="ana", session="s"), now=talks.clock, embeddings=model)
    await memory.add("The parcel went out.")
    await memory.add("A dog barked.", level="session")
    for _ in range(2):
        assert await found(memory, "when do we ship?", at_least=0.2) == ["The parcel went out."]
        assert await found(memory, "cats", at_least=0.2) == ["A dog barked."]
    assert [text for text in model.asked if "parcel" in text or "dog" in text] == [
        "The parcel went out.",
        "A dog barked.",
    ]
    assert memory.trouble == ""


async def test_the_vector_of_what_is_forgotten_or_changed_is_gone_too(talks: Talks, store: MemoryStore) -> None:
    memory = Memory(store, Place(user="ana"), now=talks.clock, embeddings=Meanings())
    made = await memory.add("The parcel went out.")
    await memory.search("ship")
    await memory.update(made.id, content="A dog barked.")
    assert await found(memory, "cats", at_least=0.2) == ["A dog barked."]
    assert await found(memory, "ship", at_least=0.2) == []
    (vectors,) = await store.abatch([SearchOp(("memory_vectors",))])
    assert len(vectors) == 1  # type: ignore[arg-type]
    await memory.forget(made.id)
    assert await store.abatch([SearchOp(())]) == [[]]


async def test_a_model_that_fails_leaves_words_and_another_model_makes_vectors_of_its_own(
    talks: Talks, store: MemoryStore
) -> None:
    model, other = Meanings(), Meanings()
    memory = Memory(store, Place(user="ana"), now=talks.clock, embeddings=model)
    await memory.add("The parcel went out.")
    await memory.search("ship")
    model.fails = True
    assert await found(memory, "parcel") == ["The parcel went out."]
    assert await found(memory, "ship") == []
    assert memory.trouble == "the model of its vectors failed: nobody answers"
    other.model = "other"
    again = Memory(store, Place(user="ana"), now=talks.clock, embeddings=other)
    assert await found(again, "ship", at_least=0.2) == ["The parcel went out."]
    assert "The parcel went out." in other.asked


# -- the store -----------------------------------------------------------------------------------------------------


async def test_writers_in_threads_and_loops_of_their_own_lose_nothing(talks: Talks, store: MemoryStore) -> None:
    def write(name: str) -> None:
        async def every() -> None:
            memory = talks.memory(store)
            for number in range(10):
                await memory.add(f"{name} {number}")
                await memory.add(f"Both say {number}")

        asyncio.run(every())

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    await asyncio.to_thread(lambda: [each.join() for each in threads])
    said = sorted(entry.content for entry in await talks.memory(store).entries(limit=200))
    assert said == sorted([f"{name} {n}" for name in ("a", "b", "Both say") for n in range(10)])


def add_from_a_process(path: Path, url: str | None, name: str, gate: multiprocessing.synchronize.Barrier) -> None:
    """Open the store and add to it, together with others."""

    async def every() -> None:
        gate.wait()
        store = memory_store(path, url)
        memory = Memory(store, Place(user="ana"))
        for number in range(15):
            await memory.add(f"{name} {number}")
        store.close()

    asyncio.run(every())


@pytest.mark.parametrize("database", DATABASES)
def test_processes_that_open_a_new_store_at_once_all_write_to_it(database: str, tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")

    def together(url: str | None) -> None:
        gate = spawning.Barrier(3)
        path = tmp_path / "memory.sqlite"
        others = [spawning.Process(target=add_from_a_process, args=(path, url, name, gate)) for name in "abc"]
        for each in others:
            each.start()
        for each in others:
            each.join(120)
        assert [each.exitcode for each in others] == [0, 0, 0]
        store = memory_store(path, url)
        assert len(asyncio.run(Memory(store, Place(user="ana")).entries(limit=200))) == 45
        store.close()

    if database == "postgresql":
        with schema() as url:
            together(url)
    else:
        together(None)


def test_a_batch_that_fails_writes_nothing(talks: Talks, store: MemoryStore) -> None:
    good = PutOp(("memory", "x"), "k", {"content": "kept?"})
    bad = PutOp(("memory", "x"), "\ud800", {"content": "half a character"})
    with pytest.raises((EngineError, UnicodeError)):
        store.batch([good, bad])
    assert store.batch([GetOp(("memory", "x"), "k")]) == [None]
    assert store.batch([SearchOp(("memory",))]) == [[]]


@pytest.mark.parametrize("content", [b"not a database at all, but quite long for one" * 50, None])
def test_a_file_that_is_no_store_is_an_error_that_names_it(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(content) if content is not None else path.mkdir()
    with pytest.raises(EngineError, match=r"memory.sqlite cannot be used") as caught:
        memory_store(path)
    assert caught.value.code == "database_error"


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(EngineError) as caught:
        memory_store("unused", "postgresql://ana:hush@:::")
    assert (caught.value.code, "hush" in str(caught.value)) == ("database_error", False)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "update", "forget"]), st.integers(0, 5), st.integers(0, 5)), max_size=20)
)
def test_whatever_is_done_contents_stay_different_and_ids_stay_findable(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, int]]
) -> None:
    async def play(talks: Talks, store: MemoryStore) -> None:
        memory, expected = talks.memory(store), dict[str, str]()
        for verb, content, which in moves:
            text, ids = f"Fact {content}", sorted(expected)
            if verb == "add":
                expected[(await memory.add(text)).id] = text
            elif ids and verb == "forget":
                await memory.forget(ids[which % len(ids)])
                del expected[ids[which % len(ids)]]
            elif ids:
                chosen = ids[which % len(ids)]
                if text in (said for key, said in expected.items() if key != chosen):
                    assert (await refused(memory.update(chosen, content=text))).code == "conflict"
                else:
                    await memory.update(chosen, content=text)
                    expected[chosen] = text
            assert {entry.id: entry.content for entry in await memory.entries()} == expected
            assert len(set(expected.values())) == len(expected)

    with talks_on("sqlite", tmp_path_factory.mktemp("talks")) as talks:
        store = talks.store()
        asyncio.run(play(talks, store))
        store.close()
