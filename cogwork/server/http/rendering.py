"""The result of an execution in the form that the caller asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response

from cogwork.responses import MEDIA_TYPES, chosen, form_named, response_of
from cogwork.responses import rendered as written
from cogwork.responses.html import POLICY
from cogwork.tools.roots import Roots

if TYPE_CHECKING:
    from cogwork.executions.result import ExecutionResult
    from cogwork.settings import Settings

GIVES: Final = tuple(media_type.partition(";")[0] for media_type in MEDIA_TYPES.values())
"""The types of results; JSON is the record with each step, the others are responses for people."""


async def rendered(
    result: ExecutionResult, format: str | None, accept: str, *, settings: Settings, request_id: str
) -> Response:
    """The result in a format, or in the type that the caller accepts best.

    Raises:
        EngineError: ``not_acceptable``; there is no such format, or none of the types is accepted.
    """
    form = form_named(format) if format is not None else chosen(accept)
    if form == "json":
        return JSONResponse(result.to_dict(), headers={"Vary": "Accept"})

    def text() -> str:
        return written(response_of(result, roots=Roots(settings.write_roots), request_id=request_id), form)

    headers = {"Vary": "Accept", **({"Content-Security-Policy": POLICY} if form == "html" else {})}
    return Response(await asyncio.to_thread(text), media_type=MEDIA_TYPES[form], headers=headers)
