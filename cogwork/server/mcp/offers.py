"""Published workflows as tools: their names, schemas, effects and where they are found, each version read once."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.library.entries import WorkflowRecord
from cogwork.library.pinned import services_of
from cogwork.records.tables.library import WORKFLOWS
from cogwork.tools.workflows import PREFIX, WorkflowTool
from cogwork.workflow_engine import WorkflowEngine
from graphs.language.load import Workflow
from state.errors import CogworkError, SpecError
from state.services import Effect, Services
from state.values import Json, Schema

LONGEST: Final = 128
_LEGAL: Final = re.compile(r"[A-Za-z0-9._-]+")
AT_HAND: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A workflow that can be called as a tool: ``source`` is what the engine knows it by."""

    name: str
    source: str
    title: str
    description: str
    input: Schema
    output: Schema
    effect: Effect

    @property
    def tool(self) -> types.Tool:
        """How it is shown."""
        return types.Tool(
            name=tool_name(self.name),
            title=self.title or self.name,
            description=self.description,
            input_schema=_object(self.input),
            output_schema=result_schema(self.output),
            annotations=types.ToolAnnotations(
                title=self.title or self.name,
                read_only_hint=self.effect != "write",
                destructive_hint=self.effect == "write",
                idempotent_hint=self.effect != "write",
                open_world_hint=self.effect != "none",
            ),
        )


def tool_name(workflow: str) -> str:
    """The name of a workflow's tool; one that MCP would not take is spelt otherwise, and told apart by a digest."""
    name = PREFIX + workflow
    if len(name) <= LONGEST and _LEGAL.fullmatch(name):
        return name
    digest = hashlib.sha256(workflow.encode()).hexdigest()[:10]
    return f"{PREFIX}{re.sub(r'[^A-Za-z0-9._-]', '_', workflow)[: LONGEST - len(PREFIX) - 11]}-{digest}"


def result_schema(output: Schema) -> dict[str, Any]:
    """The schema of what a call of a workflow gives: how the execution stands, with its output once it has one."""
    return {
        "type": "object",
        "properties": {
            "execution_id": {"type": "string"},
            "status": {
                "enum": ["pending", "running", "paused", "completed", "failed", "timeout", "cancelled"],
                "description": "completed has an output; paused is resumed by resume_execution.",
            },
            "output": dict(output) or {"description": "What the workflow came to."},
            "questions": {"type": "array", "items": {"type": "object"}, "description": "What people are asked."},
            "error": {"type": "object", "description": "Why it failed."},
            "next": {"type": "object", "description": "The call that goes on with it."},
            "resource": {
                "type": "string",
                "description": "Where the output is, where it is too large to be given here.",
            },
        },
        "required": ["execution_id", "status"],
    }


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": "object"} if schema.get("type") != "object" else dict(schema)


