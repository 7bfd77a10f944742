"""How a run of a chat is shown: its steps while they work, and the words of its answer as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogwork.cli import render
from cogwork.cli.progress import Progress
from cogwork.cli.views import LiveView
from state.events import Event

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph


def speaker_of(graph: WorkflowGraph) -> str:
    """The step whose text is what the workflow says: the only one that asks a model, where it answers in words."""
    asking = [step for step in graph.plan.steps.values() if step.kind in ("llm", "agent")]
    if len(asking) != 1 or asking[0].kind != "llm" or asking[0].scope or getattr(asking[0].step, "output", None):
        return ""
    return asking[0].id


class ChatView(LiveView):
    """On a terminal a picture of the steps that vanishes, then the ``speaker``'s words; elsewhere nothing.

    ``told`` is what was shown of the answer.
    """

    def __init__(self, speaker: str) -> None:
        self.speaker, self.told = speaker, ""
        self._drawn_at_all = self._open = self._speaking = False

    def begin(self, progress: Progress) -> None:
        """Draw the steps, until somebody speaks."""
        self.over, self._drawn_at_all = False, render.out().is_terminal and render.err().is_terminal
        if self._drawn_at_all:
            super().begin(progress)
            self.live.transient, self._open = True, True

    def see(self, event: Event) -> None:
        """A word of the answer, or something that happened to a step."""
        if not self._drawn_at_all:
            return
        if event.kind == "step.retry" and self.told:
            render.token("\n")
            render.note(("… once more", "yellow"))
            self.told = ""
        if event.kind == "step.token" and event.step == self.speaker:
            self._close()
            self._speaking = True
            render.token(str(event.data.get("text", "")))
            self.told += str(event.data.get("text", ""))
        elif self._open:
            super().see(event)

    def end(self) -> None:
        """The picture vanishes; the answer ends its line."""
        self._close()
        if self._speaking:
            render.token("\n")
        self._speaking = False

    def _close(self) -> None:
        if self._open:
            self._open = False
            super().end()
