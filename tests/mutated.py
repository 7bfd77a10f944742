"""Requests to the MCP server with something wrong in each: bytes, JSON, envelopes, arguments, headers, sessions.

``python -m tests.mutated --count 10000 --seed 1`` sends so many, and says how the server answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.mcp_door import MODERN, Served, house
from tests.test_engine import PLAIN

AT_ONCE = 8
SECONDS = 60.0
"""How long an answer may take on a loaded machine."""
FAULTS = ('"internal_error"', '"code":-32603', '"code":0')
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "mutant", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 2**63, 10**400, "", "\0", "é", "\ud800", "../../etc/passwd", "{{ input.x }}", "a" * 70_000,
    [], {}, [[]], {"": None}, ["x"] * 500, {"$ref": "#"}, {"__class__": "x"}, "cogwork://executions/../x", "NaN",
)  # fmt: skip
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tools/list", {}),
    ("tools/call", {"name": "list_workflows", "arguments": {"pattern": "*", "limit": 3}}),
    ("tools/call", {"name": "validate_workflow", "arguments": {"workflow": PLAIN}}),
    ("tools/call", {"name": "validate_workflow", "arguments": {"workflow": "cogwork: v1\nname: x\nnodes: {}\n"}}),
    ("tools/call", {"name": "check_execution_status", "arguments": {"execution_id": "ex-1"}}),
    ("tools/call", {"name": "execute_workflow", "arguments": {"workflow_name": "nothing", "input_data": {"n": 1}}}),
    ("tools/call", {"name": "execute_generated_workflow", "arguments": {"workflow": {"name": "x"}, "wait": 0}}),
    ("tools/call", {"name": "resume_execution", "arguments": {"execution_id": "ex-1", "answers": {"a": 1}}}),
    ("tools/call", {"name": "list_executions", "arguments": {"status": "failed", "cursor": None}}),
    ("tools/call", {"name": "workflow.plain", "arguments": {"n": "x"}, "requestState": "v1.x", "inputResponses": {}}),
    ("resources/list", {"cursor": "w:x"}),
    ("resources/read", {"uri": "cogwork://workflows/plain/schema"}),
    ("resources/read", {"uri": "cogwork://executions/ex-1/events?after=3"}),
    ("resources/templates/list", {}),
    ("completion/complete", {"ref": {"type": "ref/resource", "uri": "cogwork://workflows/{name}"},
                             "argument": {"name": "name", "value": "p"}}),
    ("server/discover", {}),
    ("ping", {}),
)  # fmt: skip


@dataclass
class Tally:
    """How the server answered: by status; and what it must not answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with something wrong at one of its places."""
    at = deepcopy(value)
    if not isinstance(at, dict | list) or not at:
        return chance.choice(JUNK)
    keys = list(at) if isinstance(at, dict) else list(range(len(at)))
    key = chance.choice(keys)
    match chance.randrange(6):
        case 0:
            at[key] = chance.choice(JUNK)
        case 1:
            del at[key]
        case 2 if isinstance(at, dict):
            at[str(chance.choice(JUNK))[:200]] = chance.choice(JUNK)
        case _:
            at[key] = mutated(at[key], chance)
    return at


def deep(levels: int) -> bytes:
    """JSON within JSON."""
    return b"[" * levels + b"]" * levels


def body(chance: random.Random, modern: bool) -> tuple[bytes, str, Any]:
    """The body of a request with something wrong, its method and its name."""
    method, params = deepcopy(chance.choice(CALLS))
    if modern:
        params["_meta"] = dict(META)
    message: Any = {"jsonrpc": "2.0", "id": chance.randrange(1000), "method": method, "params": params}
    for _ in range(chance.choice((1, 1, 2, 5))):
        message = mutated(message, chance)
    raw = json.dumps(message).encode()
    match chance.randrange(12):
        case 0:
            raw = raw[: chance.randrange(len(raw) + 1)]
        case 1:
            where = chance.randrange(len(raw) or 1)
            raw = raw[:where] + bytes([chance.randrange(256)]) + raw[where + 1 :]
        case 2:
            raw = chance.choice(
                (b"", b"null", b"[]", raw + raw, b"[" + raw + b"]", deep(200_000), b'{"a":' * 5000, b"\xff\xfe")
            )
    return raw, method, params.get("name") or params.get("uri")


def headers(chance: random.Random, modern: bool, session: str, method: str, name: Any) -> list[tuple[bytes, bytes]]:
    """The headers of a request; now and then one is wrong or missing."""
    found = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if modern:
        found |= {"mcp-protocol-version": MODERN, "mcp-method": method, **({"mcp-name": str(name)} if name else {})}
    else:
        found |= {"mcp-protocol-version": "2025-11-25", "mcp-session-id": session}
    if chance.random() < 0.15:
        key = chance.choice(list(found))
        if chance.random() < 0.3:
            del found[key]
        else:
            found[key] = chance.choice(("", "x", "2025-11-25", "v999", "*/*", "text/html", "..", "a" * 5000, "é"))
    return [(key.encode(), value.encode("utf-8", "replace")) for key, value in found.items()]


async def greeted(http: httpx2.AsyncClient, url: str) -> str:
    """A session of the protocol before 2026."""
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "mutant", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
    accept = {"accept": "application/json, text/event-stream"}
    session = (await http.post(url, json=message, headers=accept)).headers["mcp-session-id"]
    await http.post(
        url,
        json={"jsonrpc": "2.0", "method": "notifications/initialized"},
        headers={**accept, "mcp-session-id": session},
    )
    return str(session)


async def sent(served: Served, count: int, seed: int) -> Tally:
    """Send so many; how they were answered. What takes too long counts as bad."""
    tally, chance, left = Tally(), random.Random(seed), iter(range(count))
    async with served.http() as http:

        async def one(session: str) -> None:
            modern = chance.random() < 0.5
            raw, method, name = body(chance, modern)
            about = headers(chance, modern, session, method, name)
            verb = chance.choices(("POST", "PUT", "PATCH", "OPTIONS"), (96, 1, 1, 1))[0]
            try:
                async with asyncio.timeout(SECONDS):
                    answer = await http.request(verb, served.url, content=raw, headers=about)
            except (httpx2.TransportError, TimeoutError) as err:
                tally.bad.append(f"{err!r}: {raw[:300]!r} {about}")
                return
            tally.statuses[answer.status_code] += 1
            if answer.status_code >= 500 or "Traceback" in answer.text or "site-packages" in answer.text:
                tally.bad.append(f"{answer.status_code}: {raw[:300]!r} {about}: {answer.text[:300]}")
            if any(each in answer.text for each in FAULTS):
                tally.bad.append(f"a fault of ours: {raw[:600]!r}: {answer.text[:300]}")

        async def worker() -> None:
            session = await greeted(http, served.url)  # its own: no two requests of a session may have one id at a time
            for _ in left:
                await one(session)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return tally


async def main(count: int, seed: int) -> int:
    """Send so many, and say how the server answered; how many answers were bad."""
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder)) as home:
            await home.engine.create_workflow(source=PLAIN)
            async with home.served() as served:
                began = time.monotonic()
                tally = await sent(served, count, seed)
                seconds = time.monotonic() - began
    sys.stdout.write(
        f"{count} requests in {seconds:.1f} s: {dict(sorted(tally.statuses.items()))}; {len(tally.bad)} bad\n"
    )
    sys.stdout.writelines(f"{each}\n" for each in tally.bad[:20])
    return len(tally.bad)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(min(asyncio.run(main(given.count, given.seed)), 1))
