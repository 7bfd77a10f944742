"""The longest that a path may take, from what its steps declare, and the tokens and money that its model calls may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from graphs.analysis.plan import Plan, PlannedStep, Scope
from graphs.language.spec import ForEach
from graphs.simulation.coverage import named
from graphs.simulation.mocks import tokens_of
from graphs.simulation.walk import Ended
from graphs.simulation.world import Made
from nodes.base import CallingNode, Retry
from nodes.human import HumanNode
from nodes.llm import LlmNode

_INDEX: Final = re.compile(r"\[\d+\]")
Prices = Mapping[str, tuple[float, float]]
"""Model to USD for a million tokens of input and of output; ``*`` serves every other model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """Seconds that a path takes at most, people left out in ``working``; ``unbounded`` names steps without any bound.

    With unbounded steps the seconds are those of all other steps.
    """

    seconds: float
    working: float
    unbounded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Tokens and USD of one path, from its own calls (``least``) to the most that its steps allow.

    ``most`` is None where ``unbounded`` names steps without ``max_tokens``; USD are None without a price for every model.
    """

    least_tokens: int = 0
    most_tokens: int | None = 0
    least_usd: float | None = None
    most_usd: float | None = None
    calls: int = 0
    unbounded: tuple[str, ...] = ()


# -- time ------------------------------------------------------------------------------------------------------


def worst(plan: Plan, ended: Ended) -> Worst:
    """The declared worst case of a path: its critical path, loops with as many items and iterations as it had."""
    reading = _Time(plan=plan, ended=ended)
    seconds = reading.workflow(plan.scopes[""], "")
    people = _Time(plan=plan, ended=ended, people=False)
    return Worst(seconds=seconds, working=people.workflow(plan.scopes[""], ""), unbounded=tuple(reading.unbounded))


@dataclass(slots=True, kw_only=True)
class _Time:
    plan: Plan
    ended: Ended
    people: bool = True
    unbounded: dict[str, None] = field(default_factory=dict)

    def workflow(self, scope: Scope, prefix: str) -> float:
        """The steps of a workflow, then what follows them."""
        after = [holder for name in ("on_failure", "finally") if (holder := scope.stages.get(name))]
        total = self.scope(scope, prefix) + sum(self.step(self.plan.steps[holder], prefix) for holder in after)
        return total + (self.undone() if not prefix else 0.0)

    def scope(self, scope: Scope, prefix: str) -> float:
        """The longest way along the edges of what ran in a scope."""
        known: dict[str, float] = {}

        def until(step_id: str) -> float:
            if step_id not in known:
                known[step_id] = 0.0
                step = self.plan.steps[step_id]
                before = max((until(other) for other in (*step.parents, *step.selectors)), default=0.0)
                known[step_id] = before + (0.0 if step.stands_in else self.step(step, prefix))
            return known[step_id]

        return max((until(step_id) for step_id in scope.names.values()), default=0.0)

    def step(self, step: PlannedStep, prefix: str) -> float:
        """What one instance takes at most; nothing where it did not run."""
        path = prefix + step.name
        record = self.ended.records.get(path)
        if record is None or ("started_at" not in record and record.get("status") != "failed"):
            return 0.0
        node = step.node
        if isinstance(node, CallingNode):
            return self.calling(step, node, record)
        if isinstance(node, HumanNode):
            if node.timeout is None:
                self.unbounded[step.id] = None
            return (node.timeout or 0.0) if self.people else 0.0
        inner = self.plan.scopes.get(step.id)
        return self.holding(step, inner, path) if node is None and inner is not None else 0.0

    def holding(self, step: PlannedStep, inner: Scope, path: str) -> float:
        """A loop, a used workflow or a block."""
        if inner.kind == "use":
            return self.workflow(inner, f"{path}.")
        if inner.kind == "stage":
            return self.scope(inner, f"{path}.")
        each: list[float] = []
        while f"{path}[{len(each)}]" in self.ended.records:
            each.append(self.scope(inner, f"{path}[{len(each)}]."))
        if isinstance(step.step, ForEach):
            return math.ceil(len(each) / step.step.max_parallel) * max(each, default=0.0)
        return sum(each)

    def calling(self, step: PlannedStep, node: CallingNode, record: Mapping[str, object]) -> float:
        """All attempts with their waits, then the fallbacks up to the one that served."""
        own = _attempts(node)
        if own is None:
            self.unbounded[step.id] = None
            own = 0.0
        tried = 0
        if served := record.get("fallback"):
            tried = 1 + [named(fallback) for fallback in node.fallback].index(str(served))
        elif record.get("error"):
            tried = len(node.fallback)
        total = own
        for index in range(tried):
            standin = step.standins[index] if index < len(step.standins) else ""
            other = self.plan.steps[standin].node if standin else node
            total += (_attempts(other) if isinstance(other, CallingNode) else 0.0) or 0.0
        return total

    def undone(self) -> float:
        """The undo calls, one after the other."""
        total = 0.0
        for path in ((self.ended.state.get("run") or {}).get("undo") or {}).get("done", ()):
            step = self.plan.steps.get(_INDEX.sub("", str(path)))
            undo = step.node.undo if step is not None and isinstance(step.node, CallingNode) else None
            if undo is not None and step is not None:
                if undo.timeout is None:
                    self.unbounded[f"{step.id} (undo)"] = None
                total += (undo.timeout or 0.0) * undo.retry.max_attempts + waits(undo.retry)
        return total


def _attempts(node: CallingNode) -> float | None:
    """The declared worst case of a node's own attempts; None without any bound."""
    count = node.retry.max_attempts if node.retry else 1
    own = None if node.timeout is None else count * node.timeout + (waits(node.retry) if node.retry else 0.0)
    limits = [limit for limit in (own, node.total_timeout) if limit is not None]
    return min(limits) if limits else None


