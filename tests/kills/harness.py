"""Runs whose process is killed: at every write, and at random times; each held against the same run unkilled."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphs.graph import WorkflowGraph
from tests.kills.ledger import Ledger
from tests.kills.runs import Place, begin, compiled
from tests.kills.specs import RandomSpec
from tests.kills.stores import Fuse

MOST = 8
"""How often one run is killed before it is left to end."""


@dataclass(slots=True)
class Totals:
    """What a call of the harness comes to; ``faults`` are sentences that say how to repeat it."""

    kills: int = 0
    runs: int = 0
    specs: int = 0
    effects: int = 0
    lost: int = 0
    repeated: int = 0
    different: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.repeated or self.different)

    def add(self, other: Totals) -> None:
        for name in ("kills", "runs", "specs", "effects", "lost", "repeated", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults += other.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """When a process dies: at the pass of its fuse ``at``, when it passes ``place``, or ``after`` so many seconds."""

    at: int = 0
    place: str = ""
    times: int = 1
    after: float = 0.0

    def __str__(self) -> str:
        return self.place or (f"at {self.at}" if self.at else f"after {self.after * 1000:.0f} ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a run ended: its state and the ledger's entries, or why it did not."""

    values: dict[str, Any] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    error: str = ""
    passed: int = 0
    seconds: float = 0.0
    kills: int = 0


def run_killed(place: Place, made: RandomSpec, graph: WorkflowGraph, plan: list[Kill]) -> End:
    """The end of a run whose processes die as planned, the last of them not."""
    place.folder.mkdir(parents=True)
    kills, began = 0, time.perf_counter()
    for index, kill in enumerate([*plan, Kill()]):
        began = time.perf_counter()
        pid = begin(place, made, graph, Fuse(kill.at, kill.place, kill.times), seed=index)
        if kill.after:
            time.sleep(kill.after)
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status >= 0 or (place.folder / "end").exists():
            break
        if status == -signal.SIGALRM:
            (place.folder / "error").write_text("a process of the run hangs")
            break
        kills += 1
    taken = time.perf_counter() - began
    told = Ledger(place.ledger, place.case).close()
    if (place.folder / "error").exists():
        return End(error=(place.folder / "error").read_text(), kills=kills, **told)
    values = json.loads((place.folder / "end").read_text())
    return End(values=values, passed=values.pop("passed"), seconds=taken, kills=kills, **told)


