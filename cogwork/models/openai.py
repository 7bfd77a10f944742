"""The one place that knows OpenAI's client: chat models of any endpoint that speaks its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

# The HTTP library that the installed OpenAI client is built on; langchain-openai chooses it by version.
from langchain_openai._compat import httpx
from pydantic import SecretStr

from state.errors import Fault

if TYPE_CHECKING:
    from cogwork.models.provider import Provider

MAX_REPLY_BYTES: Final = 32 * 1024 * 1024
"""A reply, with all of its stream, that grows beyond this is stopped."""
_CONNECTIONS = httpx.Limits(max_connections=200, max_keepalive_connections=50)


def chat_model(name: str, provider: Provider) -> ChatOpenAI:
    """The model of that name at the provider; everything the client would look up in the environment is given here."""
    key = provider.api_key or SecretStr("not-needed")
    timeout = httpx.Timeout(provider.timeout_s, connect=min(10.0, provider.timeout_s))
    return ChatOpenAI(
        model=name,
        api_key=key,
        base_url=provider.base_url,
        timeout=timeout,
        max_retries=provider.max_retries,
        stream_usage=True,
        stream_chunk_timeout=provider.timeout_s,
        use_responses_api=False,
        http_client=httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, proxy=provider.proxy),
        http_async_client=httpx.AsyncClient(
            timeout=timeout, follow_redirects=False, trust_env=False, transport=_LoopTransport(provider.proxy)
        ),
    )


def embedding_model(name: str, provider: Provider) -> OpenAIEmbeddings:
    """The embedding model of that name at the provider, to be called from threads; texts are sent as they are, not as tokens."""
    timeout = httpx.Timeout(provider.timeout_s, connect=min(10.0, provider.timeout_s))
    client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, proxy=provider.proxy)
    return OpenAIEmbeddings(
        model=name,
        openai_api_key=provider.api_key or SecretStr("not-needed"),
        openai_api_base=provider.base_url,
        request_timeout=timeout,
        max_retries=provider.max_retries,
        check_embedding_ctx_length=False,
        http_client=client,
        http_async_client=httpx.AsyncClient(trust_env=False),
    )


class _LoopTransport(httpx.AsyncBaseTransport):
    """Keeps the connections of each event loop apart, since a connection is of no use to another loop; caps every reply."""

    def __init__(self, proxy: str | None) -> None:
        self.proxy = proxy
        self.by_loop: WeakKeyDictionary[Any, httpx.AsyncHTTPTransport] = WeakKeyDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over a connection of the running loop."""
        loop = asyncio.get_running_loop()
        transport = self.by_loop.get(loop)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(proxy=self.proxy, limits=_CONNECTIONS, trust_env=False)
            self.by_loop[loop] = transport
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Capped(response.stream)
        return response

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        transport = self.by_loop.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()


class _Capped(httpx.AsyncByteStream):
    """A reply's bytes, up to the cap."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self.stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self.stream:
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                told = f"The model's reply exceeds {MAX_REPLY_BYTES:,} bytes and was stopped"
                raise Fault("invalid_output", told, origin="model")
            yield piece

    async def aclose(self) -> None:
        """Let the connection go."""
        await self.stream.aclose()
