"""The HTTP door: what each answer is, and what every request goes through first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cogwork.errors import EngineError
from cogwork.identity.roles import Principal
from cogwork.identity.tokens import Tokens
from cogwork.server.asgi import Application, application
from cogwork.settings import Settings
from tests.asgi import client_of

pytestmark = pytest.mark.req("M10")


@asynccontextmanager
async def served(folder: Path, **server: Any) -> AsyncIterator[tuple[Application, httpx2.AsyncClient]]:
    """The application with its doors open, and a client of it."""
    settings = Settings(state_dir=folder / "state", workflows=[folder], server={"worker": False, **server})
    made = application(settings)
    async with client_of(made) as client:
        yield made, client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that needs no token."""
    async with served(tmp_path, auth="none") as (_, made):
        yield made


async def test_an_error_has_the_documents_form_and_the_id_of_its_request(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/executions/none-such", headers={"X-Request-ID": "asked-for-1"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("execution_not_found", "asked-for-1")
    assert answer.headers["x-request-id"] == "asked-for-1"


@pytest.mark.req("M9")
@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org", "", "localhost:4020:1"])
async def test_another_host_is_refused(client: httpx2.AsyncClient, host: str) -> None:
    answer = await client.get("/api/v1/executions", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


@pytest.mark.req("M9")
@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "http://127.0.0.1:4021", "https://127.0.0.1:4020"]
)
async def test_a_page_of_another_origin_is_refused_and_gets_no_headers_of_cors(
    client: httpx2.AsyncClient, origin: str
) -> None:
    answer = await client.get("/api/v1/executions", headers={"Origin": origin})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.req("M9")
async def test_an_allowed_origin_may_call_and_is_told_so(tmp_path: Path) -> None:
    page = "https://ops.example.org"
    async with served(tmp_path, auth="none", allowed_origins=[page]) as (_, client):
        asked = await client.options("/api/v1/executions", headers={"Origin": page})
        answer = await client.get("/api/v1/executions", headers={"Origin": page})
    assert (asked.status_code, answer.status_code) == (204, 200)
    assert answer.headers["access-control-allow-origin"] == page


@pytest.mark.req("M9")
async def test_without_a_token_nothing_is_told_and_a_browser_is_sent_to_sign_in(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        program = await client.get("/api/v1/executions")
        person = await client.get("/executions?page=2", headers={"Accept": "text/html"})
        probe = await client.get("/health/ready", headers={"Host": "10.0.0.7:4020"})
    assert (program.status_code, program.json()["error"]["code"]) == (401, "unauthenticated")
    assert program.headers["www-authenticate"].startswith("Bearer")
    assert (person.status_code, person.headers["location"]) == (303, "/sign-in?next=%2Fexecutions")
    assert (probe.status_code, probe.json()) == (200, {"status": "ready"})


@pytest.mark.req("M9")
async def test_too_many_requests_of_one_principal_are_refused_and_others_are_served(tmp_path: Path) -> None:
    async def verify(token: str) -> Principal:
        if token not in ("one", "two"):
            raise EngineError("unauthenticated", "The token is not valid")
        return Principal(id=token, name=token, role="viewer")

    async with served(tmp_path, limits={"requests": 3, "strangers": 2}) as (made, client):
        made.api.state.doors.verify = verify

        async def asked(token: str) -> int:
            answer = await client.get("/api/v1/executions", headers={"Authorization": f"Bearer {token}"})
            return answer.status_code

        assert [await asked("one") for _ in range(4)] == [200, 200, 200, 429]
        assert await asked("two") == 200
        assert [await asked("guess") for _ in range(3)] == [401, 401, 429]


@pytest.mark.req("M9")
async def test_a_body_that_is_too_large_is_refused_before_anything_reads_it(tmp_path: Path) -> None:
    async with served(tmp_path, auth="none", limits={"body_bytes": 2000}) as (_, client):

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 1000

        declared = await client.post("/api/v1/executions", content=b"x" * 3000)
        told_piece_by_piece = await client.post("/api/v1/executions", content=pieces())
    assert [declared.status_code, told_piece_by_piece.status_code] == [413, 413]


async def _asked(client: httpx2.AsyncClient, token: str) -> int:
    answer = await client.get("/api/v1/executions", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


@pytest.mark.req("M9")
async def test_a_token_of_the_records_lets_in_until_it_expires_or_is_revoked(tmp_path: Path) -> None:
    async with served(tmp_path) as (made, client):
        tokens = Tokens(made.api.state.doors.engine.parts.records)
        good, token = await tokens.create("dashboard", "viewer", expires_in=3600)
        past, _ = await tokens.create("old", "viewer", expires_in=1e-6)
        assert await _asked(client, good) == 200
        assert [await _asked(client, each) for each in (past, good[:-1] + "x", "", "cw_x_y")] == [401, 401, 401, 401]
        made.api.state.doors.verify = tokens.verify
        await tokens.revoke(token.id)
        assert await _asked(client, good) == 401
