"""Places in traces: ids that every process makes out for itself, and the ``traceparent`` that carries them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_HERE: Final[ContextVar[Place | None]] = ContextVar("cogwork_place", default=None)


@dataclass(frozen=True, slots=True)
class Place:
    """A span of a trace, by their ids; ``sampled`` says whether the trace is kept."""

    trace: int
    span: int
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The header of W3C Trace Context."""
        return f"00-{self.trace:032x}-{self.span:016x}-{int(self.sampled):02x}"


def place_of(traceparent: object) -> Place | None:
    """The place that a header names; None where it is no header of that kind."""
    found = _FORM.fullmatch(traceparent.strip()) if isinstance(traceparent, str) else None
    if found is None or found[1] == "ff" or (found[1] == "00" and len(found[0]) != 55):
        return None
    trace, span = int(found[2], 16), int(found[3], 16)
    return Place(trace, span, bool(int(found[4], 16) & 1)) if trace and span else None


def span_of(execution: str) -> int:
    """The id of the span of an execution, the same in every process that works on it."""
    return _number("span", execution, 8)


def trace_of(execution: str) -> int:
    """The id of the trace of an execution that belongs to no other."""
    return _number("trace", execution, 16)


def _number(what: str, execution: str, size: int) -> int:
    digest = hashlib.sha256(f"cogwork:{what}:{execution}".encode()).digest()
    return int.from_bytes(digest[:size], "big") or 1


def here() -> Place | None:
    """The span within which this is done, if any."""
    return _HERE.get()


@contextmanager
def being(place: Place | None) -> Iterator[None]:
    """Within the block, and in the tasks begun there, this is the place."""
    token = _HERE.set(place)
    try:
        yield
    finally:
        with suppress(ValueError):  # A generator may be closed in another context than it was begun in.
            _HERE.reset(token)


def carried() -> Mapping[str, str]:
    """The headers that let a request to somebody else belong to the trace; none where nothing is traced."""
    place = _HERE.get()
    return {TRACEPARENT: place.traceparent} if place is not None else {}
