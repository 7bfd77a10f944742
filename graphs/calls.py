"""What a call of the graph means for its thread: a new run, an answer, a resumption, a fork; or why it is refused."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.types import Command, Send, StateSnapshot

from graphs.answers import answered, expire, questions_of
from graphs.forks import anew, fresh, latest, written
from graphs.handed_in import handed_in
from graphs.inputs import plain_context, valid_input
from graphs.runtime.frames import Record
from graphs.runtime.loops import reopened
from graphs.runtime.run import Run
from graphs.runtime.scheduler import Scheduler
from graphs.versions import same_version
from state.errors import NotResumable, Stalled, WorkflowCancelled, WorkflowFailed
from state.graph import RESET
from state.values import Json

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph

_Beside = tuple[Any, Mapping[str, Any]]
ENDED = ("completed", "failed", "cancelled")
"""The statuses of runs that are over."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, understood: what LangGraph is given, and the scheduler that drives it."""

    input: Any
    scheduler: Scheduler
    durable: bool
    config: RunnableConfig | None = None
    """Given to LangGraph instead of the caller's, where that names a checkpoint that the call has forked."""

    def conclude(self, *, halted: bool = False) -> None:
        """Raise what the run came to, where it failed; ``halted`` says that the caller may have stopped it on the way.

        Raises:
            WorkflowFailed: with the first failure.
            WorkflowCancelled: somebody cancelled it.
            Stalled: it came to no end, and to nobody who is asked.
        """
        about, run = self.scheduler.about, self.scheduler.run
        if not (about.get("ended") or run.asked or about.get("budget") or self.scheduler.marked or halted):
            raise Stalled(about["id"], run.unsettled())
        if about.get("ended") and about.get("status") == "failed":
            raise WorkflowFailed(about["id"], about.get("error") or {})
        if about.get("ended") and about.get("status") == "cancelled":
            raise WorkflowCancelled(about["id"], about.get("error") or {})


async def classify(graph: WorkflowGraph, input: Any, config: RunnableConfig | None, context: Any) -> Call:
    """Understand one call against what the thread's checkpoint says.

    Raises:
        InputRefused: a new run's input does not fit.
        NotResumable: new input on a run that is not finished, or an answer where nothing is asked.
        AnswerRefused: an answer that does not fit its form, or came too late.
    """
    configurable = (config or {}).get("configurable", {})
    saver = configurable.get("__pregel_checkpointer", graph.checkpointer)
    durable = bool(saver) and "thread_id" in configurable
    snapshot, again = None, False
    if durable and config is not None:
        snapshot, config, again = await _standing(graph, input, config)
    if snapshot is not None and START in snapshot.next:
        if isinstance(input, Mapping):
            return _new_run(graph, input, snapshot, (context, configurable), durable)
        raise NotResumable(f"The run on thread {configurable['thread_id']!r} had not begun: give its input again")
    if isinstance(input, Command) and (input.resume is None or input.update or input.goto or input.graph):
        raise NotResumable("A Command may only answer: Command(resume=…). Values are changed with update_state")
    if again:
        input = None
    elif isinstance(input, Mapping):
        if snapshot is not None and configurable.get("__pregel_resuming") and snapshot.values and _over(snapshot):
            return _finished(graph, config or {}, snapshot)  # the graph around it takes its node up again
        if snapshot is None or _over(snapshot):
            return _new_run(graph, input, snapshot, (context, configurable), durable)
        if not configurable.get("__pregel_resuming"):
            raise NotResumable(_unfinished(snapshot, str(configurable["thread_id"])))
        input = None
    if snapshot is None or not snapshot.values:
        raise NotResumable(
            f"Thread {configurable.get('thread_id')!r} holds no run: give the workflow's input, not a resumption"
            if durable
            else "Only a graph with a checkpointer and a thread_id can be resumed"
        )
    return await _gone_on(graph, input, config or {}, snapshot, again)


async def _gone_on(
    graph: WorkflowGraph, input: Any, config: RunnableConfig, snapshot: StateSnapshot, again: bool
) -> Call:
    """A call that begins where the snapshot ends."""
    cut_off = input is None and snapshot.tasks and not _forked(snapshot, config)
    if (again or cut_off) and _over(snapshot):
        return _finished(graph, config, snapshot)
    if input is None and not again and _forked(snapshot, config):
        call = _continued(graph, None, *await _forked_from(graph, config, snapshot))
        call.scheduler.resumed = False
        return call
    return _continued(graph, input, config, snapshot)


