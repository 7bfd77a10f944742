"""The HTTP clients of the vendors' libraries: no redirect, no environment, no reply without end, connections per event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx2 as httpx

from cogwork.models.provider import Provider
from state.errors import Fault

_CONNECTIONS: Final = httpx.Limits(max_connections=200, max_keepalive_connections=50)
_SENT: Final = frozenset(
    {
        *("accept", "accept-encoding", "anthropic-beta", "anthropic-version", "connection", "content-length"),
        *("content-type", "host", "transfer-encoding", "user-agent"),
    }
)
"""What a request carries besides the provider's key and headers; whatever else a client adds, it has from the environment."""


def silence(provider: Provider) -> httpx.Timeout:
    """How long the endpoint may be silent."""
    return httpx.Timeout(provider.timeout_s, connect=min(10.0, provider.timeout_s))


def async_client(transport: LoopTransport) -> httpx.AsyncClient:
    """The client through which all requests to an endpoint go."""
    return httpx.AsyncClient(
        timeout=silence(transport.provider),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
        headers={"accept-encoding": "identity"},
    )


def blocking_client(provider: Provider) -> httpx.Client:
    """A client for requests from threads, without redirects and without the environment."""
    return httpx.Client(timeout=silence(provider), follow_redirects=False, trust_env=False, proxy=provider.proxy)


def no_client() -> httpx.Client:
    """The client for calls outside of event loops: it makes none, since those go through the other one as well."""
    return httpx.Client(transport=_Closed(), trust_env=False)


class _Closed(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise Fault("internal", "Models are called through their asynchronous client", origin="model")


class LoopTransport(httpx.AsyncBaseTransport):
    """Keeps the connections of each event loop apart, since a connection is of no use to another loop; caps every reply."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.by_loop: WeakKeyDictionary[Any, httpx.AsyncHTTPTransport] = WeakKeyDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over a connection of the running loop."""
        loop = asyncio.get_running_loop()
        transport = self.by_loop.get(loop)
        if transport is None:
            # It imports and reads certificates, which is nothing for the event loop; it belongs to none before its first use.
            made = await asyncio.to_thread(
                httpx.AsyncHTTPTransport, proxy=self.provider.proxy, limits=_CONNECTIONS, trust_env=False
            )
            transport = self.by_loop.setdefault(loop, made)
        response = await transport.handle_async_request(self._settled(request))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Capped(response.stream, self.provider.max_reply_bytes)
        if (coding := response.headers.get("content-encoding", "identity")) != "identity":
            await response.aclose()
            told = f"The endpoint answered with a body in the coding {coding[:40]!r}, although none was asked for"
            raise Fault("unavailable", told, origin="model")
        return response

    def _settled(self, request: httpx.Request) -> httpx.Request:
        """The request with no headers but the protocol's and the settings'; the client still needs its own ones."""
        provider = self.provider
        headers = {name: value for name, value in request.headers.items() if name.lower() in _SENT}
        if provider.key:
            named = {"openai": ("authorization", f"Bearer {provider.key}"), "anthropic": ("x-api-key", provider.key)}
            name, value = named[provider.kind]
            headers[name] = value
        headers |= {name.lower(): value.get_secret_value() for name, value in provider.headers.items()}
        return httpx.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    async def aclose(self) -> None:
        """Close the connections of every event loop that still runs."""
        here = asyncio.get_running_loop()
        for loop, transport in list(self.by_loop.items()):
            del self.by_loop[loop]
            if loop is here:
                await transport.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(transport.aclose(), loop)

    @property
    def open(self) -> bool:
        """Whether it holds connections of an event loop that runs."""
        return any(loop.is_running() for loop in self.by_loop)


class _Capped(httpx.AsyncByteStream):
    """A reply's bytes, up to the cap."""

    def __init__(self, stream: httpx.AsyncByteStream, most: int) -> None:
        self.stream, self.most = stream, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self.stream:
            size += len(piece)
            if size > self.most:
                told = f"The model's reply exceeds {self.most:,} bytes and was stopped"
                raise Fault("invalid_output", told, origin="model")
            yield piece

    async def aclose(self) -> None:
        """Let the connection go."""
        await self.stream.aclose()


async def get(transport: LoopTransport, path: str) -> tuple[int, bytes]:
    """The status and body of what stands at that path below the endpoint's address."""
    client = async_client(transport)
    response = await client.get(transport.provider.address.rstrip("/") + path)
    return response.status_code, response.content
