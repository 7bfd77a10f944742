"""Refusals and failures as data, so that they cross the line between an isolated execution and its worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from state.errors import (
    FAULT_CLASSES,
    AnswerRefused,
    Asked,
    CogworkError,
    Fault,
    InDoubt,
    InputRefused,
    NotResumable,
    Owned,
    SpecError,
)
from state.problems import Problem

MOST_SHOWN: Final = 4_000
_PLAIN: Final[Mapping[str, type[CogworkError]]] = {"not_resumable": NotResumable, "owned": Owned}


class Beyond(CogworkError):
    """Something that an isolated execution cannot reach; the sentence says what, and what to do instead."""


def told(error: BaseException) -> dict[str, Any]:
    """What is sent of an error."""
    match error:
        case InDoubt():
            doubt = {"key": error.key, "target": error.target, "reason": error.reason, "arguments": error.arguments}
            return {"kind": "in_doubt", **doubt, "begun_at": error.begun_at, "record": error.record(node="")}
        case Fault():
            return {"kind": "fault", "record": error.record(node="")}
        case Asked():
            asked = {"question": error.id, "message": error.message, "form": error.form, "kept": error.kept}
            return {"kind": "asked", **asked, "show": error.show}
        case Owned():
            return {"kind": "owned", "message": error.thread}
        case InputRefused():
            return {"kind": "input_refused", "workflow": error.workflow, "faults": error.faults}
        case AnswerRefused():
            return {"kind": "answer_refused", "at": error.at, "faults": error.faults}
        case SpecError():
            return {"kind": "spec", "problems": [str(problem) for problem in error.problems]}
        case NotResumable():
            return {"kind": "not_resumable", "message": str(error)}
        case Beyond():
            return {"kind": "beyond", "message": str(error)}
    return {"kind": "error", "type": type(error).__name__, "message": str(error)[:MOST_SHOWN]}


def raised(what: Mapping[str, Any]) -> CogworkError:
    """The error that ``told`` gave, whoever sent it; what does not make sense is an error of its own."""
    try:
        return _raised(what)
    except (KeyError, TypeError, ValueError, AttributeError):
        return CogworkError("an error that cannot be read")


def _raised(what: Mapping[str, Any]) -> CogworkError:
    match what["kind"]:
        case "in_doubt":
            record = _record(what)
            return InDoubt(
                _text(what["key"]),
                _text(what["target"]),
                _text(what["reason"]),
                arguments=what["arguments"],
                begun_at=_text(what["begun_at"]),
                fault_class=record["class"],
                retry_after=record.get("retry_after"),
            )
        case "fault":
            return Fault.from_record(_record(what))
        case "asked":
            return Asked(
                _text(what["question"]),
                _text(what["message"]),
                dict(what["form"]),
                kept=what["kept"],
                show=dict(what["show"]),
            )
        case "input_refused":
            return InputRefused(_text(what["workflow"]), [_text(each) for each in what["faults"]])
        case "answer_refused":
            return AnswerRefused(_text(what["at"]), [_text(each) for each in what["faults"]])
        case "spec":
            return SpecError(tuple(Problem(code="isolated", message=_text(each)) for each in what["problems"]))
        case "beyond":
            return Beyond(_text(what["message"]))
        case kind if kind in _PLAIN:
            return _PLAIN[kind](_text(what["message"]))
    return CogworkError(f"{_text(what['type'])}: {_text(what['message'])}")


def _record(what: Mapping[str, Any]) -> dict[str, Any]:
    record = dict(what["record"])
    if record["class"] not in FAULT_CLASSES:
        raise ValueError("no class of faults")
    return {**record, "message": _text(record["message"])}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value[:MOST_SHOWN]
