"""One execution's changes to a workflow, as data: models, mode, limits, and fields of steps and agents.

    {"model": "openai:x", "limits": {"max_tokens": 5000}, "nodes": {"each.draft": {"temperature": 0}}}

What comes out is a workflow of its own, so every check applies to it, and a run that began with it goes on with it. Edges stay
as they are: an override is a value, never an expression, and takes the place of none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final

from graphs.language.dialects.canonical import BODY, aliases
from graphs.language.dump import to_dict
from graphs.language.load import Workflow, load
from graphs.language.source import escaped
from graphs.language.spec import (
    BLOCKS,
    MODES,
    Agent,
    ForEach,
    HumanNode,
    Limits,
    LlmNode,
    Repeat,
    Step,
    ToolNode,
    step_class,
)
from nodes.expression.errors import Refusal
from nodes.expression.islands import Island, split
from nodes.llm import SETTINGS
from state.errors import SpecError
from state.problems import Problem
from state.values import Json, UnfitValue, normalise

KEYS: Final = ("model", "mode", "limits", "nodes", "agents")
FILE: Final = "overrides"
"""Where the problems of overrides are said to stand."""
_ANY: Final = frozenset({"description", "metadata"})
_CALLS: Final = _ANY | {"retry", "timeout", "total_timeout", "fallback", "cache"}
FIELDS: Final[Mapping[type[Step], frozenset[str]]] = {
    LlmNode: _CALLS
    | {"prompt", "system", "with", "model", "agent", "mode", "tools", "history"}
    | {*SETTINGS}
    | {"approve", "budget", "stop_after", "handoffs"},
    ToolNode: _CALLS | {"args"},
    HumanNode: _ANY | {"timeout", "on_timeout"},
    ForEach: _ANY | {"max_parallel", "on_item_error", "min_success"},
    Repeat: _ANY,
}
"""The fields of a step that one execution may change, by its kind; of any other kind its description and metadata."""
_EDGES: Final = frozenset(
    {"depends_on", "when", "join", "cancel_rest", "on_error", "cases", "else", "match", "for_each", "nodes", "use"}
)
Changed = Callable[[str, Json], bool]


def overridden(workflow: Workflow, overrides: Mapping[str, Json] | None) -> Workflow:
    """The workflow with the overrides in place; itself where there are none.

    Raises:
        SpecError: a problem for each override that names nothing, may not be given, or has a value that does not fit.
    """
    if not overrides:
        return workflow
    try:
        given = normalise(overrides)
    except UnfitValue as err:
        raise SpecError(
            (Problem(code="bad_override", message=f"The overrides are no data: {err}", file=FILE),)
        ) from err
    change = _Change(to_dict(workflow.spec))
    change.take(given)
    if not change.problems:
        try:
            return replace(workflow, spec=load(change.raw).spec)
        except SpecError as err:
            change.problems.extend(change.traced(problem) for problem in err.problems)
    raise SpecError(tuple(sorted(change.problems, key=Problem.sort_key)))


def placed(workflow: Workflow, key: str, value: Json) -> dict[str, Json]:
    """The overrides that ``key``, such as ``nodes.each.draft.retry.max_attempts``, means with this value."""
    head, *rest = key.split(".")
    if head == "nodes" and rest:
        steps = list(_steps(to_dict(workflow.spec)))
        ends = [n for n in range(1, len(rest)) if ".".join(rest[:n]) in steps]
        end = max(ends, default=1)
        rest = [".".join(rest[:end]), *rest[end:]]
    for name in reversed(rest):
        value = {name: value}
    return {head: value}


def joined(one: Json, other: Json) -> Json:
    """Two overrides as one; where both say something, ``other`` holds."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {**one, **{key: joined(one.get(key), value) for key, value in other.items()}}


