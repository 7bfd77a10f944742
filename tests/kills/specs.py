"""Random workflows from a seed: every shape the language has, of tools whose effects a ledger counts.

What happens at the end does not depend on the order in which things happen: a run that is killed and resumed must end as
the one that is not. Where that cannot be had (the losers of a race, work beside a failure) the steps are named in ``free``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.kills.minds import PLAN

Steps = dict[str, dict[str, Any]]
FLAGS = ("b0", "b1", "b2")
ENDINGS = ("completes", "completes", "completes", "fails last", "fails last", "fails amid", "cancelled")
READS = {"need": "{{{{ {0} }}}}", "guard": "{{{{ {0} | default: null }}}}"}
_ONE: dict[str, Any] = {"type": "transform", "set": 1}
_CALL: dict[str, Any] = {"type": "tool", "tool": "kills.once", "args": {"value": 1}}
_RACE: dict[str, Any] = {**_ONE, "depends_on": ["a", "b"], "join": "any", "cancel_rest": True}
PROBES: dict[str, dict[str, Any]] = {
    "undo": {"nodes": {"a": {**_CALL, "undo": {"tool": "kills.unsend"}}}},
    "fallback": {"nodes": {"a": {**_CALL, "fallback": [{"tool": "kills.keyed"}]}}},
    "on_failure": {"nodes": {"a": _ONE}, "on_failure": {"nodes": {"b": _ONE}}},
    "finally": {"nodes": {"a": _ONE}, "finally": {"nodes": {"b": _ONE}}},
    "cancel_rest": {"nodes": {"a": _ONE, "b": _ONE, "c": _RACE}},
    "agent": {"nodes": {"a": {"type": "llm", "model": "planned", "prompt": "Plan: []", "tools": ["kills.look"]}}},
}
"""A workflow for each feature that an earlier version may not have: left out where ``check`` refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSpec:
    """A workflow with the workflows that it uses, its input, and what of its end is not determined."""

    number: int
    spec: dict[str, Any]
    library: dict[str, dict[str, Any]]
    given: dict[str, bool]
    ending: str
    free: frozenset[str]
    """Top-level steps whose status and value may differ from run to run."""

    @property
    def loose(self) -> bool:
        """Whether a failure cuts off work beside it, so that only the failure itself is determined."""
        return self.ending == "fails amid"


def random_spec(seed: int, number: int, features: frozenset[str], sound: Callable[[RandomSpec], bool]) -> RandomSpec:
    """The workflow of that number; of those drawn the first that the checks pass."""
    for attempt in range(1000):
        made = _Drawing(random.Random(f"{seed}/{number}/{attempt}"), features).whole(number)
        if sound(made):
            return made
    raise AssertionError(f"no sound workflow in a thousand: seed {seed}, number {number}")