def waits(retry: Retry) -> float:
    """The longest that the waits between all attempts take together, without what a service asks for."""
    jitter = retry.backoff / 2 if retry.jitter else 0.0
    return sum(
        min(retry.backoff * retry.multiplier**index + jitter, retry.max_backoff)
        for index in range(retry.max_attempts - 1)
    )


# -- cost ------------------------------------------------------------------------------------------------------


def cost(plan: Plan, made: Iterable[Made], prices: Prices) -> Cost:
    """What the model calls of a path cost; a prompt's size is estimated from its characters."""
    asked = [call for call in made if call.asked.kind == "llm"]
    least = most = 0
    least_usd = most_usd = 0.0
    unbounded: dict[str, None] = {}
    priced = bool(prices)
    calls = {(call.asked.path, call.asked.name): call for call in asked}
    for call in asked:
        told, price = tokens_of(call.asked.given), prices.get(call.asked.name, prices.get("*"))
        priced = priced and price is not None
        least += told + call.tokens_out
        least_usd += _usd(price, told, call.tokens_out)
    for call in calls.values():
        told, price = tokens_of(call.asked.given), prices.get(call.asked.name, prices.get("*"))
        rounds = _rounds(plan.steps.get(call.step))
        if call.asked.max_tokens is None:
            unbounded[call.step] = None
        limit = call.asked.max_tokens or 0
        most += rounds * (told + limit)
        most_usd += rounds * _usd(price, told, limit)
    return Cost(
        least_tokens=least,
        most_tokens=None if unbounded else max(most, least),
        least_usd=least_usd if priced else None,
        most_usd=max(most_usd, least_usd) if priced and not unbounded else None,
        calls=len(asked),
        unbounded=tuple(unbounded),
    )


def _rounds(step: PlannedStep | None) -> int:
    """How often a step may ask the model at most: each attempt, and once more to mend a structured answer."""
    node = step.node if step is not None else None
    attempts = node.retry.max_attempts if isinstance(node, CallingNode) and node.retry else 1
    return attempts * (2 if isinstance(node, LlmNode) and node.output is not None else 1)


def _usd(price: tuple[float, float] | None, told: int, said: int) -> float:
    return (told * price[0] + said * price[1]) / 1_000_000 if price else 0.0
