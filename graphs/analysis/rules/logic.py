"""Exact propositional logic: formulas as reduced ordered decision diagrams, so that equal formulas are equal numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, TypeAlias

Formula: TypeAlias = int
FALSE: Final[Formula] = 0
TRUE: Final[Formula] = 1
MAX_WORK: Final = 60_000
"""How many diagram nodes are combined for one workflow before the rest is refused."""


class TooHard(Exception):
    """A formula that would take more work than a check may cost."""


class Logic:
    """The formulas of one workflow.

    Variables that come later stand higher in the diagrams: the steps of a workflow add conditions to those of the steps
    before them, so that most formulas are made by setting one node on top of another.
    """

    def __init__(self, limit: int = MAX_WORK) -> None:
        self._nodes: list[tuple[int, Formula, Formula]] = [(-1, FALSE, FALSE), (-1, TRUE, TRUE)]
        self._unique: dict[tuple[int, Formula, Formula], Formula] = {}
        self._variables: dict[Hashable, Formula] = {}
        self._memo: dict[tuple[Formula, Formula, Formula], Formula] = {}
        self._left = limit

    def variable(self, key: Hashable) -> Formula:
        """The variable of that key; one that is true or false independently of all others."""
        if key not in self._variables:
            self._variables[key] = self._node(len(self._variables), FALSE, TRUE)
        return self._variables[key]

    def all(self, formulas: Iterable[Formula]) -> Formula:
        """Every one of them."""
        result = TRUE
        for formula in formulas:
            result = self._combined(result, formula, FALSE)
        return result

    def any(self, formulas: Iterable[Formula]) -> Formula:
        """At least one of them."""
        result = FALSE
        for formula in formulas:
            result = self._combined(result, formula, TRUE)
        return result

    def at_least(self, count: int, formulas: Iterable[Formula]) -> Formula:
        """``count`` of them or more."""
        reached = [TRUE] + [FALSE] * count
        for formula in formulas:
            for number in range(count, 0, -1):
                reached[number] = self.any((reached[number], self.all((reached[number - 1], formula))))
        return reached[count]

    def no(self, formula: Formula) -> Formula:
        """The opposite."""
        memo: dict[Formula, Formula] = {FALSE: TRUE, TRUE: FALSE}
        stack = [formula]
        while stack:
            variable, low, high = self._nodes[stack[-1]]
            missing = [part for part in (low, high) if part not in memo]
            if missing and stack[-1] not in memo:
                stack.extend(missing)
                continue
            current = stack.pop()
            if current not in memo:
                self._spend()
                memo[current] = self._node(variable, memo[low], memo[high])
        return memo[formula]

    def implies(self, one: Formula, other: Formula) -> bool:
        """Whether ``other`` holds wherever ``one`` does."""
        return self._combined(one, other, FALSE) == one

    def holds(self, formula: Formula, true: Callable[[Any], bool]) -> bool:
        """Whether the formula holds where ``true`` says which keys do."""
        keys = list(self._variables)
        while formula > TRUE:
            variable, low, high = self._nodes[formula]
            formula = high if true(keys[variable]) else low
        return formula == TRUE

    def _node(self, variable: int, low: Formula, high: Formula) -> Formula:
        if low == high:
            return low
        key = (variable, low, high)
        if key not in self._unique:
            self._unique[key] = len(self._nodes)
            self._nodes.append(key)
        return self._unique[key]

    def _known(self, one: Formula, other: Formula, absorbing: Formula) -> Formula | None:
        if one == other:
            return one
        if absorbing in (one, other):
            return absorbing
        if one < 2:
            return other
        if other < 2:
            return one
        return self._memo.get((min(one, other), max(one, other), absorbing))

    def _combined(self, one: Formula, other: Formula, absorbing: Formula) -> Formula:
        """Both (``absorbing`` is FALSE) or one of the two (TRUE); without recursion, for diagrams may be deep."""
        stack = [(one, other)]
        while stack:
            f, g = stack[-1]
            if self._known(f, g, absorbing) is not None:
                stack.pop()
                continue
            variable = max(self._nodes[f][0], self._nodes[g][0])
            (f0, f1), (g0, g1) = self._split(f, variable), self._split(g, variable)
            low, high = self._known(f0, g0, absorbing), self._known(f1, g1, absorbing)
            if low is None or high is None:
                stack.append((f0, g0) if low is None else (f1, g1))
                continue
            self._spend()
            self._memo[min(f, g), max(f, g), absorbing] = self._node(variable, low, high)
        found = self._known(one, other, absorbing)
        assert found is not None
        return found

    def _split(self, formula: Formula, variable: int) -> tuple[Formula, Formula]:
        own, low, high = self._nodes[formula]
        return (low, high) if own == variable else (formula, formula)

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooHard
