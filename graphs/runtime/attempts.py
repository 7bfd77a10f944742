"""The work of one node: its attempts, with their timeouts and back-off, then its fallbacks; an outcome or a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)
from tenacity.wait import wait_base

from graphs.runtime.standins import fallbacks_of, standins
from nodes.base import CallingNode, Node, Outcome, Retry, StepCall
from nodes.execution import DONE
from nodes.secrecy import hush
from state.errors import TRANSIENT, CogworkError, Fault, InDoubt
from state.schemas import faults
from state.services import Services
from state.values import Json, UnfitValue, normalise

Retried = Callable[[int, float, Fault], None]
"""Told before each wait: the attempt that failed, the seconds until the next, and why."""
FellBack = Callable[[str, Fault], None]
"""Told before each fallback: what serves, such as ``model:openai:x``, and why the one before it failed."""
ONCE = Retry(max_attempts=1)
MAX_MESSAGE = 2_000


async def attempt_all(
    node: CallingNode, call: StepCall, retried: Retried, fell_back: FellBack = lambda name, fault: None
) -> Outcome:
    """The outcome of the first attempt that succeeds, else that of the first fallback; ``call.attempt`` counts.

    Raises:
        InDoubt: a write may have been done or not; neither tried again nor replaced, whatever the policies say.
        Fault: the node's last one, or one that its policy does not retry; its details list what its fallbacks said.
    """
    try:
        outcome = await _served_by_any(node, call, retried, fell_back)
    except Fault as fault:
        if not call.paid:
            raise
        more = _with(fault, usage=dict(call.paid))
        raise more from (fault if more is not fault else fault.__cause__)
    return replace(outcome, usage=call.billed(outcome.usage)) if call.paid else outcome


async def _served_by_any(node: CallingNode, call: StepCall, retried: Retried, fell_back: FellBack) -> Outcome:
    try:
        return await attempts(node, call, retried)
    except InDoubt:
        raise
    except Fault as fault:
        if fault.fault_class == "cancelled" or not fallbacks_of(node, call):
            raise
        first = fault
    said: list[Json] = []
    why = first
    for name, other, its_call in standins(node, call):
        fell_back(name, why)
        try:
            return await _served(node, name, other, its_call, retried, fell_back)
        except InDoubt:
            raise
        except Fault as fault:
            why = fault
            said.append({"fallback": name, "class": fault.fault_class, "message": fault.message})
    raise _with(first, fallbacks=said) from first


def _with(fault: Fault, message: str = "", **more: Json) -> Fault:
    """The same fault with more details; a new object, for a tool may raise one of its own again and again."""
    known = (
        fault.details
        if isinstance(fault.details, dict)
        else {}
        if fault.details is None
        else {"details": fault.details}
    )
    if isinstance(fault, InDoubt):
        fault.details = {**known, **more}
        return fault
    return Fault(
        fault.fault_class,
        message or fault.message,
        origin=fault.origin,
        stage=fault.stage,
        retry_after=fault.retry_after,
        details={**known, **more},
    )


async def _served(
    node: CallingNode, name: str, other: Node | Fault, call: StepCall, retried: Retried, fell_back: FellBack
) -> Outcome:
    """What one fallback gives, if it fits what the node itself promises."""
    if isinstance(other, Fault):
        raise other
    if isinstance(other, CallingNode):
        outcome = await attempt_all(other, call, retried, fell_back)
    else:
        outcome = fitting(other, other.compute(call), call.services)
    if found := faults(node.result_schema(call.services), outcome.value):
        message = f"What the fallback {name} gave does not fit: {'; '.join(found)}"
        raise Fault("invalid_output", message[:MAX_MESSAGE], details={"faults": found})
    return replace(outcome, fallback=name)


async def attempts(node: CallingNode, call: StepCall, retried: Retried) -> Outcome:
    """The outcome of the node itself, within ``total_timeout``; attempts that failed before a crash count.

    Raises:
        Fault: the last attempt's; it says which limit ended it.
    """
    total = node.total_timeout
    if total is None:
        return await _retrying(node, call, retried)
    try:
        async with asyncio.timeout(total):
            return await _retrying(node, call, retried)
    except TimeoutError as err:
        message = f"all attempts together took longer than the total_timeout of {total:g} s"
        fault = Fault("timeout", message, details={"limit": "total_timeout", "seconds": total})
        raise call.cut_off(fault) from err


async def _retrying(node: CallingNode, call: StepCall, retried: Retried) -> Outcome:
    policy = node.retry or ONCE
    before = _failed_before(call, policy)
    if policy.max_attempts == 1:
        call.begin(1)
        return await attempt_once(node, call)
    stop = stop_after_attempt(policy.max_attempts - before)
    retrying = AsyncRetrying(
        stop=stop if node.total_timeout is None else stop | stop_before_delay(node.total_timeout),
        wait=_Wait(policy, before),
        retry=retry_if_exception(lambda error: isinstance(error, Fault) and _again(policy, error, call.spent)),
        before_sleep=lambda state: _tell(state, before, retried),
        sleep=lambda seconds: _rest(call, seconds),
        reraise=True,
    )
    try:
        async for attempt in retrying:
            with attempt:
                call.begin(before + attempt.retry_state.attempt_number)
                return await attempt_once(node, call)
    except Fault as fault:
        if not _again(policy, fault, call.spent) or call.attempt >= policy.max_attempts:
            raise
        raise _no_time_left(node, fault) from fault
    raise AssertionError("a retrying loop ends by returning or raising")


async def _rest(call: StepCall, seconds: float) -> None:
    """Wait for the next attempt, visibly: nothing is in flight meanwhile, so that even a write may be given up."""
    key = call.key(0)
    call.resting.add(key)
    try:
        await asyncio.sleep(seconds)
    finally:
        call.resting.discard(key)


def _failed_before(call: StepCall, policy: Retry) -> int:
    """How many attempts the record has of earlier processes.

    Raises:
        Fault: the last of them was final.
    """
    known = call.recording.known(call.key(0)) if call.recording is not None else None
    if known is None or known.status != "failed":
        return known.attempt - 1 if known is not None else 0
    fault = Fault.from_record(known.error or {"class": "internal", "message": "it failed for an unknown reason"})
    spent = not known.repeatable and fault.fault_class == DONE
    if known.attempt >= policy.max_attempts or not _again(policy, fault, spent):
        call.begin(known.attempt)
        raise fault
    return known.attempt


def _no_time_left(node: CallingNode, fault: Fault) -> Fault:
    """The fault that would have been tried again, had there been time."""
    asked = f", and it asks to wait {fault.retry_after:g} s" if fault.retry_after else ""
    message = f"{fault.message} (not tried again: the total_timeout of {node.total_timeout:g} s leaves no time{asked})"
    return _with(fault, message, limit="total_timeout", seconds=node.total_timeout)


async def attempt_once(node: CallingNode, call: StepCall) -> Outcome:
    """One attempt within its timeout, its value normalised and held against the declared schema.

    Raises:
        Fault: typed; what is not a fault already becomes ``internal``.
        CogworkError: what is no fault of the step, such as a record that cannot be written.
    """
    try:
        outcome = await _timed(node, call)
    except CogworkError as error:
        if isinstance(error, Fault):
            hush(error, call.services.secrets)
            call.pay(error)
        raise
    except asyncio.CancelledError as err:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise call.cut_off(Fault("cancelled", "the call was cancelled from within")) from err
    except Exception as err:
        raise Fault("internal", call.services.secrets.redact(f"{type(err).__name__}: {err}")[:MAX_MESSAGE]) from err
    return fitting(node, outcome, call.services)


async def _timed(node: CallingNode, call: StepCall) -> Outcome:
    limit = node.timeout
    if limit is None:
        return await node.run(call)
    try:
        async with asyncio.timeout(limit):
            return await node.run(call)
    except TimeoutError as err:
        fault = Fault("timeout", f"took longer than {limit:g} s", details={"limit": "timeout", "seconds": limit})
        raise call.cut_off(fault) from err


def fitting(node: Node, outcome: Outcome, services: Services) -> Outcome:
    """The outcome with its value as plain JSON that fits what the node declares.

    Raises:
        Fault: ``invalid_output``.
    """
    if node.type == "tool":
        return outcome  # a tool's result has been normalised and checked by the call itself
    try:
        value = normalise(outcome.value)
    except UnfitValue as err:
        raise Fault("invalid_output", f"The value cannot be kept: {err}") from err
    declared = getattr(node, "output", None)
    if declared and node.type == "transform" and (found := faults(declared, value)):
        raise Fault("invalid_output", f"The value does not fit: {'; '.join(found)}", details={"faults": found})
    return replace(outcome, value=value)


def retryable(policy: Retry, fault: Fault) -> bool:
    """Whether the policy tries again after this fault."""
    return any(
        name == fault.fault_class or (name == "transient" and fault.fault_class in TRANSIENT) for name in policy.on
    )


def _again(policy: Retry, fault: Fault, spent: bool) -> bool:
    """Whether to try again; never where that would, or might, do a write twice, whatever the policy says."""
    return not spent and not isinstance(fault, InDoubt) and retryable(policy, fault)


class _Wait(wait_base):
    """Exponential back-off as the policy says, never shorter than what the service asked for."""

    def __init__(self, policy: Retry, before: int) -> None:
        self.base = wait_exponential_jitter(
            multiplier=policy.backoff * policy.multiplier**before,
            max=policy.max_backoff,
            exp_base=policy.multiplier,
            jitter=policy.backoff / 2 if policy.jitter else 0,
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, Fault) else None
        return max(self.base(retry_state), asked or 0.0)


def _tell(state: RetryCallState, before: int, retried: Retried) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Fault):
        wait = state.next_action.sleep if state.next_action else 0.0
        retried(before + state.attempt_number, wait, error)
