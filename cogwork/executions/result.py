"""What an execution has come to, in full: its output in several forms, its steps, errors, warnings and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.executions.record import Execution
from cogwork.records.tables.executions import STEPS
from state.values import Json

OutputType: TypeAlias = Literal["text", "code", "data", "mixed"]
_FENCED: Final = re.compile(r"\s*```[\w+-]*\n.*\n```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """The result of an execution, as the documents have it; before its end what there is up to now.

    ``output`` is the workflow's own; ``intermediate_results`` are the steps' by path; ``artifacts`` the files that steps have
    written; ``formatted_output`` is the output as text, of ``output_type``; ``metrics`` holds counts and seconds.
    """

    execution: Execution
    output: Json = None
    formatted_output: str = ""
    output_type: OutputType = "data"
    intermediate_results: Mapping[str, Json] = field(default_factory=dict)
    artifacts: tuple[Mapping[str, Json], ...] = ()
    steps: tuple[Mapping[str, Json], ...] = ()
    errors: tuple[Mapping[str, Json], ...] = ()
    warnings: tuple[Mapping[str, Json], ...] = ()
    metrics: Mapping[str, Json] = field(default_factory=dict)
    calls: tuple[Mapping[str, Json], ...] = ()
    """Each call of a tool or model, where the execution was asked for with ``debug``."""

    @property
    def success(self) -> bool:
        """Whether it has completed."""
        return self.execution.status == "completed"

    def summarize_results(self) -> dict[str, Json]:
        """The context's summary, as the documents have it: whether it went well, how long it took, what each step gave."""
        return {
            "success": self.success,
            "status": self.execution.status,
            "execution_time": self.execution.seconds or 0.0,
            "output": self.output,
            "steps": {str(step["path"]): step["status"] for step in self.steps},
            "errors": [error.get("message") for error in self.errors],
        }

    def __getitem__(self, key: str) -> Json:
        return self.to_dict()[key]

    def to_dict(self) -> dict[str, Json]:
        """The result as plain JSON; the result itself can be read like it."""
        told = self.execution.to_dict()
        return {
            **told,
            "output": {
                "primary_result": self.output,
                "artifacts": [dict(each) for each in self.artifacts],
                "intermediate_results": dict(self.intermediate_results),
                "formatted_output": self.formatted_output,
                "output_type": self.output_type,
            },
            "steps": [dict(step) for step in self.steps],
            "errors": [dict(error) for error in self.errors],
            "warnings": [dict(warning) for warning in self.warnings],
            "metrics": dict(self.metrics),
            "resources_used": dict(self.execution.resources),
            **({"calls": [dict(call) for call in self.calls]} if self.calls else {}),
        }


