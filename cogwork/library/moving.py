"""Moving an open run to another version: its checkpoint is rewritten in place, so that it goes on by the other plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from cogwork.library.movable import Move, movable
from graphs.analysis.plan import Plan
from graphs.calls import classify
from graphs.graph import WorkflowGraph
from graphs.keeping import kept_by, owned_name
from graphs.versions import ALLOW_VERSION_CHANGE
from state.durable import RecordedCall
from state.schemas import with_defaults

_RESTING: Final = frozenset({"__interrupt__", "__resume__", "__error__", "__scheduled__", "__error_source_node__"})
"""Writes beside a checkpoint that are no results of its steps."""
_BRANCH: Final = "branch:to:"
"""LangGraph's channel that wakes a node."""


async def move(old: Plan, new: WorkflowGraph, config: RunnableConfig, *, plan_only: bool = False) -> Move:
    """Let the open run of the config's thread go on with ``new``, where it can; with ``plan_only`` only say whether.

    Its id, its records and its questions stay. Steps that are new and may start are woken when it is resumed; nothing runs now.

    Raises:
        Owned: somebody works on the run: pause it first.
    """
    saver: Any = new.checkpointer
    kept = kept_by(saver)
    thread = str(config["configurable"]["thread_id"])
    latest: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    if plan_only:
        return await _judged(old, new, await saver.aget_tuple(latest), kept, thread)
    async with kept.owners.held(owned_name(latest["configurable"])):
        found = await saver.aget_tuple(latest)
        judged = await _judged(old, new, found, kept, thread)
        if judged.possible and found is not None and _digest(found) != new.digest:
            await _rewritten(new, latest, found)
        return judged


def _digest(found: CheckpointTuple) -> str:
    return str((found.checkpoint["channel_values"].get("run") or {}).get("digest"))


async def _judged(old: Plan, new: WorkflowGraph, found: CheckpointTuple | None, kept: Any, thread: str) -> Move:
    if found is None or not found.checkpoint["channel_values"].get("run"):
        return Move(reasons=("it has not begun: begin it with the other version",))
    values: Mapping[str, Any] = found.checkpoint["channel_values"]
    calls: Mapping[str, RecordedCall] = await kept.calls.of_run(thread, str(values["run"].get("id")))
    judged = movable(values, old, new.plan, calls.values())
    also = _unsettled(found)
    return Move(reasons=(*judged.reasons, *also)) if also else judged


def _unsettled(found: CheckpointTuple) -> tuple[str, ...]:
    """Why the checkpoint cannot be rewritten as it stands."""
    if (found.metadata or {}).get("source") in ("update", "fork"):
        return ("it was forked or changed by hand, and has not gone on since: resume it first",)
    if any(channel not in _RESTING for _, channel, _ in found.pending_writes or ()):
        return ("it was cut off while steps were ending: resume it until it rests first",)
    return ()


async def _rewritten(new: WorkflowGraph, config: RunnableConfig, found: CheckpointTuple) -> None:
    """Write the run's record, its input and what is to be woken into the checkpoint."""
    saver: Any = new.checkpointer
    checkpoint, spec = found.checkpoint, new.plan.spec
    values = checkpoint["channel_values"]
    run = values["run"]
    about = {"workflow": spec.name, "version": spec.version, "digest": new.digest}
    changed: dict[str, Any] = {"run": {**run, **about, "moved_from": run.get("digest")}}
    filled = with_defaults(spec.input, values.get("input"))
    if filled != values.get("input"):
        changed["input"] = filled
    changed |= {_BRANCH + step: None for step in await _woken(new, config)}
    version = saver.get_next_version(max(checkpoint["channel_versions"].values(), default=None), None)
    versions = dict.fromkeys(changed, version)
    whole: Any = {
        **checkpoint,
        "channel_values": {**values, **changed},
        "channel_versions": {**checkpoint["channel_versions"], **versions},
    }
    if (known := checkpoint.get("updated_channels")) is not None:
        whole["updated_channels"] = sorted({*known, *changed})  # LangGraph looks only there for nodes to run
    before: Any = found.parent_config or config
    await saver.aput(before, whole, found.metadata, versions)


async def _woken(new: WorkflowGraph, config: RunnableConfig) -> list[str]:
    """The steps that can go on by the new plan and that the checkpoint does not wake."""
    allowed: Any = {"configurable": {**config["configurable"], ALLOW_VERSION_CHANGE: True}}
    run = (await classify(new, None, allowed, None)).scheduler.run
    waiting = {task.name for task in (await new.aget_state(config)).tasks}
    ready = [step for step in run.frontier() if step not in waiting]
    return ready or ([] if waiting else [new.plan.sink] if run.complete else [])
