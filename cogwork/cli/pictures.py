"""Pictures of workflows and runs, on the terminal and in files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cogwork.cli import context, render
from cogwork.cli.exits import FAILED, Refusal
from graphs.analysis.picture import mermaid, picture, scene, svg
from graphs.analysis.picture.text import choices

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary
    from graphs.analysis.plan import Plan
    from graphs.language.load import Workflow

WORST: Final = ("failed", "waiting", "open", "cancelled", "done", "skipped")
"""Of several instances of a step, the state that its box shows."""
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")


def of_workflow(name: str) -> Plan:
    """The plan of a workflow; its problems are shown, and it is drawn all the same where it can be."""
    from cogwork.cli.faults import show_problems
    from graphs.analysis.check import analyse
    from state.errors import SpecError

    app = context.opened()
    workflow: Workflow = app.load(name)
    analysis = analyse(workflow, app.services, app.resolve)
    if analysis.errors:
        if any(problem.code in ("cycle", "self_reference", "too_large") for problem in analysis.errors):
            raise SpecError(tuple(analysis.errors))
        show_problems(analysis.errors)
    return analysis.plan


def of_run(name: str) -> tuple[Plan, Mapping[str, str]]:
    """The plan that a run began with, and the states of its steps."""
    from cogwork.cli.runs import kept_graph

    app = context.opened()
    with context.kept_runs(app) as runs:
        summary = runs.find(name)
    return kept_graph(app, summary, None).plan, states_of(summary)


def states_of(summary: RunSummary) -> Mapping[str, str]:
    """Step id to state; a step with several instances has the worst of their states."""
    from cogwork.cli.deciding import step_id

    found: dict[str, set[str]] = {}
    for path, record in summary.values.get("nodes", {}).items():
        if not path.endswith("]"):
            found.setdefault(step_id(path), set()).add(str(record.get("status")))
    return {step: next((state for state in WORST if state in states), "") for step, states in found.items()}


def show_picture(summary: RunSummary) -> None:
    """The picture of a run on the terminal; nothing where its workflow is no longer there."""
    try:
        plan, states = of_run(summary.thread)
    except Refusal as refusal:
        render.note((str(refusal), "yellow"))
        return
    show_text(plan, states)


def show_text(plan: Plan, states: Mapping[str, str]) -> None:
    """The picture of a workflow on the terminal."""
    drawn = scene(plan, states)
    for line in picture(drawn, render.out().width):
        render.say(*((span.text, render.STYLES.get(span.box.state, "") if span.box else "dim") for span in line))
    if notes := list(choices(drawn)):
        render.say()
        for note in notes:
            render.say((f"  {note}", "dim"))


def made(plan: Plan, states: Mapping[str, str], format: Literal["text", "mermaid", "svg", "png"]) -> str | bytes:
    """The picture as the content of a file."""
    drawn = scene(plan, states)
    if format == "mermaid":
        return mermaid(drawn)
    if format == "text":
        return "\n".join("".join(span.text for span in line).rstrip() for line in picture(drawn, 160)) + "\n"
    return svg(drawn) if format == "svg" else png(svg(drawn))


def png(source: str) -> bytes:
    """The SVG as PNG, by whichever converter this machine has.

    Raises:
        Refusal: it has none, or the converter failed.
    """
    program = shutil.which("rsvg-convert")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None and browser is None:
        raise Refusal(
            "No converter to PNG is installed (rsvg-convert or chromium)", "draw an SVG instead: --format svg", FAILED
        )
    with tempfile.TemporaryDirectory(prefix="cogwork-") as folder:
        drawn, target = Path(folder, "drawing.svg"), Path(folder, "drawing.png")
        drawn.write_text(source, encoding="utf-8")
        command = (
            [program, "-o", str(target), str(drawn)] if program else _browsing(str(browser), source, drawn, target)
        )
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode or not target.exists():
            raise Refusal(f"{Path(command[0]).name} could not convert the drawing", "draw an SVG: --format svg", FAILED)
        return target.read_bytes()


def _browsing(browser: str, source: str, drawn: Path, target: Path) -> list[str]:
    """The command that has a browser without a screen or a network photograph the drawing."""
    import re

    size = re.search(r'width="(\d+)" height="(\d+)"', source)
    width, height = size.groups() if size else ("1200", "900")
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * 127.0.0.1",
    ]
    profile = f"--user-data-dir={drawn.parent / 'profile'}"
    return [browser, *quiet, profile, f"--window-size={width},{height}", f"--screenshot={target}", drawn.as_uri()]
