"""Where code is: the reference by which another process imports it, and the text by which a change of it is noticed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cogwork.errors import EngineError
from state.values import Json, UnfitValue, normalise

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def reference_of(thing: Any) -> str:
    """``module:name`` of a class, function or graph; empty where no other process could import it by that."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        module, name = next(_holders(thing), (None, None))
    if not module or not name or module == "__main__" or "<" in name:
        return ""
    reference = f"{module}:{name}"
    try:
        return reference if _found(sys.modules[module], name) is thing else ""
    except (KeyError, AttributeError):
        return ""


def _holders(thing: Any) -> Iterator[tuple[str, str]]:
    """The modules that hold the object under a name."""
    for module, held in sorted(sys.modules.items()):
        names = getattr(held, "__dict__", None)
        if module == "__main__" or not isinstance(names, dict):
            continue
        yield from ((module, name) for name, value in list(names.items()) if value is thing and name.isidentifier())


def imported(reference: str, place: str) -> Any:
    """The class, function or graph of that reference; its module's code is run.

    Raises:
        EngineError: ``invalid_input``; it cannot be imported, or is not there.
    """
    module, _, name = reference.partition(":")
    if not _REFERENCE.fullmatch(reference):
        raise EngineError(
            "invalid_input", f"{place}: {reference!r:.120} is no reference, module:name", reference=reference[:120]
        )
    try:
        return _found(importlib.import_module(module), name)
    except AttributeError as err:
        raise EngineError(
            "invalid_input", f"{place}: the module {module} has no {name} here", reference=reference
        ) from err
    except Exception as err:  # somebody's module: whatever its code raises
        message = f"{place}: {module} cannot be imported here: {type(err).__name__}: {err}"
        raise EngineError("invalid_input", message, reference=reference) from err


def _found(module: Any, name: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def arguments_of(arguments: Mapping[str, Any]) -> tuple[dict[str, Json], bool]:
    """The arguments as plain JSON, and whether that is all of them: of objects only the type's name can be told."""
    plain, whole = dict[str, Json](), True
    for name, value in arguments.items():
        try:
            made = normalise(value)
        except UnfitValue:
            made = None
        if made == value and type(made) is type(value):
            plain[name] = made
        else:
            plain[name], whole = f"<{type(value).__name__}>", False
    return plain, whole


def source_of(thing: Any) -> str:
    """The text of a class or function; of a graph its nodes, edges and the text of its nodes' functions."""
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return _text(thing)
    builder = getattr(thing, "builder", thing)
    nodes = getattr(builder, "nodes", None)
    if not isinstance(nodes, Mapping) or not hasattr(builder, "edges"):
        return _text(type(thing))
    parts = [f"{name}: {_text(_function(node))}" for name, node in sorted(nodes.items())]
    edges = sorted(str(edge) for edge in builder.edges)
    waiting = sorted(str(edge) for edge in getattr(builder, "waiting_edges", ()))
    branches = [
        f"{start} -> {name}: {_text(getattr(branch.path, 'func', None))} {sorted((branch.ends or {}).items(), key=str)}"
        for start, each in sorted(getattr(builder, "branches", {}).items())
        for name, branch in sorted(each.items())
    ]
    return "\n".join([*parts, *edges, *waiting, *branches])


def _function(node: Any) -> Any:
    runnable = getattr(node, "runnable", node)
    return getattr(runnable, "func", None) or getattr(runnable, "afunc", None) or type(runnable)


def _text(thing: Any) -> str:
    if thing is None:
        return ""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return str(getattr(thing, "__qualname__", type(thing).__qualname__))
