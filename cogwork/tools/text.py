"""Tools that read, list and write text files under the allowed folders."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.roots import Roots
from state.errors import Fault

MAX_READ = 4 * 1024 * 1024
PROBED = 8192
"""How many bytes are looked at to tell whether a file is text."""


class ReadText(TypedDict):
    """A file's text, or the asked part of it; ``truncated`` when ``max_bytes`` cut it."""

    path: str
    text: str
    start_line: int
    end_line: int
    truncated: bool


class ListedFile(TypedDict):
    """One file of a listing; ``size`` in bytes."""

    path: str
    size: int
    modified: str


class Listing(TypedDict):
    """The files of a folder; ``truncated`` when there are more."""

    folder: str
    files: list[ListedFile]
    count: int
    truncated: bool


class WrittenText(TypedDict):
    """What was written; ``created`` when there was no such file before."""

    path: str
    bytes: int
    created: bool


class RemovedText(TypedDict):
    """What was removed; ``removed`` is false when there was no such file."""

    path: str
    removed: bool


class Excerpt(TypedDict):
    """Lines around one line of a source file, each with its number in ``text``."""

    path: str
    line: int
    start_line: int
    end_line: int
    code: str
    text: str


def text_tools(roots: Roots, write_roots: Roots) -> list[FunctionTool]:
    """The tools of this module; ``text.write`` and ``text.remove`` only where there is a folder to write to."""
    make = FunctionTool.from_function
    tools = [
        make(partial(read, roots), name="text.read", effect="read"),
        make(partial(list_files, roots), name="text.list", effect="read"),
        make(partial(excerpt, roots), name="source.excerpt", effect="read"),
    ]
    if write_roots.folders:
        tools.append(make(partial(write, write_roots), name="text.write", effect="write", idempotent=True))
        tools.append(make(partial(remove, write_roots), name="text.remove", effect="write", idempotent=True))
    return tools


def read(
    roots: Roots,
    path: Annotated[str, "The file, relative to an allowed folder."],
    start_line: Annotated[int, Field(ge=1, description="The first line to read.")] = 1,
    end_line: Annotated[int | None, Field(ge=1, description="The last line to read; none reads to the end.")] = None,
    max_bytes: Annotated[int, Field(ge=1, le=MAX_READ, description="Stop after so many bytes.")] = 200_000,
) -> ReadText:
    """Read a text file, or some lines of it."""
    found = roots.file(path)
    kept, left, last, truncated = [], max_bytes, start_line - 1, False
    with open_text(found) as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_READ), b""), start=1):
            if end_line is not None and number > end_line:
                break
            if number < start_line:
                continue
            if left <= 0:
                truncated = True
                break
            kept.append(line[:left])
            truncated, left, last = len(line) > left, left - len(line), number
    text = b"".join(kept).decode("utf-8", errors="ignore" if truncated else "replace")
    return ReadText(path=roots.shown(found), text=text, start_line=start_line, end_line=last, truncated=truncated)


def list_files(
    roots: Roots,
    folder: Annotated[str, "The folder, relative to an allowed folder."] = ".",
    glob: Annotated[str, "Which files: such as *.md (by name) or docs/**/*.md (by path)."] = "**",
    limit: Annotated[int, Field(ge=1, le=10_000, description="At most so many files.")] = 1_000,
) -> Listing:
    """List the files below a folder, without hidden folders and installed packages."""
    top = roots.folder(folder)
    found = list(islice(roots.files(top, glob), limit + 1))
    files = [_listed(roots, file) for file in found[:limit]]
    return Listing(folder=roots.shown(top), files=files, count=len(files), truncated=len(found) > limit)


def write(
    roots: Roots,
    path: Annotated[str, "The file: from the working folder, or within a folder that may be written to."],
    content: Annotated[str, "The whole new text."],
) -> WrittenText:
    """Write a text file as a whole: it holds the old or the new text, never a part. Folders are created."""
    target = _target(roots, path)
    if target.is_dir() or target in roots.folders:
        raise Fault("invalid_input", f"{path!r} is a folder, not a file.", origin="tool")
    data, created = content.encode("utf-8", errors="replace"), not target.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644 if created else target.stat().st_mode & 0o777)
        Path(temporary).replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
    return WrittenText(path=_from_here(roots, target), bytes=len(data), created=created)


def remove(
    roots: Roots, path: Annotated[str, "The file: from the working folder, or within a folder that may be written to."]
) -> RemovedText:
    """Remove a text file; one that is not there counts as removed. It takes back what `text.write` created."""
    target = _target(roots, path)
    if target.exists() and not target.is_file():
        raise Fault("invalid_input", f"{path!r} is no file: only files are removed.", origin="tool")
    there = target.exists()
    target.unlink(missing_ok=True)
    return RemovedText(path=_from_here(roots, target), removed=there)


def _target(roots: Roots, path: str) -> Path:
    """Where a text goes: ``reports/a.md`` is the file of that name even where ``reports`` is the folder to write to."""
    here = Path.cwd() / path
    return roots.inside(str(here) if any(here.is_relative_to(folder) for folder in roots.folders) else path)


def _from_here(roots: Roots, target: Path) -> str:
    """The path as a person in the working folder would write it, else as ``roots`` shows it."""
    here = Path.cwd()
    return target.relative_to(here).as_posix() if target.is_relative_to(here) else roots.shown(target)


def excerpt(
    roots: Roots,
    path: Annotated[str, "The source file, relative to an allowed folder."],
    line: Annotated[int, Field(ge=1, description="The line in the middle.")],
    before: Annotated[int, Field(ge=0, le=500, description="How many lines before it.")] = 8,
    after: Annotated[int, Field(ge=0, le=500, description="How many lines after it.")] = 8,
) -> Excerpt:
    """Show the lines of a source file around one line, as traces name them."""
    start = max(1, line - before)
    part = read(roots, path, start_line=start, end_line=line + after, max_bytes=MAX_READ)
    lines = part["text"].splitlines()
    if len(lines) < line - start + 1:
        raise Fault("invalid_input", f"{path!r} ends before line {line}.", origin="tool")
    numbered = [f"{'>' if n == line else ' '} {n:>5}  {text}" for n, text in enumerate(lines, start=start)]
    return Excerpt(
        path=part["path"],
        line=line,
        start_line=start,
        end_line=start + len(lines) - 1,
        code=lines[line - start],
        text="\n".join(numbered),
    )


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[BufferedReader]:
    """A file opened for reading bytes, refused when it is not text.

    Raises:
        Fault: ``invalid_input`` for a binary file.
    """
    with path.open("rb") as file:
        if b"\0" in file.peek(PROBED)[:PROBED]:
            raise Fault("invalid_input", f"{path.name!r} is a binary file, not text.", origin="tool")
        yield file


def _listed(roots: Roots, file: Path) -> ListedFile:
    facts = file.stat()
    modified = dt.datetime.fromtimestamp(facts.st_mtime, tz=dt.UTC).isoformat(timespec="seconds")
    return ListedFile(path=roots.shown(file.resolve()), size=facts.st_size, modified=modified)
