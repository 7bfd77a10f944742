"""What a run's events say so far, as one line per step: pure bookkeeping, whatever shows it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from cogwork.cli.reasons import brief_cause, brief_error, brief_usage, remarks
from state.events import Event
from state.values import Json

StepState: TypeAlias = Literal["pending", "running", "waiting", "done", "skipped", "failed", "cancelled", "undone"]
STAGES: Final = frozenset({"on_failure", "undo", "finally"})
"""The steps that hold what follows a workflow's own steps."""
_PART: Final = re.compile(r".*?\[(?P<turn>\d+)\]\.(?:turn|calls\[(?P<call>\d+)\]\.(?:call|approve))")
"""The path of a turn, of a call, or of the question whether it may be made."""
TAIL: Final = 400
"""How much of a streamed text is kept for showing."""
_STATES: Final[Mapping[str, StepState]] = {
    "step.started": "running",
    "step.opened": "running",
    "step.token": "running",
    "step.retry": "running",
    "step.fallback": "running",
    "step.waiting": "waiting",
    "step.finished": "done",
    "step.skipped": "skipped",
    "step.failed": "failed",
    "step.cancelled": "cancelled",
}


@dataclass(slots=True, kw_only=True)
class Line:
    """One step as a person sees it."""

    name: str
    depth: int = 0
    state: StepState = "pending"
    since: float = 0.0
    """When it began to run, by the caller's clock."""
    seconds: float | None = None
    note: str = ""
    tail: str = ""
    """The end of the text that its model is writing."""
    count: int | None = None
    closed: int = 0
    lost: int = 0
    inner: dict[str, None] = field(default_factory=dict)
    """Steps at work inside its items."""
    loop: bool = False


class Progress:
    """The lines of a run; ``before`` holds the records of an earlier stretch, ``names`` the workflow's own steps in order.

    Of those among ``talks``, which work with tools, each turn and each call has a line of its own.
    """

    def __init__(
        self,
        names: Mapping[str, bool],
        before: Mapping[str, Mapping[str, Json]],
        talks: Collection[str] = (),
    ) -> None:
        self.talks = frozenset(talks)
        self.lines: dict[str, Line] = {}
        self.earlier = 0
        self.said = ""
        """What is going on with the run as a whole."""
        for name, loop in names.items():
            state = before.get(name, {}).get("status")
            if state in ("done", "skipped", "failed"):
                self.earlier += 1
            else:
                self.lines[name] = Line(name=name, loop=loop, state="waiting" if state == "waiting" else "pending")
        self.loops = {name for name, loop in names.items() if loop}

    def see(self, event: Event, now: float) -> None:
        """Take one event in."""
        if event.kind.startswith("item."):
            self._item(event)
        elif event.kind == "run.pausing":
            self.said = "pausing: nothing new begins, writes in flight end first"
        elif event.kind == "step.undone":
            self._undone(event)
        elif event.kind in _STATES:
            self._step(event, now)

    def _undone(self, event: Event) -> None:
        """A line of its own for each step that is taken back."""
        error, of = event.data.get("error"), str(event.data.get("of") or event.step)
        self.lines[self.place(event)] = Line(
            name=of,
            depth=1,
            state="failed" if error else "undone",
            note=f"could not be undone: {brief_error(error)}" if error else "undone",
        )

    def place(self, event: Event) -> str:
        """Under which key the line is that an event is about: that of an undo call is beside that of its step."""
        undoes = event.kind == "step.undone" or event.step.startswith("undo[")
        return f"undo {event.data['of']}" if undoes and "of" in event.data else event.step

    def _item(self, event: Event) -> None:
        line = self.lines.get(event.step.rpartition("[")[0])
        if line is not None and event.kind == "item.finished":
            line.closed += 1
            line.lost += event.data.get("status") == "failed"

    def _step(self, event: Event, now: float) -> None:
        holder = self._holder(event.step)
        if self.talks_at(event.step):
            part = _PART.fullmatch(event.step)
            if part is None or (event.step.endswith(".approve") and event.kind != "step.waiting"):
                return
            self.lines.setdefault(event.step, _part_line(part, event))
        elif holder is not None:
            self._inside(holder, event)
            if _STATES[event.kind] != "waiting":
                return
        if event.kind == "step.token" and event.step not in self.lines:
            return
        new = Line(name=str(event.data.get("of") or event.step), depth=event.step.count("."))
        line = self.lines.setdefault(self.place(event), new)
        if line.state != "running" and _STATES[event.kind] == "running":
            line.since = now
        line.state = _STATES[event.kind]
        _TAKE.get(event.kind, _nothing)(line, event.data)
        line.loop = line.loop and event.step not in self.talks
        if line.state not in ("running", "waiting"):
            line.tail = ""

    def talks_at(self, path: str) -> bool:
        """Whether the path lies inside a step that works with tools."""
        head, inside, _ = path.partition("[")
        return bool(inside) and head in self.talks

    def _holder(self, path: str) -> Line | None:
        """The line of the loop that a path lies in."""
        head, inside, _ = path.partition("[")
        if inside and head not in STAGES:
            return self.lines.get(head)
        head, inside, _ = path.partition(".")
        line = self.lines.get(head)
        return line if inside and line is not None and line.loop else None

    def _inside(self, line: Line, event: Event) -> None:
        name = event.step.rpartition(".")[2]
        if event.kind in ("step.started", "step.opened", "step.retry"):
            line.inner[name] = None
            line.note = f"{name}: trying again" if event.kind == "step.retry" else line.note
        elif event.kind == "step.token":
            line.tail = (line.tail + str(event.data.get("text", "")))[-TAIL:]
        else:
            line.inner.pop(name, None)


