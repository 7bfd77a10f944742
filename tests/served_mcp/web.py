"""An MCP server over HTTP, in a thread of the test, whose answers to calls go wrong in the way that was asked for."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"
EVENTS = "text/event-stream"


class Web:
    """The server: ``way`` may be changed at any time; ``seen`` are the headers and methods of all requests."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/mcp"


@contextmanager
def web(way: str) -> Iterator[Web]:
    """A server that runs until the end of the block."""
    about = Web(way)

    class Door(_Door):
        web = about

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    about.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield about
    finally:
        about.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Door(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """No stream of notices."""
        self.web.seen.append(("GET", dict(self.headers)))
        self._send(405, b"", JSON)

    def do_DELETE(self) -> None:
        """The end of a session."""
        self.web.seen.append(("DELETE", dict(self.headers)))
        self._send(204, b"", JSON)

    def do_POST(self) -> None:
        """A message."""
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = message.get("method", "")
        self.web.seen.append((method, dict(self.headers)))
        with suppress(BrokenPipeError, ConnectionResetError):
            if "id" not in message:
                self._send(202, b"", JSON)
            elif method == "initialize" and self.web.way != "locked":
                about = {"name": "web", "version": "1"}
                version = message["params"]["protocolVersion"]
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
                self._result(message["id"], result, session="session-of-the-test")
            elif method == "tools/list":
                self._result(message["id"], {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]})
            elif method == "tools/call":
                self._call(message["id"])
            elif self.web.way == "locked":
                self._send(401, b"who are you?", "text/plain")
            else:
                unknown = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "?"}}
                self._send(200, json.dumps(unknown).encode(), JSON)

    def _call(self, id: Any) -> None:
        good = {"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "done"}]}}
        body = json.dumps(good).encode()
        match self.web.way:
            case "429":
                self._send(429, b"slow down", "text/plain", **{"Retry-After": "7"})
            case "429-silent":
                self._send(429, b"", "text/plain")
            case "503":
                self._send(503, b"later", "text/plain", **{"Retry-After": "3"})
            case way if way.isdigit():
                self._send(int(way), b"<html>no</html>", "text/html")
            case "html":
                self._send(200, b"<html>Please log in</html>", "text/html")
            case "no-json":
                self._send(200, b"{half of", JSON)
            case "stalls":
                self.web.released.wait(60)
            case "stalls-midway":
                self._begin(200, EVENTS, None)
                self.wfile.write(b": a comment\n\n")
                self.web.released.wait(60)
            case "resets":
                self._reset()
            case "cut":
                self._begin(200, JSON, len(body))
                self.wfile.write(body[: len(body) // 2])
                self._reset()
            case "cut-events":
                self._begin(200, EVENTS, None)
                self.wfile.write(b"event: message\ndata: " + body[: len(body) // 2])
                self._reset()
            case "ends-events":
                self._begin(200, EVENTS, None)
                self.wfile.write(b": nothing else\n\n")
                self.close_connection = True
            case "bomb":
                self._send(200, gzip.compress(b" " * 50_000_000), JSON, **{"Content-Encoding": "gzip"})
            case "huge":
                self._begin(200, JSON, None)
                with suppress(OSError):
                    for _ in range(64):
                        self.wfile.write(b" " * 1_000_000)
                self.close_connection = True
            case "huge-event":
                self._begin(200, EVENTS, None)
                with suppress(OSError):
                    self.wfile.write(b"event: message\ndata: ")
                    for _ in range(64):
                        self.wfile.write(b"x" * 1_000_000)
                self.close_connection = True
            case "away":
                self._send(307, b"", JSON, Location="http://127.0.0.1:9/elsewhere")
            case "accepted":
                self._send(202, b"", JSON)
            case "unknown-session":
                self.web.way = "ok"
                self._send(404, b"", JSON)
            case "unknown-session-400":
                self.web.way = "ok"
                said = {
                    "jsonrpc": "2.0",
                    "id": None,
                    "error": {"code": -32000, "message": "No valid session ID provided"},
                }
                self._send(400, json.dumps(said).encode(), JSON)
            case "echo":
                told = f"you are {self.headers.get('authorization')}"
                error = {"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": told}}
                self._send(200, json.dumps(error).encode(), JSON)
            case "events":
                self._begin(200, EVENTS, None)
                self.wfile.write(b"event: message\ndata: " + body + b"\n\n")
                self.close_connection = True
            case _:
                self._send(200, body, JSON)

    def _result(self, id: Any, result: dict[str, Any], session: str = "") -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()
        self._send(200, body, JSON, **({"Mcp-Session-Id": session} if session else {}))

    def _send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self._begin(status, kind, len(body), **headers)
        self.wfile.write(body)

    def _begin(self, status: int, kind: str, length: int | None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
