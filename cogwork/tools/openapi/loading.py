"""The tools of the services that the settings name; one that cannot be had is told of, and keeps nobody else from working."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from cogwork.breaker import Breakers
from cogwork.sealing.seals import OPEN, Seals, place_of_file
from cogwork.tools.addresses import Reach
from cogwork.tools.net import Client, Resolver, resolved
from cogwork.tools.openapi.document import MAX_BYTES, Document, UnusableDocument
from cogwork.tools.openapi.operations import Operation, operations
from cogwork.tools.openapi.source import Loaded, OpenApiSource
from cogwork.tools.openapi.tool import HttpTool, Service
from graphs import blocking
from state.errors import Fault
from state.services import Effect
from state.values import Json

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ONCE: Final = frozenset({"PUT", "DELETE"})


def http_tools(
    sources: Mapping[str, OpenApiSource],
    breakers: Breakers,
    *,
    kept: Path,
    resolver: Resolver = resolved,
    seals: Seals = OPEN,
) -> Loaded:
    """The tools of these services, by the names of which theirs begin; documents of the network are also ``kept`` in a folder.

    A document that cannot be fetched is taken from there. Blocks while documents are fetched.
    """
    loaded = Loaded()
    for name, source in sources.items():
        client = Client(reach=Reach.of(source.hosts, source.private_hosts), resolver=resolver)
        try:
            document, at = _document(source, client, kept / f"{name}.openapi", seals)
            found, left_out = operations(document)
            base_url = _base_url(document, source, at, client.reach)
        except (UnusableDocument, Fault, OSError) as error:
            loaded.troubles[f"{name}."] = f"The service {name} has no tools: {source.document}: {error}"
            continue
        service = _service(source, base_url, client, breakers, name)
        loaded.tools.extend(_tools(name, source, service, found))
        loaded.troubles.update((f"{name}.{each}", f"{name}.{each} is no tool: {why}") for each, why in left_out.items())
    return loaded


def _tools(name: str, source: OpenApiSource, service: Service, found: Iterable[Operation]) -> Iterator[HttpTool]:
    for operation in found:
        if _fits(operation.name, source.allow):
            effect = _effect(operation, source)
            once = operation.method in _ONCE or _fits(operation.name, source.idempotent)
            yield HttpTool(
                name=f"{name}.{operation.name}",
                effect=effect,
                idempotent=effect != "write" or once,
                operation=operation,
                service=service,
            )


def _effect(operation: Operation, source: OpenApiSource) -> Effect:
    said = source.effects.get(operation.name)
    said = said or next((effect for each, effect in source.effects.items() if _fits(operation.name, [each])), None)
    return said or ("read" if operation.method in _READS else "write")


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _service(source: OpenApiSource, base_url: str, client: Client, breakers: Breakers, name: str) -> Service:
    headers = {key: value.get_secret_value() for key, value in source.headers.items()}
    query = {key: value.get_secret_value() for key, value in source.query.items()}
    words = {word for text in (*headers.values(), *query.values()) for word in (text, text.split(" ", 1)[-1])}
    return Service(
        base_url=base_url,
        client=client,
        breaker=breakers.of(f"http:{name}"),
        headers=headers,
        query=query,
        secrets=sorted((word for word in words if len(word) >= 6), key=len, reverse=True),
        seconds=source.timeout,
        max_bytes=source.max_bytes,
    )


def _document(source: OpenApiSource, client: Client, kept: Path, seals: Seals) -> tuple[Document, str]:
    """The document, and its URL; the URL of a file is empty. It is asked for without the secrets of the service."""
    where = source.document
    if "://" not in where:
        return Document.read(Path(where).read_bytes()), ""
    try:
        text = blocking.run(_fetched(client, where, source.timeout))
        document = Document.read(text)
    except (Fault, UnusableDocument):
        if not kept.is_file():
            raise
        return Document.read(seals.opened(kept.read_bytes(), place_of_file(kept))), where
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(seals.sealed(text, place_of_file(kept)))
    fresh.replace(kept)
    return document, where


async def _fetched(client: Client, url: str, seconds: float) -> bytes:
    answer = await client.send("GET", url, seconds=seconds, max_bytes=MAX_BYTES)
    if answer.status != 200:
        raise Fault("unavailable", f"it answered {answer.status}", origin="tool")
    return answer.body


def _base_url(document: Document, source: OpenApiSource, at: str, reach: Reach) -> str:
    """Where the service is: what the settings say, else the document's first server, which must be within reach."""
    url = source.base_url or _server(document, at)
    split = urlsplit(url)
    try:
        port = split.port
    except ValueError as error:
        raise UnusableDocument(f"the address {url[:200]!r} of the service is no URL") from error
    if split.query or split.fragment or "@" in split.netloc or not split.hostname:
        raise UnusableDocument(
            f"the address {url[:200]!r} of the service is not plainly scheme, host and path: set base_url"
        )
    if why := reach.fault(split.scheme, split.hostname, port):
        raise UnusableDocument(f"the service at {url[:200]!r} may not be reached: {why}")
    return url.rstrip("/")


def _server(document: Document, at: str) -> str:
    servers = document.root.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], Mapping) else {}
    url = first.get("url")
    if not isinstance(url, str):
        url = "/"
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, Mapping) else ():
        url = url.replace(f"{{{name}}}", _default(variable))
    if "://" not in url and not at:
        raise UnusableDocument("it does not say where the service is: set base_url")
    return urljoin(at, url)


def _default(variable: Json) -> str:
    return str(variable.get("default", "")) if isinstance(variable, Mapping) else ""
