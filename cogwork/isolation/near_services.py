"""The services of an isolated execution, at its worker: tools are called, models asked and secrets put in here."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

from cogwork.isolation.asked import AskModel, CallTool, FindModel, FindPrompt, Render, Search
from cogwork.isolation.faults import Beyond
from cogwork.isolation.frames import Broken
from cogwork.isolation.job import Job
from nodes.calls import check_args, perform
from nodes.model_faults import fault_of
from nodes.secrecy import hushed
from state.errors import Fault
from state.services import SECRET, CallContext, Fate, MadeCall, Services, Tool, Within
from state.values import Json, UnfitValue, normalise

MOST_NAMES: Final = 20_000
BOUND: Final = frozenset({"response_format", "tool_choice", "stop"})
"""What a model may be bound to from there."""
_TRAITS: Final = ("lets_go", "needs_approval", "effect_declared")


@dataclass(slots=True)
class Calling:
    """A call of a tool that is on its way; ``fate`` is what becomes of a run within it if it is cut off."""

    tell: Callable[[dict[str, Any]], None]
    fate: Fate = "rest"


@dataclass(slots=True, kw_only=True)
class NearServices:
    """The services, for one isolated execution; ``run`` is the id of its run, once that is known."""

    services: Services
    job: Job
    saver: Any
    run: str | None = None
    calls: int = field(default=0, init=False)

    def facts(self) -> dict[str, Any]:
        """What the execution has to know from the start."""
        limits = self.services.result_limits
        sizes = {"usual_bytes": limits.usual, "bytes_by_tool": dict(limits.by_tool)}
        return {"finder": self.services.finder is not None, **sizes}

    # -- tools ---------------------------------------------------------------------------------------------

    def find_tool(self, name: str) -> dict[str, Any] | None:
        """What is told of a tool; None where there is none, or it is not for this execution."""
        tool = self._tool(name)
        if tool is None:
            return None
        return {
            "name": tool.name,
            "description": tool.description,
            "args_schema": tool.args_schema,
            "output_schema": tool.output_schema,
            "effect": tool.effect,
            "idempotent": tool.idempotent,
            "reaches": sorted(getattr(tool, "reaches", ())),
            "faults": list(getattr(tool, "faults", ())),
            "place": str(getattr(tool, "place", "")),
            **{trait: bool(getattr(tool, trait, False)) for trait in _TRAITS},
        }

    def tool_names(self) -> list[str]:
        """The names of the tools that the execution may call."""
        return [*islice(filter(self._allowed, self.services.tools.names()), MOST_NAMES)]

    def tools_matching(self, pattern: str) -> list[str]:
        """Those that a pattern fits."""
        return [*islice(filter(self._allowed, self.services.tools.matching(pattern)), MOST_NAMES)]

    def tool_problem(self, name: str) -> str | None:
        """Why there is no tool of that name."""
        if not self._allowed(name):
            return f"Tool {name[:200]!r} is not among those that this isolated execution may call"
        return self.services.tools.problem(name)

    async def call_tool(self, asked: CallTool, calling: Calling) -> Json:
        """The result of a call, without secrets.

        Raises:
            Fault, Asked: those of the tool; ``invalid_input`` for a tool that is not there, ``permission_denied`` for one
                that wants an approval which nothing here can show.
        """
        tool = await asyncio.to_thread(self._tool, asked.name)
        if tool is None:
            told = self.tool_problem(asked.name) or f"Tool {asked.name[:200]!r} is not allowed by the settings"
            raise Fault("invalid_input", told, origin="tool", stage="arguments")
        if self.job.reference and getattr(tool, "needs_approval", False):
            told = (
                f"{tool.name} needs an approval, which code in isolated mode cannot ask for: call it from a spec's step"
            )
            raise Fault("permission_denied", told, origin="tool", stage="arguments")
        args = normalise(asked.args)
        passed = self._with_secrets(tool, args, asked.secrets)
        check_args(tool, passed, shown=args)
        secrets, limit, context = (
            self.services.secrets,
            self.services.result_limits.of(tool.name),
            self._context(asked, calling),
        )
        with self._watched("tool", tool.name, context, args) as gave:
            result = await hushed(
                lambda context: perform(tool, passed, context, max_bytes=limit, secrets=secrets), context, secrets
            )
            gave(result)
            return result

    def _watched(
        self, kind: Literal["tool", "model"], target: str, context: CallContext, args: Json
    ) -> AbstractContextManager[Callable[[Json], None]]:
        """Whoever watches calls, around this one."""
        if self.services.watch is None:
            return nullcontext(lambda result: None)
        made = MadeCall(
            kind=kind,
            target=target,
            run=context.run,
            step=context.step,
            key=context.idempotency_key,
            attempt=context.attempt,
            args=args,
        )
        return self.services.watch.call(made)

    def _context(self, asked: CallTool, calling: Calling) -> CallContext:
        secrets = self.services.secrets

        def progress(done: float, total: float | None, message: str) -> None:
            calling.tell({"progress": [done, total, secrets.redact(message)[:2_000]]})

        within = Within(
            checkpointer=self.saver, depth=self.job.depth, context=self.job.context, fate=lambda: calling.fate
        )
        return CallContext(
            run=self._own_run(asked.run),
            step=asked.step,
            idempotency_key=self._own_key(asked),
            attempt=asked.attempt,
            answers=normalise(asked.answers),
            progress=progress,
            spend=lambda used: calling.tell({"spent": dict(used)}),
            within=within,
        )

    def _own_run(self, run: str) -> str:
        """The run that the execution says it is.

        Raises:
            Broken: it is another one.
        """
        if self.run is None:
            self.run = run
        if run != self.run:
            raise Broken("a call in the name of another run")
        return run

    def _own_key(self, asked: CallTool) -> str:
        """The key of the call; that of code has the thread's name before it, as it may be made up."""
        if not asked.key.startswith(f"{asked.run}:"):
            raise Broken("a call under the key of another run")
        return f"{self.job.thread}:{asked.key}" if self.job.reference else asked.key

    def _with_secrets(self, tool: Tool, args: dict[str, Json], places: list[list[str | int]]) -> dict[str, Json]:
        """The arguments with secrets in those places, where a reference stands now and the tool may be given it.

        Raises:
            Fault: ``permission_denied`` where it may not, ``invalid_input`` where there is no such secret.
        """
        passed = copy.deepcopy(args)
        for place in places:
            holder, last = _holder(passed, place)
            found = SECRET.fullmatch(holder[last]) if isinstance(holder[last], str) else None
            if found is None:
                raise Broken("a secret where no reference stands")
            if (why := self.services.secrets.problem(found[1], tool=tool.name)) is not None:
                raise Fault("permission_denied", why, origin="tool", stage="arguments")
            holder[last] = self.services.secrets.resolve(holder[last])
        return passed

    def _tool(self, name: str) -> Tool | None:
        return self.services.tools.find(name) if self._allowed(name) else None

    def _allowed(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.job.tools)

    # -- models --------------------------------------------------------------------------------------------

    def find_model(self, asked: FindModel) -> str:
        """What the model calls itself.

        Raises:
            Fault: it is not there, or not allowed.
        """
        model = self.services.models.find(asked.name, mode=asked.mode, settings=normalise(asked.settings))
        names = (getattr(model, each, None) for each in ("full_name", "model_name", "model"))
        return str(next(filter(None, names), type(model).__name__))

    async def parts(self, asked: AskModel) -> AsyncIterator[dict[str, Any]]:
        """The parts of a model's answer, as they come.

        Raises:
            Fault: the model failed.
        """
        from langchain_core.messages import messages_from_dict

        try:
            messages = messages_from_dict(asked.messages)
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise Broken(f"messages for a model that are none: {type(err).__name__}") from None
        found = partial(self.services.models.find, asked.name, mode=asked.mode, settings=normalise(asked.settings))
        model: Any = await asyncio.to_thread(found)
        if asked.bound.keys() - BOUND:
            raise Beyond(f"In isolated mode a model cannot be bound to {', '.join(sorted(asked.bound.keys() - BOUND))}")
        if asked.offered:
            model = model.bind_tools(asked.offered)
        if asked.bound:
            model = model.bind(**asked.bound)
        try:
            async for chunk in model.astream(messages):
                yield self.services.secrets.redact(_part(chunk))
        except Exception as err:
            raise fault_of(err) from err

    def price(self, name: str) -> list[float | None] | None:
        """What a model costs."""
        found = self.services.models.price(name)
        return None if found is None else list(found)

    # -- prompts, search, secrets --------------------------------------------------------------------------

    def find_prompt(self, asked: FindPrompt) -> dict[str, Any] | None:
        """What is told of a prompt."""
        found = self.services.prompts.find(asked.name, mode=asked.mode)
        if found is None:
            return None
        told = [asdict(each) for each in found.variables]
        return {"name": found.name, "version": found.version, "told": told, "budget": found.budget}

    def render(self, asked: Render) -> dict[str, Any]:
        """A prompt, filled in.

        Raises:
            Fault: the values do not fit, or there is no such prompt.
        """
        found = self.services.prompts.find(asked.name, mode=asked.mode)
        if found is None:
            raise Fault("invalid_input", f"There is no prompt {asked.name[:200]!r}")
        values, context = normalise(asked.values), normalise(asked.context)
        made = found.render(values, context=context, tokens=asked.tokens, model=asked.model)
        return {**asdict(made), "shortened": [each.to_dict() for each in made.shortened]}

    def search(self, asked: Search) -> list[str]:
        """The names of tools that fit a query."""
        finder = self.services.finder
        if finder is None:
            return []
        among = [*filter(self._allowed, asked.among if asked.among is not None else self.services.tools.names())]
        return finder.search(asked.query, asked.k, among)


