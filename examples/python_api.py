"""cogwork from Python: a workflow as text, a tool of one's own, a person's answer, and what LangGraph knows of the run.

Run it from the repository's folder: ``python examples/python_api.py``
"""

# ruff: noqa: T201 - an example shows what it does

from __future__ import annotations

from typing import Annotated, Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import cogwork

WORKFLOW = """
cogwork: v1
name: reorder
description: Order what is nearly sold out, once somebody has agreed.
input:
  least: {type: integer, default: 3, description: Order what is at or below this number.}
nodes:
  shelf: {type: tool, tool: stock, args: {least: "{{ input.least }}"}}
  text:
    type: llm
    prompt: "Summarise in one sentence what is nearly sold out: {{ shelf.low }}"
  agree:
    type: human
    ask: "Order {{ join(map(shelf.low, 'name'), ', ') }}?"
    show: "{{ text }}"
    form: {order: {type: boolean}}
  ordered:
    type: transform
    when: agree.order
    set: "{{ map(shelf.low, 'name') }}"
output: {ordered: "{{ ordered | default: [] }}", text: "{{ text }}"}
"""


@cogwork.tool(name="stock", effect="read")
def stock(least: Annotated[int, "At most so many are left."]) -> dict[str, list[dict[str, Any]]]:
    """List what is nearly sold out."""
    shelf = [{"name": "kettle", "left": 3}, {"name": "teapot", "left": 1}, {"name": "cup", "left": 40}]
    return {"low": [thing for thing in shelf if thing["left"] <= least]}


def main() -> dict[str, Any]:
    """Check, compile, run to the question, answer it, and look back."""
    problems = cogwork.check(WORKFLOW, tools=[stock])
    assert not problems, problems

    graph = cogwork.compile(WORKFLOW, tools=[stock], checkpointer=InMemorySaver())  # or a path: "runs.sqlite"
    thread = {"configurable": {"thread_id": "monday"}}

    paused = graph.invoke({"least": 3}, thread)
    print("asked:", paused["__interrupt__"][0].value["ask"])

    try:
        graph.invoke(Command(resume={"order": "maybe"}), thread)  # does not fit the form: refused, and still open
    except cogwork.AnswerRefused as refused:
        print("refused:", refused)

    for update in graph.stream(Command(resume={"order": True}), thread, stream_mode="updates"):
        print("update:", ", ".join(update))

    state = graph.get_state(thread)
    print("output:", state.values["output"])
    print("checkpoints:", len(list(graph.get_state_history(thread))))
    return dict(state.values["output"])


if __name__ == "__main__":
    main()
