"""Why a step came to what it came to: its record in words, the conditions with their values, the chain to the root cause."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cogwork.cli.reasons import brief_cause, brief_error
from graphs.analysis.plan import Plan, PlannedStep
from nodes.condition import ConditionNode
from nodes.expression import Expression, ExpressionError
from state.values import Json

if TYPE_CHECKING:
    from graphs.runtime.run import Run

LONGEST = 120
"""How much of a value is shown."""


class Case:
    """One run's state, asked about its steps."""

    def __init__(self, plan: Plan, values: Mapping[str, Any]) -> None:
        self.plan, self.values = plan, values
        self.records: Mapping[str, Mapping[str, Json]] = values.get("nodes", {})

    def planned(self, path: str) -> PlannedStep | None:
        """The step that a path is an instance of."""
        return self.plan.steps.get(step_id(path))

    def explanation(self, path: str) -> list[str]:
        """Lines that say why; the first one is the answer."""
        record, planned = self.records.get(path), self.planned(path)
        if record is None:
            return [f"{path} has not begun.", *(self._awaited(path, planned) if planned else ())]
        match record.get("status"):
            case "skipped":
                return [
                    f"{path} was skipped: {brief_cause(record.get('cause'), record.get('error'))}.",
                    *self._skip(path),
                ]
            case "failed":
                return [f"{path} failed: {brief_error(record.get('error'))}", *_failure(record)]
            case "waiting":
                return _waiting(path, record)
            case "cancelled":
                failed = self.values.get("run", {}).get("error") or {}
                return [
                    f"{path} was cancelled, because {failed.get('node') or 'the run'} failed: {brief_error(failed)}"
                ]
            case "open":
                return [f"{path} is at work: {self._items(path)} of its items or rounds are done."]
            case _:
                return [f"{path} is done{_by_hand(record)}.", *_attempts(record), *self._chosen(path, planned)]

    def _items(self, path: str) -> int:
        return sum(
            1 for p, r in self.records.items() if p.startswith(f"{path}[") and p.endswith("]") and r["status"] == "done"
        )

    def _awaited(self, path: str, planned: PlannedStep) -> Iterator[str]:
        error = self.values.get("run", {}).get("error")
        if error:
            yield f"It will not: the run failed at {error.get('node')}: {brief_error(error)}"
            return
        prefix = path[: len(path) - len(planned.name)]
        for parent in dict.fromkeys([*planned.parents, *planned.selectors]):
            name = prefix + self.plan.steps[parent].name
            status = self.records.get(name, {}).get("status", "not begun")
            if status not in ("done", "skipped", "failed"):
                yield f"It waits for {name}, which is {'asking a person' if status == 'waiting' else status}."

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
                yield from self._choice(root)
            case "when_false":
                yield from self._evaluated(root, "/when", "when")
            case "upstream_failed" | "error_ignored" if root in self.records:
                yield f"{root}: {brief_error(self.records[root].get('error'))}"
                yield from _failure(self.records[root])
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

    # -- conditions --------------------------------------------------------------------------------------------

    def _chosen(self, path: str, planned: PlannedStep | None) -> Iterator[str]:
        if planned is None:
            return
        if planned.kind == "condition":
            yield from self._choice(path)
        elif planned.step.when is not None:
            yield from self._evaluated(path, "/when", "when")
        for selector in planned.selectors:
            yield f"It was chosen by {selector}:"
            yield from self._choice(path[: len(path) - len(planned.name)] + self.plan.steps[selector].name)

    def _choice(self, path: str) -> Iterator[str]:
        """A condition's cases with their values, and what it selected."""
        planned = self.planned(path)
        if planned is None or not isinstance(planned.step, ConditionNode):
            return
        for index in range(len(planned.step.cases)):
            yield from self._evaluated(path, f"/cases/{index}/if", f"{path}, case {index + 1}")
        chosen = (self.values.get("results", {}).get(path) or {}).get("selected", [])
        yield f"{path} chose {', '.join(chosen) or 'nothing'}."

    def _evaluated(self, path: str, pointer: str, title: str) -> Iterator[str]:
        """An expression of a step, what it gave, and the values that it read."""
        planned = self.planned(path)
        compiled = planned.fields.get(pointer) if planned else None
        if planned is None or not isinstance(compiled, Expression):
            return
        names = self._names(path)
        if names is None:
            yield f"{title}: {compiled.source}"
            return
        yield f"{title}: {compiled.source} → {_value(compiled, names)}"
        for text in dict.fromkeys(compiled.source[r.start : r.end] for r in compiled.references):
            yield f"    {text} = {_read(text, names)}"

    def _names(self, path: str) -> dict[str, Json] | None:
        """What the step's expressions see; None inside loops that are over."""
        from graphs.runtime.environment import names
        from graphs.runtime.run import Frame

        run = self._run()
        frames: list[Frame] = [run.top]
        for frame in frames:
            for member in frame.members.values():
                if member.path == path:
                    return names(run, frame, member.planned.lookups, self.values.get("run", {}))
                frames.extend(member.frames.values())
        return None

    def _run(self) -> Run:
        from graphs.runtime.run import Run

        run = Run(
            self.plan,
            records={path: dict(record) for path, record in self.records.items()},
            results=self.values.get("results", {}),
        )
        run.top.input = self.values.get("input")
        run.populate(run.top)
        return run


def step_id(path: str) -> str:
    """The id of the step that a path is an instance of: the path without its indexes."""
    import re

    return re.sub(r"\[\d+\]", "", path)


def _value(expression: Expression, names: Mapping[str, Json]) -> str:
    try:
        return _brief(expression.evaluate(names))
    except ExpressionError as err:
        return f"an error: {err.message}"


def _read(text: str, names: Mapping[str, Json]) -> str:
    from nodes.expression.compiled import compile_expression

    try:
        return _value(compile_expression(text), names)
    except ExpressionError as err:
        return f"an error: {err.message}"


def _brief(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _attempts(record: Mapping[str, Json]) -> Iterator[str]:
    if record.get("started_at") and record.get("ended_at"):
        yield f"It ran from {record['started_at']} to {record['ended_at']}."
    if (record.get("attempts") or 1) > 1:
        yield f"It took {record['attempts']} attempts."
    if record.get("timed_out"):
        yield "Nobody answered in time; `on_timeout` was taken."


def _by_hand(record: Mapping[str, Json]) -> str:
    return ": its value was given by hand when the run was forked" if record.get("set_by") else ""


def _failure(record: Mapping[str, Json]) -> Iterator[str]:
    error = record.get("error") or {}
    yield f"Attempts: {record.get('attempts', 1)}. Class: {error.get('class')}" + (
        " (trying again may help)." if error.get("recoverable") else "."
    )
    if error.get("pointer"):
        yield f"In the spec: {error['pointer']}"
    if error.get("details"):
        yield f"Details: {_brief(error['details'])}"
    if record.get("handled_by"):
        yield f"It was dealt with by {record['handled_by']} (on_error)."


def _waiting(path: str, record: Mapping[str, Json]) -> list[str]:
    question: dict[str, Any] = record.get("question") or {}
    lines = [f"{path} waits for a person: {question.get('ask', '')}", f"Asked at {record.get('started_at')}."]
    if record.get("deadline"):
        lines.append(f"It stays open until {record['deadline']}.")
    return lines
