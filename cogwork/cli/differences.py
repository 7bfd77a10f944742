"""What differs between two runs: their workflow, input, steps and output, each difference with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from state.values import Json

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary

Section: TypeAlias = Literal["workflow", "input", "run", "steps", "output"]
SECTIONS: Final[tuple[Section, ...]] = ("workflow", "input", "run", "steps", "output")
ABSENT: Final = object()
"""Stands for what one of the runs does not have."""
NOT_BEGUN: Final = "not begun"
"""The status of a step that has no record."""
_OF_RUN: Final = ("status", "reason", "error", "undo", "also")
_OF_STEP: Final = ("status", "cause", "error", "attempts", "fallback", "cached", "given", "errors")
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place at which two runs differ; ``a`` or ``b`` is ``ABSENT`` where that run has nothing there.

    ``step`` is the step's path in the section ``steps``. ``what`` is the property of the run or step: ``status``,
    ``attempts``, ``value`` … ``path`` leads into it (``.rows[2].name``).
    """

    section: Section
    what: str
    step: str = ""
    path: str = ""
    a: Any = ABSENT
    b: Any = ABSENT

    @property
    def where(self) -> str:
        """The place in one word: a value by the name of its step, anything else with its property."""
        if self.section != "steps":
            return (self.what if self.section in ("workflow", "run") else self.section) + self.path
        return self.step + (self.path if self.what == "value" else f" · {self.what}{self.path}")

    def to_dict(self) -> dict[str, Json]:
        """The difference as plain JSON, without the side that has nothing."""
        sides = {"a": self.a, "b": self.b}
        about = {"section": self.section, "step": self.step, "what": self.what, "path": self.path}
        return {**about, **{side: value for side, value in sides.items() if value is not ABSENT}}


def differences(one: RunSummary, other: RunSummary) -> list[Difference]:
    """Everything in which two runs differ but for the time, in the order of their sections and steps.

    Ids, clock times, durations and the order in which parallel steps ended are no differences.
    """
    a, b = one.values, other.values
    return [
        *_properties("workflow", _workflow(one), _workflow(other)),
        *_parts("input", a, b),
        *_properties("run", _run(one), _run(other)),
        *_steps(a, b),
        *_parts("output", a, b),
    ]


def _workflow(summary: RunSummary) -> dict[str, Json]:
    about = summary.values.get("run", {})
    return {"name": summary.workflow, "version": about.get("version"), "digest": summary.digest[:12]}


def _run(summary: RunSummary) -> dict[str, Json]:
    about = summary.values.get("run", {})
    kept = {key: about[key] for key in _OF_RUN if about.get(key) not in (None, [], {})}
    return {**kept, "status": summary.status, "asks": sorted(str(q.get("at")) for q in summary.questions)}


def _properties(section: Section, a: Mapping[str, Json], b: Mapping[str, Json], step: str = "") -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        for path, left, right in unequal(a.get(name, ABSENT), b.get(name, ABSENT)):
            yield Difference(section=section, step=step, what=name, path=path, a=left, b=right)


def _parts(section: Section, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for path, left, right in unequal(a.get(section), b.get(section)):
        yield Difference(section=section, what="value", path=path, a=left, b=right)


def _steps(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for path in dict.fromkeys([*a.get("nodes", {}), *b.get("nodes", {})]):
        left, right = (_step(values.get("nodes", {}).get(path)) for values in (a, b))
        if left["status"] != right["status"]:
            left, right = ({k: v for k, v in each.items() if k != "attempts"} for each in (left, right))
        yield from _properties("steps", left, right, path)
        results = (values.get("results", {}).get(path, ABSENT) for values in (a, b))
        for inside, one, other in unequal(*results):
            yield Difference(section="steps", step=path, what="value", path=inside, a=one, b=other)


def _step(record: Mapping[str, Any] | None) -> dict[str, Json]:
    """What of a step's record says how it went."""
    if record is None:
        return {"status": NOT_BEGUN}
    kept = {key: record[key] for key in _OF_STEP if record.get(key) is not None}
    tokens = (record.get("usage") or {}).get("total_tokens")
    return kept if tokens is None else {**kept, "tokens": tokens}


def unequal(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The places within two values at which they differ, with what stands there; ``ABSENT`` where nothing does."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            inside = f"{path}.{key}" if _PLAIN.fullmatch(key) else f"{path}[{key!r}]"
            yield from unequal(a.get(key, ABSENT), b.get(key, ABSENT), inside)
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            left, right = (each[index] if index < len(each) else ABSENT for each in (a, b))
            yield from unequal(left, right, f"{path}[{index}]")
    elif a is ABSENT or b is ABSENT or isinstance(a, bool) != isinstance(b, bool):
        if a is not b:
            yield path, a, b
    elif a != b:
        yield path, a, b


def order(one: RunSummary, other: RunSummary) -> tuple[list[str], list[str]]:
    """The steps that both runs have come to the end of, in the order of each; empty where that is the same."""
    a, b = (_ends(summary) for summary in (one, other))
    left, right = [path for path in a if path in set(b)], [path for path in b if path in set(a)]
    return ([], []) if left == right else (left, right)


def _ends(summary: RunSummary) -> list[str]:
    return list(dict.fromkeys(str(path) for path in summary.values.get("path", ())))


def times(one: RunSummary, other: RunSummary) -> dict[str, tuple[float | None, float | None]]:
    """Seconds that each step took in either run; the run itself under ``""``."""
    a, b = (summary.values.get("nodes", {}) for summary in (one, other))
    spent = {path: (seconds(a.get(path, {})), seconds(b.get(path, {}))) for path in dict.fromkeys([*a, *b])}
    whole = tuple(seconds({"started_at": s.started, "ended_at": s.ended}) for s in (one, other))
    return {"": (whole[0], whole[1]), **{path: both for path, both in spent.items() if both != (None, None)}}


def seconds(record: Mapping[str, Json]) -> float | None:
    """How long a step took by its record; None where it has not both a beginning and an end."""
    try:
        begin, end = (datetime.fromisoformat(str(record.get(key))) for key in ("started_at", "ended_at"))
    except ValueError:
        return None
    return round((end - begin).total_seconds(), 3)


def excerpts(left: str, right: str, room: int) -> tuple[str, str]:
    """Two unequal texts in at most ``room`` characters each, long ones from just before the place where they part."""
    if max(len(left), len(right)) <= room:
        return left, right
    shared = _shared(left, right)
    start = max(0, shared - room // 4) if shared > room // 2 else 0
    return _cut(left, start, room), _cut(right, start, room)


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _cut(text: str, start: int, room: int) -> str:
    head = "…" if start else ""
    rest = text[start:]
    return head + (rest if len(rest) <= room - len(head) else rest[: room - len(head) - 1] + "…")
