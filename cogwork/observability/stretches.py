"""One stretch of an execution as spans: itself, the steps in it, and their attempts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from cogwork.executions.statuses import ENDED
from cogwork.observability import attributes as names
from cogwork.observability.counting import ENDS
from cogwork.observability.places import Place
from graphs.runtime.frames import bare
from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.onlooking import Steps
    from cogwork.executions.record import Execution
    from cogwork.executions.settling import Settled
    from cogwork.observability.spans import Spans

_OPENS: Final = frozenset({"step.started", "step.opened"})
_BILLION: Final = 1_000_000_000


@dataclass(slots=True)
class _Open:
    """A step that is at work, and its attempt."""

    span: Span
    attempt: Span | None = None
    number: int = 1


class Stretch:
    """A stretch as spans; ``place_of`` says where a call of a step belongs."""

    def __init__(self, spans: Spans, execution: Execution, steps: Steps) -> None:
        self._spans, self._execution, self._steps = spans, execution, steps
        self._open: dict[str, _Open] = {}
        more = {names.SEGMENT: execution.segment, names.WORKER: execution.worker}
        self._stretch = spans.tracing.begun(
            f"stretch {execution.workflow}",
            spans.place(execution),
            attributes=spans.told({**names.of_execution(execution), **more}),
        )

    def place_of(self, step: str) -> Place | None:
        """The attempt of the step that is at work, or whatever is nearest around it."""
        found = self._open.get(step)
        if found is None:  # The events of a run in a process of its own come later than its calls.
            return placed(self._around(step))
        return placed(found.attempt or found.span)

    def saw(self, event: Event) -> None:
        """Begin or end the span of a step or an attempt."""
        if event.kind in _OPENS:
            self._begun(event)
        elif event.kind in ENDS:
            self._settled(event)
        elif (known := self._open.get(event.step)) is None:
            return
        elif event.kind == "step.retry":
            self._again(known, event)
        elif event.kind == "step.fallback":
            self._again(known, event, {names.FALLBACK: event.data.get("fallback")})
        elif event.kind == "step.waiting":
            known.span.add_event("waits for an answer", timestamp=_at(event))

    def left(self, settled: Settled) -> None:
        """End the stretch, and the execution with it where it has ended."""
        self._closed(settled.status)
        if settled.status in ENDED:
            error = settled.error if settled.status == "failed" else None
            self._spans.over(self._execution, settled.status, settled.ended_at, error, settled.usage)

    def lost(self) -> None:
        """End the stretch; somebody else has the execution."""
        self._closed("lost")

    # -- steps ----------------------------------------------------------------------------------------------

    def _begun(self, event: Event, at: int | None = None) -> _Open:
        known = self._open.get(event.step)
        if known is not None:
            return known
        began = at if at is not None else _at(event)
        facts = {**self._steps.get(bare(event.step), {}), **{k: v for k, v in event.data.items() if k == "tool"}}
        span = self._spans.tracing.begun(
            f"step {event.step}",
            placed(self._around(event.step)),
            at=began,
            attributes=self._spans.told(names.of_step(event.step, facts)),
        )
        made = self._open[event.step] = _Open(span)
        if event.kind == "step.started":
            self._attempt(made, began, {})
        return made

    def _attempt(self, step: _Open, at: int, more: Mapping[str, Json]) -> None:
        step.attempt = self._spans.tracing.begun(
            f"attempt {step.number}",
            placed(step.span),
            at=at,
            attributes=self._spans.told({names.ATTEMPT: step.number, **more}),
        )

    def _again(self, step: _Open, event: Event, more: Mapping[str, Json] | None = None) -> None:
        """An attempt has failed, and another one follows after its wait."""
        if step.attempt is not None:
            self._spans.concluded(step.attempt, event.data.get("error"))
            step.attempt.end(_at(event))
        step.number += 1
        wait = float(event.data.get("wait") or 0.0)
        self._attempt(step, _at(event) + int(wait * _BILLION), more or {})

    def _settled(self, event: Event) -> None:
        known, ended = self._open.pop(event.step, None), _at(event)
        if known is None:  # A step that took no time to speak of, or was begun by another process.
            known = self._begun(event, ended - int(float(event.data.get("seconds") or 0.0) * _BILLION))
            del self._open[event.step]
        error = event.data.get("error")
        known.span.set_attributes(self._spans.told(names.of_end(ENDS[event.kind], event.data)))
        for span in (known.attempt, known.span):
            if span is not None:
                self._spans.concluded(span, error if event.kind == "step.failed" else None)
                span.end(ended)

    def _around(self, step: str) -> Span:
        """The span of the nearest step around this one that is at work; else that of the stretch."""
        while step:
            step = step[: max(step.rfind("."), step.rfind("["), 0)]
            if step in self._open:
                return self._open[step].span
        return self._stretch

    def _closed(self, status: str) -> None:
        for step in reversed(self._open.values()):
            for span in (step.attempt, step.span):
                if span is not None:
                    span.set_attribute(names.STATUS, "rests")
                    span.end()
        self._open.clear()
        self._stretch.set_attribute(names.STATUS, status)
        self._stretch.end()
        self._spans.forget(self._execution.run, self)


def context_of(place: Place | None) -> Context:
    """OpenTelemetry's context in which a span of that place is current; with None an empty one."""
    if place is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else TraceFlags.DEFAULT)
    within = SpanContext(place.trace, place.span, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(within), Context())


def placed(span: Span) -> Place:
    """Where the span is."""
    context = span.get_span_context()
    return Place(context.trace_id, context.span_id, context.trace_flags.sampled)


def _at(event: Event) -> int:
    return nanoseconds(datetime.fromisoformat(event.at))


def nanoseconds(at: datetime | None) -> int:
    """The instant, since 1970; now where there is none."""
    return int(at.timestamp() * _BILLION) if at is not None else time.time_ns()
