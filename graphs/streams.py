"""LangGraph's own stream modes without the scheduler's yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Filter:
    """Gives the chunks of one ``astream`` call as its caller should see them.

    A node that yields shows in ``updates`` as ``{node: None}`` and in ``tasks`` as a task with an empty result; both are
    left out, and a step that yields several times is announced once, with the id that its result will have.
    """

    def __init__(self, default: Any, options: Mapping[str, Any]) -> None:
        asked = options.get("stream_mode") or default
        self.several = not isinstance(asked, str)
        self.modes = frozenset([asked] if isinstance(asked, str) else asked)
        self.only = None if self.several else asked
        self.subgraphs = bool(options.get("subgraphs"))
        self.parts = options.get("version") == "v2"
        self.printed = options.get("print_mode") or ()
        self.announced: dict[str, str] = {}
        """The id under which each step at work was announced."""

    def wants(self, mode: str) -> bool:
        """Whether the caller asked for that mode."""
        return mode in self.modes or mode in self.printed

    def shown(self, chunk: Any) -> Any:
        """The chunk as the caller should see it; None where it says nothing."""
        mode, data = self._split(chunk)
        if mode == "updates":
            said = {name: value for name, value in data.items() if name != "__metadata__"}
            return chunk if not said or any(value is not None for value in said.values()) else None
        if mode == "tasks":
            task = self._task(data)
            return None if task is None else self._joined(chunk, task)
        return chunk

    def _split(self, chunk: Any) -> tuple[str | None, Any]:
        if self.parts:
            return chunk["type"], chunk["data"]
        if self.several:
            return chunk[-2], chunk[-1]
        return self.only, chunk[-1] if self.subgraphs else chunk

    def _joined(self, chunk: Any, data: Any) -> Any:
        if self.parts:
            return {**chunk, "data": data}
        return (*chunk[:-1], data) if self.several or self.subgraphs else data

    def _task(self, data: Any) -> Any:
        name, task = data.get("name"), data.get("id")
        if "result" not in data:
            return data if self.announced.setdefault(name, task) == task else None
        if not (data.get("error") or data.get("interrupts") or data["result"]):
            return None
        return {**data, "id": self.announced.pop(name, task)}
