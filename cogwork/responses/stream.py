"""An execution as it happens, in chunks that clients show at once: text, steps, questions, artifacts, the end."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cogwork.errors import EngineError
from cogwork.responses.bounds import shortened_value
from cogwork.responses.response import dumped
from state.events import Event, EventKind
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.history import Told
    from cogwork.responses.response import Response

ChunkKind: TypeAlias = Literal["text", "status", "question", "artifact", "end"]
LIMIT: Final = 64 * 1024
"""How many bytes of data a chunk has at most; more is shortened, with ``…`` where something was left out."""
_ENDS: Final[Mapping[EventKind, str]] = {
    "run.completed": "completed",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}
_STATUSES: Final[Mapping[EventKind, str]] = {
    "run.started": "running",
    "run.resumed": "running",
    "run.pausing": "pausing",
    "run.paused": "paused",
    "step.started": "running",
    "step.finished": "done",
    "step.skipped": "skipped",
    "step.failed": "failed",
    "step.cancelled": "cancelled",
    "step.undone": "undone",
    "step.waiting": "waiting",
    "item.started": "running",
    "item.finished": "done",
}
"""What a status chunk says of its step, or of the run; the other events are about a step that is running."""
_ID: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece of a stream: ``number`` is that of the event it comes from, ``piece`` counts the chunks of one event from 0.

    ``step`` is the path of the step it is about, empty for the run; ``at`` is ISO 8601 in UTC. ``data`` of ``text`` holds
    ``text``; of ``status`` ``status``, ``event`` and what the event tells; ``question`` is the question with its form,
    ``artifact`` the artifact; ``end`` has ``status``, and ``response`` or else ``output`` or ``error``.
    """

    kind: ChunkKind
    number: int
    piece: int = 0
    step: str = ""
    at: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The place of the chunk in the stream: what ``chunks`` takes as ``after`` to go on with the next one."""
        return f"{self.number}.{self.piece}" if self.piece else str(self.number)

    def to_dict(self) -> dict[str, Json]:
        """The chunk as plain JSON."""
        return {"kind": self.kind, "id": self.id, "step": self.step, "at": self.at, "data": dict(self.data)}


def begins_after(after: str) -> int:
    """The number of the event after which a history has to be read for ``chunks(…, after=after)``; that event is read again,
    for an event may have several chunks.

    Raises:
        EngineError: ``invalid_input``; it is no id of a chunk.
    """
    return max(0, _place(after)[0] - 1)


def _place(after: str) -> tuple[int, int]:
    if not after:
        return 0, 0
    if (found := _ID.fullmatch(after)) is None:
        raise EngineError("invalid_input", f"{after[:40]!r} is no id of a chunk; one is a number such as 12, or 12.1")
    return int(found[1]), int(found[2] or 0)


async def chunks(
    events: AsyncIterable[Event | Told],
    *,
    after: str = "",
    response: Callable[[], Awaitable[Response]] | None = None,
) -> AsyncIterator[Chunk]:
    """The chunks of a run's events, in order; the same events give the same chunks with the same ids.

    Args:
        events: an execution's history, read after ``begins_after(after)``; or events without numbers, which are counted from 1.
        after: the id of the last chunk that was seen; only what comes later is given.
        response: called once at the end, for its artifacts and for the end itself.

    Raises:
        EngineError: ``invalid_input``; ``after`` is no id of a chunk.
    """
    seen, counted = _place(after), 0
    async for told in events:
        event, counted = (told, counted + 1) if isinstance(told, Event) else (told.event, told.seq)
        if counted < seen[0]:
            continue
        ending = await response() if response is not None and event.kind in _ENDS else None
        for piece, (kind, data) in enumerate(_pieces(event, ending)):
            if (counted, piece) > seen or not after:
                yield _chunk(kind, counted, piece, event, data)


def _chunk(kind: ChunkKind, number: int, piece: int, event: Event, data: Mapping[str, Json]) -> Chunk:
    kept, _ = shortened_value(dict(data), LIMIT, "")
    return Chunk(kind=kind, number=number, piece=piece, step=event.step, at=event.at, data=kept)


def _pieces(event: Event, ending: Response | None) -> Iterator[tuple[ChunkKind, Mapping[str, Json]]]:
    if event.kind == "step.token":
        yield "text", {"text": event.data.get("text", "")}
    elif event.kind in _ENDS:
        yield from _end(event, ending)
    else:
        questions: Any = event.data.get("questions") or ()
        rest = {name: value for name, value in event.data.items() if name != "questions"}
        yield "status", {**rest, "event": event.kind, "status": _status(event)}
        for question in questions if event.kind == "run.paused" else ():
            yield "question", question


def _status(event: Event) -> str:
    if event.kind == "item.finished":
        return str(event.data.get("status") or "done")
    return _STATUSES.get(event.kind, "running")


def _end(event: Event, ending: Response | None) -> Iterator[tuple[ChunkKind, Mapping[str, Json]]]:
    if ending is None:
        yield "end", {**event.data, "status": _ENDS[event.kind]}
        return
    told = ending.to_dict()
    for artifact in told.pop("artifacts"):
        yield "artifact", artifact
    yield "end", {"status": ending.status, "response": told}


def as_sse(chunk: Chunk) -> str:
    """The chunk as one server-sent event: its kind as the event's name, its id for ``Last-Event-ID``, its JSON in one line."""
    return f"id: {chunk.id}\nevent: {chunk.kind}\ndata: {dumped(chunk.to_dict())}\n\n"
