"""Every route of the HTTP door does what it says, and refuses what it should; the document holds no other."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cogwork.errors import ERROR_CODES
from cogwork.identity.roles import Principal
from cogwork.server.asgi import Application, application
from cogwork.server.faults import STATUS, status_of
from cogwork.settings import Settings
from tests.apis import ASKING, DOUBLE, HOUSE, MANY
from tests.asgi import BASE, client_of
from tests.threads import until

pytestmark = [pytest.mark.req("M10", "X3")]


class Walk:
    """A client that remembers which operations of the document it has called."""

    def __init__(self, made: Application, client: httpx2.AsyncClient, paths: dict[str, Any]) -> None:
        self.application, self.client, self.seen = made, client, set[tuple[str, str]]()
        self._paths = {re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)): path for path in paths}

    async def __call__(self, method: str, path: str, status: int, body: Any = None, **more: Any) -> Any:
        """What an operation answers; JSON where it is that."""
        whole = path if path.startswith(("/health/", "/hooks/")) else f"/api/v1{path}"
        answer = await self.client.request(method, whole, **({"json": body} if body is not None else {}), **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        bare = whole.partition("?")[0]
        fitting = [path for pattern, path in self._paths.items() if pattern.fullmatch(bare)]
        self.seen.add((method.lower(), bare if bare in fitting else fitting[0]))
        if answer.content and answer.headers.get("content-type", "").startswith("application/json"):
            return answer.json()
        return answer


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    """The application with a worker, and a client that needs no token."""
    settings = Settings(
        state_dir=tmp_path / "state",
        workflows=[tmp_path],
        secrets={"hook": {"value": "swordfish"}},
        server={"auth": "none", "limits": MANY},
    )
    made = application(settings)
    async with client_of(made, timeout=60) as client:
        yield Walk(made, client, made.api.openapi()["paths"])


@pytest.mark.req("E6", "X9", "X10", "M7")
async def test_every_operation_of_the_document_works(walk: Walk) -> None:
    made = await walk("POST", "/workflows", 201, {"source": DOUBLE, "tags": ["figures"], "note": "the first"})
    await walk("POST", "/workflows", 201, {"source": json.dumps(ASKING)})
    await _library(walk, made["id"])
    await _executions(walk)
    await _moving(walk)
    await _agents(walk)
    await _talks(walk)
    await _firing(walk)
    await _system(walk)
    await walk("DELETE", "/workflows/asking", 200)
    document = walk.application.api.openapi()["paths"]
    assert walk.seen == {(method, path) for path, methods in document.items() for method in methods}


async def _library(walk: Walk, id: str) -> None:
    listed = await walk("GET", "/workflows?tag=figures&status=active&text=dou", 200)
    assert [each["id"] for each in listed["workflows"]] == [id] and listed["cursor"] is None
    changed = await walk("PUT", "/workflows/double", 200, {"updates": {"description": "Twice as much."}})
    assert (changed["version"], (await walk("GET", "/workflows/double", 200))["description"]) == (2, "Twice as much.")
    assert [each["version"] for each in (await walk("GET", "/workflows/double/versions", 200))["versions"]] == [2, 1]
    assert (await walk("GET", "/workflows/double/versions/1", 200))["note"] == "the first"
    diff = await walk("GET", "/workflows/double/diff?a=1", 200)
    assert [(each["area"], each["place"]) for each in diff["changes"]] == [("about", "description")]
    assert (await walk("PUT", "/workflows/double/labels/prod", 200, {"version": 1}))["labels"]["prod"] == 1
    assert len((await walk("GET", "/workflows/double/labels", 200))["moves"]) == 3
    assert "prod" not in (await walk("DELETE", "/workflows/double/labels/prod", 200))["labels"]
    assert (await walk("POST", "/workflows/double/rollback", 200, {"version": 1}))["version"] == 1
    assert (await walk("GET", "/workflows/double/uses", 200))["uses"] == []
    assert (await walk("GET", "/uses?kind=workflow&name=double", 200))["users"] == []
    schemas = await walk("GET", "/workflows/double/schema", 200)
    assert schemas["input"]["required"] == ["n"]
    drawing = await walk("GET", "/workflows/double/drawing", 200)
    assert drawing.headers["content-type"] == "image/svg+xml" and drawing.text.startswith("<svg")
    assert (await walk("GET", "/workflows/double/drawing?format=mermaid", 200)).text.startswith("flowchart")
    assert (await walk("GET", "/workflows/double/spec", 200))["name"] == "double"
    assert "name: double" in (await walk("GET", "/workflows/double/spec?format=yaml", 200)).text
    told = await walk("POST", "/workflows/validate", 200, {"source": {**DOUBLE, "output": "{{ nowhere.value }}"}})
    assert told["valid"] is False and told["problems"][0]["pointer"] == "/output"
    assert (await walk("POST", "/workflows/double/archive", 200))["status"] == "archived"
    assert (await walk("POST", "/workflows/double/restore", 200))["status"] == "active"


async def _executions(walk: Walk) -> None:
    body = {"workflow": "double", "input": {"n": 4}, "options": {"tags": ["one"]}, "wait": 30}
    done = await walk("POST", "/executions", 200, body)
    name = done["execution_id"]
    listed = await walk("GET", "/executions?status=completed&tag=one&workflow=double&since=2020-01-01T00:00:00Z", 200)
    assert [each["execution_id"] for each in listed["executions"]] == [name]
    assert (await walk("GET", f"/executions/{name}", 200))["status"] == "completed"
    assert (await walk("GET", f"/executions/{name}/result", 200))["output"]["primary_result"] == 8
    steps = (await walk("GET", f"/executions/{name}/steps?status=done", 200))["steps"]
    assert [(each["path"], each["attempts"]) for each in steps] == [("twice", 1)]
    assert (await walk("GET", f"/executions/{name}/steps/twice", 200))["result"] == {"value": 8}
    assert (await walk("GET", f"/executions/{name}/usage", 200))["calls"] == 0
    events = (await walk("GET", f"/executions/{name}/events", 200))["events"]
    assert [each["event"] for each in events][-1] == "run.completed"
    tried = await walk("POST", "/executions/dry-run", 200, {"workflow": DOUBLE, "input": {"n": 1}})
    assert (tried["dry_run"], tried["status"]) == (True, "valid")
    batch = await walk("POST", "/batches", 202, {"workflow": "double", "inputs": [{"n": n} for n in range(3)]})

    async def over() -> bool:
        return bool((await walk("GET", f"/batches/{batch['batch_id']}", 200))["done"])

    await until(over)
    assert len((await walk("GET", f"/executions?batch_id={batch['batch_id']}", 200))["executions"]) == 3
    assert (await walk("POST", f"/batches/{batch['batch_id']}/cancel", 200))["counts"] == {"completed": 3}


async def _moving(walk: Walk) -> None:
    asked = await walk("POST", "/executions", 200, {"workflow": "asking", "wait": 30})
    name = asked["execution_id"]
    assert (asked["status"], asked["questions"][0]["at"]) == ("paused", "approve")
    done = await walk("POST", f"/executions/{name}/resume", 200, {"answers": {"yes": False}, "wait": 30})
    assert done["status"] == "completed"
    why = await walk("GET", f"/executions/{name}/why?step=after", 200)
    assert (why["status"], why["cause"]["reason"]) == ("skipped", "when_false")
    assert any("approve.yes" in line for line in why["lines"])
    forked = await walk("POST", f"/executions/{name}/fork", 202, {"at": "approve", "values": {"twice": {"value": 20}}})
    again = forked["execution_id"]
    assert forked["metadata"] == {"forked_from": name, "forked_at": "approve"} and again != name

    async def asks() -> bool:
        return bool((await walk("GET", f"/executions/{again}", 200))["questions"])

    await until(asks)
    await walk("POST", f"/executions/{again}/resume", 200, {"answers": {"approve": {"yes": True}}, "wait": 30})
    assert (await walk("GET", f"/executions/{again}/result", 200))["output"]["primary_result"] == 21
    assert (await walk("GET", f"/executions/{name}/result", 200))["output"]["primary_result"] == 0
    waiting = await walk(
        "POST", "/executions", 202, {"workflow": "double", "input": {"n": 1}, "options": {"delay": "1h"}}
    )
    later = waiting["execution_id"]
    assert (await walk("POST", f"/executions/{later}/pause", 200, {"reason": "not yet"}))["moved"] is True
    assert (await walk("POST", f"/executions/{later}/cancel", 200, {"undo": True}))["moved"] is True
    assert (await walk("POST", f"/executions/{later}/cancel", 200))["moved"] is False
    assert (await walk("POST", f"/executions/{name}/clean-up", 200))["moved"] is True


async def _agents(walk: Walk) -> None:
    ids = [
        (await walk("POST", "/agents", 201, {"name": name, "capabilities": ["talk"]}))["id"] for name in ("Ada", "Bob")
    ]
    assert (await walk("GET", f"/agents/{ids[0]}", 200))["name"] == "Ada"
    assert len((await walk("GET", "/agents?capability=talk", 200))["agents"]) == 2
    made = await walk("POST", "/handoffs", 201, {"source_agent_id": ids[0], "target_agent_id": ids[1]})
    assert (await walk("GET", f"/handoffs/{made['id']}", 200))["target"] == ids[1]
    assert len((await walk("GET", f"/handoffs?source={ids[0]}", 200))["handoffs"]) == 1


async def _talks(walk: Walk) -> None:
    session = (await walk("POST", "/sessions", 201, {"user_id": "ada", "mode": "coding"}))["id"]
    await walk("PATCH", f"/sessions/{session}", 200, {"preferences": {"tone": "brief"}})
    assert (await walk("GET", f"/sessions/{session}", 200))["preferences"] == {"tone": "brief"}
    assert len((await walk("GET", "/sessions?user_id=ada&status=active", 200))["sessions"]) == 1
    assert (await walk("PUT", f"/sessions/{session}/state", 200, {"state": {"at": 1}, "expected": 0}))["revision"] == 1
    assert (await walk("GET", f"/sessions/{session}/state", 200))["state"] == {"at": 1}
    talk = (await walk("POST", f"/sessions/{session}/conversations", 201, {"title": "Plans"}))["id"]
    assert len((await walk("GET", f"/sessions/{session}/conversations", 200))["conversations"]) == 1
    said = {"messages": [{"role": "user", "content": "Where is the tea?"}, {"role": "assistant", "content": "There."}]}
    assert len((await walk("POST", f"/conversations/{talk}/messages", 201, said))["messages"]) == 2
    assert len((await walk("GET", f"/conversations/{talk}/messages?limit=1", 200))["messages"]) == 1
    assert len((await walk("GET", f"/sessions/{session}/messages?words=tea", 200))["messages"]) == 1
    topic = await walk("POST", f"/conversations/{talk}/topics", 201, {"topic": "tea", "switch": True})
    assert (await walk("GET", f"/conversations/{talk}/topics", 200))["active"]["id"] == topic["id"]
    assert (await walk("PUT", f"/conversations/{talk}/topic", 200, {"topic": ""}))["topic_id"] is None
    changed = await walk("PATCH", f"/conversations/{talk}/context", 200, {"context": {"room": "kitchen"}})
    assert changed["context"] == {"room": "kitchen"} == (await walk("GET", f"/conversations/{talk}", 200))["context"]
    assert (await walk("GET", f"/sessions/{session}/metrics", 200))["messages"] == 2
    assert (await walk("POST", f"/conversations/{talk}/end", 200))["ended_at"] is not None
    whose = "user=ada"
    memory = (await walk("POST", f"/memory?{whose}", 201, {"content": "She likes tea.", "tags": ["taste"]}))["id"]
    assert (await walk("PATCH", f"/memory/{memory}?{whose}", 200, {"relevance": 0.9}))["relevance"] == 0.9
    assert (await walk("GET", f"/memory/{memory}?{whose}", 200))["content"] == "She likes tea."
    assert len((await walk("GET", f"/memory?{whose}&query=tea&tag=taste&type=factual", 200))["memories"]) == 1
    await walk("DELETE", f"/memory/{memory}?{whose}", 204)
    assert (await walk("DELETE", f"/memory?{whose}&level=user", 200))["forgotten"] == 0
    assert (await walk("POST", f"/sessions/{session}/end", 200))["status"] == "ended"
    assert (await walk("POST", f"/sessions/{session}/restore", 200))["status"] == "active"
    await walk("DELETE", f"/sessions/{session}", 204)


async def _firing(walk: Walk) -> None:
    daily = {"cron": "0 7 * * *", "timezone": "Europe/Berlin"}
    made = {"name": "daily", "workflow": "double", "definition": daily, "input": {"n": 1}}
    await walk("POST", "/schedules", 201, made)
    assert len((await walk("GET", "/schedules?workflow=double&enabled=true", 200))["schedules"]) == 1
    assert len((await walk("GET", "/schedules/daily/upcoming?n=3", 200))["upcoming"]) == 3
    assert (await walk("PATCH", "/schedules/daily", 200, {"input": {"n": 2}}))["input"] == {"n": 2}
    assert (await walk("POST", "/schedules/daily/run", 200))["outcome"] == "fired"
    assert len((await walk("GET", "/schedules/daily/firings", 200))["firings"]) == 1
    assert (await walk("POST", "/schedules/daily/disable", 200))["enabled"] is False
    assert (await walk("POST", "/schedules/daily/enable", 200))["next_at"] is not None
    assert (await walk("GET", "/schedules/daily", 200))["definition"]["timezone"] == "Europe/Berlin"
    await walk("DELETE", "/schedules/daily", 204)
    hook = {"type": "webhook", "secret": "secret://hook", "header": "X-Signature", "input": {"n": "{{ event.body.n }}"}}
    await walk("POST", "/triggers", 201, {"name": "called", "workflow": "double", "definition": hook})
    assert (await walk("GET", "/triggers/called", 200))["kind"] == "webhook"
    assert len((await walk("GET", "/triggers?kind=webhook", 200))["triggers"]) == 1
    body = b'{"n": 5}'
    signed = {
        "X-Signature": hmac.new(b"swordfish", body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    first = await walk("POST", "/hooks/called", 202, content=body, headers=signed)
    again = await walk("POST", "/hooks/called", 202, content=body, headers=signed)
    assert first["outcome"] == "fired" and (again["execution_id"], again["duplicate"]) == (first["execution_id"], True)
    await walk("POST", "/hooks/called", 403, content=body + b" ", headers=signed)
    assert len((await walk("GET", "/triggers/called/firings", 200))["firings"]) == 1
    assert (await walk("POST", "/triggers/called/disable", 200))["enabled"] is False
    assert (await walk("POST", "/triggers/called/enable", 200))["enabled"] is True
    await walk("DELETE", "/triggers/called", 204)


async def _system(walk: Walk) -> None:
    assert (await walk("GET", "/metrics?range=last_7_days&metric=execution_count&by=hour", 200))["execution_count"] >= 5
    assert (await walk("GET", "/metrics/workflows/double?version=1", 200))["execution_count"] >= 5
    assert (await walk("GET", "/metrics/agents/Ada?timezone=Europe/Berlin", 200))["subject"]["agent"]
    assert (await walk("GET", "/health", 200))["status"] in ("healthy", "degraded")
    assert "isolated" in (await walk("GET", "/capabilities", 200))["modes"]
    assert (await walk("GET", "/instance", 200))["accepting"]
    assert "offline" in [each["name"] for each in (await walk("GET", "/models", 200))["models"]]
    assert (await walk("GET", "/tools?query=read a text file&limit=3", 200))["tools"][0]["name"] == "text.read"
    assert (await walk("GET", "/health/live", 200))["status"] == "alive"
    assert (await walk("GET", "/health/ready", 200))["status"] == "ready"


# -- what holds everywhere ---------------------------------------------------------------------------------------------


async def test_a_start_under_the_same_key_is_the_same_execution_and_another_body_conflicts(walk: Walk) -> None:
    await walk("POST", "/workflows", 201, {"source": ASKING})
    body, key = {"workflow": "asking", "input": {"n": 2}}, {"Idempotency-Key": "once"}
    first = await asyncio.gather(*(walk("POST", "/executions", 202, body, headers=key) for _ in range(6)))
    assert len({each["execution_id"] for each in first}) == 1
    other = await walk("POST", "/executions", 409, {**body, "input": {"n": 3}}, headers=key)
    assert other["error"]["code"] == "conflict"
    many = {"workflow": "asking", "inputs": [{"n": 1}, {"n": 1}], "name": "two"}
    batches = await asyncio.gather(*(walk("POST", "/batches", 202, many, headers=key) for _ in range(4)))
    assert len({each["batch_id"] for each in batches}) == 1
    listed = await walk("GET", f"/executions?batch_id={batches[0]['batch_id']}", 200)
    assert len(listed["executions"]) == 2
    await walk("POST", "/batches", 409, {**many, "inputs": [{"n": 1}]}, headers=key)


async def test_a_wrong_answer_is_told_where_it_is_wrong_and_nothing_is_lost(walk: Walk) -> None:
    await walk("POST", "/workflows", 201, {"source": ASKING})
    asked = await walk("POST", "/executions", 200, {"workflow": "asking", "options": {"mode": "sync"}})
    name = asked["execution_id"]
    for wrong in ({"yes": "perhaps"}, {"no": True}, {"approve": {"yes": 3}}, 7, {"elsewhere": {"yes": True}}):
        error = (await walk("POST", f"/executions/{name}/resume", 422, {"answers": wrong}))["error"]
        assert error["details"]["at"] == "approve" and error["details"]["problems"], error
    assert await walk("GET", f"/executions/{name}", 200) == asked
    done = await walk("POST", f"/executions/{name}/resume", 200, {"answers": {"yes": True}})
    assert done["status"] == "completed"
    late = await walk("POST", f"/executions/{name}/resume", 409, {"answers": {"yes": True}})
    assert late["error"]["code"] == "illegal_move"


@pytest.mark.req("M9")
@pytest.mark.parametrize(
    "path", ["../x", "../../etc/passwd", "/etc/passwd", "x.yaml", "file:///etc/passwd", "~/x", "a/b", "..\\x", ""]
)
async def test_workflows_are_never_read_from_paths(walk: Walk, tmp_path: Path, path: str) -> None:
    (tmp_path / "x.yaml").write_text(json.dumps(DOUBLE), encoding="utf-8")
    using = {**DOUBLE, "nodes": {"twice": {"use": path or "./x.yaml", "with": {"n": 1}}}}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/executions", {"workflow": path}),
        ("/executions/dry-run", {"workflow": path}),
        ("/batches", {"workflow": path, "inputs": [{}]}),
        ("/workflows", {"source": path}),
        ("/workflows", {"source": using}),
        ("/workflows", {"source": json.dumps(using)}),
        ("/schedules", {"name": "s", "workflow": path, "definition": {"every": "1h"}}),
        ("/triggers", {"name": "t", "workflow": path, "definition": {"type": "webhook", "secret": "secret://hook"}}),
    ]
    for where, body in bodies:
        error = (await walk("POST", where, 422, body))["error"]
        assert error["code"] == "invalid_input" and "root:" not in json.dumps(error)


async def test_what_a_route_does_not_take_is_refused_in_the_form_of_errors(walk: Walk) -> None:
    client = walk.client
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("GET", "/executions?nonsense=1", {}, 422, "invalid_input"),
        ("GET", "/executions?limit=0", {}, 422, "invalid_input"),
        ("GET", "/executions?cursor=abc", {}, 400, "invalid_cursor"),
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", f"/executions/{'x' * 256}", {}, 422, "invalid_input"),
        ("GET", "/executions/a%00b", {}, 422, "invalid_input"),
        ("PATCH", "/executions", {}, 405, "method_not_allowed"),
        ("GET", "/executions", {"headers": {"Accept": "text/html"}}, 406, "not_acceptable"),
        (
            "POST",
            "/executions",
            {"content": b"a: 1", "headers": {"Content-Type": "text/yaml"}},
            415,
            "unsupported_media_type",
        ),
        ("POST", "/executions", {"json": {"workflow": "double", "strange": 1}}, 422, "invalid_input"),
        ("POST", "/executions", {"json": {"workflow": "double", "options": {"mode": "soon"}}}, 422, "invalid_input"),
        ("POST", "/executions", {"json": {"workflow": "none_such"}}, 404, "workflow_not_found"),
    ]
    for method, path, more, status, code in cases:
        answer = await client.request(method, f"/api/v1{path}", **more)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (path, answer.text)
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
    refused = await client.request("PATCH", "/api/v1/executions")
    assert refused.headers["allow"] == "GET, HEAD, POST"


async def test_head_answers_as_get_without_a_body(walk: Walk) -> None:
    head, whole = [await each for each in (walk.client.head("/api/v1/models"), walk.client.get("/api/v1/models"))]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert (await walk.client.head("/api/v1/executions/none")).status_code == 404


async def test_a_change_for_another_version_than_the_one_that_was_read_is_refused(walk: Walk) -> None:
    await walk("POST", "/workflows", 201, {"source": DOUBLE})
    read = await walk.client.get("/api/v1/workflows/double")
    mine = {"If-Match": read.headers["etag"]}
    await walk("PUT", "/workflows/double", 200, {"updates": {"title": "Two times"}}, headers=mine)
    late = await walk("PUT", "/workflows/double", 409, {"updates": {"title": "Twofold"}}, headers=mine)
    assert late["error"]["code"] == "conflict"


@pytest.mark.req("M9")
async def test_roles_hold_at_every_operation_that_changes_something(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", server={"worker": False, "limits": MANY})
    made = application(settings)
    async with made.api.router.lifespan_context(made.api):

        async def verify(token: str) -> Principal:
            return Principal(id=token, name=token, role="viewer")

        made.api.state.doors.verify = verify
        transport = httpx2.ASGITransport(app=made, raise_app_exceptions=False)
        headers = {"Authorization": "Bearer someone"}
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
            for path, method, body in _changing(made.api.openapi()):
                answer = await client.request(method, re.sub(r"\{[^}]+\}", "x", path), json=body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), (
                    method,
                    path,
                )


BODIES: dict[str, Any] = {
    "Start": {"workflow": "double"},
    "StartBatch": {"workflow": "double", "inputs": [{}]},
    "Create": {"source": DOUBLE},
    "Update": {"updates": {"title": "x"}},
    "Fork": {"at": "x"},
    "Register": {"name": "x"},
    "CreateHandoff": {"source_agent_id": "x", "target_agent_id": "y"},
    "Rollback": {"version": 1},
    "SaveState": {"state": {}},
    "Context": {"context": {}},
    "AddMessages": {"messages": [{"role": "user", "content": "x"}]},
    "NewTopic": {"topic": "x"},
    "Remember": {"content": "x"},
    "CreateSchedule": {"name": "x", "workflow": "x", "definition": {"every": "1h"}},
    "CreateTrigger": {"name": "x", "workflow": "x", "definition": {"type": "webhook", "secret": "secret://hook"}},
}
READING = ("/dry-run", "/validate")


def _changing(document: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """The operations that change something, each with a body that fits."""
    found = list[tuple[str, str, Any]]()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "get" or path.startswith("/hooks") or path.endswith(READING):
                continue
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            name = next((each.rpartition("/")[2] for each in re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema))), "")
            query = "?level=user" if (method, path) == ("delete", "/api/v1/memory") else ""
            found.append((path + query, method.upper(), BODIES.get(name, {})))
    return found


def test_the_page_tells_every_code_with_its_status_and_no_other() -> None:
    page = (HOUSE / "docs" / "http.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE))
    assert {code: int(status) for code, status in rows.items()} == {code: status_of(code) for code in ERROR_CODES}
    assert set(STATUS) <= set(ERROR_CODES)


def test_the_page_tells_every_operation_of_the_document_and_no_other() -> None:
    page = (HOUSE / "docs" / "http.md").read_text(encoding="utf-8")
    told = {
        (method, path)
        for method, path in re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+?)` \|", page, re.MULTILINE)
    }
    document = application(Settings()).api.openapi()["paths"]
    known = {(method.upper(), path.removeprefix("/api/v1")) for path, methods in document.items() for method in methods}
    assert told == known
