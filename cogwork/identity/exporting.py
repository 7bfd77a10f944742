"""The audit log as a file of JSON Lines: written whole or not at all, and checked without a database."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from cogwork.errors import EngineError
from cogwork.identity.chain import Broken, Entry, Followed, Mark, entry_of, follow


async def write_lines(path: str | os.PathLike[str], lines: AsyncIterator[str]) -> str | None:
    """Write the lines to a new file that only its owner may read; the last of them.

    Raises:
        EngineError: ``conflict``; there is such a file.
        OSError: it cannot be written.
    """
    file = Path(path)
    if await asyncio.to_thread(file.exists):
        raise EngineError("conflict", f"{file} is there already: exports are not written over", path=str(file))
    part, last = file.with_name(f"{file.name}.part"), None
    written = await asyncio.to_thread(_opened, part)
    try:
        async for line in lines:
            written.write(line)
            last = line
        await asyncio.to_thread(_finished, written, part, file)
    finally:
        await asyncio.to_thread(written.close)
    return last


def _opened(path: Path) -> IO[str]:
    return open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))


def _finished(written: IO[str], part: Path, file: Path) -> None:
    written.flush()
    os.fsync(written.fileno())
    os.replace(part, file)


def follow_file(path: str | os.PathLike[str], begin: Mark | None = None) -> Followed:
    """Follow the chain through an exported file, from its first entry or from the one after ``begin``.

    Without ``begin`` the file may begin anywhere, but for what its first entry says of the one before it.

    Raises:
        OSError: it cannot be read.
    """
    last, count = begin, 0
    try:
        for entry in _entries(path):
            last = last or Mark(entry.seq - 1, entry.previous)
            followed = follow([entry], last)
            if followed.broken is not None:
                return Followed(count, last, followed.broken)
            last, count = followed.last, count + 1
    except ValueError as err:
        where = last or Mark()
        return Followed(count, where, Broken(where.seq + 1, f"its line cannot be read: {err}"))
    return Followed(count, last or Mark())


def _entries(path: str | os.PathLike[str]) -> Iterator[Entry]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("it is no entry")
            yield entry_of(told)
