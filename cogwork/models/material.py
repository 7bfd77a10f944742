"""What a conversation holds, told apart: what is asked, the rules, and the material to answer from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cogwork.models.passages import Block, blocks, cut, sentences, spans
from cogwork.models.words import word_set
from state.values import Json

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

ASKED: Final = word_set(
    """
    question request goal task query instruction instructions objective ask problem user_request user_input
    """
)
"""Headings and labels of what is asked; what stands under any other is material."""
_GIVEN: Final = word_set(
    """
    context passages passage text texts material document documents notes error errors log logs excerpts excerpt
    history background source sources data input groups facts code tests failure information message report
    transcript article email ticket
    """
)
"""Labels that introduce material when they begin a line; any other word before a colon may belong to the text."""
_LABEL = re.compile(r"^[ \t]*(?P<label>[A-Za-z][\w ]{0,30}):(?=\s|$)", re.MULTILINE)
_VERBS: Final = word_set(
    """
    answer summarise summarize explain write list extract classify choose decide find describe give make create plan
    split translate rate score review check compare draft identify name return say use provide generate propose
    suggest state please you be tell respond reply pick select label categorise categorize tag turn rewrite shorten
    revise repair what who which when where why how is are does do can could should keep do don't never always show
    fill outline report analyse analyze determine
    """
)
_PATH_KEYS: Final = ("path", "file", "filename", "source", "url", "uri", "document", "doc", "title", "id")
_TEXT_KEYS: Final = ("text", "content", "body", "passage", "snippet", "excerpt", "source", "code", "lines")
_LINE_KEYS: Final = ("line", "start", "start_line", "first_line", "line_number", "lineno")
_NUMBERED = re.compile(r"^[ \t]*(?:[>→*]+[ \t]*)?(\d{1,6})(?:[ \t]*[:|→][ \t]?|[ ]{2})(.*)$")
_MARKDOWN_HEADING = re.compile(r"#{1,6}[ \t]+(?P<title>\S.*?)[ \t]*#*$")
_SOURCE = re.compile(r"\.(?:py|pyi|js|ts|tsx|jsx|go|rs|java|kt|c|h|cc|cpp|cs|rb|php|sh|sql|swift|scala|lua)$")
MAX_UNITS: Final = 4_000
Kind: TypeAlias = Literal["sentence", "item", "heading", "line", "record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A sentence, list item, heading, line or record of the material; ``text`` is a verbatim slice, except for records."""

    text: str
    kind: Kind = "sentence"
    path: str = ""
    line: int = 0
    section: str = ""
    record: Mapping[str, Json] | None = None
    order: int = 0

    @property
    def shown(self) -> str:
        """The text on one line."""
        return " ".join(self.text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A JSON object of the material, and the key or heading under which it was found."""

    value: Mapping[str, Json]
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A fenced block that holds code."""

    text: str
    language: str = ""
    section: str = ""


@dataclass(slots=True, kw_only=True)
class Material:
    """A conversation, told apart; ``asked`` and ``rules`` are text, the rest is what can be answered from."""

    asked: str = ""
    rules: str = ""
    units: list[Unit] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    code: list[Code] = field(default_factory=list)
    bare: bool = False
    """Whether nothing came but the request itself."""

    def add(self, text: str, **about: str | int) -> None:
        """Add one unit, unless there are too many."""
        if text.strip() and len(self.units) < MAX_UNITS:
            self.units.append(Unit(text=text.strip(), order=len(self.units), **about))  # type: ignore[arg-type]


def read(messages: Sequence[BaseMessage]) -> Material:
    """The material of a conversation: the last request is what is asked, all that came before is material too."""
    told = [m for m in messages if not m.additional_kwargs.get("repair")]
    asking = max((i for i, m in enumerate(told) if m.type == "human"), default=-1)
    found = Material()
    if asking >= 0:
        _read_request(str(told[asking].text), found)
    found.rules = "\n".join([found.rules, *(str(m.text) for m in told if m.type == "system")]).strip()
    for index, message in enumerate(told):
        rejected = index > asking and message.type == "ai"
        if index != asking and message.type != "system" and not rejected:
            _read_material(str(message.text), found)
    if not found.units and not found.records:
        found.bare = True
        _read_material(found.asked or found.rules, found)
    return found


def _read_material(text: str, found: Material) -> None:
    for block in blocks(text):
        _add_block(block, found)


def _read_request(text: str, found: Material) -> None:
    """Tell the last message apart by its headings and labels; without any, by its sentences."""
    parts = [part for block in blocks(text) for part in _labelled(block)]
    has_asked = any(_is_asked(block.section) for block in parts)
    has_headings = any(block.section for block in parts)
    asked: list[str] = []
    rules: list[str] = []
    for block in parts:
        if block.kind == "text" and _is_asked(block.section):
            asked.append(block.text)
        elif block.kind == "text" and not block.section and has_asked:
            rules.append(block.text)
        elif block.kind == "text" and not block.section and has_headings and _orders(block.text):
            asked.append(block.text)
        elif block.kind == "text" and not block.section:
            _split_request(block.text, asked, found)
        else:
            _add_block(block, found)
    found.asked = "\n".join(asked) if asked else "\n".join(rules)
    found.rules = "\n".join(rules)


def _labelled(block: Block) -> Iterator[Block]:
    """A paragraph cut where a line begins with a label such as ``Question:``; what follows stands under that label."""
    if block.kind != "text" or block.section:
        yield block
        return
    labels = [
        m for m in _LABEL.finditer(block.text) if _last_word(m["label"]) in ASKED | _GIVEN and not _orders(m["label"])
    ]
    starts = [label.start() for label in labels]
    if before := block.text[: starts[0] if starts else len(block.text)].strip():
        yield Block(kind="text", text=before)
    for label, end in zip(labels, [*starts[1:], len(block.text)], strict=False):
        if text := block.text[label.end() : end].strip():
            yield Block(kind="text", text=text, section=label["label"])


def _last_word(label: str) -> str:
    return label.lower().replace("_", " ").split()[-1]


def _orders(label: str) -> bool:
    """Whether it is an order, such as ``Summarise this text``, and no mere label."""
    words = label.lower().split()
    return len(words) > 1 and words[0] in _VERBS


def _is_asked(section: str) -> bool:
    return bool(section.strip()) and _last_word(section) in ASKED


def _split_request(text: str, asked: list[str], found: Material) -> None:
    """Sentences that order or ask are what is asked, the others are material."""
    for sentence in sentences(text):
        words = sentence.lower().split()
        if not (sentence.endswith("?") or (words and words[0].strip(",.:;") in _VERBS)):
            asked_before = asked and len(words) < 3
            asked.append(sentence) if asked_before else found.add(sentence, kind=_kind(sentence))
            continue
        order, colon, rest = sentence.partition(": ")
        if colon and len(rest.split()) >= 3 and not sentence.endswith("?"):
            asked.append(order)
            found.add(rest)
        else:
            asked.append(sentence)


def _kind(sentence: str) -> str:
    return "item" if re.match(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]", sentence) else "sentence"


def _add_block(block: Block, found: Material) -> None:
    match block.kind:
        case "json":
            _add_json(block.value, block.section, found, 0)
        case "code":
            found.code.append(Code(text=block.text, language=block.language, section=block.section))
            for text in block.text.splitlines():
                found.add(text, kind="line", section=block.section)
        case "heading":
            found.add(block.text, kind="heading", section=block.section)
        case "text":
            for sentence in sentences(block.text):
                bare = re.sub(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?", "", sentence)
                found.add(bare, kind=_kind(sentence), section=block.section)


def _add_json(value: Json, group: str, found: Material, depth: int) -> None:
    if isinstance(value, str):
        for sentence in sentences(value):
            found.add(sentence, kind="item", section=group)
    elif isinstance(value, list):
        for item in value:
            _add_json(item, group, found, depth + 1)
    elif isinstance(value, dict) and depth < 12:
        if any(not isinstance(item, dict | list) for item in value.values()):
            _add_record(value, group, found)
        for key, item in value.items():
            if isinstance(item, dict | list):
                _add_json(item, key, found, depth + 1)


def _add_record(value: Mapping[str, Json], group: str, found: Material) -> None:
    found.records.append(Record(value=value, group=group))
    path = str(first(value, _PATH_KEYS) or "")
    text = next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str) and value[key] != path), None)
    if path and text:
        _add_passage(text, path, value, str(value.get("heading") or group), found)
        return
    shown = compact(value)
    _add_unit(Unit(text=shown, kind="record", section=group, record=value), found)


