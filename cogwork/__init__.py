"""cogwork: agent workflows as data, compiled to LangGraph.

``load`` a workflow, ``check`` it, ``compile`` it to a graph and call that like any LangGraph graph. Importing this module
is cheap; LangGraph is imported by the first ``compile``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

if TYPE_CHECKING:
    from cogwork.app import App, Source
    from cogwork.blocking_engine import BlockingEngine
    from cogwork.chains import Request
    from cogwork.errors import EngineError
    from cogwork.executions.options import Options
    from cogwork.settings import Settings
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints as PostgresCheckpoints  # not in __all__: it needs an extra
    from cogwork.tools.function import FunctionTool, tool
    from cogwork.workflow_engine import WorkflowEngine
    from graphs.graph import WorkflowGraph
    from graphs.language.builder import workflow
    from graphs.language.dialects.tool_chain import Orchestration
    from graphs.language.load import Workflow
    from graphs.language.spec import WorkflowSpec
    from graphs.simulation.cases import CaseResult
    from graphs.simulation.report import Report
    from state.errors import (
        AnswerRefused,
        CogworkError,
        Fault,
        InDoubt,
        InputRefused,
        NotResumable,
        Owned,
        SpecError,
        Unrecorded,
        WorkflowCancelled,
        WorkflowFailed,
    )
    from state.events import Event
    from state.problems import Problem

_HOMES = {
    "BlockingEngine": "cogwork.blocking_engine",
    "EngineError": "cogwork.errors",
    "Options": "cogwork.executions.options",
    "WorkflowEngine": "cogwork.workflow_engine",
    "App": "cogwork.app",
    "Settings": "cogwork.settings",
    "SqliteCheckpoints": "cogwork.store.checkpoints",
    "PostgresCheckpoints": "cogwork.store.postgres",
    "FunctionTool": "cogwork.tools.function",
    "tool": "cogwork.tools.function",
    "WorkflowGraph": "graphs.graph",
    "workflow": "graphs.language.builder",
    "Workflow": "graphs.language.load",
    "WorkflowSpec": "graphs.language.spec",
    "Event": "state.events",
    "Problem": "state.problems",
    **dict.fromkeys(
        (
            "AnswerRefused",
            "CogworkError",
            "Fault",
            "InDoubt",
            "InputRefused",
            "NotResumable",
            "Owned",
            "SpecError",
            "Unrecorded",
            "WorkflowCancelled",
            "WorkflowFailed",
        ),
        "state.errors",
    ),
}
__all__ = [
    "AnswerRefused",
    "App",
    "BlockingEngine",
    "CogworkError",
    "EngineError",
    "Event",
    "Fault",
    "FunctionTool",
    "InDoubt",
    "InputRefused",
    "NotResumable",
    "Options",
    "Owned",
    "Problem",
    "Settings",
    "SpecError",
    "SqliteCheckpoints",
    "Unrecorded",
    "Workflow",
    "WorkflowCancelled",
    "WorkflowEngine",
    "WorkflowFailed",
    "WorkflowGraph",
    "WorkflowSpec",
    "arun_chain",
    "chain",
    "check",
    "compile",
    "load",
    "run_chain",
    "run_tests",
    "simulate",
    "tool",
    "workflow",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cogwork' has no attribute {name!r}")


def load(source: Source, *, overrides: Mapping[str, Any] | None = None) -> Workflow:
    """The workflow of a name, a file, YAML text, a dict or a spec; ``overrides`` as for ``compile``.

    Raises:
        SpecError: holds every problem, each with its place.
    """
    return _app().load(source, overrides)


def check(
    source: Source,
    *,
    overrides: Mapping[str, Any] | None = None,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
) -> list[Problem]:
    """Every problem of a workflow, in a stable order; empty when nothing is wrong, and then it compiles."""
    return _app(settings, tools).check(source, overrides)


def compile(
    source: Source,
    *,
    overrides: Mapping[str, Any] | None = None,
    checkpointer: Any = None,
    store: Any = None,
    cache: Any = None,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
) -> WorkflowGraph:
    """The workflow as a compiled LangGraph graph, for ``invoke``, ``ainvoke``, ``stream``, ``get_state`` and the rest.

    Args:
        source: a name, a file, YAML text, a dict, a spec or a loaded workflow.
        overrides: what is different this time, such as ``{"nodes": {"draft": {"model": "openai:x"}}}``.
        checkpointer: a LangGraph saver, or the path of a SQLite file; without one nothing can be paused or resumed.
        store: a LangGraph store.
        cache: a LangGraph cache for the results of steps that say ``cache:``; a file of the state folder without it.
        tools: Python functions or ``Tool`` objects that the workflow may name, besides the built-in ones.
        settings: those of the environment without it.

    Raises:
        SpecError: holds every problem.
    """
    return _app(settings, tools).compile(
        source, overrides=overrides, checkpointer=checkpointer, store=store, cache=cache
    )


def chain(
    calls: Iterable[Mapping[str, Any]],
    orchestration: Orchestration = "sequential",
    *,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
    **more: Any,
) -> Workflow:
    """The workflow of a chain of tool calls, to be checked, compiled and run like any other.

    Args:
        calls: mappings with ``tool`` and ``args``; also ``id``, ``when`` (conditional chains), ``timeout`` and ``retry``.
        orchestration: ``sequential``, ``parallel`` or ``conditional``.
        tools: as for ``compile``.
        settings: those of the environment without it.
        more: further fields of the request, such as ``name``, ``description``, ``input`` and ``context``.

    Raises:
        SpecError: holds every problem.
    """
    made = import_module("cogwork.chains")
    return made.chained(_app(settings, tools), calls, orchestration, **more)  # type: ignore[no-any-return]


async def arun_chain(
    request: Request,
    *,
    input: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    checkpointer: Any = None,
    thread: str | None = None,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Run a chain of tool calls; its results as one.

    The result holds ``status`` (``complete``, ``partial`` or ``failed``), ``output``, ``successful`` (ids), ``failed`` (with
    class and message), ``results`` by id, and ``metadata`` with what was not made, attempts, seconds and usage. Where a person
    is asked, ``status`` is ``paused``, with ``questions`` and the ``thread`` to answer on.

    Args:
        request: a list of calls, a mapping with ``chain`` and ``orchestration``, a file or text of one, or what ``chain`` gives.
        input: values for the names that the chain leaves open.
        context: the caller's session, user and so on; that of the request without it.
        checkpointer: as for ``compile``; without one nothing can be asked or resumed.
        thread: the thread to run on; a new one without it.
        tools: as for ``compile``.
        settings: those of the environment without it.

    Raises:
        SpecError: holds every problem.
        InputRefused: ``input`` does not fit.
    """
    made = import_module("cogwork.chains")
    app = _app(settings, tools)
    return await made.run(  # type: ignore[no-any-return]
        app, request, input=input, context=context, checkpointer=checkpointer, thread=thread
    )


