"""The workflows that can be called, page by page: those of the files first, then those of the library."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.library.entries import WorkflowRecord
from cogwork.records.tables.library import WORKFLOWS
from cogwork.server.mcp.offers import Offer, Offers, tool_name
from cogwork.settings import CATALOG
from cogwork.workflow_engine import WorkflowEngine
from state.values import Json

Key: TypeAlias = tuple[int, str]
"""Where a workflow stands in the list: files before the library, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workflow: of the library with its record, or a file."""

    name: str
    folder: str
    record: WorkflowRecord | None = None
    path: Path | None = None
    title: str = ""
    description: str = ""

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        about = self.record.to_dict() if self.record is not None else {"workflow_id": None, "version": None, "tags": []}
        return {
            "name": self.name,
            "title": self.title or self.name,
            "description": self.description,
            "folder": self.folder,
            "file": self.path.name if self.path is not None else None,
            "workflow_id": about["workflow_id"],
            "version": about["version"],
            "tags": about["tags"],
            "tool": tool_name(self.name),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A page of them, how many there are in all, and the cursor of the next one."""

    items: tuple[Row, ...]
    total: int
    cursor: str | None = None


async def listed(
    engine: WorkflowEngine, folder: str | None, pattern: str | None, *, limit: int, cursor: str | None
) -> Rows:
    """The page behind the cursor.

    Raises:
        EngineError: ``invalid_input`` for a folder that is none of ours; ``invalid_cursor``.
    """
    filters = [folder, pattern]
    at = _place(cursor, filters)
    files = await _files(engine, folder, pattern)
    names = await _names(engine, folder, pattern)
    files = [row for row in files if row.name not in set(names)] if folder is None else files
    rows: dict[Key, Row | str] = {(0, row.name): row for row in files} | {(1, name): name for name in names}
    left = [key for key in rows if key > at]
    items = [row if isinstance(row := rows[key], Row) else await _recorded(engine, row) for key in left[:limit]]
    following = _cursor(left[limit - 1], filters) if len(left) > limit else None
    return Rows(items=tuple(row for row in items if row is not None), total=len(rows), cursor=following)


async def _recorded(engine: WorkflowEngine, name: str) -> Row | None:
    try:
        record = await engine.library.get(name)
    except EngineError:  # it was deleted between the two looks
        return None
    return Row(name=name, folder="library", record=record, title=record.title, description=record.description)


async def _names(engine: WorkflowEngine, folder: str | None, pattern: str | None) -> list[str]:
    """The names of the library's active workflows, in their order."""
    if folder not in (None, "", "library"):
        return []

    def look(connection: Connection) -> list[str]:
        query = sa.select(WORKFLOWS.c.name).where(WORKFLOWS.c.deleted_at.is_(None), WORKFLOWS.c.status == "active")
        return [str(name) for name in connection.execute(query.order_by(WORKFLOWS.c.name)).scalars()]

    found = await engine.library.records.reading(look)
    return [name for name in found if _fits(pattern, name, "")]


async def _files(engine: WorkflowEngine, folder: str | None, pattern: str | None) -> list[Row]:
    if folder == "library":
        return []
    within = await asyncio.to_thread(_folder, engine, folder) if folder else None

    def look() -> list[Row]:
        rows = []
        for path in engine.app.workflow_files():
            if within is not None and not path.resolve().is_relative_to(within):
                continue
            if _fits(pattern, path.stem, path.name):
                rows.append(Row(name=path.stem, folder=_place_of(engine, path), path=path))
        return sorted(rows, key=lambda row: row.name)

    return await asyncio.to_thread(look)


def _folder(engine: WorkflowEngine, folder: str) -> Path:
    """The folder that is meant: the catalog, or one of the settings' or below them."""
    if folder == "catalog":
        return CATALOG.resolve()
    for base in engine.app.folders:
        for found in ((base.resolve() / folder).resolve(), Path(folder).resolve()):
            if found.is_relative_to(base.resolve()) and found.is_dir():
                return found
    known = ["library", "catalog", *(path.name for path in engine.app.settings.workflows)]
    message = f"{folder[:200]!r} is no folder of workflows here: there are {', '.join(known)}"
    raise EngineError("invalid_input", message, folders=list(known))


def _place_of(engine: WorkflowEngine, path: Path) -> str:
    found = next((base for base in engine.app.settings.workflows if path.is_relative_to(base)), None)
    return found.name if found is not None else "catalog"


def _fits(pattern: str | None, name: str, file: str) -> bool:
    return not pattern or fnmatchcase(name, pattern) or bool(file and fnmatchcase(file, pattern))


async def offered(
    engine: WorkflowEngine, offers: Offers, *, limit: int, cursor: str | None
) -> tuple[list[Offer], str | None]:
    """The workflows of that page that can be called, as offers, and the cursor of the next one."""
    page = await listed(engine, None, None, limit=limit, cursor=cursor)
    found = [await offers.of(engine, row.record, row.path) for row in page.items]
    return [offer for offer in found if offer is not None], page.cursor


def _cursor(at: Key, filters: list[str | None]) -> str:
    return base64.urlsafe_b64encode(json.dumps([*at, *filters]).encode()).decode().rstrip("=")


def _place(cursor: str | None, filters: list[str | None]) -> Key:
    if cursor is None:
        return (-1, "")
    try:
        section, name, *same = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError, TypeError) as err:
        raise EngineError("invalid_cursor", "That is no cursor of this list: begin without one") from err
    if same != filters or section not in (0, 1) or not isinstance(name, str):
        raise EngineError("invalid_cursor", "That cursor is of another list: begin without one")
    return (section, name)