@dataclass
class _Drawing:
    chance: random.Random
    features: frozenset[str]
    library: dict[str, dict[str, Any]] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)

    def whole(self, number: int) -> RandomSpec:
        endings = [each for each in ENDINGS if each != "cancelled" or "cancel" in self.features]
        ending = self.chance.choice(endings)
        nodes = self.scope("n", 2, (), self.chance.randint(2, 7), shape="any")
        if "cancel_rest" in self.features and self.happens(0.2):
            self.race(nodes)
        if ending == "fails amid":
            self.break_one(nodes)
        elif ending != "completes":
            self.last(nodes, ending)
        spec = self.document("killed", nodes)
        for block, share in (("on_failure", 0.7), ("finally", 0.5)):
            if block in self.features and self.happens(share):
                spec[block] = {"nodes": self.block(block)}
        given = {flag: self.happens(0.5) for flag in FLAGS}
        free = frozenset(self.free)
        return RandomSpec(number=number, spec=spec, library=self.library, given=given, ending=ending, free=free)

    def happens(self, share: float) -> bool:
        return self.chance.random() < share

    def document(self, name: str, nodes: Steps) -> dict[str, Any]:
        output = {step: READS["guard"].format(step) for step in nodes if step not in self.free}
        return {
            "cogwork": "v1",
            "name": name,
            "input": dict.fromkeys(FLAGS, "boolean"),
            "nodes": nodes,
            "output": output or 1,
        }

    # -- scopes ----------------------------------------------------------------------------------------------------

    def scope(self, mark: str, depth: int, outer: tuple[str, ...], most: int, shape: str) -> Steps:
        """Steps with edges from earlier to later ones; in a ``chain`` each waits for the one before."""
        names = [f"{mark}{index}" for index in range(most)]
        return {
            name: self.step(name, names[:index], names[index + 1 :], depth, outer, shape)
            for index, name in enumerate(names)
        }

    def step(
        self, name: str, earlier: list[str], later: list[str], depth: int, outer: tuple[str, ...], shape: str
    ) -> dict[str, Any]:
        kinds = ["tool"] * 8 + ["transform"] * 2 + ["human"] * 2
        kinds += ["condition"] * 2 if later and shape != "chain" else []
        kinds += ["for_each", "repeat", "use"] if depth else []
        kinds += ["agent"] * 2 if "agent" in self.features else []
        kind = self.chance.choice(kinds)
        made: dict[str, Any] = {}
        if shape == "chain":
            parents = earlier[-1:]
        else:
            parents = self.chance.sample(earlier, min(len(earlier), self.chance.choice([0, 1, 1, 1, 2, 3])))
        if len(parents) > 1 and kind not in ("for_each", "repeat") and self.happens(0.3):
            made["join"] = self.chance.choice(
                ["all", "any", "always", {"at_least": self.chance.randint(1, len(parents))}]
            )
        elif parents and shape == "chain":
            made["join"] = "always"
        reads: list[tuple[str, str]] = []
        order: list[str] = []
        for parent in parents:
            reading = kind in ("tool", "transform") and "join" not in made and self.happens(0.5)
            (reads.append((parent, self.chance.choice(["need", "guard"]))) if reading else order.append(parent))
        if outer and kind in ("tool", "transform") and self.happens(0.3):
            reads.append((self.chance.choice(outer), "guard"))
        if order:
            made["depends_on"] = order
        if self.happens(0.15):
            made["when"] = f"input.{self.chance.choice(FLAGS)}"
        value = [name, *(READS[manner].format(each) for each, manner in reads)]
        return made | self.kind(kind, name, value, earlier, later, depth, outer, shape)

    def kind(
        self,
        kind: str,
        name: str,
        value: list[str],
        earlier: list[str],
        later: list[str],
        depth: int,
        outer: tuple[str, ...],
        shape: str,
    ) -> dict[str, Any]:
        match kind:
            case "tool":
                return self.tool(name, value, later if shape != "chain" else [], inside=shape == "chain")
            case "transform":
                return {"type": "transform", "set": value}
            case "agent":
                return self.agent(name)
            case "human":
                return {"type": "human", "ask": f"What about {name}?", "form": {"n": "integer"}}
            case "condition":
                cases = [{"if": f"input.{f}", "then": self.targets(later)} for f in self.chance.sample(FLAGS, 2)]
                otherwise = {"else": self.targets(later)} if self.happens(0.5) else {}
                return {"type": "condition", "match": self.chance.choice(["first", "all"]), "cases": cases, **otherwise}
        visible = () if kind == "use" else (*outer, *(earlier if shape != "chain" else ()))
        inner = self.chance.choice(["any", "chain"])
        body = self.scope(f"{name}_", depth - 1, visible, self.chance.randint(1, 3), inner)
        if kind == "use":
            self.library[name] = self.document(name, body)
            given = {flag: f"{{{{ input.{flag} }}}}" for flag in FLAGS}
            return {"use": name, "with": given, "on_error": "skip" if inner == "chain" else "fail"}
        output = {step: READS["guard"].format(step) for step in body}
        if kind == "for_each":
            broken = self.chance.choice(["skip", "collect"])
            many = {"for_each": list(range(self.chance.randint(0, 3))), "max_parallel": self.chance.randint(1, 3)}
            return {**many, "on_item_error": broken, "nodes": body, "output": output}
        laps = self.chance.randint(1, 3)
        again = {"max_iterations": laps + 1, "until": f"iteration + 1 >= {laps}", "on_exhausted": "keep"}
        return {"repeat": again, "nodes": body, "output": output, "on_error": "skip" if inner == "chain" else "fail"}

    def targets(self, later: list[str]) -> list[str]:
        return self.chance.sample(later, min(len(later), self.chance.randint(1, 2)))

    # -- tools -----------------------------------------------------------------------------------------------------

    def effect(self) -> str:
        writes = ["kills.once"] * 4 if "record" in self.features else []
        return self.chance.choice([*writes, "kills.keyed", "kills.keyed", "kills.look"])

    def tool(self, name: str, value: list[str], later: list[str], *, inside: bool) -> dict[str, Any]:
        """A call: it works at once, after some faults, not at all, or leaves in doubt whether it worked."""
        tool = self.effect()
        args: dict[str, Any] = {"value": value, "turns": self.chance.choice([0, 0, 1, 3])}
        step: dict[str, Any] = {"type": "tool", "tool": tool, "args": args}
        fate = self.chance.random()
        if fate < 0.2:
            args |= {"fault": self.chance.choice(["unavailable", "rate_limited"]), "faults": self.chance.randint(1, 2)}
            step["retry"] = {"max_attempts": 9, "backoff": 0.001, "jitter": False}
        elif fate < 0.3 and tool != "kills.look":
            args |= {"fault": "connection", "faults": 1, "lost": self.happens(0.5)}
            step["retry"] = {"max_attempts": 9, "backoff": 0.001, "jitter": False}
        elif fate < 0.45:
            args |= {"fault": "tool_error", "faults": 99}
            if "fallback" in self.features and self.happens(0.5):
                step["fallback"] = [{"tool": self.effect(), "args": {"value": [name, "instead"]}}]
            elif later and self.happens(0.5):
                step["on_error"] = {"then": self.chance.choice(later)}
            elif not inside or self.happens(0.5):
                step["on_error"] = "skip"
        if "undo" in self.features and tool != "kills.look" and self.happens(0.5):
            back = self.chance.choice(["kills.unsend", "kills.unsend", "kills.takeback"])
            step["undo"] = {"tool": back, "args": {"value": f"{{{{ {name} | default: null }}}}"}}
            if self.happens(0.2):
                step["undo"] |= {
                    "args": {"value": name, "fault": "tool_error", "faults": 99},
                    "retry": {"max_attempts": 1},
                }
        return step

    def agent(self, name: str) -> dict[str, Any]:
        """A model that makes planned calls, some of which fail, are in doubt or wait for a person."""
        turns = [
            [self.wanted(name, turn, n) for n in range(self.chance.randint(1, 3))]
            for turn in range(self.chance.randint(0, 2))
        ]
        return {
            "type": "llm",
            "model": "planned",
            "prompt": f"{PLAN}{json.dumps(turns)}",
            "tools": ["kills.once", "kills.keyed", "kills.look"],
            "approve": {"kills.once": self.chance.choice(["allow", "ask"]), "kills.*": "allow"},
        }

    def wanted(self, name: str, turn: int, number: int) -> tuple[str, dict[str, Any]]:
        args: dict[str, Any] = {"value": [name, turn, number], "turns": self.chance.choice([0, 0, 1, 3])}
        tool = self.effect()
        if self.happens(0.15):
            args |= {"fault": "tool_error", "faults": 99}
        elif self.happens(0.1) and tool != "kills.look":
            # A model's call is not retried, so one that a kill makes come again has to fail as it did before it.
            once, lost = tool == "kills.once", self.happens(0.5)
            args |= {"fault": "connection", "faults": 1 if once else 99, "lost": once and lost}
        return tool.replace(".", "_"), args

    # -- ends ------------------------------------------------------------------------------------------------------

    def race(self, nodes: Steps) -> None:
        """Two steps of which one is enough."""
        for name in ("ra", "rb"):
            args = {"value": name, "turns": self.chance.randint(0, 20)}
            nodes[name] = {"type": "tool", "tool": self.effect(), "args": args}
            self.free.add(name)
        nodes["r"] = {
            "type": "transform",
            "set": "over",
            "depends_on": ["ra", "rb"],
            "join": "any",
            "cancel_rest": True,
        }

    def break_one(self, nodes: Steps) -> None:
        """A step that fails with nobody minding, while others may be at work."""
        name = self.chance.choice([name for name in nodes if name not in ("ra", "rb", "r")])
        kept = {key: nodes[name][key] for key in ("depends_on",) if key in nodes[name]}
        args = {"value": name, "fault": "tool_error", "faults": 99, "turns": self.chance.randint(0, 5)}
        nodes[name] = {
            **kept,
            "type": "tool",
            "tool": "kills.keyed",
            "args": args,
            "join": "always" if kept else "default",
        }

    def last(self, nodes: Steps, ending: str) -> None:
        """A step after all others: one that fails, or a question at which the run is cancelled."""
        step: dict[str, Any] = {"depends_on": [name for name in nodes if name not in ("ra", "rb")], "join": "always"}
        if ending == "cancelled":
            nodes["last"] = {**step, "type": "human", "ask": "Stop?"}
        else:
            args = {"value": "last", "fault": "tool_error", "faults": 99}
            nodes["last"] = {**step, "type": "tool", "tool": "kills.keyed", "args": args}

    def block(self, name: str) -> Steps:
        """What runs after the workflow's own steps."""
        mark = "f" if name == "on_failure" else "z"
        return {
            f"{mark}{index}": {
                "type": "tool",
                "tool": self.effect(),
                "args": {"value": [mark, index]},
                **({"depends_on": [f"{mark}{index - 1}"]} if index else {}),
            }
            for index in range(self.chance.randint(1, 2))
        }
