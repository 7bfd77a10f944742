"""From the arguments of a call to the options of an execution."""

from __future__ import annotations

from typing import Any, Final

from cogwork.errors import EngineError
from cogwork.server.mcp.arguments import Running

_MEMORY: Final = ("session_id", "conversation_id", "user_id")
_OPTIONS: Final = (
    "timeout",
    "idempotency_key",
    "priority",
    "queue",
    "deadline",
    "delay",
    "tags",
    "metadata",
    "tenant",
    "trace",
    "debug",
    "retry",
    "isolation",
)


def options_of(asked: Running) -> dict[str, Any]:
    """What the engine is told of how it runs.

    Raises:
        EngineError: ``invalid_input``; memory cannot be kept elsewhere for one execution.
    """
    overrides = dict(asked.config_override)
    memory: Any = overrides.pop("memory", None) or {}
    if not isinstance(memory, dict) or not set(memory) <= set(_MEMORY):
        raise EngineError(
            "invalid_input",
            "config_override.memory takes session_id, conversation_id and user_id: where memory is kept is a setting of the "
            "server",
        )
    about = asked.memory.model_dump(exclude_none=True) if asked.memory is not None else {}
    about |= {name: value for name in _MEMORY if (value := getattr(asked, name)) is not None}
    options = {name: value for name in _OPTIONS if (value := getattr(asked, name)) not in (None, [], {}, False)}
    return {
        **options,
        **memory,
        **about,
        "mode": asked.execution_mode,
        **({"overrides": overrides} if overrides else {}),
    }
