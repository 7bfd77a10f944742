"""The human node: ask a person; the answer, checked against a form, is the node's value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from nodes.base import Duration, Node, Slot, StepCall
from state.errors import AnswerRefused
from state.schemas import faults, with_defaults
from state.services import Services
from state.values import Json, Schema, UnfitValue, normalise

ANY_ANSWER: Schema = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class HumanNode(Node):
    """Ask a person and wait for the answer; the run rests only when nothing else can go on."""

    type: Literal["human"] = "human"
    ask: str = Field(description="The question; may hold {{ references }}.")
    show: Json = Field(None, description="Material beside the question; texts may hold {{ references }}.")
    form: Schema = Field(default_factory=lambda: dict(ANY_ANSWER), description="JSON Schema of the answer.")
    timeout: Duration | None = Field(None, description="How long the question stays open.")
    on_timeout: Json = Field(None, description="The answer taken when the deadline has passed.")

    def slots(self) -> Iterator[Slot]:
        """The question and its material."""
        yield Slot(pointer="/ask", source=self.ask)
        if self.show is not None:
            yield Slot(pointer="/show", source=self.show)

    def result_schema(self, services: Services) -> Schema:
        """The form."""
        return self.form

    def question(self, call: StepCall) -> dict[str, Json]:
        """What the person is shown: ``{at, ask, form, show?}``."""
        ask = call.value("/ask")
        shown = {"show": call.value("/show")} if self.show is not None else {}
        return {"at": call.path, "ask": ask if isinstance(ask, str) else str(ask), "form": self.form, **shown}


def accepted(at: str, form: Schema, answer: Json) -> Json:
    """The answer with the form's defaults filled in.

    Raises:
        AnswerRefused: it does not fit the form; says each place.
    """
    try:
        plain = with_defaults(form, normalise(answer))
    except UnfitValue as err:
        raise AnswerRefused(at, [str(err)]) from err
    if found := faults(form, plain):
        raise AnswerRefused(at, found)
    return plain
