"""What tools, models and people give in one simulated run: what is written for them, else a choice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from graphs.analysis.plan import Plan, PlannedStep
from graphs.analysis.talks import TURN
from graphs.simulation.choices import Choices
from graphs.simulation.demand import Demand, Use
from graphs.simulation.influence import Influence
from graphs.simulation.making import Making
from graphs.simulation.mocks import Asked, CallsMade, tokens_of
from graphs.simulation.script import Given, Script
from nodes.base import CallingNode, Retry
from nodes.conversation import function_names
from state.errors import FAULT_CLASSES, Fault
from state.schemas import faults as misfits
from state.services import Services
from state.values import Json, Schema

Faults: TypeAlias = Literal["handled", "all", "none"]
"""Which failures are tried: those that the workflow provides for, that of every call, or none."""
INDEX: Final = re.compile(r"\[\d+\]")
_AFTER: Final = ("stage", "undo")
MOST_OFFERS: Final = 3
"""How many of the tools that a model is offered it is simulated to call."""
SLOW: Final = 1.0
"""Seconds that the slow one of a race takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One call that was made, and what it came to."""

    asked: Asked
    step: str
    fault: str = ""
    tokens_out: int = 0
    scripted: bool = False


@dataclass(slots=True, kw_only=True)
class Setting:
    """What all runs of a simulation share."""

    plan: Plan
    services: Services
    influence: Influence
    faults: Faults
    warnings: dict[str, None] = field(default_factory=dict)
    racing: frozenset[str] = frozenset()
    """The steps that a race gives up when they are slow."""

    def __post_init__(self) -> None:
        self.racing = frozenset(loser for step in self.plan.steps.values() for loser in step.losers)

    def step(self, path: str) -> PlannedStep | None:
        """The step of a path."""
        return self.plan.steps.get(INDEX.sub("", path))

    def failing(self, step: PlannedStep) -> bool:
        """Whether it makes a difference for the run if a call of the step fails for good."""
        if self.faults != "handled":
            return self.faults == "all"
        if step.step.on_error != "fail" or (isinstance(step.node, CallingNode) and step.node.fallback):
            return True
        return self._minded(step)

    def _minded(self, step: PlannedStep) -> bool:
        """Whether something around the step, or at the end of the run, takes care of failures."""
        if any(other.kind in _AFTER and other.name != "finally" for other in self.plan.steps.values()):
            return True
        scope = self.plan.scopes[step.scope]
        while scope.header is not None:
            header = self.plan.steps[scope.header]
            if header.step.on_error != "fail" or getattr(header.step, "on_item_error", "fail") != "fail":
                return True
            scope = self.plan.scopes[header.scope]
        return False

    def classes(self, step: PlannedStep | None, kind: str) -> list[str]:
        """The classes of failure that are tried of a call."""
        compared = sorted(self.influence.faults.get(step.id, ())) if step is not None else []
        usual = "tool_error" if kind == "tool" else "refused"
        named = [name for name in compared if name in FAULT_CLASSES]
        retry = step.node.retry if step is not None and isinstance(step.node, CallingNode) else None
        if retry is not None and retry.max_attempts > 1 and usual not in retry.on and not named:
            usual = _retried(retry)
        return list(dict.fromkeys([usual, *named]))


def calls_in(value: Json, offers: tuple[Mapping[str, Json], ...]) -> Any:
    """What a written answer means where functions are offered: ``{calls: [{tool, args}]}`` are calls, all else is the answer."""
    if not offers or not isinstance(value, dict) or set(value) != {"calls"} or not isinstance(value["calls"], list):
        return value
    names = {
        name: function for function, name in function_names([str(each.get("tool")) for each in value["calls"]]).items()
    }
    return CallsMade(tuple((names[str(each.get("tool"))], each.get("args") or {}) for each in value["calls"]))


def _retried(retry: Retry) -> str:
    """A class that the policy tries again."""
    named = [name for name in retry.on if name != "transient"]
    safe = [name for name in named if name not in ("timeout", "connection")]
    return "unavailable" if "transient" in retry.on else (safe or named or ["tool_error"])[0]


class SimulatedWorld:
    """The world of one run."""

    def __init__(self, setting: Setting, choices: Choices, script: Script) -> None:
        self.setting, self.choices, self.script = setting, choices, script
        self.made: list[Made] = []
        self.unwritten: dict[str, None] = {}
        """The steps for whose calls nothing was written, by path."""
        self._attempts: Counter[str] = Counter()
        self._unlucky: set[str] = set()
        self._said: dict[tuple[str, str], Given | None] = {}

    async def result(self, asked: Asked) -> Json:
        """The result of a call, chosen where none is written.

        Raises:
            Fault: the call fails.
        """
        step = self.setting.step(asked.path)
        given = self._said_of(asked.path, step)
        number = asked.key.rpartition(":")[2] if asked.key else asked.name
        key = f"{asked.path}#{number}" if number not in ("0", "default") else asked.path
        self._attempts[key] += 1
        try:
            value = self._written(given, asked) if given is not None else await self._chosen(asked, step, key)
            value = calls_in(value, asked.offers) if given is not None else value
        except Fault as fault:
            self._note(asked, step, fault=fault.fault_class, scripted=given is not None)
            raise
        text = value if isinstance(value, str) else str(value)
        self._note(asked, step, tokens_out=tokens_of(text), scripted=given is not None)
        return value

    def _said_of(self, path: str, step: PlannedStep | None) -> Given | None:
        """What is written for a call; a turn of an agent of which nothing is written gives what is written for the agent."""
        given = self.script.call(path, step.id if step else path)
        holder = self._holder(step)
        return given if given is not None or holder is None else self.script.call(path.rpartition("[")[0], holder.id)

    def _holder(self, step: PlannedStep | None) -> PlannedStep | None:
        """The step of the agent whose turn the step is; None where it is none."""
        if step is None or step.name != TURN or self.setting.plan.scopes[step.scope].kind != "agent":
            return None
        return self.setting.plan.steps[step.scope]

    def _note(
        self, asked: Asked, step: PlannedStep | None, *, fault: str = "", tokens_out: int = 0, scripted: bool = False
    ) -> None:
        made = Made(
            asked=asked, step=step.id if step else asked.path, fault=fault, tokens_out=tokens_out, scripted=scripted
        )
        self.made.append(made)

    def _written(self, given: Given, asked: Asked) -> Json:
        if given.fault:
            message = given.message or f"{asked.path} fails as it is written"
            raise Fault(given.fault, message, origin="tool" if asked.kind == "tool" else "model")  # type: ignore[arg-type]
        return given.value

    async def _chosen(self, asked: Asked, step: PlannedStep | None, key: str) -> Json:
        self.unwritten[asked.path] = None
        if self.script.strict:
            raise Fault("invalid_input", f"No mock answers the call of {asked.name} at {asked.path}", origin="tool")
        if step is not None and step.id in self.setting.racing:
            await self._race(step, key)
        self._fail(asked, step, key)
        return self._called(asked, key) or self._value(asked, step, key)

    def _called(self, asked: Asked, key: str) -> CallsMade | None:
        """The function that a simulated model calls in its first turn; None where it answers at once."""
        if not asked.offers or not asked.path.endswith(f"[0].{TURN}"):
            return None
        offers = asked.offers[:MOST_OFFERS]
        labels = ["answers", *(f"calls {offer['name']}" for offer in offers)]
        chosen = self.choices.pick(f"{key}>", [None, *offers], labels)
        if chosen is None:
            return None
        args = Making(chosen["parameters"], self.choices, f"{key}>{chosen['name']}").value(Demand())
        return CallsMade(((str(chosen["name"]), args),))

    async def _race(self, step: PlannedStep, key: str) -> None:
        if self.choices.pick(f"{key}~", [False, True], ["fast", "slow"]):
            timeout = step.node.timeout if isinstance(step.node, CallingNode) else None
            await asyncio.sleep(min(SLOW, timeout / 2) if timeout else SLOW)

    def _fail(self, asked: Asked, step: PlannedStep | None, key: str) -> None:
        """Fail as it is chosen: for good, or in the first attempt only."""
        undoing = asked.key.endswith(":undo") or (step is not None and step.kind == "undo")
        fails: list[str] = []
        if undoing or (step is not None and self.setting.failing(step)):
            fails = self.setting.classes(step, asked.kind) if self.setting.faults != "none" else []
        options = ["", *fails]
        labels = ["succeeds", *(f"fails: {name}" for name in fails)]
        chosen = self.choices.pick(f"{key}!", options, labels, most=1 if undoing else 6)
        if not chosen and self._recovers(step, key):
            chosen = _retried(step.node.retry)  # type: ignore[union-attr]
        if chosen:
            raise Fault(chosen, "the simulation lets it fail", origin="tool" if asked.kind == "tool" else "model")  # type: ignore[arg-type]

    def _recovers(self, step: PlannedStep | None, key: str) -> bool:
        """Whether this is a first attempt that fails, with a policy that tries it again."""
        retry = step.node.retry if step is not None and isinstance(step.node, CallingNode) else None
        if retry is None or retry.max_attempts < 2 or self.setting.faults == "none" or not retry.on:
            return False
        if "#" in key.rpartition("]")[2] or (key not in self._unlucky and self._attempts[key] > 1):
            return False
        failing = self.choices.aside(f"{key}%", [False, True], ["at once", "in its second attempt"])
        self._unlucky.add(key)
        return failing and self._attempts[key] == 1

    def _value(self, asked: Asked, step: PlannedStep | None, key: str) -> Json:
        schema, demand = asked.schema, Demand()
        step = self._holder(step) or step
        if step is not None and not asked.key.endswith(":undo"):
            demand = self.setting.influence.values.get(step.id, demand)
            declared = getattr(step.node, "output", None)
            schema = declared if isinstance(declared, dict) and asked.kind == "tool" else schema
            if not schema and step.node is not None:
                schema = step.node.result_schema(self.setting.services)
        value = Making(schema, self.choices, key).value(demand)
        self._hold(schema, value, asked.path)
        return value

    def _hold(self, schema: Schema, value: Json, path: str) -> None:
        if found := misfits(schema, value, limit=1):
            self.setting.warnings[
                f"No value that fits the schema of {INDEX.sub('', path)} could be made ({found[0]}): give it a mock"
            ] = None

    # -- people --------------------------------------------------------------------------------------------

    def answer(self, question: Mapping[str, Json]) -> Given | None:
        """What a person says to a question, ``fault`` being ``timeout`` where nobody answers in time; None for nothing.

        A question that is asked again, since others were answered first, is answered as before.
        """
        which = str(question["at"]), str(question.get("kind") or "human")
        if which not in self._said:
            self._said[which] = self._answered(*which, question)
        return self._said[which]

    def _answered(self, path: str, kind: str, question: Mapping[str, Json]) -> Given | None:
        step = self.setting.step(path)
        if kind in ("human", "approval"):
            given = self.script.answer(path, step.id if step else path)
            if given is not None or self.script.silent:
                return given
        elif self.script.silent:
            return None
        key = path if kind == "human" else f"{path}?{kind}"
        if question.get("deadline") and self.choices.pick(f"{key}!", [False, True], ["answers", "does not answer"]):
            return Given(fault="timeout")
        demand = self.setting.influence.values.get(step.id if step else "", Demand())
        if kind != "human":
            demand = Demand()
            demand.at(("decision" if kind == "approval" else "resolution",)).take(Use(decisive=True))
        return Given(value=Making(question["form"], self.choices, key).value(demand))
