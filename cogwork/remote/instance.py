"""One other instance: the requests that it is asked, within bounds, through its circuit breaker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, SecretStr

from cogwork.breaker import Breaker
from cogwork.observability.places import carried
from cogwork.remote.answers import Anything, ErrorAnswer, RemoteResult, RemoteStatus, Standing, event_of, understood
from cogwork.remote.sections import InstanceSection
from cogwork.remote.server_events import messages
from state.errors import CogworkError, Fault
from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from cogwork.tools.net import Answer, Client

Answered = TypeVar("Answered", bound=BaseModel)
Told = TypeVar("Told", bound=RemoteStatus)
SMALL: Final = 1024 * 1024
"""The largest answer, in bytes, that holds no output."""
SILENCE: Final = 30.0
"""How long, in seconds, a stream of events may tell nothing before it is asked how the execution stands."""
PREFIX: Final = "/api/v1"


class Refused(CogworkError):
    """An instance has said no, and has done nothing: ``status`` is that of HTTP, ``code`` that of the error."""

    def __init__(self, instance: str, status: int, code: str, message: str) -> None:
        self.instance, self.status, self.code, self.message = instance, status, code, message
        super().__init__(f"The instance {instance} refused ({status} {code}): {message}")

    @property
    def busy(self) -> bool:
        """Whether it may say yes in a moment."""
        return self.status in (429, 503)


@dataclass(slots=True, kw_only=True)
class Instance:
    """An instance of the settings; ``most_bytes`` is the largest output that is taken from it."""

    name: str
    section: InstanceSection
    breaker: Breaker
    environment: Mapping[str, str] = field(repr=False)
    most_bytes: int = 16 * SMALL
    starting: int = 0
    """How many executions it is being given, and does not count among its own yet."""
    _client: Client | None = field(default=None, repr=False)

    # -- requests ------------------------------------------------------------------------------------------------

    async def standing(self) -> Standing:
        """What it is known by, and how much it has to do.

        Raises:
            Refused, Fault: see ``_asked``.
        """
        return await self._asked("GET", "/instance", Standing)

    async def start(self, body: Mapping[str, Json], key: str) -> RemoteStatus:
        """The execution that it has begun under the key, now or when it was asked before.

        Raises:
            Refused: it has begun nothing.
            Fault: ``unavailable``, nothing was sent; any other class, it may have begun it.
        """
        return await self._asked("POST", "/executions", RemoteStatus, body=body, more={"Idempotency-Key": key})

    async def status(self, execution: str) -> RemoteStatus:
        """How one of its executions stands.

        Raises:
            Refused, Fault: see ``_asked``; ``invalid_output`` also where it tells of another one.
        """
        return self._same(execution, await self._asked("GET", _path(execution), RemoteStatus))

    async def result(self, execution: str) -> RemoteResult:
        """What one of its executions has come to.

        Raises:
            Refused, Fault: as ``status``.
        """
        most = self.most_bytes + SMALL
        return self._same(execution, await self._asked("GET", _path(execution, "/result"), RemoteResult, most=most))

    async def move(self, execution: str, verb: str, body: Mapping[str, Json]) -> None:
        """Let one of its executions ``pause``, ``resume`` or ``cancel``.

        Raises:
            Refused, Fault: see ``_asked``.
        """
        await self._asked("POST", _path(execution, f"/{verb}"), Anything, body=body)

    async def events(
        self, execution: str, *, run: str, after: int, **known: Json
    ) -> AsyncIterator[tuple[int, Event | None]]:
        """The numbers and events of one of its executions after a number, as they come; None for what is no event. In the data of
        each are its ``number`` and what is ``known``.

        Raises:
            Refused, Fault: see ``_asked``; ``connection`` where the stream breaks off or falls silent.
        """
        headers = {"Accept": "text/event-stream", **self._headers()}
        if after:
            headers["Last-Event-ID"] = str(after)
        url, hidden = self.section.url + PREFIX + _path(execution, "/events"), self._token()
        async with self.client.stream(url, headers=headers, seconds=self.section.timeout, silence=SILENCE) as stream:
            if stream.status == 204:  # it has ended, and all is told
                return
            if stream.status != 200 or not stream.headers.get("content-type", "").startswith("text/event-stream"):
                raise self._refusal(stream.status, b"")
            async for each in messages(stream.pieces, self.most_bytes + SMALL):
                number = int(each.id) if each.id.isascii() and each.id.isdigit() and len(each.id) <= 15 else 0
                if number > after:
                    after = number
                    yield number, event_of(_without(each.data, hidden), run, number=number, **known)

    # -- inside --------------------------------------------------------------------------------------------------

    async def _asked(
        self,
        method: str,
        path: str,
        form: type[Answered],
        *,
        body: Mapping[str, Json] | None = None,
        more: Mapping[str, str] | None = None,
        most: int = SMALL,
    ) -> Answered:
        """The answer to one request, in its form.

        Raises:
            Refused: it has said no.
            Fault: ``unavailable`` where nothing was sent; ``timeout``, ``connection`` and ``invalid_output`` where
                it may have done what it was asked.
        """
        headers = {"Accept": "application/json", **self._headers(), **(more or {})}
        content = b""
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body, ensure_ascii=False).encode(), "application/json"
        async with self.breaker.guarding("tool"):
            answer = await self.client.send(
                method,
                self.section.url + PREFIX + path,
                headers=headers,
                content=content,
                seconds=self.section.timeout,
                max_bytes=most,
            )
            if answer.status >= 500 and answer.status != 503:
                raise Fault("connection", f"The instance {self.name} failed: {answer.status}", origin="tool")
        return self._understood(answer, form)

    def _understood(self, answer: Answer, form: type[Answered]) -> Answered:
        body = _without(answer.body.decode(errors="replace"), self._token()).encode(errors="replace")
        if not 200 <= answer.status < 300:
            raise self._refusal(answer.status, body)
        return understood(form, body, f"The instance {self.name}")

    def _refusal(self, status: int, body: bytes) -> Refused:
        if 300 <= status < 400:
            return Refused(self.name, status, "", "it sends elsewhere, and nobody is followed there")
        try:
            told = understood(ErrorAnswer, body, self.name).error
        except Fault:
            told = ErrorAnswer().error
        return Refused(self.name, status, told.code, told.message[:1_000] or "it gives no reason")

    def _same(self, execution: str, found: Told) -> Told:
        if found.execution_id == execution:
            return found
        told = f"The instance {self.name} was asked for {execution[:255]!r}, and told of another execution"
        raise Fault("invalid_output", told, origin="tool")

    def _headers(self) -> dict[str, str]:
        token = self._token()
        secret = {"Authorization": f"Bearer {token}"} if token else {}
        return {"User-Agent": "cogwork", **secret, **carried()}

    def _token(self) -> str:
        given = self.section.token
        if given is None:
            return ""
        if isinstance(given, SecretStr):
            return given.get_secret_value()
        try:
            return given.read(self.environment)
        except ValueError as err:
            raise Fault("unavailable", f"The token for the instance {self.name}: {err}", origin="tool") from err

    @property
    def client(self) -> Client:
        """What sends requests to its address, and to no other."""
        if self._client is None:
            from cogwork.tools.addresses import DEFAULT_PORTS, Place, Reach
            from cogwork.tools.net import Client, trust

            parts, own = urlsplit(self.section.url), self.section
            place = frozenset({Place(str(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme])})
            tls = None
            if own.ca is not None or own.certificate is not None:
                try:
                    tls = trust(
                        *(str(path) if path is not None else None for path in (own.ca, own.certificate, own.key))
                    )
                except OSError as err:
                    told = f"The certificates for the instance {self.name} cannot be used: {err}"
                    raise Fault("unavailable", told, origin="tool") from err
            self._client = Client(reach=Reach(place, place), tls=tls)
        return self._client


def _path(execution: str, more: str = "") -> str:
    """Where an execution is; its id is one segment of the path, whatever it holds.

    Raises:
        Fault: ``invalid_output``; no encoding keeps it from being another place.
    """
    if execution in (".", "..", ""):
        raise Fault("invalid_output", f"{execution!r} is no id of an execution", origin="tool")
    return f"/executions/{quote(execution, safe='')}{more}"


def _without(text: str, token: str) -> str:
    """The text without the token, should the other side repeat it."""
    return text.replace(token, "[token]") if len(token) >= 6 else text
