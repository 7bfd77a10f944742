"""Random workflows against a reference interpreter: what runs, what is skipped and why, and every value.

The interpreter reads SEMANTICS.md and nothing of ours: it settles the nodes one after the other, in their order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from graphs.analysis.check import analyse
from graphs.language.load import load
from state.errors import SpecError, WorkflowFailed
from tests.conftest import Stage, answer

T = TypeVar("T")
Causes: TypeAlias = frozenset[tuple[str, str]]
FLAGS = ("b0", "b1", "b2")
pytestmark = pytest.mark.timeout(900)
"""Hundreds of workflows, each run to its end."""
ordinary = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
costly = settings(ordinary, max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])


# -- what is drawn ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Drawn:
    """A node in a form that both sides are made from: the spec, and what the interpreter reads."""

    name: str
    kind: str
    order: list[str] = field(default_factory=list)
    reads: list[tuple[str, str]] = field(default_factory=list)
    """Name and manner: ``need`` (unguarded), ``guard`` (with a default) or ``meta`` (its status)."""
    when: str = ""
    join: Any = "default"
    fails: bool = False
    on_error: str = "skip"
    cases: list[tuple[str, list[str]]] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)
    match: str = "first"
    body: list[Drawn] = field(default_factory=list)
    count: int = 0
    parallel: int = 1
    until: int = 0

    def inner_reads(self, own: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
        """What the body of a loop reads from outside."""
        known = own | {node.name for node in self.body}
        for node in self.body:
            yield from (read for read in node.reads if read[0] not in known)
            if node.kind != "use":
                yield from (read for read in node.inner_reads(known) if read[0] not in known)


@st.composite
def graphs(
    draw: st.DrawFn, depth: int = 2, outer: tuple[str, ...] = (), mark: str = "n", people: bool = False, most: int = 8
) -> list[Drawn]:
    """The nodes of one scope; edges lead from earlier to later ones."""
    names = [f"{mark}{index}" for index in range(draw(st.integers(1, most)))]
    return [
        draw(_node(name, names[:index], names[index + 1 :], depth, outer, people)) for index, name in enumerate(names)
    ]


@st.composite
def _node(
    draw: st.DrawFn, name: str, earlier: list[str], later: list[str], depth: int, outer: tuple[str, ...], people: bool
) -> Drawn:
    kinds = ["tool"] * 6 + ["say"] * 2 + (["condition"] * 4 if later else []) + (["human"] * 2 if people else [])
    kinds += ["for_each", "repeat", "use"] if depth else []
    node = Drawn(name=name, kind=draw(st.sampled_from(kinds)))
    parents = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
    node.join = draw(st.sampled_from(["default"] * 5 + ["all", "any", "always", "at_least"])) if parents else "default"
    if node.kind in ("for_each", "repeat") and node.join in ("any", "at_least"):
        node.join = "default"  # what a body reads may still be at work then, and what it sees is not determined
    manners = {"any": ["order"], "at_least": ["order"], "always": ["order", "guard", "meta"]}
    free = manners.get(node.join, ["order", "need", "guard", "meta"])
    for parent in parents:
        manner = draw(st.sampled_from(free if node.kind in ("tool", "say") else ["order"]))
        (node.order.append(parent) if manner == "order" else node.reads.append((parent, manner)))
    if outer and node.kind in ("tool", "say") and draw(st.booleans()):
        node.reads.append((draw(st.sampled_from(outer)), draw(st.sampled_from(["need", "guard"]))))
    if node.join == "at_least":
        node.join = {"at_least": draw(st.integers(1, len(parents)))}
    node.when = draw(st.sampled_from(["", "", "", *FLAGS]))
    if node.kind == "tool":
        node.fails = draw(st.integers(0, 3)) == 0
        node.on_error = draw(st.sampled_from(["skip", *later])) if node.fails or draw(st.booleans()) else "fail"
    elif node.kind == "condition":
        targets = st.lists(st.sampled_from(later), min_size=1, max_size=2, unique=True)
        node.cases = draw(st.lists(st.tuples(st.sampled_from(FLAGS), targets), min_size=1, max_size=2))
        node.otherwise = draw(st.one_of(st.just([]), targets))
        node.match = draw(st.sampled_from(["first", "all"]))
    elif node.kind in ("for_each", "repeat", "use"):
        visible = () if node.kind == "use" else (*outer, *earlier)
        inside = graphs(depth - 1, visible, f"{name}_", people, 3)
        node.body = draw(inside)
        node.count, node.parallel = draw(st.integers(0, 3)), draw(st.integers(1, 3))
        node.until = draw(st.integers(1, node.count + 1))
    return node


# -- the spec of what is drawn ---------------------------------------------------------------------------------

READS = {"need": "{{{{ {0} }}}}", "guard": "{{{{ {0} | default: null }}}}", "meta": "{{{{ steps.{0}.status }}}}"}


def spec_of(nodes: list[Drawn], library: dict[str, Any]) -> dict[str, Any]:
    """A workflow of these nodes; workflows that it uses go into the library."""
    return {
        "input": dict.fromkeys(FLAGS, "boolean"),
        "nodes": {node.name: _step(node, library) for node in nodes},
        "output": {node.name: READS["guard"].format(node.name) for node in nodes},
    }


def _step(node: Drawn, library: dict[str, Any]) -> dict[str, Any]:
    value = [node.name, *(READS[manner].format(name) for name, manner in node.reads)]
    step: dict[str, Any] = {"depends_on": node.order, "join": node.join}
    if node.when:
        step["when"] = f"input.{node.when}"
    match node.kind:
        case "tool":
            then = node.on_error if node.on_error in ("skip", "fail") else {"then": node.on_error}
            fault = {"fault": "tool_error"} if node.fails else {}
            return {**step, "type": "tool", "tool": "do.read", "args": {"value": value, **fault}, "on_error": then}
        case "say":
            return {**step, "type": "transform", "set": value}
        case "human":
            return {**step, "type": "human", "ask": "Well?"}
        case "condition":
            cases = [{"if": f"input.{flag}", "then": targets} for flag, targets in node.cases]
            otherwise = {"else": node.otherwise} if node.otherwise else {}
            return {**step, "type": "condition", "match": node.match, "cases": cases, **otherwise}
    inner = spec_of(node.body, library)
    if node.kind == "use":
        library[node.name] = inner
        return {**step, "use": node.name, "with": {flag: f"{{{{ input.{flag} }}}}" for flag in FLAGS}}
    body = {"nodes": inner["nodes"], "output": inner["output"]}
    if node.kind == "for_each":
        return {**step, "for_each": list(range(node.count)), "max_parallel": node.parallel, **body}
    again = {"max_iterations": node.count + 1, "until": f"iteration + 1 >= {node.until}", "on_exhausted": "keep"}
    return {**step, "repeat": again, **body}


# -- the reference interpreter ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What a node comes to; with several parents lost at a time, each one's cause is as good as the other's."""

    status: str
    causes: Causes = frozenset()
    value: Any = None
    chooses: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        return self.status != "done"

    @property
    def by_failure(self) -> bool:
        return self.status == "failed" or any(reason == "upstream_failed" for reason, _ in self.causes)


