"""A workflow drawn with characters, for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphs.analysis.picture.layers import Layers, Spot
from graphs.analysis.picture.scene import Box, Scene

MARKS: Final = {
    "done": "✓ ",
    "running": "● ",
    "open": "● ",
    "waiting": "? ",
    "failed": "✗ ",
    "skipped": "– ",
    "cancelled": "⊘ ",
    "pending": "· ",
}
GAP: Final = 3
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_LINES: Final = dict(zip(range(16), " ││││┘┐┤│└┌├─┴┬┼", strict=True)) | {4: "─", 8: "─"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a line; ``box`` is the step that it belongs to."""

    text: str
    box: Box | None = None


def picture(scene: Scene, width: int) -> list[list[Span]]:
    """The lines of a picture: boxes with lines between them, or an outline where it would be too wide; bodies follow."""
    lines = _drawn(scene, width) or [[Span(text="")], *outline(scene)]
    for box in scene.boxes:
        if box.body is not None:
            lines.append([Span(text="")])
            lines.append([Span(text=box.name, box=box), Span(text=f": {box.note}")])
            lines += [[Span(text="  "), *line] for line in picture(box.body, width - 2)]
    return lines


def outline(scene: Scene) -> list[list[Span]]:
    """One line per step, with what comes right before it; for what is too wide to draw."""
    names = {box.id: box.name for box in scene.boxes}
    before: dict[str, list[str]] = {}
    for arrow in scene.essential():
        before.setdefault(arrow.target, []).append(names[arrow.source])
    layers = Layers([box.id for box in scene.boxes], [(a.source, a.target) for a in scene.essential()])
    boxes = {box.id: box for box in scene.boxes}
    widest = max(len(_label(box)) for box in scene.boxes)
    ordered = [boxes[spot] for row in layers.rows for spot in row if isinstance(spot, str)]
    return [
        [
            Span(text=_label(box), box=box),
            Span(
                text=" " * (widest - len(_label(box)))
                + (f"  ← {', '.join(before[box.id])}" if box.id in before else "")
            ),
        ]
        for box in ordered
    ]


def choices(scene: Scene) -> Iterator[str]:
    """The conditions on the arrows, a line each."""
    names = {box.id: box.name for box in scene.boxes}
    told: dict[tuple[str, str], list[str]] = {}
    for arrow in scene.arrows:
        if arrow.label:
            told.setdefault((arrow.source, arrow.label), []).append(names[arrow.target])
    for (source, label), targets in told.items():
        yield f"{names[source]}: {label} → {', '.join(targets)}"
    for box in scene.boxes:
        if box.body is None and box.note:
            yield f"{box.name}: {box.note}"
        elif box.body is not None:
            yield from choices(box.body)


def _label(box: Box) -> str:
    return f"{MARKS.get(box.state, '')}{box.name} · {box.kind}"


@dataclass(slots=True)
class _Canvas:
    """Lines by the directions in which they leave each cell, and the boxes over them."""

    lines: dict[tuple[int, int], int] = field(default_factory=dict)
    heads: set[tuple[int, int]] = field(default_factory=set)
    boxes: list[tuple[int, int, Box]] = field(default_factory=list)

    def down(self, x: int, top: int, bottom: int) -> None:
        """A vertical line from the cell ``top`` to the cell ``bottom``."""
        for y in range(top, bottom + 1):
            bits = (UP if y > top else 0) | (DOWN if y < bottom else 0)
            self.lines[x, y] = self.lines.get((x, y), 0) | bits

    def across(self, one: int, other: int, y: int) -> None:
        """A horizontal line between two cells."""
        left, right = sorted((one, other))
        for x in range(left, right + 1):
            bits = (LEFT if x > left else 0) | (RIGHT if x < right else 0)
            self.lines[x, y] = self.lines.get((x, y), 0) | bits

    def rows(self, height: int) -> list[list[Span]]:
        """The finished lines."""
        found: list[list[Span]] = []
        by_row: dict[int, list[tuple[int, Box, str]]] = {}
        for x, y, box in self.boxes:
            label = _label(box)
            edge = "─" * (len(label) + 2)
            for offset, text in enumerate((f"┌{edge}┐", f"│ {label} │", f"└{edge}┘")):
                by_row.setdefault(y + offset, []).append((x, box, text))
        cells: dict[int, dict[int, str]] = {}
        for (x, y), bits in self.lines.items():
            cells.setdefault(y, {})[x] = "▼" if (x, y) in self.heads else _LINES[bits]
        for y in range(height):
            found.append(_row(sorted(by_row.get(y, []), key=lambda piece: piece[0]), cells.get(y, {})))
        return found


