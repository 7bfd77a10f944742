"""The ledger: a process that performs effects, knows which it has performed, and refuses to perform one twice.

It outlives the processes of the runs. What a killed process had sent before it died still counts as sent: nothing is asked
or closed before all that waits in the sockets has been read.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Message = dict[str, Any]


@dataclass(slots=True)
class Entry:
    """What became of one key: ``order`` counts the effects of a case, 0 where none was performed."""

    key: str
    step: str
    tool: str
    tries: int = 0
    order: int = 0
    value: Any = None
    pids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Case:
    """The entries of one run, what its processes said is finished, and every breach of the promise."""

    entries: dict[str, Entry] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """The keys whose result was on disk, and the paths of steps that the checkpoint held as done."""
    breaches: list[str] = field(default_factory=list)
    performed: int = 0
    asked: list[str] = field(default_factory=list)
    """The steps about whose call a person was asked."""


class Books:
    """All cases; each method answers one kind of message."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}

    def answer(self, message: Message) -> Message:
        case = self.cases.setdefault(message["case"], Case())
        match message["op"]:
            case "perform":
                return self._perform(case, message)
            case "finished":
                case.finished.update(message["names"])
                return {}
            case "asked":
                case.asked.append(message["at"])
                return {}
            case "ask":
                entry = case.entries.get(message["key"])
                return {"done": bool(entry and entry.order), "value": entry.value if entry else None}
            case _:
                del self.cases[message["case"]]
                entries = [asdict(entry) for entry in case.entries.values()]
                return {"entries": entries, "breaches": case.breaches, "asked": case.asked}

    def _perform(self, case: Case, message: Message) -> Message:
        """Do the work of one call: once per key, or say that this key must not come again."""
        key, step, tool = message["key"], message["step"], message["tool"]
        entry = case.entries.setdefault(key, Entry(key, step, tool))
        entry.tries += 1
        entry.pids.append(message["pid"])
        if key in case.finished or (step in case.finished and not key.endswith(":undo")):
            case.breaches.append(f"{key} ({tool}) was called again although it had finished")
        if entry.order:
            if tool == "kills.once" or tool == "kills.unsend":
                case.breaches.append(f"{key} ({tool}) was called again although its effect had been performed")
                return {"refused": True}
            return {"value": entry.value}
        fault = message["fault"] if entry.tries <= message["faults"] else ""
        if fault and not message["lost"]:
            return {"fault": fault}
        case.performed += tool != "kills.look"
        entry.order, entry.value = (case.performed, message["value"]) if tool != "kills.look" else (0, message["value"])
        return {"fault": fault} if fault else {"value": message["value"]}


class Server:
    """One thread, one selector: messages are lines of JSON, each answered by one."""

    def __init__(self, address: Path, alive: int) -> None:
        self.books, self.selector, self.alive = Books(), selectors.DefaultSelector(), alive
        self.buffers: dict[socket.socket, bytes] = {}
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(str(address))
        self.door.listen(64)
        self.door.setblocking(False)
        self.selector.register(self.door, selectors.EVENT_READ)
        self.selector.register(alive, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer until the other end of the pipe ``alive`` is closed."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == self.alive:
                    return
                if key.fileobj is self.door:
                    self._accept()
                elif key.fileobj in self.buffers:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.door.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            self.buffers[connection] = b""
            self.selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        """Take all that has come, and the messages that are whole."""
        while True:
            try:
                got = connection.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                got = b""
            if not got:
                self._handle(connection)
                self.selector.unregister(connection)
                del self.buffers[connection]
                connection.close()
                return
            self.buffers[connection] += got
        self._handle(connection)

    def _handle(self, connection: socket.socket) -> None:
        while b"\n" in self.buffers[connection]:
            line, self.buffers[connection] = self.buffers[connection].split(b"\n", 1)
            message = json.loads(line)
            if message["op"] in ("ask", "close"):
                self._drain(connection)
            reply = json.dumps(self.books.answer(message)).encode() + b"\n"
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # Whoever asked was killed meanwhile.
                connection.sendall(reply)

    def _drain(self, but: socket.socket) -> None:
        self._accept()
        for connection in [each for each in self.buffers if each is not but]:
            self._read(connection)


class Ledger:
    """A connection to the ledger's process, for the calls of one run."""

    def __init__(self, address: Path, case: str) -> None:
        self.case, self.socket = case, socket.socket(socket.AF_UNIX)
        self.socket.connect(str(address))
        self.lines = self.socket.makefile("rb")

    def tell(self, op: str, **message: Any) -> Message:
        """Send one message and wait for its answer."""
        self.socket.sendall(json.dumps({"op": op, "case": self.case, **message}).encode() + b"\n")
        answered: Message = json.loads(self.lines.readline())
        return answered

    def close(self) -> Message:
        """Everything about the run, which the ledger then forgets."""
        told = self.tell("close")
        self.lines.close()
        self.socket.close()
        return told


def start(address: Path) -> tuple[int, int]:
    """Start the ledger's process; its id, and the descriptor that ends it when closed."""
    read, write = os.pipe()
    ready, told = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.close(write)
            server = Server(address, read)
            os.write(told, b"1")
            server.serve()
        finally:
            os._exit(0)
    os.close(read)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    return pid, write
