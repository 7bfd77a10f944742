"""The doors together: what one of them does, the others see, by the same tokens and in the same log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from cogwork.identity.tokens import Tokens
from cogwork.server.asgi import application
from cogwork.settings import Settings
from tests.asgi import BASE, client_of

ASKS = """
cogwork: v1
name: asks
input: {who: {type: string}}
nodes:
  ask: {type: human, ask: "May {{ input.who }} <b>go</b>?", form: {go: {type: boolean}}}
  told: {type: transform, set: {text: "# {{ input.who }}", may: "{{ ask.go }}"}}
"""
PAGE = {"Accept": "text/html", "Origin": BASE}


@asynccontextmanager
async def doors(folder: Path, **server: Any) -> AsyncIterator[tuple[Any, httpx2.AsyncClient]]:
    """The doors, with a worker beside them, and a client."""
    (folder / "asks.yaml").write_text(ASKS)
    settings = Settings(state_dir=folder / "state", workflows=[folder], server=server)
    made = application(settings)
    async with client_of(made, timeout=60) as client:
        yield made.api.state.doors, client


async def _bearer(doors: Any, role: Any) -> dict[str, str]:
    text, _ = await Tokens(doors.engine.parts.records).create(f"a {role}", role, expires_in=3600)
    return {"Authorization": f"Bearer {text}"}


async def _asked(client: httpx2.AsyncClient, headers: dict[str, str]) -> str:
    """An execution that asks a person; its id."""
    body = {"workflow": "asks", "input": {"who": "Ann"}, "wait": 30}
    answer = await client.post("/api/v1/executions", json=body, headers=headers)
    assert answer.json()["status"] == "paused", answer.text
    return str(answer.json()["execution_id"])


@pytest.mark.req("X3", "X11", "M10")
async def test_what_is_begun_over_http_is_answered_there_and_told_in_every_form(tmp_path: Path) -> None:
    async with doors(tmp_path) as (house, client):
        operator = await _bearer(house, "operator")
        id = await _asked(client, operator)
        given = {"answers": {"ask": {"go": True}}, "wait": 30}
        ended = await client.post(f"/api/v1/executions/{id}/resume", json=given, headers=operator)
        assert ended.status_code == 200, ended.text
        await house.engine.parts.dispatch.wait(id, 30)
        at = f"/api/v1/executions/{id}/result"
        record = await client.get(at, headers=operator)
        assert record.json()["output"]["primary_result"] == {"text": "# Ann", "may": True}
        found = {}
        for form in ("text", "markdown", "html", "xml", "yaml"):
            answer = await client.get(at, params={"format": form}, headers=operator)
            assert answer.status_code == 200, answer.text
            found[form] = answer
        assert yaml.safe_load(found["yaml"].text)["status"] == "completed"
        assert found["html"].headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in found["html"].headers["content-security-policy"]
        chosen = await client.get(at, headers={**operator, "Accept": "application/xml, application/json;q=0.1"})
        assert chosen.headers["content-type"].startswith("application/xml")
        refused = await client.get(at, headers={**operator, "Accept": "image/png"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (406, "not_acceptable")


@pytest.mark.req("M9")
async def test_a_viewer_who_cancels_is_refused_at_every_door_and_it_is_written_down(tmp_path: Path) -> None:
    async with doors(tmp_path) as (house, client):
        id = await _asked(client, await _bearer(house, "operator"))
        viewer = await _bearer(house, "viewer")
        over_http = await client.post(f"/api/v1/executions/{id}/cancel", json={}, headers=viewer)
        page = await client.post(f"/executions/{id}/cancel", headers={**viewer, **PAGE})
        call = {"name": "cancel_execution", "arguments": {"execution_id": id}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message["params"] = {**call, "_meta": meta}
        head = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "cancel_execution",
        }
        over_mcp = await client.post("/mcp", json=message, headers={**viewer, **head})
        assert [over_http.status_code, page.status_code] == [403, 403]
        assert "permission_denied" in over_mcp.text
        assert (await house.engine.get_execution_status(id))["status"] == "paused"
        entries = (await house.audit.entries(outcome="denied")).items
        assert sorted((each.door, each.target) for each in entries) == [("http", id), ("mcp", id), ("page", id)]


@pytest.mark.req("M9")
async def test_who_signs_in_with_the_link_gets_a_token_that_ends_with_signing_out(tmp_path: Path) -> None:
    async with doors(tmp_path) as (house, client):
        link = f"/sign-in?code={house.sign_in_code()}"
        came = await client.get(link, headers=PAGE)
        assert came.status_code == 303
        cookie = {"cookie": came.headers["set-cookie"].partition(";")[0]}
        assert "HttpOnly" in came.headers["set-cookie"] and "SameSite=strict" in came.headers["set-cookie"]
        client.cookies.clear()
        assert (await client.get(link, headers=PAGE)).status_code == 401
        assert (await client.get("/executions", headers={**PAGE, **cookie})).status_code == 200
        left = await client.post("/sign-out", headers={**PAGE, **cookie})
        assert left.status_code == 303
        client.cookies.clear()
        house.verify = Tokens(house.engine.parts.records).verify
        assert (await client.get("/api/v1/executions", headers=cookie)).status_code == 401
        done = (await house.audit.entries(verb="tokens.write", outcome="done")).items
        assert len(done) == 2
        assert json.dumps([each.to_dict() for each in done]).count(cookie["cookie"].partition("=")[2]) == 0


@pytest.mark.req("M8", "E6")
async def test_figures_are_told_to_whoever_shows_a_token_under_any_name(tmp_path: Path) -> None:
    async with doors(tmp_path) as (house, client):
        scraper = {**await _bearer(house, "viewer"), "Host": "10.1.2.3:4020"}
        await _asked(client, await _bearer(house, "operator"))
        assert (await client.get("/metrics", headers={"Host": "10.1.2.3:4020"})).status_code == 401
        figures = await client.get("/metrics", headers=scraper)
        assert figures.headers["content-type"].startswith("text/plain")
        assert "cogwork_executions_started_total" in figures.text
        assert (await client.get("/api/v1/executions", headers=scraper)).status_code == 403


@pytest.mark.req("M9")
async def test_tokens_are_not_guessed_without_end_where_people_sign_in(tmp_path: Path) -> None:
    async with doors(tmp_path, limits={"strangers": 3}) as (_, client):
        tried = [await client.post("/sign-in", data={"token": f"cw_{n}"}, headers=PAGE) for n in range(5)]
        assert [each.status_code for each in tried] == [401, 401, 401, 429, 429]
        assert (await client.get("/health/ready")).status_code == 200
