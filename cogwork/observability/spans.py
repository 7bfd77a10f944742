"""What happens in runs, as spans: executions, their stretches, steps and attempts, and the calls of tools and models.

```text
execution                 its id is made out of the execution's, so that every process knows it; sent at the end, by whoever ends it
└─ stretch                what one process did of it, from taking it up to its rest or end
   └─ step                within the step around it, where that is a loop or a used workflow
      └─ attempt
         └─ call          of a tool or a model; current while it is made, so that what others record lies within it
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from cogwork.executions.statuses import ENDED
from cogwork.observability import attributes as names
from cogwork.observability.counting import ENDS
from cogwork.observability.places import Place, being, here, place_of, span_of, trace_of
from graphs.runtime.frames import bare
from state.errors import Asked, Fault
from state.events import Event
from state.services import MadeCall
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.onlooking import Steps
    from cogwork.executions.record import Execution
    from cogwork.executions.settling import Settled
    from cogwork.observability.exporting import Tracing

_OPENS = frozenset({"step.started", "step.opened"})
_BILLION = 1_000_000_000


class Spans:
    """The onlooker that makes spans."""

    def __init__(self, tracing: Tracing, redact: Callable[[Json], Json], *, content: bool) -> None:
        self.tracing, self.redact, self.content = tracing, redact, content
        self._sights: dict[str, Seen] = {}

    def took(self, execution: Execution, steps: Steps, *, fresh: bool) -> Seen:
        """Begin the span of a stretch."""
        sight = self._sights[execution.run] = Seen(self, execution, steps)
        return sight

    def ended(self, execution: Execution) -> None:
        """Send the span of an execution that ended without a call of its graph."""
        self.over(execution, execution.status, execution.ended_at, execution.error, execution.usage)

    def within(self, execution: Execution) -> AbstractContextManager[None]:
        """Let what is done before a stretch has begun lie within the execution."""
        return being(self.place(execution))

    def carried(self) -> str:
        """The place of the span that is current for the caller, whoever made it: the library of MCP makes some of its own."""
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            return Place(current.trace_id, current.span_id, current.trace_flags.sampled).traceparent
        place = here()
        return place.traceparent if place is not None else ""

    def place(self, execution: Execution) -> Place:
        """Where the execution's own span is, or will be."""
        above = place_of(execution.options.get("traceparent"))
        trace_id = above.trace if above is not None else trace_of(execution.id)
        sampled = above.sampled if above is not None else self.tracing.sampled(trace_id)
        return Place(trace_id, span_of(execution.id), sampled)

    def over(
        self,
        execution: Execution,
        status: str,
        ended_at: datetime | None,
        error: Mapping[str, Json] | None,
        usage: Mapping[str, Json],
    ) -> None:
        """Send the span of an execution, now that it has ended."""
        place = self.place(execution)
        span = self.tracing.begun(
            f"invoke_workflow {execution.workflow}",
            place_of(execution.options.get("traceparent")),
            place=place,
            at=_nanoseconds(execution.started_at or execution.created_at),
            attributes=self.told(
                {
                    **names.of_execution(execution),
                    names.STATUS: status,
                    names.WAITED: (
                        (execution.started_at - execution.created_at).total_seconds() if execution.started_at else 0.0
                    ),
                    **names.of_usage(usage),
                }
            ),
        )
        _concluded(span, error if status == "failed" else None, self.redact)
        span.end(_nanoseconds(ended_at) if ended_at is not None else None)

    def told(self, attributes: Mapping[str, Json]) -> dict[str, Any]:
        """Attributes without secrets."""
        kept: dict[str, Any] = self.redact({key: value for key, value in attributes.items() if value not in (None, "")})
        return kept

    def forget(self, run: str, sight: Seen) -> None:
        """The stretch is over."""
        if self._sights.get(run) is sight:
            del self._sights[run]

    @contextmanager
    def call(self, made: MadeCall) -> Iterator[Callable[[Json], None]]:
        """A span around a call, which is current within."""
        sight = self._sights.get(made.run)
        above = sight.place_of(made.step) if sight is not None else here()
        span = self.tracing.begun(
            names.title(made),
            above,
            kind=SpanKind.CLIENT if made.kind == "model" else SpanKind.INTERNAL,
            attributes=self.told({**names.of_call(made), **self._given(made)}),
        )

        def gave(result: Json) -> None:
            span.set_attributes(self.told(names.of_result(made, result, content=self.content)))

        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                with being(_place(span)):
                    yield gave
            except BaseException as error:
                self._failed(span, error)
                raise

    @contextmanager
    def serving(self, method: str, above: Place | None) -> Iterator[Span]:
        """The span of a request to the server, current within the block; ``served`` ends it."""
        span = self.tracing.begun(method, above, kind=SpanKind.SERVER, attributes={names.METHOD: method})
        using = trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)
        with using, being(_place(span)):
            yield span

    def served(self, span: Span, method: str, route: str, status: int) -> None:
        """End the span of a request; ``status`` is 0 where it was not answered."""
        span.update_name(f"{method} {route}")
        span.set_attributes({names.ROUTE: route, **({names.ANSWER: status} if status else {})})
        if status == 0 or status >= 500:
            _concluded(span, {"class": str(status or "broken"), "message": ""}, self.redact)
        span.end()

    def _given(self, made: MadeCall) -> Mapping[str, Json]:
        """What the call is given, without secrets before anything is cut off, where content may be told."""
        return names.of_arguments(replace(made, args=self.redact(made.args))) if self.content else {}

    def _failed(self, span: Span, error: BaseException) -> None:
        if isinstance(error, Asked):
            span.set_attribute(names.STATUS, "asks")
        elif isinstance(error, Fault):
            _concluded(span, {"class": error.fault_class, "message": error.message}, self.redact)
        else:
            _concluded(span, {"class": type(error).__name__, "message": ""}, self.redact)


@dataclass(slots=True)
class _Open:
    """A step that is at work, and its attempt."""

    span: Span
    attempt: Span | None = None
    number: int = 1


class Seen:
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
            return _place(self._around(step))
        return _place(found.attempt or found.span)

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
            _place(self._around(event.step)),
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
            _place(step.span),
            at=at,
            attributes=self._spans.told({names.ATTEMPT: step.number, **more}),
        )

    def _again(self, step: _Open, event: Event, more: Mapping[str, Json] | None = None) -> None:
        """An attempt has failed, and another one follows after its wait."""
        if step.attempt is not None:
            _concluded(step.attempt, event.data.get("error"), self._spans.redact)
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
                _concluded(span, error if event.kind == "step.failed" else None, self._spans.redact)
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


def _place(span: Span) -> Place:
    context = span.get_span_context()
    return Place(context.trace_id, context.span_id, context.trace_flags.sampled)


def _concluded(span: Span, error: Any, redact: Callable[[Json], Json]) -> None:
    """Say of a span that what it stands for has failed, where it has."""
    if not isinstance(error, Mapping):
        return
    span.set_attribute(names.ERROR, str(error.get("class") or "internal"))
    span.set_status(Status(StatusCode.ERROR, str(redact(str(error.get("message") or "")))[:500] or None))


def _at(event: Event) -> int:
    return _nanoseconds(datetime.fromisoformat(event.at))


def _nanoseconds(at: datetime | None) -> int:
    return int(at.timestamp() * _BILLION) if at is not None else time.time_ns()
