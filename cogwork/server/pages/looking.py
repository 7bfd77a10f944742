"""One execution as its page shows it: its record, plan, history, and what is known of a chosen step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cogwork.errors import EngineError
from cogwork.executions.history import AT_ONCE, Told
from cogwork.server.pages.story import Story, step_of
from state.errors import CogworkError
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.record import Execution
    from cogwork.executions.result import ExecutionResult
    from cogwork.workflow_engine import WorkflowEngine
    from graphs.analysis.plan import Plan

MOST_ROWS: Final = 200
"""Steps in the table."""
MOST_EVENTS: Final = 20_000
"""Of a longer history a page tells the beginning."""


class Reading:
    """What one reader has of an execution; looked at again, only what is new is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Told] = []
        self.story = Story()
        self._planned: tuple[Plan | None, str] | None = None

    async def mark(self, engine: WorkflowEngine) -> tuple[int, str, int]:
        """What is another when there is something new to show; while it runs, also every other second."""
        execution = await engine.parts.executions.get(self.name)
        await self._read(engine)
        now = engine.parts.executions.now()
        beat = int(now.timestamp()) // 2 if execution.status == "running" else 0
        return execution.rev, f"{execution.status}/{execution.segment}/{len(self.events)}", beat

    async def look(self, engine: WorkflowEngine) -> Look:
        """The execution as it is now.

        Raises:
            EngineError: ``execution_not_found``.
        """
        await self._read(engine)
        result = await engine.get_execution_result(self.name)
        execution = result.execution
        if self._planned is None:
            self._planned = await _plan(engine, execution)
        plan, trouble = self._planned
        return Look(
            execution=execution,
            result=result,
            input=await engine.parts.executions.input_of(execution),
            events=self.events,
            story=self.story,
            plan=plan,
            trouble=trouble,
            now=engine.parts.executions.now(),
        )

    async def _read(self, engine: WorkflowEngine) -> None:
        while len(self.events) < MOST_EVENTS:
            after = self.events[-1].seq if self.events else 0
            told = await engine.parts.history.read(self.name, after=after)
            for each in told:
                self.story.take(each.event)
            self.events += told
            if len(told) < AT_ONCE:
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An execution as it is at one moment; ``plan`` is None where its workflow is code, or cannot be read any more."""

    execution: Execution
    result: ExecutionResult
    input: Json
    events: list[Told]
    story: Story
    plan: Plan | None
    trouble: str
    now: datetime

    @property
    def states(self) -> dict[str, str]:
        """The state of each step, by its id."""
        found = {step_of(path): "done" for path in self.result.intermediate_results}
        return (
            found | {step_of(str(row["path"])): str(row["status"]) for row in self.result.steps} | self.story.states()
        )

    @property
    def rows(self) -> list[dict[str, Json]]:
        """The steps of the table: those that have begun, in their order, each with what is recorded of it."""
        recorded = {str(row["path"]): row for row in self.result.steps}
        return [self.row(path, recorded.get(path) or {}) for path in self.paths[:MOST_ROWS]]

    @property
    def paths(self) -> list[str]:
        """All steps that have begun or were skipped; an item of a loop is what is inside it."""
        told = dict.fromkeys([*self.story.steps, *(str(row["path"]) for row in self.result.steps)])
        return [path for path in told if not path.endswith("]")]

    def row(self, path: str, recorded: Mapping[str, Json]) -> dict[str, Json]:
        """What there is to say of one step."""
        told = self.story.steps.get(path)
        began = told.began if told is not None and told.attempts else recorded.get("started_at")
        seconds = recorded.get("seconds")
        if told is not None and told.attempts and told.ended is not None and told.began is not None:
            seconds = (told.ended - told.began).total_seconds()
        usage = recorded.get("usage") or (told.usage if told is not None else None)
        return {
            "path": path,
            "kind": recorded.get("kind") or self.kind(path),
            "state": told.state if told is not None else recorded.get("status"),
            "began": began,
            "seconds": seconds,
            "attempts": len(told.attempts) if told is not None else recorded.get("attempts") or 0,
            "what": recorded.get("tool") or recorded.get("model") or recorded.get("agent") or "",
            "cause": (told.cause if told is not None else None) or _cause(recorded.get("cause")),
            "error": (told.error if told is not None else None) or recorded.get("error"),
            "usage": dict(usage) if usage else None,
            "notes": list(told.notes) if told is not None else [],
            "progress": told.progress if told is not None and told.state == "running" else "",
            "count": told.count if told is not None else None,
        }

    def kind(self, path: str) -> str:
        """What kind of step it is, as far as that is known."""
        planned = self.plan.steps.get(step_of(path)) if self.plan is not None else None
        return planned.kind if planned is not None else ""


def _cause(recorded: Json) -> Json:
    return {"reason": recorded, "by": None} if isinstance(recorded, str) and recorded else recorded


async def _plan(engine: WorkflowEngine, execution: Execution) -> tuple[Plan | None, str]:
    from graphs.graph import WorkflowGraph

    try:
        graph: Any = await engine.parts.graphs.of(replace(execution, mode="async"))
    except CogworkError as err:
        return None, f"Its workflow cannot be drawn any more: {err}"
    if isinstance(graph, WorkflowGraph):
        return graph.plan, ""
    return None, "Its workflow is code, and has no drawing: the table has its steps."


# -- one step --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A step that somebody looks at: its instances, of which ``path`` is the one that is shown, and all that is known of it."""

    id: str
    path: str
    instances: tuple[str, ...]
    row: Mapping[str, Json]
    attempts: tuple[Any, ...]
    spec: Mapping[str, Json]
    why: tuple[str, ...]
    calls: tuple[Any, ...]
    output: Json = None
    has_output: bool = False
    given: Mapping[str, Json] = field(default_factory=dict)
    ran: bool = False
    over: bool = False


