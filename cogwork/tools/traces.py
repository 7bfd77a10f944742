"""Stack traces as data: Python's (chained, grouped, syntax errors), JavaScript's and Java's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool

MAX_ERRORS = 100
MAX_FRAMES = 1_000
_GROUP = re.compile(r"^\s*(?:\| ?|\+-[-+ \d]*(?=\+|$)|\+ (?=Exception Group))")
_HEAD = re.compile(r"Traceback \(most recent call last\):$")
_FILE = re.compile(r'^\s*File "([^"\n]{1,1000})", line (\d{1,9})(?:, in (.{1,300}))?$')
_ERROR = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*)|:?)$")
_CARETS = re.compile(r"^[\s~^]+$")
_LINKS = {
    "The above exception was the direct cause of the following exception:": "cause",
    "During handling of the above exception, another exception occurred:": "context",
}
_JAVA = re.compile(r"^\s+at ((?:[\w$<>/@.-]+\.)?[\w$<>]+)\(([^():\s]+)(?::(\d{1,9}))?\)$")
_SCRIPT = re.compile(
    r"^\s+at (?:(async )?([^()\n]{1,300}?) \()?((?:[a-z]+:|/|\.|[A-Za-z]:\\|\w)[^()\n]{0,500}?):(\d{1,9}):\d{1,9}\)?$"
)
_THROWN = re.compile(
    r'^(?:Exception in thread "[^"]{0,200}" |Caused by: |Uncaught )*((?:[\w$]+\.)*[A-Z][\w$]*)(?:: (.*))?$'
)
_INSTALLED = ("site-packages", "dist-packages", "lib/python", "node_modules", "node:", "<frozen", "<string>")

Language = Literal["python", "javascript", "java"]


class Frame(TypedDict):
    """One call; ``line`` is 0 and ``code`` empty where the trace does not tell."""

    file: str
    line: int
    function: str
    code: str


class TracedError(TypedDict):
    """One error; ``frames`` from the outermost call to the place of the error, in every language.

    ``link`` says how it relates to the error before it in the list: it was raised from it (``cause``), while it was
    handled (``context``), or is the cause of it (``caused_by``, Java's order); null for the first.
    """

    type: str
    message: str
    language: Language
    link: str | None
    frames: list[Frame]


class Traces(TypedDict):
    """All errors in the order of the text; ``root`` is the original one, ``origin`` its deepest frame in one's own code."""

    errors: list[TracedError]
    count: int
    root: TracedError | None
    origin: Frame | None


def trace_tools() -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(traces, name="traceback.parse", effect="none")]


def traces(
    text: Annotated[str, "Text that holds stack traces, such as what a program printed as it failed."],
) -> Traces:
    """Read the stack traces in a text (Python, JavaScript, Java) as errors with their frames."""
    lines = [_GROUP.sub("", line) for line in text.splitlines()]
    errors: list[TracedError] = []
    for _, error in sorted([*_python(lines), *_others(lines)], key=lambda found: found[0]):
        errors.append(error)
        if len(errors) == MAX_ERRORS:
            break
    root = _root(errors)
    return Traces(errors=errors, count=len(errors), root=root, origin=_origin(root))


def _root(errors: list[TracedError]) -> TracedError | None:
    """The original of the last chain in the text."""
    if not errors:
        return None
    position = len(errors) - 1
    if errors[position]["link"] == "caused_by":
        return errors[position]
    while position > 0 and errors[position]["link"] in ("cause", "context"):
        position -= 1
    return errors[position]


def _origin(error: TracedError | None) -> Frame | None:
    frames = error["frames"] if error else []
    own = [f for f in frames if not any(part in f["file"].replace("\\", "/") for part in _INSTALLED)]
    return next(reversed(own or frames), None)


def _python(lines: list[str]) -> Iterator[tuple[int, TracedError]]:
    link: str | None = None
    position = 0
    while position < len(lines):
        line = lines[position].strip()
        if line:
            link = _LINKS.get(line, link if _HEAD.search(line) else None)
        if _HEAD.search(line) or (_FILE.match(lines[position]) and not _FILE.match(lines[position])[3]):  # type: ignore[index]
            begun = position
            position, error = _python_error(lines, position + bool(_HEAD.search(line)), link)
            if error is not None:
                yield begun, error
            link = None
        else:
            position += 1


def _python_error(lines: list[str], position: int, link: str | None) -> tuple[int, TracedError | None]:
    """The error whose frames begin at ``position``, and where the text goes on after it."""
    frames: list[Frame] = []
    margin = _margin(lines[position]) if position < len(lines) else 0
    while position < len(lines):
        line = lines[position]
        if found := _FILE.match(line):
            frames.append(Frame(file=found[1], line=int(found[2]), function=(found[3] or "").strip(), code=""))
        elif not line.strip() or (_margin(line) < margin and _ERROR.match(line.strip())):
            break
        elif frames and not frames[-1]["code"] and not _CARETS.match(line):
            frames[-1]["code"] = line.strip()
        position += 1
    found = _ERROR.match(lines[position].strip()) if position < len(lines) else None
    if found is None:
        return position, None
    message, position = [found[2] or ""], position + 1
    while position < len(lines) and lines[position][:1].isspace() and len(message) < 20:
        if _HEAD.search(lines[position]) or _FILE.match(lines[position]):
            break
        message.append(lines[position].strip())
        position += 1
    error = _error(found[1], "\n".join(message), "python", link, frames[-MAX_FRAMES:])
    return position, error


def _others(lines: list[str]) -> Iterator[tuple[int, TracedError]]:
    """JavaScript's and Java's errors: a line that names the error, then ``at`` lines, deepest call first."""
    position = 0
    while position < len(lines):
        begun, thrown = position, _THROWN.match(lines[position].strip())
        position += 1
        frames: list[Frame] = []
        language: Language = "java"
        while thrown and position < len(lines) and len(frames) < MAX_FRAMES:
            frame = _java(lines[position]) or _script(lines[position])
            if frame is None:
                break
            language = language if _java(lines[position]) else "javascript"
            frames.append(frame)
            position += 1
        if thrown and frames:
            link = "caused_by" if lines[begun].strip().startswith("Caused by: ") else None
            yield begun, _error(thrown[1], thrown[2] or "", language, link, frames[::-1])


def _java(line: str) -> Frame | None:
    found = _JAVA.match(line)
    return Frame(file=found[2], line=int(found[3] or 0), function=found[1], code="") if found else None


def _script(line: str) -> Frame | None:
    found = _SCRIPT.match(line)
    return Frame(file=found[3], line=int(found[4]), function=found[2] or "", code="") if found else None


def _error(kind: str, message: str, language: Language, link: str | None, frames: list[Frame]) -> TracedError:
    return TracedError(type=kind, message=message[:4_000], language=language, link=link, frames=frames)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())
