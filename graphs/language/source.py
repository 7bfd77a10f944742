"""A spec's text turned into plain data that still knows where every value stood."""

from __future__ import annotations

import re
import stat
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from state.errors import SpecError
from state.problems import Problem, Severity
from state.values import Json

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_POINTER_TEXT: Final = 8_000_000
"""Characters in all pointers of one source: a long key above many values must not multiply into gigabytes."""
MAX_SHOWN: Final = 500

_BREAK: Final = re.compile(r"\r\n|\n|\r")
_SPLIT: Final = "Split it: move parts into workflows of their own and name them with `use`."


class Mark(NamedTuple):
    """A place in a text, counted from 1; 0 where there is no text."""

    line: int
    column: int


START: Final = Mark(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Plain data with the place of each value, by JSON pointer (RFC 6901).

    ``raw`` keeps the text of every unquoted scalar that was not read as a string (``1.10``, ``010``, ``""`` for an
    empty null), so that a field declared string can have it back. Data without a text is a Source with a value alone.
    """

    value: Json
    marks: Mapping[str, Mark] = field(default_factory=dict)
    key_marks: Mapping[str, Mark] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)
    file: str = ""

    def place(self, pointer: str) -> Mark:
        """Where the value at ``pointer`` stands, or its nearest ancestor that has a place."""
        while pointer and pointer not in self.marks:
            pointer = pointer.rpartition("/")[0]
        return self.marks.get(pointer, Mark(0, 0))

    def problem(
        self,
        code: str,
        message: str,
        pointer: str,
        hint: str = "",
        severity: Severity = "error",
        key: bool = False,
    ) -> Problem:
        """A problem at ``pointer``; ``key`` points at the key rather than at its value."""
        mark = self.key_marks.get(pointer) if key else None
        line, column = mark or self.place(pointer)
        return Problem(
            code=code,
            message=message,
            pointer=pointer,
            hint=hint,
            severity=severity,
            file=self.file,
            line=line,
            column=column,
        )


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be read: the file it came from and the line and column of each of its offsets."""

    body: str
    file: str
    starts: list[int]

    @classmethod
    def of(cls, text: str | bytes, file: str) -> Text:
        """The text without its byte order mark; refused when it is too large or not UTF-8."""
        size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES:
            raise refusal("too_large", f"The text has more than {MAX_BYTES:,} bytes", file, hint=_SPLIT)
        body = decoded(text, file) if isinstance(text, bytes) else text
        body = body.removeprefix("\ufeff")
        return cls(body, file, [0, *(found.end() for found in _BREAK.finditer(body))])

    def mark(self, offset: int) -> Mark:
        """The place of the character at ``offset``."""
        line = bisect_right(self.starts, offset)
        return Mark(line, offset - self.starts[line - 1] + 1)


def decoded(data: bytes, file: str) -> str:
    """The bytes as UTF-8 text; refused at the first byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        before = Text.of(data[: err.start].decode("utf-8"), file)
        message = f"The text is not UTF-8: byte 0x{data[err.start]:02x} cannot stand here"
        raise refusal("not_utf8", message, file, before.mark(len(before.body)), hint="Save the file as UTF-8.") from err


def refusal(code: str, message: str, file: str, mark: Mark = START, *, pointer: str = "", hint: str = "") -> SpecError:
    """The error for a text that cannot be read, with its one problem."""
    return SpecError(
        (
            Problem(
                code=code, message=message, pointer=pointer, hint=hint, file=file, line=mark.line, column=mark.column
            ),
        )
    )


def unplaced(code: str, message: str, file: str, hint: str) -> SpecError:
    """The error for a file without a text to point into."""
    return refusal(code, message, file, Mark(0, 0), hint=hint)


def file_bytes(path: Path) -> bytes:
    """The file's content, cut just beyond the limit."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            message, hint = "The path is not a file", "Name the file itself, not a directory or device."
            raise unplaced("file_unreadable", message, str(path), hint)
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as err:
        hint = "Check the path's spelling and the current directory."
        raise unplaced("file_missing", "There is no such file", str(path), hint) from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        message, hint = f"The file cannot be read: {reason}", "Check its name and permissions."
        raise unplaced("file_unreadable", message, str(path), hint) from err


def brief(text: str, width: int = 40) -> str:
    """The text, quoted and cut so that a message stays one line."""
    return repr(text if len(text) <= width else f"{text[: width - 1]}…")


def escaped(key: str) -> str:
    """The key as one step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open; ``key`` waits for its value, which will stand at ``child``."""

    container: dict[str, Json] | list[Json]
    pointer: str
    key: str | None = None
    child: str = ""


@dataclass(slots=True)
class Draft:
    """A Source in the making: readers tell it what they meet, in order; it keeps the limits and refuses duplicate keys."""

    file: str
    value: Json = None
    marks: dict[str, Mark] = field(default_factory=dict)
    key_marks: dict[str, Mark] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)
    number_keys: bool = False
    """Whether a whole number may be a key."""
    _open: list[_Frame] = field(default_factory=list)
    _pointer_text: int = 0

    @property
    def inside(self) -> type[dict[str, Json]] | type[list[Json]] | None:
        """What kind of container is open; None at the top."""
        return type(self._open[-1].container) if self._open else None

    @property
    def awaits_key(self) -> bool:
        """Whether the next thing must be a key."""
        return bool(self._open) and self._open[-1].key is None and isinstance(self._open[-1].container, dict)

    @property
    def pointer(self) -> str:
        """Where the next value goes; the mapping itself while a key is awaited."""
        if not self._open:
            return ""
        frame = self._open[-1]
        if isinstance(frame.container, list):
            return f"{frame.pointer}/{len(frame.container)}"
        return frame.pointer if frame.key is None else frame.child

    def refusal(self, code: str, message: str, mark: Mark, hint: str = "") -> SpecError:
        """The error for what is met at ``mark``; a pointer too long to show gives way to an ancestor's."""
        pointer = self.pointer
        while len(pointer) > MAX_SHOWN:
            pointer = pointer.rpartition("/")[0]
        return refusal(code, message, self.file, mark, pointer=pointer, hint=hint)

    def key(self, name: str, mark: Mark) -> None:
        """Take the key of the next value."""
        frame = self._open[-1]
        frame.key, frame.child = name, f"{frame.pointer}/{escaped(name)}"
        if name in frame.container:
            first = self.key_marks[frame.child]
            message = f"The key {brief(name)} stands twice in one mapping, first on line {first.line}"
            raise self.refusal("duplicate_key", message, mark, "Remove or rename one of the two.")
        self.key_marks[frame.child] = mark

    def scalar(self, value: Json, mark: Mark, raw: str | None = None) -> None:
        """Take a value that holds no others; ``raw`` is its source text if it was unquoted and is not a string."""
        pointer = self._place(value, mark)
        if raw is not None:
            self.raw[pointer] = raw

    def open(self, container: dict[str, Json] | list[Json], mark: Mark) -> None:
        """Take an empty container; what follows goes into it until it is closed."""
        if len(self._open) == MAX_DEPTH:
            raise self.refusal("too_large", f"The text nests more than {MAX_DEPTH} levels deep", mark, "Flatten it.")
        self._open.append(_Frame(container, self._place(container, mark)))

    def close(self) -> None:
        """End the innermost container."""
        self._open.pop()

    def source(self) -> Source:
        """What has been read; refused when that is nothing."""
        if not self.marks or self.raw.get("") == "":
            hint = "Write at least one `key: value`."
            raise refusal("empty", "The text holds no value", self.file, hint=hint)
        return Source(value=self.value, marks=self.marks, key_marks=self.key_marks, raw=self.raw, file=self.file)

    def _place(self, value: Json, mark: Mark) -> str:
        pointer = self.pointer
        self._pointer_text += len(pointer)
        if len(self.marks) == MAX_NODES:
            raise self.refusal("too_large", f"The text holds more than {MAX_NODES:,} values", mark, _SPLIT)
        if self._pointer_text > MAX_POINTER_TEXT:
            raise self.refusal("too_large", "Long keys stand above too many values", mark, "Shorten the keys.")
        self.marks[pointer] = mark
        self._attach(value)
        return pointer

    def _attach(self, value: Json) -> None:
        if not self._open:
            self.value = value
            return
        frame = self._open[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
        elif frame.key is not None:
            frame.container[frame.key] = value
            frame.key = None
