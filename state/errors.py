"""What can go wrong in a run, as one tree.

CogworkError                 everything that cogwork raises on purpose
├── Fault                    a step, tool or model call that failed; has a class that policies name, and says in which
│   │                        stage it failed, how grave that is, and whether and when trying again may help
│   └── InDoubt              a write of which nobody knows whether it was done: a person is asked, nothing is guessed
├── Asked                    a call that cannot go on without a person, and has done nothing yet: the step rests and calls again
├── SpecError                a spec that cannot be loaded or built; carries every Problem
├── InputRefused             an input that does not fit the workflow's input schema
├── AnswerRefused            an answer that does not fit the question's form; the question stays open
├── NotResumable             resuming what is unknown, finished or not waiting; or new input on a paused run
│   └── Owned                somebody else works on the run right now
├── WorkflowFailed           the run ended as failed; carries the first failure as data
├── Unrecorded               the record of calls cannot be written; the run stops and can be resumed
├── WorkflowCancelled        the run was cancelled
└── Stalled                  a fault of cogwork's own: a run that is not over and in which nothing goes on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from state.problems import Problem
    from state.values import Json

FaultClass: TypeAlias = Literal[
    "timeout",
    "connection",
    "unavailable",
    "rate_limited",
    "invalid_input",
    "invalid_output",
    "tool_error",
    "refused",
    "permission_denied",
    "cancelled",
    "budget_exceeded",
    "internal",
]
FAULT_CLASSES: Final[tuple[str, ...]] = get_args(FaultClass)
TRANSIENT: Final = frozenset({"timeout", "connection", "unavailable", "rate_limited"})
"""What ``retry.on: [transient]`` means, and its default."""
Origin: TypeAlias = Literal["workflow", "step", "model", "tool"]
Stage: TypeAlias = Literal["schedule", "expression", "arguments", "render", "call", "result"]
"""Where a step failed: before it may start, in its expressions, its arguments, its prompt, the call, or what that gave."""
Severity: TypeAlias = Literal["warning", "error", "critical"]
"""``critical`` is a fault of cogwork's own, ``warning`` a step that was only given up."""


class CogworkError(Exception):
    """The root of what cogwork raises on purpose."""

    def dict(self) -> Mapping[str, str]:
        """What LangGraph's server tells its clients; of exceptions without this method it hides the message."""
        return {"error": type(self).__name__, "message": str(self)}


class Fault(CogworkError):
    """A call or step that failed, with the class that retry and recovery policies name.

    ``retry_after`` is in seconds; ``details`` is plain JSON for whoever mends it. Without ``stage`` the class and the
    origin decide.
    """

    def __init__(
        self,
        fault_class: FaultClass,
        message: str,
        *,
        origin: Origin = "step",
        stage: Stage | None = None,
        retry_after: float | None = None,
        details: Json = None,
    ) -> None:
        self.fault_class, self.message, self.origin = fault_class, message, origin
        self.stage: Stage = stage or _stage(fault_class, origin)
        self.retry_after, self.details = retry_after, details
        super().__init__(message)

    @property
    def transient(self) -> bool:
        """Whether trying again may help."""
        return self.fault_class in TRANSIENT

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return _SEVERITY.get(self.fault_class, "error")

    def record(self, *, node: str, pointer: str = "") -> dict[str, Json]:
        """The failure as data: the same object in results, events and replies; ``node`` is the path of the step."""
        return {
            "class": self.fault_class,
            "origin": self.origin,
            "stage": self.stage,
            "severity": self.severity,
            "message": self.message,
            "node": node,
            "pointer": pointer,
            "recoverable": self.transient,
            "retry_after": self.retry_after,
            "details": self.details,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Json]) -> Fault:
        """The fault that a record tells of; what follows from the class is not read."""
        return Fault(
            record["class"],
            record["message"],
            origin=record.get("origin", "step"),
            stage=record.get("stage"),
            retry_after=record.get("retry_after"),
            details=record.get("details"),
        )


_SEVERITY: Final[Mapping[str, Severity]] = {"internal": "critical", "cancelled": "warning"}


def _stage(fault_class: FaultClass, origin: Origin) -> Stage:
    if origin == "workflow":
        return "schedule"
    return "result" if fault_class == "invalid_output" else "call"


