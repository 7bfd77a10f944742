"""The output of an execution as parts: text, Markdown, code and data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from cogwork.responses.bounds import Bounds, shortened_text, shortened_value
from cogwork.responses.prose import fenced_block, markdown_in
from cogwork.responses.response import Part, PartKind, size_of
from state.values import Json

TextAs: TypeAlias = Literal["text", "markdown"]
PROSE: Final = 80
"""A text of an object that is longer than so many characters, or has several lines, is a part of its own."""
_LANGUAGE: Final = re.compile(r"[\w+#.-]{1,40}")


def parts_of(output: Json, bounds: Bounds, where: str, text_as: TextAs | None = None) -> tuple[Part, ...]:
    """The parts of an output; ``where`` names the place of the whole, for parts that are shortened.

    A text is one part. An object whose texts are long or have several lines has each of these as a part under its name, and
    the rest as data; everything else is data. Nothing has no part.
    """
    made: list[Part] = []
    left = bounds.total
    for name, value, language in _pieces(output, bounds.texts):
        part = _part(name, value, language, left, where, text_as)
        left -= part.shortened.shown if part.shortened else part.size
        made.append(part)
    return tuple(made)


def _pieces(output: Json, most: int) -> list[tuple[str, Json, str]]:
    """Names, values and languages; a value with the language ``-`` is data, whatever it is."""
    if output is None:
        return []
    if isinstance(output, str):
        return [("", output, "")]
    if not isinstance(output, Mapping):
        return [("", output, "-")]
    prose = [name for name, value in output.items() if _is_prose(name, value, output)][:most]
    rest = {name: value for name, value in output.items() if name not in prose}
    if "code" in prose and _language(output):
        rest.pop("language")
    pieces = [(name, output[name], _language(output) if name == "code" else "") for name in prose]
    return [*pieces, ("", rest, "-")] if rest or not prose else pieces


def _is_prose(name: str, value: Json, output: Mapping[str, Json]) -> bool:
    if not isinstance(value, str):
        return False
    return len(value) > PROSE or "\n" in value or (name == "code" and bool(_language(output)))


def _language(output: Mapping[str, Json]) -> str:
    """The language that an object of code says it has."""
    language = output.get("language")
    said = isinstance(language, str) and isinstance(output.get("code"), str) and _LANGUAGE.fullmatch(language)
    return str(language) if said else ""


def _part(name: str, value: Json, language: str, left: int, where: str, text_as: TextAs | None) -> Part:
    if language == "-" or not isinstance(value, str):
        kept, cut = shortened_value(value, left, where)
        return Part(kind="data", content=kept, size=size_of(value), name=name, shortened=cut)
    if language:
        return _text("code", value, name, left, where, language=language)
    if text_as == "text":
        return _text("text", value, name, left, where)
    if (block := fenced_block(value)) is not None:
        return _text("code", block[1], name, left, where, language=block[0])
    because = "said by the caller" if text_as == "markdown" else markdown_in(value)
    return _text("markdown" if because else "text", value, name, left, where, because=because)


def _text(kind: PartKind, text: str, name: str, left: int, where: str, language: str = "", because: str = "") -> Part:
    kept, cut = shortened_text(text, left, where)
    return Part(
        kind=kind, content=kept, size=size_of(text), name=name, language=language, because=because, shortened=cut
    )


def question_parts(questions: Sequence[Mapping[str, Json]], bounds: Bounds, where: str) -> Iterator[Part]:
    """What people are asked, each question as a part: at which step, what, and the form of the answer."""
    left = bounds.total // 4
    for question in questions[: bounds.questions]:
        made = _question(question, left, where)
        left -= made.shortened.shown if made.shortened else made.size
        yield made


def _question(question: Mapping[str, Json], limit: int, where: str) -> Part:
    told = {
        name: question[name]
        for name in ("at", "kind", "ask", "show", "form", "deadline", "refused")
        if name in question
    }
    kept, cut = shortened_value(told, limit, where)
    return Part(kind="question", content=kept, size=size_of(told), name=str(question.get("at", "")), shortened=cut)


def error_part(error: Mapping[str, Json]) -> Part:
    """An error in the documents' form, as a part."""
    return Part(kind="error", content=dict(error), size=size_of(dict(error)))
