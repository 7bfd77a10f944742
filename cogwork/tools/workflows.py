"""Workflows as tools: each workflow of the settings' folders and of the catalog can be called as ``workflow.NAME``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from graphs.analysis.check import Analysis, analyse
from graphs.analysis.expand import expand
from graphs.analysis.plan import Plan, PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.fitting import literal
from graphs.analysis.rules.logic import TRUE
from graphs.language.load import Workflow
from graphs.language.spec import LlmNode, ToolNode
from graphs.locality import required_labels
from nodes.base import CallingNode
from nodes.conversation import offered
from nodes.expression.schemas import nullable
from state.errors import Fault, SpecError
from state.services import CallContext, Effect, Services, Tools, Within
from state.values import Json, Schema

if TYPE_CHECKING:
    from cogwork.records.bundles import Bundles
    from graphs.graph import WorkflowGraph

PREFIX: Final = "workflow."
_WORSE: Final[tuple[Effect, ...]] = ("none", "read", "write")


class Workflows(Protocol):
    """Where workflows are found, and what their graphs are bound to."""

    @property
    def services(self) -> Services:
        """The tools, models and prompts that the settings allow."""

    def workflow_files(self) -> Iterator[Path]:
        """Every workflow file; of two with one name the first."""

    def find(self, name: str) -> Path | None:
        """The file of the workflow of that name, or None."""

    def load(self, source: Path) -> Workflow:
        """The workflow of a file."""

    def resolve(self, name: str, user: Workflow) -> Workflow | None:
        """What ``use: name`` means in a workflow."""

    def specs(self) -> Bundles:
        """The specs that runs began with."""

    @property
    def cache(self) -> Any:
        """LangGraph's cache, for steps that say ``cache:``."""


class WorkflowTools:
    """The workflows as tools; each is read when it is first looked for, and stays as it was then.

    ``max_depth`` is how many runs may be within each other.
    """

    def __init__(self, workflows: Workflows, max_depth: int) -> None:
        self._workflows, self._max_depth = workflows, max_depth
        self._made: dict[str, WorkflowTool | str] = {}

    def names(self) -> list[str]:
        """The names of all of them, those that cannot be loaded included."""
        return [PREFIX + path.stem for path in self._workflows.workflow_files()]

    def find(self, name: str) -> WorkflowTool | None:
        """The tool of that name; None where there is no such workflow, or it cannot be loaded."""
        found = self._found(name)
        return found if isinstance(found, WorkflowTool) else None

    def problem(self, name: str) -> str | None:
        """Why there is no tool of that name although there is such a workflow."""
        found = self._found(name)
        return found if isinstance(found, str) else None

    def _found(self, name: str) -> WorkflowTool | str | None:
        if name in self._made or not name.startswith(PREFIX):
            return self._made.get(name)
        path = self._workflows.find(name.removeprefix(PREFIX))
        if path is None:
            return None
        try:
            loaded = self._workflows.load(path)
        except SpecError as err:
            self._made[name] = f"The workflow {path} cannot be loaded: {_brief(err)}"
        else:
            self._made[name] = WorkflowTool(name, loaded, self._workflows, self._max_depth)
        return self._made[name]


