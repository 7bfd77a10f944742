"""The head of a prompt file: a small, strict reading of YAML that keeps the line of every value.

It is read event by event, because untrusted folders are allowed: no recursion, no aliases, tags or duplicate keys, a bounded size
and depth, and YAML 1.2 scalars, so that ``1.10`` stays a version and ``no`` a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import yaml

from state.values import Json

MAX_DEPTH: Final = 8
_WORDS: Final[dict[str, Json]] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][-+]?\d{1,2})?")


class FrontMatterError(ValueError):
    """A head that cannot be read; ``line`` counts from the head's first line, which is 1."""

    def __init__(self, reason: str, line: int) -> None:
        self.reason, self.line = reason, line
        super().__init__(f"line {line}: {reason}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of the head: a text (``plain`` when unquoted), a list of entries or entries by key; and its line."""

    content: str | list[Entry] | dict[str, Entry]
    line: int
    plain: bool = False

    @property
    def text(self) -> str | None:
        """The text as it was written; None for null, lists and mappings."""
        return None if not isinstance(self.content, str) or self.value is None else self.content

    @property
    def value(self) -> Json:
        """The plain JSON value."""
        if isinstance(self.content, list):
            return [entry.value for entry in self.content]
        if isinstance(self.content, dict):
            return {key: entry.value for key, entry in self.content.items()}
        return _scalar(self.content) if self.plain else self.content


def read(text: str) -> dict[str, Entry]:
    """The head's entries by key.

    Raises:
        FrontMatterError: anything but one plain mapping.
    """
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "is not YAML"
        raise FrontMatterError(str(reason), mark.line + 1 if mark else 1) from error
    if reader.top is None or not isinstance(reader.top.content, dict):
        raise FrontMatterError("the head must be a mapping such as 'name: plan'", reader.top.line if reader.top else 1)
    return reader.top.content


class _Reader:
    """Builds entries from YAML events, with the open collections on a stack."""

    def __init__(self) -> None:
        self.top: Entry | None = None
        self.open: list[Entry] = []
        self.keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        """Take one event in."""
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise FrontMatterError("anchors and aliases are not allowed", line)
        if getattr(event, "tag", None):
            raise FrontMatterError("tags are not allowed", line)
        if isinstance(event, yaml.ScalarEvent):
            self._add(Entry(event.value, line, not event.style))
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(Entry({}, line))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(Entry([], line))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.open.pop()
            self.keys.pop()
        elif isinstance(event, yaml.DocumentStartEvent) and self.top is not None:
            raise FrontMatterError("the head must be one document", line)

    def _start(self, entry: Entry) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise FrontMatterError(f"nested deeper than {MAX_DEPTH} levels", entry.line)
        self._add(entry)
        self.open.append(entry)
        self.keys.append(None)

    def _add(self, entry: Entry) -> None:
        if not self.open:
            self.top = entry
            return
        into = self.open[-1].content
        if isinstance(into, list):
            into.append(entry)
        elif isinstance(into, dict):
            self._add_pair(into, entry)

    def _add_pair(self, into: dict[str, Entry], entry: Entry) -> None:
        key = self.keys[-1]
        if key is not None:
            into[key] = entry
            self.keys[-1] = None
        elif not isinstance(entry.content, str):
            raise FrontMatterError("a key must be text", entry.line)
        elif entry.content in into:
            raise FrontMatterError(f"the key {entry.content!r} appears twice", entry.line)
        else:
            self.keys[-1] = entry.content


def _scalar(text: str) -> Json:
    if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
