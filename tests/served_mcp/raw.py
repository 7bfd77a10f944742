"""An MCP server over its standard streams that misbehaves in the way of its first argument; needs nothing but Python.

``python raw.py WAY [FILE]``: every tool is called ``act`` and comes to harm in that way; ``ok`` comes to none. What the server
is told to give up, and every line of its life, is noted in the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WAY = sys.argv[1]
NOTES = Path(sys.argv[2]) if len(sys.argv) > 2 else None
ACT = {"name": "act", "description": "Acts.", "inputSchema": {"type": "object"}}


def note(line: str) -> None:
    """Leave a line for the test."""
    if NOTES is not None:
        with NOTES.open("a") as file:
            file.write(f"{line}\n")


def send(message: dict[str, Any]) -> None:
    """One message to the client."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(id: Any, result: dict[str, Any]) -> None:
    """The result of a request."""
    send({"id": id, "result": result})


def text(id: Any, words: str, **more: Any) -> None:
    """A result of one text."""
    answer(id, {"content": [{"type": "text", "text": words}], **more})


def deep(levels: int) -> Any:
    """A schema within a schema within a schema."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"x": schema}}
    return {"type": "object", **schema}


HOSTILE = {
    "fine": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
    "remote": {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}},
    "file": {"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}},
    "nowhere": {"type": "object", "properties": {"x": {"$ref": "#/$defs/none"}}},
    "circular": {"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"x": {"$ref": "#/$defs/a"}}},
    "slow": {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+(?=b)$"}}},
    "huge": {"type": "object", "description": "x" * 300_000},
    "nonsense": {"type": "object", "properties": {"x": {"type": "wish"}}},
}


def tools(cursor: str | None) -> dict[str, Any]:
    """The page of tools at the cursor."""
    match WAY:
        case "many":
            return {
                "tools": [{**ACT, "name": f"act{n:05}", "description": f"Acts as number {n}."} for n in range(10_000)]
            }
        case "endless-list":
            return {"tools": [{**ACT, "name": f"act{cursor}"}], "nextCursor": str(int(cursor or 0) + 1)}
        case "same-cursor":
            return {"tools": [ACT], "nextCursor": "again"}
        case "too-many":
            first = int(cursor or 0)
            page = [{**ACT, "name": f"act{n}"} for n in range(first, first + 5_000)]
            return {"tools": page, "nextCursor": str(first + 5_000)}
        case "twice":
            return {"tools": [ACT, ACT, {**ACT, "name": ""}, {**ACT, "name": "x" * 300}]}
        case "hostile":
            listed = [{"name": name, "inputSchema": schema} for name, schema in HOSTILE.items()]
            return {"tools": [*listed, {**ACT, "name": "out", "outputSchema": HOSTILE["remote"]}]}
        case "deep":
            return {"tools": [{**ACT, "inputSchema": deep(400)}]}
        case "bad-list":
            return {"tools": 7}
        case "untrue":
            return {"tools": [{**ACT, "annotations": {"readOnlyHint": True, "idempotentHint": True}}]}
        case "promises" | "promises-text":
            schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
            return {"tools": [{**ACT, "outputSchema": schema}]}
    return {"tools": [ACT]}


def act(id: Any, params: dict[str, Any]) -> None:
    """Come to harm in the way that was asked for."""
    match WAY:
        case "dies":
            sys.stderr.write("something broke inside\n")
            os._exit(3)
        case "killed":
            os.kill(os.getpid(), 9)
        case "stalls":
            note("stalled")
        case "garbage":
            sys.stdout.write('this is no message\n{"jsonrpc": "2.0", "id": \n[1, 2\n')
            sys.stdout.flush()
        case "garbage-first":
            sys.stdout.write("Starting the server …\n\n")
            text(id, "done all the same")
        case "garbage-flood":
            while True:
                sys.stdout.write("this is no message\n" * 1_000)
        case "notice-flood":
            while True:
                send({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
        case "endless-line":
            while True:
                sys.stdout.write("x" * 1_000_000)
        case "overlong":
            text(id, "x" * 40_000_000)
        case "too-large":
            text(id, "x" * 200_000)
        case "invalid":
            answer(id, {"content": 7})
        case "no-result":
            send({"id": id, "result": None})
        case "wrong-id":
            text("of somebody else", "x")
        case "promises":
            answer(id, {"content": [], "structuredContent": {"n": "many"}})
        case "promises-text":
            text(id, '{"n": 4}')
        case "bad-params":
            send({"id": id, "error": {"code": -32602, "message": "x must be a number"}})
        case "own-error":
            send({"id": id, "error": {"code": 1234, "message": "out of paper"}})
        case "closes":
            os.close(1)
            time.sleep(600)
        case "child-holds":
            subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os._exit(0)
        case "deaf":
            text(id, "deaf from now on")
            time.sleep(600)
        case "secret":
            send({"id": id, "error": {"code": 1, "message": f"wrong password {os.environ['DB_PASSWORD']}"}})
        case "secret-dies":
            sys.stderr.write(f"cannot log in with {os.environ['DB_PASSWORD']}\n")
            os._exit(1)
        case "secret-told":
            text(
                id,
                f"the password is {os.environ['DB_PASSWORD']}",
                isError=params.get("arguments", {}).get("fail", False),
            )
        case "surrogate":
            answer(id, {"content": [{"type": "text", "text": "half \ud800 a letter \u0000"}]})
        case "blocks":
            answer(id, {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]})
        case "nothing":
            answer(id, {"content": []})
        case "json":
            text(id, '{"total": 3}')
        case "fails":
            text(id, "the disk is full", isError=True)
        case "key":
            text(id, str(params.get("_meta", {}).get("cogwork/idempotencyKey")))
        case _:
            text(id, f"pid {os.getpid()}")


def handle(message: dict[str, Any]) -> None:
    """One message of the client."""
    method, id = message.get("method"), message.get("id")
    match method:
        case "initialize" if WAY == "mute":
            return
        case "initialize" if WAY == "exits":
            sys.stderr.write("no licence found\n")
            os._exit(2)
        case "initialize" if WAY == "bad-greeting":
            answer(id, {"hello": "world"})
        case "initialize":
            about = {"name": "raw", "version": "1"}
            version = message["params"]["protocolVersion"]
            answer(id, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
        case "tools/list":
            answer(id, tools((message.get("params") or {}).get("cursor")))
        case "tools/call":
            note("called")
            act(id, message["params"])
        case "notifications/cancelled":
            note(f"cancelled {message['params'].get('reason')}")
        case _ if id is not None:
            send({"id": id, "error": {"code": -32601, "message": "Method not found"}})


note(f"started {os.getpid()}")
if WAY == "babbles":
    while True:
        sys.stdout.write("a banner without end\n")
for line in sys.stdin:
    handle(json.loads(line))
note("ended")
