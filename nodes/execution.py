"""One execution of one node: what it sees, what it may call, and how its calls are made at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from nodes.expression import Expression, ExpressionError
from nodes.reuse import Reuse
from nodes.secrecy import hushed
from nodes.template import Value
from state.bearing import bearing
from state.errors import Asked, Fault, InDoubt
from state.services import CallContext, Effect, MadeCall, Services, Within
from state.usage import added
from state.values import Json

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.cache.base import BaseCache

    from state.durable import RecordedCall

Compiled: TypeAlias = Expression | Value
Do: TypeAlias = Callable[[], Awaitable[Json]]
PER_FALLBACK = 1000
"""Calls of the step's i-th fallback are numbered from ``PER_FALLBACK * (i + 1)``."""
UNSURE = frozenset({"timeout", "connection"})
"""Faults of a write that leave open whether it was done."""
SHOWN_PROGRESS = 500
"""The longest sentence, in characters, that a tool may say about its progress."""
DONE = "invalid_output"
"""The fault of a call that was done, and whose result cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a node's work gave: its value, and what it used (tokens, model …) for the record.

    ``fallback`` names what served instead of the node itself, such as ``model:openai:x``; ``cached`` says that an earlier
    result did, ``given`` that the caller of the run had it.
    """

    value: Json
    usage: Mapping[str, Json] = field(default_factory=dict)
    messages: tuple[Any, ...] = ()
    fallback: str = ""
    cached: bool = False
    given: bool = False
    model: str = ""
    """The model that answered, where one was asked."""
    prompt: Mapping[str, Json] = field(default_factory=dict)
    """What the model was told: the prompt file's name and version, its tokens where they were counted, what was left out."""
    truncated: bool = False
    """Whether the value, a text, ended at the model's token limit."""


class Recorder(Protocol):
    """What the calls of a run go through, so that none that has ended is made again."""

    def known(self, key: str) -> RecordedCall | None:
        """The call of that key, as it was last recorded."""

    async def once(
        self,
        key: str,
        *,
        step: str,
        target: str,
        effect: Effect,
        repeatable: bool,
        attempt: int,
        args: Json,
        do: Do,
    ) -> Json:
        """The recorded result, else that of ``do``.

        Raises:
            InDoubt: it was begun before, nobody knows how it ended, and it must not be repeated.
        """

    def failed(self, key: str, fault: Fault) -> None:
        """The call that was cut off may be repeated, and this attempt counts as failed."""

    def answers(self, key: str) -> Mapping[str, Json]:
        """What people have answered to what the call of that key has asked, by the question's id."""


