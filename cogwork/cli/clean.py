"""The command ``clean``: take away what has been kept for long enough."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cogwork.cli import context, render

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.retention import Report

_WORDS: Final = {
    "executions": "executions",
    "events": "events of executions",
    "steps": "steps of executions",
    "threads": "threads with checkpoints",
    "payloads": "inputs, outputs and specs",
    "bytes": "bytes of those",
    "batches": "batches",
    "sessions": "sessions",
    "conversations": "conversations",
    "messages": "messages",
    "firings": "firings",
}


def clean(
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would go.")] = False,
    json: context.Json = False,
) -> None:
    """Take away what has ended and been kept for as long as the settings of retention say."""
    app = context.opened()
    try:
        report = asyncio.run(_cleaned(app, plan))
    finally:
        app.close()
    if json:
        render.write_json(report.to_dict())
        return
    told = report.to_dict()
    rows: list[list[str | tuple[str, str]]] = [
        [(f"{told[name]:,}", "cyan"), words] for name, words in _WORDS.items() if told[name]
    ]
    if rows:
        render.columns(rows, ("GOES" if plan else "GONE", "WHAT"))
    else:
        render.say("nothing has been kept for longer than the settings say")
    if report.busy:
        render.note(f"{report.busy} threads are being worked on; their checkpoints go with the next clean-up")


async def _cleaned(app: App, only_plan: bool) -> Report:
    from cogwork.retention import due, plan, sweep

    decided = plan(app.settings.retention, datetime.now(UTC))
    records = await asyncio.to_thread(app.records)
    if only_plan:
        return await due(records, decided)
    saver = await asyncio.to_thread(app.checkpoints)
    try:
        return await sweep(records, saver, decided)
    finally:
        await asyncio.to_thread(saver.close)
