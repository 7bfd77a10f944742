"""One process of a run: what is built in it, how it goes on from whatever it finds, and what it leaves behind."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import traceback
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from langgraph.graph import START
from langgraph.types import Command

from cogwork.app import App, app
from cogwork.tools.function import FunctionTool, tool
from graphs.graph import WorkflowGraph
from graphs.language.load import load
from state.durable import Durable
from state.errors import Fault, NotResumable, WorkflowCancelled, WorkflowFailed
from state.services import CallContext
from tests.kills.ledger import Ledger
from tests.kills.minds import Minds
from tests.kills.specs import PROBES, RandomSpec
from tests.kills.stores import Fuse, opener

ROUNDS = 200
"""Calls of the graph after which a run that has not ended counts as lost."""
SECONDS = 60
"""A process that has neither ended nor been killed by then hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run is kept: its folder, its store, and the ledger's address."""

    folder: Path
    ledger: Path
    store: str = "sqlite"
    url: str = ""
    recording: bool = True

    @property
    def case(self) -> str:
        return self.folder.name


# -- tools -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bench:
    """What the tools of this process work with: set in the process of a run, once it is forked."""

    ledger: Ledger | None = None
    fuse: Fuse = field(default_factory=Fuse)

    def perform(self, key: str, tool: str, **told: Any) -> Any:
        """Have the ledger perform the call; the process may die before, and after.

        Raises:
            Fault: the one that the call was told to fail with, or ``refused`` for what was performed before.
        """
        assert self.ledger is not None
        self.fuse("call before")
        said = self.ledger.tell("perform", key=key, step=key.split(":")[1], tool=tool, pid=os.getpid(), **told)
        self.fuse("call after")
        if said.get("refused"):
            raise Fault("refused", f"{key} has been performed before", origin="tool")
        if said.get("fault"):
            raise Fault(said["fault"], f"{tool} was told to fail", origin="tool")
        return said["value"]


BENCH = Bench()


def tools() -> list[FunctionTool]:
    """The effects: not to be repeated, repeatable under their key, reading only; and what takes them back."""

    def made(name: str, effect: Any, idempotent: bool) -> FunctionTool:
        @tool(name=name, effect=effect, idempotent=idempotent)
        async def act(
            context: CallContext,
            value: Any = None,
            turns: int = 0,
            fault: str = "",
            faults: int = 0,
            lost: bool = False,
        ) -> Any:
            """Have the ledger perform it."""
            for _ in range(turns):
                await asyncio.sleep(0)
            return BENCH.perform(context.idempotency_key, name, value=value, fault=fault, faults=faults, lost=lost)

        return act

    kinds = (("once", "write", False), ("keyed", "write", True), ("look", "read", True))
    back = (("unsend", "write", False), ("takeback", "write", True))
    return [made(f"kills.{name}", effect, idempotent) for name, effect, idempotent in (*kinds, *back)]


@functools.cache
def workshop() -> App:
    """cogwork with these tools; made once, before the processes of the runs are forked."""
    made = app(tools=tools())
    made.__dict__["services"] = replace(made.services, models=Minds())  # where the cached property keeps them
    return made


def compiled(made: RandomSpec) -> WorkflowGraph:
    """The graph, without a store: each process opens its own."""
    library = {name: load(used) for name, used in made.library.items()}
    return workshop().compile(load(made.spec), resolve=lambda name, user: library[name])


def sound(made: RandomSpec) -> bool:
    """Whether the checks pass."""
    from graphs.analysis.check import analyse

    found = analyse(load(made.spec), workshop().services, lambda name, user: load(made.library[name]))
    return not found.errors


def features(store: str, folder: Path, url: str = "") -> frozenset[str]:
    """What this version has of what the workflows may use."""
    given = workshop()
    assert given.services
    found = {
        name
        for name, probe in PROBES.items()
        if not any(p.severity == "error" for p in given.check({"cogwork": "v1", "name": "probe", **probe}))
    }
    if hasattr(WorkflowGraph, "acancel"):
        found.add("cancel")
    return frozenset(found | ({"record"} if _records(store, folder, url) else set()))


