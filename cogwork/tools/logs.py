"""The tool that reads logs: entries counted by level, what went wrong grouped by what it has in common, one severity."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final, Literal

from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.log_lines import MAX_LINE, Level, Line, moment, read_line
from cogwork.tools.roots import Roots
from cogwork.tools.text import open_text
from cogwork.tools.traces import Frame, traces
from state.errors import Fault

MAX_LINES: Final = 2_000_000
MAX_BODY: Final = 400
MAX_GROUPS: Final = 200
Severity = Literal["none", "low", "medium", "high", "critical"]
_ORDER: Final[tuple[Level, ...]] = ("critical", "error", "warning", "info", "debug")
_START = re.compile(r"(?:\s*\+ Exception Group )?Traceback \(most recent call last\):")
_RAISED = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?::\s|:?$)")
_MASKS: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,:+Z-]*", "<time>"),
        (r"\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)|`[^`\n]*`", "<text>"),
        (r"\b[a-z][a-z0-9+.-]{1,15}://[^\s,;)\]}]+", "<url>"),
        (r"(?<![\w<])(?:[A-Za-z]:\\|~?/)[\w.@%+~-]+(?:[/\\][\w.@%+~-]*)*", "<path>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?", "<ip>"),
        (r"\b0x[0-9a-fA-F]+\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}\b", "<hex>"),
        (r"\d+(?:\.\d+)?", "<n>"),
    )
)


class Raised(TypedDict):
    """The error that an entry's stack trace ends with."""

    type: str
    message: str


class LogGroup(TypedDict):
    """Entries alike but for numbers, names in quotes and paths; times are UTC, null where the log has none."""

    signature: str
    level: Level
    logger: str
    count: int
    first: str | None
    last: str | None
    first_line: int
    sample: str
    exception: Raised | None
    frames: list[Frame]


class ParsedLog(TypedDict):
    """``unparsed`` lines are in no known format and belong to no stack trace; ``groups`` are the worst and most frequent first.

    ``severity``: critical with a critical entry; high with 10 errors or more, or when errors are 5 % or more of at
    least 20 entries; medium with any error; low with any warning; else none.
    """

    severity: Severity
    lines: int
    entries: int
    by_level: dict[str, int]
    errors: int
    groups: list[LogGroup]
    more_groups: int
    first: str | None
    last: str | None
    unparsed: int
    truncated: bool


def log_tools(roots: Roots) -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(partial(parse, roots), name="logs.parse", effect="read")]


def parse(
    roots: Roots,
    path: Annotated[str | None, "The log file, relative to an allowed folder; or give the text itself."] = None,
    text: Annotated[str | None, "The log's text, instead of a path."] = None,
    since: Annotated[str | None, "Only entries from this moment on (ISO 8601, UTC unless it names a zone)."] = None,
    levels: Annotated[list[Level] | None, "The levels to group; by default warning, error and critical."] = None,
) -> ParsedLog:
    """Read a log in any usual format, with stack traces: counts by level, groups of like entries, and a severity."""
    begin = moment(since) if since else None
    if since and begin is None:
        raise Fault(
            "invalid_input", f"{since[:60]!r} is no date or time; write it like 2026-11-01T12:00.", origin="tool"
        )
    if (path is None) == (text is None):
        raise Fault("invalid_input", "Give either the path of a log or its text.", origin="tool")
    grouped = frozenset(levels or ("warning", "error", "critical"))
    if text is not None:
        return summary(text.splitlines(), since=begin, grouped=grouped, year=begin.year if begin else None)
    found = roots.file(path or "")
    year = dt.datetime.fromtimestamp(found.stat().st_mtime, tz=dt.UTC).year
    with open_text(found) as file:
        lines = (line.decode("utf-8", errors="replace") for line in iter(lambda: file.readline(MAX_LINE * 4), b""))
        return summary(lines, since=begin, grouped=grouped, year=year)


def summary(
    lines: Iterable[str], *, since: dt.datetime | None, grouped: frozenset[Level], year: int | None = None
) -> ParsedLog:
    """What a log's lines say, in one pass; ``since`` leaves out older entries and, with them, entries before any time."""
    reader = _Reader(year)
    counts: Counter[Level] = Counter()
    groups: dict[tuple[str, ...], _Group] = {}
    first = last = None
    for entry in reader.entries(lines):
        if since is not None and (entry.time is None or entry.time < since):
            continue
        counts[entry.line.level] += 1
        if entry.time is not None:
            first, last = min(first or entry.time, entry.time), max(last or entry.time, entry.time)
        if entry.line.level in grouped:
            groups.setdefault(entry.key, _Group(entry)).add(entry)
    best = sorted(groups.values(), key=lambda g: (_ORDER.index(g.sample.line.level), -g.count, g.sample.number))
    return ParsedLog(
        severity=severity(counts),
        lines=reader.number,
        entries=counts.total(),
        by_level={level: counts[level] for level in _ORDER},
        errors=counts["error"] + counts["critical"],
        groups=[group.shown() for group in best[:MAX_GROUPS]],
        more_groups=max(0, len(best) - MAX_GROUPS),
        first=_shown(first),
        last=_shown(last),
        unparsed=reader.unparsed,
        truncated=reader.truncated,
    )


