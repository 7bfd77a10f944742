"""The serialisers of the stores: plain data and LangChain's messages, folded values under a type of their own, and seals."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from cogwork.sealing.errors import Unopened
from cogwork.sealing.seals import Seals
from cogwork.store.errors import Torn

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


class SealingSerializer(OutlineSerializer):
    """The serialiser that a saver hands bytes to the database through: sealed for the thread that the block is about."""

    def __init__(self, seals: Seals) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=None, allowed_json_modules=None)
        self.seals, self._about = seals, threading.local()

    @contextmanager
    def about(self, thread: str) -> Iterator[None]:
        """Within the block, values are those of this thread of LangGraph's, on this thread of the process."""
        before = getattr(self._about, "thread", "")
        self._about.thread = thread
        try:
            yield
        finally:
            self._about.thread = before

    def sealed(self, data: bytes) -> bytes:
        """Bytes as they are to be kept."""
        return self.seals.sealed(data, self._place)

    def opened(self, data: bytes) -> bytes:
        """Bytes as they were before they were kept.

        Raises:
            Torn: they were altered, or are those of another thread.
            KeyMissing: they are sealed under a key that is not at hand.
        """
        try:
            return self.seals.opened(bytes(data), self._place)
        except Unopened as err:
            raise Torn("a part of it was altered, or belongs to another thread") from err

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The type and the sealed bytes of an object."""
        kind, data = super().dumps_typed(obj)
        return kind, self.sealed(data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object again."""
        return super().loads_typed((data[0], self.opened(data[1])))

    @property
    def within(self) -> Within:
        """The same without the seals, for what is folded and sealed as a whole; it revives the same types."""
        return Within(self)

    @property
    def _place(self) -> str:
        return place_of_thread(getattr(self._about, "thread", ""))


class Within:
    """A sealing serialiser as it is beneath its seals."""

    def __init__(self, outer: SealingSerializer) -> None:
        self._outer = outer

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The type and bytes of an object."""
        return OutlineSerializer.dumps_typed(self._outer, obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object again."""
        return OutlineSerializer.loads_typed(self._outer, data)


def place_of_thread(thread: str) -> str:
    """The place that sealed values of a thread are bound to."""
    return f"thread {thread}"
