"""The services that node kinds may call, as the smallest protocols that serve them; implementations live above."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from state.errors import Fault
from state.values import MAX_BYTES, Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Effect: TypeAlias = Literal["none", "read", "write"]
"""What a call does to the world: nothing, look at it, or change it."""


SECRET: Final = re.compile(r"secret://([\w-]+(?:\.[\w-]+)*)")
"""A reference to a secret; its group is the secret's name."""
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
    ``observer``      who keeps a record of runs (``state.durable.Observer``), where anybody does
    """

    checkpointer: Any = None
    depth: int = 0
    context: Mapping[str, Json] = field(default_factory=dict)
    fate: Callable[[], Fate] = lambda: "rest"
    observer: Any = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCall:
    """A call that is about to be made, for whoever watches: of a tool or a model, the ``target``, by a step of a run."""

    kind: Literal["tool", "model"]
    target: str
    run: str
    step: str
    key: str
    attempt: int = 1
    args: Json = None


class CallWatch(Protocol):
    """Who watches calls being made; nothing that it does may fail or take time."""

    def call(self, made: MadeCall) -> AbstractContextManager[Callable[[Json], None]]:
        """Around one call; what it gives is told the result, without secrets."""


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

    def matching(self, pattern: str) -> Iterable[str]:
        """The names that a pattern such as ``git.*`` fits, sorted; may have to ask a server for its tools, once."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that nobody has heard of the name: its server is out of reach."""

    async def release(self, run: str) -> None:
        """Let go of what is held for that run alone; it has ended or rests."""


class Price(NamedTuple):
    """What a model costs, in USD per million tokens; tokens out of and into the provider's cache as others where None."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


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

    def context_length(self, name: str) -> int | None:
        """How many tokens the model of that name takes, those of its answer among them; None where nobody has said."""

    def price(self, name: str) -> Price | None:
        """What the model of that name costs; None where nobody has said."""

    def fallbacks(self, mode: str | None) -> Sequence[str]:
        """The models that serve in that mode, in order, when a step that names no fallback of its own has failed for good."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` would refuse that name, in one sentence; None when it would not. Opens no connection."""


Keep: TypeAlias = Literal["head", "tail", "both", "items"]
"""Which part of a value stays when it is shortened: its beginning, its end, both ends; ``items`` is the first whole items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a variable may be shortened, in tokens.

    ``priority``  the lowest gives way first; None where the variable is shortened to ``most`` only
    ``least``     what is kept of it in any case
    ``most``      what is kept of it at the most, also where there is room; None for no bound
    """

    priority: int | None = None
    least: int = 0
    most: int | None = None
    keep: Keep = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A declared variable of a prompt; ``schema`` is the JSON Schema of its type. Without ``cut`` it is never shortened."""

    name: str
    schema: Schema = field(default_factory=dict)
    required: bool = True
    default: Json = None
    description: str = ""
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """What was left out of a prompt so that it fits: of which variable, how many tokens, and in words what is left."""

    variable: str
    dropped: int
    how: str

    def to_dict(self) -> dict[str, Json]:
        """The same as plain JSON."""
        return {"variable": self.variable, "dropped": self.dropped, "how": self.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """What a model is told: ``system`` (may be empty) and ``user`` text; of which prompt, and what was left out of it."""

    system: str
    user: str
    name: str = ""
    version: str = ""
    shortened: tuple[Shortened, ...] = ()


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

    @property
    def budget(self) -> int | None:
        """The tokens that it may have at most; None for as many as it comes to."""

    def render(
        self,
        values: Mapping[str, Json],
        *,
        context: Mapping[str, Json] | None = None,
        tokens: int | None = None,
        model: str = "",
    ) -> RenderedPrompt:
        """The prompt with its variables filled in, and with what it declares of the run's ``context``.

        ``tokens`` is how many it may have at most, as ``model`` counts them: what may be shortened is.

        Raises:
            Fault: ``invalid_input`` for a missing, unknown or ill-typed variable, naming it; or for a prompt that does not
                fit, saying by how much.
        """


class Prompts(Protocol):
    """Prompt files by name, per mode."""

    def find(self, name: str, *, mode: str | None = None) -> PromptFile | None:
        """The prompt of that name: the mode's own first, then the shared one; None when there is none.

        ``name@version`` asks for that version, a bare name for the latest.
        """

    def names(self) -> Iterable[str]:
        """All names, sorted."""


class ToolFinder(Protocol):
    """Search over the tools that the settings allow."""

    def search(self, query: str, k: int, among: Sequence[str] | None = None) -> list[str]:
        """The names of at most ``k`` tools that fit the query, best first; only those ``among`` where it is given.

        May block for a request to an embedding model: call it from a thread.
        """


class Secrets(Protocol):
    """The secrets that the settings hold, by name; ``secret://name`` stands for one everywhere but in the call itself."""

    def names(self) -> Iterable[str]:
        """All names, sorted."""

    def problem(self, name: str, *, tool: str = "") -> str | None:
        """Why ``resolve`` would refuse that name, or that tool may not be given it, in one sentence; None where all is well."""

    def resolve(self, value: Json) -> Json:
        """``value`` with every reference in its texts replaced by the secret; nested values at every depth, keys as they are.

        For values that the settings or the spec hold, never for data: who may write a reference reads the secret.

        Raises:
            Fault: ``invalid_input``; a secret is not known, or has no value.
        """

    def redact(self, value: Json, *, cut: bool = False) -> Json:
        """``value`` with every secret in its texts and keys, in any of its usual encodings, replaced by its reference.

        The very same object where there is nothing to replace. ``cut`` says that a text may end in the middle of a secret.
        """


class NoSecrets:
    """The ``Secrets`` of whoever holds none."""

    def names(self) -> Iterable[str]:
        """None."""
        return ()

    def problem(self, name: str, *, tool: str = "") -> str | None:
        """No name is known."""
        return f"There is no secret {name!r} in the settings"

    def resolve(self, value: Json) -> Json:
        """The value, where it refers to no secret."""
        for text in texts_in(value):
            if found := SECRET.search(text):
                raise Fault("invalid_input", self.problem(found[1]) or "", origin="tool", stage="arguments")
        return value

    def redact(self, value: Json, *, cut: bool = False) -> Json:
        """The value."""
        return value


def texts_in(value: Json) -> Iterable[str]:
    """Every text of a plain value, its keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLimits:
    """How many bytes the result of one tool call may have: by the tool's name or a pattern of it, the first that fits."""

    usual: int = MAX_BYTES
    by_tool: Mapping[str, int] = field(default_factory=dict)

    def of(self, tool: str) -> int:
        """The limit of a tool of that name, in bytes."""
        return next((limit for pattern, limit in self.by_tool.items() if fnmatchcase(tool, pattern)), self.usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that a graph is bound to when it is built; without a ``finder`` nobody can search the tools, without a ``watch``
    nobody watches the calls."""

    """All that a graph is bound to when it is built; without a ``finder`` nobody can search the tools.

    ``labels`` are those of the instance, for workflows that require some; None where nobody minds.
    """

    tools: Tools
    models: Models
    prompts: Prompts
    finder: ToolFinder | None = None
    secrets: Secrets = field(default_factory=NoSecrets)
    result_limits: ResultLimits = field(default_factory=ResultLimits)
    watch: CallWatch | None = None
    labels: frozenset[str] | None = None
