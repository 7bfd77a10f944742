"""What goes into a ``Store`` of LangGraph, sealed; and what comes out of it, opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from langgraph.store.base import Item, Op, PutOp, Result, SearchOp

from cogwork.errors import EngineError
from cogwork.sealing.errors import SealError
from cogwork.sealing.seals import Seals

SEALED: Final = "cogwork_sealed"
LOOKED_FOR: Final = "memory"
"""The first label of the namespaces whose values are looked for."""
SHOWN: Final = "digest"
"""What entries are looked for by; whoever keeps them makes it one that tells nothing (``Seals.name``)."""


def covered(seals: Seals, ops: Iterable[Op]) -> list[Op]:
    """The operations as the database is to see them.

    Raises:
        EngineError: ``invalid_input``; a search for something that is sealed.
    """
    return [_covered(seals, op) for op in ops] if seals.on else list(ops)


def uncovered(seals: Seals, results: Iterable[Result]) -> list[Result]:
    """The results as their caller is to see them.

    Raises:
        EngineError: ``database_error``; a value was altered or moved, or is sealed under a key that is not at hand.
    """
    return [_uncovered(seals, result) for result in results]


def _covered(seals: Seals, op: Op) -> Op:
    if isinstance(op, PutOp) and op.value is not None:
        return op._replace(value=sealed_value(seals, op.namespace, op.key, op.value), index=False)
    if isinstance(op, SearchOp) and set(op.filter or {}) - {SHOWN}:
        raise EngineError("invalid_input", "What is sealed cannot be searched for by its entries")
    return op


def sealed_value(seals: Seals, namespace: tuple[str, ...], key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as it is kept: sealed for its place, beside what it is looked for by."""
    shown = {SHOWN: value[SHOWN]} if SHOWN in value and namespace[0] == LOOKED_FOR else {}
    return {SEALED: seals.sealed_text(json.dumps(dict(value)), place_of(namespace, key)), **shown}


def opened_value(seals: Seals, namespace: tuple[str, ...], key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as it was handed in.

    Raises:
        EngineError: ``database_error``; it was altered or moved, or is sealed under a key that is not at hand.
    """
    text = value.get(SEALED)
    if not isinstance(text, str):
        return dict(value)
    try:
        opened: dict[str, Any] = json.loads(seals.opened_text(text, place_of(namespace, key)))
    except (SealError, ValueError) as err:
        raise EngineError("database_error", str(err)) from err
    return opened


def _uncovered(seals: Seals, result: Result) -> Result:
    if isinstance(result, Item):
        result.value = opened_value(seals, result.namespace, result.key, result.value)
    elif isinstance(result, list):
        for each in result:
            _uncovered(seals, each)  # type: ignore[arg-type]
    return result


def place_of(namespace: tuple[str, ...], key: str) -> str:
    """The place that a sealed value is bound to."""
    return f"memory {'.'.join(namespace)} {key}"
