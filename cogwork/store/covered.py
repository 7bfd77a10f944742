"""Metadata of checkpoints in two parts: what is searched by, as it is, and the rest, sealed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cogwork.sealing.errors import Unopened
from cogwork.sealing.seals import Seals
from cogwork.store.errors import Torn
from cogwork.store.outlines import place_of_thread

SHOWN: Final = frozenset(
    {"source", "step", "parents", "run_id", "graph_id", "assistant_id", "counters_since_delta_snapshot"}
)
"""What stays readable: numbers, and names that LangGraph and this store look for."""
COVERED: Final = "cogwork_sealed"
"""The entry that holds the rest."""


def covered(seals: Seals, thread: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as it is to be kept."""
    if not seals.on:
        return dict(metadata)
    shown = {name: value for name, value in metadata.items() if name in SHOWN}
    if rest := {name: value for name, value in metadata.items() if name not in SHOWN and name != COVERED}:
        shown[COVERED] = seals.sealed_text(json.dumps(rest), place_of_thread(thread))
    return shown


def uncovered(seals: Seals, thread: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata again.

    Raises:
        Torn: the sealed part was altered, or is that of another thread.
        KeyMissing: it is sealed under a key that is not at hand.
    """
    text = metadata.get(COVERED)
    if not isinstance(text, str):
        return dict(metadata)
    try:
        rest = json.loads(seals.opened_text(text, place_of_thread(thread)))
    except (Unopened, ValueError) as err:
        raise Torn("its metadata was altered") from err
    return {**{name: value for name, value in metadata.items() if name != COVERED}, **rest}


def split(seals: Seals, filter: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A filter of metadata in two: what the database can look for, and what must be looked at once opened."""
    wanted = dict(filter or {})
    if not seals.on:
        return wanted, {}
    return {name: value for name, value in wanted.items() if name in SHOWN}, {
        name: value for name, value in wanted.items() if name not in SHOWN
    }


def fits(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether opened metadata has all that is wanted."""
    return all(name in metadata and metadata[name] == value for name, value in wanted.items())
