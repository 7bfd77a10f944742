"""The tree of choices that a simulation walks: each run picks one option at every point, until all are picked."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")
_INDEX: Final = re.compile(r"\[\d+\]")
Option: TypeAlias = tuple[str, int]
"""A point and what was chosen there."""
_ENDS: Final = ".!#%~?|["
MOST_PAIRED: Final = 60
"""How many choices back a pair may reach."""
MOST_OF_ONE: Final = 6
"""So many times in one run a point is chosen anew, counting all items and iterations; then its last choice stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One choice: the point, the option and how many there were; ``label`` tells the option to people."""

    key: str
    option: int
    of: int
    label: str
    aside: int = 0
    """The number of options, where the choice decides nothing further; ``of`` is 1 then."""

    @property
    def place(self) -> str:
        """The point without the indexes of items and iterations."""
        return _INDEX.sub("", self.key)


@dataclass(frozen=True, slots=True)
class _Left:
    """A run that is left: its first choices by key, and the same in order, without indexes."""

    planned: dict[str, int]
    options: tuple[Option, ...]
    aside: bool = False
    """Whether its last choice decides nothing, so that it need not be done once that option was taken elsewhere."""


class Choices:
    """The choices of one run: ``planned`` ones by key, of the others those that no run has tried yet first."""

    def __init__(self, planned: Mapping[str, int], tried: set[tuple[str, int]]) -> None:
        self.planned, self.tried = planned, tried
        self.taken: list[Pick] = []
        self.stuck_to: set[str] = set()
        """Points that were asked for too often in this run to be chosen anew each time."""
        self._known: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def pick(self, key: str, options: Sequence[T], labels: Sequence[str] = (), *, most: int = MOST_OF_ONE) -> T:
        """One of the options; asked for again under the same key, the same one."""
        if len(options) == 1:
            return options[0]
        if key in self._known:
            return options[min(self._known[key], len(options) - 1)]
        place = _INDEX.sub("", key)
        self._counts[place] += 1
        if self._counts[place] > most and place in self._last:
            self.stuck_to.add(place)
            index, of = min(self._last[place], len(options) - 1), 1
        else:
            index, of = self._chosen(key, place, len(options)), len(options)
        self._note(key, index, of, labels[index] if labels else str(options[index]))
        return options[index]

    def aside(self, key: str, options: Sequence[T], labels: Sequence[str]) -> T:
        """One of the options where that decides nothing further: each is taken in some run, and not with all others."""
        if key not in self._known:
            place = _INDEX.sub("", key)
            index = next((i for i in range(len(options)) if (place, i) not in self.tried), 0)
            self._note(key, self.planned.get(key, index), 1, labels[self.planned.get(key, index)], len(options))
        return options[self._known[key]]

    def _chosen(self, key: str, place: str, count: int) -> int:
        if key in self.planned:
            return min(self.planned[key], count - 1)
        return next((i for i in range(count) if (place, i) not in self.tried), 0)

    def _note(self, key: str, index: int, of: int, label: str, aside: int = 0) -> None:
        made = Pick(key=key, option=index, of=of, label=label, aside=aside)
        self._known[key] = self._last[made.place] = index
        self.tried.add((made.place, index))
        self.taken.append(made)


class Tree:
    """All choices of all runs: what was tried, and the runs that are left.

    First come runs with an option never tried, or with options that some decision reads together and that never stood
    together (``groups``: the sources of each decision); then pairs of options that never stood together; then the rest.
    """

    def __init__(self, groups: Iterable[Collection[str]] = ()) -> None:
        self.tried: set[tuple[str, int]] = set()
        self.stuck_to: set[str] = set()
        self._groups = [frozenset(group) for group in groups if len(group) > 1]
        self._sources = sorted({source for group in self._groups for source in group}, key=len, reverse=True)
        self._member: dict[str, list[int]] = {}
        self._seen: set[tuple[int, frozenset[Option]]] = set()
        self._pairs: set[frozenset[Option]] = set()
        self._fresh: deque[_Left] = deque()
        self._paired: deque[_Left] = deque()
        self._rest: list[_Left] = [_Left({}, ())]

    @property
    def exhausted(self) -> bool:
        """Whether no run is left."""
        if not (self._paired or self._rest):
            self._fresh = deque(left for left in self._fresh if not left.aside or self._is_new(left))
        return not (self._fresh or self._paired or self._rest)

    def next(self) -> Choices:
        """The choices of the next run; there must be one left."""
        while self._fresh:
            left = self._fresh.popleft()
            if self._is_new(left):
                return Choices(left.planned, self.tried)
            if not left.aside:
                self._paired.append(left)
            elif self.exhausted:
                return Choices(left.planned, self.tried)
        while self._paired:
            left = self._paired.popleft()
            if any(
                frozenset((option, left.options[-1])) not in self._pairs for option in left.options[-MOST_PAIRED:-1]
            ):
                return Choices(left.planned, self.tried)
            self._rest.append(left)
        return Choices(self._rest.pop().planned, self.tried)

    def ran(self, choices: Choices) -> None:
        """A run has ended: the runs that differ from it in one of its free choices are left to do."""
        self.stuck_to |= choices.stuck_to
        self._remember([(pick.place, pick.option) for pick in choices.taken if pick.of > 1])
        before: dict[str, int] = {}
        options: tuple[Option, ...] = ()
        for pick in choices.taken:
            if pick.of == 1:
                self._leave_aside(pick, before, options)
                continue
            if pick.key not in choices.planned:
                for option in range(pick.of):
                    if option != pick.option:
                        left = _Left({**before, pick.key: option}, (*options, (pick.place, option)))
                        self._fresh.append(left)
            before[pick.key] = pick.option
            options = (*options, (pick.place, pick.option))

    def _leave_aside(self, pick: Pick, before: dict[str, int], options: tuple[Option, ...]) -> None:
        for option in range(pick.aside):
            if (pick.place, option) not in self.tried:
                left = _Left({**before, pick.key: option}, (*options, (pick.place, option)), aside=True)
                self._fresh.append(left)

    def _is_new(self, left: _Left) -> bool:
        if left.options[-1] not in self.tried:
            return True
        if left.aside:
            return False
        return any(key not in self._seen for key in self._projections(left.options))

    def _projections(self, options: Sequence[Option]) -> Iterator[tuple[int, frozenset[Option]]]:
        """For each decision that reads the last option, it and those before it that the decision reads as well."""
        for group in self._groups_of(options[-1][0]):
            yield group, frozenset(option for option in options if group in self._groups_of(option[0]))

    def _remember(self, options: list[Option]) -> None:
        for end in range(1, len(options) + 1):
            self._seen.update(self._projections(options[:end]))
            self._pairs.update(
                frozenset((other, options[end - 1])) for other in options[max(0, end - MOST_PAIRED) : end - 1]
            )

    def _groups_of(self, place: str) -> list[int]:
        """The decisions that read the value which is chosen at a place."""
        if place not in self._member:
            source = next(
                (s for s in self._sources if place == s or (place.startswith(s) and place[len(s)] in _ENDS)), None
            )
            self._member[place] = [i for i, group in enumerate(self._groups) if source in group]
        return self._member[place]