def _records(store: str, folder: Path, url: str) -> bool:
    """Whether the store keeps calls; asked in a process of its own, as stores have threads."""

    def ask() -> None:
        kept = opener(store, folder, url)(fuse=Fuse(), ledger=None, recording=True)
        os._exit(0 if isinstance(kept, Durable) else 1)

    return forked(ask) is not None and os.waitstatus_to_exitcode(os.wait()[1]) == 0


# -- the process of a run --------------------------------------------------------------------------------------------


def forked(work: Callable[[], None]) -> int:
    """Do the work in a forked process; its id. It never comes back from there."""
    if (pid := os.fork()) != 0:
        return pid
    try:
        work()
    finally:
        os._exit(1)


def begin(place: Place, made: RandomSpec, graph: WorkflowGraph, fuse: Fuse, seed: int = 0) -> int:
    """Start the process that takes the run on, with that fuse; its id."""

    def work() -> None:
        signal.alarm(SECONDS)
        try:
            BENCH.fuse = fuse
            end = asyncio.run(_taken_on(place, made, graph, random.Random(seed)))
            (place.folder / "end").write_text(json.dumps({**end, "passed": fuse.passed}))
            os._exit(0)
        except BaseException:
            (place.folder / "error").write_text(traceback.format_exc())
            os._exit(1)

    return forked(work)


async def _taken_on(place: Place, made: RandomSpec, graph: WorkflowGraph, chance: random.Random) -> dict[str, Any]:
    """The values that the run ends with; taken on wherever it stands."""
    ledger = BENCH.ledger = Ledger(place.ledger, place.case)
    opened = opener(place.store, place.folder, place.url)
    graph.checkpointer = opened(fuse=BENCH.fuse, ledger=ledger, recording=place.recording)
    config: Any = {"configurable": {"thread_id": place.case}}
    for _ in range(ROUNDS):
        state = await graph.aget_state(config)
        done = [path for path, record in state.values.get("nodes", {}).items() if record["status"] == "done"]
        ledger.tell("finished", names=done)
        if not await _went_on(graph, config, state, made, ledger, chance):
            return dict((await graph.aget_state(config)).values)
    raise AssertionError(f"the run has not ended after {ROUNDS} calls: {state.values}")


async def _went_on(
    graph: WorkflowGraph, config: Any, state: Any, made: RandomSpec, ledger: Ledger, chance: random.Random
) -> bool:
    """Begin, resume, answer or cancel, whatever the run asks for; False once it has ended."""
    work: Any = None
    if not state.created_at or START in state.next:
        work = made.given
    elif state.interrupts:
        asked = [each.value for each in state.interrupts]
        if made.ending == "cancelled" and [question["at"] for question in asked] == ["last"]:
            await graph.acancel(config, undo=True)  # type: ignore[attr-defined]
            return True
        chosen = [question for question in asked if question["at"] != "last" or made.ending != "cancelled"]
        chosen = chance.sample(chosen, chance.randint(1, len(chosen)))
        work = Command(resume={question["at"]: _answer(question, state, ledger) for question in chosen})
    elif not state.tasks:
        return False
    try:
        with suppress(WorkflowCancelled, WorkflowFailed):
            await graph.ainvoke(work, config)
    except NotResumable:
        if state.values.get("run", {}).get("status") not in ("completed", "failed", "cancelled"):
            raise
        return False
    return True


def _answer(question: dict[str, Any], state: Any, ledger: Ledger) -> Any:
    """A person's answer by the step that asks; about a call in doubt the truth, which the ledger knows."""
    if question.get("kind") == "approval":
        return {"decision": "approve" if zlib.crc32(question["at"].encode()) % 3 else "reject"}
    if question.get("kind") != "in_doubt":
        return {"n": zlib.crc32(question["at"].encode()) % 100}
    ledger.tell("asked", at=question["at"])
    told = ledger.tell("ask", key=state.values["nodes"][question["at"]]["doubt"]["key"])
    return {"resolution": "done", "result": told["value"]} if told["done"] else {"resolution": "retry"}


def paths(values: dict[str, Any], statuses: Sequence[str]) -> set[str]:
    """The steps that ended so."""
    return {path for path, record in values["nodes"].items() if record["status"] in statuses}