class InDoubt(Fault):
    """A write that is not idempotent and of which nobody knows whether it was done; never retried, a person is asked.

    ``key`` is the call's in the record of calls, ``target`` the tool, ``arguments`` what it is called with (shortened where
    large), ``begun_at`` ISO 8601 in UTC (empty where nothing is recorded), ``reason`` one sentence without the ending stop.
    """

    def __init__(
        self,
        key: str,
        target: str,
        reason: str,
        *,
        arguments: Json = None,
        begun_at: str = "",
        fault_class: FaultClass = "cancelled",
        origin: Origin = "tool",
        retry_after: float | None = None,
    ) -> None:
        self.key, self.target, self.reason, self.arguments, self.begun_at = key, target, reason, arguments, begun_at
        doubt: dict[str, Json] = {
            "key": key,
            "target": target,
            "args": arguments,
            "begun_at": begun_at,
            "reason": reason,
        }
        super().__init__(
            fault_class,
            f"Nobody knows whether the call of {target} was done: {reason}",
            origin=origin,
            retry_after=retry_after,
            details={"in_doubt": doubt},
        )

    @property
    def transient(self) -> bool:
        """Trying again may do it twice."""
        return False


class Asked(CogworkError):
    """A call asks a person and has done nothing yet; the step rests and makes it again with ``CallContext.answers[id]``.

    ``id`` tells the questions of one call apart and is the same each time the same one is asked, ``message`` is what the
    person reads, ``form`` the JSON Schema (an object) of the answer. ``kept`` is plain JSON that the call gets back beside the
    answer: ``answers[id]`` is ``{"answer": …, "kept": …}``. ``show`` holds, by name, what the person should see with it.
    """

    def __init__(
        self,
        id: str,
        message: str,
        form: dict[str, Json],
        *,
        kept: Json = None,
        show: Mapping[str, Json] | None = None,
    ) -> None:
        self.id, self.message, self.form, self.kept, self.show = id, message, form, kept, dict(show or {})
        self.key = self.target = ""
        """The call's key in the record of calls, and the tool; set by whoever makes the call."""
        super().__init__(message)


@dataclass(eq=False)
class SpecError(CogworkError):
    """A spec that cannot be loaded or built; ``problems`` holds every fault found, in a stable order."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class InputRefused(CogworkError):
    """An input that does not fit; ``faults`` holds one sentence per place."""

    def __init__(self, workflow: str, faults: list[str]) -> None:
        self.workflow, self.faults = workflow, faults
        super().__init__(f"The input of {workflow} does not fit: {'; '.join(faults)}")


class AnswerRefused(CogworkError):
    """An answer that does not fit its form; the question ``at`` stays open and can be answered again."""

    def __init__(self, at: str, faults: list[str]) -> None:
        self.at, self.faults = at, faults
        super().__init__(f"The answer to {at} does not fit its form: {'; '.join(faults)}. The question stays open.")


class NotResumable(CogworkError):
    """There is nothing to resume, or the run waits for something else; the sentence says what to do instead."""


class Owned(NotResumable):
    """Somebody else works on the thread's run right now."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        super().__init__(f"Somebody else works on {thread!r} right now: wait for it to end or rest, or pause it first")


class WorkflowFailed(CogworkError):
    """The run ended as failed; ``error`` is the first failure as data (``Fault.record``)."""

    def __init__(self, run: str, error: dict[str, Json]) -> None:
        self.run, self.error = run, error
        super().__init__(f"Run {run} failed at {error.get('node')}: {error.get('message')} [{error.get('class')}]")


class Unrecorded(CogworkError):
    """The record of calls could not be written, so the run must stop: what is on disk stays valid and can be resumed."""

    def __init__(self, key: str, error: BaseException) -> None:
        self.key = key
        super().__init__(
            f"The call {key} could not be recorded ({type(error).__name__}: {error}); mend the store and resume the run"
        )


class WorkflowCancelled(CogworkError):
    """Somebody cancelled the run; ``error`` says why (``Fault.record``, class ``cancelled``)."""

    def __init__(self, run: str, error: dict[str, Json]) -> None:
        self.run, self.error = run, error
        super().__init__(f"Run {run} was cancelled: {error.get('message')}")


class Stalled(CogworkError):
    """A fault of cogwork's own: the run is not over, nobody is asked, and nothing goes on. What is done is kept."""

    def __init__(self, run: str, left: list[str]) -> None:
        self.run, self.left = run, left
        super().__init__(
            f"Run {run} stands still with {', '.join(left) or 'nothing'} left to do: this is a fault of cogwork, please report it"
        )
