"""Callers of the HTTP door that are slow on purpose lose their connection within its limits, and hold up nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.apis import HOUSE, Door, listening
from tests.threads import until

pytestmark = [pytest.mark.req("M10")]
HEAD = b"GET /api/v1/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filling: "


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A server with little patience."""
    with listening(tmp_path, limits={"head_seconds": 1.0, "body_seconds": 1.0, "stall_seconds": 1.0}) as made:
        yield made


class Slow:
    """A connection that sends what it is told to; ``ended`` once the server has hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.got = reader, writer, b""

    @classmethod
    async def to(cls, door: Door) -> Slow:
        host, port = door.address.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ended(self) -> bytes:
        """What was answered before the server hung up."""
        try:
            async with asyncio.timeout(30):
                while some := await self.reader.read(4096):
                    self.got += some
        except ConnectionResetError:
            pass
        finally:
            self.writer.close()
        return self.got

    async def drip(self, text: bytes) -> None:
        """Send byte by byte, for as long as the server listens."""
        try:
            for each in text:
                self.writer.write(bytes([each]))
                await self.writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody else."""
    async with httpx2.AsyncClient(base_url=f"{door.address}/api/v1", trust_env=False, timeout=30) as made:
        yield made


async def test_half_open_sockets_and_heads_byte_by_byte_are_ended_while_others_are_served(
    door: Door, client: httpx2.AsyncClient
) -> None:
    silent = [await Slow.to(door) for _ in range(40)]
    dripping = [await Slow.to(door) for _ in range(10)]
    sending = [asyncio.create_task(each.drip(HEAD + b"x" * 10_000)) for each in dripping]
    ending = [asyncio.create_task(each.ended()) for each in (*silent, *dripping)]
    served = 0
    while not all(task.done() for task in ending):
        assert (await client.get("/executions")).status_code == 200
        served += 1
    assert served > 3 and [await task for task in ending] == [b""] * 50
    await asyncio.gather(*sending)


async def test_a_second_head_on_a_connection_has_as_long_as_the_first(door: Door) -> None:
    slow = await Slow.to(door)
    slow.writer.write(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await slow.reader.readuntil(b'{"status":"alive"}')
    sending = asyncio.create_task(slow.drip(HEAD + b"x" * 10_000))
    assert await slow.ended() == b""
    await sending


async def test_a_body_that_stalls_or_drips_is_refused_and_the_connection_closed(
    door: Door, client: httpx2.AsyncClient
) -> None:
    start = b"POST /api/v1/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    start += b"Content-Length: 5000\r\n\r\n{"
    stalled, dripping = [await Slow.to(door) for _ in range(10)], await Slow.to(door)
    for each in (*stalled, dripping):
        each.writer.write(start)
    sending = asyncio.create_task(dripping.drip(b" " * 4000))
    answers = [asyncio.create_task(each.ended()) for each in (*stalled, dripping)]
    while not all(task.done() for task in answers):
        assert (await client.get("/executions")).status_code == 200
    for task in answers:
        head, _, body = (await task).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408") and b"connection: close" in head.lower()
        assert json.loads(body)["error"]["code"] == "execution_timeout"
    await sending


@pytest.mark.req("M9")
async def test_what_is_no_http_is_answered_in_the_form_of_errors(door: Door) -> None:
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header\r\n\r\n"):
        slow = await Slow.to(door)
        slow.writer.write(junk)
        head, _, body = (await slow.ended()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400") and json.loads(body)["error"]["code"] == "invalid_input"


@pytest.mark.req("M9")
async def test_a_head_that_is_too_large_is_refused(door: Door) -> None:
    slow = await Slow.to(door)
    slow.writer.write(HEAD + b"x" * 300_000)
    assert (await slow.ended())[:12] in (b"HTTP/1.1 400", b"")


# -- the end -----------------------------------------------------------------------------------------------------------

SERVING = """
import sys
from pathlib import Path
from cogwork.server.running import serve
from cogwork.settings import Settings

folder = Path(sys.argv[1])
server = {"auth": "none", "port": 0}
settings = Settings(state_dir=folder / "state", workflows=[folder], python_tools=["waiting"], server=server)
serve(settings, lambda address, application: print(address, flush=True))
"""
WAITING = '''
import asyncio
from pathlib import Path

import cogwork


@cogwork.tool(effect="read")
async def hold(folder: str) -> str:
    """Hold until the door opens."""
    Path(folder, "begun").touch()
    while not Path(folder, "open").exists():
        await asyncio.sleep(0.02)
    return "held"
'''


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own; its address."""
    (folder / "waiting.py").write_text(WAITING, encoding="utf-8")
    paths = os.pathsep.join([str(HOUSE), str(folder)])
    with subprocess.Popen(
        [sys.executable, "-c", SERVING, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
    ) as running:
        try:
            assert running.stdout is not None
            yield running, running.stdout.readline().strip()
        finally:
            if running.poll() is None:
                running.kill()


@pytest.mark.req("X3", "E2")
async def test_a_server_that_is_asked_to_end_hands_on_ends_its_streams_and_exits_with_0(tmp_path: Path) -> None:
    spec = {
        "cogwork": "v1",
        "name": "held",
        "nodes": {"wait": {"type": "tool", "tool": "hold", "args": {"folder": str(tmp_path)}}},
        "output": "{{ wait }}",
    }
    with process(tmp_path) as (running, address):
        async with httpx2.AsyncClient(base_url=f"{address}/api/v1", trust_env=False, timeout=60) as client:
            begun = await client.post("/executions", json={"workflow": spec})
            assert begun.status_code == 202, begun.text
            name = begun.json()["execution_id"]
            await until((tmp_path / "begun").exists)
            events = f"/executions/{name}/events"
            async with client.stream("GET", events, headers={"Accept": "text/event-stream"}) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                running.send_signal(signal.SIGTERM)
                told = [line async for line in lines]
        assert not any(line == "event: end" for line in told), "the execution has not ended"
        assert await asyncio.to_thread(running.wait, 60) == 0
    (tmp_path / "open").touch()
    with process(tmp_path) as (running, address):
        async with httpx2.AsyncClient(base_url=f"{address}/api/v1", trust_env=False, timeout=60) as client:

            async def over() -> bool:
                answer = await client.get(f"/executions/{name}")
                assert answer.status_code == 200, answer.text
                return bool(answer.json()["status"] == "completed")

            await until(over)
        running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait, 60) == 0
