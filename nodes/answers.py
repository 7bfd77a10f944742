"""What a model said: its text and tool calls, gathered from the chunks of a stream; a cut stream is a fault, not an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from state.errors import Fault
from state.usage import counted, summed
from state.values import Json, normalise

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

OnToken: TypeAlias = Callable[[str], None]
"""Called with each piece of text as it arrives; a repaired answer is streamed again from its start."""
MAX_CHARACTERS: Final = 2_000_000
"""An answer that grows beyond this is stopped."""
SHOWN: Final = 2_000
"""How many characters of an answer that cannot be used stand in the fault."""
_REFUSED: Final = frozenset({"content_filter", "refusal", "safety", "blocked"})
_CUT: Final = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said: ``value`` is the parsed value with a schema, else the text; ``usage`` sums all rounds.

    ``truncated`` says that a text ended at the token limit; ``repaired`` that the value fitted only at the second try.
    """

    text: str
    value: Json
    usage: dict[str, Json] = field(default_factory=dict)
    model: str = ""
    finish_reason: str = ""
    truncated: bool = False
    repaired: bool = False
    message_id: str = ""
    """The id that the streamed pieces of the answer had."""
    calls: list[dict[str, Json]] = field(default_factory=list)
    """The tools that the model wants called: ``{id, name, args}``, or ``{id, name, error}`` where its arguments are no JSON."""

    def to_dict(self) -> dict[str, Json]:
        """The answer as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Json]) -> Answer:
        """The answer that ``to_dict`` gave."""
        return cls(**{name: raw[name] for name in (made.name for made in fields(cls)) if name in raw})


class Pieces:
    """The chunks of one answer, gathered."""

    def __init__(self, on_token: OnToken | None) -> None:
        self.on_token = on_token
        self.texts: list[str] = []
        self.size = 0
        self.usage: dict[str, Json] = {}
        self.finish = self.model = self.refusal = self.message_id = ""
        self.calls: Any = None
        """The chunks that hold pieces of tool calls, joined."""

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
        if pieces := getattr(chunk, "tool_call_chunks", None):
            self._take_calls(pieces)
        elif whole := getattr(chunk, "tool_calls", None):
            self._take_calls([_piece_of(call) for call in whole])
        about = chunk.response_metadata
        # The client may report the same reason in two chunks; joining chunks would double it, so the last one counts.
        self.finish = str(about.get("finish_reason") or about.get("stop_reason") or self.finish)
        self.model = str(about.get("model_name") or about.get("model") or self.model)
        self.refusal = str(chunk.additional_kwargs.get("refusal") or self.refusal)
        if used := getattr(chunk, "usage_metadata", None):
            self.usage = summed(self.usage, counted(used))

    def _take_calls(self, pieces: Sequence[Any]) -> None:
        """Add the pieces of tool calls that one chunk holds."""
        from langchain_core.messages import AIMessageChunk

        self.size += sum(len(piece.get("args") or "") for piece in pieces)
        if self.size > MAX_CHARACTERS:
            told = f"The model's tool calls exceed {MAX_CHARACTERS:,} characters and were stopped"
            raise Fault("invalid_output", told, origin="model")
        part = AIMessageChunk(content="", tool_call_chunks=list(pieces))
        self.calls = part if self.calls is None else self.calls + part

    def answer(self) -> Answer:
        """What the chunks amount to, or the fault."""
        text = _whole("".join(self.texts))
        calls = _wanted(self.calls)
        if self.refusal or self.finish in _REFUSED:
            raise Fault(
                "refused",
                f"The model refused: {self.refusal[:300] or self.finish}",
                origin="model",
                details={"answer": text[:SHOWN], "finish_reason": self.finish},
            )
        if not self.finish:
            raise Fault(
                "unavailable",
                f"The model's stream was cut after {len(text):,} characters",
                origin="model",
                details={"answer": text[:SHOWN]},
            )
        if calls and self.finish in _CUT:
            told = "The model's tool calls ended at its token limit before they were complete; raise max_tokens"
            raise Fault("invalid_output", told, origin="model", details={"usage": self.usage})
        if not text.strip() and not calls:
            raise Fault("invalid_output", f"The model's answer is empty (finish reason: {self.finish})", origin="model")
        return Answer(
            text=text,
            value=None,
            usage=self.usage,
            model=self.model,
            finish_reason=self.finish,
            message_id=self.message_id,
            truncated=self.finish in _CUT,
            calls=calls,
        )


def _piece_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """A whole tool call as the piece of one, of a model that does not stream."""
    return {"type": "tool_call_chunk", "index": None, **call, "args": json.dumps(call["args"], ensure_ascii=False)}


def _wanted(joined: Any) -> list[dict[str, Json]]:
    """The calls in joined chunks; one whose arguments are no JSON object is kept, with what is wrong with it."""
    if joined is None:
        return []
    found: list[dict[str, Json]] = []
    for number, piece in enumerate(joined.tool_call_chunks):
        call: dict[str, Json] = {"id": piece.get("id") or f"call_{number}", "name": str(piece.get("name") or "")}
        try:
            args = normalise(json.loads(piece.get("args") or "{}", parse_constant=no_constant))
        except (ValueError, RecursionError) as error:
            found.append({**call, "error": f"the arguments are no JSON: {getattr(error, 'reason', None) or error}"})
            continue
        if isinstance(args, dict):
            found.append({**call, "args": args})
        else:
            found.append({**call, "error": "the arguments must be a JSON object"})
    return found


def no_constant(name: str) -> Json:
    """Refuse what Python reads as JSON and is none."""
    raise ValueError(f"{name} is not JSON")


def _whole(text: str) -> str:
    """The text, in which pieces have parted no character.

    Raises:
        Fault: ``invalid_output``; half a character is left, which no store and no protocol can hold.
    """
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        told = "The model's answer holds half a character (a lone surrogate)"
        raise Fault("invalid_output", told, origin="model") from error
