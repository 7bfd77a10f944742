"""From a class, a function or an object to its LangGraph graph: what it is called with, and what it gives."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, Final

from cogwork.errors import EngineError
from cogwork.library.house import House

BUILDS: Final = ("build", "build_graph", "graph", "compile")
"""The methods (or attributes) that give a graph, in the order in which they are looked for."""
_RESOURCES: Final[Mapping[str, str]] = {
    "tools": "tools",
    "toolbox": "tools",
    "tool_manager": "tools",
    "prompts": "prompts",
    "prompt_manager": "prompts",
    "models": "models",
    "resources": "mcp",
    "resource_manager": "mcp",
    "host": "mcp",
    "settings": "settings",
}
"""The names of parameters that are given a part of the house, the documents' own among them."""


def is_graph(thing: Any) -> bool:
    """Whether it is a ``StateGraph`` or a compiled graph."""
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    return isinstance(thing, StateGraph | Pregel)


def resources_of(house: House) -> dict[str, Any]:
    """What parameters of these names are given; looked up when it is needed."""
    return {name: _Lazy(house, part) for name, part in _RESOURCES.items()}


class _Lazy:
    """A part of the house, which may be costly to open."""

    def __init__(self, house: House, part: str) -> None:
        self._house, self._part = house, part

    def __call__(self) -> Any:
        if self._part in ("mcp", "settings"):
            return getattr(self._house, self._part)
        return getattr(self._house.services, self._part)


def injected(
    thing: Any, arguments: Mapping[str, Any], resources: Mapping[str, Any], name: str
) -> dict[str, Any] | None:
    """What ``thing`` is called with: the arguments, and parts of the house for parameters of their names; None for a graph,
    or an object that builds one, which are not called.

    Raises:
        EngineError: ``invalid_input``; it builds no graph, an argument is missing, or there is none of that name.
    """
    if is_graph(thing) or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        if not is_graph(thing) and _builder(thing) is None:
            raise _builds_nothing(thing, name)
        if arguments:
            what = next(iter(arguments))
            raise EngineError("invalid_input", f"{name} is made already: it takes no argument {what!r}", argument=what)
        return None
    if inspect.isclass(thing) and _builder(thing) is None:
        raise _builds_nothing(thing, name)
    try:
        parameters = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return dict(arguments)
    kinds = inspect.Parameter
    open_ = any(each.kind is kinds.VAR_KEYWORD for each in parameters.values())
    named = {
        key: each for key, each in parameters.items() if each.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    if strange := [] if open_ else [key for key in arguments if key not in named]:
        close = difflib.get_close_matches(strange[0], named, 1)
        hint = f": did you mean {close[0]}?" if close else f"; it takes {', '.join(named) or 'none'}"
        raise EngineError("invalid_input", f"{name} takes no argument {strange[0]!r}{hint}", argument=strange[0])
    given = {key: resources[key]() for key in named if key in resources and key not in arguments}
    found = {**given, **arguments}
    missing = [key for key, each in named.items() if each.default is kinds.empty and key not in found]
    if missing:
        message = f"{name} needs the argument {missing[0]!r}: register(…, {missing[0]}=…)"
        raise EngineError("invalid_input", message, argument=missing[0])
    return found


def built(made: Any, name: str) -> Any:
    """The graph that an object gives, perhaps as an awaitable.

    Raises:
        EngineError: ``invalid_input``; it gives none.
    """
    if is_graph(made):
        return made
    builder = _builder(made)
    if builder is None:
        raise _builds_nothing(made, name)
    found = builder() if callable(builder) and not is_graph(builder) else builder
    return _checked(found, name)


def _checked(found: Any, name: str) -> Any:
    if inspect.isawaitable(found):

        async def later() -> Any:
            return _checked(await found, name)

        return later()
    if not is_graph(found):
        message = f"{name} built a {type(found).__name__}, and not a StateGraph or a compiled graph"
        raise EngineError("invalid_input", message, workflow=name)
    return found


def _builder(thing: Any) -> Any:
    for name in BUILDS:
        if (found := getattr(thing, name, None)) is not None and (
            callable(found) or is_graph(found) or inspect.isclass(thing)
        ):
            return found
    return thing.__call__ if not inspect.isclass(thing) and callable(thing) else _own_call(thing)


def _own_call(thing: Any) -> Any:
    """``__call__`` of a class whose instances are callable."""
    return next((vars(base)["__call__"] for base in getattr(thing, "__mro__", ()) if "__call__" in vars(base)), None)


def _builds_nothing(thing: Any, name: str) -> EngineError:
    what = getattr(thing, "__name__", type(thing).__name__)
    message = (
        f"{name} cannot be a workflow: {what} has none of {', '.join(f'{each}()' for each in BUILDS)}, and is no graph"
    )
    return EngineError("invalid_input", message, workflow=name)


async def awaited(value: Any) -> Any:
    """The value, waited for where it has to be."""
    return await value if inspect.isawaitable(value) else value