def severity(counts: Counter[Level]) -> Severity:
    """How bad a log is; the rule stands in ``ParsedLog``."""
    errors, entries = counts["error"], counts.total()
    if counts["critical"]:
        return "critical"
    if errors >= 10 or (entries >= 20 and errors * 20 >= entries):
        return "high"
    if errors:
        return "medium"
    return "low" if counts["warning"] else "none"


def signature(message: str) -> str:
    """The message with what varies masked, so that like messages are equal."""
    masked = " ".join(message[:1_000].split())
    for pattern, instead in _MASKS:
        masked = pattern.sub(instead, masked)
    return masked[:200]


@dataclass(slots=True)
class _Entry:
    """A line that begins an entry, and the lines that belong to it."""

    number: int
    line: Line
    time: dt.datetime | None
    body: list[str] = field(default_factory=list)

    @property
    def trace(self) -> str:
        return "\n".join([*self.body, self.line.trace] if self.line.trace else self.body)

    @property
    def raised(self) -> str:
        """The type of the error that its stack trace ends with, read without parsing the whole."""
        for text in reversed(self.trace.splitlines() if self.body or self.line.trace else []):
            if found := _RAISED.match(text):
                return found[1]
        return ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.line.level, self.line.logger, self.signature, self.raised)

    @property
    def signature(self) -> str:
        """What was said, masked; of a bare stack trace its last error."""
        message, raised = self.line.message, self.raised
        if not _START.match(message):
            return ": ".join(part for part in (signature(message), raised) if part)
        said = next((text for text in reversed(self.body) if raised and text.startswith(raised)), message)
        return signature(said)


class _Group:
    """Entries with one key."""

    def __init__(self, sample: _Entry) -> None:
        self.sample, self.count = sample, 0
        self.first = self.last = sample.time

    def add(self, entry: _Entry) -> None:
        self.count += 1
        if entry.time is not None:
            self.first = min(self.first or entry.time, entry.time)
            self.last = max(self.last or entry.time, entry.time)

    def shown(self) -> LogGroup:
        line, trace = self.sample.line, self.sample.trace
        error = traces(trace)["errors"][-1:] if trace else []
        text = line.message if not trace else f"{line.message}\n{trace}"
        return LogGroup(
            signature=self.sample.signature,
            level=line.level,
            logger=line.logger,
            count=self.count,
            first=_shown(self.first),
            last=_shown(self.last),
            first_line=self.sample.number,
            sample=text[:2_000],
            exception=Raised(type=error[0]["type"], message=error[0]["message"]) if error else None,
            frames=error[0]["frames"][-10:] if error else [],
        )


class _Reader:
    """Lines joined into entries, with counts of what was seen."""

    def __init__(self, year: int | None) -> None:
        self.year, self.number, self.unparsed, self.truncated = year, 0, 0, False

    def entries(self, lines: Iterable[str]) -> Iterator[_Entry]:
        entry: _Entry | None = None
        time: dt.datetime | None = None
        for text in lines:
            if self.number == MAX_LINES:
                self.truncated = True
                break
            self.number += 1
            begun = self._begun(text, entry)
            if begun is None:
                self._join(entry, text)
                continue
            if entry is not None:
                yield entry
            time = begun.time or time
            entry = _Entry(self.number, begun, time)
        if entry is not None:
            yield entry

    def _begun(self, text: str, entry: _Entry | None) -> Line | None:
        """The line as the beginning of an entry; a stack trace begins one unless what is before it already tells of it."""
        if _START.match(text):
            told = entry is not None and entry.line.level in ("warning", "error", "critical")
            return None if told else Line(message=text.strip(), level="error")
        return read_line(text, self.year)

    def _join(self, entry: _Entry | None, text: str) -> None:
        text = text.rstrip()
        if entry is not None and len(entry.body) < MAX_BODY:
            entry.body.append(text[:MAX_LINE])
        if text and not text[0].isspace() and (entry is None or not _in_trace(entry)):
            self.unparsed += 1


def _in_trace(entry: _Entry) -> bool:
    """Whether the entry holds a stack trace that may still go on."""
    near = entry.body[-30:]
    return bool(_START.match(entry.line.message)) or any(
        text.startswith(("Traceback ", "\tat ", "    at ", "Caused by: ")) or _START.match(text) for text in near
    )


def _shown(time: dt.datetime | None) -> str | None:
    return time.isoformat() if time else None
