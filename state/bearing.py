"""What the work of here and now is about: for whoever writes it down beside what happens, such as a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final

_BEARING: Final[ContextVar[Mapping[str, str]]] = ContextVar("cogwork_bearing", default={})  # noqa: B039 - never written to


def borne() -> Mapping[str, str]:
    """Names and ids: ``execution_id``, ``run``, ``thread``, ``step``, ``request_id``, as far as they are known."""
    return _BEARING.get()


@contextmanager
def bearing(**about: str) -> Iterator[None]:
    """Within the block, and in the tasks begun there, the work is about this as well."""
    token = _BEARING.set({**_BEARING.get(), **about})
    try:
        yield
    finally:
        with suppress(ValueError):  # A generator may be closed in another context than it was begun in.
            _BEARING.reset(token)
