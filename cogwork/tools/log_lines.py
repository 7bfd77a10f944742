"""One line of a log, in any of the usual formats, as time, level, logger and message."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Level = Literal["debug", "info", "warning", "error", "critical"]
MAX_LINE: Final = 16_384
"""Longer lines are cut before they are looked at."""

_LEVELS: Final[dict[str, Level]] = {
    **dict.fromkeys(("trace", "debug", "fine", "verbose"), "debug"),
    **dict.fromkeys(("info", "information", "notice", "success"), "info"),
    **dict.fromkeys(("warn", "warning"), "warning"),
    **dict.fromkeys(("error", "err", "severe", "exception"), "error"),
    **dict.fromkeys(("crit", "critical", "fatal", "alert", "emerg", "panic"), "critical"),
}
_NAMES: Final = (
    "TRACE|DEBUG|VERBOSE|INFO|NOTICE|SUCCESS|WARN(?:ING)?|ERR(?:OR)?|SEVERE|CRIT(?:ICAL)?|FATAL|ALERT|EMERG|PANIC"
)
_STAMP: Final = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_STAMPED = re.compile(rf"\[?({_STAMP})\]?[\s|:,-]*(.*)$")
_LEVEL = re.compile(rf"(?:^|(?<=[\s\[(|:<.-]))({_NAMES})(?=$|[\s\])|:>-])")
_SMALL = re.compile(rf"[\[(<](?:[\w.-]+:)?({_NAMES})[\])>]|\blevel=\"?({_NAMES})\b", re.IGNORECASE)
_BARE = re.compile(rf"\[?({_NAMES})\]?(?::([\w.]+):|:|\s+-|\s|$)\s*(.*)$")
_NAMED = re.compile(r"[\[(]?([\w.$/-]+(?::[\w.<>$]+:\d+)?)[\])]?(?: +- +|: +|\] +)(.*)$")
_APACHE = re.compile(
    r"\[\w{3} (\w{3}) +(\d\d?) (\d\d:\d\d:\d\d)(?:\.\d+)? (\d{4})\] \[(?:([\w.-]+):)?(\w+)\]"
    r"(?: \[pid [^\]]*\])?(?: \[client [^\]]*\])? ?(.*)$"
)
_ACCESS = re.compile(
    r'(\S+) \S+ \S+ \[(\d\d)/(\w{3})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\] "([^"]*)" (\d{3}) (?:\d+|-)'
)
_SYSLOG = re.compile(r"(?:<(\d{1,3})>)?(\w{3}) +(\d\d?) (\d\d:\d\d:\d\d) (\S+) ([^\s:\[]+)(?:\[\d+\])?: ?(.*)$")
_SYSLOG5 = re.compile(r"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (?:-|\[[^\]]*\]) ?(.*)$")
_PAIR = re.compile(r'([A-Za-z_@][\w.@-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
_MONTHS: Final = {
    name: n
    for n, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one line says; ``trace`` is a stack trace that came within it."""

    message: str
    level: Level = "info"
    time: dt.datetime | None = None
    logger: str = ""
    trace: str = ""


def read_line(line: str, year: int | None = None) -> Line | None:
    """The line as data; None when it begins in no known format. ``year`` completes the dates of syslog."""
    line = line[:MAX_LINE].rstrip()
    if not line or line[0].isspace():
        return None
    for reader in _readers(line[0]):
        if (found := reader(line, year)) is not None:
            return found
    return None


def moment(text: str) -> dt.datetime | None:
    """The moment an ISO-like text names, in UTC (assumed where it names no zone); None where it names none."""
    text = text.strip().replace("/", "-").replace(",", ".").replace(" UTC", "Z").replace("UTC", "Z")
    text = re.sub(r"(\.\d{6})\d+", r"\1", re.sub(r" (?=[Z+-])", "", text))
    try:
        found = dt.datetime.fromisoformat(text)
        return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _readers(first: str) -> tuple[Callable[[str, int | None], Line | None], ...]:
    """The formats that may begin with this character, most particular first."""
    if first == "{":
        return (_json,)
    if first == "[":
        return (_apache, _stamped, _bare)
    if first == "<":
        return (_syslog5, _syslog)
    if first.isdigit():
        return (_stamped, _access, _logfmt)
    return (_bare, _syslog, _access, _logfmt)


def _json(line: str, year: int | None) -> Line | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _from_values(values) if isinstance(values, dict) else None


def _logfmt(line: str, year: int | None) -> Line | None:
    pairs = _PAIR.findall(line)
    values = {key: value[1:-1].replace('\\"', '"') if value[:1] == '"' else value for key, value in pairs}
    known = {"level", "lvl", "msg", "message", "severity"} & values.keys()
    return _from_values(values) if known and len(values) > 1 else None


