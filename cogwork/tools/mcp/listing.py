"""The tools of a server as it lists them; what it says of one is looked at only when that one is wanted."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cogwork.tools.mcp.config import McpServer
from cogwork.tools.mcp.redaction import Redaction
from state.errors import Fault
from state.schemas import schema_fault
from state.services import Effect
from state.values import Json, Schema

MAX_TOOLS: Final = 20_000
MAX_PAGES: Final = 1_000
MAX_SCHEMA: Final = 256 * 1024
"""The largest schema of a tool, in characters of JSON."""
MAX_NAME: Final = 256
MAX_DESCRIPTION: Final = 8_000

Page = Callable[[str | None], Awaitable[tuple[list[dict[str, Json]], str | None]]]
"""Fetches the page at a cursor: the tools on it, and the next cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One tool as its server describes it, with the effect that it is taken to have."""

    name: str
    description: str
    args_schema: Schema
    output_schema: Schema
    effect: Effect
    effect_declared: bool
    idempotent: bool
    annotations: Mapping[str, Json]

    @property
    def unfit(self) -> str | None:
        """Why it cannot be called; None where it can."""
        for word, schema in (("arguments", self.args_schema), ("result", self.output_schema)):
            if len(_text(schema)) > MAX_SCHEMA:
                return f"the schema of its {word} is larger than {MAX_SCHEMA} characters"
            if schema and (fault := schema_fault(schema)):
                return f"the schema of its {word} is not usable: {fault}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tools that a server offers and the settings allow, by the server's names; ``left_out`` says what is missing."""

    tools: Mapping[str, Listed] = field(default_factory=lambda: MappingProxyType({}))
    left_out: tuple[str, ...] = ()


async def listed(page: Page, config: McpServer, redaction: Redaction) -> Listing:
    """All pages of the list.

    Raises:
        Fault: ``invalid_output``; it does not end.
    """
    found: dict[str, Listed] = {}
    left_out: list[str] = []
    cursor, seen = None, set[str | None]()
    while cursor not in seen and len(seen) < MAX_PAGES:
        seen.add(cursor)
        tools, cursor = await page(cursor)
        for raw in tools:
            name = str(raw.get("name", ""))
            if not config.allows(name):
                continue
            if not name or len(name) > MAX_NAME or name in found:
                left_out.append(f"{name[:40]!r} stands twice" if name in found else f"{name[:40]!r} is no usable name")
                continue
            found[name] = _listed(name, raw, config, redaction)
        if len(found) > MAX_TOOLS:
            raise Fault("invalid_output", f"it lists more than {MAX_TOOLS} tools", origin="tool")
        if cursor is None:
            return Listing(tools=MappingProxyType(found), left_out=tuple(left_out[:20]))
    raise Fault("invalid_output", f"its list of tools does not end (after {len(seen)} pages)", origin="tool")


def _listed(name: str, raw: Mapping[str, Any], config: McpServer, redaction: Redaction) -> Listed:
    annotations = raw.get("annotations") or {}
    effect, declared = config.effect_of(name, annotations)
    return Listed(
        name=name,
        description=redaction.told(str(raw.get("description") or ""))[:MAX_DESCRIPTION],
        args_schema=raw.get("inputSchema") or {"type": "object"},
        output_schema=raw.get("outputSchema") or {},
        effect=effect,
        effect_declared=declared,
        idempotent=config.repeatable(name, effect, annotations),
        annotations=annotations,
    )


def _text(schema: Schema) -> str:
    try:
        return json.dumps(schema)
    except (ValueError, RecursionError):
        return " " * (MAX_SCHEMA + 1)