async def chosen(engine: WorkflowEngine, look: Look, name: str) -> Chosen:
    """The step of that id or path.

    Raises:
        EngineError: ``not_found``.
    """
    id = step_of(name)
    recorded = {str(row["path"]): row for row in look.result.steps}
    instances = tuple(path for path in look.paths if step_of(path) == id)
    planned = look.plan.steps.get(id) if look.plan is not None else None
    if planned is None and not instances:
        raise EngineError("not_found", f"There is no step {name[:200]!r} in execution {look.execution.id}")
    path = name if name in instances else next(iter(instances), id)
    told = look.story.steps.get(path)
    values, calls = await _kept(engine, look.execution)
    results = look.result.intermediate_results
    return Chosen(
        id=id,
        path=path,
        instances=instances,
        row=look.row(path, recorded.get(path) or {}),
        attempts=tuple(told.attempts) if told is not None else (),
        spec=_fields(planned),
        why=_why(look, values, calls, path),
        calls=tuple(call for call in calls.values() if call.step == path),
        output=results.get(path),
        has_output=path in results,
        given={parent: results[parent] for parent in _parents(planned) if parent in results},
        ran=path in (values.get("nodes") or {}),
        over=str((values.get("nodes") or {}).get(path, {}).get("status")) in ("done", "skipped", "failed", "cancelled"),
    )


async def _kept(engine: WorkflowEngine, execution: Execution) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The state in its checkpoint, and its calls."""
    if not execution.run or not execution.kept:
        return {}, {}
    saver = engine.parts.saver
    config: Any = {"configurable": {"thread_id": execution.thread, "checkpoint_ns": ""}}
    saved = await saver.aget_tuple(config)
    values = (saved.checkpoint.get("channel_values") or {}) if saved is not None else {}
    if (values.get("run") or {}).get("id") != execution.run:
        return {}, {}
    return values, await saver.calls.of_run(execution.thread, execution.run)


def _why(look: Look, values: Mapping[str, Any], calls: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Why the step is what it is, in sentences."""
    if look.plan is None or not values:
        return ()
    from cogwork.cli.why import Case

    try:
        told = Case(look.plan, values, calls=calls).explanation(path)
    except (CogworkError, KeyError):  # a path that only the history knows
        return ()
    shown = ("It ran from", "Call", "    ", "It took")  # these stand on the page already
    return tuple(line for line in told if not line.startswith(shown))


def _fields(planned: Any) -> Mapping[str, Json]:
    """What the spec says of the step."""
    if planned is None or not hasattr(planned.step, "model_dump"):
        return {}
    told: dict[str, Json] = planned.step.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return {key: value for key, value in told.items() if key not in ("type", "nodes")}


def _parents(planned: Any) -> list[str]:
    return list(dict.fromkeys(planned.parents)) if planned is not None else []
