"""The web page as the server answers: what is on it, for whom, and that nothing on it is more than text."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.server.asgi import application
from cogwork.server.pages.advice import ADVICE
from cogwork.server.pages.forms import Control, control, filled
from cogwork.server.pages.signing import local
from cogwork.server.pages.story import Story
from cogwork.server.pages.waterfall import over_time, waterfall
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.errors import FAULT_CLASSES
from state.events import Event
from state.schemas import faults
from tests.pages_stage import ANSWER, FAILING, REFUND, Shop

pytestmark = pytest.mark.req("X3", "M10")
BASE = "http://127.0.0.1:4020"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"


@asynccontextmanager
async def served(folder: Path, *, prefix: str = "", **server: Any) -> AsyncIterator[tuple[Any, httpx2.AsyncClient]]:
    """The application with its doors open, and a client of it."""
    settings = Settings(state_dir=folder / "state", workflows=[folder], server={"auth": "none", **server})
    made = application(settings, WorkflowEngine(settings=settings, tools=Shop().tools))
    async with made.api.router.lifespan_context(made.api):
        transport = httpx2.ASGITransport(app=made, raise_app_exceptions=False, root_path=prefix)
        headers = {"Accept": "text/html", "Origin": BASE}
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers, timeout=60) as client:
            yield made.api.state.doors, client


async def rests(doors: Any, workflow: str, input: dict[str, Any]) -> str:
    """An execution that has come to its end or first rest; its id."""
    handle = await doors.engine.execute_workflow(workflow, input)
    await handle.wait(30)
    return str(handle.id)


class Tags(HTMLParser):
    """What a browser would make of a page: its elements and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))


def harmless(text: str) -> None:
    """Nothing on the page can run but our own files, and nothing has a style of its own."""
    for tag, attributes in Tags(text).found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        assert tag not in ("style", "iframe", "object", "base")
        assert not (attributes.get("href") or "").lower().startswith("javascript:")
        if tag in ("script", "img"):
            assert (attributes.get("src") or "").startswith("/static/"), attributes


@pytest.mark.req("M9")
async def test_what_workflows_people_and_models_say_is_shown_as_text_and_never_run(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "cogwork": "v1",
        "name": "evil",
        "description": EVIL,
        "tags": ["<b>tag</b>"],
        "input": {"said": {"type": "string", "title": EVIL, "description": EVIL, "default": EVIL}},
        "nodes": {
            "shown": {"type": "transform", "set": {EVIL: "{{ input.said }}"}},
            "told": {"type": "llm", "prompt": "Repeat: {{ input.said }}", "depends_on": ["shown"]},
            "ask": {
                "type": "human",
                "ask": "{{ input.said }}",
                "show": {"material": "{{ input.said }}"},
                "form": {"type": "object", "properties": {EVIL: {"enum": [EVIL, "no"]}}, "required": [EVIL]},
                "depends_on": ["told"],
            },
            "order": {
                "type": "tool",
                "tool": "shop.order",
                "args": {"number": "none{{ input.said }}"},
                "depends_on": ["ask"],
            },
        },
        "output": "{{ order.number }}",
    }
    async with served(tmp_path) as (doors, client):
        workflow = await doors.engine.create_workflow(source=spec)
        execution = await rests(doors, workflow, {"said": EVIL})
        asked = await client.get(f"/executions/{execution}?step=told")
        wrong = await client.post(f"/executions/{execution}/answer", data={"at": "ask", f"ask/{EVIL}": EVIL * 2})
        await (await doors.engine.resume_execution(execution, {"ask": {EVIL: EVIL}})).wait(30)
        pages = [asked, wrong]
        for place in (
            "/",
            "/workflows",
            f"/workflows?q={EVIL}&tag={EVIL}",
            f"/workflows/{workflow}?step=ask",
            f"/workflows/{workflow}/start",
            "/executions",
            f"/executions?workflow={EVIL}&tag={EVIL}&session={EVIL}",
            f"/executions?id={EVIL}",
            f"/executions/{execution}?step=order",
            f"/executions/{execution}?step={EVIL}",
            f"/tools?q={EVIL}",
            f"/{EVIL}",
        ):
            pages.append(await client.get(place))
    assert wrong.status_code == 422
    for page in pages:
        assert page.status_code < 500, page.url
        assert "<script>alert" not in page.text and "<img src=x" not in page.text, page.url
        harmless(page.text)
    assert html.escape(EVIL, quote=False).replace("&#x27;", "'") in pages[0].text.replace("&#39;", "'").replace(
        "&#34;", '"'
    )


