"""Whatever is published, labelled, rolled back and deleted, in whatever order: versions stay, labels stand at versions."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cogwork.errors import EngineError
from tests.libraries import DATABASES, flow, library_on, records_on

NAMES = st.sampled_from(["one", "two"])
LABELS = st.sampled_from(["prod", "canary"])
NUMBERS = st.integers(1, 5)


class Machine(RuleBasedStateMachine):
    """A library beside what it should say."""

    database = "sqlite"

    @initialize()
    def begin(self) -> None:
        """An empty library."""
        self.folder = tempfile.TemporaryDirectory()
        self.opened = records_on(self.database, Path(self.folder.name))
        self.library = library_on(self.opened.__enter__(), Path(self.folder.name))
        self.values: dict[str, list[int]] = {}
        self.labels: dict[str, dict[str, int]] = {}

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            self.folder.cleanup()

    def does(self, call: Any) -> Any:
        """What the call returns, or the code of its error."""
        try:
            return asyncio.run(call)
        except EngineError as err:
            return err.code

    @rule(name=NAMES, value=st.integers(0, 3))
    def publish(self, name: str, value: int) -> None:
        """Create, or update."""
        if name not in self.values:
            assert self.does(self.library.create(flow(name, value))).version == 1
            self.values[name], self.labels[name] = [value], {"latest": 1}
            return
        known, at = self.values[name], self.labels[name]
        if known[at["latest"] - 1] != value:
            known.append(value)
            at["latest"] = len(known)
        assert self.does(self.library.update(name, flow(name, value))).version == at["latest"]

    @rule(name=NAMES, version=NUMBERS)
    def rollback(self, name: str, version: int) -> None:
        """Roll back, or be refused."""
        self.moves(name, "latest", version, self.library.rollback(name, version))

    @rule(name=NAMES, label=LABELS, version=NUMBERS)
    def label(self, name: str, label: str, version: int) -> None:
        """Set a label, or be refused."""
        self.moves(name, label, version, self.library.label(name, label, version))

    def moves(self, name: str, label: str, version: int, call: Any) -> None:
        """Check a move of a label."""
        found = self.does(call)
        if name not in self.values:
            assert found == "workflow_not_found"
        elif version > len(self.values[name]):
            assert found == "version_not_found"
        else:
            self.labels[name][label] = version
            assert found.labels[label] == version

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """Delete, or be refused."""
        assert self.does(self.library.delete(name)) == (True if name in self.values else "workflow_not_found")
        self.values.pop(name, None), self.labels.pop(name, None)

    @invariant()
    def versions_stay_and_labels_stand_at_them(self) -> None:
        """All of it."""
        for name, values in getattr(self, "values", {}).items():
            record = self.does(self.library.get(name))
            assert dict(record.labels) == self.labels[name]
            assert (record.version, record.newest) == (self.labels[name]["latest"], len(values))
            self.library._contents.clear()
            for number, value in enumerate(values, start=1):
                bundle = self.does(self.library.bundle(name, number))
                assert bundle.workflow.spec.nodes["a"].set == {"value": value}
            moves = self.does(self.library.label_moves(name))
            last = {each.label: each.after for each in moves}
            assert last == self.labels[name]


@pytest.mark.req("M10", "E8")
@pytest.mark.parametrize("database", DATABASES)
def test_any_order_of_verbs_keeps_versions_and_labels(database: str) -> None:
    machine = type("On", (Machine,), {"database": database})
    examples = 25 if database == "sqlite" else 8
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
