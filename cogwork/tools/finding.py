"""The tool that finds tools: ``tools.search``, for workflows and for models that have too many to be shown all of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.index import Finder, Hit
from cogwork.tools.index.wording import MAX_DESCRIPTION
from state.services import Effect
from state.values import Json

NAME: Final = "tools.search"


class FoundTool(TypedDict):
    """A tool that was found; ``args`` says of each argument its type, and ``?`` where it may be left out."""

    name: str
    description: str
    effect: Effect
    args: dict[str, str]
    score: float


class FoundTools(TypedDict):
    """The tools that fit best, first; scores are from 0 to 1 and compare within one search only."""

    tools: list[FoundTool]


def finding_tools(finder: Finder) -> list[FunctionTool]:
    """The tools of this module."""
    return [FunctionTool.from_function(partial(search, finder), name=NAME, effect="read")]


def search(
    finder: Finder,
    query: Annotated[str, Field(min_length=1, max_length=4_000, description="What is to be done, in plain words.")],
    k: Annotated[int, Field(ge=1, le=50, description="At most so many tools.")] = 5,
) -> FoundTools:
    """Find the tools that can do something, by their names, descriptions and parameters; best first."""
    others = [hit for hit in finder.hits(query, k + 1) if hit.name != NAME]
    return FoundTools(tools=[found(hit) for hit in others[:k]])


def found(hit: Hit) -> FoundTool:
    """A hit as plain JSON."""
    return FoundTool(
        name=hit.name,
        description=hit.tool.description[:MAX_DESCRIPTION],
        effect=hit.tool.effect,
        args=_arguments(hit.tool.args_schema),
        score=hit.score,
    )


def _arguments(schema: Mapping[str, Json]) -> dict[str, str]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    required = schema.get("required") or ()
    return {str(name): _type(inner) + ("" if name in required else "?") for name, inner in properties.items()}


def _type(schema: Json) -> str:
    given = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(given, list):
        return " or ".join(map(str, given))
    if given is None and isinstance(schema, Mapping) and isinstance(several := schema.get("anyOf"), list):
        return " or ".join(dict.fromkeys(_type(each) for each in several[:8]))
    return str(given or "any")
