"""The commands of the engine: ``worker``, ``executions``, ``follow``, ``batch``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, elsewhere, exits, render, shown

if TYPE_CHECKING:
    from cogwork.engine.parts import Parts

Tags = Annotated[
    list[str], typer.Option("--tag", help="A tag; may be repeated.", default_factory=list, show_default=False)
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended or rests.")]
Name = Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.", show_default=False)]


@asynccontextmanager
async def opened() -> AsyncIterator[Parts]:
    """The engine's parts, without a worker."""
    from cogwork.engine.parts import Shared

    app = context.opened()
    shared = Shared(app, origin=context.ORIGIN)
    parts = shared.parts()
    try:
        yield parts
    finally:
        await parts.close()
        shared.close()
        app.close()


def worker(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many executions run at once; engine.concurrency without it.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="How many workers; engine.workers without it.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What it is known by.", show_default=False)
    ] = None,
    while_stdin: Annotated[
        bool,
        typer.Option("--while-stdin", help="End when the standard input closes, as it does with whoever holds it."),
    ] = False,
) -> None:
    """Work: take executions from the queue, and run them until Ctrl-C or SIGTERM; then hand on what is open.

    Schedules, triggers, expiries and clean-up are seen to by every worker. Any number of workers may share a PostgreSQL
    database.
    """
    chosen = context.opened().settings
    count = processes or chosen.engine.workers
    if count > 1:
        from cogwork.cli.workers import several

        raise typer.Exit(several(count, concurrency, label or [], chosen.observability.metrics_port))
    labels = dict(part.partition("=")[::2] for part in label or [])
    try:
        asyncio.run(_work(concurrency, labels, while_stdin=while_stdin))
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None


async def _work(concurrency: int | None, labels: dict[str, str], *, while_stdin: bool) -> None:
    import signal

    from cogwork.engine.parts import Shared
    from cogwork.engine.serving import worker_of
    from cogwork.observability.listening import listening
    from cogwork.observability.logs import configured

    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    if while_stdin:
        _at_end_of_input(stop)
    app = context.opened()
    configured(app.settings)
    shared = Shared(app, origin=context.ORIGIN)
    parts = shared.parts()
    try:
        options: dict[str, Any] = {"labels": labels, **({"concurrency": concurrency} if concurrency else {})}
        made = worker_of(parts, **options)
        await parts.library.code.initialize_all()
        async with listening(app, parts) as listener:

            def ready() -> None:
                listener.ready = True
                render.note(("● ", "green"), f"worker {made.id} takes executions from {parts.records.where}")
                if listener.address:
                    render.note(f"  metrics and health at {listener.address}")

            await made.serve(stop, ready)
        await parts.library.code.shutdown_all()
        render.note("the worker has ended; what was open has been handed on")
    finally:
        await parts.close()
        shared.close()
        app.close()


def _at_end_of_input(stop: asyncio.Event) -> None:
    """Set ``stop`` when the standard input closes."""
    import threading

    loop = asyncio.get_running_loop()

    def read() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="cogwork-stdin", daemon=True).start()


def executions(
    tags: Tags,
    workflow: Annotated[str | None, typer.Option(help="Only those of this workflow.", show_default=False)] = None,
    version: Annotated[int | None, typer.Option(help="Only those of this version.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="Only those of this status.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="Asked for at this instant or later.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Asked for before this instant.", show_default=False)] = None,
    session: Annotated[str | None, typer.Option(help="Only those of this session.", show_default=False)] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of this batch.", show_default=False)] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those for it.", show_default=False)] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.", show_default=False)] = None,
    limit: context.Limit = 20,
    json: context.Json = False,
) -> None:
    """Executions by what they are, the latest first, from every door."""
    from cogwork.engine.results import filter_of
    from cogwork.executions.listing import listed

    wanted = filter_of(
        workflow=workflow,
        version=version,
        status=status,
        tags=tuple(tags),
        since=since,
        until=until,
        session_id=session,
        batch_id=batch,
        tenant=tenant,
    )
    app = context.opened()
    try:
        page = app.records().read(lambda connection: listed(connection, wanted, limit=limit, cursor=cursor))
    finally:
        app.close()
    if json:
        render.write_json({"executions": [each.to_dict() for each in page.items], "cursor": page.cursor})
        return
    if not page.items:
        render.note(("no executions", "dim"))
        return
    render.columns(
        [shown.row(each) for each in page.items], ("EXECUTION", "STATUS", "ASKED", "TOOK", "VERSION", "FROM")
    )
    if page.cursor is not None:
        render.note(("more: --cursor ", "dim"), page.cursor)


def follow(
    name: Name,
    after: Annotated[int, typer.Option(min=0, help="Begin after this number.")] = 0,
    json: context.Json = False,
) -> None:
    """What has happened in an execution, and what happens, until it ends or rests."""

    async def seen() -> None:
        async with opened() as parts:
            await parts.executions.get(name)
            over = lambda status: status not in ("pending", "running")  # noqa: E731
            async with elsewhere.mirrored(parts, name):
                async for each in parts.history.follow(name, after=after, ended=over):
                    shown.told_event(each, json=json)

    asyncio.run(seen())


def batch(
    workflow: context.WorkflowName,
    inputs: Annotated[str, typer.Argument(metavar="FILE|-", help="One input as JSON per line.", show_default=False)],
    tags: Tags,
    priority: Annotated[str, typer.Option(help="high, normal, low, or a number.")] = "normal",
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """Ask for an execution per line of a file, and with --wait show how far they have come."""
    import json as _json
    from pathlib import Path

    from cogwork.cli.exits import USAGE, Refusal

    text = sys.stdin.read() if inputs == "-" else Path(inputs).read_text(encoding="utf-8")
    given = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            given += [_json.loads(line)] if line.strip() else []
        except ValueError as err:
            raise Refusal(f"Line {number} of {inputs} is no JSON: {err}", "write one object per line", USAGE) from err
    options = {"priority": int(priority) if priority.isdigit() else priority, "tags": tags}
    made = asyncio.run(_batch(workflow, given, options, wait=wait, quiet=json))
    if json:
        render.write_json(made.to_dict())
    else:
        render.say(f"{made.id}: ", ", ".join(f"{count} {status}" for status, count in made.counts.items()))


async def _batch(workflow: str, given: list[Any], options: dict[str, Any], *, wait: bool, quiet: bool) -> Any:
    from cogwork.engine.batches import Batches
    from cogwork.executions.options import options_of

    async with opened() as parts:
        starting, batches = parts.starting, Batches(parts.dispatch)
        requests = [(await starting.request(workflow, each, options_of(options)))[0] for each in given]
        made = await batches.start(requests)
        while wait and not made.done and set(made.counts) & {"pending", "running"}:
            if not quiet:
                render.note((f"{made.ended}/{made.total}", "dim"))
            await asyncio.sleep(1.0)
            made = await batches.get(made.id)
        return made