def interpret(
    nodes: list[Drawn], flags: dict[str, bool], outer: dict[str, Fate], at: str, all_: dict[str, Fate]
) -> Any:
    """Settle the nodes of a scope into ``all_``, by path; the scope's output."""
    own: dict[str, Fate] = {}
    choosers: dict[str, list[str]] = {}
    for node in nodes:
        targets = [name for _, then in node.cases for name in then] + node.otherwise
        for target in dict.fromkeys(targets or [node.on_error]):
            choosers.setdefault(target, []).append(node.name)
    for node in nodes:
        known = {**outer, **own}
        causes = _not_run(node, known, own, choosers.get(node.name, []), at)
        if not causes and node.when and not flags[node.when]:
            causes = frozenset([("when_false", at + node.name)])
        fate = Fate("skipped", causes) if causes else _run(node, flags, known, at + node.name, all_)
        own[node.name] = all_[at + node.name] = fate
    return {name: fate.value for name, fate in own.items()}


def _not_run(node: Drawn, known: dict[str, Fate], own: dict[str, Fate], choosers: list[str], at: str) -> Causes:
    """Why the node is skipped; nothing where it may run."""

    def worst(names: list[str]) -> Causes:
        chosen = [name for name in names if known[name].by_failure] or names
        own_causes = (known[name].causes or {("upstream_failed", _home(at, name))} for name in chosen)
        return frozenset().union(*own_causes)

    if choosers and not any(node.name in own[name].chooses for name in choosers):
        decided = [name for name in choosers if not own[name].lost]
        return frozenset([("not_selected", at + decided[0])]) if decided else worst(choosers)
    inner = [name for name, _ in node.inner_reads() if node.kind in ("for_each", "repeat")]
    parents = dict.fromkeys(name for name in [*node.order, *(n for n, _ in node.reads), *inner] if name in own)
    needed = [name for name, manner in node.reads if manner == "need"]
    for kind in (parents, [name for name in needed if name not in own]):
        if missing := [name for name in kind if name in needed and known[name].lost]:
            return worst(missing)
    lost = [name for name in parents if own[name].lost and node.name not in own[name].chooses]
    if not parents or node.join == "always":
        return frozenset()
    if node.join == "default":
        blocked = [name for name in lost if own[name].by_failure]
        return worst(lost) if blocked or len(lost) == len(parents) else frozenset()
    least = {"all": len(parents), "any": 1}.get(node.join) if isinstance(node.join, str) else node.join["at_least"]
    return worst(lost) if len(parents) - len(lost) < least else frozenset()


