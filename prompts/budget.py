"""A prompt fitted into a number of tokens: what may give way does, the least important first, and it is said what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prompts.shortening import Shortening
from prompts.substitution import readable
from state.services import Shortened, Variable
from state.values import Json

Count = Callable[[str], int]
Fill = Callable[[Mapping[str, Json]], int]
"""How many tokens the whole prompt has with these values."""


@dataclass(slots=True)
class Fitting:
    """The values of a prompt's variables on their way into a budget; ``values`` and ``shortened`` are the result."""

    variables: tuple[Variable, ...]
    values: dict[str, Json]
    count: Count
    shortened: dict[str, Shortened] = field(default_factory=dict)

    def to_most(self) -> None:
        """Shorten each variable to the most that it may have, whatever room there is."""
        for variable in self.variables:
            most = variable.cut.most if variable.cut is not None else None
            if most is not None:
                self._shorten(variable, _within(self.count, most))

    def to_budget(self, budget: int, whole: Fill) -> int:
        """Shorten what has a priority, the lowest first, until the whole has at most ``budget`` tokens; how many it has.

        More than ``budget`` where everything that may give way has: it stays for the caller to refuse.
        """
        for variable in _by_priority(self.variables):
            if whole(self.values) <= budget:
                break
            self._shorten(variable, lambda value, v=variable: whole({**self.values, v.name: value}) <= budget)  # type: ignore[misc]
        return whole(self.values)

    def _shorten(self, variable: Variable, fits: Callable[[Json], bool]) -> None:
        value, cut = self.values.get(variable.name), variable.cut
        if cut is None or not isinstance(value, str | list) or not value or fits(value):
            return
        ways = Shortening(value, cut.keep)
        size = ways.largest(fits, self._least(ways, cut.least))
        if size >= len(ways):
            return
        self.values[variable.name] = ways.at(size)
        self._note(variable.name, value, ways.told(size))

    def _least(self, ways: Shortening, tokens: int) -> int:
        """The smallest size with at least so many tokens."""
        if tokens <= 0:
            return 0
        less = ways.largest(lambda value: self.count(readable(value)) < tokens)
        return less if self.count(readable(ways.at(less))) >= tokens else min(less + 1, len(ways))

    def _note(self, name: str, before: Json, how: str) -> None:
        dropped = self.count(readable(before)) - self.count(readable(self.values[name]))
        earlier = self.shortened.get(name)
        whole = dropped + (earlier.dropped if earlier is not None else 0)
        told = f"{earlier.how}; then {how}" if earlier is not None else how
        self.shortened[name] = Shortened(variable=name, dropped=max(whole, 0), how=told)


def _within(count: Count, most: int) -> Callable[[Json], bool]:
    return lambda value: count(readable(value)) <= most


def _by_priority(variables: Iterable[Variable]) -> Iterator[Variable]:
    """Those that may give way: the lowest priority first, of equal ones the later declared."""
    ranked = [(v.cut.priority, -place, v) for place, v in enumerate(variables) if v.cut and v.cut.priority is not None]
    yield from (variable for _, _, variable in sorted(ranked, key=lambda each: each[:2]))
