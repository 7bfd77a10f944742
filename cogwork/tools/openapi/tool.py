"""One operation of an HTTP service as a tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from cogwork.breaker import Breaker
from cogwork.tools.net import Client
from cogwork.tools.openapi.answers import failure, result, without
from cogwork.tools.openapi.operations import Operation
from cogwork.tools.openapi.request import Parts, parts
from state.errors import Fault
from state.services import CallContext, Effect
from state.values import Json, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all operations of one service share; ``headers`` and ``query`` are secrets of the settings."""

    base_url: str
    client: Client = field(repr=False)
    breaker: Breaker = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)
    seconds: float = 30.0
    max_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTool:
    """Calls one operation; its answer is data and nothing else, whatever it holds."""

    name: str
    effect: Effect
    idempotent: bool
    operation: Operation
    service: Service
    effect_declared: bool = True

    @property
    def description(self) -> str:
        """What the document says of it."""
        return self.operation.description

    @property
    def args_schema(self) -> Schema:
        """Its parameters, and ``body``."""
        return self.operation.args_schema

    @property
    def output_schema(self) -> Schema:
        """What the document says of its successful answers; empty where it says nothing."""
        return self.operation.output_schema

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Json:
        """The answer's JSON, text, or null.

        Raises:
            Fault: by the answer's status, or by what went wrong on the way; ``timeout`` and ``connection`` mean that nobody
                knows whether it was done.
        """
        asked = parts(self.operation, args)
        async with self.service.breaker.guarding("tool"):
            return await self._asked(asked, context)

    async def _asked(self, asked: Parts, context: CallContext) -> Json:
        service, method = self.service, self.operation.method
        try:
            answer = await service.client.send(
                method,
                _url(service, asked),
                headers=self._headers(asked, context),
                content=asked.content,
                seconds=service.seconds,
                max_bytes=service.max_bytes,
            )
        except Fault as fault:
            raise self._named(fault) from fault
        answer = replace(answer, body=without(service.secrets, answer.body))
        if not 200 <= answer.status < 300:
            said = f"{self.name} ({method} {self.operation.path})"
            raise failure(answer, said=said, repeatable=self.idempotent or self.effect != "write")
        return result(answer)

    def _headers(self, asked: Parts, context: CallContext) -> dict[str, str]:
        """The settings' headers win over those of arguments, however they are written."""
        own = {name.lower() for name in self.service.headers}
        headers = {"Accept": "application/json, text/*;q=0.5"}
        headers |= {name: value for name, value in asked.headers.items() if name.lower() not in own}
        if self.effect == "write":
            headers["Idempotency-Key"] = quote(context.idempotency_key, safe=":/[]")
        return {**headers, **self.service.headers}

    def _named(self, fault: Fault) -> Fault:
        return Fault(fault.fault_class, f"{self.name}: {fault.message}", origin="tool", retry_after=fault.retry_after)


def _url(service: Service, asked: Parts) -> str:
    secret = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in service.query.items())
    query = "&".join(part for part in (asked.query, secret) if part)
    return f"{service.base_url}{asked.path}{f'?{query}' if query else ''}"