def _run(node: Drawn, flags: dict[str, bool], known: dict[str, Fate], path: str, all_: dict[str, Fate]) -> Fate:
    """What a node that runs comes to."""
    if node.fails:
        ignored = node.on_error == "skip"
        return (
            Fate("skipped", frozenset([("error_ignored", path)]))
            if ignored
            else Fate("failed", chooses=(node.on_error,))
        )
    match node.kind:
        case "tool" | "say":
            seen = {"need": lambda f: f.value, "guard": lambda f: f.value, "meta": lambda f: f.status}
            return Fate("done", value=[node.name, *(seen[manner](known[name]) for name, manner in node.reads)])
        case "human":
            return Fate("done", value={"answer": path})
        case "condition":
            held = [index for index, (flag, _) in enumerate(node.cases) if flags[flag]]
            held = held[:1] if node.match == "first" else held
            chosen = [name for index in held for name in node.cases[index][1]] if held else node.otherwise
            chosen = list(dict.fromkeys(chosen))
            return Fate("done", value={"selected": chosen, "cases": held}, chooses=tuple(chosen))
        case "use":
            return Fate("done", value=interpret(node.body, flags, {}, f"{path}.", all_))
    rounds = node.count if node.kind == "for_each" else min(node.until, node.count + 1)
    values = [interpret(node.body, flags, known, f"{path}[{index}].", all_) for index in range(rounds)]
    return Fate("done", value=values if node.kind == "for_each" else values[-1])


def _home(at: str, name: str) -> str:
    """The path of the node that is called ``name`` inside ``at``: names tell how deep their scope is."""
    parts = at.split(".")[: name.count("_")]
    return ".".join([*parts, name])


