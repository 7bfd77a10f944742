"""LangGraph's server asks for the same tokens as every other door, where the settings want that, and else for none."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from httpx import HTTPStatusError

from tests import servers
from tests.servers import HOUSE, SERVED, Server

if why := servers.missing():
    pytest.skip(why, allow_module_level=True)

from langgraph_sdk import get_client
from langgraph_sdk.auth import Auth
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from cogwork.identity.audit import Audit
from cogwork.identity.roles import ROLES, Role
from cogwork.identity.served import VERBS, Guard, auth_of, shown
from cogwork.identity.tokens import Tokens
from cogwork.records.database import Records, opened

pytestmark = [pytest.mark.req("M9", "D6"), pytest.mark.timeout(900)]
ACTIONS = sorted(VERBS)


# -- the rules, without a server ---------------------------------------------------------------------------------


class House:
    """What the guard needs of cogwork."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def records(self) -> Records:
        return self._records


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path / "records.sqlite") as made:
        yield made


async def token(records: Records, role: Role) -> str:
    return (await Tokens(records).create(f"the {role}", role, expires_in=None))[0]


class User(dict[str, Any]):
    """A user as the server hands it on: fields are items and attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def context(user: Any, resource: Any, action: Any) -> Any:
    user = User(user) if isinstance(user, dict) else user
    return Auth.types.AuthContext(permissions=[], user=user, resource=resource, action=action)


async def user(guard: Guard, text: str | None, path: str = "/threads", method: str = "POST") -> Any:
    headers = {b"authorization": f"Bearer {text}".encode()} if text is not None else {}
    return await guard.user(path, method, headers)


async def allowed(guard: Guard, who: Any) -> set[str]:
    """The actions that a user may do."""
    found = set()
    for resource, action in ACTIONS:
        try:
            await guard.allow(context(who, resource, action), {"thread_id": "t-1"})
        except Auth.exceptions.HTTPException as refusal:
            assert refusal.status_code == 403
        else:
            found.add(f"{resource}.{action}")
    return found


READS = {f"{r}.{a}" for r, a in ACTIONS if a in ("read", "search", "get", "list_namespaces")}


async def test_each_role_may_do_on_the_server_what_it_may_do_elsewhere(records: Records) -> None:
    guard = Guard(House(records), on=True)
    may = {role: await allowed(guard, await user(guard, await token(records, role))) for role in ROLES}
    assert may["viewer"] == READS
    runs = {"threads.create", "threads.create_run", "threads.update", "store.put", "store.delete"}
    assert may["operator"] == READS | runs
    authored = {f"{what}.{how}" for what in ("assistants", "crons") for how in ("create", "update", "delete")}
    assert may["author"] == READS | runs | authored
    assert may["admin"] == {f"{r}.{a}" for r, a in ACTIONS}
    for role in ROLES:
        with_unknown = context(await user(guard, await token_again(records, role)), "threads", "invented")
        if role == "admin":
            await guard.allow(with_unknown, {})
        else:
            with pytest.raises(Auth.exceptions.HTTPException):
                await guard.allow(with_unknown, {})


async def token_again(records: Records, role: Role) -> str:
    tokens = Tokens(records)
    return (await tokens.rotate((await tokens.named(f"the {role}")).id))[0]


def test_every_action_that_the_server_has_is_one_of_our_verbs() -> None:
    on: Any = Auth().on
    actions = [
        (resource, getattr(getattr(on, resource), name).action)
        for resource in ("assistants", "threads", "crons", "store")
        for name in dir(getattr(on, resource))
        if not name.startswith("_") and isinstance(getattr(getattr(getattr(on, resource), name), "action", None), str)
    ]
    assert len(actions) > 15 and set(actions) <= set(VERBS), set(actions) - set(VERBS)


async def test_what_changes_something_and_what_is_refused_is_in_the_audit_log(records: Records) -> None:
    guard = Guard(House(records), on=True)
    viewer = await user(guard, await token(records, "viewer"))
    operator = await user(guard, await token(records, "operator"))
    await guard.allow(context(operator, "threads", "create_run"), {"thread_id": "t-1", "kwargs": {"input": "canary"}})
    await guard.allow(context(viewer, "threads", "read"), {"thread_id": "t-1"})
    with pytest.raises(Auth.exceptions.HTTPException, match="takes the role operator"):
        await guard.allow(context(viewer, "threads", "update"), {"thread_id": "t-1"})
    entries = await Audit(records).entries()
    assert [(e.principal_name, e.verb, e.outcome, e.target, e.door, dict(e.details)) for e in entries] == [
        ("the viewer", "executions.move", "denied", "thread_id t-1", "langgraph", {"action": "threads.update"}),
        ("the operator", "executions.start", "begun", "thread_id t-1", "langgraph", {"action": "threads.create_run"}),
    ]


async def test_other_agents_protocols_take_the_role_that_starts_runs(records: Records) -> None:
    guard = Guard(House(records), on=True)
    viewer, operator = await token(records, "viewer"), await token(records, "operator")
    for path in ("/a2a/agent", "/mcp", "/mcp/", "/prefix/a2a/agent"):
        assert (await user(guard, operator, path))["role"] == "operator"
        with pytest.raises(Auth.exceptions.HTTPException) as caught:
            await user(guard, viewer, path)
        assert caught.value.status_code == 403


async def test_somebody_whom_another_way_let_in_may_look_only(records: Records) -> None:
    studio = Auth.types.StudioUser("studio")
    assert await allowed(Guard(House(records), on=True), studio) == READS


async def test_without_the_setting_everything_is_open_and_no_database_is_opened() -> None:
    class NoHouse:
        def records(self) -> Records:
            raise AssertionError("the records were opened")

    guard = Guard(NoHouse(), on=False)
    who = await user(guard, None, "/a2a/agent")
    assert (who["identity"], who["role"]) == ("local", "admin")
    assert len(await allowed(guard, who)) == len(ACTIONS)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({b"authorization": b"Bearer abc"}, "abc"),
        ({b"authorization": b"bearer  abc "}, "abc"),
        ({b"authorization": b"Basic abc"}, ""),
        ({b"authorization": b"\xff\xfe"}, ""),
        ({b"x-api-key": b"abc"}, "abc"),
        ({b"authorization": b"Bearer abc", b"x-api-key": b"other"}, "abc"),
        ({}, ""),
    ],
)
def test_a_token_is_shown_as_a_bearer_token_or_as_a_key(headers: dict[bytes, bytes], text: str) -> None:
    assert shown(headers) == text


def test_langgraph_json_names_the_guard_and_lets_nobody_past_it() -> None:
    named = json.loads((HOUSE / "langgraph.json").read_text())["auth"]
    from cogwork.identity import langgraph_auth

    assert named == {"path": "./cogwork/identity/langgraph_auth.py:auth", "disable_studio_auth": True}
    assert isinstance(langgraph_auth.auth, Auth)
    assert isinstance(auth_of(House(None), on=True), Auth)  # type: ignore[arg-type]


# -- a real server -----------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """``langgraph dev`` with the guard of cogwork's own langgraph.json."""
    source = folder / "source"
    shutil.copytree(SERVED, source, ignore=shutil.ignore_patterns("__pycache__", ".langgraph_api"))
    config = json.loads((source / "langgraph.json").read_text())
    config["auth"] = {**json.loads((HOUSE / "langgraph.json").read_text())["auth"]}
    config["auth"]["path"] = str(HOUSE / config["auth"]["path"])
    (source / "langgraph.json").write_text(json.dumps(config))
    started = Server(folder, source, **environment).start()
    try:
        yield started
    finally:
        started.stop()


