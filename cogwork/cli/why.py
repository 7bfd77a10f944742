"""Why a step came to what it came to: its record in words, what decided with the values, the chain to the root cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cogwork.cli.deciding import Deciding, brief, step_id
from cogwork.cli.reasons import aftermath, brief_cause, brief_error, brief_status
from cogwork.cli.recorded import asking, by_hand, calls_of, served, times, told, waiting
from graphs.analysis.plan import Plan, PlannedStep
from state.services import Services

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary
    from state.durable import RecordedCall

NO_CALLS: Final[Mapping[str, RecordedCall]] = MappingProxyType({})
DEPTH: Final = 3
"""How far a step that waits is followed to those that it waits for."""
_STAGES: Final = {
    "on_failure": "It belongs to `on_failure`, which runs where the run has failed or was cancelled",
    "finally": "It belongs to `finally`, which runs at the end of every run",
    "undo": "It takes back a step that was done, as the run failed or was cancelled",
}
_ENDED_BADLY: Final = ("failed", "cancelled")


class Case:
    """One run's state and record of calls, asked about its steps.

    Args:
        plan: what the run began with.
        values: its state.
        summary: what it is doing, where that is known.
        calls: its recorded calls, by key.
        services: its tools, to tell writes.
    """

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        *,
        summary: RunSummary | None = None,
        calls: Mapping[str, RecordedCall] = NO_CALLS,
        services: Services | None = None,
    ) -> None:
        self.plan, self.values, self.calls, self.services = plan, values, calls, services
        self.status = summary.status if summary else str(values.get("run", {}).get("status"))
        self.reason, self.thread = (summary.reason, summary.thread) if summary else ("", "")
        self.questions = summary.questions if summary else ()
        self.about: Mapping[str, Any] = self.values.get("run", {})
        self.records: Mapping[str, Mapping[str, Any]] = self.values.get("nodes", {})
        self.deciding = Deciding(self.plan, self.values)

    def planned(self, path: str) -> PlannedStep | None:
        """The step that a path is an instance of."""
        return self.deciding.planned(path)

    def of_run(self) -> list[str]:
        """Lines that say why the run is where it is."""
        is_ = {"failed": "has", "completed": "has", "cancelled": "was"}.get(self.status, "is")
        lines = [f"Run {self.thread} {is_} {brief_status(self.status, self.reason)}."]
        lines += [f"{question['at']}: {question['ask']}" for question in self.questions]
        if error := self.about.get("error"):
            node = str(error.get("node") or "")
            how = "was cancelled" if self.status == "cancelled" and not node else "failed"
            more = self.explanation(node)[1:] if node in self.records else []
            lines += [f"{node or 'The run'} {how}: {brief_error(error)}", *more]
        if self.status == "unfinished":
            lines.append(f"Nobody works on it. Go on with: cogwork resume {self.thread}")
        return [*lines, *(line for line, _ in aftermath(self.about))]

    def explanation(self, path: str) -> list[str]:
        """Lines that say why; the first one is the answer."""
        record, planned = self.records.get(path), self.planned(path)
        if record is None or record.get("status") == "again":
            return [f"{path} has not {'begun' if record is None else 'ended'}.", *self._awaited(path, planned)]
        return [*self._ended(path, record, planned), *self._stage(path), *self._taken_back(path, planned)]

    def _ended(self, path: str, record: Mapping[str, Any], planned: PlannedStep | None) -> list[str]:
        match record.get("status"):
            case "skipped":
                because = brief_cause(record.get("cause"), record.get("error"))
                return [f"{path} was skipped: {because}.", *self._skip(path), *self._standing_in(planned)]
            case "failed":
                return [f"{path} failed: {brief_error(record.get('error'))}", *self._failure(path)]
            case "waiting":
                return waiting(path, record)
            case "cancelled":
                return [f"{path} was cancelled, because {self._cancelled(path, planned)}", *self._told(path)]
            case "open":
                return [
                    f"{path} is at work: {self._items(path)} of its items or rounds are done.",
                    *self._blocked(path),
                ]
            case _:
                return [
                    f"{path} is done{by_hand(record)}.",
                    *times(record),
                    *self._served(path),
                    *self._chosen(path),
                ]

    def _items(self, path: str) -> int:
        return sum(
            1 for p, r in self.records.items() if p.startswith(f"{path}[") and p.endswith("]") and r["status"] == "done"
        )

    # -- blocks ------------------------------------------------------------------------------------------------

    def _awaited(self, path: str, planned: PlannedStep | None) -> Iterator[str]:
        """Why a step has not begun: what it waits for, or why the run does not go on."""
        error = self.about.get("error")
        if error and self.status != "running":
            yield f"It will not: the run failed at {error.get('node')}: {brief_error(error)}"
            return
        if self.status in ("cancelled", "completed", "failed"):
            yield f"It will not: the run has {'been ' if self.status == 'cancelled' else ''}{self.status}."
        if planned is None or self.status in ("cancelled", "completed", "failed"):
            return
        waits = list(self._waits(path, planned, 0))
        yield from waits
        calls = calls_of(path, self.calls)
        yield from told(calls, planned, over=False)
        if not waits:
            yield self._held_up(began=bool(calls))

    def _waits(self, path: str, planned: PlannedStep, depth: int) -> Iterator[str]:
        """The steps that have to end first, each with what holds it up."""
        prefix = path[: len(path) - len(planned.name)]
        for parent in dict.fromkeys([*planned.parents, *planned.selectors]):
            step = self.plan.steps[parent]
            name = prefix + step.name
            record = self.records.get(name, {})
            if record.get("status") in ("done", "skipped", "failed", "cancelled"):
                continue
            inside = [] if name in self.records or depth >= DEPTH else list(self._waits(name, step, depth + 1))
            yield f"{'  ' * depth}It waits for {name}, which {self._doing(name, record, waits=bool(inside))}."
            if question := record.get("question"):
                yield f"{'  ' * depth}  {question.get('ask', '')}"
            yield from inside

    def _doing(self, path: str, record: Mapping[str, Any], *, waits: bool) -> str:
        """What a step that has not ended is doing."""
        match record.get("status"):
            case "waiting":
                return asking(record)
            case "open":
                return f"is at work: {self._items(path)} of its items or rounds are done"
            case _:
                begun = calls_of(path, self.calls)
                if begun:
                    return f"has called {begun[-1].target} and has not ended"
                return "has not begun itself" if waits else f"could begin. {self._held_up(began=False).rstrip('.')}"

    def _held_up(self, *, began: bool) -> str:
        """Why a step that nothing holds back has not ended: what the run as a whole is doing."""
        match self.status:
            case "paused":
                asked = "; ".join(str(question["ask"]).rstrip(".") for question in self.questions)
                return f"The run is {brief_status('paused', self.reason)}{f': {asked}' if asked else ''}."
            case "running":
                return "It is at work right now." if began else "It is at work, or about to begin."
            case _:
                return f"The run was interrupted, and nobody works on it: cogwork resume {self.thread}."

    def _blocked(self, path: str) -> Iterator[str]:
        """What inside an open loop or used workflow asks or has failed."""
        for inner, record in self.records.items():
            if inner.startswith((f"{path}[", f"{path}.")) and record.get("status") == "waiting":
                yield f"{inner} {asking(record)}: {(record.get('question') or {}).get('ask', '')}"

    # -- skips -------------------------------------------------------------------------------------------------

    def _skip(self, path: str) -> Iterator[str]:
        cause = self.records[path].get("cause") or {}
        prefix = path.rpartition(".")[0]
        root = str(cause.get("by", path))
        root = f"{prefix}.{root}" if prefix and f"{prefix}.{root}" in self.records else root
        chain = self._chain(path, root)
        if len(chain) > 2:
            yield "It inherits that: " + " ← ".join(chain) + "."
        match cause.get("reason"):
            case "not_selected":
                yield from self.deciding.choice(root)
            case "when_false":
                yield from self.deciding.evaluated(root, "/when", "when")
            case "upstream_failed" | "error_ignored" if root in self.records:
                yield f"{root}: {brief_error(self.records[root].get('error'))}"
                yield from self._failure(root)
            case _:
                return

    def _chain(self, path: str, root: str) -> list[str]:
        """The skipped steps from ``path`` back to the one where the cause lies."""
        chain, seen = [path], {path}
        while chain[-1] != root:
            planned = self.planned(chain[-1])
            if planned is None:
                return chain
            prefix = chain[-1][: len(chain[-1]) - len(planned.name)]
            parents = [prefix + self.plan.steps[p].name for p in dict.fromkeys([*planned.parents, *planned.selectors])]
            lost = [p for p in parents if p not in seen and (p == root or self._shares(p, chain[-1]))]
            if not lost:
                return chain
            chain.append(root if root in lost else lost[0])
            seen.add(chain[-1])
        return chain

    def _shares(self, one: str, other: str) -> bool:
        mine, others = self.records.get(one, {}), self.records.get(other, {})
        return mine.get("status") == "skipped" and mine.get("cause") == others.get("cause")

    def _standing_in(self, planned: PlannedStep | None) -> Iterator[str]:
        if planned is not None and planned.stands_in:
            yield f"It is a fallback of {planned.stands_in} and runs only where that fails."

    # -- ends --------------------------------------------------------------------------------------------------

    def _chosen(self, path: str) -> Iterator[str]:
        planned = self.planned(path)
        if planned is None:
            return
        if planned.kind == "condition":
            yield from self.deciding.choice(path)
        elif planned.step.when is not None:
            yield from self.deciding.evaluated(path, "/when", "when")
        for selector in planned.selectors:
            yield f"It was chosen by {selector}:"
            yield from self.deciding.choice(path[: len(path) - len(planned.name)] + self.plan.steps[selector].name)

    def _told(self, path: str) -> Iterator[str]:
        return told(calls_of(path, self.calls), self.planned(path), over=True)

    def _served(self, path: str) -> Iterator[str]:
        """Where the value of a step that is done comes from, if not from its own first call, and what its model was told."""
        yield from served(self.records[path])
        yield from self._told(path)

    def _failure(self, path: str) -> Iterator[str]:
        """A failure with its class, what the step was given, and its calls."""
        record = self.records[path]
        error = record.get("error") or {}
        again = " (trying again may help)" if error.get("recoverable") else ""
        yield f"Attempts: {record.get('attempts', 1)}. Class: {error.get('class')}{again}."
        if error.get("pointer"):
            yield f"In the spec: {error['pointer']}"
        if error.get("details"):
            yield f"Details: {brief(error['details'])}"
        if record.get("resolved"):
            yield "A call of it was in doubt, and a person said that it did not take place."
        yield from self.deciding.given(path)
        yield from self._told(path)
        if record.get("handled_by"):
            yield f"It was dealt with by {record['handled_by']} (on_error)."

    def _cancelled(self, path: str, planned: PlannedStep | None) -> str:
        """Who had it cancelled: the winner of a race, a failure, or whoever cancelled the run."""
        prefix = path[: len(path) - len(planned.name)] if planned else ""
        for step in self.plan.steps.values() if planned else ():
            if planned is not None and planned.id in step.losers and prefix + step.name in self.records:
                return f"{prefix}{step.name} had enough without it (cancel_rest)."
        error = self.about.get("error") or {}
        if self.status == "cancelled":
            return "the run was cancelled" + (f": {error['message']}." if error.get("message") else ".")
        return f"{error.get('node') or 'the run'} failed: {brief_error(error)}"

    def _stage(self, path: str) -> Iterator[str]:
        """Why a step of a stage ran at all."""
        name = next((name for name in step_id(path).split(".") if name in _STAGES), None)
        if name is not None and path != name:
            error = self.about.get("error") or {}
            why = f": {brief_error(error)}" if error and name != "finally" else ""
            yield f"{_STAGES[name]}{why}."

    def _taken_back(self, path: str, planned: PlannedStep | None) -> Iterator[str]:
        """Whether a step that was done has been undone, and if not why."""
        undo = self.about.get("undo") or {}
        if path in (undo.get("done") or ()):
            yield "It was undone afterwards."
        for each in undo.get("not_done") or ():
            if each.get("step") == path:
                yield f"It could NOT be undone: {brief_error(each.get('error'))}"
        if self.records[path].get("status") != "done" or planned is None or self.status not in _ENDED_BADLY:
            return
        if getattr(planned.step, "undo", None) is None:
            if planned.node is not None and self.services and planned.node.effect_of(self.services) == "write":
                yield "It was not undone: it has no `undo`."
        elif path not in (undo.get("done") or ()) and path not in [e.get("step") for e in undo.get("not_done") or ()]:
            asked = self.status == "cancelled" and not undo
            yield "It was not undone" + (": the run was cancelled without --undo." if asked else ".")
