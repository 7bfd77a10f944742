"""What is written for the calls and questions of a run: the mocks of a test, or what an earlier run recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from state.values import Json

_FAULT_KEYS: Final = frozenset({"fault", "message"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A result or an answer; with ``fault`` a failure of that class."""

    value: Json = None
    fault: str = ""
    message: str = ""


@dataclass(slots=True, kw_only=True)
class Script:
    """Results by path or step id; a list serves one call after the other, and a list of one every call.

    ``strict`` refuses calls that nothing is written for; ``silent`` means that nobody answers what nothing is written for.
    """

    mocks: Mapping[str, Json] = field(default_factory=dict)
    answers: Mapping[str, Json] = field(default_factory=dict)
    strict: bool = False
    silent: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    overrun: dict[str, None] = field(default_factory=dict)
    """Keys whose list was too short, in the order in which that was seen."""

    def call(self, path: str, step_id: str) -> Given | None:
        """What the next call of a step gives; None where nothing is written."""
        return self._next("call", self.mocks, path, step_id)

    def answer(self, path: str, step_id: str) -> Given | None:
        """What a person answers; None where nothing is written."""
        return self._next("answer", self.answers, path, step_id)

    def _next(self, kind: str, written: Mapping[str, Json], path: str, step_id: str) -> Given | None:
        key = path if path in written else step_id
        if key not in written:
            return None
        entry = written[key]
        if not isinstance(entry, list):
            return given(entry)
        index = self.counts[f"{kind}:{key}"]
        self.counts[f"{kind}:{key}"] += 1
        if len(entry) == 1:
            return given(entry[0])
        if index >= len(entry):
            self.overrun[key] = None
            return Given(fault="internal", message=f"{key} was asked once more than its {len(entry)} mocks foresee")
        return given(entry[index])


def given(entry: Json) -> Given:
    """What one written entry means: ``{fault: class, message?}`` is a failure, anything else the value itself."""
    if isinstance(entry, dict) and "fault" in entry and set(entry) <= _FAULT_KEYS and isinstance(entry["fault"], str):
        return Given(fault=entry["fault"], message=str(entry.get("message", "")))
    return Given(value=entry)


def recorded(state: Mapping[str, Json], calling: Mapping[str, str]) -> Script:
    """The results, failures and answers of an earlier run, by path; ``calling`` gives the kinds of its paths."""
    mocks: dict[str, Json] = {}
    answers: dict[str, Json] = {}
    for path, record in (state.get("nodes") or {}).items():
        kind = calling.get(path)
        if kind not in ("llm", "tool", "human"):
            continue
        into = answers if kind == "human" else mocks
        if path in state.get("results", {}) and not record.get("timed_out"):
            into[path] = [state["results"][path]]
        elif record.get("timed_out"):
            into[path] = {"fault": "timeout"}
        elif isinstance(error := record.get("error"), dict):
            into[path] = {"fault": error.get("class", "internal"), "message": error.get("message", "")}
    return Script(mocks=mocks, answers=answers)
