"""The services that node kinds may call, as the smallest protocols that serve them; implementations live above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Effect: TypeAlias = Literal["none", "read", "write"]
"""What a call does to the world: nothing, look at it, or change it."""


Fate: TypeAlias = Literal["rest", "cancel", "undo"]
"""What becomes of a run within a call that is cut off: it goes on later, is given up, or is given up and taken back."""


def _unheard(done: float, total: float | None, message: str) -> None:
    """Nobody listens to the progress of the call."""


def _uncounted(usage: Mapping[str, Json]) -> None:
    """Nobody counts what the call uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The run that makes a call, for a tool that itself runs something which is to be kept, stopped and counted with it.

    ``checkpointer``  LangGraph's saver that keeps the run; None where nothing is kept
    ``depth``         how many runs that one is within; 0 for a run that nobody's call has started
    ``context``       what it was called with: session, user, history, project, environment
    ``fate``          what is to become of what the call runs, asked when the call is cut off
    """

    checkpointer: Any = None
    depth: int = 0
    context: Mapping[str, Json] = field(default_factory=dict)
    fate: Callable[[], Fate] = lambda: "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Who calls a tool: the run, the step's path within it, and the key under which the call is the same call.

    ``answers``   what people have answered to what this call asked before (``state.errors.Asked``), by the question's id
    ``progress``  told how far a long call has come: what is done, of how much (None where unknown), and a sentence
    ``spend``     told what the call has used of models: ``total_tokens``, ``cost_usd`` …; it counts as the step's own use
    ``within``    the run that makes the call, where one does
    """

    run: str
    step: str
    idempotency_key: str
    attempt: int = 1
    answers: Mapping[str, Json] = field(default_factory=dict)
    progress: Callable[[float, float | None, str], None] = _unheard
    spend: Callable[[Mapping[str, Json]], None] = _uncounted
    within: Within | None = None


class Tool(Protocol):
    """Something that can be called by name with JSON arguments."""

    @property
    def name(self) -> str:
        """The name that specs use, such as ``text.search``."""

    @property
    def description(self) -> str:
        """What it does, for people and models."""

    @property
    def args_schema(self) -> Schema:
        """JSON Schema of the arguments, an object."""

    @property
    def output_schema(self) -> Schema:
        """JSON Schema of the result; empty where nothing is known."""

    @property
    def effect(self) -> Effect:
        """``write`` unless the tool says otherwise."""

    @property
    def idempotent(self) -> bool:
        """Whether calling twice with the same key does the work once."""

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        """The result of one call; ``args`` fit ``args_schema``.

        Raises:
            Fault: a typed failure; any other exception becomes a ``tool_error``.
            Asked: it cannot go on without a person, and has done nothing yet; it is called again with the answer.
        """


class Tools(Protocol):
    """The tools that the settings allow, by name."""

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""

    def names(self) -> Iterable[str]:
        """All names, sorted."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that nobody has heard of the name: its server is out of reach."""

    async def release(self, run: str) -> None:
        """Let go of what is held for that run alone; it has ended or rests."""


class Models(Protocol):
    """The chat models that the settings allow."""

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model of that ``provider:model`` name; None takes the mode's or the default one.

        ``settings`` are call settings such as ``temperature`` (number) and ``max_tokens`` (integer).

        Raises:
            Fault: ``invalid_input`` where the name is unknown or not allowed, with suggestions.
        """

    def price(self, name: str) -> tuple[float, float] | None:
        """USD for a million tokens read and written by the model of that name; None where nobody has said."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` would refuse that name, in one sentence; None when it would not. Opens no connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A declared variable of a prompt; ``schema`` is the JSON Schema of its type."""

    name: str
    schema: Schema = field(default_factory=dict)
    required: bool = True
    default: Json = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """What a model is told: ``system`` (may be empty) and ``user`` text."""

    system: str
    user: str


class PromptFile(Protocol):
    """A prompt template with declared variables."""

    @property
    def name(self) -> str:
        """Its name, such as ``planning/plan``."""

    @property
    def version(self) -> str:
        """Its version text."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The declared variables, in order."""

    def render(self, values: Mapping[str, Json]) -> RenderedPrompt:
        """The prompt with its variables filled in.

        Raises:
            Fault: ``invalid_input`` for a missing, unknown or ill-typed variable, naming it.
        """


class Prompts(Protocol):
    """Prompt files by name, per mode."""

    def find(self, name: str, *, mode: str | None = None) -> PromptFile | None:
        """The prompt of that name: the mode's own first, then the shared one; None when there is none."""

    def names(self) -> Iterable[str]:
        """All names, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that a graph is bound to when it is built."""

    tools: Tools
    models: Models
    prompts: Prompts
