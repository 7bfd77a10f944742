"""On which line of a TOML file each key and each item of a list stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}\n#]+")


def places(text: str) -> Mapping[Path, int]:
    """The line of every key, whole path by path, of a text that ``tomllib`` has read; a key in quotes is taken without them."""
    return _Places(text).read()


class _Places:
    """One pass over the text."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}

    def read(self) -> Mapping[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)
        return self._found

    def _header(self) -> Path:
        many, line = self._text.startswith("[[", self._at), self._line()
        self._at += 2 if many else 1
        path = self._within(self._key())
        self._at += 2 if many else 1
        if many:
            number = self._tables.get(path, -1) + 1
            self._tables[path] = number
            path = (*path, number)
        self._note(path, line)
        return path

    def _within(self, key: Path) -> Path:
        """The path of a table's header, with the number of the last item where a part of it is a list of tables."""
        path: Path = ()
        for index, part in enumerate(key):
            path = (*path, part)
            if index < len(key) - 1 and path in self._tables:
                path = (*path, self._tables[path])
        return path

    def _assignment(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._key())
        self._note(path, line)
        self._at += 1  # The sign =
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        first = self._text[self._at : self._at + 1]
        if first == "{":
            self._inline(path)
        elif first == "[":
            self._items(path)
        elif first in ('"', "'"):
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _inline(self, table: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._assignment(table)
            self._next()
        self._at += 1

    def _items(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        number = 0
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._note((*path, number), self._line())
            self._value((*path, number))
            number += 1
            self._next()
        self._at += 1

    def _next(self) -> None:
        self._skip(_BLANK)
        if self._text[self._at : self._at + 1] == ",":
            self._at += 1
            self._skip(_BLANK)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._at : self._at + 1] in ('"', "'")
            found = self._skip(_STRING if quoted else _BARE)
            parts.append(found[1:-1] if quoted else found)
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return tuple(parts)
            self._at += 1

    def _skip(self, what: re.Pattern[str]) -> str:
        found = what.match(self._text, self._at)
        if found is None or (found.end() == self._at and what not in (_BLANK, _SPACE)):
            self._at = len(self._text)  # A text that tomllib refuses; nothing more is told of it.
            return ""
        self._at = found.end()
        return found[0]

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._found.setdefault(path[:length], line)

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1
