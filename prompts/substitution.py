"""The few marks that a prompt's body may hold: ``{{ name }}``, ``{{#if name}} … {{/if}}`` around what is optional, and
``{{> partial}}`` for the text of another file; a name is a variable's, or ``context.`` and what is wanted of the context.

Filling in is one pass: a value is text from then on, and is never read as a mark again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from state.values import Json

_MARK = re.compile(r"\\\{\{|\{\{(?P<inside>[^{}]*)\}\}|(?P<open>\{\{)")
_WORD: Final = r"(?:context(?:\.[A-Za-z_]\w*)+|[A-Za-z_]\w*)"
_NAME = re.compile(_WORD)
_IF = re.compile(rf"#if\s+(?P<name>{_WORD})")
_INCLUDE = re.compile(r">\s*(?P<name>[\w./-]+(?:@[\w.-]+)?)")
_ALONE: Final = re.compile(r"[ \t]*\n")
MAX_NESTING: Final = 16


class MarkError(ValueError):
    """A mark that means nothing; ``offset`` is its place in the text."""

    def __init__(self, reason: str, offset: int) -> None:
        self.reason, self.offset = reason, offset
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the value of a variable, or of the context, goes."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Section:
    """What stands only when a value is given and not empty."""

    name: str
    offset: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Include:
    """Where the text of another file goes; none is left in a prompt that can be rendered."""

    name: str
    offset: int


Part: TypeAlias = str | Slot | Section | Include


def parse(text: str) -> tuple[Part, ...]:
    r"""The parts of a body; ``\{{`` stands for two literal braces.

    Raises:
        MarkError: an unknown mark, or a section that is not closed.
    """
    levels: list[tuple[Slot | None, list[Part]]] = [(None, [])]
    end = 0
    while match := _MARK.search(text, end):
        levels[-1][1].append(text[end : match.start()])
        end = _take(match, levels, text)
    levels[-1][1].append(text[end:])
    opening = levels[-1][0]
    if opening is not None:
        raise MarkError(f"{{{{#if {opening.name}}}}} is never closed; add {{{{/if}}}}", opening.offset)
    return tuple(part for part in levels[0][1] if part != "")


def _take(match: re.Match[str], levels: list[tuple[Slot | None, list[Part]]], text: str) -> int:
    """Put one mark in its place; where the text goes on."""
    here = match.start()
    if match["open"]:
        raise MarkError("'{{' is not closed by '}}' (write \\{{ for literal braces)", here)
    if match["inside"] is None:
        levels[-1][1].append("{{")
        return match.end()
    inside = match["inside"].strip()
    if _NAME.fullmatch(inside):
        levels[-1][1].append(Slot(inside, here))
        return match.end()
    if include := _INCLUDE.fullmatch(inside):
        levels[-1][1].append(Include(include["name"], here))
        return match.end()
    if section := _IF.fullmatch(inside):
        if len(levels) > MAX_NESTING:
            raise MarkError(f"sections nested deeper than {MAX_NESTING}", here)
        levels.append((Slot(section["name"], here), []))
    elif inside == "/if" and len(levels) > 1:
        opening, parts = levels.pop()
        assert opening is not None
        levels[-1][1].append(Section(opening.name, opening.offset, tuple(p for p in parts if p != "")))
    else:
        raise MarkError(f"'{{{{{inside}}}}}' is not a variable, '#if name', '/if' or '> partial'", here)
    return _after_own_line(text, match)


def _after_own_line(text: str, match: re.Match[str]) -> int:
    """A section's mark alone on its line takes the line with it."""
    begins = match.start() == 0 or text[match.start() - 1] == "\n"
    rest = _ALONE.match(text, match.end())
    return rest.end() if begins and rest else match.end()


def slots(parts: tuple[Part, ...]) -> Iterator[Slot]:
    """Every value's place, those that open a section included."""
    for part in parts:
        if isinstance(part, Slot):
            yield part
        elif isinstance(part, Section):
            yield Slot(part.name, part.offset)
            yield from slots(part.parts)


def includes(parts: tuple[Part, ...]) -> Iterator[Include]:
    """Every place of another file's text."""
    for part in parts:
        if isinstance(part, Include):
            yield part
        elif isinstance(part, Section):
            yield from includes(part.parts)


def unguarded(parts: tuple[Part, ...], within: frozenset[str] = frozenset()) -> Iterator[Slot]:
    """The places of context values that do not stand in a section of the same name, and so leave a gap where it is absent."""
    for part in parts:
        if isinstance(part, Slot) and part.name.startswith("context.") and part.name not in within:
            yield part
        elif isinstance(part, Section):
            yield from unguarded(part.parts, within | {part.name})


def fill(parts: tuple[Part, ...], values: Mapping[str, Json]) -> str:
    """The body with its values: text as it is, anything else as indented JSON, null as nothing."""
    return "".join(_written(part, values) for part in parts)


def _written(part: Part, values: Mapping[str, Json]) -> str:
    match part:
        case str():
            return part
        case Slot():
            return readable(values.get(part.name))
        case Section():
            return fill(part.parts, values) if _given(values.get(part.name)) else ""
        case Include():
            raise AssertionError(f"the partial {part.name!r} was not put in")


def written(parts: tuple[Part, ...]) -> str:
    """The body as a file would have it, its marks included."""
    return "".join(_as_mark(part) for part in parts)


def _as_mark(part: Part) -> str:
    match part:
        case str():
            return part.replace("{{", "\\{{")
        case Slot():
            return f"{{{{ {part.name} }}}}"
        case Include():
            return f"{{{{> {part.name}}}}}"
        case Section():
            return f"{{{{#if {part.name}}}}}{written(part.parts)}{{{{/if}}}}"


def fixed(parts: tuple[Part, ...]) -> str:
    """The words of the body itself, those of all its sections among them."""
    return "".join(
        part if isinstance(part, str) else fixed(part.parts) if isinstance(part, Section) else "" for part in parts
    )


def _given(value: Json) -> bool:
    return value is not None and value is not False and value != "" and value != [] and value != {}


def readable(value: Json) -> str:
    """A value as a model reads it best; JSON keeps line breaks inside texts escaped, so no value can close a fenced block."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
