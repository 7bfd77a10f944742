"""What an execution asks people is put to the client's person where the client can do that, else told with how to answer.

Clients of protocols before 2026 are asked while the call waits. For later ones the call returns what is asked, and is made
again with the answers and a sealed word of ours that says which execution they are for.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import mcp_types as types
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.server.mcp.door import Answer, Call, Context
from cogwork.server.mcp.forms import elicitable
from cogwork.server.mcp.pursuing import Pursuit
from cogwork.server.mcp.replies import told_of
from state.errors import AnswerRefused
from state.values import Json

SHOWN: Final = 4000
"""Characters of the material beside a question."""
Questions = Mapping[str, tuple[str, dict[str, Any]]]
"""By the step that asks: what the person reads, and the form."""


def can_ask(ctx: Context) -> bool:
    """Whether the client can show a form to a person."""
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return modern(ctx) or ctx.session.can_send_request


def modern(ctx: Context) -> bool:
    """Whether the client speaks a protocol of 2026 or later."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


async def waited_for(call: Call, begin: Callable[[], Awaitable[Pursuit]], *, patience: float) -> Answer:
    """What comes of an execution that ``begin`` asks for: its result, or, where it rests, how to go on with it.

    Raises:
        CogworkError: as ``begin``.
    """
    if modern(call.ctx):
        return await _in_rounds(call, begin, patience)
    pursuit = await begin()
    await _asked_here(pursuit, patience)
    return await told_of(call, pursuit.id)


# -- while the call waits ------------------------------------------------------------------------------------


async def _asked_here(pursuit: Pursuit, patience: float) -> None:
    call, refused, times = pursuit.call, dict[str, str](), 0
    while True:
        execution = await pursuit.settled(patience)
        questions = open_questions(execution, refused)
        if not questions or not can_ask(call.ctx) or times >= call.door.rules.asks:
            return
        at, (message, form) = next(iter(questions.items()))
        result = await call.ctx.session.elicit_form(message, form, related_request_id=call.ctx.request_id)
        if result.action != "accept":
            return
        refused = await _answered(pursuit, {at: result.content or {}})
        times = times + 1 if refused else 0


async def _answered(pursuit: Pursuit, answers: dict[str, Json]) -> dict[str, str]:
    """Give the answers; why one was refused, by the step that asks."""
    try:
        await pursuit.resumed(answers)
    except AnswerRefused as err:
        return {err.at: "; ".join(err.faults)}
    except EngineError as err:
        # Somebody else has answered or ended it meanwhile: how it stands now says what comes next.
        if err.code not in ("illegal_move", "invalid_input"):
            raise
    return {}


# -- in rounds -----------------------------------------------------------------------------------------------


async def _in_rounds(call: Call, begin: Callable[[], Awaitable[Pursuit]], patience: float) -> Answer:
    state = _state(call)
    refused: dict[str, str] = {}
    if state is None:
        pursuit = await begin()
    else:
        pursuit = Pursuit(call, state["execution"], given_up=state["given_up"])
        answers, declined = _responses(call, open_questions(await pursuit.execution(), {}))
        if answers:
            refused = await _answered(pursuit, answers)
        if declined:
            return await told_of(call, pursuit.id)
    execution = await pursuit.settled(patience)
    questions = open_questions(execution, refused)
    if not questions or not can_ask(call.ctx):
        return await told_of(call, pursuit.id)
    return _required(pursuit, questions)


def _required(pursuit: Pursuit, questions: Questions) -> types.InputRequiredResult:
    requests: types.InputRequests = {
        at: types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=form))
        for at, (message, form) in questions.items()
    }
    state = {"execution": pursuit.id, "given_up": pursuit.given_up}
    return types.InputRequiredResult(input_requests=requests, request_state=json.dumps(state))


def _state(call: Call) -> dict[str, Any] | None:
    """What we said in the round before; it was sealed, so it is as we said it."""
    if call.params.request_state is None:
        return None
    found: dict[str, Any] = json.loads(call.params.request_state)
    return found


def _responses(call: Call, questions: Questions) -> tuple[dict[str, Json], bool]:
    """The answers to what is asked, and whether a person would not give one; what nobody asked is left out."""
    answers, declined = dict[str, Json](), False
    for at, given in (call.params.input_responses or {}).items():
        if at not in questions:
            continue
        try:
            result = types.ElicitResult.model_validate(given.model_dump() if hasattr(given, "model_dump") else given)
        except ValidationError:
            continue
        if result.action == "accept":
            answers[at] = result.content or {}
        else:
            declined = True
    return answers, declined


# -- questions -----------------------------------------------------------------------------------------------


def open_questions(execution: Execution, refused: Mapping[str, str]) -> Questions:
    """What the execution asks that a client can show, those that were answered wrongly with the reason."""
    if execution.status != "paused":
        return {}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for question in execution.questions:
        form = elicitable(question.get("form") or {})
        if form is not None:
            at = str(question.get("at"))
            found[at] = (_message(question, refused.get(at)), form)
    return found


def _message(question: Mapping[str, Json], reason: str | None) -> str:
    said = str(question.get("ask") or question.get("message") or question.get("at"))
    if reason:
        said = f"That answer does not fit: {reason}. Please answer again.\n\n{said}"
    if question.get("show") is not None:
        shown = question["show"] if isinstance(question["show"], str) else json.dumps(question["show"], indent=2)
        said = f"{said}\n\n{shown[:SHOWN]}{' …' if len(shown) > SHOWN else ''}"
    return said
