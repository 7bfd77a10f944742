"""The entries of one place in a ``Store`` of LangGraph, each under its level's namespace, its usage beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cogwork.errors import EngineError
from cogwork.sessions.entries import Entry, Level, Place, digest, entry_of, kept
from cogwork.sessions.store import EMBEDDED, MemoryStore

if TYPE_CHECKING:
    from langgraph.store.base import Item, Op

MAX_ENTRIES: Final = 5_000
"""Per level of a place: so many are looked through for a question."""
_PAGE: Final = 1_000


class Shelf:
    """Reads and writes entries; what is in the store and is no entry is passed over, as anybody may have written it."""

    def __init__(self, store: MemoryStore, place: Place, most: int) -> None:
        self.store, self.place, self._most = store, place, most

    async def find(self, level: Level, key: str) -> Entry | None:
        """The entry of that id; None where there is none."""
        from langgraph.store.base import GetOp

        heads = ("memory", "memory_usage")
        item, usage = await self.store.abatch([GetOp(self.place.namespace(level, head), key) for head in heads])
        return _entry(item, level, usage) if item is not None else None

    async def equal(self, level: Level, text: str) -> Entry | None:
        """The entry of that content; None where there is none."""
        from langgraph.store.base import GetOp, SearchOp

        space, mark = self.place.namespace(level), digest(text)
        ops: list[Op] = [GetOp(space, mark), SearchOp(space, filter={"digest": mark}, limit=1)]
        direct, others = await self.store.abatch(ops)
        found: list[Any] = [direct, *(others if isinstance(others, list) else [])]
        for item in found:
            if item is not None and item.value.get("digest") == mark:
                usage = await self._usage(level, [item.key])
                return _entry(item, level, usage.get(item.key))
        return None

    async def free_id(self, level: Level, text: str) -> str:
        """The id of a new entry: the same for two who add the same at once, so that it is there once.

        Raises:
            EngineError: ``conflict``; the level holds as much as it may.
        """
        from langgraph.store.base import GetOp, SearchOp

        (there,) = await self.store.abatch([SearchOp(self.place.namespace(level), limit=self._most)])
        if isinstance(there, list) and len(there) >= self._most:
            raise EngineError(
                "conflict",
                f"The memory of the {level} holds {self._most:,} entries, as many as it may: forget some first",
                limit=self._most,
            )
        mark, number = digest(text), 0
        while True:
            key = f"{mark}-{number}" if number else mark
            (taken,) = await self.store.abatch([GetOp(self.place.namespace(level), key)])
            if taken is None:
                return key
            number += 1

    async def put(self, entry: Entry) -> None:
        """Keep the entry, and what it means where a model says it."""
        from langgraph.store.base import PutOp

        space, value = self.place.namespace(entry.level), kept(entry)
        if self.store.meaning:
            try:
                await self.store.abatch([PutOp(space, entry.id, value, index=[EMBEDDED])])
                return
            except EngineError:
                raise
            except Exception as err:  # a model's service fails in ways of its own; the entry is found by its words then
                self.store.trouble = f"the model of its vectors failed: {str(err)[:200]}"
        await self.store.abatch([PutOp(space, entry.id, value, index=False)])

    async def delete(self, level: Level, ids: Sequence[str]) -> None:
        """Remove the entries with what was counted of them."""
        from langgraph.store.base import PutOp

        spaces = [self.place.namespace(level), self.place.namespace(level, "memory_usage")]
        for start in range(0, len(ids), _PAGE):
            ops: list[Op] = [PutOp(space, key, None) for key in ids[start : start + _PAGE] for space in spaces]
            await self.store.abatch(ops)

    async def _usage(self, level: Level, keys: Iterable[str]) -> dict[str, Item]:
        from langgraph.store.base import GetOp

        space = self.place.namespace(level, "memory_usage")
        wanted = list(keys)
        found: list[Any] = list(await self.store.abatch([GetOp(space, key) for key in wanted])) if wanted else []
        return {key: item for key, item in zip(wanted, found, strict=True) if item is not None}

    async def every(self, level: Level) -> list[Entry]:
        """All entries of the level."""
        from langgraph.store.base import SearchOp

        spaces = [self.place.namespace(level), self.place.namespace(level, "memory_usage")]
        found: list[Any] = list(await self.store.abatch([SearchOp(space, limit=self._most) for space in spaces]))
        by_key = {item.key: item for item in found[1]}
        made = (_entry(item, level, by_key.get(item.key)) for item in found[0])
        return [entry for entry in made if entry is not None]

    async def likes(self, query: str) -> dict[tuple[Level, str], float]:
        """How near each entry is to the query by its meaning; none where the model fails."""
        from langgraph.store.base import SearchOp

        levels = self.place.levels()
        ops: list[Op] = [SearchOp(self.place.namespace(level), query=query, limit=self._most) for level in levels]
        try:
            found: list[Any] = list(await self.store.abatch(ops))
        except EngineError:
            raise
        except Exception as err:
            self.store.trouble = f"the model of its vectors failed: {str(err)[:200]}"
            return {}
        pairs = zip(levels, found, strict=True)
        return {(level, item.key): float(item.score or 0.0) for level, items in pairs for item in items}

    async def used(self, entries: Sequence[Entry], at: datetime) -> None:
        """Count one use more of each."""
        from langgraph.store.base import PutOp

        ops: list[Op] = [
            PutOp(
                self.place.namespace(entry.level, "memory_usage"),
                entry.id,
                {"uses": entry.uses + 1, "at": at.isoformat()},
                index=False,
            )
            for entry in entries
        ]
        await self.store.abatch(ops)


def _entry(item: Any, level: Level, usage: Any) -> Entry | None:
    value: Mapping[str, Any] = item.value
    return entry_of(item.key, level, value, usage.value if usage is not None else None)
