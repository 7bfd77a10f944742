"""What is known of a model, for people and programs that choose one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cogwork.breaker import BreakerState
from state.services import Price
from state.values import Json

ModelState: TypeAlias = Literal["ready", "loaded", "unusable"]
"""``loaded`` has its client in memory; ``unusable`` has a ``problem``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model; None where nobody has said.

    ``served``  whether its endpoint lists it, once that was asked (``warm``) and where the endpoint lists anything
    ``used_as`` ``default`` and the modes that choose it
    """

    name: str
    endpoint: str
    state: ModelState
    breaker: BreakerState = "closed"
    problem: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] | None = None
    price: Price | None = None
    served: bool | None = None
    used_as: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """The same as plain JSON."""
        price = self.price
        return {
            "name": self.name,
            "endpoint": self.endpoint,
            "state": self.state,
            "breaker": self.breaker,
            "problem": self.problem,
            "context_length": self.context_length,
            "max_output_tokens": self.max_output_tokens,
            "capabilities": None if self.capabilities is None else list(self.capabilities),
            "price": None if price is None else {n: v for n, v in price._asdict().items() if v is not None},
            "served": self.served,
            "used_as": list(self.used_as),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth:
    """What an endpoint said when it was warmed: whether it lists the model, and how long its context is."""

    seconds: float
    served: bool | None = None
    context_length: int | None = None
