"""Whether a call that a model wants may be made: the question to a person, and what the answer decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.base import Slot, StepCall
from nodes.human import HumanNode
from state.errors import Fault
from state.values import Json, Schema

DECISIONS: Final = ("approve", "edit", "reject", "respond")
"""What a person may say of a call."""


class ApproveCall(HumanNode):
    """Ask a person whether a tool call that the model wants may be made, in the form that LangGraph's interfaces know."""

    ask: str = ""

    def slots(self) -> Iterator[Slot]:
        """The call."""
        yield Slot(pointer="/item", source="{{ item }}")

    def question(self, call: StepCall) -> dict[str, Json]:
        """What the person is shown: the tool, its arguments, and what may be decided."""
        item = call.value("/item")
        action = {"name": item["tool"], "args": item["args"], "description": item.get("description", "")}
        return {
            "kind": "approval",
            "at": call.path,
            "ask": f"The model wants to call {item['tool']}. May it?",
            "form": self.form,
            "show": {"tool": item["tool"], "args": item["args"]},
            "action_requests": [action],
            "review_configs": [{"action_name": item["tool"], "allowed_decisions": list(DECISIONS)}],
        }


def decision_form() -> Schema:
    """What a person may say of a tool call: one decision, in our form or in that of LangGraph's interfaces."""
    action = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "args": {"type": "object"}},
        "required": ["args"],
    }
    decided = {
        "type": "object",
        "properties": {
            "type": {"enum": list(DECISIONS)},
            "message": {"type": "string"},
            "args": {"type": "object"},
            "edited_action": action,
        },
        "required": ["type"],
    }
    return {
        "type": "object",
        "properties": {
            "decision": {
                "enum": list(DECISIONS),
                "description": "approve: call it; edit: call it with args; reject: do not, and say why in message; "
                "respond: do not, message is the result.",
            },
            "message": {"type": "string", "description": "What the model is told, with reject or respond."},
            "args": {"type": "object", "description": "The arguments to call it with, with edit."},
        },
        "patternProperties": {"^decisions$": {"type": "array", "items": decided, "minItems": 1, "maxItems": 1}},
        "anyOf": [{"required": ["decision"]}, {"required": ["decisions"]}],
        "additionalProperties": False,
    }


def decided(answer: Json) -> dict[str, Json]:
    """A person's decision, whichever of the two forms it came in: ``{type, message?, args?}``.

    Raises:
        Fault: ``refused``; nobody has decided.
    """
    if not isinstance(answer, dict):
        raise Fault("refused", "Nobody has allowed the call", origin="tool")
    if (several := answer.get("decisions")) is not None:
        one = dict(several[0])
        edited = one.pop("edited_action", None)
        answer = {**one, **({"args": edited["args"]} if edited else {})}
    else:
        answer = {**answer, "type": answer.get("decision")}
    verdict: dict[str, Json] = answer
    if verdict["type"] == "edit" and not isinstance(verdict.get("args"), dict):
        raise Fault("refused", "The call was to be edited, and no arguments were given", origin="tool")
    return verdict