def _add_passage(text: str, path: str, value: Mapping[str, Json], section: str, found: Material) -> None:
    """The pieces of a file's passage; in prose, a heading is the section of what follows it."""
    source = bool(_SOURCE.search(path))
    for piece, line in _placed(text, path, _number(first(value, _LINE_KEYS))):
        heading = None if source else _MARKDOWN_HEADING.match(piece)
        section = heading["title"] if heading else section
        kind: Kind = "line" if source else "heading" if heading else "sentence"
        _add_unit(Unit(text=piece, kind=kind, path=path, line=line, section=section, record=value), found)


def _add_unit(unit: Unit, found: Material) -> None:
    if unit.text.strip() and len(found.units) < MAX_UNITS:
        about = {name: getattr(unit, name) for name in ("kind", "path", "line", "section", "record")}
        found.units.append(Unit(text=unit.text, order=len(found.units), **about))


def _placed(text: str, path: str, start: int) -> Iterator[tuple[str, int]]:
    """The pieces of a passage, never altered: source code by lines, each with its own; prose by sentences, with the passage's."""
    rows = text.splitlines()
    numbered = [_NUMBERED.match(row) for row in rows]
    if rows and sum(match is not None for match in numbered) > len(rows) / 2:
        yield from ((match[2].strip(), int(match[1])) for match in numbered if match is not None)
    elif _SOURCE.search(path):
        yield from ((row.strip(), start + offset if start else 0) for offset, row in enumerate(rows))
    else:
        for begin, end in spans(text):
            yield text[begin:end], start


def _number(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def first(value: Mapping[str, Json], keys: Sequence[str]) -> Json:
    """The value of the first of these keys that has one."""
    return next((value[key] for key in keys if value.get(key) not in (None, "")), None)


def compact(value: Mapping[str, Json]) -> str:
    """A record on one line: ``key: value; key: value``."""
    scalars = ((key, item) for key, item in value.items() if not isinstance(item, dict | list) and item is not None)
    return "; ".join(f"{key}: {cut(' '.join(str(item).split()), 300)}" for key, item in scalars)
