"""What a run may use, and what it has used: working time, steps, tokens and money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from graphs.language.spec import Limits
from graphs.runtime.frames import Record
from graphs.runtime.run import Run
from state.services import Services
from state.usage import billed
from state.values import Json

TIMEOUT: Final = "timeout"
_UNITS: Final = {
    TIMEOUT: ("worked for {:.1f} s", "{:g} s"),
    "max_steps": ("made {:,} calls to models and tools", "{:,}"),
    "max_tokens": ("used {:,} tokens", "{:,}"),
    "max_cost_usd": ("spent {:.4f} USD", "{:g} USD"),
}


class Budget:
    """The limits of one run, those of the spec or raised since, and its use of them.

    Working time counts from call to call, rests left out; ``clock`` gives seconds.
    """

    def __init__(self, limits: Limits, about: Record, run: Run, clock: Callable[[], float]) -> None:
        raised = about.get("limits") or {}
        self.limits: dict[str, float] = {
            name: value
            for name in _UNITS
            if (value := raised.get(name, getattr(limits, name))) is not None and value > 0
        }
        self.run, self._clock, self._begun = run, clock, clock()
        self._before = float(about.get("worked") or 0)
        self._apart: Record = about.get("before") or {}
        self.tokens, self.cost = _sums(record.get("usage") for record in run.records.values())

    @property
    def timed(self) -> bool:
        """Whether the working time is limited."""
        return TIMEOUT in self.limits

    @property
    def worked(self) -> float:
        """Seconds of work so far."""
        return self._before + self._clock() - self._begun

    def spend(self, usage: Mapping[str, Json]) -> None:
        """Count what a finished step has used."""
        tokens, cost = _sums([usage])
        self.tokens, self.cost = self.tokens + tokens, self.cost + cost

    def raise_to(self, limits: Mapping[str, Json]) -> None:
        """Replace some of the limits."""
        self.limits |= limits

    def sums(self) -> dict[str, float]:
        """What the steps in the checkpoint have used, those of the run that this one is a fork of among them."""
        return {"max_steps": self.run.started, "max_tokens": self.tokens, "max_cost_usd": self.cost}

    def used(self, name: str) -> float:
        """How much of the limit ``name`` is used."""
        return self.worked if name == TIMEOUT else self.sums()[name] - self._apart.get(name, 0)

    def reached(self) -> str | None:
        """The name of the first limit that is used up."""
        return next((name for name, limit in self.limits.items() if self.used(name) >= limit), None)

    def question(self, run_id: str, name: str) -> Record:
        """What a person is asked when the limit ``name`` is used up: to raise it."""
        used, limit = self.used(name), self.limits[name]
        did, unit = _UNITS[name]
        whole = name in ("max_steps", "max_tokens")
        field: Record = {"type": "integer", "minimum": int(used) + 1} if whole else {"type": "number"}
        if not whole:
            field["exclusiveMinimum"] = round(used, 6)
        field["description"] = f"The new limit; it was {unit.format(int(limit) if whole else limit)}."
        return {
            "run": run_id,
            "kind": "budget",
            "at": "run",
            "limit": name,
            "ask": f"The run has {did.format(used)} and rests at its limit. Raise {name} to go on.",
            "form": {
                "type": "object",
                "properties": {name: field},
                "required": [name],
                "additionalProperties": False,
            },
        }


def priced(services: Services, usage: Mapping[str, Json]) -> dict[str, Json]:
    """The usage with ``cost_usd``, where the model's price is known and the provider has not said what it cost."""
    model = str(usage.get("model") or "")
    if not model or "cost_usd" in usage:
        return dict(usage)
    return billed(usage, model, services.models.price(model))


def _sums(usages: Iterable[Json]) -> tuple[int, float]:
    tokens, cost = 0, 0.0
    for usage in usages:
        if isinstance(usage, Mapping):
            tokens += int(usage.get("total_tokens") or 0)
            cost += float(usage.get("cost_usd") or 0)
    return tokens, cost
