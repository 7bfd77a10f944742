"""Forms that every part of the HTTP door shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Header, Path, Query, Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

from cogwork.errors import EngineError
from cogwork.server.acting import Acting
from cogwork.server.doors import Doors, doors_of
from state.values import Json

ONE_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
"""Text without control characters."""
MOST: Final = 200
"""Items of one page."""


class Form(BaseModel):
    """A body that a caller sends: strict about its keys."""

    model_config = ConfigDict(extra="forbid")


class View(BaseModel):
    """What a caller is told; more keys may come with later versions."""

    model_config = ConfigDict(extra="allow")


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="For programs; see the table of codes.")
    message: str = Field(description="For people: what, where, and what to do.")
    details: dict[str, Any] = Field(description="What belongs to it, by code.")
    request_id: str = Field(description="The id under which the server's log has more.")


class ErrorForm(BaseModel):
    """The form of every error."""

    error: ErrorBody


class Problem(View):
    """One fault of a workflow, an input or an answer."""

    code: str = ""
    severity: str = "error"
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    pointer: str | None = Field(None, description="Where in the document, as a JSON pointer.")
    hint: str | None = None


def _acting(request: Request) -> Acting:
    found: Acting = request.state.acting
    return found


def _doors(request: Request) -> Doors:
    return doors_of(request.scope)


Caller = Annotated[Acting, Depends(_acting)]
"""The engine for the caller of the request."""
Served = Annotated[Doors, Depends(_doors)]
"""What all requests share."""
Object = dict[str, JsonValue]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""ISO 8601, with a zone."""


def _written(given: Any) -> Any:
    if isinstance(given, str) and not given.strip().lstrip("+-").replace(".", "").isdigit():
        return given
    raise ValueError("it must be an instant with its zone, such as 2026-11-28T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
"""An instant that a caller gives: ISO 8601, with a zone."""


def _sound(text: str) -> str:
    if any(0xD800 <= ord(each) <= 0xDFFF for each in text) or "\0" in text:
        raise ValueError("it holds half a character, or NUL")
    return text


Line = Annotated[str, StringConstraints(max_length=255, pattern=ONE_LINE), AfterValidator(_sound)]
"""A short text on one line, perhaps empty."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=ONE_LINE), AfterValidator(_sound)]
"""A name or id."""
Prose = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_sound)]
"""A text of several lines."""
Tag = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=ONE_LINE), AfterValidator(_sound)]
Tags = Annotated[tuple[Tag, ...], Query(max_length=32, description="All of them.")]
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=2000, pattern=ONE_LINE, description="Where the page before ended: its `cursor`.")
]
Text = Annotated[str | None, Query(max_length=255, pattern=ONE_LINE)]
"""A text in the query."""
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Asked again with it and the same body, it is the same; with another body, `conflict`.",
    ),
]


def named(what: str, **more: Any) -> Any:
    """A part of the path that is an id or a name."""
    return Path(min_length=1, max_length=255, pattern=ONE_LINE, description=f"The {what}.", **more)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route can answer with, beside those that all can."""
    usual = {400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 429, 500, 503}
    return {status: {"model": ErrorForm} for status in sorted(usual | {*statuses})}


def located(request: Request, route: str, id: str) -> str:
    """The path of what was made, for the header ``Location``."""
    # By the application's own routes: those of the scope are another one's where this one is mounted.
    own = request.app.url_path_for(route, **{route.removeprefix("get_"): "-"})
    path = f"{request.scope.get('root_path', '')}{own}"
    return path.removesuffix("-") + quote(id, safe="")


def shown(items: Iterable[Any], name: str, cursor: str | None) -> dict[str, Any]:
    """A page of what can be told as plain JSON."""
    return {name: [each.to_dict() for each in items], "cursor": cursor}


# -- what every request is held to -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a route takes and gives."""

    parameters: frozenset[str]
    has_body: bool
    takes: tuple[str, ...]
    gives: tuple[str, ...]


_TAKEN: Final[dict[Any, _Taken]] = {}


def _taken(route: Any) -> _Taken:
    if (known := _TAKEN.get(route.endpoint)) is None:
        extra = route.openapi_extra or {}
        known = _TAKEN[route.endpoint] = _Taken(
            frozenset(_parameters(route.dependant)),
            route.body_field is not None,
            tuple(extra.get("x-takes", ("application/json",))),
            tuple(extra.get("x-gives", ("application/json",))),
        )
    return known


def _parameters(dependant: Any) -> Iterator[str]:
    """The names of a route's parameters in the query, those of what it depends on among them."""
    yield from (each.alias for each in dependant.query_params)
    for each in dependant.dependencies:
        yield from _parameters(each)


async def held(request: Request) -> None:
    """Refuse what the route does not take: unknown parameters, NUL, other types of bodies and answers.

    Raises:
        EngineError: ``invalid_input``, ``unsupported_media_type``, ``not_acceptable``.
    """
    route = _taken(request.scope["route"])
    if strange := [name for name in request.query_params if name not in route.parameters]:
        told = ", ".join(sorted(route.parameters)) or "none"
        raise EngineError("invalid_input", f"There is no parameter {strange[0][:80]!r} here; there are: {told}")
    if any("\0" in value for value in (*request.query_params.values(), *request.path_params.values())):
        raise EngineError("invalid_input", "Parameters hold no NUL")
    if route.has_body:
        _takes(request, route.takes)
    _gives(request, route.gives)


def media_type(request: Request) -> str:
    """The type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _takes(request: Request, types: Iterable[str]) -> None:
    given = media_type(request)
    if not given and request.headers.get("content-length", "0") == "0":
        return
    if given not in types and not (given.startswith("application/") and given.endswith("+json")):
        told = f"The body is {given[:80]!r}: it must be {' or '.join(types)}"
        raise EngineError("unsupported_media_type", told)


def _gives(request: Request, types: Iterable[str]) -> None:
    if preferred(request.headers.get("accept", ""), types) is None:
        raise EngineError("not_acceptable", f"The answer can be {' or '.join(types)}", types=[*types])


def preferred(accept: str, types: Iterable[str]) -> str | None:
    """The type that the caller likes best of those that there are, the first of equals; None where it takes none of them."""
    wanted = [_weighed(each) for each in accept.split(",") if each.strip()]
    if not wanted:
        return next(iter(types), None)

    def weight(type_: str) -> float:
        whole = type_.partition("/")[0]
        for pattern in (type_, f"{whole}/*", "*/*"):
            if found := [q for name, q in wanted if name == pattern]:
                return max(found)
        return 0.0

    best = max(types, key=weight, default=None)
    return best if best is not None and weight(best) > 0 else None


def _weighed(part: str) -> tuple[str, float]:
    name, *parameters = (each.strip() for each in part.split(";"))
    for each in parameters:
        key, _, value = each.partition("=")
        if key.strip().lower() == "q":
            try:
                return name.lower(), min(1.0, max(0.0, float(value)))
            except ValueError:
                return name.lower(), 0.0
    return name.lower(), 1.0


def plain(value: Any) -> Json:
    """A model of the language as plain JSON."""
    from graphs.language.dump import plain as plainly

    return plainly(value)
