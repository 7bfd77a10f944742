"""The static form of a workflow that checks and runs share: steps with their edges, in nested scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from graphs.language.spec import Agent, ForEach, Repeat, Step, Steps, Use, WorkflowSpec
from nodes.base import Compiled, Node
from state.values import Json, Schema

if TYPE_CHECKING:
    from graphs.language.load import Workflow

RootKind: TypeAlias = Literal["input", "vars", "context", "run", "tool_results", "loop", "node", "meta"]


ON_FAILURE: Final = "on_failure"
FINALLY: Final = "finally"
UNDO: Final = "undo"


class Stage(Step):
    """The steps of ``on_failure`` or ``finally``; the run starts them when the workflow's own have come to their end."""

    nodes: Steps


class Unwinding(Step):
    """The step that takes back what is finished, one call after the other, in the reverse order of its completion."""


_KINDS: Mapping[type[Step], str] = {
    ForEach: "for_each",
    Repeat: "repeat",
    Use: "use",
    Stage: "stage",
    Unwinding: "undo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Where a root name of an expression finds its value: a step's value or record (``target``), or the scope itself."""

    root: str
    kind: RootKind
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reference of a step, resolved."""

    pointer: str
    target: str
    guarded: bool
    meta: bool
    path: tuple[str | int | None, ...]
    outer: bool = False


@dataclass(slots=True, kw_only=True)
class PlannedStep:
    """A step of the spec in its place: what it waits for, who waits for it, and its compiled fields."""

    id: str
    name: str
    step: Step
    scope: str
    pointer: str
    document: int = 0
    parents: dict[str, bool] = field(default_factory=dict)
    """Siblings that it waits for; True where their value is required."""
    selectors: tuple[str, ...] = ()
    """Conditions that name it as a target, steps that name it in ``on_error``, and the step that it stands in for."""
    successors: tuple[str, ...] = ()
    outer_required: tuple[str, ...] = ()
    """Steps outside the loop body whose value is required."""
    fields: dict[str, Compiled] = field(default_factory=dict)
    lookups: tuple[Lookup, ...] = ()
    uses: tuple[Reading, ...] = ()
    body_lookups: tuple[Lookup, ...] = ()
    """Lookups of a loop's own ``output`` and ``until``, evaluated inside its body."""
    body_uses: tuple[Reading, ...] = ()
    undo_lookups: tuple[Lookup, ...] = ()
    """Those of ``undo``'s arguments, evaluated once the step is done; its own value is among what they may see."""
    undo_uses: tuple[Reading, ...] = ()
    standins: tuple[str, ...] = ()
    """By fallback, in order: the id of the sibling that serves instead of the step, empty for other kinds of fallback."""
    stands_in: str = ""
    """The step that this one serves as a fallback; it runs inside that step's work and never by itself."""
    losers: tuple[str, ...] = ()
    """With ``cancel_rest``: the siblings that only lead here, given up once this step starts."""
    talks: bool = False
    """Whether the step is an llm node that works with tools: it holds its turns and calls as a loop does."""

    node: Node | None = field(init=False)
    """The node, where the step is one of the five kinds."""
    kind: str = field(init=False)
    """``llm``, ``tool``, ``condition``, ``transform``, ``human``, ``for_each``, ``repeat`` or ``use``; ``agent`` for an llm node
    that works with tools; ``stage`` or ``undo`` for what the plan itself adds."""

    def __post_init__(self) -> None:
        self.node = self.step if isinstance(self.step, Node) and not self.talks else None
        self.kind = "agent" if self.talks else self.node.type if self.node else _KINDS[type(self.step)]


@dataclass(slots=True, kw_only=True)
class Scope:
    """A set of steps that see each other: the workflow itself, a loop's body, a used workflow, a block at its end, or the turns
    and calls of an agent."""

    id: str
    kind: Literal["workflow", "for_each", "repeat", "use", "stage", "agent"]
    parent: str | None
    header: str | None
    document: int
    names: dict[str, str] = field(default_factory=dict)
    """Local name to step id."""
    entries: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    output: Compiled | None = None
    output_lookups: tuple[Lookup, ...] = ()
    output_uses: tuple[Reading, ...] = ()
    input_schema: Schema = field(default_factory=dict)
    vars: Mapping[str, Json] = field(default_factory=dict)
    agents: Mapping[str, Agent] = field(default_factory=dict)
    mode: str | None = None
    made: bool = False
    """Whether its steps are made by the plan, and stand nowhere in the text: their places are that of what holds them."""
    stages: dict[str, str] = field(default_factory=dict)
    """Of a workflow: ``on_failure`` and ``finally`` to the id of the step that holds the block, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole workflow, used workflows and loop bodies included; ``scopes['']`` is the workflow itself."""

    spec: WorkflowSpec
    steps: Mapping[str, PlannedStep]
    scopes: Mapping[str, Scope]
    documents: tuple[Workflow, ...] = ()
    """The workflow and those that it uses; ``PlannedStep.document`` and ``Scope.document`` count into it."""

    @property
    def sink(self) -> str:
        """The top-level step that writes the result when several end at once: the last leaf."""
        return self.scopes[""].leaves[-1]

    @property
    def undo(self) -> PlannedStep | None:
        """The step that takes back finished ones; None where no step can be taken back."""
        return self.steps.get(UNDO)