def _part_line(part: re.Match[str], event: Event) -> Line:
    """The line of a turn, of a call by the name of its tool, or of the question whether it may be made."""
    if part["call"] is None:
        return Line(name=f"turn {int(part['turn']) + 1}", depth=1)
    return Line(name=str(event.data.get("tool") or (event.data.get("show") or {}).get("tool") or "call"), depth=2)


def _nothing(line: Line, data: Mapping[str, Any]) -> None:
    return None


def _opened(line: Line, data: Mapping[str, Any]) -> None:
    if line.name.rpartition(".")[2] not in STAGES:
        line.loop, line.count = True, data.get("count")


def _token(line: Line, data: Mapping[str, Any]) -> None:
    line.tail = (line.tail + str(data.get("text", "")))[-TAIL:]


def _retry(line: Line, data: Mapping[str, Any]) -> None:
    line.tail = ""
    line.note = (
        f"attempt {data.get('attempt')} failed ({brief_error(data.get('error'))}); again in {data.get('wait')} s"
    )


def _fallback(line: Line, data: Mapping[str, Any]) -> None:
    line.tail = ""
    line.note = f"failed ({brief_error(data.get('error'))}); now {data.get('fallback')}"


def _finished(line: Line, data: Mapping[str, Any]) -> None:
    line.seconds = data.get("seconds")
    used = brief_usage(data.get("usage"))
    line.note = ", ".join([*([used] if used else []), *remarks(data)])


def _skipped(line: Line, data: Mapping[str, Any]) -> None:
    line.note = brief_cause(data.get("cause"), data.get("error"))


def _failed(line: Line, data: Mapping[str, Any]) -> None:
    line.note = brief_error(data.get("error"))


def _waiting(line: Line, data: Mapping[str, Any]) -> None:
    line.note = str(data.get("ask", ""))


_TAKE = {
    "step.opened": _opened,
    "step.token": _token,
    "step.retry": _retry,
    "step.fallback": _fallback,
    "step.finished": _finished,
    "step.skipped": _skipped,
    "step.failed": _failed,
    "step.waiting": _waiting,
}
