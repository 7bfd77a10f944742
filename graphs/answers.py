"""People's answers as they come in: which question each is for, whether it fits, whether it is in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from langgraph.types import Command, Interrupt, StateSnapshot

from graphs.runtime.scheduler import Scheduler
from nodes.human import accepted
from state.errors import AnswerRefused, NotResumable
from state.schemas import faults, with_defaults
from state.values import Json, UnfitValue, normalise


def expire(scheduler: Scheduler) -> None:
    """Note the questions whose deadline has passed."""
    now = scheduler.now()
    for path in scheduler.run.asked:
        deadline = scheduler.run.records[path].get("deadline")
        if deadline is not None and datetime.fromisoformat(deadline) <= now:
            scheduler.expired.add(path)


def answered(scheduler: Scheduler, command: Command[Any], snapshot: StateSnapshot) -> Command[Any]:
    """The command with each answer checked and addressed to its interrupt.

    Raises:
        NotResumable: nothing is asked, or several questions are and the answer names none.
        AnswerRefused: the answer does not fit its form, or came too late.
    """
    questions = {i.value["at"]: i for i in questions_of(snapshot)}
    if not questions:
        raise NotResumable(
            f"Run {scheduler.about.get('id')} asks nothing: there is no question to answer; None goes on"
        )
    answers = _addressed(command.resume, questions)
    taken: dict[str, Json] = {}
    for path, answer in answers.items():
        if path in scheduler.expired:
            raise AnswerRefused(path, [f"it came after the deadline {questions[path].value.get('deadline')}"])
        taken[path] = accepted(path, questions[path].value["form"], answer)
    scheduler.answers = dict(taken)
    return Command(resume={questions[path].id: answer for path, answer in taken.items()})


def questions_of(snapshot: StateSnapshot) -> Iterator[Interrupt]:
    """The interrupts that are people's questions."""
    return (i for i in snapshot.interrupts if isinstance(i.value, dict) and "at" in i.value)


def _addressed(resume: Any, questions: Mapping[str, Any]) -> dict[str, Any]:
    """Answers by path, from answers by interrupt id, by path, or from the one answer to the one question."""
    only = next(iter(questions)) if len(questions) == 1 else None
    by_id = {question.id: path for path, question in questions.items()}
    if isinstance(resume, dict) and resume and all(key in by_id for key in resume):
        return {by_id[key]: answer for key, answer in resume.items()}
    if only is not None and _fits(questions[only].value["form"], resume):
        return {only: resume}
    if isinstance(resume, dict) and resume and all(key in questions for key in resume):
        return dict(resume)
    if only is None:
        raise NotResumable(f"Several questions are open ({', '.join(sorted(questions))}): give {{step: answer}}")
    return {only: resume}


def _fits(form: Json, answer: Any) -> bool:
    try:
        return not faults(form, with_defaults(form, normalise(answer)))
    except UnfitValue:
        return False