class Offers:
    """What is known of the workflows that can be called; descriptions of versions and of unchanged files are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Offer | None] = OrderedDict()

    async def published(self, engine: WorkflowEngine, record: WorkflowRecord) -> Offer | None:
        """The offer of a workflow of the library; None where its version cannot be called here."""
        key = (record.id, record.version, record.name)
        if key not in self._kept:
            self._keep(key, await self._described(engine, record))
        return self._kept[key]

    async def _described(self, engine: WorkflowEngine, record: WorkflowRecord) -> Offer | None:
        try:
            content = await engine.library.content(record.id, record.version)
            if content.bundle is None:
                return await self._code(engine, record)
            bundle = content.bundle
            services = await asyncio.to_thread(services_of, engine.library.house, bundle)
            within = _Within(services, bundle.resolve, engine)
            return await asyncio.to_thread(_offer, bundle.workflow, within, record.name, record.name, record.title)
        except CogworkError:
            return None

    async def _code(self, engine: WorkflowEngine, record: WorkflowRecord) -> Offer:
        version = await engine.library.version(record.id, record.version)
        graph = await engine.library.code.graph(version, checkpointer=None)
        schema: Json = getattr(graph, "input_schema", {"type": "object"})
        return Offer(
            name=record.name,
            source=record.name,
            title=record.title,
            description=record.description or f"Run the workflow {record.name}.",
            input=dict(schema),
            output={},
            effect="write",
        )

    async def filed(self, engine: WorkflowEngine, path: Path) -> Offer | None:
        """The offer of a workflow file of the settings' folders or the catalog; None where it has faults."""
        try:
            stat = await asyncio.to_thread(path.stat)
        except OSError:
            return None
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key not in self._kept:
            self._keep(key, await asyncio.to_thread(_from_file, engine, path))
        return self._kept[key]

    async def of(self, engine: WorkflowEngine, record: WorkflowRecord | None, path: Path | None) -> Offer | None:
        """The offer of a workflow of the library, or of a file."""
        if record is not None:
            return await self.published(engine, record)
        return await self.filed(engine, path) if path is not None else None

    async def find(self, engine: WorkflowEngine, tool: str) -> Offer | None:
        """The offer behind the name of a tool; None where there is none."""
        name = tool.removeprefix(PREFIX)
        if not tool.startswith(PREFIX) or not name:
            return None
        try:
            record = await engine.library.get(name)
            return await self.published(engine, record) if record.status == "active" else None
        except EngineError:
            pass
        if (path := await asyncio.to_thread(engine.app.find, name)) is not None:
            return await self.filed(engine, path)
        return await self._spelt(engine, tool) if re.search(r"-[0-9a-f]{10}$", tool) else None

    async def _spelt(self, engine: WorkflowEngine, tool: str) -> Offer | None:
        """The offer whose name is spelt otherwise in that of its tool."""
        names = await engine.library.records.reading(
            lambda connection: [
                str(name)
                for name in connection.execute(
                    sa.select(WORKFLOWS.c.name).where(WORKFLOWS.c.deleted_at.is_(None))
                ).scalars()
            ]
        )
        found = next((name for name in names if tool_name(name) == tool), None)
        return await self.published(engine, await engine.library.get(found)) if found is not None else None

    async def in_library(self, engine: WorkflowEngine, names: list[str]) -> set[str]:
        """Which of these names workflows of the library have."""

        def look(connection: Connection) -> set[str]:
            query = sa.select(WORKFLOWS.c.name).where(WORKFLOWS.c.deleted_at.is_(None), WORKFLOWS.c.name.in_(names))
            return {str(name) for name in connection.execute(query).scalars()}

        return await engine.library.records.reading(look)

    def _keep(self, key: Hashable, offer: Offer | None) -> None:
        self._kept[key] = offer
        while len(self._kept) > AT_HAND:
            self._kept.popitem(last=False)


def effect_of(engine: WorkflowEngine, workflow: Workflow) -> Effect:
    """The worst that a workflow which is in no library may do.

    Raises:
        SpecError: it has faults.
    """
    found = WorkflowTool(PREFIX + workflow.spec.name, workflow, engine.app, engine.app.settings.max_workflow_depth)
    if found.faults:
        raise SpecError(tuple(engine.app.check(workflow)))
    return found.effect


@dataclass(frozen=True, slots=True)
class _Within:
    """What a version's tool finds its services and used workflows in."""

    services: Services
    resolve: Any
    engine: WorkflowEngine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine.app, name)


def _offer(workflow: Workflow, within: Any, name: str, source: str, title: str) -> Offer | None:
    described = WorkflowTool(PREFIX + name, workflow, within, 1)
    if described.faults:
        return None
    return Offer(
        name=name,
        source=source,
        title=title,
        description=described.description,
        input=described.args_schema,
        output=described.output_schema,
        effect=described.effect,
    )


def _from_file(engine: WorkflowEngine, path: Path) -> Offer | None:
    try:
        return _offer(engine.app.load(path), engine.app, path.stem, path.stem, "")
    except CogworkError:
        return None
