"""The static form of a workflow that checks and runs share: steps with their edges, in nested scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from graphs.language.spec import Agent, ForEach, Repeat, Step, Use, WorkflowSpec
from nodes.base import Compiled, Node
from state.values import Json, Schema

if TYPE_CHECKING:
    from graphs.language.load import Workflow

RootKind: TypeAlias = Literal["input", "vars", "context", "run", "tool_results", "loop", "node", "meta"]


_KINDS: Mapping[type[Step], str] = {ForEach: "for_each", Repeat: "repeat", Use: "use"}


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
    """Conditions that name it as a target, and steps that name it in ``on_error``."""
    successors: tuple[str, ...] = ()
    outer_required: tuple[str, ...] = ()
    """Steps outside the loop body whose value is required."""
    fields: dict[str, Compiled] = field(default_factory=dict)
    lookups: tuple[Lookup, ...] = ()
    uses: tuple[Reading, ...] = ()
    body_lookups: tuple[Lookup, ...] = ()
    """Lookups of a loop's own ``output`` and ``until``, evaluated inside its body."""
    body_uses: tuple[Reading, ...] = ()

    node: Node | None = field(init=False)
    """The node, where the step is one of the five kinds."""
    kind: str = field(init=False)
    """``llm``, ``tool``, ``condition``, ``transform``, ``human``, ``for_each``, ``repeat`` or ``use``."""

    def __post_init__(self) -> None:
        self.node = self.step if isinstance(self.step, Node) else None
        self.kind = self.node.type if self.node else _KINDS[type(self.step)]


@dataclass(slots=True, kw_only=True)
class Scope:
    """A set of steps that see each other: the workflow itself, a loop's body, or a used workflow."""

    id: str
    kind: Literal["workflow", "for_each", "repeat", "use"]
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