def _row(pieces: Sequence[tuple[int, Box, str]], cells: dict[int, str]) -> list[Span]:
    spans: list[Span] = []
    x = 0
    for start, box, text in pieces:
        spans += [Span(text="".join(cells.get(at, " ") for at in range(x, start))), Span(text=text, box=box)]
        x = start + len(text)
    end = max(cells, default=-1) + 1
    return [*spans, Span(text="".join(cells.get(at, " ") for at in range(x, end)))]


def _drawn(scene: Scene, width: int) -> list[list[Span]]:
    """The boxes and lines; nothing where they need more than ``width``."""
    arrows = [(arrow.source, arrow.target) for arrow in scene.essential()]
    layers = Layers([box.id for box in scene.boxes], arrows)
    boxes = {box.id: box for box in scene.boxes}

    def wide(spot: Spot) -> float:
        return len(_label(boxes[spot])) + 4 if isinstance(spot, str) else 1

    centres = {spot: int(centre) for spot, centre in layers.centres(wide, GAP).items()}
    if max(centres[spot] + wide(spot) / 2 for row in layers.rows for spot in row) > width:
        return []
    canvas, y = _Canvas(), 0
    for index, row in enumerate(layers.rows):
        for spot in row:
            if isinstance(spot, str):
                canvas.boxes.append((centres[spot] - int(wide(spot) / 2), y, boxes[spot]))
            else:
                canvas.down(centres[spot], y - 1, y + 3)
        y += 3
        if index + 1 < len(layers.rows):
            y = _channel(canvas, layers, row, centres, y)
    return canvas.rows(y)


def _channel(canvas: _Canvas, layers: Layers, row: Sequence[Spot], centres: dict[Spot, int], y: int) -> int:
    """The lines between one row and the next; where the next begins."""
    groups = [
        (centres[spot], sorted({centres[t] for t in layers.below[spot]})) for spot in row if layers.below.get(spot)
    ]
    tracks = _tracks(groups)
    bottom = y + max(tracks, default=0) + 2
    for spot in row:
        for target in layers.below.get(spot, ()):
            index = next(i for i, (x, _) in enumerate(groups) if x == centres[spot])
            track = y + tracks[index]
            canvas.down(centres[spot], y - 1, track)
            canvas.across(centres[spot], centres[target], track)
            canvas.down(centres[target], track, bottom)
            if isinstance(target, str):
                canvas.heads.add((centres[target], bottom - 1))
    return bottom


def _tracks(groups: Sequence[tuple[int, list[int]]]) -> list[int]:
    """A row for the horizontal part of each group, so that no two run over each other."""
    tracks = [0] * len(groups)
    spans = [(min(x, *targets), max(x, *targets)) for x, targets in groups]
    # A group that starts where another one ends must turn off above it.
    order = sorted(
        range(len(groups)), key=lambda i: sum(groups[j][0] in groups[i][1] for j in range(len(groups)) if j != i)
    )
    for position, i in enumerate(order):
        taken = {
            tracks[j]
            for j in order[:position]
            if spans[j][0] - 1 <= spans[i][1] and spans[i][0] - 1 <= spans[j][1] and not _straight(groups[j])
        }
        lowest = max(
            (tracks[j] + 1 for j in order[:position] if groups[j][0] in groups[i][1] and not _straight(groups[j])),
            default=0,
        )
        if not _straight(groups[i]):
            tracks[i] = next(t for t in range(lowest, len(groups) + lowest + 1) if t not in taken)
    return tracks


def _straight(group: tuple[int, list[int]]) -> bool:
    return group[1] == [group[0]]
