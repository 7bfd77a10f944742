"""The canonical form of a workflow: one immutable pydantic model that every dialect loads into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Discriminator, Field, Tag

from graphs.language.testcase import Expected, TestCase
from graphs.language.triggers import AnyTrigger
from nodes.base import Duration, Fallback, Node, Part, Retry, Slot, Step
from nodes.condition import ConditionNode
from nodes.human import HumanNode
from nodes.llm import LlmNode
from nodes.profile import Agent, Budget, Handoff
from nodes.tool import ToolNode
from nodes.transform import TransformNode
from state.values import Json, Schema

LANGUAGE: Literal["v1"] = "v1"
Mode: TypeAlias = Literal["planning", "coding", "information", "debugging", "generic"]
MODES: tuple[Mode, ...] = ("planning", "coding", "information", "debugging", "generic")
RESERVED = frozenset(
    {"input", "steps", "vars", "context", "tool_results", "run", "output", "item", "index", "previous", "iteration"}
    | {"true", "false", "null", "and", "or", "not", "in"}
)
"""Names that no step may bear: the roots and loop variables of expressions, and their words."""
BLOCKS = frozenset({"on_failure", "finally", "undo"})
"""Names that no step may bear, for they stand for these parts of a run."""


class ForEach(Step):
    """Run a body once for every item of a list; the value is the list of the bodies' values, in input order."""

    for_each: str | list[Json] = Field(description="An expression that yields a list, or the list itself.")
    max_parallel: int = Field(8, ge=1, le=1000, description="How many items are worked on at the same time.")
    on_item_error: Literal["fail", "skip", "collect"] = "fail"
    min_success: float | None = Field(None, ge=0, le=1, description="The least share of items that must succeed.")
    nodes: Steps
    output: Json = Field(
        None, description="The body's value, an expression or a mapping; without it, that of its single last node."
    )

    def slots(self) -> Iterator[Slot]:
        """The list; the body's value is evaluated inside the loop (``body_slots``)."""
        literal = isinstance(self.for_each, list)
        yield Slot(pointer="/for_each", source=self.for_each, form="value" if literal else "expression")

    def body_slots(self) -> Iterator[Slot]:
        """What is evaluated among the body's nodes once they are settled."""
        yield from _body_output(self.output)


class Again(Part):
    """When a ``repeat`` stops."""

    until: bool | str | None = Field(None, description="Evaluated after each iteration; true ends the loop.")
    max_iterations: int = Field(ge=1, le=10_000)
    on_exhausted: Literal["fail", "keep"] = "fail"
    initial: Json = Field(None, description="What ``previous`` is in the first iteration.")


class Repeat(Step):
    """Run a body again and again; the value is the last iteration's."""

    repeat: Again
    nodes: Steps
    output: Json = Field(
        None, description="The body's value, an expression or a mapping; without it, that of its single last node."
    )

    def slots(self) -> Iterator[Slot]:
        """What ``previous`` is at first; the rest is evaluated inside the loop (``body_slots``)."""
        if self.repeat.initial is not None:
            yield Slot(pointer="/repeat/initial", source=self.repeat.initial)

    def body_slots(self) -> Iterator[Slot]:
        """What is evaluated among the body's nodes once they are settled."""
        if self.repeat.until is not None:
            yield Slot(pointer="/repeat/until", source=self.repeat.until, form="condition")
        yield from _body_output(self.output)


def _body_output(output: Json) -> Iterator[Slot]:
    """A loop's ``output``: text is an expression, anything else a value whose texts may hold islands."""
    if output is not None:
        yield Slot(pointer="/output", source=output, form="expression" if isinstance(output, str) else "value")


class Use(Step):
    """Run another workflow in place; the value is its output."""

    use: str = Field(description="The workflow: its name in the settings' folders, or a path beginning with ./ or ../.")
    with_: dict[str, Json] = Field(default_factory=dict, alias="with", description="The used workflow's input.")

    def slots(self) -> Iterator[Slot]:
        """The input."""
        yield Slot(pointer="/with", source=self.with_)


_KINDS: Mapping[str, type[Node]] = {
    "llm": LlmNode,
    "tool": ToolNode,
    "condition": ConditionNode,
    "transform": TransformNode,
    "human": HumanNode,
}
NODE_TYPES = tuple(_KINDS)


def step_class(raw: Any) -> type[Step] | None:
    """The class that a raw step is meant to be, by its telling key; None where it tells nothing."""
    if isinstance(raw, Step):
        return type(raw)
    if not isinstance(raw, Mapping):
        return None
    for key, chosen in (("for_each", ForEach), ("repeat", Repeat), ("use", Use)):
        if key in raw:
            return chosen
    kind = raw.get("type")
    return _KINDS.get(kind) if isinstance(kind, str) else None


