"""The command ``start``: an execution is asked for, here or on another instance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, elsewhere, exits, overriding, render, shown
from cogwork.cli.engine import Tags, Wait, opened
from cogwork.cli.runs import Pairs, Whole
from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.engine.parts import Parts
    from cogwork.executions.options import Options
    from cogwork.executions.record import Execution


def start(
    workflow: context.WorkflowName,
    pairs: Pairs,
    sets: overriding.Sets,
    tags: Tags,
    given: Whole = None,
    overrides: overriding.File = None,
    mode: Annotated[str, typer.Option(help="async, or isolated: in a process of its own.")] = "async",
    priority: Annotated[str, typer.Option(help="high, normal, low, or a number; the lowest goes first.")] = "normal",
    queue: Annotated[str | None, typer.Option(help="One of the settings' queues.", show_default=False)] = None,
    timeout: Annotated[str | None, typer.Option(help="Working time, such as 10m.", show_default=False)] = None,
    deadline: Annotated[str | None, typer.Option(help="Instant, ISO 8601.", show_default=False)] = None,
    delay: Annotated[str | None, typer.Option(help="Begin no sooner than after this time.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: asked twice, it runs once.", show_default=False)
    ] = None,
    tenant: Annotated[str, typer.Option(help="For whom it runs.", show_default=False)] = "",
    on: Annotated[
        str | None, typer.Option("--on", help="The instance that runs it; `local` for this one.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What its instance must have; may be repeated.", show_default=False)
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="How its instance is chosen: local, label, least_loaded, round_robin.", show_default=False),
    ] = None,
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """Ask for an execution: it is put into the queue, and a worker runs it (`cogwork worker`), or another instance."""
    options = {
        "mode": mode,
        "priority": int(priority) if priority.isdigit() else priority,
        "tags": tags,
        "tenant": tenant,
        **{
            name: value
            for name, value in {
                "queue": queue,
                "timeout": timeout,
                "deadline": deadline,
                "delay": delay,
                "idempotency_key": key,
                "target": on,
                "labels": label,
                "policy": policy,
            }.items()
            if value
        },
    }
    said = _Said(pairs, given, sets, overrides)
    execution = asyncio.run(_started(workflow, said, options, wait=wait))
    if json:
        render.write_json(execution.to_dict())
    else:
        shown.told(execution)
    raise typer.Exit(shown.code(execution))


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said of the input and of overrides, to be understood by the workflow."""

    pairs: list[str]
    given: str | None
    sets: list[str]
    overrides: str | None

    def understood(self, graph: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The input and the overrides; without a graph, which another instance has, names and values as they stand."""
        from cogwork.cli.values import gathered
        from graphs.graph import WorkflowGraph

        if graph is None:
            if self.sets or self.overrides:
                raise exits.Refusal("Overrides are checked against the workflow, and it is not known here")
            return gathered({}, self.pairs, self.given), {}
        if isinstance(graph, WorkflowGraph):
            found = graph.plan.documents[0]
            input = gathered(found.spec.input, self.pairs, self.given)
            return input, overriding.given(found, self.sets, self.overrides)
        return gathered(graph.input_schema, self.pairs, self.given), {}


async def _started(workflow: str, said: _Said, options: dict[str, Any], *, wait: bool) -> Execution:
    from cogwork.executions.options import options_of

    async with opened() as parts:
        starting = parts.starting
        input, overrides = said.understood(await _graph(parts, workflow, options_of(options)))
        options |= {"overrides": overrides} if overrides else {}
        request, _ = await starting.request(workflow, input, options_of(options))
        execution = await parts.dispatch.start(request)
        if execution.mode == "remote":
            return await elsewhere.attended(parts, execution.id, None, begun=not wait)
        return await parts.dispatch.wait(execution.id) if wait else execution


async def _graph(parts: Parts, workflow: str, options: Options) -> Any:
    """The workflow's graph; None where it is not known here, and another instance is asked for."""
    from cogwork.executions.options import options_of

    try:
        return (await parts.starting.graph(workflow, options_of({})))[0]
    except EngineError as err:
        if err.code != "workflow_not_found" or parts.starting.place is None or not parts.starting.place.asked(options):
            raise
        return None
