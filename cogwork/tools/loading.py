"""Python functions that the settings name, loaded from files and modules: tools for whoever writes no program around them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from cogwork.tools.function import FunctionTool
from state.errors import CogworkError

SETTING = "python_tools"


class LoadingError(CogworkError):
    """An entry of the setting ``python_tools`` that gives no tools: which one, why, and what to do."""

    def __init__(self, entry: str, reason: str, hint: str = "") -> None:
        self.entry, self.reason, self.hint = entry, reason, hint
        super().__init__(f"{SETTING}: {entry!r} {reason}")


def loaded_tools(entries: Iterable[str], folder: Path | None = None) -> list[FunctionTool]:
    """The tools of all entries, each once, in order.

    An entry is a Python file (relative to ``folder``, the working folder without it), a module, or ``module:function`` and
    ``file.py:function``. Of a whole module those functions count that are decorated with ``cogwork.tool`` and are defined in
    it or named in its ``__all__``; a function that is named need not be decorated. Loading runs the module's code.

    Raises:
        LoadingError: no such file, module or function; its code raises; it has no tools; a signature that is no tool's.
    """
    modules: dict[str, ModuleType] = {}
    found: list[FunctionTool] = []
    for entry in entries:
        source, _, name = entry.partition(":")
        if source not in modules:
            modules[source] = _module(entry, source, folder or Path.cwd())
        tools = [_named(entry, modules[source], name)] if name else list(_decorated(modules[source]))
        if not tools:
            hint = "decorate a function with @cogwork.tool(), or name one: " + f"{source}:function"
            raise LoadingError(entry, "holds no function that is decorated with cogwork.tool", hint)
        found += [tool for tool in tools if not any(_same(tool, other) for other in found)]
    return found


def _same(tool: FunctionTool, other: FunctionTool) -> bool:
    return tool is other or (tool.function is other.function and tool.name == other.name)


def _module(entry: str, source: str, folder: Path) -> ModuleType:
    """The module, its code run.

    Raises:
        LoadingError: it is not there, or its code raises.
    """
    try:
        return _from_file(entry, folder / source) if source.endswith(".py") else _from_name(source, folder)
    except ModuleNotFoundError as err:
        if err.name and source in (err.name, *_parents(source, err.name)):
            raise LoadingError(entry, f"cannot be found: there is no module {err.name!r}") from err
        raise LoadingError(entry, f"cannot be imported: {_cause(err)}") from err
    except LoadingError:
        raise
    except (Exception, SystemExit) as err:
        raise LoadingError(entry, f"cannot be imported: {_cause(err)}") from err


def _parents(source: str, missing: str) -> list[str]:
    return [source] if source.startswith(f"{missing}.") else []


def _from_file(entry: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadingError(entry, f"is not there (looked for {path})")
    name = f"cogwork_tools_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    _within_reach(path.resolve().parent)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _from_name(source: str, folder: Path) -> ModuleType:
    _within_reach(folder.resolve())
    return importlib.import_module(source)


def _within_reach(folder: Path) -> None:
    """Let imports find what lies in the folder, after everything else, so that it shadows nothing."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _cause(err: BaseException) -> str:
    """The exception in a sentence, with the line of the innermost frame that raised it."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    if isinstance(err, SyntaxError):
        at = f" ({err.filename}:{err.lineno})"
        return f"SyntaxError: {err.msg}{at}"
    return f"{type(err).__name__}: {err}{at}"[:1000]


def _named(entry: str, module: ModuleType, name: str) -> FunctionTool:
    thing: Any = getattr(module, name, None)
    if isinstance(thing, FunctionTool):
        return thing
    if thing is None:
        there = ", ".join(sorted(n for n, each in vars(module).items() if isinstance(each, FunctionTool)))
        raise LoadingError(entry, f"does not define {name!r}", f"its tools are {there}" if there else "")
    if not callable(thing):
        raise LoadingError(entry, f"names {name!r}, which is no function but {type(thing).__name__}")
    try:
        return FunctionTool.from_function(thing)
    except TypeError as err:
        raise LoadingError(entry, f"is no tool: {err}") from err


def _decorated(module: ModuleType) -> Iterator[FunctionTool]:
    exported = set(getattr(module, "__all__", ()))
    for name, thing in vars(module).items():
        if isinstance(thing, FunctionTool):
            home = getattr(thing.function, "__module__", None)
            if home == module.__name__ or name in exported:
                yield thing
