"""What a node is called with: the values it sees, the services it may call, and where its calls are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from graphs.runtime.budget import TIMEOUT
from graphs.runtime.environment import names
from graphs.runtime.frames import Instance, Record
from nodes.base import Outcome, StepCall, Undo
from nodes.execution import PER_FALLBACK
from state.errors import Fault
from state.services import Fate
from state.values import Json

if TYPE_CHECKING:
    from graphs.runtime.scheduler import Scheduler

STEP_METADATA = "cogwork_step"
"""The key under which LangGraph's ``messages`` stream tells the path of the step."""


def step_call(scheduler: Scheduler, member: Instance, config: RunnableConfig | None) -> StepCall:
    """What the instance's node is called with."""
    planned, about = member.planned, scheduler.about
    owner = next(f for f in member.frame.outward() if f.scope.kind in ("workflow", "use")).scope
    return StepCall(
        run=about["id"],
        path=member.path,
        names=names(scheduler.run, member.frame, planned.lookups, about),
        fields=planned.fields,
        services=scheduler.services,
        mode=owner.mode,
        context=about.get("context") or {},
        agents=owner.agents,
        config=_named(config, member.path) if planned.kind == "llm" else config,
        messages=scheduler.messages,
        progress=_progress(scheduler, member.path),
        recording=scheduler.recording,
        cache=scheduler.cache,
        given=about.get("given", {}).get(member.path),
        within=replace(scheduler.within, fate=partial(_fate, scheduler, member)),
        standins=_standins(scheduler, member, config) if any(planned.standins) else {},
    )


def _fate(scheduler: Scheduler, member: Instance) -> Fate:
    """What is to become of a run within the instance's call, which is being cut off."""
    why, cancelled = scheduler.given_up.get(member.path), scheduler.about.get("cancelled")
    if scheduler.run.failing(member.frame):
        return "undo" if not cancelled or cancelled.get("undo") else "cancel"
    if why == TIMEOUT or (why is None and (scheduler.closing or scheduler.stopping)):
        return "rest"
    return "undo"


def _progress(scheduler: Scheduler, path: str) -> Callable[[float, float | None, str], None]:
    """What tells how far a call of the instance has come."""

    def told(done: float, total: float | None, message: str) -> None:
        if scheduler.heard:
            emit = partial(scheduler.emit, "step.progress", path, done=done, total=total, message=message)
            scheduler.context.run(emit)

    return told


def _standins(scheduler: Scheduler, member: Instance, config: RunnableConfig | None) -> dict[int, tuple[Any, StepCall]]:
    """The siblings that serve as the node's fallbacks, each with its own call under the step's numbers."""
    found = {}
    for index, step_id in enumerate(member.planned.standins):
        if step_id:
            other = member.frame.members[step_id]
            call = step_call(scheduler, other, config)
            call.base = PER_FALLBACK * (index + 1)
            found[index] = (other.planned.node, call)
    return found


def undo_call(scheduler: Scheduler, path: str, args: Json) -> StepCall:
    """What the undoing of the step at ``path`` is called with."""
    return StepCall(
        run=scheduler.about["id"],
        path=path,
        names={},
        fields={"/args": Given(args)},  # type: ignore[dict-item]
        services=scheduler.services,
        recording=scheduler.recording,
        fixed_key=f"{scheduler.about['id']}:{path}:undo",
        within=scheduler.within,
    )


def undo_of(scheduler: Scheduler, member: Instance, outcome: Outcome, record: Record) -> Record | None:
    """How the step, now done, would be taken back: ``{tool, args}``, or ``{tool, error}`` where that cannot be said.

    The arguments are evaluated while all that they see is at hand, and kept in the step's record. Where a sibling stood in
    that says how it is taken back itself, ``of`` names it.
    """
    done = standin(member, outcome) or member
    if getattr(done.planned.step, "undo", None) is None:
        done = member
    undo: Undo | None = getattr(done.planned.step, "undo", None)
    if undo is None:
        return None
    planned, run, path = done.planned, scheduler.run, done.path
    of: Record = {"of": planned.id} if done is not member else {}
    kept = run.results, run.records
    values, records = dict.fromkeys((path, member.path), outcome.value), dict.fromkeys((path, member.path), record)
    run.results, run.records = {**run.results, **values}, {**run.records, **records}
    try:
        seen = names(run, member.frame, planned.undo_lookups, scheduler.about)
    finally:
        run.results, run.records = kept
    call = StepCall(run="", path=path, names=seen, fields=planned.fields, services=scheduler.services)
    try:
        return {"tool": undo.tool, "args": call.value("/undo/args") or {}, **of}
    except Fault as fault:
        return {"tool": undo.tool, "error": fault.record(node=path, pointer=f"{planned.pointer}/undo/args"), **of}


def standin(member: Instance, outcome: Outcome) -> Instance | None:
    """The sibling that served in the step's place, where one did."""
    for step_id in member.planned.standins if outcome.fallback.startswith("node:") else ():
        other = member.frame.members.get(step_id)
        if other is not None and outcome.fallback == f"node:{other.planned.name}":
            return other
    return None


class Given:
    """A field whose value is known already; texts in it that look like references are data."""

    def __init__(self, value: Json) -> None:
        self.given = value

    def evaluate(self, names: Any) -> Json:
        """The value."""
        return self.given


def _named(config: RunnableConfig | None, path: str) -> RunnableConfig | None:
    """The config with the instance's path in its metadata, so that streamed tokens say where they come from."""
    if config is None:
        return None
    return {**config, "metadata": {**config.get("metadata", {}), STEP_METADATA: path}}
