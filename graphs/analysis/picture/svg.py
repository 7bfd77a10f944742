"""A workflow as SVG: a layered drawing with the bodies of loops inside their boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, TypeAlias

from graphs.analysis.picture.layers import Layers, Spot
from graphs.analysis.picture.scene import Arrow, Box, Scene, short

Link: TypeAlias = Callable[[Box], str]
"""Where a click on a box leads."""
GAP, RISE, PAD, ROW = 28.0, 56.0, 20.0, 44.0
_FILLS: Final = {
    "done": ("#dff6e3", "#1a7f37"),
    "running": ("#ddf0ff", "#0969da"),
    "open": ("#ddf0ff", "#0969da"),
    "waiting": ("#f4e6ff", "#8250df"),
    "failed": ("#ffe3df", "#cf222e"),
    "skipped": ("#f4f4f4", "#9a9a9a"),
    "cancelled": ("#f4f4f4", "#9a9a9a"),
}
_KINDS: Final = {
    "llm": "#8250df",
    "tool": "#0969da",
    "condition": "#bf8700",
    "transform": "#57606a",
    "human": "#bf3989",
    "for_each": "#1a7f37",
    "repeat": "#1a7f37",
    "use": "#1a7f37",
    "agent": "#8250df",
    "stage": "#57606a",
    "undo": "#57606a",
}
_STYLE: Final = (
    "text{font:13px system-ui,'Segoe UI',sans-serif;fill:#1f2328}.k{font-size:11px}.l{font-size:10px;fill:#57606a}"
    ".t{font-size:15px;font-weight:600}.e{fill:none;stroke:#8c959f;stroke-width:1.4}.c{stroke-dasharray:5 4}"
)
_ARROWHEAD: Final = (
    '<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0L10 5L0 10z" fill="#8c959f"/></marker></defs>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A scene laid out: its size and the drawing, with its upper left corner at 0, 0."""

    width: float
    height: float
    drawing: tuple[str, ...]


def svg(scene: Scene) -> str:
    """The SVG document."""
    placed = _placed(scene, None)
    width, height = placed.width + 2 * PAD, placed.height + 2 * PAD + 28
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(scene.title)}">'
    )
    title = f'<text class="t" x="{PAD:.0f}" y="{PAD + 8:.0f}">{escape(scene.title)}</text>'
    paper = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>'
    body = [f'<g transform="translate({PAD:.1f} {PAD + 28:.1f})">', *placed.drawing, "</g></svg>"]
    return "\n".join([head, f"<style>{_STYLE}</style>", _ARROWHEAD, paper, title, *body]) + "\n"


def embedded(scene: Scene, link: Link) -> str:
    """The drawing as an element of a web page that has the styles: boxes are links with the class ``box`` and those of their
    kind (``k-tool``) and state (``s-done``)."""
    placed = _placed(scene, link)
    width, height = placed.width + 2 * PAD, placed.height + 2 * PAD
    head = (
        f'<svg class="graph" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="group" aria-label="{escape(scene.title)}">'
    )
    return "\n".join(
        [head, _ARROWHEAD, f'<g transform="translate({PAD:.1f} {PAD:.1f})">', *placed.drawing, "</g></svg>"]
    )


def _placed(scene: Scene, link: Link | None) -> _Placed:
    arrows = scene.essential()
    layers = Layers([box.id for box in scene.boxes], [(arrow.source, arrow.target) for arrow in arrows])
    boxes = {box.id: box for box in scene.boxes}
    bodies = {box.id: _placed(box.body, link) for box in scene.boxes if box.body is not None}
    sizes = {box.id: _size(box, bodies.get(box.id)) for box in scene.boxes}
    centres = layers.centres(lambda spot: sizes[spot][0] if isinstance(spot, str) else 10.0, GAP)
    tops: dict[Spot, float] = {}
    bottoms: dict[Spot, float] = {}
    heights: list[float] = []
    y = 0.0
    for row in layers.rows:
        heights.append(max((sizes[spot][1] for spot in row if isinstance(spot, str)), default=0.0))
        tops |= dict.fromkeys(row, y)
        bottoms |= dict.fromkeys(row, y + heights[-1])
        y += heights[-1] + RISE
    drawing: list[str] = []
    for arrow in arrows:
        drawing += _edge(arrow, layers.chains[arrow.source, arrow.target], centres, tops, bottoms, sizes)
    for box in scene.boxes:
        width, _ = sizes[box.id]
        leads = link(box) if link is not None else None
        at = centres[box.id] - width / 2, tops[box.id]
        drawing += _box(boxes[box.id], *at, sizes[box.id], bodies.get(box.id), leads)
    right = max(
        centres[spot] + (sizes[spot][0] / 2 if isinstance(spot, str) else 5.0) for row in layers.rows for spot in row
    )
    return _Placed(width=right, height=y - RISE, drawing=tuple(drawing))