def run_chain(request: Request, **options: Any) -> dict[str, Any]:
    """``arun_chain`` for callers without an event loop; takes the same options."""
    return import_module("graphs.blocking").run(arun_chain(request, **options))  # type: ignore[no-any-return]


def simulate(
    source: Source,
    *,
    input: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    recording: Mapping[str, Any] | None = None,
    runs: int = 1000,
    seconds: float = 60.0,
    prices: Mapping[str, tuple[float, float]] | None = None,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
) -> Report:
    """Walk every path through a workflow on mocks made from schemas; no tool and no model is called.

    Args:
        source: as for ``compile``.
        input: fixes these inputs; the others are chosen.
        context: what ``context`` holds.
        recording: the state of an earlier run, whose results stand in for its calls and answers.
        runs: at most so many runs.
        seconds: for at most so long.
        prices: model name (``*`` for any) to USD per million tokens of input and of output.
        tools: as for ``compile``.
        settings: those of the environment without it.

    Raises:
        SpecError: holds every problem.
        InputRefused: ``input`` does not fit.
    """
    trying = import_module("cogwork.simulation")
    bounds = trying.bounds_of(
        input=input, context=context, recording=recording, runs=runs, seconds=seconds, prices=prices
    )
    return trying.simulated(_app(settings, tools), source, bounds)  # type: ignore[no-any-return]


def run_tests(
    source: Source,
    *,
    only: Iterable[str] | None = None,
    tools: Iterable[Any] = (),
    settings: Settings | None = None,
) -> list[CaseResult]:
    """Run the ``tests:`` of a workflow on their mocks; ``only`` names some of them.

    Raises:
        SpecError: holds every problem.
    """
    trying = import_module("cogwork.simulation")
    return trying.tested(_app(settings, tools), source, None if only is None else set(only))  # type: ignore[no-any-return]


def _app(settings: Settings | None = None, tools: Iterable[Any] = ()) -> App:
    return import_module("cogwork.app").app(settings, tools)  # type: ignore[no-any-return]
