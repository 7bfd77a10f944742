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

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from cogwork.observability import attributes as names
from cogwork.observability.places import Place, being, here, place_of, span_of, trace_of
from cogwork.observability.stretches import Stretch, nanoseconds, placed
from state.errors import Asked, Fault
from state.services import MadeCall
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.onlooking import Steps
    from cogwork.executions.record import Execution
    from cogwork.observability.exporting import Tracing

MOST_SAID: Final = 500
"""The longest sentence, in characters, about a failure."""


class Spans:
    """The onlooker that makes spans."""

    def __init__(self, tracing: Tracing, redact: Callable[[Json], Json], *, content: bool) -> None:
        self.tracing, self.redact, self.content = tracing, redact, content
        self._sights: dict[str, Stretch] = {}

    def took(self, execution: Execution, steps: Steps, *, fresh: bool) -> Stretch:
        """Begin the span of a stretch."""
        sight = self._sights[execution.run] = Stretch(self, execution, steps)
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
            at=nanoseconds(execution.started_at or execution.created_at),
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
        self.concluded(span, error if status == "failed" else None)
        span.end(nanoseconds(ended_at) if ended_at is not None else None)

    def told(self, attributes: Mapping[str, Json]) -> dict[str, Any]:
        """Attributes without secrets."""
        kept: dict[str, Any] = self.redact({key: value for key, value in attributes.items() if value not in (None, "")})
        return kept

    def concluded(self, span: Span, error: Any) -> None:
        """Say of a span that what it stands for has failed, where it has; in words only where content may be told, for a message
        may repeat what it is about."""
        if not isinstance(error, Mapping):
            return
        span.set_attribute(names.ERROR, str(error.get("class") or "internal"))
        said = str(self.redact(str(error.get("message") or "")))[:MOST_SAID] if self.content else ""
        span.set_status(Status(StatusCode.ERROR, said or None))

    def forget(self, run: str, sight: Stretch) -> None:
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
                with being(placed(span)):
                    yield gave
            except BaseException as error:
                self._failed(span, error)
                raise

    @contextmanager
    def serving(self, method: str, above: Place | None) -> Iterator[Span]:
        """The span of a request to the server, current within the block; ``served`` ends it."""
        span = self.tracing.begun(method, above, kind=SpanKind.SERVER, attributes={names.METHOD: method})
        using = trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)
        with using, being(placed(span)):
            yield span

    def served(self, span: Span, method: str, route: str, status: int) -> None:
        """End the span of a request; ``status`` is 0 where it was not answered."""
        span.update_name(f"{method} {route}")
        span.set_attributes({names.ROUTE: route, **({names.ANSWER: status} if status else {})})
        if status == 0 or status >= 500:
            self.concluded(span, {"class": str(status or "broken"), "message": ""})
        span.end()

    def _given(self, made: MadeCall) -> Mapping[str, Json]:
        """What the call is given, without secrets before anything is cut off, where content may be told."""
        return names.of_arguments(replace(made, args=self.redact(made.args))) if self.content else {}

    def _failed(self, span: Span, error: BaseException) -> None:
        if isinstance(error, Asked):
            span.set_attribute(names.STATUS, "asks")
        elif isinstance(error, Fault):
            self.concluded(span, {"class": error.fault_class, "message": error.message})
        else:
            self.concluded(span, {"class": type(error).__name__, "message": ""})
