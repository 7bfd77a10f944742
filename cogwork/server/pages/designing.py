"""Designing workflows: their text beside their picture and all that is wrong with them; publishing, and going back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from cogwork.errors import EngineError
from cogwork.server.faults import engine_error, status_of
from cogwork.server.pages.routing import asked, form_of, router
from cogwork.server.pages.view import acting, moved, page
from cogwork.server.sources import spec_of
from graphs.analysis.picture import embedded, scene
from state.errors import CogworkError, SpecError
from state.problems import Problem

if TYPE_CHECKING:
    from cogwork.library.entries import WorkflowRecord
    from cogwork.workflow_engine import WorkflowEngine
    from graphs.analysis.plan import Plan

routes = router()
LONGEST: Final = 200_000
"""Characters of a workflow that are edited on a page."""
BLANK: Final = """\
cogwork: v1
name: my_workflow
description: What it is for.
input:
  name: {type: string}
nodes:
  greeting: {type: transform, set: {text: "Hello, {{ input.name }}!"}}
  sure: {type: human, ask: "Say {{ greeting.text }}?", form: {answer: {enum: [send, drop]}}}
output: "{{ sure.answer }}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What can be said of a text: its picture where it has one, and its problems."""

    plan: Plan | None
    problems: tuple[Problem, ...]

    @property
    def drawing(self) -> Markup | None:
        """The picture; its boxes lead to the text."""
        return Markup(embedded(scene(self.plan), lambda box: "#text")) if self.plan is not None else None

    @property
    def faulty(self) -> bool:
        """Whether it can not be published."""
        return any(problem.severity == "error" for problem in self.problems)


@routes.get("/workflows/new")
async def new(request: Request) -> Response:
    """A new workflow, from a blank page or a ready one."""
    acting(request).principal.require("workflows.write")
    template = asked(request, "from").get("from", "")
    text = await acting(request).perform("workflows.read", template, lambda engine: _template(engine, template))
    return await _editor(request, text)


@routes.post("/workflows/new")
async def create(request: Request) -> Response:
    """Check it, or publish it as a new workflow."""
    form = await _given(request)

    async def work(engine: WorkflowEngine) -> WorkflowRecord:
        source = await spec_of(form["text"])
        author = acting(request).principal.name
        return await engine.library.create(source, author=author, note=form["note"])

    return await _done(request, form, work)


@routes.get("/workflows/{workflow}/edit")
async def edit(request: Request, workflow: str) -> Response:
    """The next version of a workflow."""
    acting(request).principal.require("workflows.write")
    version = asked(request, "version").get("version")

    async def look(engine: WorkflowEngine) -> tuple[WorkflowRecord, str]:
        from graphs.language.dump import to_yaml

        record = await engine.library.get(workflow)
        which = int(version) if version is not None and version.isdigit() and len(version) < 9 else version
        bundle = await engine.library.bundle(record.id, which)
        return record, to_yaml(bundle.workflow.spec)

    record, text = await acting(request).perform("workflows.read", workflow, look)
    return await _editor(request, text, record=record)


@routes.post("/workflows/{workflow}/edit")
async def update(request: Request, workflow: str) -> Response:
    """Check it, or publish it as the next version."""
    form = await _given(request)
    expected = int(form["expected"]) if form["expected"].isdigit() and len(form["expected"]) < 9 else None
    found = await acting(request).perform("workflows.read", workflow, lambda engine: engine.library.get(workflow))

    async def work(engine: WorkflowEngine) -> WorkflowRecord:
        source, author = await spec_of(form["text"]), acting(request).principal.name
        return await engine.library.update(
            workflow, source, expected_version=expected, author=author, note=form["note"]
        )

    return await _done(request, form, work, found)


@routes.post("/workflows/{workflow}/rollback")
async def rollback(request: Request, workflow: str) -> Response:
    """Let the workflow be an earlier version of itself again."""
    which = (await form_of(request)).get("version", [""])[0]

    async def work(engine: WorkflowEngine) -> WorkflowRecord:
        if not which.isdigit() or len(which) > 8:
            raise EngineError("invalid_input", f"{which[:40]!r} is no number of a version")
        return await engine.library.rollback(workflow, int(which), author=acting(request).principal.name)

    record = await acting(request).perform("workflows.write", workflow, work)
    return moved(request, f"/workflows/{quote(record.id, safe='')}")


async def _done(request: Request, form: dict[str, str], work: Any, record: WorkflowRecord | None = None) -> Response:
    acting_, target = acting(request), record.id if record is not None else "a new workflow"
    if form["do"] != "publish":
        acting_.principal.require("workflows.write")
        return await _editor(request, form["text"], form=form, record=record)
    try:
        made = await acting_.perform("workflows.write", target, work)
    except CogworkError as err:
        error = engine_error(err)
        if error.code == "permission_denied":
            raise
        fault = "It is not published: mend what is wrong first." if isinstance(err, SpecError) else error.message
        return await _editor(request, form["text"], form=form, record=record, fault=fault, status=status_of(error.code))
    return moved(request, f"/workflows/{quote(made.id, safe='')}")


async def _given(request: Request) -> dict[str, str]:
    form = await form_of(request)
    found = {name: form.get(name, [""])[0] for name in ("text", "note", "do", "expected")}
    text = found["text"].replace("\r\n", "\n")
    if len(text) > LONGEST:
        raise EngineError("too_large", f"The text has more than {LONGEST:,} characters: publish it as a file")
    return {**found, "text": text, "note": found["note"].strip()[:500]}


async def _editor(
    request: Request,
    text: str,
    *,
    form: dict[str, str] | None = None,
    record: WorkflowRecord | None = None,
    fault: str = "",
    status: int = 200,
) -> Response:
    draft, ready = await acting(request).perform("workflows.read", "a draft", lambda engine: _looked(engine, text))
    return page(
        request,
        "edit.html",
        status=status,
        section="workflows",
        text=text,
        draft=draft,
        record=record,
        fault=fault,
        note=form["note"] if form else "",
        expected=form["expected"] if form else str(record.newest) if record is not None else "",
        templates=ready if record is None else [],
    )


async def _looked(engine: WorkflowEngine, text: str) -> tuple[Draft, list[str]]:
    return await _draft(engine, text), await asyncio.to_thread(_ready, engine)


async def _draft(engine: WorkflowEngine, text: str) -> Draft:
    """What there is to say of a text."""

    def analysed(source: Any) -> Draft:
        from graphs.analysis.check import analyse

        found = analyse(engine.app.load(source), engine.app.services, engine.app.resolve)
        endless = {"cycle", "self_reference", "too_large"} & {problem.code for problem in found.problems}
        return Draft(plan=None if endless else found.plan, problems=found.problems)

    try:
        return await asyncio.to_thread(analysed, await spec_of(text))
    except SpecError as err:
        return Draft(plan=None, problems=err.problems)
    except EngineError as err:
        return Draft(plan=None, problems=(Problem(code=err.code, message=err.message),))


def _ready(engine: WorkflowEngine) -> list[str]:
    """The names of the workflows that a new one may begin as."""
    return sorted(path.stem for path in engine.app.workflow_files())


async def _template(engine: WorkflowEngine, name: str) -> str:
    if not name:
        return BLANK
    path = await asyncio.to_thread(engine.app.find, name)
    if path is None:
        raise EngineError("workflow_not_found", f"There is no ready workflow {name[:100]!r}")
    return (await asyncio.to_thread(path.read_text, encoding="utf-8"))[:LONGEST]
