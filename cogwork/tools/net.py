"""Requests to hosts that the settings allow, safe against addresses that lie, answers without end, and servers that stall.

The one file that knows the HTTP client. A request resolves its host once, checks every address, and connects to one of those
checked, with the host's name in ``Host`` and TLS. Nothing is read from the environment, no redirect is followed, and each
request has a connection of its own: that one cannot be made is then known to mean that nothing was sent.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import httpx2 as httpx

from cogwork.observability.places import carried
from cogwork.tools.addresses import DEFAULT_PORTS, Reach, is_reachable
from state.errors import Fault, FaultClass

if TYPE_CHECKING:
    import ssl

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text, best first; raises OSError where there are none."""
CONNECT_SECONDS: Final = 10.0
MAX_ADDRESSES: Final = 8
_WINDOW: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered; ``body`` is unpacked, the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer whose body is still coming; ``pieces`` raises ``Fault``: ``connection`` where it breaks off or falls silent."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes] = field(repr=False)


async def resolved(host: str, port: int) -> list[str]:
    """The addresses that the system knows for a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Sends requests to the places within ``reach`` and to no others; holds nothing open between them."""

    reach: Reach
    resolver: Resolver = resolved
    tls: ssl.SSLContext | None = None
    """None takes the usual trust in certificates."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        seconds: float = 30.0,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> Answer:
        """The answer to one request, whatever its status; ``seconds`` are for all of it, ``max_bytes`` for the body.

        Raises:
            Fault: ``permission_denied`` where the place may not be reached; ``invalid_input`` where it is no URL or a header
                cannot be sent; ``unavailable`` where no connection was made, so that nothing was done; ``timeout`` and
                ``connection`` after it was sent, so that it may have been done; ``invalid_output`` where the answer is too
                large or packed in an unknown way.
        """
        request = self._request(method, url, {**carried(), **(headers or {})}, content)
        begun = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal begun
            begun = begun or event.endswith("send_request_headers.started")

        request.extensions["trace"] = trace
        try:
            async with asyncio.timeout(seconds):
                return await self._answered(request, min(CONNECT_SECONDS, seconds), max_bytes)
        except TimeoutError as error:
            said = f"{request.headers['host']} did not answer within {seconds:g} s"
            raise _fault("timeout" if begun else "unavailable", said) from error
        except httpx.LocalProtocolError as error:
            raise _fault("invalid_input", "the request cannot be sent: a header holds what no header may") from error
        except httpx.TransportError as error:
            said = f"{request.headers['host']}: {type(error).__name__}: {error}"
            raise _fault("connection" if begun else "unavailable", said) from error

    @asynccontextmanager
    async def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, seconds: float = 30.0, silence: float = 60.0
    ) -> AsyncIterator[Stream]:
        """The answer to a GET, read within the block as it comes; ``seconds`` are for its head, ``silence`` is the longest pause.

        Raises:
            Fault: as ``send``.
        """
        request = self._request("GET", url, dict(headers or {}), b"")
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(seconds):
                    response = await self._streamed(request, stack, min(CONNECT_SECONDS, seconds), silence)
            except (TimeoutError, httpx.TransportError) as error:
                raise _fault("unavailable", f"{request.headers['host']}: {type(error).__name__}: {error}") from error
            names = {name.lower(): value for name, value in response.headers.items()}
            yield Stream(status=response.status_code, headers=names, pieces=_coming(response))

    async def _streamed(
        self, request: httpx.Request, stack: AsyncExitStack, connect: float, silence: float
    ) -> httpx.Response:
        """The head of the answer, from the first address that takes the connection; what is open is closed by ``stack``."""
        last: Exception | None = None
        async for _ in self._each_address(request, connect):
            request.extensions["timeout"]["read"] = silence
            async with AsyncExitStack() as tried:
                transport = await tried.enter_async_context(self._transport())
                try:
                    response = await transport.handle_async_request(request)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    last = error
                    continue
                tried.push_async_callback(response.aclose)
                await stack.enter_async_context(tried.pop_all())
                return response
        raise last or httpx.ConnectError("the host has no address")

    def _request(self, method: str, url: str, headers: dict[str, str], content: bytes) -> httpx.Request:
        try:
            asked = httpx.URL(url)
            request = httpx.Request(method, asked, headers={**headers, "Accept-Encoding": "identity"}, content=content)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise _fault("invalid_input", f"{url[:200]!r} cannot be asked for: {error}") from error
        why = "it holds a user's name" if asked.userinfo else None
        why = why or self.reach.fault(asked.scheme, asked.raw_host.decode("ascii"), asked.port)
        if why is not None:
            raise _fault("permission_denied", f"{_shown(asked)} may not be reached: {why}")
        return request

    async def _answered(self, request: httpx.Request, connect: float, max_bytes: int) -> Answer:
        last: Exception | None = None
        async for _ in self._each_address(request, connect):
            try:
                return await self._exchanged(request, max_bytes)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
        raise last or httpx.ConnectError(f"{request.headers['host']} has no address")

    async def _each_address(self, request: httpx.Request, connect: float) -> AsyncIterator[str]:
        """The addresses of the request's host, each of them put into the request for as long as it is its turn."""
        url = request.url
        host = url.raw_host.decode("ascii")
        request.extensions["timeout"] = {"connect": connect}
        if url.scheme == "https":
            request.extensions["sni_hostname"] = host
        for address in await self._addresses(url.scheme, host, url.port):
            request.url = url.copy_with(host=address)
            yield address

    async def _addresses(self, scheme: str, host: str, port: int | None) -> Sequence[str]:
        """The addresses of the host, each of them one that may be reached."""
        try:
            found = list(await self.resolver(host, port or DEFAULT_PORTS[scheme]))[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as error:
            raise _fault("unavailable", f"the host {host} is not known: {error}") from error
        private = self.reach.is_private(scheme, host, port)
        if barred := [address for address in found if not is_reachable(address, private=private)]:
            hint = "" if private else "; only hosts that the settings call private may have such an address"
            raise _fault("permission_denied", f"{host} may not be reached: it leads to {barred[0]}{hint}")
        return found

    async def _exchanged(self, request: httpx.Request, max_bytes: int) -> Answer:
        async with self._transport() as transport:
            response = await transport.handle_async_request(request)
            try:
                pieces = [piece async for piece in _unpacked(response, max_bytes)]
            finally:
                await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=b"".join(pieces))

    def _transport(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self.tls or _trust(), trust_env=False, retries=0)