def _steps(raw: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of all steps, those of loops and of the blocks at the end among them."""
    for name, step in (raw.get("nodes") or {}).items():
        yield prefix + name
        yield from _steps(step, f"{prefix}{name}.")
    for block in sorted(BLOCKS & set(raw)) if not prefix else ():
        yield from _steps(raw[block], f"{block}.") if isinstance(raw[block], dict) else ()


@dataclass(slots=True)
class _Change:
    """A spec as plain data being changed; ``origins`` says which override a place in it is from."""

    raw: dict[str, Json]
    problems: list[Problem] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def take(self, given: Json) -> None:
        """Put all overrides in place."""
        if not isinstance(given, dict):
            return self._refuse("bad_override", "Overrides are a mapping", "", f"Its keys are {', '.join(KEYS)}.")
        for key, value in given.items():
            at = f"/{escaped(key)}"
            match key:
                case "model":
                    self._model(value)
                case "mode":
                    self._set(self.raw, "mode", value, "/mode", at, near=MODES)
                case "limits":
                    self._fields(self.raw.setdefault("limits", {}), value, "/limits", at, aliases(Limits))
                case "nodes" | "agents":
                    self._named(key, value, at)
                case _:
                    self._unknown("override", key, at, KEYS)

    def traced(self, problem: Problem) -> Problem:
        """A problem of the changed spec, at the override that brought it about."""
        above = [place for place in self.origins if _within(problem.pointer, place) or _within(place, problem.pointer)]
        place = max(above, key=len, default="")
        origin = self.origins.get(place, "") + problem.pointer.removeprefix(place)
        if not problem.pointer.startswith(place):
            origin = self.origins[place]
        return replace(problem, code="bad_override", file=FILE, pointer=origin, line=0, column=0)

    def _model(self, value: Json) -> None:
        """The model of every llm step that names none, by itself or through its agent."""
        agents: Mapping[str, Any] = self.raw.get("agents") or {}
        for path in list(_steps(self.raw)):
            step, pointer = self._step(path)
            agent: Mapping[str, Any] = agents.get(step.get("agent") or "") or {}
            if step_class(step) is LlmNode and "model" not in step and not agent.get("model"):
                self._set(step, "model", value, f"{pointer}/model", "/model")

    def _named(self, key: str, value: Json, at: str) -> None:
        if not isinstance(value, dict):
            return self._refuse("bad_override", f"`{key}` is a mapping of names", at)
        for name, fields in value.items():
            place = f"{at}/{escaped(name)}"
            if key == "agents":
                agents: dict[str, Any] = self.raw.get("agents") or {}
                if name not in agents:
                    self._unknown("agent", name, place, agents)
                else:
                    self._fields(agents[name], fields, f"/agents/{escaped(name)}", place, aliases(Agent))
            else:
                self._node(name, fields, place)
        return None

    def _node(self, path: str, fields: Json, at: str) -> None:
        known = list(_steps(self.raw))
        if path not in known:
            through = next((p for p in known if path.startswith(f"{p}.") and "use" in self._step(p)[0]), None)
            if through is not None:
                message = f"{path!r} is inside of the workflow that {through!r} uses"
                return self._refuse(
                    "override_refused", message, at, "Override what is passed to it, or run it by itself."
                )
            return self._unknown("step", path, at, known)
        if not isinstance(fields, dict):
            return self._refuse("bad_override", "The fields of a step are a mapping", at)
        for name, value in fields.items():
            self._field(path, name, value, f"{at}/{escaped(name)}")
        return None

    def _field(self, path: str, name: str, value: Json, at: str) -> None:
        step, pointer = self._step(path)
        kind = step_class(step) or Step
        allowed = FIELDS.get(kind, _ANY)
        inner = step.get("nodes") or {}
        if name not in allowed and list(inner) == [BODY]:
            return self._field(f"{path}.{BODY}", name, value, at)
        if name == "repeat" and kind is Repeat:
            return self._fields(step["repeat"], value, f"{pointer}/repeat", at, ("max_iterations", "on_exhausted"))
        if name not in allowed:
            if name not in (*aliases(kind), "id", "name"):
                return self._unknown("field", name, at, sorted(allowed))
            why = "makes edges" if name in _EDGES else "says what the step is"
            hint = f"Of {path}, these may be overridden: {', '.join(sorted(allowed))}."
            return self._refuse("override_refused", f"`{name}` {why}, and stays as the workflow has it", at, hint)
        if name == "fallback" and any("node" in each for each in (*_mappings(value), *_mappings(step.get(name)))):
            return self._refuse("override_refused", "A fallback to a step makes edges", at)
        return self._set(step, name, value, f"{pointer}/{name}", at)

    def _fields(self, into: dict[str, Json], value: Json, pointer: str, at: str, known: Any) -> None:
        if not isinstance(value, dict):
            return self._refuse("bad_override", "This is a mapping of fields", at, f"They are {', '.join(known)}.")
        for name, each in value.items():
            place = f"{at}/{escaped(name)}"
            if name not in known:
                self._unknown("field", name, place, known)
            else:
                self._set(into, name, each, f"{pointer}/{escaped(name)}", place)
        return None

    def _set(
        self, into: dict[str, Json], name: str, value: Json, pointer: str, at: str, near: tuple[str, ...] = ()
    ) -> None:
        """Put a value in place; a mapping goes into the mapping that is there, null takes away what is."""
        old = into.get(name)
        if near and value is not None and value not in near:
            return self._unknown(name, str(value), at, near)
        if isinstance(old, dict) and isinstance(value, dict):
            for key, inner in value.items():
                self._set(old, key, inner, f"{pointer}/{escaped(key)}", f"{at}/{escaped(key)}")
            return None
        if (why := _unfit(value)) is not None:
            return self._refuse("bad_override", why, at, "Give the value itself.")
        if _holds_references(old):
            message = f"`{name}` holds references, which make edges; it stays as the workflow has it"
            return self._refuse("override_refused", message, at, "Override the input that it is made from.")
        self.origins[pointer] = at
        if value is None:
            into.pop(name, None)
        else:
            into[name] = deepcopy(value)
        return None

    def _step(self, path: str) -> tuple[dict[str, Any], str]:
        """The step at a path that is known, and its place in the spec."""
        names = path.split(".")
        block = names.pop(0) if names[0] in BLOCKS else ""
        here: Any = self.raw[block] if block else self.raw
        pointer = f"/{block}" if block else ""
        for name in names:
            here, pointer = here["nodes"][name], f"{pointer}/nodes/{escaped(name)}"
        return here, pointer

    def _unknown(self, what: str, name: str, at: str, known: Any) -> None:
        listed = list(known)
        close = get_close_matches(name, listed, 1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(listed[:12]) or 'none'}."
        self._refuse("unknown_override", f"There is no {what} {name!r} to override", at, hint)

    def _refuse(self, code: str, message: str, at: str, hint: str = "") -> None:
        self.problems.append(Problem(code=code, message=message, pointer=at, hint=hint, file=FILE))


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}/")


def _mappings(value: Json) -> Iterator[Mapping[str, Json]]:
    yield from (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _holds_references(value: Json) -> bool:
    return any(_is_expression(text) for text in _texts(value))


def _is_expression(text: str) -> bool:
    try:
        return any(isinstance(part, Island) for part in split(text))
    except Refusal:
        return True


def _unfit(value: Json) -> str | None:
    for text in _texts(value):
        if _is_expression(text):
            return "An override is a value, not an expression: '{{ … }}' and '${ … }' cannot stand in it"
        if text.startswith("secret://"):
            return "An override cannot name a secret"
    return None
