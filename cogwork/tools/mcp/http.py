"""A server at an address: streamable HTTP whose failures are answers to single requests, and whose answers are bounded.

The SDK's transport ends the whole session where one request cannot be sent, tells one status from another by none, and reads
any answer whole; the guard beneath it turns each of these into a JSON-RPC error of the request that it befell.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from cogwork.tools.mcp.faults import FAILED, TOO_LARGE, failure
from state.errors import FaultClass

STREAMED: Final = 8
"""A stream of events may in all be so many times as large as one answer."""
PROBE_SECONDS: Final = 1.0
DYING_SECONDS: Final = 0.1
CONNECTIONS: Final = 100
_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_BY_STATUS: Final[Mapping[int, FaultClass]] = {
    400: "invalid_input",
    401: "permission_denied",
    403: "permission_denied",
    404: "unavailable",
    405: "unavailable",
    408: "timeout",
    413: "invalid_input",
    429: "rate_limited",
    503: "unavailable",
    504: "timeout",
}


@asynccontextmanager
async def http_streams(
    url: str, headers: Mapping[str, str], *, connect: float, read: float, limit: int
) -> AsyncIterator[TransportStreams]:
    """The streams to the server at ``url``; ``limit`` is the largest answer in bytes, times are in seconds."""
    timeout = httpx2.Timeout(connect, read=read)
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    guard = Guard(httpx2.AsyncHTTPTransport(limits=limits), limit)
    async with (
        httpx2.AsyncClient(
            transport=guard,
            headers={"accept-encoding": "identity", **headers},
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=2 * limit) as streams,
    ):
        yield streams


class Guard(httpx2.AsyncBaseTransport):
    """Sends requests; what comes back is within bounds, and a failure is a JSON-RPC error of the code ``FAILED``."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int) -> None:
        self.inner, self.limit = inner, limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, or an error that stands for it."""
        if request.method == "GET":
            request.extensions = {**request.extensions, "timeout": {**request.extensions["timeout"], "read": None}}
        try:
            return await self._guarded(request, await self.inner.handle_async_request(request))
        except _NEVER_SENT as error:
            return _refusal("unavailable", f"it cannot be reached: {_named(error)}")
        except httpx2.TimeoutException as error:
            return _refusal("timeout", f"it did not answer in time: {_named(error)}")
        except httpx2.TransportError as error:
            return _refusal("connection", f"the connection was lost: {_named(error)}")

    async def _guarded(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _refusal("invalid_output", "its answer is compressed, though that was not asked for")
        if response.status_code >= 400:
            return await self._failed(response)
        if refused := _out_of_place(request, response):
            await response.aclose()
            return refused
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith("application/json"):
            return await self._whole(response)
        if kind.startswith("text/event-stream"):
            answering = request.url if request.method == "POST" else None
            response.stream = _Events(response.stream, self.limit, answering)
        return response

    async def _whole(self, response: httpx2.Response) -> httpx2.Response:
        body = await self._body(response)
        if body is None:
            return _response(TOO_LARGE, f"its answer is larger than {self.limit} bytes", None)
        return httpx2.Response(response.status_code, headers=_without_length(response.headers), content=body)

    async def _failed(self, response: httpx2.Response) -> httpx2.Response:
        """The error that a status stands for; of the body only a JSON-RPC error is read."""
        status, after = response.status_code, _retry_after(response.headers.get("retry-after"))
        said = _error_in(await self._body(response) or b"")
        if said is not None and status in (200, 400, 404) and not _speaks_of_session(status, said):
            return _response(int(said["code"]), str(said.get("message", "")), said.get("data"))
        words = str(said.get("message", ""))[:300] if said is not None else ""
        told = f"HTTP {status}{f': {words}' if words else ''}"
        fault_class = _BY_STATUS.get(status, "connection" if status >= 500 else "invalid_input")
        return _refusal(fault_class, told, status, after)

    async def _body(self, response: httpx2.Response) -> bytes | None:
        """All of it; None where it is too large."""
        held = bytearray()
        try:
            async for chunk in response.stream:  # type: ignore[union-attr]
                held += chunk
                if len(held) > self.limit:
                    return None
        finally:
            await response.aclose()
        return bytes(held)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.inner.aclose()


def _out_of_place(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response | None:
    """The error of an answer that leads elsewhere, is none, or is a page for people; None where it is in order."""
    if response.has_redirect_location:
        leads = request.url.join(response.headers["location"])
        elsewhere = (leads.scheme, leads.host, leads.port) != (request.url.scheme, request.url.host, request.url.port)
        return (
            _refusal("unavailable", f"it sends us elsewhere, to {leads.host}, which is not followed")
            if elsewhere
            else None
        )
    if request.method != "POST" or b'"id"' not in request.content or b'"method"' not in request.content:
        return None
    if response.status_code == 202:
        return _refusal("connection", "it took the request and does not say what came of it (HTTP 202)", 202)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/event-stream"):
        return _refusal(
            "invalid_output", f"its answer is {kind or 'of no known type'}, and no message", response.status_code
        )
    return None


class _Events(httpx2.AsyncByteStream):
    """A stream of events that breaks off once it has carried too much.

    Where it is the answer to a request and breaks because the server is dead, it ends in the error of that request: the SDK
    would look for the rest of it elsewhere, for seconds. A server that lives may still have the rest.
    """

    def __init__(self, inner: Any, limit: int, answering: httpx2.URL | None) -> None:
        self.inner, self.limit, self.answering = inner, limit, answering

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """What the server sends, and the error that ends it."""
        event, left = 0, self.limit * STREAMED
        try:
            async for chunk in self.inner:
                end = max(chunk.rfind(b"\n\n"), chunk.rfind(b"\n\r\n"))
                event = event + len(chunk) if end < 0 else len(chunk) - end
                left -= len(chunk)
                if event > self.limit or left < 0:
                    break
                yield chunk
            else:
                return
            lost = _error(TOO_LARGE, "its stream of events is too large", None)
        except httpx2.TransportError as error:
            if self.answering is None or await _listens(self.answering):
                raise
            lost = _error(FAILED, f"the connection was lost: {_named(error)}", failure("connection"))
        yield b"\nevent: broken\n\nevent: message\ndata: " + lost + b"\n\n"

    async def aclose(self) -> None:
        """Close the connection."""
        await self.inner.aclose()


async def _listens(url: httpx2.URL) -> bool:
    """Whether anybody can be connected to there, a moment after the connection broke: a process does not die at a stroke."""
    await asyncio.sleep(DYING_SECONDS)
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(url.host, url.port or (443 if url.scheme == "https" else 80))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _refusal(
    fault_class: FaultClass, told: str, status: int | None = None, retry_after: float | None = None
) -> httpx2.Response:
    return _response(FAILED, told, failure(fault_class, status, retry_after))


def _response(code: int, message: str, data: Any) -> httpx2.Response:
    """A response that holds nothing but an error."""
    return httpx2.Response(400, headers={"content-type": "application/json"}, content=_error(code, message, data))


def _error(code: int, message: str, data: Any) -> bytes:
    """A JSON-RPC error whose id means nothing: the SDK gives it to the request that it answers."""
    error: dict[str, Any] = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return json.dumps({"jsonrpc": "2.0", "id": 0, "error": error}).encode()


def _error_in(body: bytes) -> Mapping[str, Any] | None:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return error if isinstance(error, dict) and isinstance(error.get("code"), int) else None


def _speaks_of_session(status: int, error: Mapping[str, Any]) -> bool:
    return "session" in str(error.get("message", "")).lower() and status in (400, 404)


def _without_length(headers: httpx2.Headers) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.lower() not in ("content-length", "transfer-encoding")}


def _retry_after(text: str | None) -> float | None:
    """Seconds, given as such or as a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, TypeError):
        return None


def _named(error: Exception) -> str:
    return type(error).__name__