async def _coming(response: httpx.Response) -> AsyncIterator[bytes]:
    """The pieces of a body that nothing was packed into."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _fault("invalid_output", "the answer is packed although nothing packed was asked for")
    try:
        async for piece in response.aiter_raw():
            yield piece
    except httpx.TransportError as error:
        raise _fault("connection", f"the answer broke off: {type(error).__name__}: {error}") from error


async def _unpacked(response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """The pieces of the body; neither what arrives nor what it unpacks to may be larger than ``max_bytes``."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing != "identity" and packing not in _WINDOW:
        raise _fault(
            "invalid_output", f"the answer is packed as {packing[:40]!r}, although nothing packed was asked for"
        )
    unpacker = zlib.decompressobj(_WINDOW[packing]) if packing in _WINDOW else None
    arrived = size = 0
    async for raw in response.aiter_raw():
        arrived += len(raw)
        try:
            piece = unpacker.decompress(raw, max_bytes - size + 1) if unpacker is not None else raw
        except zlib.error as error:
            raise _fault("invalid_output", f"the answer cannot be unpacked: {error}") from error
        size += len(piece)
        if max(size, arrived) > max_bytes:
            raise _fault("invalid_output", f"the answer is larger than {max_bytes:,} bytes")
        yield piece
    if unpacker is not None and arrived and not unpacker.eof:
        raise _fault("connection", "the packed answer ends in its middle")


def trust(authorities: str | None = None, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """Trust in certificates that these authorities have signed (a PEM file; else the usual ones), showing one's own if given.

    Raises:
        OSError: a file cannot be read, or holds something else.
    """
    import ssl

    made = ssl.create_default_context(cafile=authorities) if authorities is not None else _trust()
    if certificate is not None:
        made = made if authorities is not None else httpx.create_ssl_context(trust_env=False)
        made.load_cert_chain(certificate, key)
    return made


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _shown(url: httpx.URL) -> str:
    """A URL without what may be secret in it."""
    return f"{url.scheme}://{url.host}"[:200]


def _fault(fault_class: FaultClass, message: str) -> Fault:
    return Fault(fault_class, message[:1_000], origin="tool")
