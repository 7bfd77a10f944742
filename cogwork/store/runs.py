"""The runs that the checkpoints hold: found by name, and summed up for people."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from state.errors import NotResumable
from state.usage import total
from state.values import Json

RunStatus: TypeAlias = Literal["running", "paused", "completed", "failed", "cancelled", "unfinished"]
"""``paused`` rests for a reason; ``unfinished`` has nobody working on it, as after a crash or Ctrl-C."""
RUN_STATUSES: tuple[str, ...] = get_args(RunStatus)


class UnknownRun(NotResumable):
    """There is no run of that name; the sentence names the nearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A thread's latest run; ``values`` is the state that its checkpoint holds.

    ``reason`` says why it is paused: ``human``, ``requested``, ``budget`` or ``in_doubt``; or why it failed, where that is no
    step's fault.
    """

    thread: str
    run: str
    workflow: str
    status: RunStatus
    started: str
    reason: str = ""
    ended: str = ""
    digest: str = ""
    questions: tuple[dict[str, Json], ...] = ()
    error: Mapping[str, Json] | None = None
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def usage(self) -> dict[str, Json]:
        """What its steps have used up to now; empty where no model was asked."""
        return total(self.values.get("nodes", {}).values())

    def to_dict(self) -> dict[str, Json]:
        """The summary as plain JSON, without the state."""
        return {
            "thread": self.thread,
            "run": self.run,
            "workflow": self.workflow,
            "status": self.status,
            "reason": self.reason or None,
            "started": self.started,
            "ended": self.ended or None,
            "questions": list(self.questions),
            "error": self.error,
        }


class Saved(Protocol):
    """Checkpoints that can be listed: a file or a database."""

    @property
    def where(self) -> str:
        """What they are kept in, for messages."""

    def threads(self) -> Iterator[str]:
        """The ids of all threads, the latest first."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A thread's latest checkpoint."""


class Runs:
    """The latest run of each thread; ``alive`` tells whether a process works on a thread."""

    def __init__(self, saver: Saved, alive: Callable[[str], bool]) -> None:
        self.saver, self.alive = saver, alive

    def __iter__(self) -> Iterator[RunSummary]:
        """All runs, the latest first; what other programs keep in the file is left out."""
        for thread in self.saver.threads():
            if (summary := self.of(thread)) is not None:
                yield summary

    def of(self, thread: str) -> RunSummary | None:
        """The latest run of a thread; None where it holds none of ours, or nothing that can be read."""
        try:
            found = self.saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        except Exception:  # The bytes may be anyone's, and whatever reads them may fail in any way.
            return None
        return _summary(thread, found, self.alive) if found is not None else None

    def find(self, name: str) -> RunSummary:
        """The run of that thread id or run id, or the only one whose id begins with ``name``.

        Raises:
            UnknownRun: there is none, or more than one.
        """
        if name and (exact := self.of(name)) is not None:
            return exact
        fitting = [run for run in self if name and (run.thread.startswith(name) or run.run.startswith(name))]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UnknownRun(f"{name!r} may mean {_listed([run.thread for run in fitting])}: write more of it")
        raise UnknownRun(self._missing(name))

    def _missing(self, name: str) -> str:
        known = [run.thread for run in self]
        close = difflib.get_close_matches(name, known, 3, 0.5)
        if close:
            return f"There is no run {name!r}: did you mean {_listed(close)}?"
        return f"There is no run {name!r} in {self.saver.where}" + (
            f": the latest is {known[0]}" if known else ", which holds no runs"
        )


def _listed(names: list[str]) -> str:
    shown = names[:4]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _summary(thread: str, found: CheckpointTuple, alive: Callable[[str], bool]) -> RunSummary | None:
    values = found.checkpoint.get("channel_values") or {}
    run = values.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("id"), str) or not isinstance(values.get("nodes", {}), dict):
        return None
    questions = _questions(found)
    status = _status(run, bool(questions), lambda: alive(thread))
    return RunSummary(
        thread=thread,
        run=run["id"],
        workflow=str(run.get("workflow", "")),
        status=status,
        reason=_reason(run, status, questions),
        started=str(run.get("started_at", "")),
        ended=str(run.get("ended_at") or ""),
        digest=str(run.get("digest", "")),
        questions=questions,
        error=run.get("error"),
        values=values,
    )


def _status(run: Mapping[str, Json], asks: bool, alive: Callable[[], bool]) -> RunStatus:
    match run.get("status"):
        case "completed":
            return "completed"
        case "failed":
            return "failed"
        case "cancelled":
            return "cancelled"
        case status:
            if alive():
                return "running"
            return "paused" if asks or status == "paused" else "unfinished"


def _reason(run: Mapping[str, Json], status: RunStatus, questions: tuple[dict[str, Json], ...]) -> str:
    """Why the run rests, by its record or else by what it asks; or why it failed."""
    if status == "paused":
        kinds = [str(question.get("kind") or "human") for question in questions]
        first = "human" if kinds and kinds[0] in ("approval", "elicitation") else kinds[0] if kinds else "requested"
        return str(run.get("reason") or first)
    return str(run.get("reason") or "") if status in ("failed", "cancelled") else ""


def _questions(found: CheckpointTuple) -> tuple[dict[str, Json], ...]:
    """The open questions, by the interrupts that wait at the checkpoint."""
    asked: dict[str, dict[str, Json]] = {}
    for _, channel, value in found.pending_writes or ():
        for each in value if channel == "__interrupt__" and isinstance(value, list | tuple) else ():
            question = getattr(each, "value", None)
            if isinstance(question, dict) and "at" in question:
                asked[str(question["at"])] = question
    return tuple(asked.values())
