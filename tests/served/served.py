"""The workflows that the server tests serve, with tools that leave a ledger and wait at doors."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import tool
from state.services import CallContext
from tests.kills.minds import Minds

HERE = Path(__file__).parent
LEDGER, DOORS = Path(os.environ["SERVED_LEDGER"]), Path(os.environ["SERVED_DOORS"])


def entered(line: str) -> None:
    """Append one line to the ledger; a single write, so that no kill leaves half of one."""
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, f"{line}\n".encode())
    finally:
        os.close(ledger)


@tool(name="served.note", effect="write")
def note(context: CallContext, value: Any = None) -> Any:
    """Leave a line in the ledger; blocks its thread for a moment, as tools of users do."""
    time.sleep(0.01)
    entered(f"{context.run} {context.step}")
    return value


@tool(name="served.wait", effect="read")
async def wait(context: CallContext, door: str = "", value: Any = None) -> Any:
    """Leave a line in the ledger when the door is open; ``door`` names a file, none means that it is open.

    A line with a question mark tells that it has come to the door, one with an exclamation mark that it was cancelled there.
    """
    await asyncio.to_thread(entered, f"{context.run} {context.step}?")
    try:
        while door and not (DOORS / door).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        await asyncio.to_thread(entered, f"{context.run} {context.step}!")
        raise
    await asyncio.to_thread(entered, f"{context.run} {context.step}")
    return value


_served = app(tools=[note, wait])
lanes = _served.compile(HERE / "lanes.yaml")
review = _served.compile(HERE / "review.yaml")
talk = _served.compile(HERE / "talk.yaml")
laps = _served.compile(HERE / "laps.yaml")
broken = _served.compile(HERE / "broken.yaml")
_planned = app(tools=[note, wait])
_planned.__dict__["services"] = replace(_planned.services, models=Minds())  # where the cached property keeps them
agent = _planned.compile(HERE / "agent.yaml")


@asynccontextmanager
async def checkpoints() -> AsyncIterator[SqliteCheckpoints]:
    """The checkpoint file of the settings' state folder."""
    saver = _served.checkpoints()
    try:
        yield saver
    finally:
        saver.close()
