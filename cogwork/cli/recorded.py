"""What the records say of a step: when it ran, what it asks, how each of its calls came out, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cogwork.cli.deciding import brief
from cogwork.cli.reasons import brief_error

if TYPE_CHECKING:
    from graphs.analysis.plan import PlannedStep
    from state.durable import RecordedCall

PER_FALLBACK = 1000
"""The calls of a step's i-th fallback are numbered from this times i."""


def calls_of(path: str, calls: Mapping[str, RecordedCall]) -> list[RecordedCall]:
    """The recorded calls of one step, in their order; those that undid it are not among them."""
    own = [call for call in calls.values() if call.step == path and _number(call) is not None]
    return sorted(own, key=lambda call: _number(call) or 0)


def told(calls: Iterable[RecordedCall], planned: PlannedStep | None, *, over: bool) -> Iterator[str]:
    """A line for each call; where the step is not ``over``, also when a failed one is tried again."""
    for call in calls:
        number = _number(call) or 0
        whose = f"Fallback {number // PER_FALLBACK}" if number >= PER_FALLBACK else "Call"
        which = f" {number % PER_FALLBACK + 1}" if number % PER_FALLBACK else ""
        yield f"{whose}{which}: {call.target} ({_effect(call)}), {_outcome(call)}"
        if call.args is not None and call.status != "done":
            yield f"    args = {brief(call.args)}"
        if call.status == "failed" and not over and planned is not None:
            yield from _next(call, planned)


def served(record: Mapping[str, Any]) -> Iterator[str]:
    """Where the value of a step that is done comes from, if not from its own first call, and what its model was told."""
    if record.get("fallback"):
        yield f"It failed itself, and {record['fallback']} served in its stead."
    if record.get("cached"):
        yield "Its value is that of an earlier call, from the cache; nothing was called."
    if record.get("given"):
        yield "Its value was handed in when the run began; nothing was called."
    if record.get("resolved"):
        yield "A call of it was in doubt, and a person said that it took place."
    prompt = record.get("prompt") or {}
    if prompt.get("name"):
        yield f"Its prompt was version {prompt['version']} of {prompt['name']}."
    for cut in prompt.get("shortened") or ():
        yield f"Of {cut['variable']}, {cut['dropped']:,} tokens were left out so that the prompt fits: {cut['how']}."


def _number(call: RecordedCall) -> int | None:
    last = call.key.rpartition(":")[2]
    return int(last) if last.isdigit() else None


def _effect(call: RecordedCall) -> str:
    return call.effect if call.effect != "write" else f"write, {'idempotent' if call.repeatable else 'never repeated'}"


def _outcome(call: RecordedCall) -> str:
    attempt = f"attempt {call.attempt} "
    if call.status == "failed":
        return f"{attempt}failed at {call.ended_at}: {brief_error(call.error)}"
    if call.status == "done":
        return f"{attempt}done at {call.ended_at}; its result is recorded, and it is not made again"
    known = "may be made again" if call.repeatable else "is not made again by itself"
    return f"{attempt}begun at {call.begun_at}, and nothing says how it ended; it {known}"


def _next(call: RecordedCall, planned: PlannedStep) -> Iterator[str]:
    """When the next attempt comes, by the step's policy."""
    policy: Any = getattr(planned.step, "retry", None)
    if policy is None or call.attempt >= policy.max_attempts:
        return
    wait = min(policy.max_backoff, policy.backoff * policy.multiplier ** (call.attempt - 1))
    asked = (call.error or {}).get("retry_after")
    if isinstance(asked, int | float):
        wait = max(wait, asked)
    yield f"    attempt {call.attempt + 1} of {policy.max_attempts} comes about {wait:g} s after that"


def by_hand(record: Mapping[str, Any]) -> str:
    """What to add of a step whose value a person gave."""
    return ": its value was given by hand when the run was forked" if record.get("set_by") else ""


def times(record: Mapping[str, Any]) -> Iterator[str]:
    """When and how often a step ran, by its record."""
    if record.get("started_at") and record.get("ended_at"):
        yield f"It ran from {record['started_at']} to {record['ended_at']}."
    if (record.get("attempts") or 1) > 1:
        yield f"It took {record['attempts']} attempts."
    if record.get("timed_out"):
        yield "Nobody answered in time; `on_timeout` was taken."


def asking(record: Mapping[str, Any]) -> str:
    """Whom a step that waits asks."""
    doubt = (record.get("question") or {}).get("kind") == "in_doubt"
    return "has a call in doubt and asks what became of it" if doubt else "is asking a person"


def waiting(path: str, record: Mapping[str, Any]) -> list[str]:
    """A step that waits, with what is asked and what there is to look at."""
    question: dict[str, Any] = record.get("question") or {}
    doubt = question.get("kind") == "in_doubt"
    whom = "somebody to say what became of a call" if doubt else "a person"
    lines = [f"{path} waits for {whom}: {question.get('ask', '')}"]
    if record.get("started_at"):
        lines.append(f"Asked at {record['started_at']}." if not doubt else f"The step began at {record['started_at']}.")
    if doubt:
        lines += [f"{name} = {brief(value)}" for name, value in (question.get("show") or {}).items()]
    if record.get("deadline"):
        lines.append(f"It stays open until {record['deadline']}.")
    return lines
