"""Templates rendered to pages, and how values are written on them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from cogwork.cli.reasons import RESTS, brief_cause, brief_error
from cogwork.identity.roles import Principal, Verb
from cogwork.metrics.axes import money, span
from state.values import Json

if TYPE_CHECKING:
    from cogwork.server.acting import Acting

STATIC: Final = Path(__file__).parent / "static"
HEADERS: Final = {"Referrer-Policy": "same-origin"}
"""With no referrer at all, browsers would say of a form that it comes from nowhere."""
LONGEST: Final = 20_000
"""How many characters of a value stand on a page."""
SECTIONS: Final = (
    ("overview", "Overview", "/"),
    ("workflows", "Workflows", "/workflows"),
    ("executions", "Executions", "/executions"),
    ("schedules", "Schedules", "/schedules"),
    ("agents", "Agents", "/agents"),
    ("sessions", "Sessions", "/sessions"),
    ("tools", "Tools", "/tools"),
)
MARKS: Final = {
    "pending": "◷",
    "running": "●",
    "paused": "❚❚",
    "waiting": "?",
    "completed": "✓",
    "done": "✓",
    "failed": "✕",
    "cancelled": "⊘",
    "skipped": "–",
    "open": "●",
    "healthy": "✓",
    "degraded": "!",
    "unhealthy": "✕",
    "active": "●",
    "archived": "–",
    "ended": "–",
    "expired": "–",
}
"""So that no state is told by its colour alone."""


def page(request: Request, template: str, *, status: int = 200, **more: Any) -> HTMLResponse:
    """A template as the answer."""
    return HTMLResponse(rendered(request, template, **more), status, HEADERS)


def rendered(request: Request, template: str, **more: Any) -> str:
    """A template's text; it knows who asks, what that person may do, and where the application is mounted."""
    principal: Principal | None = getattr(request.state, "principal", None)
    shared = {
        "root": request.scope.get("root_path", ""),
        "principal": principal,
        "may": lambda verb: principal is not None and principal.may(verb),
        "signs_in": _signs_in(request),
        "sections": SECTIONS,
        "section": "",
        "path": request.url.path,
    }
    return _environment().get_template(template).render({**shared, **more})


def moved(request: Request, path: str, **query: str) -> RedirectResponse:
    """Go on to a path of the application, once a form has done what it is for."""
    asked = f"?{urlencode(query)}" if query else ""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}{asked}", 303, HEADERS)


def execution_path(name: str) -> str:
    """Where an execution has its page."""
    return f"/executions/{quote(name, safe='')}"


def acting(request: Request) -> Acting:
    """The engine for who asks."""
    found: Acting = request.state.acting
    return found


def may(request: Request, verb: Verb) -> bool:
    """Whether the role of who asks suffices."""
    return acting(request).principal.may(verb)


def _signs_in(request: Request) -> bool:
    doors = getattr(request.app.state, "doors", None)
    return doors is not None and doors.settings.server.auth != "none"


# -- how values are written ------------------------------------------------------------------------------------------


def when(at: Json | datetime) -> Markup:
    """An instant; scripts put it into the reader's own time zone."""
    if at is None or at == "":
        return Markup('<span class="faint">–</span>')
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def status(name: str, reason: Json = None) -> Markup:
    """A state with its mark and, where it rests, why."""
    said = f"{name}: {RESTS.get(str(reason), str(reason))}" if reason and name in ("paused", "failed") else name
    kind = name if name in MARKS else "none"
    return Markup('<span class="state s-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        kind, MARKS.get(name, "·"), said
    )


def pretty(value: Json) -> str:
    """A value for reading: text as it is, all else as JSON; cut where it is too long for a page."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}…\n[{len(text) - LONGEST:,} more characters; the result over HTTP has them]"


def brief(value: Json, width: int = 80) -> str:
    """A value on one line, cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def anchor(name: str) -> str:
    """A name as the id of an element: unique, and of letters that ids may have."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def with_query(given: Mapping[str, Any], **changed: Any) -> str:
    """A query with some of its values changed; without those that are empty."""
    kept = {key: value for key, value in {**given, **changed}.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else "?"


def digest(text: str) -> str:
    """By what a part of a page is known to be the same as before."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cogwork.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "when": when,
        "status": status,
        "pretty": pretty,
        "brief": brief,
        "anchor": anchor,
        "span": span,
        "money": money,
        "cause": brief_cause,
        "fault": brief_error,
        "part": lambda name: quote(str(name), safe=""),
        "digest": digest,
    }
    made.globals |= {"with_query": with_query, "files": _files()}
    return made


def _files() -> str:
    """Of the styles and scripts together, so that a new one is fetched at once."""
    parts = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    return hashlib.sha256(parts).hexdigest()[:10]
