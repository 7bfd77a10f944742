"""The services as an isolated execution has them: each call is made by its worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cogwork.isolation.far_models import FarModels
from cogwork.isolation.faults import Beyond
from cogwork.isolation.line import Line
from state.services import (
    SECRET,
    CallContext,
    Effect,
    PromptFile,
    RenderedPrompt,
    ResultLimits,
    Services,
    Shortened,
    Tool,
    Variable,
    Within,
)
from state.values import Json, Schema


def services_over(line: Line) -> Services:
    """All services, at the other end of the line."""
    given = line.ask("facts")
    return Services(
        tools=FarTools(line),
        models=FarModels(line),
        prompts=FarPrompts(line),
        finder=FarFinder(line) if given["finder"] else None,
        secrets=FarSecrets(line),
        result_limits=ResultLimits(usual=given["usual_bytes"], by_tool=given["bytes_by_tool"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FarTool:
    """A tool that the worker calls."""

    line: Line
    name: str
    description: str
    args_schema: Schema
    output_schema: Schema
    effect: Effect
    idempotent: bool
    lets_go: bool = False
    needs_approval: bool = False
    effect_declared: bool = False
    reaches: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    place: str = ""

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Json:
        """The result of one call.

        Raises:
            Fault, Asked: as they were raised at the worker.
        """

        def heard(message: Mapping[str, Any]) -> None:
            if "progress" in message:
                context.progress(*message["progress"])
            elif "spent" in message:
                context.spend(message["spent"])

        within = context.within or Within()
        return await self.line.call(
            "call_tool",
            heard,
            within.fate,
            name=self.name,
            args=_plain(args),
            secrets=[*_revealed(args)],
            run=context.run,
            step=context.step,
            key=context.idempotency_key,
            attempt=context.attempt,
            answers=dict(context.answers),
        )


class FarTools:
    """The tools that the worker allows; each is asked for once."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._found: dict[str, Tool] = {}

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        if name not in self._found and (told := self._line.ask("find_tool", name=name)) is not None:
            about = {**told, "reaches": frozenset(told["reaches"]), "faults": tuple(told["faults"])}
            self._found[name] = FarTool(line=self._line, **about)
        return self._found.get(name)

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return list(self._line.ask("tool_names"))

    def matching(self, pattern: str) -> Iterable[str]:
        """The names that a pattern fits, sorted."""
        return list(self._line.ask("tools_matching", pattern=pattern))

    def problem(self, name: str) -> str | None:
        """Why there is no tool of that name."""
        told: str | None = self._line.ask("tool_problem", name=name)
        return told

    async def release(self, run: str) -> None:
        """Let go of what is held for that run alone."""
        await self._line.request("release_tools", run=run)


@dataclass(frozen=True, kw_only=True)
class FarPrompt:
    """A prompt that the worker renders."""

    line: Line
    mode: str | None
    asked: str
    name: str
    version: str
    told: Sequence[Mapping[str, Any]] = field(repr=False)
    budget: int | None

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The declared variables."""
        from state.services import Cut

        made = ({**each, "cut": Cut(**each["cut"]) if each["cut"] else None} for each in self.told)
        return tuple(Variable(**each) for each in made)

    def render(
        self,
        values: Mapping[str, Json],
        *,
        context: Mapping[str, Json] | None = None,
        tokens: int | None = None,
        model: str = "",
    ) -> RenderedPrompt:
        """The prompt with its variables filled in.

        Raises:
            Fault: as it was raised at the worker.
        """
        made = self.line.ask(
            "render",
            name=self.asked,
            mode=self.mode,
            values=_plain(values),
            context=_plain(context or {}),
            tokens=tokens,
            model=model,
        )
        return RenderedPrompt(**{**made, "shortened": tuple(Shortened(**each) for each in made["shortened"])})


class FarPrompts:
    """The prompts of the worker."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def find(self, name: str, *, mode: str | None = None) -> PromptFile | None:
        """The prompt of that name."""
        told = self._line.ask("find_prompt", name=name, mode=mode)
        return None if told is None else FarPrompt(line=self._line, mode=mode, asked=name, **told)

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return list(self._line.ask("prompt_names"))


class FarFinder:
    """The search of the worker over its tools."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def search(self, query: str, k: int, among: Sequence[str] | None = None) -> list[str]:
        """The names of at most ``k`` tools that fit."""
        return list(self._line.ask("search", query=query, k=k, among=None if among is None else list(among)))


class Reference(str):
    """A reference to a secret that the spec itself names: the worker puts the secret in its place, in the call."""

    __slots__ = ()


class FarSecrets:
    """Secrets by name; their values stay with the worker, which takes them out of all that it sends."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return list(self._line.ask("secret_names"))

    def problem(self, name: str, *, tool: str = "") -> str | None:
        """Why the worker would refuse that name, for that tool."""
        told: str | None = self._line.ask("secret_problem", name=name, tool=tool)
        return told

    def resolve(self, value: Json) -> Json:
        """The reference, marked for the worker.

        Raises:
            Beyond: the value is more than one reference.
        """
        if isinstance(value, str) and SECRET.fullmatch(value):
            return Reference(value)
        if isinstance(value, str) and not SECRET.search(value):
            return value
        raise Beyond("In isolated mode a secret stands alone in an argument of a tool: secret://name and nothing else")

    def redact(self, value: Json, *, cut: bool = False) -> Json:
        """The value: what comes from the worker holds no secret."""
        return value


def _revealed(value: Any, at: tuple[str | int, ...] = ()) -> Iterable[list[str | int]]:
    """Where in the arguments the worker is to put secrets."""
    if isinstance(value, Reference):
        yield [*at]
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _revealed(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _revealed(item, (*at, index))


def _plain(value: Any) -> Any:
    """The value in Python's own types, which msgpack insists on."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
