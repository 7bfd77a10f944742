"""An ASGI application served in this process: its lifespan in a task of its own, as servers have it, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

BASE = "http://127.0.0.1:4020"


@asynccontextmanager
async def alive(app: Any) -> AsyncIterator[None]:
    """Let the application live within the block.

    Raises:
        RuntimeError: it does not begin, or does not end.
    """
    asked, told = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, asked.get, told.put))
    try:
        await _said(task, asked, told, "startup")
        yield
    finally:
        if not task.done():
            await _said(task, asked, told, "shutdown")
        await task


async def _said(task: asyncio.Task[Any], asked: Any, told: Any, what: str) -> None:
    asked.put_nowait({"type": f"lifespan.{what}"})
    answer = asyncio.create_task(told.get())
    await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        answer.cancel()
        task.result()
        raise RuntimeError(f"the application ended at {what}")
    if answer.result()["type"] != f"lifespan.{what}.complete":
        raise RuntimeError(answer.result().get("message") or f"{what} failed")


@asynccontextmanager
async def client_of(app: Any, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application while it lives; ``options`` are the client's."""
    async with alive(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, **{"base_url": BASE, **options}) as client:
            yield client
