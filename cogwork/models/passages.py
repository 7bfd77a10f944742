"""A text's outer shape: its headings, fenced blocks, JSON values, paragraphs and sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from state.values import Json

_FENCE = re.compile(r"^[ \t]*(?P<ticks>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*$")
_HEADING = re.compile(r"^#{1,6}[ \t]+(?P<title>\S.*?)[ \t]*#*$")
_OPENS = re.compile(r"(?:^|(?<=[\s:=(]))[\[{](?=[\s\"{\[\]}\d-])")
_BREAK = re.compile(
    r"\n[ \t]*\n\s*"  # a blank line
    r"|\n(?=[ \t]*(?:[-*+•][ \t]|\d{1,3}[.)][ \t]|\#{1,6}[ \t]|\|))"  # before a list item, heading or table row
    r"|(?<=[.!?])[\"')\]]*[ \t\n]+(?=[\"'(\[`]?[A-Z0-9ÄÖÜÉ])"  # after a sentence
    r"|(?<=[。！？])\s*"
)
_SHORT: Final = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|St|No|Fig|approx)|\A\s*\d{1,3}|\b[A-Z])\.$")
_TRIES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of a message: under which heading, and what it is."""

    kind: Literal["text", "heading", "code", "json"]
    text: str = ""
    section: str = ""
    language: str = ""
    value: Json = None


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a message, in order; JSON is found in fences and within text."""
    section = ""
    gathered: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        fence, heading = _FENCE.match(line), _HEADING.match(line)
        if not fence and not heading:
            gathered.append(line)
            continue
        yield from _text("\n".join(gathered), section)
        gathered = []
        if heading:
            section = heading["title"]
        elif fence:
            yield _fenced(_until(lines, fence["ticks"]), fence["language"], section)
    yield from _text("\n".join(gathered), section)


def _until(lines: Iterator[str], ticks: str) -> str:
    """The lines up to the closing fence, or all."""
    inside: list[str] = []
    for line in lines:
        if line.strip().startswith(ticks) and not line.strip().strip(ticks[0]):
            break
        inside.append(line)
    return "\n".join(inside)


def _fenced(text: str, language: str, section: str) -> Block:
    if language in ("", "json", "jsonc") and text.lstrip()[:1] in ("{", "["):
        try:
            return Block(kind="json", value=json.loads(text), section=section)
        except (ValueError, RecursionError):
            pass
    if language in ("text", "md", "markdown", "txt"):
        return Block(kind="text", text=text, section=section or "text")
    return Block(kind="code", text=text, language=language, section=section)


def _text(text: str, section: str) -> Iterator[Block]:
    """Paragraphs, with the JSON values that stand in them as blocks of their own."""
    decoder = json.JSONDecoder()
    start, end = 0, 0
    for _ in range(_TRIES):
        match = _OPENS.search(text, end)
        if match is None:
            break
        end = match.end()
        try:
            value, after = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if value in ({}, []) or (isinstance(value, list) and after - match.start() < 8):
            continue
        before = text[start : match.start()]
        yield from _paragraphs(before, section)
        yield Block(kind="json", value=value, section=section or _label_before(before))
        start = end = after
    yield from _paragraphs(text[start:], section)


def _label_before(text: str) -> str:
    """The label at the end of the text that introduces a value: ``Error groups:``."""
    match = re.search(r"([\w ]{1,40})[:=]\s*$", text)
    return match[1].strip() if match else ""


def _paragraphs(text: str, section: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if paragraph.strip(" \t\n`,;"):
            yield Block(kind="text", text=paragraph.strip("\n"), section=section)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence, list item or heading begins and ends, without the white space around it."""
    start = 0
    for match in _BREAK.finditer(text):
        end = match.end() if text[match.start() : match.end()].strip() == "" else match.start()
        closing = len(match[0]) - len(match[0].lstrip("\"')]"))
        end = match.start() + closing
        if "\n" not in match[0] and _SHORT.search(text[max(start, end - 12) : end]):
            continue
        if text[start:end].strip():
            yield _stripped(text, start, end)
        start = match.end()
    if text[start:].strip():
        yield _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def sentences(text: str) -> list[str]:
    """The sentences, list items and headings of a text, each a verbatim slice."""
    return [text[start:end] for start, end in spans(text)]


def cut(text: str, limit: int) -> str:
    """The text within ``limit`` characters, ending at a word with ``…`` where it was longer."""
    if len(text) <= limit:
        return text
    if limit < 2:
        return text[:limit]
    head = text[: limit - 1]
    at_word = head.rsplit(None, 1)[0] if " " in head[limit // 2 :] else head
    return at_word.rstrip(" ,;:") + "…"
