"""Canaries put through everything that is kept, and the search for them in files and databases."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cogwork
from cogwork import WorkflowEngine
from cogwork.sessions.records import NewMessage
from state.durable import Request
from state.errors import Fault

KEYS = {
    "KEY_ONE": base64.b64encode(b"1" * 32).decode(),
    "KEY_TWO": base64.b64encode(b"2" * 32).decode(),
}
WHERE = ("input", "result", "argument", "state", "error", "asked", "answered", "option", "reason", "context")
TALK = ("said", "remembered", "preferred", "saved", "noted", "scheduled", "spec")
CANARIES: Mapping[str, str] = {name: f"canary-{name}-Zq8Jw2Xv7Lk1" for name in (*WHERE, *TALK)}
SPEC: dict[str, Any] = {
    "cogwork": "v1",
    "name": "canaries",
    "input": {"text": {"type": "string"}},
    "nodes": {
        "look": {
            "type": "tool",
            "tool": "look",
            "args": {"at": "{{ input.text }}", "about": CANARIES["argument"]},
            "cache": "1h",
        },
        "large": {"type": "transform", "set": {"text": "{{ look.found }}", "more": CANARIES["state"] * 100}},
        "fails": {"type": "tool", "tool": "fails", "on_error": "skip", "args": {"at": "{{ look.found }}"}},
        "ask": {
            "type": "human",
            "ask": f"{CANARIES['asked']} {{{{ look.found }}}}?",
            "form": {"said": "string"},
            "depends_on": ["fails", "large"],
        },
        "told": {"type": "transform", "set": {"said": "{{ ask.said }}", "spec": CANARIES["spec"]}},
    },
    "output": {"said": "{{ told.said }}", "text": "{{ large.text }}", "given": "{{ input.text }}"},
}


async def look(at: str, about: str) -> dict[str, str]:
    """Find something."""
    return {"found": CANARIES["result"], "at": at}


async def fails(at: str) -> None:
    """Fail, with what it was given."""
    raise Fault("tool_error", f"{CANARIES['error']} of {at}", origin="tool", details={"said": CANARIES["error"]})


def tools() -> tuple[Any, ...]:
    """The tools of the workflow."""
    made = cogwork.tool(effect="read", description="Find.")(look)
    return made, cogwork.tool(effect="read", description="Fail.")(fails)


async def resting(engine: WorkflowEngine, *, mode: str = "async") -> str:
    """Put the canaries through the engine, up to the question of an execution; its id."""
    session = await engine.sessions.create(user_id="someone", preferences={"likes": CANARIES["preferred"]})
    await engine.sessions.save_state(session.id, {"held": CANARIES["saved"]})
    conversation = await engine.conversations.start(session.id)
    await engine.conversations.add(conversation.id, NewMessage(role="user", content=CANARIES["said"]))
    await engine.conversations.update_context(conversation.id, {"about": CANARIES["noted"]})
    await engine.memory(user="someone").add(CANARIES["remembered"], tags=["tag"])
    request = Request(id="r1", kind="pause", reason=CANARIES["reason"])
    await engine.parts.saver.requests.make("another-thread", request)
    await engine.create_workflow(source=SPEC)
    await engine.schedules.create("nightly", "canaries", {"cron": "0 3 * * *"}, input={"text": CANARIES["scheduled"]})
    execution = await engine.execute_workflow(
        "canaries",
        {"text": CANARIES["input"]},
        {"mode": mode, "metadata": {"of": CANARIES["option"]}, "trace": True, "idempotency_key": "once"},
        context={"who": CANARIES["context"]},
        session_id=session.id,
    )
    resting = await execution.wait(60)
    assert resting["status"] == "paused", resting
    return execution.id


async def goes_on(engine: WorkflowEngine, name: str) -> dict[str, Any]:
    """Answer its question; what came out at the end of the execution. Memory and conversation are as they were."""
    done = await (await engine.resume_execution(name, {"said": CANARIES["answered"]})).wait(60)
    assert done["status"] == "completed", done
    (remembered,) = await engine.memory(user="someone").entries()
    assert (await engine.memory(user="someone").add(CANARIES["remembered"])).id == remembered.id
    session = (await engine.sessions.list()).items[0]
    assert session.preferences == {"likes": CANARIES["preferred"]}
    (message,) = await engine.conversations.search(session.id, CANARIES["said"])
    assert message.content == CANARIES["said"]
    again = {"mode": "async", "idempotency_key": "once"}
    assert (await engine.execute_workflow("canaries", {"text": CANARIES["input"]}, again)).id == name
    return dict(done["output"]["primary_result"])


async def lived(engine: WorkflowEngine, *, mode: str = "async") -> dict[str, Any]:
    """All of it."""
    return await goes_on(engine, await resting(engine, mode=mode))


def forms(text: str) -> Iterator[bytes]:
    """What a text may look like in a file: as it is, as UTF-16, in hexadecimal, and in base64 at any offset."""
    raw = text.encode()
    yield raw
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield raw.hex().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : -4]


def shown(data: bytes, depth: int = 2) -> Iterator[bytes]:
    """The data, and what is compressed or in base64 within it."""
    yield data
    if depth:
        for found in re.finditer(rb"x[\x01\x5e\x9c\xda]", data):
            try:
                yield from shown(zlib.decompressobj().decompress(data[found.start() :], 1 << 24), depth - 1)
            except zlib.error:
                continue
        for found in re.finditer(rb"[A-Za-z0-9+/]{64,}={0,2}", data):
            yield base64.b64decode(found[0][: len(found[0]) // 4 * 4])


def leaks(data: bytes, canaries: Mapping[str, str] = CANARIES) -> set[str]:
    """The canaries that the data holds, by name."""
    found = set()
    for piece in shown(data):
        found |= {name for name, text in canaries.items() if any(form in piece for form in forms(text))}
    return found


def leaks_in(folder: Path) -> dict[str, set[str]]:
    """The canaries in the files of a folder, by file."""
    found = {str(path.relative_to(folder)): leaks(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    return {name: those for name, those in found.items() if those}


def dumped(url: str) -> bytes:
    """All rows of the schema and of its queue, as text."""
    import psycopg

    with psycopg.connect(url) as connection:
        own = connection.execute("select current_schema()").fetchone()
        assert own is not None
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in (%s, %s)",
            (own[0], f"{own[0]}_queue"),
        ).fetchall()
        pieces = [b""]
        for place, table in tables:
            with connection.cursor().copy(f'copy "{place}"."{table}" to stdout') as copied:
                pieces.extend(bytes(each) for each in copied)
    return b"".join(pieces)


def opened_bytea(data: bytes) -> bytes:
    """The dump with its columns of bytes as bytes."""
    return b"\n".join(
        [data, *(bytes.fromhex(found[1].decode()) for found in re.finditer(rb"\\\\x((?:[0-9a-f]{2})+)", data))]
    )
