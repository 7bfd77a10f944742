"""What workflow a caller means: a name of the library or the folders, or a spec that it sends; never a path."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from cogwork.errors import EngineError
from state.values import Json

MAX_TEXT: Final = 2 * 1024 * 1024
"""Characters of a spec."""
_NAMED: Final = re.compile(r"[A-Za-z_][\w.-]{0,254}(@[\w.-]{1,64})?")
_FILES: Final = (".yaml", ".yml", ".json")
_PATHS: Final = ("./", "../", "/", "~", "file:", ".\\", "..\\")

Given = Annotated[
    str | dict[str, JsonValue],
    Field(description="A workflow: its id, name or `name@version`; or a spec, as an object or as YAML or JSON text."),
]
Spec = Annotated[
    str | dict[str, JsonValue], Field(description="A spec: an object, or YAML or JSON text; any of the dialects.")
]


def is_name(text: str) -> bool:
    """Whether a text is the name of a workflow, rather than one."""
    return _NAMED.fullmatch(text) is not None and not text.lower().endswith(_FILES)


async def workflow_of(given: str | Mapping[str, Any]) -> Any:
    """What the engine takes for a workflow: a name as it is, or a spec that was read here.

    Raises:
        EngineError: ``invalid_input`` for a path.
        SpecError: the spec cannot be read.
    """
    if isinstance(given, str) and is_name(given):
        return given
    if isinstance(given, str) and "\n" not in given and not given.lstrip().startswith("{"):
        message = f"{given[:80]!r} is no name of a workflow, and no spec: files are not read for callers"
        raise EngineError("invalid_input", message)
    return await spec_of(given)


async def spec_of(given: str | Mapping[str, Any]) -> Any:
    """A spec as the engine takes it, loaded where it is text.

    Raises:
        EngineError: ``invalid_input`` where it is too large, or uses a workflow by its path.
        SpecError: it cannot be read.
    """
    if isinstance(given, Mapping):
        refuse_paths(given)
        return dict(given)
    if len(given) > MAX_TEXT:
        raise EngineError("too_large", f"The spec has more than {MAX_TEXT:,} characters", limit=MAX_TEXT)
    return await asyncio.to_thread(_loaded, given)


def _loaded(text: str) -> Any:
    from graphs.language.dump import to_dict
    from graphs.language.load import load

    workflow = load(f"{text}\n")
    refuse_paths(to_dict(workflow.spec))
    return workflow


def refuse_paths(given: Any) -> None:
    """Refuse a document that names another workflow by a path: what is on this machine's disk is not for callers.

    Raises:
        EngineError: ``invalid_input``.
    """
    for name in _used(given, 0):
        if name.lstrip().lower().startswith(_PATHS) or name.lower().endswith(_FILES):
            message = f"use: {name[:80]!r} is a path, and files are not read for callers: name a workflow"
            raise EngineError("invalid_input", message)


def _used(given: Any, depth: int) -> Iterator[str]:
    """Every value of a key that may name another workflow."""
    if depth > 200:
        return
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key in ("use", "workflow", "workflow_id", "subworkflow") and isinstance(value, str):
                yield value
            else:
                yield from _used(value, depth + 1)
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _used(value, depth + 1)


def overrides_of(given: Mapping[str, Json]) -> dict[str, Json]:
    """Overrides that reach no file.

    Raises:
        EngineError: ``invalid_input``.
    """
    refuse_paths(given)
    return dict(given)
