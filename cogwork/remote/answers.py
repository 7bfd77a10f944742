"""What other instances answer, as far as it is understood: checked, bounded, and without this instance's token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from cogwork.executions.statuses import Status
from cogwork.remote.sections import Label
from state.errors import FAULT_CLASSES, Fault
from state.events import EVENT_KINDS, Event
from state.values import Json, UnfitValue, normalise

Answered = TypeVar("Answered", bound=BaseModel)
QUESTIONS: Final = 100
MESSAGE: Final = 4_000
_LARGEST: Final = 2**53
_COUNTS: Final = ("attempts", "attempt", "count")
_SECONDS: Final = ("seconds", "wait", "done", "total")
_TEXTS: Final = ("text", "message", "source", "target", "by", "cause", "reason", "fallback", "of")
_FLAGS: Final = ("cached", "given", "truncated")
_USED: Final = ("input_tokens", "output_tokens", "total_tokens", "cost_usd")
_LATEST: Final = timedelta(days=1)


class _Form(BaseModel):
    """Fields that are not known are passed over: a newer instance may tell more."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def _brief(given: Any) -> Any:
    return given[:64] if isinstance(given, str) else "" if given is None else given


def _error(given: Any) -> dict[str, Json] | None:
    """What went wrong, with a class that is known and a message that is short."""
    if not isinstance(given, Mapping):
        return None
    known = given.get("class") if given.get("class") in FAULT_CLASSES else "internal"
    place = {
        name: str(given[name])[:1024] for name in ("node", "origin", "pointer") if isinstance(given.get(name), str)
    }
    details = given.get("details")
    more = {"details": details} if isinstance(details, Mapping | None) else {}
    return {"node": "", **place, "class": known, "message": str(given.get("message") or "")[:MESSAGE], **more}


def _usage(given: Any) -> dict[str, Json]:
    """What was used, as numbers that are not negative, and the model."""
    if not isinstance(given, Mapping):
        return {}
    found: dict[str, Json] = {name: given[name] for name in _USED if _is_amount(given.get(name))}
    model = given.get("model")
    return {**found, "model": model[:255]} if isinstance(model, str) else found


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST


class Question(_Form):
    """What a person is asked there."""

    at: str = Field(max_length=1024)
    ask: str = Field("", max_length=100_000)
    form: dict[str, Any] = Field(default_factory=dict)
    kind: str = Field("human", max_length=32)
    show: Any = None
    deadline: datetime | None = None

    def told(self) -> dict[str, Json]:
        """The question as it is recorded here."""
        told: dict[str, Json] = self.model_dump(exclude_none=True)
        if self.deadline is not None:
            aware = self.deadline if self.deadline.tzinfo is not None else self.deadline.replace(tzinfo=UTC)
            told["deadline"] = aware.isoformat()
        return told


class RemoteStatus(_Form):
    """How an execution stands there."""

    execution_id: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
    status: Status
    reason: Annotated[str, BeforeValidator(_brief)] = ""
    segment: int = Field(0, ge=0, le=_LARGEST)
    questions: list[Question] = Field(default_factory=list, max_length=QUESTIONS)
    error: Annotated[dict[str, Any] | None, BeforeValidator(_error)] = None
    usage: Annotated[dict[str, Any], BeforeValidator(_usage)] = Field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in ("completed", "failed", "cancelled")


class _Output(_Form):
    primary_result: Any = None


class RemoteResult(RemoteStatus):
    """What an execution has come to there."""

    output: _Output = _Output()


class Standing(_Form):
    """How an instance stands: what it is known by, and how much it has to do."""

    labels: list[Label] = Field(default_factory=list, max_length=256)
    running: int = Field(0, ge=0, le=_LARGEST)
    waiting: int = Field(0, ge=0, le=_LARGEST)
    accepting: bool = True
    version: str = Field("", max_length=64)

    @property
    def load(self) -> int:
        """How many executions run or wait to run."""
        return self.running + self.waiting


class _Error(_Form):
    code: str = Field("", max_length=64)
    message: str = ""


class Anything(_Form):
    """Any object: what is told is asked for again when it matters."""


class ErrorAnswer(_Form):
    """The form of errors."""

    error: _Error = _Error()


def understood(form: type[Answered], body: bytes, who: str) -> Answered:
    """The answer in its form.

    Raises:
        Fault: ``invalid_output``; it is no JSON, or not of that form.
    """
    try:
        return form.model_validate(normalise(from_json(body, allow_inf_nan=False)))
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False, include_context=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, UnfitValue) as err:
        said = str(err)
    raise Fault("invalid_output", f"{who} gave an answer that is not understood: {said[:300]}", origin="tool")


def event_of(data: str, run: str, **known: Json) -> Event | None:
    """The event that a line of the stream tells, as one of ``run``; None for what is no event. ``known`` is told with it."""
    try:
        raw = normalise(from_json(data, allow_inf_nan=False))
    except (ValueError, UnfitValue):
        return None
    if not isinstance(raw, dict) or raw.get("event") not in EVENT_KINDS:
        return None
    step = raw.get("step") if isinstance(raw.get("step"), str) else ""
    return Event(kind=raw["event"], run=run, at=_instant(raw.get("at")), step=str(step)[:1024], data=_data(raw, known))


def _data(raw: Mapping[str, Json], known: Mapping[str, Json]) -> dict[str, Json]:
    """What is known to belong to events, each of its type."""
    found: dict[str, Json] = dict(known)
    for name in _COUNTS:
        if _is_amount(raw.get(name)) and isinstance(raw[name], int):
            found[name] = raw[name]
    found |= {name: raw[name] for name in _SECONDS if _is_amount(raw.get(name))}
    found |= {name: raw[name] for name in _TEXTS if isinstance(raw.get(name), str)}
    found |= {name: raw[name] for name in _FLAGS if isinstance(raw.get(name), bool)}
    if (error := _error(raw.get("error"))) is not None:
        found["error"] = error
    return {**found, "usage": used} if (used := _usage(raw.get("usage"))) else found


def _instant(text: Json) -> str:
    """The instant as text; now, where it is none or lies in the future."""
    now = datetime.now(UTC)
    try:
        found = datetime.fromisoformat(str(text))
        found = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return now.isoformat()
    return found.isoformat() if found < now + _LATEST else now.isoformat()