def result_of(
    execution: Execution, output: Json, values: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> ExecutionResult:
    """The result, from the execution, its output, the state in its checkpoint and the rows of its steps."""
    run, nodes = values.get("run") or {}, values.get("nodes") or {}
    results = values.get("results") or {}
    steps = tuple(_step(row, nodes.get(row["path"]) or {}) for row in rows)
    return ExecutionResult(
        execution=execution,
        output=output,
        formatted_output=formatted(output),
        output_type=output_type(output),
        intermediate_results=results,
        artifacts=tuple(_artifacts(rows, results)),
        steps=steps,
        errors=tuple(_errors(execution, run)),
        warnings=tuple(_warnings(nodes, run)),
        metrics=_metrics(execution, rows),
    )


def step_rows(connection: Connection, execution: str) -> list[Mapping[str, Any]]:
    """The rows of an execution's steps, in the order in which they began."""
    query = sa.select(STEPS).where(STEPS.c.execution_id == execution)
    rows = connection.execute(query.order_by(STEPS.c.started_at, STEPS.c.path)).mappings()
    return [dict(row) for row in rows]


def formatted(output: Json) -> str:
    """The output as text: what is text stays as it is, all else is JSON; nothing is empty."""
    if output is None or isinstance(output, str):
        return output or ""
    return json.dumps(output, ensure_ascii=False, indent=2)


def output_type(output: Json) -> OutputType:
    """``code`` is a text that is one fenced block; ``mixed`` an object of prose and data."""
    if isinstance(output, str):
        return "code" if _FENCED.fullmatch(output) else "text"
    if isinstance(output, Mapping):
        prose = [value for value in output.values() if isinstance(value, str) and (len(value) > 80 or "\n" in value)]
        return "mixed" if prose and len(prose) < len(output) else "data"
    return "data"


def _step(row: Mapping[str, Any], record: Mapping[str, Json]) -> dict[str, Json]:
    plain: dict[str, Json] = {
        name: row[name]
        for name in ("path", "node", "kind", "status", "cause", "tool", "model", "agent", "seconds", "attempts")
    }
    for name in ("started_at", "ended_at"):
        plain[name] = row[name].isoformat() if row[name] is not None else None
    return {**plain, "usage": record.get("usage"), "error": record.get("error"), "fallback": record.get("fallback")}


def _artifacts(rows: Iterable[Mapping[str, Any]], results: Mapping[str, Json]) -> Iterable[dict[str, Json]]:
    """What steps with tools say that they have written: results with a ``path`` and a size."""
    for row in rows:
        found = results.get(row["path"]) if row["tool"] else None
        if isinstance(found, Mapping) and isinstance(found.get("path"), str) and "bytes" in found:
            yield {"name": found["path"].rpartition("/")[2], "step": row["path"], **found}


def _errors(execution: Execution, run: Mapping[str, Json]) -> Iterable[Mapping[str, Json]]:
    if execution.error is not None:
        yield execution.error
    yield from (error for error in run.get("also") or () if isinstance(error, Mapping))


def _warnings(nodes: Mapping[str, Json], run: Mapping[str, Json]) -> Iterable[dict[str, Json]]:
    """What went wrong without stopping the run."""
    for path, record in nodes.items():
        if not isinstance(record, Mapping):
            continue
        if record.get("truncated"):
            yield {"node": path, "message": "the answer was cut off at the model's limit"}
        if (fallback := record.get("fallback")) is not None:
            yield {"node": path, "message": f"{fallback} served in its place"}
        if record.get("error") and record.get("status") in ("skipped", "failed") and run.get("status") == "completed":
            yield {"node": path, "message": f"its failure was passed over: {record['error'].get('message')}"}
    for left in (run.get("undo") or {}).get("not_done") or ():
        yield {"node": left.get("step"), "message": "it could not be undone"}


def _metrics(execution: Execution, rows: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    leaves = [
        row
        for row in rows
        if row["started_at"] is not None and row["kind"] not in ("frame", "for_each", "repeat", "use")
    ]
    spent = sum(row["seconds"] or 0.0 for row in leaves)
    begins, ends = [row["started_at"] for row in leaves], [row["ended_at"] for row in leaves if row["ended_at"]]
    span = (max(ends) - min(begins)).total_seconds() if begins and ends else 0.0
    return {
        "duration": execution.seconds,
        "waited": (execution.started_at - execution.created_at).total_seconds() if execution.started_at else None,
        "steps": len(rows),
        "by_status": {s: n for s in ("done", "skipped", "failed", "cancelled") if (n := _count(rows, s))},
        "retries": sum(max(0, row["attempts"] - 1) for row in rows),
        "step_seconds": round(spent, 4),
        "saved_by_parallelism": round(max(0.0, spent - span), 4),
        "input_tokens": sum(row["input_tokens"] for row in rows),
        "output_tokens": sum(row["output_tokens"] for row in rows),
        "cost_usd": round(sum(row["cost_usd"] for row in rows), 9),
    }


def _count(rows: Sequence[Mapping[str, Any]], status: str) -> int:
    return sum(1 for row in rows if row["status"] == status)