def _tag(raw: Any) -> str:
    chosen = step_class(raw)
    return chosen.__name__ if chosen else "unknown"


AnyStep: TypeAlias = Annotated[
    Annotated[LlmNode, Tag("LlmNode")]
    | Annotated[ToolNode, Tag("ToolNode")]
    | Annotated[ConditionNode, Tag("ConditionNode")]
    | Annotated[TransformNode, Tag("TransformNode")]
    | Annotated[HumanNode, Tag("HumanNode")]
    | Annotated[ForEach, Tag("ForEach")]
    | Annotated[Repeat, Tag("Repeat")]
    | Annotated[Use, Tag("Use")],
    Discriminator(_tag),
]
Steps: TypeAlias = Annotated[dict[str, AnyStep], Field(min_length=1)]


class Limits(Part):
    """What a run may use before it pauses."""

    timeout: Duration | None = None
    max_steps: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, le=1_000_000_000)] | None = None


Label: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=63)]
"""What an instance is known by, such as ``eu`` or ``gpu``."""


class Requires(Part):
    """What an instance must have so that it may run the workflow."""

    labels: Annotated[list[Label], Field(max_length=32)] = Field(
        default_factory=list, description="The labels that its settings must all have."
    )


class Block(Part):
    """Nodes that run after the workflow's own."""

    nodes: Steps = Field(description="The steps of the block, by name.")


class WorkflowSpec(Part):
    """A workflow as data."""

    cogwork: Literal["v1"] = LANGUAGE
    name: str = Field(pattern=r"^[A-Za-z_][\w.-]*$", max_length=128)
    version: str = "1"
    description: str = ""
    mode: Mode | None = Field(None, description="Selects the prompts and the model.")
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Json] = Field(default_factory=dict)
    input: Schema = Field(default_factory=lambda: object_schema({}), description="Schema of the input.")
    vars: dict[str, Json] = Field(default_factory=dict, description="Constants, as {{ vars.name }}.")
    agents: dict[str, Agent] = Field(default_factory=dict)
    limits: Limits = Limits()
    requires: Requires = Field(Requires(), description="Where it may run; every instance without it.")
    nodes: Steps
    output: Json = Field(None, description="The result; without it, the values of the last nodes.")
    parallel_groups: list[list[str]] = Field(default_factory=list, description="Checked against the edges, adds none.")
    on_failure: Block | None = None
    finally_: Block | None = Field(None, alias="finally")
    triggers: dict[str, AnyTrigger] = Field(
        default_factory=dict, description="What starts the workflow while this version is the published one."
    )
    tests: dict[str, TestCase] = Field(default_factory=dict, description="Tests of the workflow, for `cogwork test`.")

    def slots(self) -> Iterator[Slot]:
        """The workflow's result."""
        if self.output is not None:
            yield Slot(pointer="/output", source=self.output)


def object_schema(properties: Mapping[str, Json]) -> Schema:
    """The schema of an object with just these properties; those without a default are required."""
    needed = [name for name, schema in properties.items() if not (isinstance(schema, Mapping) and "default" in schema)]
    return {"type": "object", "properties": dict(properties), "required": needed, "additionalProperties": False}


def full_schema(raw: Mapping[str, Json]) -> Schema:
    """The schema that ``raw`` stands for: itself if it has both ``type: object`` and ``properties``, else a map of
    properties; ``repo: string`` is short for ``repo: {type: string}``."""
    if raw.get("type") == "object" and isinstance(raw.get("properties"), Mapping):
        return dict(raw)
    return object_schema({name: {"type": s} if isinstance(s, str) else s for name, s in raw.items()})


for _model in (ForEach, Repeat, Block, WorkflowSpec):
    _model.model_rebuild()

__all__ = [
    "BLOCKS",
    "LANGUAGE",
    "MODES",
    "NODE_TYPES",
    "RESERVED",
    "Again",
    "Agent",
    "AnyStep",
    "BaseModel",
    "Block",
    "Budget",
    "ConditionNode",
    "Expected",
    "Fallback",
    "ForEach",
    "Handoff",
    "HumanNode",
    "Label",
    "Limits",
    "LlmNode",
    "Mode",
    "Node",
    "Repeat",
    "Requires",
    "Retry",
    "Step",
    "Steps",
    "TestCase",
    "ToolNode",
    "TransformNode",
    "Use",
    "WorkflowSpec",
    "full_schema",
    "object_schema",
    "step_class",
]