@dataclass(slots=True, kw_only=True)
class StepCall:
    """One execution of one node: the values it sees and the services it may call.

    ``attempt``    the attempt that runs, or ran last, counted from 1
    ``recording``  where its calls are recorded; without one they are just made
    ``base``       the number of its first call; ``PER_FALLBACK * (i + 1)`` for the i-th fallback
    ``fixed_key``  the key of its only call, where that is not ``run:path:number``
    ``standins``   for each fallback that is a node, by its index, the node and the call to run it with
    ``progress``   told how far its calls have come, in the run's own event loop
    ``cache``      where results with ``cache:`` are kept for other runs
    ``writing``    the keys of its writes in flight, those of its fallbacks among them
    ``resting``    the keys of its calls that wait for their next attempt, those of its fallbacks among them
    ``context``    what the run was called with: its session, user, history, project, environment and preferences
    ``given``      how its first attempt has ended before the run began: ``{result}`` or ``{error}``
    ``paid``       what attempts that failed used, and what calls of tools did; those of its fallbacks among them
    ``within``     the run that makes the call, as tools are told of it
    ``at_rest``    called when a call begins that may be cut off although it writes
    """

    run: str
    path: str
    names: Mapping[str, Json]
    fields: Mapping[str, Compiled]
    services: Services
    mode: str | None = None
    context: Mapping[str, Json] = field(default_factory=dict)
    agents: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    config: RunnableConfig | None = None
    messages: tuple[Any, ...] = ()
    progress: Callable[[float, float | None, str], None] = lambda done, total, message: None
    recording: Recorder | None = None
    base: int = 0
    fixed_key: str = ""
    standins: Mapping[int, tuple[Any, StepCall]] = field(default_factory=dict)
    cache: BaseCache[Any] | None = None
    within: Within | None = None
    at_rest: Callable[[], None] = lambda: None
    writing: set[str] = field(default_factory=set)
    resting: set[str] = field(default_factory=set)
    given: Mapping[str, Json] | None = None
    paid: dict[str, Json] = field(default_factory=dict)
    cached: bool = False
    """Whether this attempt was answered from the cache."""
    made: int = 0
    """How many calls this attempt has made."""
    cut: _Cut | None = None
    """The call that was in flight when this attempt was cut off."""
    spent: bool = False
    """Whether this attempt did a write that must not be repeated, although its result cannot be used."""

    def value(self, pointer: str, extra: Mapping[str, Json] | None = None) -> Json:
        """The value of the compiled field at ``pointer``; None where the field is absent.

        Raises:
            Fault: ``invalid_input`` with the place in the expression.
        """
        compiled = self.fields.get(pointer)
        if compiled is None:
            return None
        try:
            return compiled.evaluate({**self.names, **extra} if extra else self.names)
        except ExpressionError as err:
            message = f"{pointer.lstrip('/')}: {err}"
            raise Fault("invalid_input", message, stage="expression", details={"field": pointer}) from err

    def key(self, number: int | None = None) -> str:
        """The key of this step's call of that number; without one, of its next."""
        return self.fixed_key or f"{self.run}:{self.path}:{self.base + (self.made if number is None else number)}"

    def begin(self, attempt: int) -> None:
        """A new attempt: its calls are numbered, and so keyed, like those of the attempts before."""
        self.attempt, self.made, self.cached, self.cut, self.spent = attempt, 0, False, None, False

    def pay(self, fault: Fault) -> None:
        """Note what the failed attempt used."""
        used = fault.details.get("usage") if isinstance(fault.details, dict) else None
        whole = added(self.paid, used or {})
        self.paid.clear()
        self.paid.update(whole)

    def spend(self, usage: Mapping[str, Json]) -> None:
        """Note what a tool used: numbers by name."""
        whole = added(self.paid, usage)
        self.paid.clear()
        self.paid.update(whole)

    def billed(self, usage: Mapping[str, Json]) -> dict[str, Json]:
        """The usage with that of the failed attempts before; asked once."""
        whole = added(self.paid, usage)
        self.paid.clear()
        return whole

    async def once(
        self,
        *,
        target: str,
        effect: Effect,
        repeatable: bool,
        args: Json,
        do: Callable[[CallContext], Awaitable[Json]],
        reuse: Reuse | None = None,
        kind: Literal["tool", "model"] = "tool",
    ) -> Json:
        """The result of this attempt's next call: recorded, else still cached, else that of ``do``.

        ``repeatable`` says that doing it again does no harm: no write, or one that does its work once under its key.

        Raises:
            InDoubt: nobody knows whether the call, which must not be repeated, was done.
            Fault: the call's own.
        """
        key, repeatable = self.key(), repeatable or effect != "write"
        self.made += 1
        cache = self.cache if effect != "write" else None
        if cache is not None and reuse is not None and not self._done(key):
            if (found := await reuse.find(cache)) is not None:
                self.cached = True
                return found.value
        about = MadeCall(
            kind=kind, target=target, run=self.run, step=self.path, key=key, attempt=self.attempt, args=args
        )
        made = _Making(call=self, about=about, effect=effect, repeatable=repeatable, do=do)
        if self.recording is None:
            result = await made()
        else:
            result = await self.recording.once(
                key,
                step=self.path,
                target=target,
                effect=effect,
                repeatable=repeatable,
                attempt=self.attempt,
                args=args,
                do=made,
            )
        if cache is not None and reuse is not None:
            await reuse.keep(cache, result)
        return result

    def _done(self, key: str) -> bool:
        known = self.recording.known(key) if self.recording is not None else None
        return known is not None and known.status == "done"

    def cut_off(self, fault: Fault) -> Fault:
        """What has failed when this attempt was cut off for the reason that ``fault`` gives."""
        cut = self.cut
        if cut is None:
            return fault
        if not cut.repeatable:
            return cut.doubt(fault)
        if self.recording is not None:
            self.recording.failed(cut.key, fault)
        return fault


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """A call on its way: ``do`` with the doubts that are left when it does not end well."""

    call: StepCall
    about: MadeCall
    effect: Effect
    repeatable: bool
    do: Callable[[CallContext], Awaitable[Json]]

    @property
    def key(self) -> str:
        """The key under which the call is the same call."""
        return self.about.key

    @property
    def target(self) -> str:
        """What is called."""
        return self.about.target

    async def __call__(self) -> Json:
        call = self.call
        context = CallContext(
            run=call.run,
            step=call.path,
            idempotency_key=self.key,
            attempt=call.attempt,
            answers=call.recording.answers(self.key) if call.recording is not None else {},
            progress=self._progress(asyncio.get_running_loop()),
            spend=call.spend,
            within=call.within,
        )
        if self.effect == "write":
            self._enter()
        try:
            with bearing(step=call.path):
                return await self._watched(context)
        except Fault as fault:
            if not self.repeatable and fault.fault_class in UNSURE:
                raise self.doubt(fault) from fault
            call.spent = not self.repeatable and fault.fault_class == DONE
            raise
        except Asked as asked:
            asked.key, asked.target = self.key, self.target
            raise
        except asyncio.CancelledError:
            call.cut = self
            raise
        finally:
            call.writing.discard(self.key)
            call.resting.discard(self.key)

    async def _watched(self, context: CallContext) -> Json:
        services = self.call.services
        if services.watch is None:
            return await hushed(self.do, context, services.secrets)
        with services.watch.call(self.about) as gave:
            result = await hushed(self.do, context, services.secrets)
            gave(result)
            return result

    def _enter(self) -> None:
        """Let nobody cut the write off, unless its tool sees to that itself."""
        call = self.call
        if not getattr(call.services.tools.find(self.target), "lets_go", False):
            call.writing.add(self.key)
            return
        call.resting.add(self.key)
        call.at_rest()

    def _progress(self, loop: asyncio.AbstractEventLoop) -> Callable[[float, float | None, str], None]:
        """What a tool tells how far it has come with; from whatever thread it does."""
        heard, secrets = self.call.progress, self.call.services.secrets

        def told(done: float, total: float | None, message: str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(heard, done, total, secrets.redact(message)[:SHOWN_PROGRESS])

        return told

    def doubt(self, fault: Fault) -> InDoubt:
        """The doubt that the fault leaves."""
        known = self.call.recording.known(self.key) if self.call.recording is not None else None
        return InDoubt(
            self.key,
            self.target,
            fault.message,
            arguments=known.args if known is not None else self.about.args,
            begun_at=known.begun_at if known is not None else "",
            fault_class=fault.fault_class,
            origin=fault.origin,
            retry_after=fault.retry_after,
        )


_Cut: TypeAlias = _Making
