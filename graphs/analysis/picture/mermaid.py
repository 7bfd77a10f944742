"""A workflow as a Mermaid flowchart, for Markdown documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphs.analysis.picture.scene import Box, Scene, short

_SHAPES: Final = {"condition": ("{{", "}}"), "human": ("([", "])"), "transform": ("[/", "/]"), "llm": ("(", ")")}
_COLOURS: Final = {
    "done": "fill:#d7f5dd,stroke:#1a7f37",
    "running": "fill:#d8ecff,stroke:#0969da",
    "open": "fill:#d8ecff,stroke:#0969da",
    "waiting": "fill:#f3e3ff,stroke:#8250df",
    "failed": "fill:#ffdcd7,stroke:#cf222e",
    "skipped": "fill:#f2f2f2,stroke:#999,stroke-dasharray:4",
    "cancelled": "fill:#f2f2f2,stroke:#999,stroke-dasharray:4",
}


def mermaid(scene: Scene) -> str:
    """The text of the flowchart; loops and used workflows are subgraphs."""
    ids = {box.id: f"n{index}" for index, box in enumerate(_boxes(scene))}
    lines = ["flowchart TD", *_scope(scene, ids, "  ")]
    used = {box.state for box in _boxes(scene)} & set(_COLOURS)
    lines += [f"  classDef {state} {_COLOURS[state]}" for state in sorted(used)]
    return "\n".join(lines) + "\n"


def _boxes(scene: Scene) -> Iterator[Box]:
    for box in scene.boxes:
        yield box
        if box.body is not None:
            yield from _boxes(box.body)


def _scope(scene: Scene, ids: dict[str, str], indent: str) -> Iterator[str]:
    for box in scene.boxes:
        if box.body is not None:
            yield f'{indent}subgraph {ids[box.id]} ["{_text(f"{box.name} — {box.note}")}"]'
            yield from _scope(box.body, ids, indent + "  ")
            yield f"{indent}end"
        else:
            begin, end = _SHAPES.get(box.kind, ("[", "]"))
            yield f'{indent}{ids[box.id]}{begin}"{_text(box.name)}<br/><small>{box.kind}</small>"{end}'
        if box.state in _COLOURS:
            yield f"{indent}class {ids[box.id]} {box.state}"
    for arrow in scene.arrows:
        label = f'-. "{_text(short(arrow.label))}" .->' if arrow.label else "-->"
        yield f"{indent}{ids[arrow.source]} {label} {ids[arrow.target]}"


def _text(text: str) -> str:
    for char, code in (("&", "amp"), ('"', "quot"), ("<", "lt"), (">", "gt")):
        text = text.replace(char, f"#{code};" if char != "&" else "#amp;")
    return " ".join(text.split())
