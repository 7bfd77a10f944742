"""Workflows written in Python: the same fields, checks and problems as in a document.

Builders are immutable; every call returns a new one:

    greet = (
        workflow("greet", input={"who": "string"})
        .llm("words", "Greet {{ input.who }} warmly.")
        .output("{{ words }}")
    )
    spec = greet.spec()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack

from graphs.language.dump import plain
from graphs.language.load import Workflow, load
from graphs.language.spec import Agent, Fallback, Limits, Mode, Retry, WorkflowSpec
from nodes.base import AtLeast, Condition, Then, Undo
from nodes.condition import Case, Targets
from nodes.profile import Approval, Budget
from state.errors import SpecError
from state.problems import Problem
from state.services import Effect
from state.values import Json, Schema

Time: TypeAlias = str | float
"""A duration: ``30s``, ``1h30m``, or seconds."""
Fields: TypeAlias = Mapping[str, Json] | Schema
"""A map of properties (``{"repo": "string"}``) or a full schema."""
Raw: TypeAlias = Mapping[str, Json]
"""A part as a document would write it."""


class StepFields(TypedDict, total=False):
    """What every step may have."""

    description: str
    depends_on: str | list[str]
    when: Condition
    join: Literal["default", "all", "any", "always"] | AtLeast | Raw
    cancel_rest: bool
    on_error: Literal["fail", "skip"] | Then | Raw
    metadata: Mapping[str, Json]


class NodeFields(StepFields, total=False):
    """What every node may have besides."""

    retry: Retry | Raw
    timeout: Time
    total_timeout: Time
    fallback: Sequence[Fallback | Raw]
    undo: Undo | Raw
    cache: Time


class LlmFields(NodeFields, total=False):
    """What an llm node may have besides."""

    system: str
    output: Fields
    model: str
    agent: str
    tools: list[str]
    mode: Mode
    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    max_tokens: int
    stop: list[str]
    history: bool | Raw
    approve: Mapping[str, Approval]
    budget: Budget | Raw
    stop_after: list[str]
    handoffs: bool


class ToolFields(NodeFields, total=False):
    """What a tool node may have besides."""

    effect: Effect
    idempotent: bool


class WorkflowFields(TypedDict, total=False):
    """What a workflow may have beside its nodes."""

    version: str
    description: str
    mode: Mode
    tags: list[str]
    metadata: Mapping[str, Json]
    input: Fields
    vars: Mapping[str, Json]
    agents: Mapping[str, Agent | Raw]
    limits: Limits | Raw


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in the making: the body of a loop, or those of ``on_failure`` and ``finally``."""

    steps: tuple[tuple[str, Mapping[str, Json]], ...] = ()

    def llm(self, name: str, prompt: str, with_: Mapping[str, Json] | None = None, **fields: Unpack[LlmFields]) -> Self:
        """Ask a model; ``with_`` holds the prompt's variables."""
        return self._with(name, {"type": "llm", "prompt": prompt, "with": with_, **fields})

    def tool(
        self,
        name: str,
        tool: str,
        args: Mapping[str, Json] | None = None,
        *,
        output: Fields | None = None,
        **fields: Unpack[ToolFields],
    ) -> Self:
        """Call a tool."""
        return self._with(name, {"type": "tool", "tool": tool, "args": args, "output": output, **fields})

    def condition(
        self,
        name: str,
        cases: Sequence[tuple[Condition, Targets] | Case],
        *,
        else_: Targets | None = None,
        match: Literal["first", "all"] | None = None,
        **fields: Unpack[NodeFields],
    ) -> Self:
        """Choose targets; a case is a condition and the targets that it selects."""
        listed = [{"if": case[0], "then": case[1]} if isinstance(case, tuple) else case for case in cases]
        return self._with(name, {"type": "condition", "cases": listed, "else": else_, "match": match, **fields})

    def transform(self, name: str, set: Json, *, output: Fields | None = None, **fields: Unpack[NodeFields]) -> Self:
        """Build a value out of others."""
        raw = {"type": "transform", "output": output, **fields}
        return self._with(name, raw, keep={"set": set})

    def human(
        self,
        name: str,
        ask: str,
        *,
        form: Fields | None = None,
        show: Json = None,
        on_timeout: Json = None,
        **fields: Unpack[NodeFields],
    ) -> Self:
        """Ask a person."""
        raw = {"type": "human", "ask": ask, "form": form, "show": show, "on_timeout": on_timeout, **fields}
        return self._with(name, raw)

    def for_each(
        self,
        name: str,
        items: str | list[Json],
        body: Block,
        *,
        max_parallel: int | None = None,
        on_item_error: Literal["fail", "skip", "collect"] | None = None,
        min_success: float | None = None,
        output: Json = None,
        **fields: Unpack[StepFields],
    ) -> Self:
        """Run a body for every item of a list."""
        raw = {"for_each": items, "max_parallel": max_parallel, "on_item_error": on_item_error}
        return self._with(name, {**raw, "min_success": min_success, "output": output, **fields}, body=body)

    def repeat(
        self,
        name: str,
        body: Block,
        *,
        max_iterations: int,
        until: Condition | None = None,
        on_exhausted: Literal["fail", "keep"] | None = None,
        initial: Json = None,
        output: Json = None,
        **fields: Unpack[StepFields],
    ) -> Self:
        """Run a body again and again."""
        again = {"max_iterations": max_iterations, "until": until, "on_exhausted": on_exhausted, "initial": initial}
        return self._with(name, {"repeat": _given(again), "output": output, **fields}, body=body)

    def use(
        self, name: str, workflow: str, with_: Mapping[str, Json] | None = None, **fields: Unpack[StepFields]
    ) -> Self:
        """Run another workflow in place; ``with_`` is its input."""
        return self._with(name, {"use": workflow, "with": with_, **fields})

    def nodes(self) -> dict[str, Json]:
        """The steps as plain data.

        Raises:
            SpecError: two of them bear one name.
        """
        twice = [name for name, count in Counter(name for name, _ in self.steps).items() if count > 1]
        if twice:
            hint = "Rename all but one of them."
            raise SpecError(
                tuple(
                    Problem(code="duplicate_key", message=f"Two steps are named {name!r}", pointer="/nodes", hint=hint)
                    for name in twice
                )
            )
        return {name: plain(dict(raw)) for name, raw in self.steps}

    def _with(
        self,
        name: str,
        raw: Mapping[str, Any],
        *,
        keep: Mapping[str, Json] | None = None,
        body: Block | None = None,
    ) -> Self:
        """One more step; what is None was not given, except in ``keep``."""
        inner = {"nodes": body.nodes()} if body is not None else {}
        return replace(self, steps=(*self.steps, (name, {**_given(raw), **(keep or {}), **inner})))


