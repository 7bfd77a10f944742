"""Forms that every part of the HTTP door shares."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cogwork.server.acting import Acting
from state.values import Json


class Form(BaseModel):
    """A body that a caller sends: strict about its keys."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="For programs; see the table of codes.")
    message: str = Field(description="For people: what, where, and what to do.")
    details: dict[str, Any] = Field(description="What belongs to it, by code.")
    request_id: str = Field(description="The id under which the server's log has more.")


class ErrorForm(BaseModel):
    """The form of every error."""

    error: ErrorBody


def _acting(request: Request) -> Acting:
    found: Acting = request.state.acting
    return found


Caller = Annotated[Acting, Depends(_acting)]
"""The engine for the caller of the request."""
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="Where the page before ended: its `cursor`.")]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route can answer with, beside those that all can."""
    return {status: {"model": ErrorForm} for status in sorted({400, 401, 403, 408, 413, 422, 429, 500, 503, *statuses})}


Object = dict[str, Json]
