"""What LangGraph tells of the tasks of any graph, as steps with paths, questions and plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage
from langgraph.types import StateSnapshot
from pydantic import BaseModel

from state.errors import Fault
from state.values import Json, UnfitValue, normalise

_HIDDEN: Final = "__"
_ASKS: Final = ("ask", "question", "message", "prompt")
MAX_DEPTH: Final = 32
SHOWN: Final = 10_000
"""How many characters are shown of a text that has no form as it is."""


def is_step(name: str) -> bool:
    """Whether a task is one of the graph's own nodes."""
    return not name.startswith(_HIDDEN)


def numbered(name: str, count: int) -> str:
    """The path of a node that has run ``count`` times before in its run."""
    return f"{name}[{count}]" if count else name


def paths_of(snapshot: StateSnapshot, before: Mapping[str, int]) -> dict[str, str]:
    """The path of each task of a snapshot by its id, ``before`` counting the earlier tasks of the run by name."""
    counts = Counter(before)
    paths = {}
    for task in snapshot.tasks:
        paths[task.id] = numbered(task.name, counts[task.name])
        counts[task.name] += 1
    return paths


def questions_of(snapshot: StateSnapshot, before: Mapping[str, int]) -> dict[str, tuple[str, dict[str, Json]]]:
    """What the tasks of a snapshot ask people: by path, the interrupt's id and the question."""
    paths, found = paths_of(snapshot, before), dict[str, tuple[str, dict[str, Json]]]()
    for task in snapshot.tasks:
        for number, asked in enumerate(task.interrupts, start=1):
            path = paths[task.id] if number == 1 else f"{paths[task.id]}#{number}"
            found[path] = asked.id, question(path, asked.value, getattr(asked, "response_schema", None))
    return found


def question(path: str, value: Any, schema: Any = None) -> dict[str, Json]:
    """The question that an interrupt with that value puts: its words, and the value where it says more than those."""
    shown = as_plain(value)
    if isinstance(shown, str):
        words, more = shown, {}
    else:
        known = (shown.get(key) for key in _ASKS) if isinstance(shown, dict) else ()
        words = next((each for each in known if isinstance(each, str)), "How shall it go on?")
        more = {"show": shown}
    form = schema if isinstance(schema, dict) else {}
    return {"at": path, "ask": words, "form": as_plain(form), "kind": "human", **more}


def as_plain(value: Any, depth: int = 0) -> Json:
    """The value as plain JSON: messages as role and content, models and dataclasses as objects, what has no form as text."""
    if depth > MAX_DEPTH:
        return str(value)[:1000]
    if isinstance(value, BaseMessage):
        return _message(value, depth)
    if isinstance(value, BaseModel):
        return as_plain(value.model_dump(mode="python"), depth + 1)
    if isinstance(value, Mapping):
        return {str(normalise(str(key))): as_plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(each, depth + 1) for each in value]
    try:
        return normalise(value)
    except UnfitValue:
        text = str(value)
        cut = f"… ({len(text)} characters, shortened)" if len(text) > SHOWN else ""
        return str(normalise(text[:SHOWN])) + cut


def _message(message: BaseMessage, depth: int) -> dict[str, Json]:
    """A message as the documents and chat APIs write it."""
    roles = {"human": "user", "ai": "assistant"}
    told = {"role": roles.get(message.type, message.type), "content": as_plain(message.content, depth + 1)}
    more = {
        "name": message.name,
        "tool_calls": as_plain(getattr(message, "tool_calls", None), depth + 1),
        "tool_call_id": getattr(message, "tool_call_id", None),
    }
    return {**told, **{key: each for key, each in more.items() if each}}


def nested_path(namespace: tuple[str, ...], outer: Mapping[str, str]) -> str:
    """The path of the nodes around a task of a subgraph, by LangGraph's namespace; ``outer`` gives those at the top."""
    parts: list[str] = []
    for index, part in enumerate(namespace):
        name, _, task = part.partition(":")
        parts.append(outer.get(task, name) if index == 0 else name)
    return ".".join(parts)


def output_of(channels: Any, values: Any) -> Json:
    """The output of a run: the channels that the graph gives out, as plain JSON.

    Raises:
        Fault: ``invalid_output`` where a text or number of it is too large to keep.
    """
    if not isinstance(values, Mapping):
        return as_plain(_whole(values))
    if isinstance(channels, str):
        return as_plain(_whole(values.get(channels)))
    return {name: as_plain(_whole(values[name])) for name in channels if name in values}


def _whole(value: Any, depth: int = 0) -> Any:
    """The value, of which no text needs to be shortened."""
    if isinstance(value, BaseMessage):
        _whole(value.content, depth + 1)
    elif isinstance(value, Mapping) and depth <= MAX_DEPTH:
        for each in value.values():
            _whole(each, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset) and depth <= MAX_DEPTH:
        for each in value:
            _whole(each, depth + 1)
    elif isinstance(value, str | bytes | int):
        try:
            normalise(value)
        except UnfitValue as error:
            raise Fault("invalid_output", f"the output cannot be kept: {error.reason}", origin="workflow") from error
    return value


def is_task(chunk: Any) -> bool:
    """Whether a chunk of the ``tasks`` stream is about a node of somebody's graph."""
    return isinstance(chunk, dict) and is_step(str(chunk.get("name", _HIDDEN)))


def unseen(fields: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an input that the graph does not know; all are known where it says nothing of them."""
    if fields:
        yield from (str(key) for key in given if key not in fields)
