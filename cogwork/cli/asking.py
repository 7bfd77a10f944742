"""The questions of a run, shown to the person at the terminal, and the answers taken there."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cogwork.cli import render
from cogwork.cli.answers import Question, resume_command
from cogwork.cli.values import coerced
from state.schemas import faults
from state.values import Json

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary

LEFT_OUT: Final = object()
"""Stands for a field that the person has left out."""
_INVITATIONS: Final = {
    "budget": "The run rests. Raise the limit and go on with:",
    "approval": "The run rests. Say whether the tool may be called and go on with:",
    "in_doubt": "The run rests. Find out what happened, say it and go on with:",
}


def _kind(questions: Sequence[Question]) -> str:
    """What the questions are about; nothing where they are about several things."""
    kinds = {str(question.get("kind") or "human") for question in questions}
    return kinds.pop() if len(kinds) == 1 else ""


def can_ask() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show_questions(thread: str, questions: Sequence[Question], *, resumable: bool = True) -> None:
    """Every open question with its material and form, and the command that answers them."""
    for question in questions:
        show_question(question)
    if resumable and questions:
        render.say()
        render.say(_INVITATIONS.get(_kind(questions), "The run rests. Answer and go on with:"))
        render.say(("  " + resume_command(thread, questions), "bold cyan"))


def show_way_on(run: RunSummary) -> None:
    """What a run that rests or was interrupted asks, and the command that goes on with it."""
    if run.questions:
        show_questions(run.thread, run.questions)
        return
    render.say("It was paused. Go on with:" if run.status == "paused" else "Nobody works on it. Go on with:")
    render.say((f"  cogwork resume {run.thread}", "bold cyan"))


def show_question(question: Question) -> None:
    """One question: what is asked where, what to look at, which fields the answer has."""
    render.say()
    if question.get("kind") == "in_doubt":
        render.say(
            (
                "A call was interrupted, and nobody knows whether it took place. It is not made again by itself.",
                "yellow",
            )
        )
    render.say(("? ", "bold magenta"), (str(question["ask"]), "bold"), (f"   [{question['at']}]", "dim"))
    if question.get("show") is not None:
        render.say()
        render.value(question["show"])
    if question.get("deadline"):
        render.say((f"open until {question['deadline']}", "dim"))
    render.say()
    render.columns([_described(name, schema, question["form"]) for name, schema in fields(question["form"]).items()])


def fields(form: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of a form with their schemas."""
    properties = form.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: schema if isinstance(schema, dict) else {} for name, schema in properties.items()}


def _described(name: str, schema: Mapping[str, Any], form: Mapping[str, Any]) -> list[str | tuple[str, str]]:
    more = [str(schema["description"]).rstrip(".")] if schema.get("description") else []
    if name not in form.get("required", ()):
        more.append(f"default {json.dumps(schema['default'])}" if "default" in schema else "may be left out")
    return [("  " + name, "cyan"), kind(schema), ("; ".join(more), "dim")]


def kind(schema: Mapping[str, Any]) -> str:
    """What a schema takes, in a few words."""
    if schema.get("enum"):
        return " | ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in schema["enum"])
    named = schema.get("type", "anything")
    return " or ".join(named) if isinstance(named, list) else str(named)


def ask(question: Question) -> dict[str, Json]:
    """The answer of the person at the terminal, field by field; each is asked again until it fits.

    What may be left out, and is, is not in the answer.
    """
    form = question["form"]
    needed = form.get("required", ())
    given = {name: asked(name, schema, needed=name in needed) for name, schema in fields(form).items()}
    return {name: value for name, value in given.items() if value is not LEFT_OUT}


def asked(name: str, schema: Mapping[str, Any], *, needed: bool) -> Any:
    """One value from the person at the terminal; Enter takes the default, or leaves it out (``LEFT_OUT``)."""
    default = schema.get("default")
    shown = f" [{default if isinstance(default, str) else json.dumps(default)}]" if "default" in schema else ""
    while True:
        text = render.prompt(f"{name} ({kind(schema)}){shown}: ").strip()
        if not text and "default" in schema:
            return default
        if not text and not needed:
            return LEFT_OUT
        value = coerced(dict(schema), text)
        if not text and needed and schema.get("type") != "string":
            render.note(("a value is needed", "yellow"))
        elif wrong := faults(dict(schema), value):
            render.note((wrong[0].removeprefix("the top: "), "yellow"))
        else:
            return value
