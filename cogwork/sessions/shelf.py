"""The entries of one place in a ``Store`` of LangGraph, each under its level's namespace, its usage beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cogwork.errors import EngineError
from cogwork.sessions.entries import Entry, Level, Place, digest, entry_of, kept
from cogwork.sessions.store import MemoryStore

if TYPE_CHECKING:
    from langgraph.store.base import Item, Op

MAX_ENTRIES: Final = 2_000
"""Per level of a place: so many are looked through for a question."""
USAGE: Final = "memory_usage"
VECTORS: Final = "memory_vectors"
"""The namespaces of what is kept beside entries: how often they were found, and what they mean."""
_PAGE: Final = 1_000


class Shelf:
    """Reads and writes entries; what is in the store and is no entry is passed over, as anybody may have written it."""

    def __init__(self, store: MemoryStore, place: Place, most: int) -> None:
        self.store, self.place, self._most = store, place, most

    async def find(self, level: Level, key: str) -> Entry | None:
        """The entry of that id; None where there is none."""
        from langgraph.store.base import GetOp

        heads = ("memory", USAGE)
        item, usage = await self.store.abatch([GetOp(self.place.namespace(level, head), key) for head in heads])
        return _entry(item, level, usage) if item is not None else None

    async def equal(self, level: Level, text: str) -> Entry | None:
        """The entry of that content; None where there is none."""
        from langgraph.store.base import GetOp, SearchOp

        space = self.place.namespace(level)
        for mark in dict.fromkeys((self.mark(text), digest(text))):  # The second is that of entries from before keys.
            ops: list[Op] = [GetOp(space, mark), SearchOp(space, filter={"digest": mark}, limit=1)]
            direct, others = await self.store.abatch(ops)
            found: list[Any] = [direct, *(others if isinstance(others, list) else [])]
            for item in found:
                if item is not None and item.value.get("digest") == mark:
                    usage = await self._usage(level, [item.key])
                    return _entry(item, level, usage.get(item.key))
        return None

    def mark(self, text: str) -> str:
        """What entries of this content are found by; where they are sealed, only their database can tell it from them."""
        plain, seals = digest(text), self.store.seals
        return seals.name(plain.encode())[: len(plain)] if seals.on else plain

    async def free_id(self, level: Level, text: str) -> str:
        """The id of a new entry: the same for two who add the same at once, so that it is there once.

        Raises:
            EngineError: ``conflict``; the level holds as much as it may.
        """
        from langgraph.store.base import GetOp, SearchOp

        (beyond,) = await self.store.abatch([SearchOp(self.place.namespace(level), limit=1, offset=self._most - 1)])
        if beyond:
            raise EngineError(
                "conflict",
                f"The memory of the {level} holds {self._most:,} entries, as many as it may: forget some first",
                limit=self._most,
            )
        mark, number = self.mark(text), 0
        while True:
            key = f"{mark}-{number}" if number else mark
            found: list[Any] = list(await self.store.abatch([GetOp(self.place.namespace(level), key)]))
            taken = found[0]
            if taken is None or taken.value.get("digest") == mark:
                return key
            number += 1

    async def put(self, entry: Entry) -> None:
        """Keep the entry."""
        from langgraph.store.base import PutOp

        value = {**kept(entry), "digest": self.mark(entry.content)}
        await self.store.abatch([PutOp(self.place.namespace(entry.level), entry.id, value, index=False)])

    async def delete(self, level: Level, ids: Sequence[str]) -> None:
        """Remove the entries with what was counted of them."""
        from langgraph.store.base import PutOp

        spaces = [self.place.namespace(level, head) for head in ("memory", USAGE, VECTORS)]
        for start in range(0, len(ids), _PAGE):
            ops: list[Op] = [PutOp(space, key, None) for key in ids[start : start + _PAGE] for space in spaces]
            await self.store.abatch(ops)

    async def _usage(self, level: Level, keys: Iterable[str]) -> dict[str, Item]:
        from langgraph.store.base import GetOp

        space = self.place.namespace(level, USAGE)
        wanted = list(keys)
        found: list[Any] = list(await self.store.abatch([GetOp(space, key) for key in wanted])) if wanted else []
        return {key: item for key, item in zip(wanted, found, strict=True) if item is not None}

    async def every(self, level: Level) -> list[Entry]:
        """All entries of the level."""
        from langgraph.store.base import SearchOp

        spaces = [self.place.namespace(level), self.place.namespace(level, USAGE)]
        found: list[Any] = list(await self.store.abatch([SearchOp(space, limit=self._most) for space in spaces]))
        by_key = {item.key: item for item in found[1]}
        made = (_entry(item, level, by_key.get(item.key)) for item in found[0])
        return [entry for entry in made if entry is not None]

    async def beside(self, level: Level, head: str) -> dict[str, Mapping[str, Any]]:
        """What is kept beside the level's entries, by their ids."""
        from langgraph.store.base import SearchOp

        (found,) = await self.store.abatch([SearchOp(self.place.namespace(level, head), limit=self._most)])
        listed: list[Any] = list(found) if isinstance(found, list) else []
        return {item.key: item.value for item in listed}

    async def put_beside(self, level: Level, head: str, values: Mapping[str, dict[str, Any]]) -> None:
        """Keep something beside entries, by their ids."""
        from langgraph.store.base import PutOp

        space = self.place.namespace(level, head)
        await self.store.abatch([PutOp(space, key, value, index=False) for key, value in values.items()])

    async def used(self, entries: Sequence[Entry], at: datetime) -> None:
        """Count one use more of each."""
        for level in self.place.levels():
            counted = {e.id: {"uses": e.uses + 1, "at": at.isoformat()} for e in entries if e.level == level}
            if counted:
                await self.put_beside(level, USAGE, counted)


def _entry(item: Any, level: Level, usage: Any) -> Entry | None:
    value: Mapping[str, Any] = item.value
    return entry_of(item.key, level, value, usage.value if usage is not None else None)