# -- running ---------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A drawn workflow with its input; only those that the checks pass are run."""

    nodes: list[Drawn]
    flags: dict[str, bool]

    def staged(self, seed: int = 0) -> tuple[Stage, dict[str, Any]]:
        stage, chance = Stage(), random.Random(seed)
        stage.delay = lambda path: chance.choice([0, 0, 1, 2, 5, 12])
        return stage, spec_of(self.nodes, stage.library)

    def sound(self) -> bool:
        """Whether the checks pass; what they refuse, ``build`` refuses."""
        stage, spec = self.staged()
        workflow = load({"cogwork": "v1", "name": "staged", **spec})
        errors = analyse(workflow, stage.services, lambda name, user: stage._used(name)).errors
        event("refused: " + ", ".join(sorted({e.code for e in errors})) if errors else "sound")
        if errors:
            with pytest.raises(SpecError):
                stage.graph(spec)
        return not errors

    def compare(self, state: dict[str, Any]) -> dict[str, Fate]:
        """Hold a run's end against the interpreter; its fates by path."""
        fates: dict[str, Fate] = {}
        output = interpret(self.nodes, self.flags, {}, "", fates)
        nodes = {path: record for path, record in state["nodes"].items() if not path.endswith("]")}
        assert {path: record["status"] for path, record in nodes.items()} == {p: f.status for p, f in fates.items()}
        done = {path: fate.value for path, fate in fates.items() if fate.status == "done"}
        assert {path: state["results"].get(path) for path in done} == done
        for path, record in nodes.items():
            cause = record.get("cause")
            assert (cause and (cause["reason"], cause["by"])) in (fates[path].causes or {None}), path
        assert state["output"] == output
        assert sorted(p for p in state["path"]) == sorted(fates), "a node settled more than once"
        return fates


def cases(**more: Any) -> st.SearchStrategy[Case]:
    flags = st.fixed_dictionaries(dict.fromkeys(FLAGS, st.booleans()))
    return st.builds(Case, graphs(**more), flags)


async def to_the_end(stage: Stage, graph: Any, given: Any, config: Any, chance: random.Random) -> dict[str, Any]:
    """Run, and answer people one at a time in any order, until nobody is asked any more."""
    state = await graph.ainvoke(given, config)
    while asked := state.get("__interrupt__"):
        chosen = chance.sample(asked, chance.randint(1, len(asked)))
        state = await graph.ainvoke(answer({i.value["at"]: {"answer": i.value["at"]} for i in chosen}), config)
    return state


