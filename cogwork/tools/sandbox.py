"""A program run as a child with limits: its own folder, no environment, bounded time, memory and output, and no leftovers.

What holds depends on the platform, so the outcome says what did. On Linux with user namespaces the child has no network and
its processes die with it; it may always read the files that its user may read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEPT: Final = 64 * 1024
"""How many bytes of each stream are kept."""
FLOOD: Final = 16 * 1024 * 1024
"""A child that prints more than this is ended."""
PROCESSES: Final = 64
NOBODY: Final = 65_534
_UNSHARE: Final = ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
_ALWAYS: Final = ("environment", "temporary_folder", "time", "memory", "cpu", "file_size", "output")
# Limits are set in the child before the program starts: code between fork and exec would run beside our threads.
_LIMITED: Final = """
import json, os, resource, sys
for name, most in json.loads(sys.argv[1]).items():
    try:
        resource.setrlimit(getattr(resource, name), (most, most))
    except (AttributeError, OSError, ValueError):
        pass
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a child ended; ``ended_by`` names what ended it before its time: time, processes or output."""

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool
    ended_by: str | None
    duration_s: float
    held: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """How children are started here: a command before theirs, another user, and what that gives."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """What a child cannot get around."""
        return (
            *_ALWAYS,
            *(("network", "processes") if self.prefix else ()),
            *(("user",) if self.user is not None else ()),
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """What a child is not kept from."""
        return ("files", *(() if self.prefix else ("network", "processes")))


class Sandbox:
    """Runs children in the strongest containment that works here, found out at the first run."""

    def __init__(self) -> None:
        self._containment: Containment | None = None

    async def run(
        self, command: Sequence[str], folder: Path, *, timeout_s: float, memory_mb: int, stdin: str = ""
    ) -> Outcome:
        """Runs ``command`` in ``folder``; whatever it started is ended when this returns, raises or is cancelled."""
        containment = await self.containment()
        limits = _limits(timeout_s, memory_mb)
        if containment.user is not None:
            await asyncio.to_thread(_give, folder, containment.user)
        process = await _start(containment, command, folder, limits)
        return await _Child(process, containment).ended(timeout_s, stdin)

    async def containment(self) -> Containment:
        """The strongest containment that works here."""
        if self._containment is None:
            unshare = await asyncio.to_thread(shutil.which, "unshare")
            namespaces = (unshare, *_UNSHARE) if unshare else ()
            for candidate in _candidates(namespaces):
                if await _works(candidate):
                    self._containment = candidate
                    break
        return self._containment or Containment()


class _Child:
    """A started child, watched until it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, containment: Containment) -> None:
        self.process, self.containment = process, containment
        self.ended_by: str | None = None
        self.read: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.seen = 0

    async def ended(self, timeout_s: float, stdin: str) -> Outcome:
        """Feeds, reads and watches the child until it ends or has to."""
        begun = asyncio.get_running_loop().time()
        around = [
            asyncio.ensure_future(work)
            for work in (self._feed(stdin), self._watch(), self._keep("stdout"), self._keep("stderr"))
        ]
        try:
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        except TimeoutError:
            self.ended_by = self.ended_by or "time"
        finally:
            self._end()
            await self._settle(around)
        return self._outcome(asyncio.get_running_loop().time() - begun)

    def _end(self, why: str | None = None) -> None:
        self.ended_by = self.ended_by or why
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def _settle(self, around: Sequence[asyncio.Future[None]]) -> None:
        """Waits for the last output; what a detached process still holds open is let go after a moment."""
        around[0].cancel()
        around[1].cancel()
        await asyncio.wait(around, timeout=2.0)
        for work in around:
            work.cancel()
        await asyncio.gather(*around, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.process.wait()

    async def _feed(self, text: str) -> None:
        stdin = self.process.stdin
        if stdin is None:
            return
        with contextlib.suppress(ConnectionError):
            stdin.write(text.encode("utf-8", errors="replace"))
            await stdin.drain()
            stdin.close()

    async def _keep(self, name: str) -> None:
        stream = self.process.stdout if name == "stdout" else self.process.stderr
        while stream is not None and (chunk := await stream.read(KEPT)):
            self.seen += len(chunk)
            self.read[name] += chunk[: KEPT + 1 - len(self.read[name])]
            if self.seen > FLOOD:
                self._end("output")

    async def _watch(self) -> None:
        """Ends a child that multiplies."""
        while True:
            if await asyncio.to_thread(_members, self.process.pid, bool(self.containment.prefix)) > PROCESSES:
                self._end("processes")
            await asyncio.sleep(0.05)

    def _outcome(self, seconds: float) -> Outcome:
        return Outcome(
            exit_code=self.process.returncode,
            stdout=bytes(self.read["stdout"][:KEPT]).decode("utf-8", errors="replace"),
            stderr=bytes(self.read["stderr"][:KEPT]).decode("utf-8", errors="replace"),
            truncated=any(len(kept) > KEPT for kept in self.read.values()),
            ended_by=self.ended_by,
            duration_s=round(seconds, 3),
            held=self.containment.held,
            missing=self.containment.missing,
        )


async def _start(
    containment: Containment, command: Sequence[str], folder: Path, limits: dict[str, int]
) -> asyncio.subprocess.Process:
    limited = (sys.executable, "-I", "-S", "-c", _LIMITED, json.dumps(limits))
    user = containment.user
    return await asyncio.create_subprocess_exec(
        *(*containment.prefix, *limited, *command),
        cwd=folder,
        env={"HOME": str(folder), "TMPDIR": str(folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
    )


def _limits(timeout_s: float, memory_mb: int) -> dict[str, int]:
    """The kernel's limits; its limit on processes counts those of the user elsewhere too, so ``_watch`` counts instead."""
    limits = {
        "RLIMIT_AS": memory_mb * 1024 * 1024,
        "RLIMIT_CPU": int(timeout_s) + 2,
        "RLIMIT_FSIZE": 32 * 1024 * 1024,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
    }
    # A child may not have more than we have ourselves.
    for name in limits:
        most = resource.getrlimit(getattr(resource, name))[1]
        limits[name] = limits[name] if most == resource.RLIM_INFINITY else min(limits[name], most)
    return limits


def _candidates(namespaces: tuple[str, ...]) -> list[Containment]:
    """Containments to try, strongest first; only the superuser can hand a child to another user."""
    users = (NOBODY, None) if os.geteuid() == 0 else (None,)
    prefixes = (namespaces, ()) if namespaces else ((),)
    return [Containment(prefix=prefix, user=user) for prefix in prefixes for user in users]


async def _works(containment: Containment) -> bool:
    try:
        process = await _start(containment, (sys.executable, "-I", "-c", ""), Path("/"), {})
        async with asyncio.timeout(20):
            await process.communicate()
    except (OSError, TimeoutError):
        return False
    return process.returncode == 0


def _give(folder: Path, user: int) -> None:
    for place in (folder, *folder.rglob("*")):
        os.chown(place, user, user)


def _members(leader: int, namespace: bool) -> int:
    """How many processes belong to a child: those of its namespace, or of its session."""
    try:
        mine = os.readlink(f"/proc/{leader}/ns/pid_for_children") if namespace else str(leader)
        if namespace and mine == os.readlink("/proc/self/ns/pid"):
            return 0
        return sum(1 for entry in os.scandir("/proc") if entry.name.isdigit() and _belongs(entry.path, mine, namespace))
    except OSError:
        return 0


def _belongs(process: str, mine: str, namespace: bool) -> bool:
    with contextlib.suppress(OSError, IndexError):
        if namespace:
            return os.readlink(f"{process}/ns/pid") == mine
        return Path(process, "stat").read_text().rpartition(")")[2].split()[3] == mine
    return False
