"""Has schemathesis mean things that there are: half of all requests are about them, the other half about nothing."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ["COGWORK_KNOWN"])
SPECS: list[dict[str, Any]] = json.loads(os.environ["COGWORK_SPECS"])
DRAWN = random.Random(1)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Ids of things that there are, except for what deletes them."""
    if not path_parameters or context.operation.method.lower() == "delete" or DRAWN.random() < 0.5:
        return path_parameters
    return {name: KNOWN.get(name, value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Workflows that there are, and specs that are some; nobody waits."""
    if not isinstance(body, dict):
        return body
    if "wait" in body:
        body = {**body, "wait": 0}
    if DRAWN.random() < 0.5:
        return body
    return {name: _likely(name, value) for name, value in body.items()}


def _likely(name: str, value: Any) -> Any:
    match name:
        case "workflow":
            return DRAWN.choice(["double", "asking", *SPECS])
        case "source":
            return DRAWN.choice(SPECS)
        case "input":
            return {"n": DRAWN.randrange(-5, 5)}
        case "inputs":
            return [{"n": each} for each in range(DRAWN.randrange(1, 4))]
        case "at":
            return "twice"
        case "source_agent_id" | "target_agent_id":
            return DRAWN.choice(["ada", "bob"])
    return value
