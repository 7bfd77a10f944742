"""The small door of a worker for those who watch it: ``/metrics``, and ``/health/live`` and ``/health/ready`` for probes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.engine.parts import Parts

log = logging.getLogger(__name__)
ANSWER_SECONDS: Final = 8.0
"""How long the worker's event loop has for an answer; where it takes longer, the worker is not alive."""
SILENT_SECONDS: Final = 5.0
"""How long somebody who has connected may take to ask."""


@dataclass(slots=True)
class Listener:
    """Where a worker listens; ``address`` is empty where it does not. It is ``ready`` once it takes from the queue."""

    address: str = ""
    ready: bool = False


@asynccontextmanager
async def listening(app: App, parts: Parts) -> AsyncIterator[Listener]:
    """Answer those who watch, within the block, where the settings name a port.

    Raises:
        OSError: the port cannot be had.
    """
    chosen, listener = app.settings.observability, Listener()
    if chosen.metrics_port is None:
        yield listener
        return
    loop = asyncio.get_running_loop()

    async def answer(path: str) -> tuple[int, bytes]:
        if path == "/metrics":
            from cogwork.observability.prometheus import exposition

            return 200, await exposition(app, parts)
        if path == "/health/live":
            return 200, b"alive\n"
        if path == "/health/ready":
            return (200, b"ready\n") if listener.ready else (503, b"not ready\n")
        return 404, b"there are /metrics, /health/live and /health/ready\n"

    def asked(path: str) -> tuple[int, bytes]:
        found = asyncio.run_coroutine_threadsafe(_within(answer(path)), loop)
        try:
            return found.result(ANSWER_SECONDS + 1)
        except Exception as error:
            found.cancel()
            log.warning("A watcher got no answer: %s", type(error).__name__)
            return 503, b"no answer\n"

    server = ThreadingHTTPServer((chosen.metrics_host, chosen.metrics_port), _answering(asked))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="cogwork-watchers", daemon=True)
    thread.start()
    listener.address = f"http://{chosen.metrics_host}:{server.server_port}"
    try:
        yield listener
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


async def _within(answer: Awaitable[tuple[int, bytes]]) -> tuple[int, bytes]:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await answer


def _answering(asked: Callable[[str], tuple[int, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        """One connection."""

        timeout = SILENT_SECONDS
        server_version, sys_version = "cogwork", ""

        def do_GET(self) -> None:
            """Answer."""
            status, body = asked(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Write down nothing of requests."""

    return Answering
