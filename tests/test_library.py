"""The library: versions that never change, labels that move, who uses what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cogwork.errors import EngineError
from cogwork.library import Library
from cogwork.library.pinned import compiled
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.library import VERSIONS
from cogwork.records.tables.payloads import PAYLOADS
from state.errors import SpecError
from tests.libraries import DATABASES, START, flow, library_on, records_on

STEPS = [{"id": "plan", "agent_id": "planner", "input_mapping": {"request": "${input.request}"}}]
AGENTS = {"planner": {"instructions": "Plan it."}}


@pytest.fixture(params=DATABASES)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    """A library on each of the databases."""
    with records_on(request.param, tmp_path) as records:
        yield library_on(records, tmp_path)


async def refused(code: str, call: Any) -> EngineError:
    """The error with that code that the call raises."""
    with pytest.raises(EngineError) as caught:
        await call
    assert caught.value.code == code
    return caught.value


async def output(library: Library, name: str, **given: Any) -> Any:
    """The output of a run of a published version."""
    return (await compiled(library.house, await library.bundle(name)).ainvoke(given))["output"]


@pytest.mark.req("E1")
async def test_a_title_becomes_a_free_name_and_is_kept(library: Library) -> None:
    made = [
        await library.create(
            {"name": "Feature Implementation Workflow", "agents": AGENTS, "steps": STEPS}, tags=["feature"]
        )
        for _ in range(2)
    ]
    assert [each.name for each in made] == ["feature_implementation_workflow", "feature_implementation_workflow_2"]
    assert {each.title for each in made} == {"Feature Implementation Workflow"}
    assert (await library.get(made[1].id)) == await library.get(made[1].name)
    assert made[0].tags == ("feature",)
    assert made[0].version == 1


@pytest.mark.req("E1")
async def test_a_name_that_is_taken_is_a_conflict_and_an_unknown_one_has_suggestions(library: Library) -> None:
    await library.create(flow("invoices"))
    assert "update it" in str(await refused("conflict", library.create(flow("invoices"))))
    assert (await refused("workflow_not_found", library.get("invoces"))).details["suggestions"] == ["invoices"]


@pytest.mark.req("E1")
async def test_a_workflow_with_faults_is_not_published_and_all_are_told(library: Library) -> None:
    bad = flow(nodes={"a": {"type": "transform", "set": "{{ nowhere.x }}"}, "b": {"type": "tool", "tool": "no.such"}})
    with pytest.raises(SpecError) as caught:
        await library.create(bad)
    assert len(caught.value.problems) >= 2
    assert len(await library.list()) == 0


@pytest.mark.req("M10")
async def test_an_update_makes_a_version_and_equal_content_makes_none(library: Library) -> None:
    await library.create(flow(value=1))
    assert (await library.update("flow", flow(value=1))).newest == 1
    assert (await library.update("flow", flow(value=2), note="two", author="ann")).version == 2
    described = await library.update(
        "flow", updates={"description": "Doubles.", "tags": ["math"], "metadata": {"team": 1}}
    )
    assert (described.version, described.description, described.tags, described.metadata) == (
        3,
        "Doubles.",
        ("math",),
        {"team": 1},
    )
    assert (await library.update("flow", updates={"description": "Doubles."})).newest == 3
    found = await library.versions("flow")
    assert [(each.version, each.note, each.author) for each in found] == [(3, "", ""), (2, "two", "ann"), (1, "", "")]
    assert await output(library, "flow@1") == {"value": 1}
    assert await output(library, "flow") == {"value": 2}


@pytest.mark.req("E1")
async def test_updates_of_steps_and_a_new_title_make_a_version_under_another_name(library: Library) -> None:
    made = await library.create({"name": "Feature Work", "agents": AGENTS, "steps": STEPS})
    more = [*STEPS, {"id": "check", "agent_id": "planner", "depends_on": ["plan"]}]
    changed = await library.update(made.id, updates={"name": "Better Feature Work", "steps": more, "agents": AGENTS})
    assert (changed.name, changed.title, changed.version) == ("better_feature_work", "Better Feature Work", 2)
    await refused("workflow_not_found", library.get("feature_work"))
    assert set((await library.bundle(changed.id)).workflow.spec.nodes) == {"plan", "check"}


@pytest.mark.req("M10")
async def test_versions_are_found_by_number_label_and_name_at_which(library: Library) -> None:
    await library.create(flow(value=1))
    await library.update("flow", flow(value=2))
    await library.label("flow", "prod", 1)
    for name, which, number in (("flow", None, 2), ("flow", 1, 1), ("flow@1", None, 1), ("flow@prod", None, 1)):
        assert (await library.version(name, which)).version == number
    assert (await library.version("flow@prod")).labels == ("prod",)
    missing = await refused("version_not_found", library.version("flow@9"))
    assert "versions 1 to 2" in str(missing)
    await refused("version_not_found", library.version("flow", "canary"))
    await refused("invalid_input", library.label("flow", "9lives", 1))
    await refused("invalid_input", library.label("flow", "latest", 1))


@pytest.mark.req("M10")
async def test_rolling_back_moves_the_label_and_the_next_version_has_the_next_number(library: Library) -> None:
    await library.create(flow(value=1, description="first"))
    await library.update("flow", flow(value=2, description="second"))
    back = await library.rollback("flow", 1, author="bea")
    assert (back.version, back.newest, back.description) == (1, 2, "first")
    assert await output(library, "flow") == {"value": 1}
    assert (await library.update("flow", flow(value=3))).version == 3
    moves = [(each.label, each.before, each.after, each.author) for each in await library.label_moves("flow")]
    assert moves == [("latest", None, 1, ""), ("latest", 1, 2, ""), ("latest", 2, 1, "bea"), ("latest", 1, 3, "")]


@pytest.mark.req("M10")
async def test_of_two_updates_at_once_both_are_versions_and_with_an_expected_version_one_is_refused(
    library: Library,
) -> None:
    await library.create(flow(value=0))
    both = await asyncio.gather(*(library.update("flow", flow(value=n)) for n in (1, 2)))
    assert sorted(each.newest for each in both) == [2, 3]
    again = await asyncio.gather(
        *(library.update("flow", flow(value=n), expected_version=3) for n in (4, 5)), return_exceptions=True
    )
    lost = [each for each in again if isinstance(each, EngineError)]
    assert [each.code for each in lost] == ["conflict"]
    assert (await library.get("flow")).newest == 4


@pytest.mark.req("M10")
async def test_changes_of_what_a_workflow_is_called_are_joined_when_two_come_at_once(library: Library) -> None:
    await library.create(flow())
    await asyncio.gather(
        library.update("flow", updates={"description": "said"}),
        library.update("flow", updates={"tags": ["tagged"]}),
        library.update("flow", updates={"metadata": {"by": "three"}}),
    )
    found = await library.get("flow")
    assert (found.description, found.tags, found.metadata, found.version) == ("said", ("tagged",), {"by": "three"}, 4)


@pytest.mark.req("E1")
async def test_of_two_that_create_one_name_at_once_one_wins(library: Library) -> None:
    both = await asyncio.gather(*(library.create(flow(value=n)) for n in (1, 2)), return_exceptions=True)
    assert [each.code for each in both if isinstance(each, EngineError)] == ["conflict"]
    assert len(await library.list()) == 1


@pytest.mark.req("M10", "E8")
async def test_a_version_runs_what_it_was_published_with_whatever_becomes_of_that(library: Library) -> None:
    inner = {"input": {"x": "integer"}}
    await library.create(flow("inner", "{{ input.x + 1 }}", **inner))
    uses = {
        "used": {"use": "inner", "with": {"x": 1}},
        "called": {"type": "tool", "tool": "workflow.inner", "args": {"x": 1}},
    }
    await library.create(flow("outer", nodes=uses))
    await library.update("inner", flow("inner", "{{ input.x + 100 }}", **inner))
    assert await output(library, "outer") == {"used": {"value": 2}, "called": {"value": 2}}
    await library.update("outer", updates={"description": "the same work"})
    assert await output(library, "outer") == {"used": {"value": 2}, "called": {"value": 2}}
    assert (await library.update("outer", flow("outer", nodes=uses))).version == 3
    assert await output(library, "outer") == {"used": {"value": 101}, "called": {"value": 101}}
    await library.delete("inner", force=True)
    assert await output(library, "outer@1") == {"used": {"value": 2}, "called": {"value": 2}}


@pytest.mark.req("M10")
async def test_use_may_name_a_label_and_the_version_then_is_pinned(library: Library) -> None:
    await library.create(flow("inner", 1))
    await library.label("inner", "prod", 1)
    await library.update("inner", flow("inner", 2))
    await library.create(flow("outer", nodes={"a": {"use": "inner@prod"}}))
    assert await output(library, "outer") == {"value": 1}


@pytest.mark.req("E8")
async def test_a_bundle_gives_what_the_app_compiles_and_its_digest_is_that_of_the_version(library: Library) -> None:
    await library.create(flow("inner", 7))
    await library.create(flow("outer", nodes={"a": {"use": "inner"}, "b": {"use": "inner"}}))
    workflow, resolve = await library.bundle("outer")
    graph = library.house.compile(workflow, resolve=resolve)  # type: ignore[attr-defined]
    version = await library.version("outer")
    assert graph.digest == version.digest
    assert await library.of_digest(graph.digest) == version
    assert (await graph.ainvoke({}))["output"] == {"a": {"value": 7}, "b": {"value": 7}}


@pytest.mark.req("M10", "E8")
@pytest.mark.parametrize("what", ["bytes", "digest", "gone"])
async def test_an_altered_version_is_told_and_not_run(library: Library, what: str) -> None:
    await library.create(flow())
    payload = (await library.version("flow")).payload

    def alter(connection: sa.Connection) -> None:
        mine = PAYLOADS.c.digest == payload
        if what == "bytes":
            connection.execute(sa.update(PAYLOADS).where(mine).values(data=b'{"documents":[]}', encoding="json"))
        elif what == "gone":
            connection.execute(sa.delete(PAYLOADS).where(mine))
        else:
            connection.execute(sa.update(VERSIONS).values(digest="0" * 64))

    await library.records.writing(alter)
    told = {"bytes": "altered", "digest": "was altered", "gone": "is gone"}
    assert told[what] in str(await refused("database_error", library.bundle("flow")))


@pytest.mark.req("E8")
async def test_uses_and_users_tell_of_what_is_used_directly_and_through_others(library: Library) -> None:
    ask = {
        "type": "llm",
        "prompt": "Say it.",
        "model": "offline",
        "mode": "coding",
        "agent": "ann",
        "tools": ["text.search"],
    }
    await library.create(flow("base", nodes={"a": ask}, agents={"ann": {"instructions": "x"}}))
    await library.create(flow("middle", nodes={"m": {"use": "base"}}))
    await library.create(flow("top", nodes={"t": {"type": "tool", "tool": "workflow.middle"}}, mode="planning"))
    told = {(each.kind, each.name): each.depth for each in await library.uses("top")}
    assert told == {
        ("mode", "planning"): 1,
        ("tool", "workflow.middle"): 1,
        ("workflow", "middle"): 1,
        ("workflow", "base"): 2,
        ("agent", "ann"): 3,
        ("mode", "coding"): 3,
        ("model", "offline"): 3,
        ("tool", "text.search"): 3,
    }
    users = [(each.workflow, each.depth) for each in await library.users("tool", "text.search")]
    assert users == [("base", 1), ("middle", 2), ("top", 3)]
    assert [each.workflow for each in await library.users("workflow", "base", depth=1)] == ["middle"]
    await refused("invalid_input", library.users("person", "ann"))


@pytest.mark.req("E8")
async def test_a_renamed_workflow_is_still_known_to_those_who_use_it(library: Library) -> None:
    await library.create(flow("inner"))
    await library.create(flow("outer", nodes={"a": {"use": "inner"}}))
    await library.update("inner", updates={"name": "within"})
    assert [each.workflow for each in await library.users("workflow", "within")] == ["outer"]
    assert (await refused("in_use", library.delete("within"))).details["workflows"] == ["outer"]


@pytest.mark.req("E1")
async def test_what_is_in_use_is_not_deleted_unless_forced_and_comes_back_by_its_id(library: Library) -> None:
    made = await library.create(flow())
    row = {
        "id": "e1", "thread": "e1", "workflow": "flow", "workflow_id": made.id, "version": 1, "status": "paused",
        "mode": "sync", "priority": 0, "options": {}, "metadata": {}, "created_at": START, "updated_at": START,
    }  # fmt: skip
    await library.records.writing(lambda connection: connection.execute(sa.insert(EXECUTIONS).values(**row)))
    assert (await refused("in_use", library.delete("flow"))).details["executions"] == ["e1"]
    assert await library.delete("flow", force=True)
    await refused("workflow_not_found", library.get("flow"))
    await library.create(flow(value=2))
    await refused("conflict", library.restore(made.id))
    await library.delete("flow")
    assert (await library.restore(made.id)).version == 1


@pytest.mark.req("E1")
async def test_lists_go_by_tags_status_and_text_page_by_page(library: Library) -> None:
    for number in range(7):
        tags = ["even"] if number % 2 == 0 else ["odd"]
        await library.create(flow(f"flow_{number}", description=f"number {number}%"), tags=[*tags, "all"])
    await library.archive("flow_6")
    names, cursor = [], None
    while True:
        page = await library.list(tags=["all", "even"], status="active", limit=2, cursor=cursor)
        names += [each.name for each in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert names == ["flow_4", "flow_2", "flow_0"]
    assert [each.name for each in await library.list(status="archived")] == ["flow_6"]
    assert [each.name for each in await library.list(text="NUMBER 3%")] == ["flow_3"]
    assert len(await library.list(text="%")) == 7
    await refused("invalid_cursor", library.list(cursor="bogus"))
    await refused("invalid_input", library.list(status="gone"))


@pytest.mark.req("E1")
async def test_an_archived_workflow_cannot_be_used_by_a_new_one(library: Library) -> None:
    await library.create(flow("inner"))
    await library.archive("inner")
    with pytest.raises(SpecError, match="no workflow 'inner'"):
        await library.create(flow("outer", nodes={"a": {"use": "inner"}}))
    await library.restore("inner")
    assert (await library.create(flow("outer", nodes={"a": {"use": "inner"}}))).version == 1


@pytest.mark.req("M10")
async def test_the_difference_between_versions_says_what_breaks_for_callers(library: Library) -> None:
    ask = {"type": "human", "ask": "Sure?"}
    one = {
        "input": {"x": "integer", "y": {"type": "string", "default": "a"}, "z": "string"},
        "output": {"sum": "{{ a.value }}"},
    }
    two = {
        "input": {
            "x": "number",
            "y": {"type": "string", "default": "b"},
            "w": "string",
            "v": {"type": "string", "default": ""},
        },
        "output": {"total": "{{ a.value }}"},
    }
    await library.create(flow(**one))
    nodes = {"a": {"type": "transform", "set": {"value": 2}}, "q": {**ask, "depends_on": ["a"]}}
    await library.update("flow", flow(nodes=nodes, **two))
    found = await library.diff("flow", 1, 2)
    told = {(each.area, each.place): each.impact for each in found.changes}
    assert told == {
        ("input", "z"): "breaking",
        ("input", "w"): "breaking",
        ("input", "v"): "compatible",
        ("input", "x"): "compatible",
        ("input", "y"): "compatible",
        ("output", "sum"): "breaking",
        ("output", "total"): "compatible",
        ("people", "q"): "breaking",
        ("steps", "a"): "internal",
        ("steps", "q"): "internal",
        ("steps", "output"): "internal",
    }
    assert found.impact == "breaking"
    assert "breaking: input w is new, and required" in found.lines
    assert (await library.diff("flow", 2, 2)).changes == ()
