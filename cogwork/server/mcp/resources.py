"""Executions and workflows as resources: what is there, what each address holds, and the patterns of addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import mcp_types as types
import yaml

from cogwork.errors import EngineError
from cogwork.server.mcp.replies import SCHEME, execution_uri, plain
from cogwork.server.mcp.shelf import listed
from cogwork.server.mcp.standing import standing
from graphs.language.dump import to_dict
from state.values import Json

if TYPE_CHECKING:
    from cogwork.server.acting import Acting
    from cogwork.server.mcp.door import Door
    from cogwork.workflow_engine import WorkflowEngine

JSON: Final = "application/json"
YAML: Final = "application/yaml"
EVENTS: Final = 1000
"""Events in one reading of a history; the last one's number is where the next reading begins."""
_ADDRESS: Final = re.compile(
    r"cogwork://(executions|workflows)/([^/?#]{1,600})(?:/(events|result|schema))?(?:\?after=(\d{1,12}))?"
)
TEMPLATES: Final = (
    ("executions/{id}", "An execution", "How it stands: status, progress, questions.", JSON),
    (
        "executions/{id}/events",
        "Its history",
        f"What has happened in it, at most {EVENTS} events; ?after=N goes on.",
        JSON,
    ),
    ("executions/{id}/result", "Its result", "What it has come to, with the results of its steps.", JSON),
    ("workflows/{name}", "A workflow", "Its spec as YAML; name@version and name@label say which one.", YAML),
    ("workflows/{name}/schema", "Its schemas", "JSON Schema of its input and of its output.", JSON),
)


def templates() -> Iterator[types.ResourceTemplate]:
    """The patterns of our addresses."""
    for pattern, name, description, kind in TEMPLATES:
        yield types.ResourceTemplate(uri_template=SCHEME + pattern, name=name, description=description, mime_type=kind)


async def listing(door: Door, acting: Acting, cursor: str | None) -> tuple[list[types.Resource], str | None]:
    """A page of resources: the workflows first, then the executions, the latest first.

    Raises:
        EngineError: ``invalid_cursor``; ``permission_denied``.
    """
    section, _, inner = (cursor or "w:").partition(":")
    if section == "w":
        page = await acting.perform(
            "workflows.read",
            "workflows",
            lambda engine: listed(engine, None, None, limit=door.rules.page, cursor=inner or None),
        )
        found = [_workflow(row.name, row.description) for row in page.items]
        return found, f"w:{page.cursor}" if page.cursor else "e:"
    if section != "e":
        raise EngineError("invalid_cursor", "That is no cursor of this list: begin without one")
    executions: Any = await acting.perform(
        "executions.read",
        "executions",
        lambda engine: engine.list_executions(limit=door.rules.page, cursor=inner or None),
    )
    listed_ = [_execution(each) for each in executions["executions"]]
    return listed_, f"e:{executions['cursor']}" if executions["cursor"] else None


def _workflow(name: str, description: str) -> types.Resource:
    uri = f"{SCHEME}workflows/{quote(name, safe='')}"
    return types.Resource(uri=uri, name=name, description=description, mime_type=YAML)


def _execution(each: Any) -> types.Resource:
    id, at = each["execution_id"], each["created_at"]
    said = f"{each['workflow']}, {each['status']}, asked for at {at}"
    return types.Resource(uri=execution_uri(id), name=id, description=said, mime_type=JSON)


async def read(door: Door, acting: Acting, uri: str) -> types.TextResourceContents | None:
    """What stands at the address; None where it is none of ours.

    Raises:
        EngineError: ``execution_not_found``, ``workflow_not_found``, ``permission_denied``.
    """
    if (parts := _ADDRESS.fullmatch(uri)) is None:
        return None
    section, name, what, after = parts[1], unquote(parts[2]), parts[3], int(parts[4] or 0)
    if section == "executions":
        if what == "schema" or (after and what != "events"):
            return None
        value = await acting.perform("executions.read", name, lambda engine: _of_execution(engine, name, what, after))
        return _json(uri, value)
    if what not in (None, "schema") or after:
        return None
    if what == "schema":
        schema = await acting.perform("workflows.read", name, lambda engine: _schemas(door, engine, name))
        return _json(uri, schema)
    text = await acting.perform("workflows.read", name, lambda engine: _spec(engine, name))
    return types.TextResourceContents(uri=uri, mime_type=YAML, text=text)


def _json(uri: str, value: Json) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, mime_type=JSON, text=json.dumps(value, ensure_ascii=False, indent=1))


async def _of_execution(engine: WorkflowEngine, name: str, what: str | None, after: int) -> Json:
    if what == "events":
        await engine.get_execution_status(name)
        told = await engine.parts.history.read(name, after=after, limit=EVENTS)
        return {
            "execution_id": name,
            "events": [each.to_dict() for each in told],
            "last": told[-1].seq if told else after,
        }
    if what == "result":
        return plain((await engine.get_execution_result(name)).to_dict())
    return await standing(engine, name)


async def _schemas(door: Door, engine: WorkflowEngine, name: str) -> Json:
    from cogwork.tools.workflows import PREFIX

    offer = await door.offers.find(engine, PREFIX + name)
    if offer is None:
        await engine.library.get(name)
        raise EngineError("invalid_input", f"{name[:200]} has faults: validate_workflow tells them")
    return {"name": offer.name, "input": dict(offer.input), "output": dict(offer.output)}


async def _spec(engine: WorkflowEngine, name: str) -> str:
    """The canonical form of a workflow as YAML."""
    try:
        workflow = (await engine.library.bundle(name)).workflow
    except EngineError as err:
        path = engine.app.find(name)
        if err.code != "workflow_not_found" or path is None:
            raise
        workflow = engine.app.load(path)
    return yaml.safe_dump(to_dict(workflow.spec), sort_keys=False, allow_unicode=True)


async def completions(acting: Acting, template: str, argument: str, typed: str) -> list[str]:
    """The ids or names that begin with what was typed, for an argument of one of our patterns."""
    if template.startswith(f"{SCHEME}workflows/") and argument == "name":
        found = await acting.perform(
            "workflows.read", "workflows", lambda e: listed(e, None, None, limit=1000, cursor=None)
        )
        return [row.name for row in found.items if row.name.startswith(typed)][:100]
    if template.startswith(f"{SCHEME}executions/") and argument == "id":
        page: Any = await acting.perform("executions.read", "executions", lambda e: e.list_executions(limit=100))
        return [each["execution_id"] for each in page["executions"] if each["execution_id"].startswith(typed)]
    return []
