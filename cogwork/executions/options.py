"""What a caller may say about one execution, beside its input."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from cogwork.errors import EngineError
from cogwork.remote.sections import Label, Policy
from nodes.base import Duration, Retry
from state.values import Json, UnfitValue, normalise

Mode: TypeAlias = Literal["sync", "async", "isolated", "remote"]
PRIORITIES: Final[Mapping[str, int]] = {"high": 1, "normal": 10, "low": 100}
"""The queue takes the lowest number first."""
LOWEST: Final = 1_000_000


def _priority(given: Any) -> Any:
    if isinstance(given, str) and given in PRIORITIES:
        return PRIORITIES[given]
    if isinstance(given, str):
        raise ValueError(f"there is no priority {given!r}: say {', '.join(PRIORITIES)}, or a number from 1 (first)")
    return given


Priority = Annotated[int, BeforeValidator(_priority), Field(ge=1, le=LOWEST)]


class Options(BaseModel):
    """How an execution runs; the same fields at every door."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: Mode = Field(
        "async",
        description="In the caller's process, through the queue, in a process of its own, or on another instance.",
    )
    priority: Priority = Field(10, description="high, normal, low, or a number: the lowest goes first.")
    queue: str | None = Field(None, description="Which of the settings' queues it waits in.")
    timeout: Duration | None = Field(None, description="Working time after which it has failed.")
    deadline: datetime | None = Field(None, description="Instant after which it has failed, whatever it waits for.")
    delay: Duration | None = Field(None, description="Time that passes before it may begin.")
    retry: Retry | None = Field(None, description="Retry policy of the steps that have none of their own.")
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="A second request with it, by the same tenant, means the same execution."
    )
    tenant: str = Field("", max_length=255, description="For whom it runs: concurrency and keys are counted apart.")
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field((), description="To find it by.")
    metadata: dict[str, Json] = Field(default_factory=dict, description="Kept with it, and given back.")
    overrides: dict[str, Json] = Field(
        default_factory=dict, description="Model, mode, limits, fields of steps and agents, for this execution only."
    )
    session_id: str | None = Field(
        None, max_length=255, description="The session whose history, mode and memory it sees."
    )
    conversation_id: str | None = Field(None, description="One of the session's conversations; the newest without it.")
    user_id: str | None = Field(None, max_length=255, description="For which user it runs.")
    trace: bool = Field(False, description="Keep what each step gave, and the text as it was streamed, in its history.")
    debug: bool = Field(False, description="Tell each call of a tool or model, with its arguments, in its result.")
    streaming: bool = Field(False, description="Keep the text as it is streamed, for listeners in other processes.")
    dry_run: bool = Field(False, description="Check and simulate only; nothing is called and nothing kept.")
    isolation: dict[str, Json] = Field(default_factory=dict, description="Limits of the process of its own.")
    traceparent: str | None = Field(
        None, max_length=255, description="The place in a caller's trace that it belongs to (W3C Trace Context)."
    )
    target: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None, description="The instance that runs it, by its name in the settings; local for this one."
    )
    labels: Annotated[tuple[Label, ...], Field(max_length=32)] = Field(
        (), description="What the instance must have that runs it."
    )
    policy: Policy | None = Field(None, description="How its instance is chosen, in place of the settings' policy.")

    @field_validator("deadline")
    @classmethod
    def _aware(cls, deadline: datetime | None) -> datetime | None:
        if deadline is None or deadline.tzinfo is None:
            return deadline.replace(tzinfo=UTC) if deadline is not None else None
        try:
            return deadline.astimezone(UTC)
        except OverflowError as err:
            raise ValueError("it lies beyond the years that a date has") from err

    @field_validator("metadata", "overrides", "isolation")
    @classmethod
    def _plain(cls, given: dict[str, Json]) -> dict[str, Json]:
        try:
            plain: dict[str, Json] = normalise(given)
        except UnfitValue as err:
            raise ValueError(str(err)) from err
        return plain

    @field_validator("tags")
    @classmethod
    def _once(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tags))

    def not_before(self, now: datetime) -> datetime | None:
        """The instant before which it does not begin."""
        return now + timedelta(seconds=self.delay) if self.delay is not None else None


_NAMES: Final = {"timeout_seconds": "timeout", "retry_policy": "retry", "retryPolicy": "retry", "dryRun": "dry_run"}
"""The documents' names of some options."""


def options_of(given: Options | Mapping[str, Any] | None, **more: Any) -> Options:
    """The options that a caller means; the documents' names of fields are understood.

    Raises:
        EngineError: ``invalid_input``; says each field that does not fit.
    """
    if isinstance(given, Options):
        return given.model_copy(update=more) if more else given
    plain = {_NAMES.get(name, name): value for name, value in (given or {}).items()}
    plain |= {name: value for name, value in more.items() if value is not None}
    if isinstance(policy := plain.get("retry"), Mapping) and "max_retries" in policy:
        plain["retry"] = _documents_retry(policy)
    try:
        return Options.model_validate(plain)
    except ValidationError as err:
        raise EngineError("invalid_input", f"The options do not fit: {_told(err)}", options=_places(err)) from err


def _documents_retry(policy: Mapping[str, Any]) -> dict[str, Any]:
    """``max_retries`` does not count the first attempt; ``backoff_factor`` is the multiplier."""
    rest = {k: v for k, v in policy.items() if k not in ("max_retries", "backoff_factor")}
    retries = policy["max_retries"]
    attempts = retries + 1 if isinstance(retries, int) and not isinstance(retries, bool) else retries
    factor = {"multiplier": policy["backoff_factor"]} if "backoff_factor" in policy else {}
    return {**rest, "max_attempts": attempts, **factor}


def _told(err: ValidationError) -> str:
    import difflib

    said = []
    for fault in err.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(map(str, fault["loc"]))
        close = difflib.get_close_matches(place, Options.model_fields, 1) if fault["type"] == "extra_forbidden" else []
        message = f"there is no such option{f'; did you mean {close[0]!r}?' if close else ''}"
        said.append(f"{place}: {message if fault['type'] == 'extra_forbidden' else fault['msg']}")
    return "; ".join(said)


def _places(err: ValidationError) -> list[Json]:
    return [".".join(map(str, fault["loc"])) for fault in err.errors(include_url=False, include_input=False)]
