"""Signing in and out."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cogwork.errors import EngineError
from cogwork.identity.roles import Principal
from cogwork.server.doors import Doors, doors_of
from cogwork.server.pages.routing import form_of, router
from cogwork.server.pages.view import HEADERS, moved, page
from cogwork.server.signing_in import COOKIE

routes = router()
SECONDS = 12 * 3600
"""How long who has signed in with a code stays so."""


@routes.get("/sign-in")
async def sign_in(request: Request, code: str = "", next: str = "") -> Response:
    """Sign in with a code, or ask for a token."""
    doors = doors_of(request.scope)
    if doors.settings.server.auth == "none":
        return moved(request, "/")
    if not code:
        return page(request, "sign_in.html", next=local(next), fault="")
    if not doors.redeemed(code):
        fault = "This link has been used, or is too old: ask whoever started the server for another one."
        return page(request, "sign_in.html", status=401, next=local(next), fault=fault)
    token = await doors.issue("administrator", "admin", SECONDS)
    return _in(request, token, next, doors, await doors.verify(token))


@routes.post("/sign-in")
async def sign_in_with_a_token(request: Request) -> Response:
    """Sign in with the token of a form."""
    doors, form = doors_of(request.scope), await form_of(request)
    token, next = (form.get(name, [""])[0].strip() for name in ("token", "next"))
    try:
        principal = await doors.verify(token)
    except EngineError as err:
        if err.code != "unauthenticated":
            raise
        return page(request, "sign_in.html", status=401, next=local(next), fault=err.message)
    return _in(request, token, next, doors, principal)


@routes.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget who this is; a token that was made for this browser alone is no longer good."""
    await doors_of(request.scope).forget(request.state.principal)
    answer = moved(request, "/sign-in")
    answer.delete_cookie(COOKIE, path=_root(request), httponly=True, samesite="strict")
    return answer


def local(path: str) -> str:
    """The path, if it is one of this application; else its first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if plain and path.isprintable() and "\\" not in path else ""


def _in(request: Request, token: str, next: str, doors: Doors, principal: Principal) -> Response:
    where = local(next) or f"{request.scope.get('root_path', '')}/"
    answer = RedirectResponse(where, 303, HEADERS)
    secure = doors.settings.server.tls is not None or request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, token, max_age=SECONDS, path=_root(request), secure=secure, httponly=True, samesite="strict"
    )
    return answer


def _root(request: Request) -> str:
    return request.scope.get("root_path", "") or "/"
