"""A value made shorter: lists lose whole items, text is cut at the end of a sentence, a line or a word, with a visible mark."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from state.services import Keep
from state.values import Json

MARK: Final = "[…]"
"""Stands in a text where something was left out."""
_WORD: Final = re.compile(r"\s*\S{1,32}|\s+$")
_END: Final = re.compile(r"(?:[.!?。！？][\"'”’)\]]*(?=\s)|\n)")
_NEAR: Final = 0.8
"""The share of what is kept at which the end of a sentence or line is preferred to that of a word."""
_JOINER: Final = "\u200d"


@dataclass(frozen=True)
class Shortening:
    """The ways to shorten one value, from nothing of it (0) to all of it (``len``), each containing the one before."""

    value: str | list[Json]
    keep: Keep

    def __len__(self) -> int:
        return len(self.value) if isinstance(self.value, list) else len(self._ends) - 1

    def at(self, size: int) -> Json:
        """The value with ``size`` of its items or words; the whole value at ``len``."""
        if size >= len(self):
            return self.value
        if isinstance(self.value, list):
            return _of_list(self.value, size, self.keep)
        return _of_text(self.value, self._kept(size)) if size > 0 else ""

    def largest(self, fits: Callable[[Json], bool], least: int = 0) -> int:
        """The greatest size of at least ``least`` that fits; ``least`` where none does."""
        low, high = least, len(self)
        while low < high:
            middle = (low + high + 1) // 2
            if fits(self.at(middle)):
                low = middle
            else:
                high = middle - 1
        return low

    def told(self, size: int) -> str:
        """What is left at ``size``, in words."""
        if size <= 0:
            return "left out"
        if isinstance(self.value, list):
            where = {"tail": "last", "both": "first and last"}.get(self.keep, "first")
            return f"kept the {where} {size} of {len(self)} items"
        head, tail = self._kept(size)
        where = {"tail": "last", "both": "first and last"}.get(self.keep, "first")
        return f"kept the {where} {head + tail:,} of {len(self.value):,} characters"

    # -- text --------------------------------------------------------------------------------------------------

    def _kept(self, size: int) -> tuple[int, int]:
        """How many characters stay at the beginning and at the end."""
        match self.keep:
            case "tail":
                return 0, self._from_end(size)
            case "both":
                return self._from_start((size + 1) // 2), self._from_end(size // 2)
            case _:
                return self._from_start(size), 0

    def _from_start(self, size: int) -> int:
        """Where a beginning of ``size`` words ends: at the end of a sentence or line, if that lies near."""
        here = self._ends[size]
        best = self._stops[bisect_right(self._stops, here) - 1]
        return best if best >= here * _NEAR and best > 0 else here

    def _from_end(self, size: int) -> int:
        """How long an end of ``size`` words is: from the beginning of a sentence or line, if that lies near."""
        total = len(self.value)
        length = total - self._ends[len(self) - size]
        place = bisect_right(self._stops, total - length - 1)
        best = total - self._stops[place] if place < len(self._stops) else 0
        return best if best >= length * _NEAR and best > 0 else length

    @cached_property
    def _ends(self) -> Sequence[int]:
        """Where words end; a very long one is taken apart, but no letter is torn from its accents."""
        text = str(self.value)
        return [0, *(match.end() for match in _WORD.finditer(text) if not _torn(text, match.end()))]

    @cached_property
    def _stops(self) -> Sequence[int]:
        """Where sentences and lines end."""
        return [0, *(match.end() for match in _END.finditer(str(self.value)))]


def _torn(text: str, place: int) -> bool:
    if place >= len(text):
        return False
    after, before = text[place], text[place - 1]
    return bool(unicodedata.combining(after)) or after in "\ufe0e\ufe0f" or _JOINER in (after, before)


def _of_list(items: list[Json], size: int, keep: Keep) -> list[Json]:
    match keep:
        case "tail":
            return items[len(items) - size :]
        case "both":
            return items[: (size + 1) // 2] + items[len(items) - size // 2 :]
        case _:
            return items[:size]


def _of_text(text: str, kept: tuple[int, int]) -> str:
    head, tail = text[: kept[0]].rstrip(), text[len(text) - kept[1] :].lstrip()
    if head and tail:
        return f"{head}\n{MARK}\n{tail}"
    return f"{head} {MARK}" if head else f"{MARK} {tail}"
