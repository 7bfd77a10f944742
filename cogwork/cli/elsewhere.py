"""Executions that other instances run, at the commands that know runs by their checkpoints; this process mirrors them where no
worker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from cogwork.cli import context, exits, render, shown

if TYPE_CHECKING:
    from cogwork.cli.answers import Given
    from cogwork.engine.parts import Parts
    from cogwork.executions.record import Execution

MOMENT: Final = 3.0
"""Seconds that an instance is given to do what it is asked before it is said that it has been asked."""
LOOKING: Final = 0.05


def remote_execution(name: str) -> Execution | None:
    """The execution of that id, where another instance runs it; None where none does, or the settings name none."""
    from cogwork.errors import EngineError
    from cogwork.executions.store import found

    app = context.opened()
    if not app.settings.instances:
        return None
    try:
        execution = app.records().read(lambda connection: found(connection, name))
    except EngineError:
        return None
    finally:
        app.close()
    return execution if execution.mode == "remote" else None


def told(execution: Execution, *, json: bool) -> None:
    """Say how it stands, and leave with the exit code that says so."""
    if json:
        render.write_json(execution.to_dict())
    else:
        shown.told(execution)
    raise typer.Exit(shown.code(execution))


def status(execution: Execution, *, json: bool) -> None:
    """How it stands now, as its instance has it."""
    told(_moved(execution, None), json=json)


def paused(execution: Execution, *, wait: bool, json: bool) -> None:
    """Let it rest where it runs."""
    after = _moved(execution, lambda parts: parts.dispatch.pause(execution.id, wait=False), wait=wait)
    _left(after, "paused", json=json)


def cancelled(execution: Execution, *, reason: str, undo: bool, wait: bool, json: bool) -> None:
    """End it where it runs."""
    after = _moved(execution, lambda parts: parts.dispatch.cancel(execution.id, reason, undo=undo), wait=wait)
    _left(after, "cancelled", json=json)


def resumed(execution: Execution, given: Given, *, json: bool) -> None:
    """Answer it, or let it go on."""
    answers = given.answers(execution.questions) if given else None
    told(_moved(execution, lambda parts: parts.dispatch.resume(execution.id, answers), wait=True), json=json)


def _left(after: Execution, wanted: str, *, json: bool) -> None:
    if after.status != wanted:
        told(after, json=json)
    if json:
        render.write_json(after.to_dict())
    else:
        shown.told(after)
    raise typer.Exit(exits.DONE)


def _moved(execution: Execution, move: Callable[[Parts], Awaitable[Any]] | None, *, wait: bool = False) -> Execution:
    async def moved() -> Execution:
        from cogwork.cli.engine import opened

        async with opened() as parts:
            if move is not None:
                await move(parts)
            return await attended(parts, execution.id, None if wait else MOMENT)

    return asyncio.run(moved())


async def attended(parts: Parts, name: str, seconds: float | None, *, begun: bool = False) -> Execution:
    """The execution once it has ended or rests, or after so many seconds; with ``begun`` as soon as an instance has begun it."""
    async with mirrored(parts, name):
        clock = asyncio.get_running_loop().time
        until = None if seconds is None else clock() + seconds
        while True:
            execution = await parts.executions.get(name)
            if execution.status not in ("pending", "running") or (begun and "remote" in execution.metadata):
                return execution
            if until is not None and clock() > until:
                return execution
            await asyncio.sleep(LOOKING)


@asynccontextmanager
async def mirrored(parts: Parts, name: str) -> AsyncIterator[None]:
    """Mirror the execution within the block where nobody else does; a worker, or the next command, goes on with it."""
    driving = asyncio.create_task(_driven(parts, name))
    try:
        yield
    finally:
        driving.cancel()
        with suppress(asyncio.CancelledError):
            await driving


async def _driven(parts: Parts, name: str) -> None:
    while True:
        execution = await parts.executions.get(name)
        if execution.mode != "remote" or execution.ended:
            return
        if execution.status in ("pending", "running"):
            await parts.segments.run(name, execution.segment)
        await asyncio.sleep(LOOKING)
