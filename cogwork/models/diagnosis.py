"""What an error report and the source around it point to: the error in one line, and the places in order of suspicion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cogwork.models.material import Material, Record, Unit, first
from cogwork.models.ranking import Ranking, query

_RAISED = re.compile(
    r"^(?:E\s+)?(?P<error>(?:\w+\.)*\w*(?:Error|Exception|Warning|Fault|Interrupt|Failure)\b(?::\s*.+)?)$"
)
_FRAME = re.compile(
    r"File \"(?P<file>[^\"]+)\", line (?P<line>\d+)"
    r"(?:, in [^\n]*(?:\n(?![ \t]*(?:File |\w*(?:Error|Exception)\b))[ \t]*(?P<text>[^\n]+))?)?"
)
_PLACE = re.compile(r"(?P<file>[\w./\\-]*[\w-]+\.[A-Za-z]{1,5}):(?P<line>\d+)")
_TYPE_KEYS: Final = ("type", "exception", "error_type", "exception_type", "class", "kind", "name")
_MESSAGE_KEYS: Final = ("message", "msg", "detail", "error", "value", "reason")
_FILE_KEYS: Final = ("file", "path", "filename", "source")
_LINE_KEYS: Final = ("line", "lineno", "line_number", "row")
_FOREIGN = ("site-packages", "/usr/lib", "node_modules", "<frozen", "<string>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of source under suspicion; ``text`` is verbatim and may be empty."""

    file: str
    line: int
    text: str = ""
    score: float = 0.0


def error_line(material: Material) -> str:
    """The error in one line, ``KeyError: 'total'``; empty where the material holds none."""
    for record in material.records:
        kind, message = first(record.value, _TYPE_KEYS), first(record.value, _MESSAGE_KEYS)
        if kind and message and re.search(r"error|exception|fail|warning|panic", f"{record.group} {kind}", re.I):
            return f"{kind}: {message}" if str(kind) not in str(message) else str(message)
    for unit in reversed(material.units):
        for row in reversed(unit.text.splitlines()):
            if match := _RAISED.match(row.strip()):
                return match["error"]
    return ""


def frames(material: Material) -> list[tuple[str, int, str]]:
    """The places that the report names, outermost first: file, line, and the source text where it is given."""
    found = [frame for record in material.records if (frame := _record_frame(record)) is not None]
    told = "\n".join([material.asked, *(unit.text for unit in material.units if unit.record is None)])
    found.extend((m["file"], int(m["line"]), (m["text"] or "").strip()) for m in _FRAME.finditer(told))
    found.extend((m["file"], int(m["line"]), "") for m in _PLACE.finditer(told))
    return list(dict.fromkeys(found))


def _record_frame(record: Record) -> tuple[str, int, str] | None:
    file, line = first(record.value, _FILE_KEYS), first(record.value, _LINE_KEYS)
    text = first(record.value, ("text", "code", "source", "source_line", "content", "excerpt", "snippet"))
    if not isinstance(file, str) or not isinstance(line, int) or (isinstance(text, str) and "\n" in text.strip()):
        return None
    return file, line, text.strip() if isinstance(text, str) and text != file else ""


def places(material: Material) -> list[Place]:
    """The lines under suspicion, the most suspect first."""
    wanted = query((error_line(material), 1.0), (material.asked, 0.2))
    ranking = Ranking([unit.text for unit in material.units])
    named = frames(material)
    found = {(p.file, p.line): p for p in _from_source(material, wanted, ranking, named)}
    for depth, (file, line, text) in enumerate(named):
        if not any(_same(file, other) and line == at for other, at in found):
            score = 1.0 + (depth + 1) / len(named) + ranking.score(text, wanted) - 3 * _foreign(file)
            found[file, line] = Place(file=file, line=line, text=text, score=score)
    named_twice = {key for key, place in found.items() if any(_longer(other, place) for other in found.values())}
    told = [place for key, place in found.items() if key not in named_twice]
    return sorted(told, key=lambda place: (-place.score, place.file, place.line))


def _from_source(
    material: Material, wanted: dict[str, float], ranking: Ranking, named: list[tuple[str, int, str]]
) -> Iterator[Place]:
    for unit in material.units:
        if unit.path and unit.line and _telling(unit):
            near = max(
                (_nearness(unit, file, line, i, len(named)) for i, (file, line, _) in enumerate(named)), default=0.0
            )
            score = near + ranking.score(unit.text, wanted) - 3 * _foreign(unit.path)
            if score > 0:
                yield Place(file=unit.path, line=unit.line, text=unit.text, score=score)


def _telling(unit: Unit) -> bool:
    """Whether a line does anything that can go wrong."""
    return len(unit.text) > 3 and not unit.text.startswith(
        ("#", "//", '"""', "import ", "from ", "def ", "class ", "else:", "try:", "except ", "except:", "finally:")
    )


def _nearness(unit: Unit, file: str, line: int, depth: int, count: int) -> float:
    """How close a line is to a frame; later frames are nearer to the error."""
    if not _same(unit.path, file):
        return 0.0
    distance = abs(unit.line - line)
    return (3.0 if distance == 0 else 1.0 / (1 + distance)) * (0.5 + (depth + 1) / (2 * count))


def _same(one: str, other: str) -> bool:
    return one == other or one.endswith("/" + other) or other.endswith("/" + one)


def _longer(one: Place, other: Place) -> bool:
    """Whether both are one line, and the first names its file more fully."""
    return one.line == other.line and one.file.endswith("/" + other.file)


def _foreign(file: str) -> bool:
    return any(mark in file for mark in _FOREIGN)
