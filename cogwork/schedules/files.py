"""Files that appear or change under roots: what is there now against what was there before."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cogwork.records.columns import instant, micros
from graphs.language.triggers import FileTrigger, seconds
from state.values import Json

MOST: Final = 10_000
"""Files that one trigger looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look has found: the files with their stamps, and whether there were more than are looked at."""

    files: dict[str, tuple[int, int]]
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that has settled: an event."""

    path: str
    size: int
    modified: int
    change: str

    @property
    def key(self) -> str:
        """What tells this event from all others of the trigger."""
        return hashlib.sha256(f"{self.path}\0{self.modified}\0{self.size}".encode()).hexdigest()[:32]

    def event(self) -> dict[str, Json]:
        """What expressions see."""
        return {
            "path": self.path,
            "name": Path(self.path).name,
            "size": self.size,
            "modified_at": datetime.fromtimestamp(self.modified / 1e9, UTC).isoformat(timespec="seconds"),
            "change": self.change,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What follows from a look: the events, and the position to keep."""

    events: list[Found] = field(default_factory=list)
    position: dict[str, Any]


def look(definition: FileTrigger, roots: Sequence[Path]) -> Seen:
    """The files under the roots that fit the pattern; links that lead out of their root are not followed. Blocks."""
    files: dict[str, tuple[int, int]] = {}
    for root in roots:
        for path, status in _fitting(definition.path, root):
            if len(files) >= MOST:
                return Seen(files=files, cut=True)
            files[path] = (status.st_mtime_ns, status.st_size)
    return Seen(files=files)


def _fitting(pattern: str, root: Path) -> Iterator[tuple[str, os.stat_result]]:
    home = root.resolve()
    if not home.is_dir():
        return
    for path in home.glob(pattern):
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except OSError:  # It went away meanwhile, is a ring of links, or may not be read.
            continue
        if real.is_relative_to(home) and stat.S_ISREG(status.st_mode) and str(path).isprintable():
            yield str(path), status


def compare(definition: FileTrigger, position: Json, seen: Seen, now: datetime) -> Compared:
    """Which files have appeared or changed and lain still since, and the new position.

    The position holds ``known`` (path → stamp of what has been dealt with) and ``moving`` (path → stamp, and since when).
    """
    first = not isinstance(position, dict)
    known = dict(position["known"]) if not first else {}
    before = position["moving"] if not first else {}
    moving: dict[str, Json] = {}
    events: list[Found] = []
    if first and not definition.existing:
        return Compared(position={"known": {path: list(mark) for path, mark in seen.files.items()}, "moving": {}})
    for path, mark in seen.files.items():
        if known.get(path) == list(mark):
            continue
        since = before[path][2] if path in before and before[path][:2] == list(mark) else micros(now)
        if now - instant(since) < seconds(definition.settled):
            moving[path] = [*mark, since]
            continue
        change = "changed" if path in known else "created"
        known[path] = list(mark)
        if change in definition.on:
            events.append(Found(path=path, size=mark[1], modified=mark[0], change=change))
    kept = {path: mark for path, mark in known.items() if seen.cut or path in seen.files}
    return Compared(events=events, position={"known": kept, "moving": moving})