async def test_a_viewer_is_refused_what_is_not_offered(tmp_path: Path) -> None:
    async with served(tmp_path, auth="tokens") as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        execution = await rests(doors, "refund", {"order": "A"})
        client.cookies.set("cogwork_token", await doors.issue("vera", "viewer", 600))
        page = await client.get(f"/executions/{execution}?step=found")
        posts = {
            f"/executions/{execution}/answer": {"at": "ask", "ask/decision": '"approve"'},
            f"/executions/{execution}/pause": {},
            f"/executions/{execution}/resume": {},
            f"/executions/{execution}/cancel": {},
            f"/executions/{execution}/fork": {"at": "found"},
            f"/executions/{execution}/rerun": {},
            "/workflows/refund/start": {"in/order": "B"},
        }
        answers = {path: await client.post(path, data=data) for path, data in posts.items()}
        listed = await doors.engine.list_executions()
    forms = [attributes.get("action") for tag, attributes in Tags(page.text).found if tag == "form"]
    assert not [each for each in forms if each and "/executions/" in each]
    assert not [tag for tag, attributes in Tags(page.text).found if tag == "input"]
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(posts, 403)
    assert all("takes the role operator" in html.unescape(answer.text) for answer in answers.values())
    assert len(listed["executions"]) == 1 and listed["executions"][0]["status"] == "paused"


@pytest.mark.req("M9")
async def test_a_form_of_another_site_changes_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        execution = await rests(doors, "refund", {"order": "A"})
        for headers in ({"Origin": "https://evil.example.org"}, {"Origin": "null"}):
            answer = await client.post(f"/executions/{execution}/cancel", headers=headers)
            assert answer.status_code == 403
        assert (await doors.engine.get_execution_status(execution))["status"] == "paused"
        page = await client.get(f"/executions/{execution}")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "form-action 'self'" in policy
    assert page.headers["referrer-policy"] == "same-origin", "else browsers say that forms come from nowhere"


