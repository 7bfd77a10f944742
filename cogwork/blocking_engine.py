"""``BlockingEngine``: the same verbs for programs without an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from inspect import isasyncgen, isawaitable
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from cogwork.workflow_engine import WorkflowEngine


class BlockingEngine:
    """``WorkflowEngine`` on an event loop of its own, in a thread: each of its verbs waits for what the other returns.

    Use it in ``with``; it takes the same arguments. What a verb gives that has verbs itself (an execution's handle, the
    ``library``, the ``batches``) waits in the same way.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, **options: Any) -> None:
        self._config, self._options = config, options
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._engine: WorkflowEngine | None = None

    def __enter__(self) -> BlockingEngine:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._engine = self._portal.call(self._opened)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._portal is not None and self._engine is not None:
            self._portal.call(self._engine.shutdown)
        self._stack.close()
        self._portal = self._engine = None

    async def _opened(self) -> WorkflowEngine:
        engine = WorkflowEngine(self._config, **self._options)
        await engine.initialize()
        return engine

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._engine is None or self._portal is None:
            raise RuntimeError("The engine is not open: use it in `with BlockingEngine() as engine`")
        return _waiting(self._portal, getattr(self._engine, name))


class _Waiting:
    """An object whose coroutines are waited for; what it is besides, it stays."""

    def __init__(self, portal: BlockingPortal, thing: Any) -> None:
        self._portal, self._thing = portal, thing

    def __getattr__(self, name: str) -> Any:
        return _waiting(self._portal, getattr(self._thing, name))

    def __getitem__(self, key: Any) -> Any:
        return self._thing[key]

    def __repr__(self) -> str:
        return repr(self._thing)


def _waiting(portal: BlockingPortal, value: Any) -> Any:
    if callable(value) and not isinstance(value, type):
        return partial(_called, portal, value)
    module = type(value).__module__
    return _Waiting(portal, value) if module.startswith("cogwork.") and _verbal(value) else value


def _verbal(value: Any) -> bool:
    """Whether an object has coroutines to offer."""
    from inspect import iscoroutinefunction

    return any(iscoroutinefunction(getattr(type(value), name, None)) for name in dir(type(value)))


def _called(portal: BlockingPortal, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    async def done() -> Any:
        result = call(*args, **kwargs)
        return await result if isawaitable(result) else result

    result = portal.call(done)
    return _iterated(portal, result) if isasyncgen(result) else _waiting(portal, result)


def _iterated(portal: BlockingPortal, events: AsyncIterator[Any]) -> Iterator[Any]:
    while True:
        try:
            yield portal.call(events.__anext__)
        except StopAsyncIteration:
            return