def _from_values(values: Mapping[str, Any]) -> Line | None:
    folded = {str(key).lower().lstrip("@"): value for key, value in values.items()}

    def first(*keys: str) -> str:
        found = next((folded[key] for key in keys if folded.get(key) not in (None, "", [], {})), "")
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str)

    message = first("message", "msg", "event", "error", "err")
    level = first("level", "levelname", "severity", "lvl", "loglevel", "log.level").strip().lower()
    if not message and not level:
        return None
    return Line(
        message=message,
        level=_LEVELS.get(level, _numbered(level)),
        time=_any_moment(first("timestamp", "time", "ts", "asctime", "date", "datetime")),
        logger=first("logger", "logger_name", "name", "module", "component"),
        trace=first("exc_info", "exception", "stack", "stacktrace", "stack_trace", "traceback"),
    )


def _numbered(level: str) -> Level:
    """Levels as numbers: Python's (10 to 50), and pino's and bunyan's, which use the same tens from 20."""
    number = int(level) if level.isdecimal() and len(level) < 4 else 0
    table: tuple[tuple[int, Level], ...] = (
        (50, "critical"),
        (40, "error"),
        (30, "warning"),
        (20, "info"),
        (1, "debug"),
    )
    return next((name for least, name in table if number >= least), "info")


def _any_moment(text: str) -> dt.datetime | None:
    """ISO text, or seconds or milliseconds since 1970."""
    if re.fullmatch(r"\d{9,13}(?:\.\d{1,9})?", text):
        seconds = float(text)
        return dt.datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, tz=dt.UTC)
    return moment(text)


def _stamped(line: str, year: int | None) -> Line | None:
    """A time, then level, logger and message in any order: the logging of Python, Java, nginx and most others."""
    found = _STAMPED.match(line)
    if found is None:
        return None
    time, rest = moment(found[1]), found[2]
    if "=" in rest[:40] and (values := _logfmt(rest, year)) is not None:
        return Line(message=values.message, level=values.level, time=time, logger=values.logger)
    level = _LEVEL.search(rest, 0, 120) or _SMALL.search(rest, 0, 120)
    if level is None:
        return Line(message=rest, time=time)
    before = re.sub(r"[\[\]|()<]| - |\s-$|^-\s", " ", rest[: level.start()]).split()
    after = rest[level.end() :].lstrip(" \t]|)>:-")
    logger = before[-1].strip("-:.") if before else ""
    if not logger and (named := _NAMED.match(after)) is not None:
        logger, after = named[1], named[2]
    return Line(message=after, level=_LEVELS[_word(level)], time=time, logger=logger)


def _bare(line: str, year: int | None) -> Line | None:
    found = _BARE.match(line)
    if found is None:
        return None
    return Line(message=found[3], level=_LEVELS[found[1].lower()], logger=found[2] or "")


def _apache(line: str, year: int | None) -> Line | None:
    found = _APACHE.match(line)
    if found is None:
        return None
    month, day, clock, own_year, module, level, message = found.groups()
    return Line(
        message=message,
        level=_LEVELS.get(level.lower(), "info"),
        time=_dated(own_year, month, day, clock),
        logger=module or "",
    )


def _access(line: str, year: int | None) -> Line | None:
    """Web servers' access logs: answers from 500 are errors, from 400 warnings."""
    found = _ACCESS.match(line)
    if found is None:
        return None
    _, day, month, own_year, clock, zone, request, status = found.groups()
    level: Level = "error" if status >= "500" else "warning" if status >= "400" else "info"
    time = _dated(own_year, month, day, clock, zone)
    return Line(message=f"{request.removesuffix(' HTTP/1.1')} {status}", level=level, time=time, logger="access")


def _syslog(line: str, year: int | None) -> Line | None:
    found = _SYSLOG.match(line)
    if found is None or found[2] not in _MONTHS:
        return None
    priority, month, day, clock, _, program, message = found.groups()
    time = _dated(str(year), month, day, clock) if year else None
    return Line(message=message, level=_syslog_level(priority, message), time=time, logger=program)


def _syslog5(line: str, year: int | None) -> Line | None:
    found = _SYSLOG5.match(line)
    if found is None:
        return None
    priority, stamp, _, program, _, _, message = found.groups()
    level = _syslog_level(priority, message)
    return Line(message=message.lstrip("\ufeff"), level=level, time=moment(stamp), logger=program.strip("-"))


def _syslog_level(priority: str | None, message: str) -> Level:
    """The level by the priority, else by the first word of a level in the message's beginning."""
    if priority is not None:
        table: tuple[Level, ...] = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
        return table[int(priority) % 8]
    word = (
        _LEVEL.search(message, 0, 80) or _SMALL.search(message, 0, 80) or re.match(r"(error|warning|fatal)\b", message)
    )
    return _LEVELS[_word(word)] if word else "info"


def _word(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group).lower()


def _dated(year: str, month: str, day: str, clock: str, zone: str = "+0000") -> dt.datetime | None:
    return moment(f"{year}-{_MONTHS.get(month, 0):02}-{int(day):02}T{clock}{zone[:3]}:{zone[3:]}")
