"""The MCP server's tools, as clients of both eras of the protocol call them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_door import LEGACY, MODERN, House, Person, called, client, house, refused
from tests.test_engine import ASKING, PLAIN

pytestmark = [pytest.mark.req("M1")]
ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A house with two workflows in its library."""
    async with house(tmp_path) as made:
        await made.engine.create_workflow(source=PLAIN)
        await made.engine.create_workflow(source=ASKING)
        yield made


@ERAS
async def test_every_published_workflow_is_a_tool_with_its_schemas(home: House, era: str) -> None:
    async with client(home.server(), era) as talk:
        listed = {tool.name: tool for tool in (await talk.list_tools()).tools}
        plain = listed["workflow.plain"]
        assert plain.input_schema["properties"]["n"] == {"type": "integer", "default": 1}
        assert plain.output_schema is not None and plain.output_schema["properties"]["output"]
        assert plain.annotations is not None and plain.annotations.read_only_hint
        assert "workflow.planning" in listed, "the catalog is offered too"
        assert {"execute_workflow", "check_execution_status", "list_workflows", "validate_workflow"} <= set(listed)
        assert "generate_workflow" not in listed
        told = await called(talk, "workflow.plain", {"n": 21})
    assert (told["status"], told["output"]) == ("completed", 42)


@ERAS
async def test_a_person_is_asked_through_the_client_until_the_answer_fits(home: House, era: str) -> None:
    person = Person({"go": "perhaps"}, {"go": "yes"})
    async with client(home.server(), era, person) as talk:
        told = await called(talk, "workflow.asking", {"n": 4})
    assert told["output"] == {"value": 8, "go": "yes"}
    first, second = person.asked
    assert first.message == "8?" and first.requested_schema["properties"]["go"]["enum"] == ["yes", "no"]
    assert "does not fit" in second.message


@ERAS
async def test_without_forms_the_question_comes_with_how_to_answer_it(home: House, era: str) -> None:
    async with client(home.server(), era) as talk:
        rests = await called(talk, "execute_workflow", {"workflow_name": "asking", "input_data": {"n": 4}})
        assert rests["status"] == "paused" and rests["questions"][0]["at"] == "sure"
        assert rests["next"]["tool"] == "resume_execution"
        arguments: Any = {**rests["next"]["arguments"], "answers": {"sure": {"go": "perhaps"}}}
        error = await refused(talk, "resume_execution", arguments)
        assert error["code"] == "invalid_answer" and error["request_id"]
        told = await called(talk, "resume_execution", {**arguments, "answers": {"sure": {"go": "no"}}, "wait": 30})
    assert (told["status"], told["output"]["go"]) == ("completed", "no")
