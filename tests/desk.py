"""A desk for the shipped workflows: a folder of one's own as the working folder, real tools, an offline or a scripted model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import cogwork
from cogwork.settings import HOUSE
from graphs.build import build
from graphs.graph import WorkflowGraph
from state.errors import Fault
from state.services import Services
from state.values import Json
from tests.fakes import ScriptedModel, ScriptedModels

CATALOG = ("incident_triage", "planning", "coding", "information", "debugging", "generic", "auto")
EXAMPLES = tuple(sorted(path.name for path in (HOUSE / "examples").glob("*.yaml")))


class Desk:
    """Runs shipped workflows as a person in the working folder would; the repository may be read, ``reports`` written."""

    def __init__(self, *, allow_python: bool = False) -> None:
        settings = cogwork.Settings(roots=[HOUSE, Path()], model="offline", allow_python=allow_python, _env_file=None)
        self.app = cogwork.App(settings=settings)
        self.model: ScriptedModel | None = None

    def scripted(self, *answers: Json | Fault) -> Desk:
        """With a model that gives these answers in turn; values are given as JSON, and a fault is raised."""
        told = [answer if isinstance(answer, str | Fault) else json.dumps(answer) for answer in answers]
        self.model = ScriptedModel(answers=told)
        return self

    def graph(self, name: str) -> WorkflowGraph:
        """The graph of a workflow of the catalog, or of a file of the examples."""
        source = HOUSE / "examples" / name if name.endswith(".yaml") else name
        given = self.app.services
        models = given.models if self.model is None else ScriptedModels({"scripted": self.model})
        services = Services(tools=given.tools, models=models, prompts=given.prompts)
        return build(self.app.load(source), services, self.app.resolve, checkpointer=InMemorySaver())

    def run(self, name: str, *answers: Json, **given: Json) -> Any:
        """The output of a run whose questions are answered in turn; all answers and all the script must be used."""
        state = self.state(name, *answers, **given)
        assert "__interrupt__" not in state, state["__interrupt__"]
        return state["output"]

    def state(self, name: str, *answers: Json, **given: Json) -> dict[str, Any]:
        """The state that such a run ends or rests in."""
        graph, thread = self.graph(name), {"configurable": {"thread_id": "one"}}
        state = graph.invoke(given, thread)
        for answer in answers:
            assert "__interrupt__" in state, f"nobody was asked for {answer}"
            state = graph.invoke(Command(resume=answer), thread)
        assert self.model is None or not self.model.answers, f"never asked for: {self.model.answers}"
        return state


def question(state: dict[str, Any]) -> dict[str, Any]:
    """What the person is asked, of a run that rests."""
    (asked,) = state["__interrupt__"]
    return dict(asked.value)


def texts(value: Json) -> Iterable[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def says(value: Json, *facts: str) -> bool:
    """Whether the texts within a value hold all of these."""
    told = "\n".join(texts(value))
    return all(fact in told for fact in facts)
