"""The error tree: a fault is the same object as data, whoever tells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.base import CallingNode
from state.errors import FAULT_CLASSES, TRANSIENT, Fault, InDoubt
from state.services import Variable
from tests.fakes import FakeTool, fake_prompt, fake_services
from tests.works import Work, node

pytestmark = [pytest.mark.req("X12")]

plain = st.none() | st.dictionaries(st.text(), st.integers() | st.text() | st.none())
faults = st.builds(
    Fault,
    st.sampled_from(FAULT_CLASSES),
    st.text(),
    origin=st.sampled_from(["workflow", "step", "model", "tool"]),
    stage=st.none() | st.sampled_from(["schedule", "expression", "arguments", "render", "call", "result"]),
    retry_after=st.none() | st.floats(0, 1e6),
    details=plain,
)


@given(faults)
def test_a_fault_and_its_record_tell_the_same(fault: Fault) -> None:
    record = fault.record(node="a", pointer="/nodes/a")
    assert Fault.from_record(record).record(node="a", pointer="/nodes/a") == record
    assert list(record) == [
        *("class", "origin", "stage", "severity", "message", "node", "pointer", "recoverable", "retry_after", "details")
    ]


@pytest.mark.parametrize("fault_class", FAULT_CLASSES)
def test_the_class_says_how_grave_it_is_and_whether_trying_again_may_help(fault_class: str) -> None:
    record = Fault(fault_class, "x").record(node="a")  # type: ignore[arg-type]
    assert record["severity"] == {"internal": "critical", "cancelled": "warning"}.get(fault_class, "error")
    assert record["recoverable"] == (fault_class in TRANSIENT)


def test_a_doubt_keeps_the_class_below_it_and_is_never_recoverable() -> None:
    record = InDoubt("r:a:0", "mail.send", "took too long", arguments={"to": "x"}, fault_class="timeout").record(
        node="a"
    )
    assert (record["class"], record["recoverable"]) == ("timeout", False)
    assert record["details"]["in_doubt"]["args"] == {"to": "x"}


TEXT = {"type": "llm", "prompt": "greet"}


@pytest.mark.parametrize(
    ("made", "stage"),
    [
        (node(type="tool", tool="t", args={"q": "{{ gone }}"}), "expression"),
        (node(type="tool", tool="t", args={"q": 1}), "arguments"),
        (node(type="tool", tool="gone"), "arguments"),
        (node(type="tool", tool="t", args={"q": "x"}), "call"),
        (node(type="tool", tool="t", args={"q": "y"}, output={"type": "integer"}), "result"),
        (node(**TEXT), "render"),
        (node(**{**TEXT, "prompt": "gone"}), "render"),
    ],
)
async def test_a_fault_says_in_which_stage_the_step_failed(made: CallingNode, stage: str) -> None:
    def fails(q: str) -> str:
        if q == "x":
            raise ValueError("no")
        return q

    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    tool = FakeTool(args_schema=schema, fn=fails)
    prompts = {"greet": fake_prompt("greet", Variable(name="who"))}
    work = Work(node=made, services=fake_services({"t": tool}, models={"m": []}, prompts=prompts))
    assert (await work.fault()).stage == stage