class WorkflowTool:
    """A workflow that is called like a tool; each call is a run of its own, kept and stopped with the run that makes it."""

    idempotent = True
    """Called again under its key, it goes on with the run that it began, or takes the result of that."""
    lets_go = True
    """Its call may be cut off although it writes: the run within it is then stopped in order."""

    def __init__(self, name: str, workflow: Workflow, workflows: Workflows, max_depth: int) -> None:
        self.name, self.workflow = name, workflow
        self._workflows, self._max_depth = workflows, max_depth
        self._checking = self._typing = False

    @property
    def place(self) -> str:
        """The workflow's file."""
        source = self.workflow.source
        return str(source.file) if source is not None and source.file else "a workflow"

    @property
    def description(self) -> str:
        """What the workflow says of itself."""
        spec = self.workflow.spec
        return spec.description or f"Run the workflow {spec.name}."

    @property
    def args_schema(self) -> Schema:
        """The workflow's input."""
        return self.workflow.spec.input

    @property
    def output_schema(self) -> Schema:
        """What is known of the workflow's output; nothing where it has faults, or where that depends on itself."""
        if self._typing:
            return {}
        self._typing = True
        try:
            return self._output_schema
        finally:
            self._typing = False

    @cached_property
    def _output_schema(self) -> Schema:
        if self.faults:
            return {}
        facts, top = Facts(plan=self._plan, services=self._workflows.services), self._plan.scopes[""]
        types = facts.types
        if "" in types.results:
            return literal(schema["const"]) if "const" in (schema := types.results[""].schema) else schema
        leaves = [leaf for leaf in top.leaves if self._plan.steps[leaf].kind != "condition"]
        single = types.values.get(leaves[0], {}) if len(leaves) == 1 else {}
        surely = bool(single) and facts.presences.of[leaves[0]].done == TRUE
        return single if surely or not single else nullable(single)

    @property
    def required_labels(self) -> frozenset[str]:
        """The labels that an instance must have for it and for the workflows that it calls as tools."""
        return frozenset().union(*(required_labels(tool._plan) for tool in self._reached()))

    @property
    def effect(self) -> Effect:
        """The worst of its steps, those of workflows that it calls as tools among them."""
        worst = max((_WORSE.index(effect) for tool in self._reached() for effect in tool.own_effects), default=0)
        return _WORSE[worst]

    effect_declared = True

    @property
    def reaches(self) -> frozenset[str]:
        """The names of the workflows that its steps surely name as tools, directly or through each other."""
        found, waiting = set[str](), [self]
        while waiting:
            fresh = waiting.pop().own_calls - found
            found |= fresh
            waiting += self._tools(fresh)
        return frozenset(found)

    @property
    def faults(self) -> tuple[str, ...]:
        """The errors that keep it from running, one sentence each; those of a workflow that is being checked are not asked for."""
        if self._checking:
            return ()
        return tuple(str(problem) for problem in self._analysis.errors)

    @cached_property
    def _analysis(self) -> Analysis:
        self._checking = True
        try:
            return analyse(self.workflow, self._workflows.services, self._workflows.resolve)
        finally:
            self._checking = False

    @cached_property
    def own_effects(self) -> frozenset[Effect]:
        """What its steps do to the world, left out those that call workflows."""
        tools = self._workflows.services.tools
        found: set[Effect] = set()
        for name, declared in _callable(self._plan, tools):
            tool = tools.find(name)
            if declared is not None:
                found.add(declared)
            elif not isinstance(tool, WorkflowTool):
                found.add(tool.effect if tool is not None else "write")
        return frozenset(found)

    @cached_property
    def own_calls(self) -> frozenset[str]:
        """The workflows that its own steps surely name as tools."""
        named = (name for step in self._plan.steps.values() for name, _ in _named(step))
        return frozenset(name for name in named if name.startswith(PREFIX))

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        """The output of a run of the workflow with these arguments as input.

        Raises:
            Fault: the run failed or was cancelled, with its error, its id and its thread in ``details``; ``refused`` where too
                many runs would be within each other; ``invalid_input`` for a workflow with faults.
            Asked: the run asks a person.
        """
        from cogwork.tools.child_run import ChildRun

        depth = (context.within or Within()).depth + 1
        if depth > self._max_depth:
            told = f"{self.name} would be run number {depth} within another, and at most {self._max_depth} are allowed"
            raise Fault("refused", f"{told}: does a workflow call itself?", origin="tool")
        return await ChildRun(
            tool=self.name, built=self._built, depth=depth, specs=self._workflows.specs, context=context
        ).result(dict(args))

    def _built(self, checkpointer: Any, digest: str | None = None) -> WorkflowGraph:
        """The graph on a saver; with a digest that of the version whose digest it is.

        Raises:
            Fault: ``invalid_input`` for a workflow with faults.
            StoreError: that version was not kept.
        """
        from graphs.build import build, compiled

        house = self._workflows
        try:
            if digest is not None:
                workflow, resolve = house.specs().find(digest)
                return build(workflow, house.services, resolve, checkpointer=checkpointer, cache=lambda: house.cache)
            if self._analysis.errors:
                raise SpecError(self._analysis.errors)
        except SpecError as err:
            raise Fault("invalid_input", f"{self.name} cannot run: {_brief(err)}", origin="tool") from err
        return compiled(self._analysis.plan, house.services, checkpointer=checkpointer, cache=lambda: house.cache)

    @cached_property
    def _plan(self) -> Plan:
        return expand(self.workflow, self._workflows.resolve)[0]

    def _reached(self) -> Iterator[WorkflowTool]:
        """This workflow and all that it may call as tools, each once."""
        seen, waiting = {self.name}, [self]
        while waiting:
            tool = waiting.pop()
            yield tool
            tools = self._workflows.services.tools
            names = {name for name, declared in _callable(tool._plan, tools) if declared is None} - seen
            seen |= names
            waiting += self._tools(names)

    def _tools(self, names: Iterable[str]) -> list[WorkflowTool]:
        tools = self._workflows.services.tools
        return [tool for name in names if isinstance(tool := tools.find(name), WorkflowTool)]


def _named(step: PlannedStep) -> Iterator[tuple[str, Effect | None]]:
    """The tools that a step names, with the effect that it declares of them."""
    node = step.step
    if isinstance(node, ToolNode):
        yield node.tool, node.effect
    if isinstance(node, CallingNode):
        for fallback in node.fallback:
            if fallback.tool is not None:
                yield fallback.tool, None
        if node.undo is not None:
            yield node.undo.tool, None


def _callable(plan: Plan, tools: Tools) -> Iterator[tuple[str, Effect | None]]:
    """The tools that the plan's steps name, and those that its agents may choose from."""
    choice: list[str] = []
    for step in plan.steps.values():
        yield from _named(step)
        if isinstance(step.step, LlmNode):
            choice += step.step.tools
    for document in plan.documents:
        choice += [name for agent in document.spec.agents.values() for name in agent.tools]
    yield from ((name, None) for name in offered(choice, tools))


def may_write(plan: Plan, tools: Tools) -> bool:
    """Whether a run of the plan may change something outside; a tool that nobody knows might."""
    for name, declared in _callable(plan, tools):
        tool = tools.find(name)
        if (declared or (tool.effect if tool is not None else "write")) == "write":
            return True
    return False


def _brief(err: SpecError) -> str:
    first, more = str(err.problems[0]), len(err.problems) - 1
    return f"{first}, and {more} more" if more else first
