"""People's answers to an execution that rests: whose question each is for, whether it fits, whether it is in time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from nodes.human import accepted
from state.errors import AnswerRefused
from state.values import Json, UnfitValue, normalise


def addressed(execution: Execution, answers: Any, now: datetime) -> dict[str, Json]:
    """The answers by the path of their questions, each as its form has it.

    Raises:
        AnswerRefused: one does not fit its form, or comes too late.
        EngineError: ``invalid_input``; nothing is asked there, or several things are and the answer names none.
    """
    questions = {str(question.get("at")): question for question in execution.questions}
    try:
        given = _by_path(execution.id, normalise(answers), questions)
    except UnfitValue as err:
        raise EngineError("invalid_input", f"The answer is no data: {err}", execution_id=execution.id) from err
    return {path: _taken(path, questions[path], answer, now) for path, answer in given.items()}


def _by_path(name: str, answers: Json, questions: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
    asked = ", ".join(questions) or "nothing"
    if isinstance(answers, dict) and answers and all(path in questions for path in answers):
        return answers
    if len(questions) == 1:
        return {next(iter(questions)): answers}
    if questions:
        message = f"Execution {name} asks several things ({asked}): give the answers by step, {{step: answer}}"
    else:
        message = f"Execution {name} asks nothing: resume it without an answer"
    raise EngineError("invalid_input", message, execution_id=name, questions=list(questions))


def _taken(path: str, question: Mapping[str, Json], answer: Json, now: datetime) -> Json:
    deadline = question.get("deadline")
    if deadline is not None and datetime.fromisoformat(deadline) <= now:
        raise AnswerRefused(path, [f"it came after the deadline {deadline}"])
    return accepted(path, question["form"], answer)
