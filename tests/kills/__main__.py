"""``python -m tests.kills``: kill runs of random workflows by the thousand, and count what is lost or done twice.

The exit code is 0 if nothing is, else 1. ``--without-record`` switches the record of calls off, and must make it fail.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.kills import ledger
from tests.kills.harness import Totals, hunt
from tests.kills.runs import Place, features, sound
from tests.kills.specs import random_spec

SHOWN = 20
EVERY = 10.0
"""Seconds between two lines of progress."""


def main(arguments: list[str] | None = None) -> int:
    """Run the harness; 1 where a run is lost, an effect repeated, or an end differs."""
    asked = _parser().parse_args(arguments)
    with ExitStack() as stack:
        url = asked.url or ""
        if asked.store == "postgres" and not url:
            from tests.clusters import cluster

            url = stack.enter_context(cluster()).url
        folder = Path(asked.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-")))
        found = features(asked.store, folder, url) - set(asked.leave_out)
        print(f"workflows with {', '.join(sorted(found)) or 'nothing special'}, on {asked.store}", flush=True)
        totals = _all(asked, folder, url, found)
    for fault in totals.faults[:SHOWN]:
        print(f"  {fault}")
    print(_line(totals))
    return 0 if totals.clean and totals.kills else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000, help="how many kills (2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the workflows and of the moments (1)")
    parser.add_argument("--workers", type=int, default=2, help="processes beside each other (2)")
    parser.add_argument("--per-spec", type=int, default=60, help="kills of one workflow at most (60)")
    parser.add_argument("--stride", type=int, default=1, help="kill at every n-th write only (1)")
    parser.add_argument("--spec", type=int, help="only the workflow of this number")
    parser.add_argument("--leave-out", action="append", default=[], metavar="FEATURE", help="draw workflows without it")
    parser.add_argument("--without-record", action="store_true", help="keep no record of calls: must fail")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--url", help="of the PostgreSQL database; without it a cluster is made")
    parser.add_argument("--folder", help="where runs are kept; those that went wrong stay there")
    return parser


def _all(asked: argparse.Namespace, folder: Path, url: str, found: frozenset[str]) -> Totals:
    """The totals of all workers."""
    gc.collect()
    gc.freeze()
    began, totals = time.perf_counter(), Totals()
    read, write = os.pipe()
    workers = []
    for index in range(asked.workers):
        if (pid := os.fork()) == 0:
            try:
                os.close(read)
                _worker(asked, index, folder, url, found, write)
                os._exit(0)
            finally:
                os._exit(1)
        workers.append(pid)
    os.close(write)
    shown = began
    with os.fdopen(read) as lines:
        for line in lines:
            totals.add(Totals(**json.loads(line)))
            totals.seconds = time.perf_counter() - began
            if time.perf_counter() - shown > EVERY:
                shown = time.perf_counter()
                print(_line(totals), flush=True)
    for pid in workers:
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            totals.lost += 1
            totals.faults.append("a worker of the harness itself has died")
    return totals


def _worker(asked: argparse.Namespace, index: int, folder: Path, url: str, found: frozenset[str], write: int) -> None:
    """Every ``workers``-th workflow, until this worker's share of the kills is made; each one's totals as a line."""
    mine = folder / f"w{index}"
    mine.mkdir(parents=True, exist_ok=True)
    address = Path(tempfile.mkdtemp(prefix="ledger-")) / "socket"
    pid, alive = ledger.start(address)
    place = Place(folder=mine, ledger=address, store=asked.store, url=url, recording=not asked.without_record)
    left, number = -(-asked.kills // asked.workers), index + 1
    try:
        while left > 0:
            made = random_spec(asked.seed, asked.spec or number, found, sound)
            totals = hunt(place, made, asked.seed, asked.stride, min(left, asked.per_spec))
            os.write(write, json.dumps(asdict(totals)).encode() + b"\n")
            left -= max(totals.kills, 1)
            number += asked.workers
            if asked.spec:
                break
    finally:
        os.close(alive)
        os.waitpid(pid, 0)
        shutil.rmtree(address.parent, ignore_errors=True)


def _line(totals: Totals) -> str:
    speed = totals.kills / totals.seconds if totals.seconds else 0.0
    return (
        f"{totals.kills} kills, {totals.runs} runs of {totals.specs} workflows, {totals.effects} effects: "
        f"{totals.lost} lost runs, {totals.repeated} repeated effects, {totals.different} differing ends "
        f"({speed:.1f} kills/s)"
    )


if __name__ == "__main__":
    sys.exit(main())