def client(server: Server, text: str | None) -> LangGraphClient:
    return get_client(url=server.url, api_key=text, timeout=servers.READY_SECONDS)


def test_a_served_graph_is_run_by_who_has_the_role_and_looked_at_by_who_has_a_token(tmp_path: Path) -> None:
    with opened(tmp_path / "state" / "records.sqlite") as records:
        made = {role: asyncio.run(token(records, role)) for role in ROLES}
    with serving(tmp_path, COGWORK_LANGGRAPH_AUTH="true") as server:
        asyncio.run(_used(server, made))
        for headers in ({}, {"x-auth-scheme": "langsmith"}, {"authorization": "Bearer cw_no"}, {"x-api-key": "lsv2_x"}):
            answer = httpx2.post(f"{server.url}/assistants/search", json={}, headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"detail": "The token is not valid"}), headers
        assert made["viewer"].split("_")[2] not in server.said()
    with opened(tmp_path / "state" / "records.sqlite") as records:
        asyncio.run(_audited(records))


async def _used(server: Server, made: dict[Role, str]) -> None:
    async with client(server, made["operator"]) as operator, client(server, made["viewer"]) as viewer:
        thread = (await operator.threads.create())["thread_id"]
        done = await operator.runs.wait(thread, "lanes", input={"word": "hi", "times": 1})
        assert isinstance(done, dict) and done["run"]["status"] == "completed"
        assert (await viewer.threads.get_state(thread))["values"]["run"]["status"] == "completed"
        assert await viewer.assistants.search()
        for refused in (
            viewer.threads.create(),
            viewer.runs.wait(thread, "lanes", input={}),
            viewer.runs.wait(None, "lanes", input={}),
            viewer.threads.update_state(thread, {}),
            viewer.crons.create("lanes", schedule="0 0 1 1 *", input={}),
            operator.assistants.create("lanes"),
            operator.threads.delete(thread),
        ):
            with pytest.raises((APIStatusError, HTTPStatusError)) as caught:
                await refused
            assert caught.value.response.status_code == 403, caught.value


async def _audited(records: Records) -> None:
    audit = Audit(records)
    entries = (await audit.entries(limit=1000)).items
    assert {"the viewer", "the operator"} == {entry.principal_name for entry in entries}
    denied = [entry.details["action"] for entry in entries if entry.outcome == "denied"]
    assert set(denied) >= {
        "threads.create",
        "threads.create_run",
        "threads.update",
        "threads.delete",
        "assistants.create",
    }
    assert (await audit.verify_chain()).broken is None
