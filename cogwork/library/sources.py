"""The document that an update means: a source as it is, or the current version with some of its parts replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cogwork.errors import EngineError
from cogwork.library.content import Content
from cogwork.library.house import House
from graphs.language.dump import to_dict

_STEPS: Final = "steps"
_OF_STEPS: Final = ("steps", "agents", "input", "inputs", "output", "version")
"""What a document of agent steps holds beside its name."""


def merged_source(house: House, source: Any, current: Content, parts: Mapping[str, Any]) -> Any:
    """The source with ``parts`` in place of its own; without a source the current version's document.

    Raises:
        EngineError: ``invalid_input``; the current version is code, which has no parts.
        SpecError: the source cannot be loaded.
    """
    if not parts:
        return source
    if source is None and current.bundle is None:
        raise EngineError(
            "invalid_input", f"{current.name} is code: register it again to change more than what it is called"
        )
    if _STEPS in parts and source is None:
        about = {"name": current.name, "description": current.description, "tags": list(current.tags)}
        strange = sorted(set(parts) - set(_OF_STEPS))
        if strange:
            raise EngineError(
                "invalid_input", f"steps and {strange[0]} cannot be updated together", fields=list(strange)
            )
        return {**{key: value for key, value in about.items() if value}, **parts}
    spec = house.load(source).spec if source is not None else current.bundle.workflow.spec if current.bundle else None
    return {**(to_dict(spec) if spec is not None else {}), **parts}
