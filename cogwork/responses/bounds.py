"""How much of something is shown, and shortening what is more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cogwork.responses.response import Shortened, size_of
from state.values import MAX_BYTES, Json

_MARK: Final = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most that a response holds: ``total`` bytes of its output, a quarter of that of its questions, ``inline`` bytes of an
    artifact's content, and so many texts as parts of their own, artifacts and questions; files are read for their digest up to
    ``hashed`` bytes."""

    total: int = 256 * 1024
    texts: int = 50
    inline: int = 16 * 1024
    artifacts: int = 100
    questions: int = 20
    hashed: int = 64 * 1024 * 1024


USUAL: Final = Bounds()
WHOLE: Final = Bounds(total=4 * MAX_BYTES, texts=10_000, artifacts=10_000, questions=10_000)
"""Nothing that an execution can come to is shortened by these."""


def shortened_text(text: str, limit: int, where: str) -> tuple[str, Shortened | None]:
    """The text with at most ``limit`` bytes, cut between characters."""
    size = size_of(text)
    if size <= limit:
        return text, None
    kept = text.encode("utf-8", "surrogatepass")[: max(0, limit)].decode("utf-8", "ignore")
    return kept, Shortened(shown=size_of(kept), size=size, where=where)


def shortened_value(value: Json, limit: int, where: str) -> tuple[Json, Shortened | None]:
    """The value with about ``limit`` bytes: long texts, lists and objects end in ``…`` with a count of what is left out."""
    size = size_of(value)
    if size <= limit:
        return value, None
    kept = _Cut(max(0, limit)).plain(value)
    return kept, Shortened(shown=size_of(kept), size=size, where=where)


class _Cut:
    """One walk over a value, counting the bytes that are left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def plain(self, value: Json) -> Json:
        """As much of the value as there is room for."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        if isinstance(value, list):
            return self._items(value)
        self.left -= size_of(value) + 1
        return value

    def _text(self, text: str) -> str:
        kept, cut = shortened_text(text, self.left, "")
        self.left -= size_of(kept) + 3
        return f"{kept}{_MARK} ({cut.size - cut.shown:,} more bytes)" if cut else text

    def _items(self, items: list[Json]) -> list[Json]:
        made = [self.plain(item) for item in self._while_room(items)]
        missing = len(items) - len(made)
        return [*made, f"{_MARK} {missing:,} more"] if missing else made

    def _object(self, fields: Mapping[str, Json]) -> dict[str, Json]:
        made: dict[str, Json] = {}
        for name in self._while_room(fields):
            if (size := size_of(name)) > self.left:
                break
            self.left -= size + 4
            made[name] = self.plain(fields[name])
        if missing := len(fields) - len(made):
            made[_MARK] = f"{missing:,} more"
        return made

    def _while_room(self, items: Iterable[Json]) -> Iterable[Json]:
        self.left -= 2
        for item in items:
            if self.left <= 0:
                return
            yield item
