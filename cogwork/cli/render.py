"""The one place that prints: results to standard output, progress and complaints to standard error."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from state.values import Json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STYLES: Final = {
    "done": "green",
    "completed": "green",
    "running": "cyan",
    "waiting": "magenta",
    "paused": "magenta",
    "failed": "bold red",
    "unfinished": "yellow",
    "skipped": "yellow",
    "cancelled": "yellow",
    "pending": "dim",
    "undone": "yellow",
    "again": "cyan",
    "open": "cyan",
}
MARKS: Final = {
    "done": "✓",
    "completed": "✓",
    "running": "●",
    "open": "●",
    "waiting": "?",
    "paused": "?",
    "failed": "✗",
    "unfinished": "!",
    "skipped": "–",
    "cancelled": "⊘",
    "pending": "·",
    "undone": "↶",
    "again": "●",
}


def safe(text: str) -> str:
    """Text that cannot steer the terminal: control characters and changes of direction are shown as U+FFFD."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


def out() -> Console:
    """Standard output as a console."""
    return _console(sys.stdout)


def err() -> Console:
    """Standard error as a console."""
    return _console(sys.stderr)


def _console(file: Any) -> Console:
    from rich.console import Console

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.soft_wrap = True
    return console


def styled(*parts: str | tuple[str, str]) -> Text:
    """A text of plain and (text, style) parts, safe to show."""
    from rich.text import Text

    made = Text()
    for part in parts:
        made.append(safe(part)) if isinstance(part, str) else made.append(safe(part[0]), style=part[1])
    return made


def say(*parts: str | tuple[str, str]) -> None:
    """One line on standard output."""
    out().print(styled(*parts), soft_wrap=True)


def note(*parts: str | tuple[str, str]) -> None:
    """One line on standard error."""
    err().print(styled(*parts), soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """Anything Rich can draw, on standard output."""
    out().print(renderable)


def complain(message: str, hint: str = "") -> None:
    """An error, and what to do about it."""
    note(("error: ", "bold red"), message, *((("\n  hint: ", "bold"), hint) if hint else ()))


def write_json(value: Json, *, indent: int | None = 2) -> None:
    """A JSON value on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """A text as it is, on standard output, ending in one newline."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def columns(rows: Iterable[Sequence[str | tuple[str, str]]], header: Sequence[str] = ()) -> None:
    """Rows in aligned columns; on a terminal the last column is cut to the width."""
    from rich.cells import cell_len

    listed = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
    if header:
        listed.insert(0, [(name, "bold") for name in header])
    widths = [max(cell_len(safe(cell[0])) for cell in column) for column in zip(*listed, strict=True)]
    console = out()
    for row in listed:
        line = styled()
        for index, (text, style) in enumerate(row):
            space = "" if index == len(row) - 1 else " " * (widths[index] - cell_len(safe(text)) + 2)
            line.append_text(styled((text.replace("\n", " "), style), space))
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


def value(content: Json, *, title: str = "") -> None:
    """A value for people: text as Markdown on a terminal and as it is elsewhere, rows as a table, the rest as JSON."""
    console = out()
    if title:
        say((title, "bold"))
    if isinstance(content, str):
        if console.is_terminal:
            from rich.markdown import Markdown

            console.print(Markdown(safe(content)))
        else:
            write(safe(content))
    elif _is_record(content):
        for name, part in content.items():
            _field(name, part)
    elif (rows := _rows(content)) is not None:
        columns([[_scalar(row.get(name)) for name in rows] for row in content], rows)
    elif isinstance(content, list) and all(_is_scalar(item) for item in content):
        for item in content:
            say("• ", _scalar(item))
    else:
        _json(content)


def _field(name: str, part: Json) -> None:
    """One entry of a record: on its own line where it is short."""
    if isinstance(part, str):
        short: str | None = part if "\n" not in part and len(part) <= 72 else None
    else:
        text = json.dumps(part, ensure_ascii=False)
        short = text if len(text) <= 100 else None
    if short is not None:
        say((f"{name}: ", "bold"), short)
    else:
        say((f"{name}:", "bold"))
        if isinstance(part, dict):
            _json(part)
        else:
            value(part)


def _json(content: Json) -> None:
    console = out()
    if console.is_terminal:
        from rich.json import JSON

        console.print(JSON(json.dumps(content, ensure_ascii=False)))
    else:
        write_json(content)


def _is_record(content: Json) -> bool:
    return isinstance(content, dict) and bool(content)


def _is_scalar(content: Json) -> bool:
    return content is None or isinstance(content, str | int | float | bool)


def _scalar(content: Json) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _rows(content: Json) -> list[str] | None:
    """The column names of a list of small flat records; None where a table would not do."""
    if not (isinstance(content, list) and content and all(isinstance(row, dict) and row for row in content)):
        return None
    names = list(dict.fromkeys(name for row in content for name in row))
    flat = all(_is_scalar(cell) and len(_scalar(cell)) <= 160 for row in content for cell in row.values())
    return names if flat and len(names) <= 8 else None


def token(text: str) -> None:
    """A piece of a text that is still being written, on standard output."""
    sys.stdout.write(safe(text))
    sys.stdout.flush()


def line(text: str) -> str | None:
    """The next line of standard input, asked for with ``text`` at a terminal; None at its end.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        read = sys.stdin.readline()
        return read.rstrip("\r\n") if read else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input then has a history, and can be edited)
    try:
        return input(f"\001\033[1;36m\002{safe(text)}\001\033[0m\002")
    except EOFError:
        return None


def prompt(text: str) -> str:
    """One line from the person at the terminal.

    Raises:
        KeyboardInterrupt: also when the input ends.
    """
    try:
        return out().input(styled((text, "bold")))
    except EOFError as err:
        raise KeyboardInterrupt from err
