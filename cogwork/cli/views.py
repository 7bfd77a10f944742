"""How the events of a run are shown while they come: a live picture, plain lines, or JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cogwork.cli import render
from cogwork.cli.progress import Line, Progress
from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from rich.text import Text

    from graphs.graph import WorkflowGraph


class View(Protocol):
    """Shows one stretch of a run."""

    def begin(self, progress: Progress) -> None:
        """The stretch begins."""

    def see(self, event: Event) -> None:
        """One event."""

    def end(self) -> None:
        """The stretch is over, however it ended."""


def chosen(*, json: bool) -> View:
    """The view that fits where the output goes."""
    if json:
        return JsonView()
    return LiveView() if render.err().is_terminal else PlainView()


def progress_of(graph: WorkflowGraph, before: Mapping[str, Mapping[str, Json]]) -> Progress:
    """The lines of a workflow's own steps."""
    steps = [graph.plan.steps[step_id] for step_id in graph.plan.scopes[""].names.values()]
    talks = {step.name for step in steps if step.kind == "agent"}
    loops = {step.name: step.kind in ("for_each", "repeat") for step in steps}
    return Progress(loops, before, talks)


class JsonView:
    """Each event as one line of JSON on standard output."""

    def begin(self, progress: Progress) -> None:
        """Nothing to show."""

    def see(self, event: Event) -> None:
        """One line."""
        render.write_json(event.to_dict(), indent=None)

    def end(self) -> None:
        """Nothing to show."""


class QuietView:
    """Shows nothing: only the end counts."""

    def begin(self, progress: Progress) -> None:
        """Nothing to show."""

    def see(self, event: Event) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""


class PlainView:
    """One line per happening on standard error, for logs and pipes."""

    def begin(self, progress: Progress) -> None:
        """Nothing to show yet."""
        self.progress = progress

    def see(self, event: Event) -> None:
        """A line for what has begun or ended."""
        self.progress.see(event, 0.0)
        if event.kind == "run.pausing":
            render.note((f"… {self.progress.said}", "yellow"))
        if event.kind in ("step.token", "step.started", "item.started") or event.kind.startswith("run."):
            return
        if event.kind == "item.finished" and event.data.get("status") != "failed":
            return
        line = self.progress.lines.get(self.progress.place(event))
        if line is None and self.progress.talks_at(event.step):
            return
        if line is None:
            shown = Progress({}, {})
            shown.lines[event.step] = line = Line(name=event.step)
            shown.see(event, 0.0)
            line.state = "failed" if event.kind == "item.finished" else line.state
        render.note(*described(line, 0.0))

    def end(self) -> None:
        """Nothing is left open."""


class LiveView:
    """One line per step on the terminal, kept up to date."""

    def begin(self, progress: Progress) -> None:
        """Draw the first picture."""
        from rich.live import Live

        self.progress = progress
        self.console = render.err()
        self.live = Live(console=self.console, get_renderable=self.picture, refresh_per_second=12, transient=False)
        self.live.start()

    def see(self, event: Event) -> None:
        """Take it in; the picture follows by itself."""
        self.progress.see(event, time.monotonic())

    def end(self) -> None:
        """Leave the last picture standing."""
        self.over = True
        self.live.vertical_overflow = "visible"
        self.live.stop()

    over = False

    def picture(self) -> Any:
        """The lines as they are now."""
        from rich.console import Group

        now, width = time.monotonic(), self.console.width
        lines, settled, pending = self._fitting()
        drawn = [self._drawn(line, now, width) for line in lines]
        if settled:
            drawn.insert(0, render.styled((f"✓ {settled} steps settled before", "dim")))
        if pending:
            drawn.append(render.styled((f"· {pending} more to come", "dim")))
        if self.progress.said and not self.over:
            drawn.append(render.styled((f"… {self.progress.said}", "yellow")))
        return Group(*drawn)

    def _fitting(self) -> tuple[list[Line], int, int]:
        """The lines that fit on the screen, and how many settled and pending ones are only counted."""
        lines, earlier = list(self.progress.lines.values()), self.progress.earlier
        room = max(4, self.console.height - 4)
        if self.over or len(lines) <= room:
            return lines, earlier, 0
        begun = [line for line in lines if line.state != "pending"]
        busy = [line for line in begun if line.state not in ("done", "skipped")]
        shown = begun if len(begun) <= room else busy[:room]
        return shown, earlier + len(begun) - len(shown), len(lines) - len(begun)

    def _drawn(self, line: Line, now: float, width: int) -> Text:
        made = render.styled(*described(line, now))
        if line.tail and line.state == "running" and not self.over:
            made.append_text(
                render.styled(("  " + line.tail.replace("\n", " ")[-max(10, width - len(made) - 4) :], "dim"))
            )
        made.truncate(width, overflow="ellipsis")
        return made


def described(line: Line, now: float) -> list[str | tuple[str, str]]:
    """A line's parts: mark, name, what it does, how long."""
    style = render.STYLES[line.state]
    parts: list[str | tuple[str, str]] = ["  " * line.depth, (f"{render.MARKS[line.state]} ", style)]
    parts.append((line.name, style if line.state in ("failed", "pending", "skipped") else ""))
    if line.loop and (line.closed or line.count):
        parts.append(
            (f"  {line.closed}/{line.count}" if line.count is not None else f"  round {line.closed + 1}", "cyan")
        )
        parts += [(f" ({line.lost} failed)", "red")] if line.lost else []
    if line.seconds is not None or (line.state == "running" and now):
        seconds = line.seconds if line.seconds is not None else now - line.since
        parts.append((f"  {seconds:.1f} s", "dim"))
    if line.inner and line.state == "running":
        parts.append((f"  {', '.join(list(line.inner)[:4])}", "dim"))
    if line.note:
        parts.append((f"  {line.note}", "dim" if line.state != "failed" else "red"))
    return parts
