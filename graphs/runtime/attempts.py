"""The work of one node: its attempts, with their timeout and back-off; always an outcome or a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter
from tenacity.wait import wait_base

from nodes.base import CallingNode, Node, Outcome, Retry, StepCall
from state.errors import TRANSIENT, Fault
from state.schemas import faults
from state.services import Services
from state.values import UnfitValue, normalise

Retried = Callable[[int, float, Fault], None]
"""Told before each wait: the attempt that failed, the seconds until the next, and why."""


async def attempt_all(node: CallingNode, call: StepCall, retried: Retried) -> Outcome:
    """The outcome of the first attempt that succeeds; ``call.attempt`` counts them.

    A write that may have been done all the same is not tried again, whatever the policy says.

    Raises:
        Fault: the last attempt's, or one that the policy does not retry.
    """
    policy = node.retry
    if policy is None:
        return await attempt_once(node, call)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.max_attempts),
        wait=_Wait(policy),
        retry=retry_if_exception(lambda error: isinstance(error, Fault) and _again(node, policy, call, error)),
        before_sleep=lambda state: _tell(state, retried),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            call.attempt = attempt.retry_state.attempt_number
            return await attempt_once(node, call)
    raise AssertionError("a retrying loop ends by returning or raising")


def _again(node: CallingNode, policy: Retry, call: StepCall, fault: Fault) -> bool:
    return retryable(policy, fault) and not node.in_doubt(call.services, fault)


async def attempt_once(node: CallingNode, call: StepCall) -> Outcome:
    """One attempt within its timeout, its value normalised and held against the declared schema.

    Raises:
        Fault: typed; what is not a fault already becomes ``internal``.
    """
    limit = node.timeout
    try:
        if limit is None:
            outcome = await node.run(call)
        else:
            async with asyncio.timeout(limit):
                outcome = await node.run(call)
    except TimeoutError as err:
        said = f"took longer than {limit:g} s" if limit is not None else f"took too long: {err}"
        raise Fault("timeout", said, details={"seconds": limit}) from err
    except Fault:
        raise
    except Exception as err:
        raise Fault("internal", f"{type(err).__name__}: {err}"[:2000]) from err
    return fitting(node, outcome, call.services)


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
    return Outcome(value=value, usage=outcome.usage, messages=outcome.messages)


def retryable(policy: Retry, fault: Fault) -> bool:
    """Whether the policy tries again after this fault."""
    return any(
        name == fault.fault_class or (name == "transient" and fault.fault_class in TRANSIENT) for name in policy.on
    )


class _Wait(wait_base):
    """Exponential back-off as the policy says, never shorter than what the service asked for."""

    def __init__(self, policy: Retry) -> None:
        self.base = wait_exponential_jitter(
            multiplier=policy.backoff,
            max=policy.max_backoff,
            exp_base=policy.multiplier,
            jitter=policy.backoff / 2 if policy.jitter else 0,
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, Fault) else None
        return max(self.base(retry_state), asked or 0.0)


def _tell(state: RetryCallState, retried: Retried) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Fault):
        retried(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, error)