def _size(box: Box, body: _Placed | None) -> tuple[float, float]:
    width = max(7.6 * len(box.name), 6.2 * len(_subtitle(box))) + 32
    if body is None:
        return max(width, 90.0), ROW
    return max(width, body.width + 2 * PAD), body.height + ROW + PAD


def _subtitle(box: Box) -> str:
    return short(box.note or box.kind, 60)


def _box(
    box: Box, x: float, y: float, size: tuple[float, float], body: _Placed | None, leads: str | None
) -> Iterator[str]:
    width, height = size
    fill, stroke = _FILLS.get(box.state, ("#fbfbfc" if body is not None else "#fff", "#57606a"))
    dash = ' stroke-dasharray="4 3"' if box.state in ("skipped", "cancelled") else ""
    yield f"<g><title>{escape(f'{box.id} ({box.kind}) {box.state} {box.note}'.strip())}</title>"
    if leads is not None:
        kind = "" if box.kind == _subtitle(box) else box.kind
        name = escape(", ".join(filter(None, (f"{box.id} {_subtitle(box)}", kind, box.state))))
        yield f'<a class="box k-{box.kind} s-{box.state or "none"}" href="{escape(leads)}" aria-label="{name}">'
    yield (
        f'<rect class="paper" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{_round(box)}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.3"{dash}/>'
    )
    yield f'<rect class="kind" x="{x + 6:.1f}" y="{y + 9:.1f}" width="4" height="{ROW - 18:.0f}" rx="2" fill="{_KINDS[box.kind]}"/>'
    yield f'<text x="{x + 18:.1f}" y="{y + 19:.1f}">{escape(box.name)}</text>'
    yield f'<text class="k" fill-opacity=".7" x="{x + 18:.1f}" y="{y + 34:.1f}">{escape(_subtitle(box))}</text>'
    if leads is not None:
        yield "</a>"
    if body is not None:
        yield f'<g transform="translate({x + (width - body.width) / 2:.1f} {y + ROW:.1f})">'
        yield from body.drawing
        yield "</g>"
    yield "</g>"


def _round(box: Box) -> int:
    return {"human": 20, "condition": 2}.get(box.kind, 8)


def _edge(
    arrow: Arrow,
    chain: Sequence[Spot],
    centres: dict[Spot, float],
    tops: dict[Spot, float],
    bottoms: dict[Spot, float],
    sizes: dict[str, tuple[float, float]],
) -> Iterator[str]:
    """A smooth line through the chain's spots, and the label near its end."""
    x, y = centres[arrow.source], tops[arrow.source] + sizes[arrow.source][1]
    path = [f"M{x:.1f} {y:.1f}"]
    for before, spot in pairwise(chain):
        # Within its row the line stays upright, so that it crosses no box.
        y, to_x, to_y = bottoms[before], centres[spot], tops[spot]
        turn = (to_y - y) * 0.55
        path.append(f"L{x:.1f} {y:.1f}C{x:.1f} {y + turn:.1f} {to_x:.1f} {to_y - turn:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    chosen = " c" if arrow.label else ""
    yield f'<path class="e{chosen}" d="{" ".join(path)}" marker-end="url(#a)"/>'
    if arrow.label:
        yield (
            f'<text class="l" x="{x:.1f}" y="{y - 12:.1f}" text-anchor="middle" paint-order="stroke" stroke="#fff" '
            f'stroke-width="3"><title>{escape(arrow.label)}</title>{escape(short(arrow.label, 26))}</text>'
        )