async def _standing(
    graph: WorkflowGraph, input: Any, config: RunnableConfig
) -> tuple[StateSnapshot, RunnableConfig, bool]:
    """Where the call goes on, with its config; and whether it is the very call that wrote the newest checkpoint."""
    snapshot, chosen = await graph.aget_state(config), config["configurable"].get("checkpoint_id")
    if snapshot.created_at is None and chosen:
        thread = config["configurable"]["thread_id"]
        raise NotResumable(f"Thread {thread!r} has no checkpoint {chosen}: its history tells those it has")
    again = _same_call(snapshot, config)
    if not chosen or again:
        return snapshot, config, again
    newest = await graph.aget_state(latest(config))
    again = _same_call(newest, config)
    if not again and not isinstance(input, Command):
        return snapshot, config, False
    _stands_there(newest, None if again else chosen)
    return newest, latest(config), again


def _stands_there(newest: StateSnapshot, checkpoint: str | None) -> None:
    """Refuse to answer at a checkpoint that the thread has left: what was answered there then would be taken again."""
    if checkpoint is not None and newest.config["configurable"].get("checkpoint_id") != checkpoint:
        raise NotResumable(
            f"The thread has gone on since checkpoint {checkpoint}: fork it first with None as input, then answer its question"
        )


def _over(snapshot: StateSnapshot) -> bool:
    """Whether the thread's run has ended. After a crash ``next`` may be empty though work remains: ``tasks`` is not."""
    return not snapshot.tasks or snapshot.values.get("run", {}).get("status") in ENDED


def _forked(snapshot: StateSnapshot, config: RunnableConfig | None) -> bool:
    """Whether the call goes on from an earlier checkpoint, or from values that were changed."""
    chosen = (config or {}).get("configurable", {}).get("checkpoint_id")
    changed = (snapshot.metadata or {}).get("source") in ("update", "fork")
    return bool(chosen) or (changed and not snapshot.tasks)


def _same_call(snapshot: StateSnapshot, config: RunnableConfig | None) -> bool:
    """Whether the server repeats, after a crash, the very call that wrote the checkpoint, perhaps to its end."""
    given = config or {}
    run_id = given.get("metadata", {}).get("run_id") or given.get("configurable", {}).get("run_id")
    return run_id is not None and str((snapshot.metadata or {}).get("run_id")) == str(run_id)


def _unfinished(snapshot: StateSnapshot, thread: str) -> str:
    run = snapshot.values.get("run", {}).get("id", "?")
    if snapshot.interrupts:
        asked = ", ".join(sorted(str(i.value.get("at")) for i in snapshot.interrupts if isinstance(i.value, dict)))
        return f"Run {run} on thread {thread!r} waits for an answer at {asked}: answer it, or use another thread"
    return f"Run {run} on thread {thread!r} is not finished: resume it with None as input, or use another thread"


def _new_run(
    graph: WorkflowGraph, given: Mapping[str, Any], snapshot: StateSnapshot | None, beside: _Beside, durable: bool
) -> Call:
    spec = graph.plan.spec
    plain = valid_input(spec, given)
    about: Record = {
        "id": uuid.uuid4().hex,
        "workflow": spec.name,
        "version": spec.version,
        "digest": graph.digest,
        "attempt": 1,
        "status": "running",
        "rev": 0,
        "started_at": graph.now().isoformat(),
        "context": plain_context(beside[0]),
        **handed_in(graph.plan, graph.services, *beside).record(),
    }
    scheduler = _scheduler(graph, about, records={}, results={}, input=plain, snapshot=snapshot)
    first = {
        "input": plain,
        "run": {RESET: True, **about},
        "nodes": {RESET: True},
        "results": {RESET: True},
        "path": [RESET],
        "output": None,
    }
    return Call(input=first, scheduler=scheduler, durable=durable)


