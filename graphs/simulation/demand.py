"""What the workflow's decisions ask of a value: the constants that it is compared with, and the fields that are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from state.values import Json

Operator: TypeAlias = Literal["==", "<", "<=", ">", ">=", "size", "truth", "contains"]
"""``!=`` asks what ``==`` asks; ``size`` compares the length; ``contains`` looks for an element or a part of a text."""
Path: TypeAlias = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison with a constant, which is kept as JSON text so that true is not 1."""

    operator: Operator
    text: str

    @property
    def constant(self) -> Json:
        """The constant."""
        return json.loads(self.text)


def test(operator: Operator, constant: Json) -> Test:
    """A comparison with a constant."""
    return Test(operator, json.dumps(constant))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How an expression uses a value.

    ``decisive``: what runs depends on it. ``opaque``: it is compared with something that is no constant, so that values
    which the tests do not tell apart may differ all the same. ``absent``: the expression provides for its absence.
    """

    tests: frozenset[Test] = frozenset()
    decisive: bool = False
    opaque: bool = False
    absent: bool = False

    def also(self, *tests: Test, opaque: bool = False, absent: bool = False) -> Use:
        """The use with more known of it."""
        return replace(self, tests=self.tests | set(tests), opaque=self.opaque or opaque, absent=self.absent or absent)

    def only(self, *tests: Test, opaque: bool = False) -> Use:
        """A use that decides as much, by these tests."""
        return Use(tests=frozenset(tests), decisive=self.decisive, opaque=opaque)


@dataclass(slots=True, kw_only=True)
class Demand:
    """All uses of one value and of its parts."""

    tests: set[Test] = field(default_factory=set)
    decisive: bool = False
    opaque: bool = False
    absent: bool = False
    fields: dict[str, Demand] = field(default_factory=dict)
    items: Demand | None = None

    def at(self, path: Iterable[str | int | None]) -> Demand:
        """The part at a path; an index, known or not, leads to the items."""
        part = self
        for key in path:
            if isinstance(key, str):
                part = part.fields.setdefault(key, Demand())
            else:
                part.items = part.items or Demand()
                part = part.items
        return part

    def take(self, use: Use) -> None:
        """Note one more use."""
        self.tests |= use.tests
        self.decisive |= use.decisive
        self.opaque |= use.opaque
        self.absent |= use.absent

    @property
    def deciding(self) -> bool:
        """Whether the value or any part of it is decisive."""
        inner = [*self.fields.values(), *([self.items] if self.items else [])]
        return self.decisive or any(part.deciding for part in inner)

    def constants(self, *operators: Operator) -> list[Json]:
        """The constants of the tests with these operators (all but sizes without any), each once, in a stable order."""
        wanted = [t for t in self.tests if (t.operator in operators if operators else t.operator != "size")]
        return [json.loads(text) for text in sorted({t.text for t in wanted})]
