"""One run from the command line: shown while it goes on, asked about where it rests, and its end told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cogwork.cli import asking, exits, render
from cogwork.cli.answers import Given, Question, resume_command
from cogwork.cli.views import QuietView, View, chosen, progress_of
from state.errors import AnswerRefused
from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph

_CODES = {"run.completed": exits.DONE, "run.failed": exits.FAILED, "run.cancelled": exits.CANCELLED}


@dataclass(slots=True, kw_only=True)
class Drive:
    """A graph on its thread, driven until it ends or rests."""

    graph: WorkflowGraph
    thread: str
    given: Given
    json: bool
    interactive: bool
    kept: bool = True
    """Whether the run can be resumed later."""
    context: dict[str, Json] | None = None
    """What a new run is given beside its input."""
    view: View | None = None
    """What shows it; without one, what fits where the output goes."""

    def go(self, input: Any) -> int:
        """Run or resume, answer what is asked as far as possible, and tell the end; the exit code."""
        try:
            last = self.played(input)
        except KeyboardInterrupt:
            return self._stopped()
        return self._told(last)

    @property
    def config(self) -> Any:
        """What LangGraph is called with."""
        return {"configurable": {"thread_id": self.thread}}

    def played(self, input: Any) -> Event:
        """Run or resume, and answer what is asked as far as possible; the last event."""
        from langgraph.types import Command

        last = self._stretch(input)
        while last.kind == "run.paused":
            answers = self._answers(last.data.get("questions") or [])
            if not answers:
                break
            try:
                last = self._stretch(Command(resume=self._addressed(answers)))
            except AnswerRefused as refused:
                if not self.interactive:
                    raise
                render.complain(str(refused))
        return last

    def _stretch(self, input: Any) -> Event:
        """The events up to the next rest; the last of them."""
        return stretch(self.graph, self.thread, input, self.view or chosen(json=self.json), self.context)

    def _answers(self, questions: list[Question]) -> dict[str, Json]:
        """Answers from the options, else from the person at the terminal."""
        fitting = self.given.waiting_for(questions)
        if fitting:
            self.given = self.given.without(fitting)
            return fitting.answers(questions)
        if not self.interactive:
            return {}
        answers = {}
        for question in questions:
            asking.show_question(question)
            render.say(("Answer here; Ctrl-C leaves it open for later.", "dim"))
            answers[str(question["at"])] = asking.ask(question)
        return answers

    def _addressed(self, answers: dict[str, Json]) -> dict[str, Json]:
        """The answers under the ids of their interrupts, which no answer can be mistaken for."""
        ids = {str(i.value["at"]): i.id for i in self.graph.get_state(self.config).interrupts}
        return {ids[path]: answer for path, answer in answers.items()}

    # -- ends ----------------------------------------------------------------------------------------------

    def _told(self, last: Event) -> int:
        code = _CODES.get(last.kind, exits.RESTS)
        if self.json:
            render.write_json(self._result(last, code), indent=None)
            return code
        tell: dict[str, Callable[[Event], None]] = {
            "run.completed": self._completed,
            "run.failed": self._failed,
            "run.cancelled": self._cancelled,
        }
        tell.get(last.kind, self._rests)(last)
        if self.given:
            render.note((f"not used: {self.given}", "yellow"))
        return code

    def _result(self, last: Event, code: int) -> dict[str, Json]:
        status = {exits.DONE: "completed", exits.FAILED: "failed", exits.CANCELLED: "cancelled"}.get(code, "paused")
        questions = last.data.get("questions") or []
        return {
            "event": "result",
            "status": status,
            "reason": self._reason(last) if status == "paused" else None,
            "run": last.run,
            "thread": self.thread,
            "workflow": self.graph.plan.spec.name,
            "output": last.data.get("output"),
            "error": last.data.get("error"),
            "questions": questions,
            "usage": last.data.get("usage"),
            "resume": resume_command(self.thread, questions) if status == "paused" and self.kept else None,
            "exit": code,
        }

    def _completed(self, last: Event) -> None:
        output = last.data.get("output")
        if output is not None:
            render.value(output)
        self._footer(last, "completed")

    def _failed(self, last: Event) -> None:
        from cogwork.cli.reasons import brief_error

        error = last.data.get("error") or {}
        where = f" at {error['node']}" if error.get("node") else ""
        hint = f"cogwork why {self.thread} {error['node']}" if error.get("node") and self.kept else ""
        render.complain(f"the run failed{where}: {brief_error(error)}", hint)
        self._aftermath()
        self._footer(last, "failed")

    def _cancelled(self, last: Event) -> None:
        reason = (last.data.get("error") or {}).get("message")
        render.note("the run was cancelled", f": {reason}" if reason else "")
        self._aftermath()
        self._footer(last, "cancelled")

    def _aftermath(self) -> None:
        """What was undone, what could not be, and what else went wrong after the first failure."""
        from cogwork.cli.reasons import aftermath

        for text, style in aftermath(self.graph.get_state(self.config).values.get("run", {}) if self.kept else {}):
            render.note((text, style))

    def _reason(self, last: Event) -> str:
        """Why the run rests; a run without questions rests because somebody asked for it."""
        kinds = [str(question.get("kind") or "human") for question in last.data.get("questions") or ()]
        return str(last.data.get("reason") or (kinds[0] if kinds else "requested"))

    def _rests(self, last: Event) -> None:
        questions = last.data.get("questions") or []
        asking.show_questions(self.thread, questions, resumable=self.kept)
        if not questions and self.kept:
            render.say("The run was paused on request; nothing that is finished is repeated. Go on with:")
            render.say((f"  cogwork resume {self.thread}", "bold cyan"))
        if not self.kept:
            render.note(
                ("nothing of this run was kept: leave out --no-checkpoint, or give --answer, to go on", "yellow")
            )
        self._footer(last, "paused", self._reason(last))

    def _footer(self, last: Event, status: str, reason: str = "") -> None:
        from cogwork.cli.reasons import brief_status, brief_usage

        kept = f"run {self.thread}" if self.kept else "not kept"
        said = f"{render.MARKS[status]} {brief_status(status, reason)}"
        used = brief_usage(last.data.get("usage"))
        render.note((said, render.STYLES[status]), (f" · {kept}" + (f" · {used}" if used else ""), "dim"))

    def _stopped(self) -> int:
        if self.json:
            render.write_json(
                {"event": "result", "status": "interrupted", "thread": self.thread, "exit": 130}, indent=None
            )
        elif self.kept:
            render.note(("\nStopped; what is finished is kept. Go on with:\n", "yellow"))
            render.note((f"  cogwork resume {self.thread}", "bold cyan"))
        return exits.INTERRUPTED


def followed(graph: WorkflowGraph, thread: str, *, quiet: bool) -> Event:
    """Go on with the run up to its end or its next rest, and ask nobody; the last event."""
    return stretch(graph, thread, None, QuietView() if quiet else chosen(json=False))


def stretch(graph: WorkflowGraph, thread: str, input: Any, view: View, context: dict[str, Json] | None = None) -> Event:
    """Run or resume up to the next rest, shown by ``view``; the last event."""
    config: Any = {"configurable": {"thread_id": thread}}
    before = graph.get_state(config).values.get("nodes", {}) if not isinstance(input, dict) else {}
    view.begin(progress_of(graph, before))
    try:
        return asyncio.run(_seen(graph, config, input, view, context))
    finally:
        view.end()


async def _seen(graph: WorkflowGraph, config: Any, input: Any, view: View, context: dict[str, Json] | None) -> Event:
    from cogwork.cli.threads import Unawaited

    asyncio.get_running_loop().set_default_executor(Unawaited())
    last: Event | None = None
    async for event in graph.aevents(input, config, context=context):
        last = event
        view.see(event)
    assert last is not None, "a run ends with an event"
    return last
