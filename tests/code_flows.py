"""Workflows that are code, for the tests of the library; imported by reference."""

from __future__ import annotations

import asyncio
import operator
from itertools import pairwise
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

LOG: list[str] = []
GATES: dict[str, asyncio.Event] = {}


class State(TypedDict, total=False):
    """What the graphs of these tests hold."""

    topic: str
    log: Annotated[list[Any], operator.add]
    rounds: int


def gate(name: str) -> asyncio.Event:
    """The gate that a node waits at."""
    return GATES.setdefault(name, asyncio.Event())


def add(word: str) -> Any:
    """A node that says a word."""

    def node(state: State) -> dict[str, Any]:
        LOG.append(word)
        return {"log": [word]}

    return node


def line(*nodes: tuple[str, Any]) -> StateGraph[Any, Any, Any, Any]:
    """Nodes one after the other."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes:
        graph.add_node(name, node)
    names = [START, *(name for name, _ in nodes), END]
    for one, other in pairwise(names):
        graph.add_edge(one, other)
    return graph


class Research:
    """Looks into a topic."""

    name = "research"

    def __init__(self, tools: Any, settings: Any, depth: int = 1) -> None:
        self.tools, self.settings, self.depth = tools, settings, depth

    async def initialize(self) -> None:
        LOG.append(f"initialize research {self.depth}")

    async def shutdown(self) -> None:
        LOG.append(f"shutdown research {self.depth}")

    def build(self) -> StateGraph[Any, Any, Any, Any]:
        def look(state: State) -> dict[str, Any]:
            return {"log": [f"{state['topic']} {self.depth} {self.tools.find('text.search') is not None}"]}

        return line(("look", look), ("tell", add("told")))


def asking(state: State) -> dict[str, Any]:
    """Ask a person."""
    return {"log": [interrupt({"question": "Go on?", "topic": state["topic"]})]}


async def waiting(state: State) -> dict[str, Any]:
    """Wait at the gate."""
    LOG.append("waiting")
    await gate("wait").wait()
    return {"log": ["waited"]}


def failing(state: State) -> dict[str, Any]:
    """Fail."""
    raise ValueError("the node is broken")


ASKS = line(("first", add("first")), ("ask", asking), ("last", add("last")))
WAITS = line(("first", add("first")), ("wait", waiting), ("last", add("last")))
FAILS = line(("first", add("first")), ("fail", failing))


def rounds() -> StateGraph[Any, Any, Any, Any]:
    """A graph that goes round three times, without end for a topic of ``endless``."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("turn", lambda state: {"rounds": state.get("rounds", 0) + 1})
    graph.add_edge(START, "turn")
    graph.add_conditional_edges(
        "turn", lambda state: "turn" if state["rounds"] < 3 or state["topic"] == "endless" else END
    )
    return graph


def fan() -> StateGraph[Any, Any, Any, Any]:
    """Two questions at once, by one node."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("ask", lambda state: {"log": [interrupt(f"What of {state['topic']}?")]})
    graph.add_conditional_edges(START, lambda state: [Send("ask", {"topic": t}) for t in ("a", "b")], ["ask"])
    return graph


def chatting() -> StateGraph[Any, Any, Any, Any]:
    """A model that says three words."""
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))

    async def say(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    graph.add_node("say", say)
    graph.add_edge(START, "say")
    return graph
