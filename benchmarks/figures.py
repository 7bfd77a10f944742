"""Tables of measured figures: how they are printed, and how they become JSON."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table as Printed

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under named columns; ``notes`` say what the reader must know to read them, or what was left out."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain JSON, each row an object."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"name": self.name, "title": self.title, "rows": rows, "notes": self.notes}


def show(table: Table, console: Console) -> None:
    """Print one table with its notes."""
    printed = Printed(title=table.title, title_justify="left")
    for index, column in enumerate(table.columns):
        printed.add_column(column, justify="right" if _is_numeric(table, index) else "left", no_wrap=True)
    for row in table.rows:
        printed.add_row(*map(_text, row))
    if table.rows:
        console.print(printed)
    for note in table.notes:
        console.print(f"  {note}", markup=False, highlight=False)
    console.print()


def report(tables: Iterable[Table]) -> dict[str, Any]:
    """Every table, with the machine and the moment, as plain JSON."""
    machine = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": moment, "machine": machine, "tables": [table.to_dict() for table in tables]}


def verdict(holds: bool) -> str:
    """How a table says whether a target is met."""
    return "yes" if holds else "NO"


def median(values: Iterable[float]) -> float:
    """The middle value, of which a slow moment of the machine changes little."""
    return statistics.median(values)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _is_numeric(table: Table, column: int) -> bool:
    return bool(table.rows) and all(isinstance(row[column], int | float | None) for row in table.rows)


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case float():
            return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.0f}"
        case _:
            return str(cell)