def plans(whole: End, chance: random.Random, stride: int) -> Iterator[list[Kill]]:
    """Every pass of the fuse (or each ``stride``-th) as the first death, often with more to come; then random times."""
    for at in range(1 + chance.randrange(stride), whole.passed + 1, stride):
        further = [Kill(at=chance.randint(1, whole.passed)) for _ in range(chance.choice([0, 0, 1, 3]))]
        yield [Kill(at=at), *further]
    for _ in range(max(1, whole.passed // (3 * stride))):
        yield [Kill(after=chance.uniform(0.001, 1.1 * whole.seconds)) for _ in range(MOST)]


# -- judging ---------------------------------------------------------------------------------------------------------


def essence(values: dict[str, Any], made: RandomSpec) -> dict[str, Any]:
    """What of a run's end is determined: no times, no attempts, nothing of steps that are free."""

    def fixed(path: str) -> bool:
        return path.split(".")[0].split("[")[0] not in made.free

    run = values.get("run", {})
    nodes = {path: _fate(record) for path, record in values.get("nodes", {}).items() if fixed(path)}
    told = {"status": run.get("status"), "failed": (run.get("error") or {}).get("node")}
    if made.loose:
        return told
    undo = run.get("undo") or {}
    return told | {
        "nodes": {path: fate for path, fate in nodes.items() if not path.startswith("undo[")},
        "results": {p: v for p, v in values.get("results", {}).items() if fixed(p) and not p.startswith("undo[")},
        "output": values.get("output"),
        "undone": sorted(filter(fixed, undo.get("done", []))),
        "not undone": sorted(each["step"] for each in undo.get("not_done", []) if fixed(each["step"])),
        "also": sorted(each.get("node", "") for each in run.get("also") or []),
    }


def _fate(record: dict[str, Any]) -> list[Any]:
    error = record.get("error") or {}
    return [record["status"], error.get("class"), record.get("handled_by"), record.get("fallback")]


def effects(end: End, made: RandomSpec, *, undo: bool) -> set[str]:
    """The steps, with the number of their call, whose effect the ledger performed."""
    done = [entry["key"].split(":", 1)[1] for entry in end.entries if entry["order"]]
    return {
        each for each in done if each.endswith(":undo") == undo and each.split(":")[0].split(".")[0] not in made.free
    }


def lost_effects(end: End) -> set[str]:
    """Steps that the run says are done, and whose effect the ledger does not know."""
    performed = {entry["step"] for entry in end.entries if entry["order"]}
    writes = {entry["step"] for entry in end.entries if entry["tool"] not in ("kills.look",)}
    nodes = end.values["nodes"].items()
    done = {path for path, record in nodes if record["status"] == "done" and not record.get("fallback")}
    return (done & writes) - performed


def wrongly_undone(end: End) -> str:
    """Whether undo ran other than in the reverse order of completion; the sentence that says so."""
    undo = (end.values.get("run") or {}).get("undo") or {}
    order = {path: index for index, path in enumerate(end.values.get("path", []))}
    done = [path for path in undo.get("done", []) if path in order]
    if [order[path] for path in done] != sorted((order[path] for path in done), reverse=True):
        return f"undone in the order {done}, completed in the order {sorted(done, key=order.__getitem__)}"
    taken = sorted(
        (e["order"], e["key"].split(":")[1]) for e in end.entries if e["key"].endswith(":undo") and e["order"]
    )
    if not set(done) <= {path for _, path in taken}:
        return f"undone {done}, of which the ledger knows {[path for _, path in taken]}"
    if (places := [order[path] for _, path in taken if path in order]) != sorted(places, reverse=True):
        return f"the ledger saw the undo of {[path for _, path in taken]} in that order"
    return ""


def broken(end: End) -> str:
    """What went wrong within cogwork or the harness: no run that is told to fail fails so."""
    records = (end.values.get("nodes") or {}).items()
    found = [path for path, record in records if (record.get("error") or {}).get("class") == "internal"]
    return f"failed by itself: {found}" if found else ""


def judge(totals: Totals, whole: End, end: End, made: RandomSpec, told: str) -> None:
    """Count what is wrong with the end of a killed run."""
    totals.repeated += len(end.breaches)
    totals.faults += [f"{told}: {breach}" for breach in end.breaches]
    if end.error:
        totals.lost += 1
        totals.faults.append(f"{told}: lost: {end.error[-1500:]}")
        return
    totals.effects += sum(1 for entry in end.entries if entry["order"])
    wrong = []
    if (was := essence(end.values, made)) != (should := essence(whole.values, made)):
        wrong.append(f"ended {_differences(should, was)}")
    if not made.loose and (mine := effects(end, made, undo=False)) != (his := effects(whole, made, undo=False)):
        wrong.append(f"effects differ: {sorted(mine ^ his)}")
    if missing := lost_effects(end):
        wrong.append(f"effects are lost: {sorted(missing)}")
    if order := wrongly_undone(end):
        wrong.append(order)
    totals.different += bool(wrong)
    totals.faults += [f"{told}: {each}" for each in wrong]


def _differences(should: dict[str, Any], was: dict[str, Any]) -> str:
    found = []
    for key in should:
        if should[key] != was[key] and isinstance(should[key], dict) and isinstance(was[key], dict):
            names = sorted(set(should[key]) | set(was[key]))
            found += [
                f"{key}.{name}: {was[key].get(name)} instead of {should[key].get(name)}"
                for name in names
                if should[key].get(name) != was[key].get(name)
            ]
        elif should[key] != was[key]:
            found.append(f"{key}: {was[key]} instead of {should[key]}")
    return "; ".join(found)[:1500]


# -- one workflow ----------------------------------------------------------------------------------------------------


def hunt(base: Place, made: RandomSpec, seed: int, stride: int, budget: int) -> Totals:
    """Kill runs of one workflow in every way, until so many kills are made."""
    totals, chance = Totals(specs=1), random.Random(f"{seed}/{made.number}")
    name = f"{base.folder.name}-{made.number}"

    def placed(run: str) -> Place:
        folder = base.folder / f"{name}-{run}"
        return Place(folder=folder, ledger=base.ledger, store=base.store, url=base.url, recording=base.recording)

    told = f"seed {seed}, spec {made.number} ({made.ending})"
    graph = compiled(made)
    whole = run_killed(placed("whole"), made, graph, [])
    totals.runs += 1
    if whole.error or whole.breaches:
        judge(totals, whole, whole, made, f"{told}, unkilled")
        return totals
    for wrong in (wrongly_undone(whole), broken(whole)):
        if wrong:
            totals.different += 1
            totals.faults.append(f"{told}, unkilled: {wrong}")
    for index, plan in enumerate(plans(whole, chance, stride)):
        if totals.kills >= budget:
            break
        place = placed(str(index))
        end = run_killed(place, made, graph, plan)
        totals.runs += 1
        totals.kills += end.kills
        before = totals.clean
        judge(totals, whole, end, made, f"{told}, plan {index} {_told(plan)}")
        if totals.clean or not before:
            shutil.rmtree(place.folder, ignore_errors=True)
    shutil.rmtree(placed("whole").folder, ignore_errors=True)
    return totals


def _told(plan: list[Kill]) -> str:
    return f"[{', '.join(map(str, plan))}]"
