"""All that is seen from outside of one ``App``: its figures, and its spans where a collector is configured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cogwork.configuration import ConfigurationError
from cogwork.observability.counting import Counting
from cogwork.observability.figures import Figures
from cogwork.observability.readings import Readings
from state.errors import Asked, Fault
from state.services import MadeCall, Secrets
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.onlooking import Onlooker
    from cogwork.observability.exporting import Metering, Tracing
    from cogwork.observability.section import Observability
    from cogwork.observability.spans import Spans

log = logging.getLogger(__name__)
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SIGNALS: Final = {
    "traces": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "metrics": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
}
_MISSING: Final = "OpenTelemetry's SDK is not installed: install cogwork[otel]"


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """What counts, traces and watches; ``readings`` is what was last looked up for Prometheus."""

    figures: Figures
    counting: Counting
    spans: Spans | None = None
    metering: Metering | None = None
    readings: Readings = field(default_factory=Readings, repr=False)

    @property
    def onlookers(self) -> tuple[Onlooker, ...]:
        """Who looks on as executions are run."""
        return (self.counting,) if self.spans is None else (self.counting, self.spans)

    @contextmanager
    def call(self, made: MadeCall) -> Iterator[Callable[[Json], None]]:
        """Around one call of a tool or a model."""
        if self.spans is None:
            with self._counted(made) as gave:
                yield gave
            return
        with self.spans.call(made) as told, self._counted(made) as counted:

            def gave_both(result: Json) -> None:
                told(result)
                counted(result)

            yield gave_both

    @contextmanager
    def _counted(self, made: MadeCall) -> Iterator[Callable[[Json], None]]:
        begun, fault = time.perf_counter(), ""
        usage: Mapping[str, Json] = {}

        def gave(result: Json) -> None:
            nonlocal usage
            usage = _usage(result)

        try:
            yield gave
        except Asked:
            fault = "asked"
            raise
        except Fault as error:
            fault, usage = error.fault_class, _usage(error.details)
            raise
        except BaseException as error:
            fault = type(error).__name__
            raise
        finally:
            self.counting.called(made, time.perf_counter() - begun, fault, usage)

    def close(self) -> None:
        """Send what is to be sent, within seconds, also where nobody takes it; what is used afterwards is opened once more."""
        closing = [self.spans.tracing.close] if self.spans is not None else []
        closing += [self.metering.close] if self.metering is not None else []
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="cogwork-telemetry") as threads:
            for ended in [threads.submit(close) for close in closing]:
                ended.result()


def _usage(told: Json) -> Mapping[str, Json]:
    usage = told.get("usage") if isinstance(told, Mapping) else None
    return usage if isinstance(usage, Mapping) else {}


def opened(section: Observability, secrets: Secrets, environment: Mapping[str, str]) -> Telemetry:
    """Telemetry as the settings and the variables of OpenTelemetry have it.

    Raises:
        ConfigurationError: the settings name a collector, and the packages that speak to it are not installed.
    """
    figures = Figures()
    telemetry = Telemetry(figures=figures, counting=Counting(figures, section.workflow_labels))
    wanted = _wanted(section, environment)
    if not wanted:
        return telemetry
    try:
        from cogwork.observability import exporting
        from cogwork.observability.spans import Spans
    except ImportError as error:
        if section.otlp_endpoint is not None:
            raise ConfigurationError(f"observability.otlp_endpoint is set, but {_MISSING}") from error
        log.warning("%s is set, but %s", ENDPOINT, _MISSING)
        return telemetry
    of, address = exporting.resource(environment), section.otlp_endpoint or ""
    if "traces" in wanted:
        tracing: Tracing = exporting.Tracing(address, of, section.sample_ratio)
        telemetry.spans = Spans(tracing, secrets.redact, content=section.capture_content)
    if "metrics" in wanted:
        telemetry.metering = exporting.Metering(address, of, section.metrics_seconds)
        figures.further = telemetry.metering.figure
    return telemetry


def _wanted(section: Observability, environment: Mapping[str, str]) -> set[str]:
    """Which signals are sent."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return set()
    anywhere = section.otlp_endpoint or environment.get(ENDPOINT)
    chosen = {"traces": section.traces, "metrics": section.metrics}
    return {name for name, on in chosen.items() if on and (anywhere or environment.get(SIGNALS[name]))}