def _holder(value: Any, place: list[str | int]) -> tuple[Any, str | int]:
    """What holds the value at a place, and under which key.

    Raises:
        Broken: there is no such place.
    """
    try:
        for key in place[:-1]:
            value = value[key]
        value[place[-1]]
    except (LookupError, TypeError):
        raise Broken("a secret where nothing stands") from None
    return value, place[-1]


def _part(chunk: Any) -> dict[str, Any]:
    """One part of an answer, in plain values."""
    pieces = [dict(each) for each in getattr(chunk, "tool_call_chunks", ())]
    if not pieces:
        whole = getattr(chunk, "tool_calls", ())
        pieces = [
            {"index": None, **call, "type": "tool_call_chunk", "args": json.dumps(call["args"])} for call in whole
        ]
    used = getattr(chunk, "usage_metadata", None)
    return {
        "content": _plain(chunk.content, ""),
        "additional_kwargs": _plain(chunk.additional_kwargs, {}),
        "response_metadata": _plain(chunk.response_metadata, {}),
        "id": chunk.id,
        "usage_metadata": _plain(dict(used), None) if used else None,
        "tool_call_chunks": pieces,
    }


def _plain(value: Any, otherwise: Json) -> Json:
    try:
        return normalise(value)
    except UnfitValue:
        return {key: _plain(each, None) for key, each in value.items()} if isinstance(value, Mapping) else otherwise