@pytest.mark.req("M9")
async def test_signing_in_leads_only_to_pages_of_the_server_and_a_link_is_good_once(tmp_path: Path) -> None:
    async with served(tmp_path, auth="tokens") as (doors, client):
        code = doors.sign_in_code()
        first = await client.get("/sign-in", params={"code": code, "next": "//evil.example.org"})
        cookie = first.headers["set-cookie"]
        client.cookies.clear()
        again = await client.get("/sign-in", params={"code": code})
        token = await doors.issue("ola", "operator", 60)
        by_token = await client.post("/sign-in", data={"token": token, "next": "/executions?status=failed"})
        client.cookies.clear()
        wrong = await client.post("/sign-in", data={"token": "wrong", "next": "/executions"})
        page = await client.get("/sign-in", params={"next": '/"><script>'})
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert again.status_code == 401 and "another one" in again.text
    assert by_token.headers["location"] == "/executions?status=failed"
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    harmless(page.text)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("/executions/a?step=b", "/executions/a?step=b"),
        ("//evil.org", ""),
        ("https://evil.org", ""),
        ("/\\evil.org", ""),
        ("/a\r\nSet-Cookie: x", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_only_paths_of_the_server_are_led_to(given: str, taken: str) -> None:
    assert local(given) == taken


async def test_below_a_prefix_every_address_begins_with_it(tmp_path: Path) -> None:
    async with served(tmp_path, prefix="/cogwork", auth="tokens") as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        execution = await rests(doors, "refund", {"order": "A"})
        signed = await client.get("/cogwork/sign-in", params={"code": doors.sign_in_code()})
        places = ("/", "/workflows/refund", "/workflows/refund/start", f"/executions/{execution}?step=found", "/tools")
        pages = [await client.get(f"/cogwork{place}") for place in places]
        paused = await client.post(f"/cogwork/executions/{execution}/rerun")
        styles = await client.get("/cogwork/static/page.css")
    assert "Path=/cogwork" in signed.headers["set-cookie"] and signed.headers["location"] == "/cogwork/"
    assert paused.headers["location"].startswith("/cogwork/executions/refund-")
    assert styles.status_code == 200
    for page in pages:
        assert page.status_code == 200
        for tag, attributes in Tags(page.text).found:
            for name in ("href", "src", "action", "data-stream"):
                led = attributes.get(name) or ""
                assert not led.startswith("/") or led.startswith("/cogwork/"), (tag, led)


async def test_a_page_that_is_not_there_says_so_to_people_as_a_page_and_to_programs_as_an_error(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        unknown = await client.get("/executions/none-such")
        near = await client.get("/workflows/refunds")
        nowhere = await client.get("/nowhere")
        program = await client.get("/api/v1/nowhere")
    assert (unknown.status_code, near.status_code, nowhere.status_code) == (404, 404, 404)
    assert "refund" in near.text and "<h1>There is no such thing</h1>" in nowhere.text
    assert program.json()["error"]["code"] == "not_found"


async def test_the_list_of_executions_is_filtered_and_paged(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        await doors.engine.create_workflow(source=FAILING)
        failed = await rests(doors, "failing", {})
        made = [await doors.engine.execute_workflow("refund", {"order": "A"}, {"tags": ["night"]}) for _ in range(27)]
        filtered = await client.get("/executions?status=failed")
        tagged = await client.get("/executions?tag=night&ago=24h")
        following = html.unescape(re.findall(r'href="([^"]*)" rel="next"', tagged.text)[0])
        second = await client.get(f"/executions{following}")
        wrong = await client.get("/executions?status=lost")
        later = await client.get("/executions?since=2100-01-01T00:00")
    shown = [set(re.findall(r"/executions/((?:refund|failing)-\w+)", page.text)) for page in (filtered, tagged, second)]
    assert shown[0] == {failed}
    assert (len(shown[1]), len(shown[2])) == (25, 2) and shown[1] | shown[2] == {handle.id for handle in made}
    assert "since=" in following, "the next page is of the same time"
    assert "No execution is like that" in later.text
    assert wrong.status_code == 422 and "There is no status" in wrong.text


async def test_an_answer_that_comes_too_late_or_twice_is_refused_on_the_page(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        execution = await rests(doors, "refund", {"order": "A"})
        form = {"at": "ask", "ask/decision": '"approve"', "ask/amount": "5", "ask/note": "fine", "ask/notify": "true"}
        both = await asyncio.gather(*(client.post(f"/executions/{execution}/answer", data=form) for _ in range(2)))
        late = await client.post(f"/executions/{execution}/answer", data=form)
        result = await (await doors.engine.execute_workflow("refund", {"order": "B"})).wait(30)
        gone = await client.post(f"/executions/{result.execution.id}/answer", data={**form, "at": "other"})
    assert sorted(answer.status_code for answer in both) == [303, 409]
    assert (late.status_code, gone.status_code) == (409, 409) and "does not ask other" in gone.text


async def test_the_stream_of_a_page_sends_its_parts_and_ends_with_the_execution(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        await doors.engine.create_workflow(source=FAILING)
        execution = await rests(doors, "failing", {})
        page = await client.get(f"/executions/{execution}?step=order")
        stream = await client.get(f"/live/executions/{execution}?step=order")
        unknown = await client.get("/live/executions/none-such")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.rstrip().endswith("event: over\ndata: {}") and unknown.status_code == 404
    sent = json.loads(re.findall(r"^data: (\[.*)$", stream.text, re.MULTILINE)[0])
    shown = dict(re.findall(r'id="live-(\w+)" data-live="(\w+)"', page.text))
    assert {part["name"]: part["digest"] for part in sent} == shown, "what is the same is known to be"


async def test_versions_are_compared_and_figures_drawn(tmp_path: Path) -> None:
    async with served(tmp_path) as (doors, client):
        workflow = await doors.engine.create_workflow(source=REFUND)
        changed = {**REFUND, "input": {**REFUND["input"], "reason": {"type": "string"}}}
        await doors.engine.update_workflow(workflow, source=changed)
        await rests(doors, "refund", {"order": "A", "reason": "broken"})
        page = await client.get(f"/workflows/{workflow}?version=2&against=1")
        form = await client.get(f"/workflows/{workflow}/start?version=1")
        started = await client.post(
            f"/workflows/{workflow}/start", data={"version": "1", "in/order": "x", "in/copies": "9"}
        )
    text = html.unescape(page.text)
    assert "From version 1 to 2" in text and "breaking" in text and "reason" in text
    assert 'class="figures"' in page.text and "The figures by day" in page.text
    assert 'name="in/reason"' not in form.text
    assert started.status_code == 422 and 'value="9"' in started.text and 'aria-invalid="true"' in started.text


async def test_sessions_show_what_was_said(tmp_path: Path) -> None:
    from cogwork.sessions.records import NewMessage

    async with served(tmp_path) as (doors, client):
        session = await doors.engine.sessions.create(user_id="ann")
        talk = await doors.engine.conversations.start(session.id)
        said = [NewMessage(role="user", content=f"line {n}") for n in range(60)]
        await doors.engine.conversations.add(talk.id, *said, NewMessage(role="assistant", content=EVIL))
        listed = await client.get("/sessions?user=ann")
        page = await client.get(f"/sessions/{session.id}")
        earlier = html.unescape(re.findall(r'href="([^"]*)">Earlier', page.text)[0])
        before = await client.get(earlier)
    assert session.id in listed.text and "line 59" in page.text and "line 3<" not in page.text
    assert "line 3<" in before.text
    harmless(page.text)


# -- forms -----------------------------------------------------------------------------------------------------------


def flat(form: Control) -> dict[str, Control]:
    """The controls by their names."""
    return {form.name: form} | {name: each for inside in form.inside for name, each in flat(inside).items()}


def test_a_form_has_a_control_for_every_shape_and_json_for_the_rest() -> None:
    schema = {
        "type": "object",
        "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
        "properties": {
            "text": {"type": "string", "default": "x"},
            "long": {"type": "string", "maxLength": 5000},
            "key": {"type": "string", "format": "password"},
            "when": {"type": "string", "format": "date"},
            "count": {"type": ["integer", "null"]},
            "sure": {"type": "boolean"},
            "pick": {"enum": ["a", 1, None, {"b": 2}]},
            "some": {"type": "array", "items": {"enum": ["a", "b"]}},
            "lines": {"type": "array", "items": {"type": "number"}},
            "place": {"$ref": "#/$defs/place"},
            "rows": {"type": "array", "items": {"type": "object"}},
            "any": {},
            "either": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "loop": {"$ref": "#/properties/loop"},
            "a/b~c": {"type": "string"},
        },
        "required": ["text", "sure", "count"],
    }
    kinds = {name.removeprefix("q/"): each.kind for name, each in flat(control(schema, "q")).items()}
    assert kinds == {
        "q": "group",
        "text": "text",
        "long": "long",
        "key": "secret",
        "when": "text",
        "count": "number",
        "sure": "yes_no",
        "pick": "choice",
        "some": "several",
        "lines": "lines",
        "place": "group",
        "place/city": "text",
        "rows": "json",
        "any": "json",
        "either": "json",
        "maybe": "text",
        "loop": "json",
        "a~1b~0c": "text",
    }
    given = {
        "q/count": ["7"],
        "q/sure": ["false"],
        "q/pick": ['{"b": 2}'],
        "q/some": ['"a"', '"b"'],
        "q/lines": ["1\r\n2.5\r\n"],
        "q/place/city": ["Bonn"],
        "q/rows": ['[{"x": 1}]'],
        "q/any": ["plain words"],
        "q/a~1b~0c": ["odd"],
        "q/text": ["t"],
    }
    read = filled(schema, given, "q")
    assert read.faults == ()
    assert read.value == {
        "text": "t",
        "count": 7,
        "sure": False,
        "pick": {"b": 2},
        "some": ["a", "b"],
        "lines": [1, 2.5],
        "place": {"city": "Bonn"},
        "rows": [{"x": 1}],
        "any": "plain words",
        "a/b~c": "odd",
    }


def test_what_does_not_fit_is_said_at_its_control_and_kept() -> None:
    given = {"ask/decision": ['"maybe"'], "ask/amount": ["many"], "ask/note": ["ok"], "ask/lines": ["1\nx"]}
    read = filled(ANSWER, {**given, "ask/address/zip": ["53111"]}, "ask")
    controls = flat(read.control)
    wrong = {name for name, each in controls.items() if each.faults}
    assert wrong == {"ask/decision", "ask/amount", "ask/note", "ask/lines", "ask/address/city"}
    assert controls["ask/amount"].first == "many" and "expected number" in controls["ask/amount"].faults[0]
    assert len(read.faults) == 5


@pytest.mark.parametrize("schema", [{"type": "string"}, {"enum": ["yes", "no"]}, {"type": "boolean"}, {}])
def test_an_answer_that_is_no_object_has_one_control(schema: dict[str, Any]) -> None:
    form = control(schema, "ask")
    assert (form.name, form.inside) == ("ask", ())
    typed = form.choices[0][0] if form.choices else "true"
    assert not filled(schema, {"ask": [typed]}, "ask").faults


_NAMES = st.text(min_size=1, max_size=5)
_LEAVES = st.one_of(
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-5, 5)),
    st.just({"type": "number"}),
    st.just({"type": "string", "minLength": 1}),
    st.just({"type": "boolean"}),
    st.builds(lambda options: {"enum": options}, st.lists(_NAMES, min_size=1, max_size=7, unique=True)),
    st.just({"type": "array", "items": {"type": "integer"}}),
    st.just({"type": ["string", "null"]}),
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.builds(
        lambda fields, all_: {"type": "object", "properties": fields, "required": sorted(fields) if all_ else []},
        st.dictionaries(_NAMES, inner, max_size=4),
        st.booleans(),
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(
    schema=_SCHEMAS,
    noise=st.dictionaries(_NAMES, st.lists(st.text(max_size=8), max_size=2), max_size=3),
    data=st.data(),
)
def test_whatever_is_typed_a_form_gives_a_value_that_fits_or_says_what_does_not(
    schema: dict[str, Any], noise: dict[str, list[str]], data: st.DataObject
) -> None:
    names = list(flat(control(schema, "q")))
    typed = {name: [data.draw(st.text(max_size=6) | st.sampled_from(["1", "true", '"a"', "1\n2"]))] for name in names}
    read = filled(schema, {**noise, **typed}, "q")
    assert bool(read.faults) == bool(faults(schema, read.value)) or read.faults
    if not read.faults:
        assert faults(schema, read.value) == []


# -- what happened ---------------------------------------------------------------------------------------------------

BEGIN = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def event(kind: Any, step: str, after: float, **data: Any) -> Event:
    """An event so many seconds after the beginning."""
    return Event(kind=kind, run="r", at=(BEGIN + timedelta(seconds=after)).isoformat(), step=step, data=data)


def test_the_history_tells_attempts_skips_and_what_was_cut_off() -> None:
    story = Story(
        [
            event("step.started", "pay", 0),
            event("step.retry", "pay", 1, attempt=1, wait=2.0, error={"message": "no", "class": "unavailable"}),
            event("step.finished", "pay", 5, attempts=2, seconds=5),
            event("step.skipped", "manager", 5, cause={"reason": "not_selected", "by": "large"}),
            event("step.started", "read[0].page", 5),
            event("run.paused", "", 6, reason="requested"),
            event("run.resumed", "", 60),
            event("step.started", "read[0].page", 60),
            event("step.failed", "read[0].page", 61, error={"message": "gone", "class": "not_found"}),
            event("step.finished", "read[1].page", 62, attempts=1, seconds=0.5),
        ]
    )
    pay = story.steps["pay"]
    assert [(each.outcome, (each.began - BEGIN).seconds) for each in pay.attempts] == [("retried", 0), ("done", 3)]
    page = story.steps["read[0].page"]
    assert [each.outcome for each in page.attempts] == ["cut off", "failed"] and page.error is not None
    assert story.states() == {"pay": "done", "manager": "skipped", "read.page": "failed"}
    drawn = str(waterfall(list(story.steps.values()), BEGIN + timedelta(seconds=70)))
    assert drawn.count('class="bar') == 5 and "2 attempts" in drawn and "manager" not in drawn


def test_for_every_class_of_failure_there_is_something_to_do() -> None:
    assert set(ADVICE) == set(FAULT_CLASSES)


def test_pictures_hold_what_they_are_given_and_nothing_that_runs() -> None:
    story = Story([event("step.finished", f"<script>{EVIL}", 1, seconds=1, attempts=1)])
    drawn = str(waterfall(list(story.steps.values()), BEGIN))
    assert "<script>" not in drawn and "style=" not in drawn
    day = {"from": "2026-11-28T00:00:00+00:00", "status_counts": {"completed": 3, "failed": 1}, "cost_usd": 0.5}
    chart = str(over_time([{**day, "p50_duration": 1.0, "p95_duration": 4.0}] * 3))
    assert chart.count('class="bar s-failed"') == 3 and chart.count('class="bar cost"') == 3
    assert "3 completed" in chart and 'class="line p95"' in chart


# -- designing -------------------------------------------------------------------------------------------------------


@pytest.mark.req("M10", "M3")
async def test_an_author_writes_a_workflow_sees_what_is_wrong_publishes_it_and_goes_back(tmp_path: Path) -> None:
    async with served(tmp_path, auth="tokens") as (doors, client):
        client.cookies.set("cogwork_token", await doors.issue("aki", "author", 600))
        blank = html.unescape((await client.get("/workflows/new")).text)
        text = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", blank, re.DOTALL)[0]
        faulty = text.replace("{{ greeting.text }}", "{{ greting.text }}")
        checked = await client.post("/workflows/new", data={"text": faulty, "do": "check"})
        refused = await client.post("/workflows/new", data={"text": faulty, "do": "publish"})
        made = await client.post("/workflows/new", data={"text": text, "do": "publish", "note": "the first"})
        place = made.headers["location"]
        editor = await client.get(f"{place}/edit")
        expected = re.findall(r'name="expected" value="(\d+)"', editor.text)[0]
        changed = {"text": text.replace("Hello", "Good day"), "do": "publish", "expected": expected}
        second = await client.post(f"{place}/edit", data=changed)
        late = await client.post(f"{place}/edit", data={**changed, "text": text.replace("Hello", "Hi")})
        back = await client.post(f"{place}/rollback", data={"version": "1"})
        page = await client.get(place)
        record = await doors.engine.get_workflow("my_workflow")
        versions = await doors.engine.library.versions("my_workflow")
    assert "Nothing is wrong with it" in blank and 'class="graph"' in blank
    told = html.unescape(checked.text)
    assert checked.status_code == 200 and "greting" in told and "did you mean" in told.lower()
    assert re.search(r'data-line="\d+"', checked.text)
    assert refused.status_code == 422 and "greting" in html.unescape(refused.text)
    assert (made.status_code, second.status_code, back.status_code) == (303, 303, 303)
    assert late.status_code == 409 and "Hi, " in html.unescape(late.text), "what was written is not lost"
    assert (record["version"], record["newest"]) == (1, 2)
    assert [(each.version, each.author.split("-")[0]) for each in versions] == [(2, "aki"), (1, "aki")]
    assert "Make 2 the current one" in page.text
    harmless(checked.text)


@pytest.mark.req("M9")
async def test_only_authors_write_workflows_and_no_file_of_the_server_is_read_for_them(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("cogwork: v1\nname: secret\nnodes:\n  a: {type: transform, set: canary-77}\n")
    async with served(tmp_path, auth="tokens") as (doors, client):
        await doors.engine.create_workflow(source=REFUND)
        client.cookies.set("cogwork_token", await doors.issue("ola", "operator", 600))
        places = ("/workflows/new", "/workflows/refund/edit")
        seen = [await client.get(place) for place in places]
        seen += [
            await client.post(place, data={"text": "x: 1", "do": do}) for place in places for do in ("check", "publish")
        ]
        seen.append(await client.post("/workflows/refund/rollback", data={"version": "1"}))
        page = await client.get("/workflows/refund")
        client.cookies.set("cogwork_token", await doors.issue("aki", "author", 600))
        paths = [str(tmp_path / "secret.yaml"), "../secret.yaml", "secret"]
        used = [f"cogwork: v1\nname: x\nnodes:\n  a: {{use: {path}}}\n" for path in paths[:2]]
        read = [await client.post("/workflows/new", data={"text": text, "do": "check"}) for text in (*paths, *used)]
        unknown = await client.get("/workflows/new?from=../../etc/passwd")
        large = await client.post("/workflows/new", data={"text": "x" * 200_001, "do": "check"})
    assert {answer.status_code for answer in seen} == {403}
    assert "/edit" not in page.text and "Go back" not in page.text
    assert not [answer for answer in read if "canary" in answer.text or answer.status_code >= 500]
    assert (unknown.status_code, large.status_code) == (404, 413)
