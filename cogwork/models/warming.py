"""Opening the connection to an endpoint before the first call, by asking which models it serves."""

from __future__ import annotations

import json
import time
from typing import Final

from cogwork.models.endpoint import Endpoint
from cogwork.models.info import Warmth
from nodes.model_faults import class_of_status
from state.errors import Fault
from state.values import Json

_LENGTHS: Final = ("max_model_len", "context_length", "max_context_length", "context_window")
"""The fields in which servers tell how long a model's context is."""


async def warmed(endpoint: Endpoint, model: str) -> Warmth:
    """What the endpoint says of the model; an endpoint that lists no models is connected to all the same.

    Raises:
        Fault: it cannot be reached, refuses the key, or is at its limits.
    """
    from cogwork.models.transport import get

    path = "/models" if endpoint.provider.kind == "openai" else "/v1/models"
    began = time.monotonic()
    async with endpoint.calling(0) as call:
        status, body = await call.result(get(endpoint.connections(), path))
        if status in (401, 403, 429) or status >= 500:
            told = f"The endpoint {endpoint.name!r} answered HTTP {status} when asked for its models"
            raise Fault(class_of_status(status), told, origin="model", details={"status": status})
    found = _listed(body) if status == 200 else None
    seconds = round(time.monotonic() - began, 3)
    if found is None:
        return Warmth(seconds=seconds)
    entry = next((each for each in found if each["id"] in (model, f"{model}:latest")), None)
    return Warmth(seconds=seconds, served=entry is not None, context_length=_length(entry or {}))


def _listed(body: bytes) -> list[dict[str, Json]] | None:
    """The entries of the endpoint's list; None where it gave none that can be read."""
    try:
        listed = json.loads(body)["data"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    entries = listed if isinstance(listed, list) else []
    return [each for each in entries if isinstance(each, dict) and isinstance(each.get("id"), str)] or None


def _length(entry: dict[str, Json]) -> int | None:
    lengths = (entry.get(name) for name in _LENGTHS)
    return next((n for n in lengths if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)
