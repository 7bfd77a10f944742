"""When each step runs, as a formula over the conditions and failures that decide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphs.analysis.plan import PlannedStep, Scope
from graphs.analysis.rules.choices import field_formula, selections
from graphs.analysis.rules.logic import FALSE, TRUE, Formula, Logic, TooHard
from graphs.analysis.rules.subject import Subject
from nodes.base import AtLeast, Then
from nodes.condition import ConditionNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What must hold for a step: to be considered at all, to be started, to be done, to be lost by a failure.

    Only runs that do not fail are meant. ``known`` has the bit of every step that is done whenever this one is.
    """

    joined: Formula
    started: Formula
    done: Formula
    lost: Formula
    known: int


class Presences:
    """The presence of every step of a plan, by SEMANTICS, "When a node runs"."""

    def __init__(self, subject: Subject) -> None:
        self.logic = Logic()
        self.of: dict[str, Presence] = {}
        self.within: dict[str, Formula] = {}
        """By scope id, when the scope is opened."""
        self._selections: dict[str, dict[str, Formula]] = {}
        self._subject = subject
        self._steps = subject.plan.steps
        self._fails = any(isinstance(step.step.on_error, Then) for step in self._steps.values())
        self._bits: Final = {step_id: 1 << index for index, step_id in enumerate(self._steps)}
        self._scope(subject.plan.scopes[""], TRUE, 0)

    def implied(self, given: Formula, step_id: str) -> bool:
        """Whether a step is surely done where ``given`` holds; no where that is too hard to tell."""
        try:
            return self.logic.implies(given, self.of[step_id].done)
        except TooHard:
            return False

    def certain(self, step: PlannedStep, other: str) -> bool:
        """Whether ``other`` is surely done whenever ``step`` is."""
        return bool(self.of[step.id].known & self._bits[other]) or self.implied(self.of[step.id].done, other)

    def before(self, step: PlannedStep) -> Formula:
        """What holds whenever the fields of a step are evaluated, leaving aside that it requires what they refer to."""
        try:
            return self.logic.all((self.of[step.id].joined, self._when(step)))
        except TooHard:
            return TRUE

    def _scope(self, scope: Scope, opened: Formula, known: int) -> None:
        self.within[scope.id] = opened
        for member in self._subject.members(scope):
            try:
                self.of[member.id] = self._presence(member, opened, known)
            except TooHard:
                self.of[member.id] = self._opaque(member)
            body = self._subject.body(member)
            if body is not None:
                found = self.of[member.id]
                self._scope(body, found.started, found.known & ~self._bits[member.id])
        for holder in scope.stages.values():
            self.of[holder] = Presence(joined=TRUE, started=TRUE, done=TRUE, lost=FALSE, known=self._bits[holder])
            self._scope(self._subject.plan.scopes[holder], TRUE, 0)

    def _opaque(self, step: PlannedStep) -> Presence:
        """Nothing is known of the step but that it may run or not."""
        free = self.logic.variable((step.id, "runs"))
        return Presence(joined=TRUE, started=free, done=free, lost=FALSE, known=self._bits[step.id])

    def _standing_in(self, step: PlannedStep) -> Presence:
        """A step that runs inside another one's work, when that has failed otherwise."""
        served = self.of[step.stands_in]
        serves = self.logic.all((served.started, self.logic.variable((step.id, "serves"))))
        return Presence(joined=served.started, started=serves, done=serves, lost=FALSE, known=self._bits[step.id])

    def _presence(self, step: PlannedStep, opened: Formula, known: int) -> Presence:
        if step.stands_in:
            return self._standing_in(step)
        all_, any_ = self.logic.all, self.logic.any
        chosen = any_(self._selected(selector, step) for selector in step.selectors) if step.selectors else TRUE
        parents = {parent: self._counts(parent, step) for parent in step.parents}
        joined = all_((opened, chosen, self._joined(step, parents)))
        required, known = self._required(step, known)
        started = all_((joined, required, self._when(step)))
        fine = TRUE if step.step.on_error == "fail" else self.logic.variable((step.id, "succeeds"))
        lost = self._lost(step, chosen, parents, started, fine) if self._fails else FALSE
        return Presence(
            joined=joined,
            started=started,
            done=all_((started, fine)),
            lost=lost,
            known=known | self._certain(step) | self._bits[step.id],
        )

    def _when(self, step: PlannedStep) -> Formula:
        """When ``when`` holds; a step that is switched off by a literal counts as one that may run."""
        if step.step.when is None:
            return TRUE
        found = field_formula(self.logic, step, "/when")
        return found if found != FALSE else self.logic.variable((step.id, "/when"))

    def _selected(self, selector: str, step: PlannedStep) -> Formula:
        """When one condition or failing step chooses the step."""
        other, found = self._steps[selector], self.of[selector]
        ways = []
        if isinstance(other.step.on_error, Then) and other.step.on_error.then == step.name:
            ways.append(self.logic.all((found.started, self.logic.no(found.done))))
        if isinstance(other.step, ConditionNode):
            if selector not in self._selections:
                self._selections[selector] = selections(self.logic, other)
            ways.append(self.logic.all((found.done, self._selections[selector].get(step.name, FALSE))))
        return self.logic.any(ways)

    def _counts(self, parent: str, step: PlannedStep) -> Formula:
        """When a parent counts as done for a join: also when it chose the step by failing."""
        done = self.of[parent].done
        return self.logic.any((done, self._selected(parent, step))) if parent in step.selectors else done

    def _joined(self, step: PlannedStep, parents: dict[str, Formula]) -> Formula:
        join = step.step.join
        if not parents or join == "always":
            return TRUE
        if join == "all":
            return self.logic.all(parents.values())
        if isinstance(join, AtLeast):
            return self.logic.at_least(join.at_least, parents.values()) if join.at_least <= len(parents) else FALSE
        done = self.logic.any(reversed(parents.values()))
        if join == "any" or not self._fails:
            return done
        return self.logic.all((done, self.logic.no(self._blocking(step, parents))))

    def _blocking(self, step: PlannedStep, parents: dict[str, Formula]) -> Formula:
        """When a parent was lost by a failure and did not choose the step by it."""
        return self.logic.any(
            self.logic.all((self.of[parent].lost, self.logic.no(counts))) for parent, counts in parents.items()
        )

    def _required(self, step: PlannedStep, known: int) -> tuple[Formula, int]:
        """That all whose value is required are done; and which steps are known to be done then."""
        formula = TRUE
        needed = [*step.outer_required, *(parent for parent, required in step.parents.items() if required)]
        for parent in sorted(needed, key=lambda p: self._bits[p], reverse=True):
            if not known & self._bits[parent]:
                formula = self.logic.all((formula, self.of[parent].done))
                known |= self.of[parent].known
        return formula, known

    def _certain(self, step: PlannedStep) -> int:
        """The steps that are done before, because the join or the choice leaves no other way."""
        known = 0
        if step.step.join == "all" or (step.step.join != "always" and len(step.parents) == 1):
            for parent in step.parents:
                known |= self.of[parent].known if parent not in step.selectors else 0
        if len(step.selectors) == 1 and not isinstance(self._steps[step.selectors[0]].step.on_error, Then):
            known |= self.of[step.selectors[0]].known
        return known

    def _lost(
        self, step: PlannedStep, chosen: Formula, parents: dict[str, Formula], started: Formula, fine: Formula
    ) -> Formula:
        """When the step fails and leads elsewhere, or is skipped because of such a failure: the cause is asked of what it
        requires first, then of its join, as the runtime does."""
        logic = self.logic
        ways = []
        if isinstance(step.step.on_error, Then):
            ways.append(logic.all((started, logic.no(fine))))
        needed = [self.of[parent] for parent, required in step.parents.items() if required]
        causes = [found.lost for found in needed]
        given = logic.all(found.done for found in needed)
        for found in (self.of[parent] for parent in step.outer_required):
            causes.append(logic.all((given, found.lost)))
            given = logic.all((given, found.done))
        if step.step.join != "always":
            causes.append(logic.all((given, self._blocking(step, parents), logic.no(self._joined(step, parents)))))
        ways.append(logic.all((chosen, logic.any(causes))))
        if step.selectors:
            undone = logic.no(logic.any(self.of[s].done for s in step.selectors))
            ways.append(logic.all((logic.no(chosen), undone, logic.any(self.of[s].lost for s in step.selectors))))
        return logic.any(ways)
