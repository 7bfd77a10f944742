"""The state of a LangGraph thread that runs a workflow: its channels and how they merge."""

from __future__ import annotations

from typing import Annotated, Any, Final

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from state.values import Json

RESET: Final = ""
"""A key (in ``nodes``, ``results``, ``run``) or an item (in ``path``) that clears the channel: a new run begins."""


def merged(old: dict[str, Json] | None, new: dict[str, Json]) -> dict[str, Json]:
    """``old`` with the entries of ``new``; ``RESET`` among its keys forgets ``old`` first."""
    if RESET in new:
        return {key: value for key, value in new.items() if key != RESET}
    return {**old, **new} if old else dict(new)


_RANK: Final = {"running": 0, "paused": 1, "completed": 2, "failed": 2, "cancelled": 2}
"""Which of two statuses of the same revision holds: an end outlasts a rest."""


def moved(old: dict[str, Json] | None, new: dict[str, Json]) -> dict[str, Json]:
    """``merged`` for the run's record: of two statuses written in one superstep the later move holds, whatever their order.

    A status comes with its revision, ``rev``; one of an earlier revision than the known one is left out.
    """
    if old and "status" in old and "status" in new and RESET not in new and _order(new) < _order(old):
        new = {key: value for key, value in new.items() if key not in ("status", "reason", "rev", "ended_at")}
    return merged(old, new)


def _order(run: dict[str, Json]) -> tuple[int, int]:
    return int(run.get("rev") or 0), _RANK.get(str(run["status"]), 0)


def extended(old: list[str] | None, new: list[str]) -> list[str]:
    """``old`` followed by ``new``; a leading ``RESET`` forgets ``old`` first."""
    if new and new[0] == RESET:
        return new[1:]
    return [*old, *new] if old else list(new)


class GraphState(TypedDict, total=False):
    """What a thread holds; plain JSON, but for the messages of a conversation.

    ``input``    the validated input of the current run
    ``run``      its id, workflow, version, status (running, paused, completed, failed, cancelled) and the reason of a rest or
                 failure, start and end, context, error, what was undone, raised limits
    ``nodes``    one record per step, by path: status, cause, attempts, times, error, usage
    ``results``  the value of each finished step, by path
    ``path``     the paths in the order in which they were settled
    ``output``   the result of the run
    ``messages`` the conversation of the thread; survives new runs
    """

    input: Json
    run: Annotated[dict[str, Json], moved]
    nodes: Annotated[dict[str, Json], merged]
    results: Annotated[dict[str, Json], merged]
    path: Annotated[list[str], extended]
    output: Json
    messages: Annotated[list[AnyMessage], add_messages]


class Trigger(TypedDict, total=False):
    """What a node reads of the state: nothing but the run, as the scheduler holds the rest in memory."""

    run: Annotated[dict[str, Json], moved]


class History(TypedDict, total=False):
    """What the step that takes others back reads of the state: the order in which they were settled."""

    run: Annotated[dict[str, Json], moved]
    path: Annotated[list[str], extended]


Update = dict[str, Any]
"""A partial ``GraphState``."""
