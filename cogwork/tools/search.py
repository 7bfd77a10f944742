"""The tool that searches text files for passages that answer a query."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.passages import Passage, passages, ranked
from cogwork.tools.roots import Roots
from cogwork.tools.text import PROBED
from state.errors import Fault

TEXT = frozenset(
    (
        "md",
        "txt",
        "rst",
        "adoc",
        "tex",
        "py",
        "toml",
        "yaml",
        "yml",
        "json",
        "ini",
        "cfg",
        "html",
        "css",
        "js",
        "ts",
        "tsx",
        "java",
        "go",
        "rs",
        "c",
        "h",
        "cpp",
        "sql",
        "sh",
        "csv",
        "log",
        "xml",
    )
)
MAX_FILE = 2 * 1024 * 1024
MAX_FILES = 5_000
MAX_TOTAL = 64 * 1024 * 1024


class FoundPassage(TypedDict):
    """A passage that answers; ``score`` compares within one search only."""

    path: str
    line: int
    heading: str
    text: str
    score: float


class Found(TypedDict):
    """The best passages first; ``files`` were searched, ``skipped`` were too large or no text."""

    query: str
    passages: list[FoundPassage]
    files: int
    skipped: int


def search_tools(roots: Roots) -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(partial(search, roots), name="text.search", effect="read")]


def search(
    roots: Roots,
    query: Annotated[str, Field(min_length=1, max_length=1_000, description="The words to look for.")],
    path: Annotated[str, "A folder or a file, relative to an allowed folder."] = ".",
    glob: Annotated[str | None, "Which files, such as *.md; none takes every usual kind of text."] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="At most so many passages.")] = 8,
    context: Annotated[int, Field(ge=0, le=50, description="How many lines to add around each passage.")] = 0,
) -> Found:
    """Find the passages of text files that answer a query best, with their files, lines and headings."""
    texts, skipped = _texts(roots, path, glob)
    best = ranked([passage for name, text in texts.items() for passage in passages(name, text)], query, limit)
    found = [
        FoundPassage(
            path=passage.path,
            line=max(1, passage.line - context),
            heading=passage.heading,
            text=_widened(passage, texts[passage.path], context),
            score=score,
        )
        for score, passage in best
    ]
    return Found(query=query, passages=found, files=len(texts), skipped=skipped)


def _texts(roots: Roots, path: str, glob: str | None) -> tuple[dict[str, str], int]:
    """The texts of the files to search, by the path shown for them, and how many files were left out."""
    top = roots.inside(path)
    if not top.exists():
        raise Fault("invalid_input", f"{path!r} does not exist under the allowed folders.", origin="tool")
    files = [top] if top.is_file() else roots.files(top, glob or "**")
    texts: dict[str, str] = {}
    skipped = total = 0
    for file in files:
        if not top.is_file() and glob is None and file.suffix[1:].lower() not in TEXT:
            continue
        text = _text(file) if len(texts) < MAX_FILES and total < MAX_TOTAL else None
        if text is None:
            skipped += 1
            continue
        total += len(text)
        texts[roots.shown(file.resolve())] = text
    return texts, skipped


def _text(file: Path) -> str | None:
    """The text of a file; None where it is too large, no text or gone."""
    try:
        if file.stat().st_size > MAX_FILE:
            return None
        data = file.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data[:PROBED] else data.decode("utf-8", errors="replace")


def _widened(passage: Passage, text: str, context: int) -> str:
    if context == 0:
        return passage.text
    lines, first = text.splitlines(), passage.line - 1
    last = first + passage.text.count("\n") + 1
    return "\n".join(lines[max(0, first - context) : last + context])
