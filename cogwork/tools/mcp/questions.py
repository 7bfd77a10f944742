"""What a server asks while it is called: answered with what people have said, else taken to a person.

A question is known by its place among those of the call and by its words, so the same one bears the same id when the call is
made anew. Both ways of asking end here: requests in the middle of a call, and results that ask for input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from mcp_types import ElicitRequestFormParams, ElicitRequestURLParams, ElicitResult, Root

from cogwork.tools.mcp.redaction import Redaction
from state.errors import Asked, Fault
from state.schemas import faults, schema_fault
from state.values import Json, Schema

Elicited: TypeAlias = ElicitRequestFormParams | ElicitRequestURLParams
MAX_KEPT: Final = 64 * 1024
"""The longest state, in characters, that is kept for a server between a question and its answer."""
MAX_QUESTION: Final = 4_000
MAX_FORM: Final = 64 * 1024
DECLINE: Final[Schema] = {"type": "boolean", "default": False, "description": "Refuse to answer; the tool goes on so."}


class Questions:
    """The questions of one call; ``answers`` are those of ``CallContext``."""

    def __init__(self, server: str, answers: Mapping[str, Json], redaction: Redaction) -> None:
        self.server, self.answers, self.redaction = server, answers, redaction
        self.open: Asked | None = None
        """What has to be asked before the call can be made."""
        self.fault: Fault | None = None
        """What was wrong with a question in the middle of the call."""
        self._count = 0

    # -- results that ask for input ------------------------------------------------------------------------

    def resumed(self) -> dict[str, Json]:
        """The parameters with which the call goes on where the last answered question had left it; else none."""
        kept = [(int(id.partition("-")[0]), id) for id in self.answers if _kept(self.answers[id])]
        if not kept:
            return {}
        number, id = max(kept)
        held = self.answers[id]["kept"]
        self._count = number - 1 - len(held["earlier"])
        responses = {key: self._result(key_id) for key, key_id in {**held["earlier"], held["key"]: id}.items()}
        self._count = number
        return {"input_responses": responses, "request_state": held["state"]}

    @property
    def raised(self) -> bool:
        """Whether something was asked in the middle of the call that has no answer yet, or cannot be asked."""
        return self.open is not None or self.fault is not None

    def first(self) -> Asked:
        """The question that has to be answered before the call can be made.

        Raises:
            Fault: ``invalid_output``; it cannot be asked.
        """
        if self.fault is not None or self.open is None:
            raise self.fault or Fault("internal", f"MCP server {self.server} asked nothing", origin="tool")
        return self.open

    def start_over(self) -> None:
        """The call is made from its beginning."""
        self._count, self.open = 0, None

    def responses(self, result: Mapping[str, Json], roots: Sequence[Path]) -> dict[str, Json] | None:
        """What a result that asks for input is answered with; None where a person has to be asked first.

        Raises:
            Fault: ``tool_error``; it asks for what is not offered.
        """
        state, given = result.get("requestState"), dict[str, Json]()
        earlier: dict[str, str] = {}
        for key, request in sorted((result.get("inputRequests") or {}).items()):
            match request.get("method"):
                case "roots/list":
                    given[key] = {"roots": [root.model_dump(mode="json", exclude_none=True) for root in named(roots)]}
                case "elicitation/create":
                    asked = self._asked(_params(request["params"]), {"state": state, "key": key, "earlier": earlier})
                    if asked.id not in self.answers:
                        self.open = asked
                        return None
                    given[key], earlier = self._result(asked.id), {**earlier, key: asked.id}
                case other:
                    raise Fault(
                        "tool_error", f"MCP server {self.server} asks for {other}, which is not offered", origin="tool"
                    )
        return given

    # -- requests in the middle of a call ------------------------------------------------------------------

    def answered(self, params: Elicited) -> ElicitResult:
        """The answer; where there is none yet, the question is left ``open`` and the server told to give up."""
        asked = self._asked(params, None)
        if asked.id in self.answers:
            return ElicitResult.model_validate(self._result(asked.id))
        self.open = self.open or asked
        return ElicitResult(action="cancel")

    def put(self, params: Elicited) -> None:
        """Leave the question open, unless it has been answered."""
        asked = self._asked(params, None)
        if asked.id not in self.answers:
            self.open = self.open or asked

    # -- both ----------------------------------------------------------------------------------------------

    def _asked(self, params: Elicited, kept: Json) -> Asked:
        self._count += 1
        message, form = self._words(params), self._form(params)
        digest = hashlib.sha256(json.dumps([message, form], sort_keys=True).encode()).hexdigest()[:12]
        small = kept is not None and kept["state"] is not None and len(kept["state"]) <= MAX_KEPT
        return Asked(f"{self._count}-{digest}", message, form, kept=kept if small else None)

    def _words(self, params: Elicited) -> str:
        address = f"\n\n{params.url}" if isinstance(params, ElicitRequestURLParams) else ""
        return self.redaction.told(f"{self.server} asks: {params.message[:MAX_QUESTION]}{address[:MAX_QUESTION]}")

    def _form(self, params: Elicited) -> Schema:
        """What the server wants to know, and the way to refuse, which frees from the rest.

        Raises:
            Fault: ``invalid_output``; its form is not usable.
        """
        wanted: Schema = {}
        if isinstance(params, ElicitRequestFormParams):
            wanted = json.loads(json.dumps(params.model_dump(by_alias=True, mode="json")["requestedSchema"]))
        if len(json.dumps(wanted)) > MAX_FORM or (unfit := schema_fault(wanted)):
            why = "too large" if len(json.dumps(wanted)) > MAX_FORM else unfit
            raise Fault(
                "invalid_output", f"MCP server {self.server} asks with a form that is not usable: {why}", origin="tool"
            )
        needed = wanted.get("required", [])
        properties = {k: _marked(v) if k in needed else v for k, v in wanted.get("properties", {}).items()}
        form: Schema = {
            "type": "object",
            "properties": {**properties, "decline": DECLINE},
            "additionalProperties": False,
        }
        if needed:
            refused = {"properties": {"decline": {"const": True}}, "required": ["decline"]}
            form |= {"if": refused, "else": {"required": needed}}
        return form

    def _result(self, id: str) -> dict[str, Json]:
        """The answer of that question as the server is told."""
        answer = self.answers[id]
        said = answer.get("answer") if isinstance(answer, dict) and "answer" in answer else answer
        if not isinstance(said, dict) or said.get("decline"):
            return {"action": "decline"}
        return {"action": "accept", "content": {k: v for k, v in said.items() if k != "decline"}}


def _marked(schema: Schema) -> Schema:
    """A field that is needed unless the person declines, which a form says nowhere else that people would see."""
    said = [schema["description"]] if schema.get("description") else []
    return {**schema, "description": "; ".join([*said, "needed, unless you decline"])}


def named(roots: Sequence[Path]) -> list[Root]:
    """The folders as MCP names them."""
    return [Root.model_validate({"uri": root.resolve().as_uri(), "name": root.name or "/"}) for root in roots]


def _params(params: Json) -> Elicited:
    kind = ElicitRequestURLParams if params.get("mode") == "url" else ElicitRequestFormParams
    return kind.model_validate(params)


def _kept(answer: Json) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("kept"), dict) and not faults(_KEPT, answer["kept"])


_KEPT: Final[Schema] = {
    "type": "object",
    "properties": {
        "state": {"type": "string"},
        "key": {"type": "string"},
        "earlier": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["state", "key", "earlier"],
}


def elicitations(error: Any) -> list[Elicited]:
    """What an error that a page must be visited first names."""
    data = error.data if isinstance(error.data, dict) else {}
    listed = data.get("elicitations")
    return (
        [_params({"mode": "url", **each}) for each in listed if isinstance(each, dict)]
        if isinstance(listed, list)
        else []
    )
