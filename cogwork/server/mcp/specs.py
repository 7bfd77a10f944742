"""Workflows that callers name or hand in: named ones only where workflows are kept, handed in ones as text or data alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from cogwork.app import SUFFIXES
from cogwork.errors import EngineError, not_found
from cogwork.server.mcp.offers import effect_of
from cogwork.server.sources import refuse_paths
from cogwork.workflow_engine import WorkflowEngine
from graphs.language.load import Workflow, load
from state.values import UnfitValue, normalise

LONGEST: Final = 400
"""Characters of the name of a workflow or file."""


async def named(engine: WorkflowEngine, name: str) -> str:
    """What the engine knows a workflow by: an id, a name, ``name@version``, or the path of a file in the settings' folders.

    Raises:
        EngineError: ``workflow_not_found``; ``invalid_input`` for what is no name.
    """
    if not name.strip() or len(name) > LONGEST or any(not char.isprintable() for char in name):
        raise EngineError("invalid_input", f"{name[:80]!r} is no name of a workflow: list_workflows tells them")
    if name.endswith(SUFFIXES) or "/" in name or "\\" in name:
        return str(await asyncio.to_thread(_file, engine, name))
    return name


def _file(engine: WorkflowEngine, name: str) -> Path:
    """The file of that path below one of the folders of workflows."""
    for folder in engine.app.folders:
        base = folder.resolve()
        found = (base / name).resolve()
        if found.suffix in SUFFIXES and found.is_relative_to(base) and found.is_file():
            return found
    raise not_found("workflow_not_found", "workflow file", name, [path.name for path in engine.app.workflow_files()])


def given(source: Any) -> Workflow:
    """The workflow that was handed in, as text (YAML or JSON) or as an object.

    Raises:
        SpecError: it cannot be loaded.
        EngineError: ``invalid_input``; it names files beside itself, or is no data.
    """
    try:
        document: Any = f"{source}\n" if isinstance(source, str) else normalise(dict(source))
    except UnfitValue as err:
        raise EngineError("invalid_input", f"The workflow is no data: {err}") from err
    workflow = load(document, file="workflow")
    refuse_paths(normalise(json.loads(workflow.spec.model_dump_json(by_alias=True))))
    return workflow


async def admitted(engine: WorkflowEngine, workflow: Workflow, *, writes: bool) -> Workflow:
    """The workflow, where it is sound and changes nothing outside, or where ``writes`` are allowed.

    Raises:
        SpecError: it has faults.
        EngineError: ``permission_denied``; it would change something, and nobody has looked at it.
    """
    effect = await asyncio.to_thread(effect_of, engine, workflow)
    if effect == "write" and not writes:
        raise EngineError(
            "permission_denied",
            f"{workflow.spec.name} would change something, and a workflow that is handed in may only read: let an author "
            "review and publish it, or allow it in the settings (allow_generated_writes)",
            workflow=workflow.spec.name,
            effect=effect,
        )
    return workflow