@dataclass(frozen=True, slots=True)
class Builder(Block):
    """A workflow in the making."""

    head: Mapping[str, Json] = field(default_factory=dict)

    def output(self, value: Json) -> Self:
        """Say what the workflow's result is."""
        return replace(self, head={**self.head, "output": value})

    def on_failure(self, block: Block) -> Self:
        """Give the steps that run after a failure."""
        return replace(self, head={**self.head, "on_failure": {"nodes": block.nodes()}})

    def finally_(self, block: Block) -> Self:
        """Give the steps that run at the end, come what may."""
        return replace(self, head={**self.head, "finally": {"nodes": block.nodes()}})

    def parallel_groups(self, *groups: list[str]) -> Self:
        """Claim that the steps of each group do not wait for each other."""
        return replace(self, head={**self.head, "parallel_groups": list(groups)})

    def build(self) -> Workflow:
        """The loaded workflow.

        Raises:
            SpecError: with every fault found.
        """
        return load({"cogwork": "v1", **plain(dict(self.head)), "nodes": self.nodes()})

    def spec(self) -> WorkflowSpec:
        """The workflow's spec; refuses what ``build`` refuses."""
        return self.build().spec


def workflow(name: str, **fields: Unpack[WorkflowFields]) -> Builder:
    """Begin a workflow."""
    return Builder(head={"name": name, **_given(fields)})


def block() -> Block:
    """Begin the body of a loop, or the steps of ``on_failure`` or ``finally``."""
    return Block()


def _given(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if value is not None}
