"""One question to a chat model: its text, or a value that fits a schema, or a typed fault; never half an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nodes.model_faults import fault_of
from state.errors import Fault
from state.schemas import faults as schema_faults
from state.values import Json, Schema, UnfitValue, normalise

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

OnToken: TypeAlias = Callable[[str], None]
"""Called with each piece of text as it arrives; a repaired answer is streamed again from its start."""
MAX_CHARACTERS: Final = 2_000_000
"""An answer that grows beyond this is stopped."""
_SHOWN: Final = 2_000
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_REFUSED: Final = frozenset({"content_filter", "refusal", "safety", "blocked"})
_CUT: Final = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said: ``value`` is the parsed value with a schema, else the text; ``usage`` sums all rounds.

    ``truncated`` says that a text ended at the token limit; ``repaired`` that the value fitted only at the second try.
    """

    text: str
    value: Json
    usage: dict[str, int] = field(default_factory=dict)
    model: str = ""
    finish_reason: str = ""
    truncated: bool = False
    repaired: bool = False
    message_id: str = ""
    """The id that the streamed pieces of the answer had."""

    def to_dict(self) -> dict[str, Json]:
        """The answer as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Json]) -> Answer:
        """The answer that ``to_dict`` gave."""
        return cls(**{name: raw[name] for name in (made.name for made in fields(cls)) if name in raw})


async def ask(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    schema: Schema | None = None,
    *,
    on_token: OnToken | None = None,
    config: RunnableConfig | None = None,
) -> Answer:
    """The model's answer, streamed; with ``schema`` a value that fits it, after at most one round of repair.

    Pass ``config`` on from the step, so that LangGraph's ``messages`` stream sees the tokens.

    Raises:
        Fault: of origin ``model``: ``unavailable`` for a stream that was cut, ``invalid_output`` for an empty, overlong or
            ill-fitting answer, ``refused``, and the provider's failures by class.
    """
    if schema is None:
        answer = await _stream(model, messages, on_token, config)
        return replace(answer, value=answer.text)
    try:
        return await _value(_bound(model, schema), messages, schema, on_token, config)
    except Fault as fault:
        if fault.fault_class != "invalid_input" or "response_format" not in fault.message:
            raise
    return await _value(model, [*messages, _instruction(schema)], schema, on_token, config)


async def _value(
    model: Runnable[LanguageModelInput, Any],
    messages: Sequence[BaseMessage],
    schema: Schema,
    on_token: OnToken | None,
    config: RunnableConfig | None,
) -> Answer:
    """The answer that fits ``schema``; its faults are shown to the model once."""
    first = await _stream(model, messages, on_token, config)
    value, found = _parsed(first, schema)
    if not found:
        return replace(first, value=value)
    again = [*messages, *_objection(first.text, found)]
    second = await _stream(model, again, on_token, config)
    value, found = _parsed(second, schema)
    if found:
        raise Fault(
            "invalid_output",
            f"The model's answer does not fit its schema, also after one repair: {found[0]}",
            origin="model",
            details={"faults": list(found), "answer": second.text[:_SHOWN], "usage": _added(first.usage, second.usage)},
        )
    return replace(second, value=value, usage=_added(first.usage, second.usage), repaired=True)


def _bound(model: BaseChatModel, schema: Schema) -> Runnable[LanguageModelInput, Any]:
    """The model asked for JSON by schema; every provider of ours understands this form."""
    wanted = {"name": "answer", "schema": schema, "strict": False}
    return model.bind(response_format={"type": "json_schema", "json_schema": wanted})


def _instruction(schema: Schema) -> BaseMessage:
    """The schema in words, for an endpoint that does not know ``response_format``."""
    from langchain_core.messages import HumanMessage

    text = json.dumps(schema, ensure_ascii=False)
    return HumanMessage(f"Answer with one JSON value and nothing else. It must fit this JSON Schema:\n{text}")


def _objection(answer: str, found: Sequence[str]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage

    listed = "\n".join(f"- {fault}" for fault in found)
    return [
        AIMessage(answer[:_SHOWN]),
        HumanMessage(
            f"That answer does not fit. Its faults:\n{listed}\n\nAnswer again, with the corrected JSON value and nothing else.",
            additional_kwargs={"repair": True},
        ),
    ]


def _parsed(answer: Answer, schema: Schema) -> tuple[Json, list[str]]:
    """The value in the text and where it does not fit ``schema``."""
    if answer.truncated:
        raise Fault(
            "invalid_output",
            "The model's answer ended at its token limit before the JSON was complete; raise max_tokens or ask for less",
            origin="model",
            details={"faults": ["cut at the token limit"], "answer": answer.text[:_SHOWN], "usage": answer.usage},
        )
    try:
        value = normalise(json.loads(_unfenced(answer.text), parse_constant=_no_constant))
    except (ValueError, RecursionError) as error:
        reason = error.reason if isinstance(error, UnfitValue) else str(error)
        return None, [f"the top: the answer is not JSON: {reason}"]
    return value, schema_faults(schema, value)


def _unfenced(text: str) -> str:
    """The text, or what stands in its only fenced block."""
    text = text.strip()
    if text[:1] in "{[" or "```" not in text:
        return text
    blocks: list[str] = _FENCE.findall(text)
    return blocks[0] if len(blocks) == 1 else text


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


async def _stream(
    model: Runnable[LanguageModelInput, Any],
    messages: Sequence[BaseMessage],
    on_token: OnToken | None,
    config: RunnableConfig | None,
) -> Answer:
    """One whole answer as text; ``value`` is left None."""
    pieces = _Pieces(on_token)
    try:
        async for chunk in model.astream(list(messages), config):
            pieces.take(chunk)
    except Exception as error:
        raise fault_of(error) from error
    return pieces.answer()


class _Pieces:
    """The chunks of one answer, gathered."""

    def __init__(self, on_token: OnToken | None) -> None:
        self.on_token = on_token
        self.texts: list[str] = []
        self.size = 0
        self.usage: dict[str, int] = {}
        self.finish = self.model = self.refusal = self.message_id = ""

    def take(self, chunk: BaseMessage) -> None:
        """Add one chunk."""
        self.message_id = str(chunk.id or self.message_id)
        if text := str(chunk.text):
            self.size += len(text)
            if self.size > MAX_CHARACTERS:
                raise Fault(
                    "invalid_output",
                    f"The model's answer exceeds {MAX_CHARACTERS:,} characters and was stopped",
                    origin="model",
                )
            self.texts.append(text)
            if self.on_token is not None:
                self.on_token(text)
        about = chunk.response_metadata
        # The client may report the same reason in two chunks; joining chunks would double it, so the last one counts.
        self.finish = str(about.get("finish_reason") or about.get("stop_reason") or self.finish)
        self.model = str(about.get("model_name") or about.get("model") or self.model)
        self.refusal = str(chunk.additional_kwargs.get("refusal") or self.refusal)
        if used := getattr(chunk, "usage_metadata", None):
            self.usage = _added(self.usage, {name: n for name, n in used.items() if isinstance(n, int)})

    def answer(self) -> Answer:
        """What the chunks amount to, or the fault."""
        text = "".join(self.texts)
        if self.refusal or self.finish in _REFUSED:
            raise Fault(
                "refused",
                f"The model refused: {self.refusal[:300] or self.finish}",
                origin="model",
                details={"answer": text[:_SHOWN], "finish_reason": self.finish},
            )
        if not self.finish:
            raise Fault(
                "unavailable",
                f"The model's stream was cut after {len(text):,} characters",
                origin="model",
                details={"answer": text[:_SHOWN]},
            )
        if not text.strip():
            raise Fault("invalid_output", f"The model's answer is empty (finish reason: {self.finish})", origin="model")
        return Answer(
            text=text,
            value=None,
            usage=self.usage,
            model=self.model,
            finish_reason=self.finish,
            message_id=self.message_id,
            truncated=self.finish in _CUT,
        )


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *(n for n in other if n not in one))}
