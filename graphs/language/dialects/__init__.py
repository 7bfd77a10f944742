"""The dialects: which one a document speaks, told by its shape, and its translation into the canonical form.

agent file        has `workflows`, or `steps` that name an `agent`
agent steps       has `steps` that name an `agent_id`
tool template     has `steps` that name a `tool` or `tool_name`
tool chain        has a `chain`, a list of calls
graph definition  has `nodes` with `edges`, an entry point or configurations
canonical         has `cogwork`, or `nodes`, or a name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from graphs.language.dialects import agent_file, agent_steps, graph_definition, tool_chain, tool_template
from graphs.language.dialects.draft import Draft
from graphs.language.dialects.entry import Entry
from graphs.language.source import Source
from graphs.language.spec import LANGUAGE
from state.errors import SpecError
from state.services import Tools
from state.values import Json

Dialect: TypeAlias = Literal[
    "canonical", "tool_template", "tool_chain", "agent_steps", "graph_definition", "agent_file"
]
_EDGED: Final = frozenset({"edges", "entryPoint", "entry_point"})
_CANONICAL: Final = frozenset({"cogwork", "nodes", "name"})


def dialect_of(source: Source) -> Dialect:
    """The dialect that the document's shape tells.

    Raises:
        SpecError: the document is no workflow in any dialect.
    """
    value = source.value
    if not isinstance(value, Mapping):
        raise _refusal(source, "not_a_workflow", "This is not a workflow")
    if "cogwork" in value:
        return _versioned(source, value["cogwork"])
    if isinstance(value.get("workflows"), Mapping | list):
        return "agent_file"
    if isinstance(value.get("chain"), list) and "nodes" not in value:
        return "tool_chain"
    if isinstance(value.get("steps"), list):
        return _of_steps(source, value["steps"])
    if "nodes" in value and (_EDGED & set(value) or _configured(value["nodes"])):
        return "graph_definition"
    if _CANONICAL & set(value):
        return "canonical"
    raise _refusal(source, "not_a_workflow", "This is not a workflow")


def translations(source: Source, tools: Tools | None = None) -> dict[str, tuple[Dialect, Draft]]:
    """The document's workflows by name, each as its dialect and its canonical draft.

    Raises:
        SpecError: the document is no workflow in any dialect.
    """
    dialect, value = dialect_of(source), source.value
    draft = Draft(source=source)
    top = Entry(draft, value, "")
    match dialect:
        case "canonical":
            draft.value = dict(value)
        case "tool_template":
            tool_template.translate(draft, top, tools)
        case "tool_chain":
            tool_chain.translate(draft, top)
        case "agent_steps":
            agent_steps.translate(draft, top)
        case "graph_definition":
            graph_definition.translate(draft, top)
        case "agent_file":
            return _of_agent_file(source)
    name = draft.value.get("name")
    return {name if isinstance(name, str) else "": (dialect, draft)}


def _of_agent_file(source: Source) -> dict[str, tuple[Dialect, Draft]]:
    found: dict[str, tuple[Dialect, Draft]] = {}
    finder = Draft(source=source)
    for name, picked in agent_file.workflows(Entry(finder, source.value, "")).items():
        draft = Draft(source=source)
        agent_file.translate(draft, Entry(draft, source.value, "", {"workflows"}), name, picked)
        found[name] = ("agent_file", draft)
    finder.refuse_errors()
    if not found:
        raise _refusal(source, "not_a_workflow", "The file holds no workflow")
    return found


def _versioned(source: Source, version: Json) -> Dialect:
    if version == LANGUAGE:
        return "canonical"
    hint = f"Write `cogwork: {LANGUAGE}`."
    raise SpecError((source.problem("unknown_dialect", "This version of the language is not known", "/cogwork", hint),))


def _of_steps(source: Source, steps: list[Json]) -> Dialect:
    keys = {key for step in steps if isinstance(step, Mapping) for key in step}
    if "agent_id" in keys:
        return "agent_steps"
    if keys & {"tool", "tool_name"}:
        return "tool_template"
    if "agent" in keys:
        return "agent_file"
    message = "Steps in a list must each name a `tool_name`, an `agent_id` or an `agent`"
    hint = "In the canonical form, steps stand under `nodes:` by name, each with its `type`."
    raise SpecError((source.problem("unknown_dialect", message, "/steps", hint),))


def _configured(nodes: Json) -> bool:
    listed = nodes.values() if isinstance(nodes, Mapping) else nodes if isinstance(nodes, list) else ()
    return any(isinstance(node, Mapping) and "configuration" in node for node in listed)


def _refusal(source: Source, code: str, message: str) -> SpecError:
    hint = "A workflow is a mapping with `name` and `nodes`."
    return SpecError((source.problem(code, message, "", hint),))