def ended(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; work that hangs is a failure."""

    async def within() -> T:
        return await asyncio.wait_for(work, 10)

    return asyncio.run(within())


# -- the laws --------------------------------------------------------------------------------------------------


@given(cases(), st.integers(0, 999))
@ordinary
def test_every_node_comes_to_what_the_reference_interpreter_says(case: Case, seed: int) -> None:
    if not case.sound():
        return
    stage, spec = case.staged(seed)
    state = ended(stage.run(spec, **case.flags))
    fates = case.compare(state)
    assert len(stage.paths()) == len(set(stage.paths())), "a node ran more than once"
    assert set(stage.paths("end")) <= {path for path, fate in fates.items() if fate.status == "done"}


@given(cases(people=True), st.integers(0, 999))
@ordinary
def test_people_answered_in_any_order_change_nothing(case: Case, seed: int) -> None:
    if not case.sound():
        return
    stage, spec = case.staged(seed)
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    state = ended(to_the_end(stage, graph, case.flags, config, random.Random(seed)))
    case.compare(state)
    assert len(stage.paths()) == len(set(stage.paths()))


class Died(Exception):
    """The process died while it wrote."""


class DyingSaver(InMemorySaver):
    """Dies at its nth write; what was written before stays."""

    left = 10**9

    def _write(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Died

    async def aput(self, *args: Any) -> Any:
        self._write()
        return await super().aput(*args)

    async def aput_writes(self, *args: Any) -> Any:
        self._write()
        return await super().aput_writes(*args)


async def _with_a_crash(case: Case, seed: int, after: int) -> tuple[bool, set[str], dict[str, Any]]:
    """Whether it crashed, which settled steps ran again, and how the run ended in a new graph on the same storage."""
    saver = DyingSaver()
    saver.left = after
    stage, spec = case.staged(seed)
    config, given, chance = stage.thread(), case.flags, random.Random(seed)
    try:
        return False, set(), await to_the_end(stage, stage.graph(spec, saver), given, config, chance)
    except Died:
        saver.left = 10**9
    graph = stage.graph(spec, saver)
    kept = (await graph.aget_state(config)).values
    stage.log.clear()
    state = await to_the_end(stage, graph, None if kept.get("run") else given, config, chance)
    return True, set(stage.paths()) & set(kept.get("path", ())), state


@given(cases(most=4, depth=1, people=True), st.integers(0, 999))
@costly
def test_a_crash_at_any_write_changes_nothing_but_what_was_in_flight(case: Case, seed: int) -> None:
    if not case.sound():
        return
    after, crashed = 1, True
    while crashed:
        crashed, repeated, state = ended(_with_a_crash(case, seed, after))
        case.compare(state)
        assert not repeated
        after += 1


@given(cases(most=6), st.integers(0, 999), st.integers(1, 30))
@ordinary
def test_a_reader_who_leaves_and_a_resumption_change_nothing(case: Case, seed: int, chunks: int) -> None:
    if not case.sound():
        return

    async def run() -> dict[str, Any]:
        stage, spec = case.staged(seed)
        graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
        left = chunks
        stream = graph.astream(case.flags, config, stream_mode="values")
        async for _ in stream:
            left -= 1
            if not left:
                break
        await stream.aclose()
        snapshot = await graph.aget_state(config)
        if snapshot.values.get("run", {}).get("ended_at"):
            return snapshot.values
        return await graph.ainvoke(None if snapshot.values.get("run") else case.flags, config)

    case.compare(ended(run()))


def _break_one(case: Case, place: int) -> str:
    """Let one tool of the workflow fail without anybody minding; its name."""
    tools = [node for node in case.nodes if node.kind == "tool"]
    if not tools:
        return ""
    node = tools[place % len(tools)]
    node.fails, node.on_error = True, "fail"
    return node.name


def _behind(name: str, nodes: list[Drawn]) -> set[str]:
    """The nodes that cannot have started when ``name`` had failed: default joins behind it, and all behind those."""
    found = {name}
    for node in nodes:
        if node.join in ("default", "all") and found & {*node.order, *(n for n, _ in node.reads)}:
            found.add(node.name)
    return found - {name}


@given(cases(depth=1), st.integers(0, 999), st.integers(0, 9))
@ordinary
def test_a_failure_nobody_minds_ends_the_run_and_nothing_starts_behind_it(case: Case, seed: int, place: int) -> None:
    name = _break_one(case, place)
    if not name or not case.sound():
        return
    stage, spec = case.staged(seed)

    async def run() -> tuple[WorkflowFailed | None, dict[str, Any]]:
        graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
        try:
            await graph.ainvoke(case.flags, config)
        except WorkflowFailed as failed:
            return failed, (await graph.aget_state(config)).values
        return None, (await graph.aget_state(config)).values

    failed, state = ended(run())
    if name not in stage.paths():
        assert failed is None
        return
    assert failed is not None and failed.error["node"] == name
    assert (state["run"]["status"], state["nodes"][name]["status"]) == ("failed", "failed")
    assert state.get("output") is None
    at_work = [path for path in stage.paths() if ("end", path) not in stage.log and ("fail", path) not in stage.log]
    assert all(("cancel", path) in stage.log or path == name for path in at_work)
    assert not [path for path, record in state["nodes"].items() if record["status"] in ("open", "waiting")]
    behind = _behind(name, case.nodes)
    assert not [path for path in stage.paths() if path.split("[")[0].split(".")[0] in behind]
