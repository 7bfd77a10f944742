"""The serialiser of the checkpoint file: plain data and LangChain's messages, and folded values under a type of their own."""

from __future__ import annotations

from typing import Any, Final

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

FOLDED: Final = "folded"
"""The type that stands in the file beside what was folded; LangGraph's own saver refuses it by name."""


class Folded(dict[str, Any]):
    """What was folded, on its way through LangGraph's saver, which looks at a checkpoint's id and nothing else."""

    def __init__(self, data: bytes, **shown: str) -> None:
        super().__init__(shown)
        self.data = data


class OutlineSerializer(JsonPlusSerializer):
    """LangGraph's serialiser, which lets through what was folded already."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The type and bytes of an object."""
        return (FOLDED, obj.data) if isinstance(obj, Folded) else super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object again; of what was folded its bytes, to be unfolded where the pieces are known."""
        return Folded(data[1]) if data[0] == FOLDED else super().loads_typed(data)


def strict_serde() -> OutlineSerializer:
    """A serialiser that revives plain data and LangChain's messages, and nothing else."""
    return OutlineSerializer(pickle_fallback=False, allowed_msgpack_modules=None, allowed_json_modules=None)