async def _forked_from(
    graph: WorkflowGraph, config: RunnableConfig, snapshot: StateSnapshot
) -> tuple[RunnableConfig, StateSnapshot]:
    """A new run begun at a checkpoint; written down first, so that its questions and its id are in the state."""
    values = snapshot.values
    about: Record = values.get("run", {})
    changed_version = same_version(graph.plan.spec, graph.digest, about, config)
    nodes, results = anew(values.get("nodes", {})), values.get("results", {})
    records = {**values.get("nodes", {}), **nodes}
    scheduler = _scheduler(graph, about, records=records, results=results, input=values.get("input"), snapshot=snapshot)
    goto = _unattended(scheduler)
    update = {"run": {**fresh(about), **changed_version, "before": scheduler.budget.sums()}, "nodes": nodes}
    base: RunnableConfig = {
        **config,
        "configurable": {**config["configurable"], **snapshot.config["configurable"]},
    }
    await written(graph, base, Command(update=update, goto=goto))
    return latest(config), await graph.aget_state(latest(config))


def _continued(graph: WorkflowGraph, input: Any, config: RunnableConfig, snapshot: StateSnapshot) -> Call:
    values = snapshot.values
    about: Record = {**values.get("run", {}), "ended": False}
    first: dict[str, Any] = {}
    first["run"] = same_version(graph.plan.spec, graph.digest, about, config)
    if _forked(snapshot, config):
        first["run"] |= fresh(about)
    about |= first["run"]
    scheduler = _scheduler(
        graph,
        about,
        records=values.get("nodes", {}),
        results=values.get("results", {}),
        input=values.get("input"),
        snapshot=snapshot,
    )
    scheduler.resumed = True
    if about.get("status") == "paused":
        first["run"] |= scheduler.moved("running")
    scheduler.first = first if first["run"] else {}
    scheduler.hold_back_all()
    scheduler.cut_off_before = len(snapshot.tasks) > len(snapshot.next)
    expire(scheduler)
    if isinstance(input, Command) and input.resume is not None:
        input = answered(scheduler, input, snapshot)
    elif input is None and not snapshot.tasks:
        input = Command(goto=_unattended(scheduler))
    elif handed_in := config.get("configurable", {}).get("__pregel_resume_map"):
        scheduler.answers = {i.value["at"]: handed_in[i.id] for i in questions_of(snapshot) if i.id in handed_in}
    return Call(input=input, scheduler=scheduler, durable=True, config=config)


def _finished(graph: WorkflowGraph, config: RunnableConfig, snapshot: StateSnapshot) -> Call:
    """A call that had ended already: it gives the same end once more."""
    values = snapshot.values
    about: Record = {**values.get("run", {}), "ended": True}
    nodes, results = values.get("nodes", {}), values.get("results", {})
    scheduler = _scheduler(graph, about, records=nodes, results=results, input=values.get("input"), snapshot=snapshot)
    return Call(input=None, scheduler=scheduler, durable=True, config=config)


def _scheduler(
    graph: WorkflowGraph,
    about: Record,
    *,
    records: Mapping[str, Record],
    results: Mapping[str, Json],
    input: Json,
    snapshot: StateSnapshot | None,
) -> Scheduler:
    run = Run(graph.plan, records=records, results=results)
    scheduler = Scheduler(run, graph.services, about, now=graph.now)
    scheduler.messages = tuple((snapshot.values if snapshot else {}).get("messages", ()))
    run.top.input = input
    run.reopen = lambda member: reopened(scheduler, member)
    if about.get("error") and about.get("status") not in ENDED:
        run.top.error, run.failed = about["error"], True
    run.populate(run.top)
    return scheduler


def _unattended(scheduler: Scheduler) -> list[str | Send]:
    """Where a run goes on whose checkpoint names no next node, as after a fork with changed values.

    Raises:
        NotResumable: the run has ended.
        Stalled: it has not, and nothing can go on.
    """
    run, about = scheduler.run, scheduler.about
    if run.complete and about.get("status") == "running" and run.top.error is None:
        return [run.plan.sink]
    if run.complete or run.top.error is not None or about.get("status") in ENDED:
        how = "failed" if run.top.error is not None or about.get("status") == "failed" else "completed"
        how = "been cancelled" if about.get("cancelled") else how
        raise NotResumable(
            f"Run {about.get('id')} has {how}: give an input for a new run, or fork an earlier checkpoint"
        )
    asked = [Send(member.planned.id, {"ask": path}) for path, member in run.asked.items()]
    goto: list[str | Send] = [*run.frontier(), *asked]
    if not goto:
        raise Stalled(about["id"], run.unsettled())
    return goto
