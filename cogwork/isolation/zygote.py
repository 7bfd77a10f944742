"""The worker's side of the fork server: it is started once, and gives a confined fork for each isolated execution."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cogwork.isolation.limits import HOLDS, Containment, Isolation
from state.errors import Fault

PRELOAD: Final = (
    "langgraph.graph",
    "cogwork.isolation.child",
    "cogwork.isolation.code",
    "cogwork.isolation.far_saver",
    "cogwork.isolation.far_services",
    "graphs.build",
    "graphs.events",
    "graphs.language.load",
)
"""What every execution needs."""
PREFIX: Final = "cogwork-isolated-"
STARTING: Final = 120.0
"""Seconds that the server may take to load all of it."""
ENDING: Final = 10.0
"""Seconds that an execution may take to be gone once it is given up; it takes milliseconds."""
_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cogwork.isolation.server import main; main(int(sys.argv[2]))"
)


class Fork:
    """A confined fork, from the worker's side: its line, its output, what is told of it, and the lifeline it hangs on."""

    def __init__(self, line: socket.socket, lifeline: int, **handles: int) -> None:
        self.line = line
        self._lifeline: int | None = lifeline
        self._handles = handles

    def take(self, name: str) -> int:
        """The handle of ``out``, ``err`` or ``report``, which is the caller's to close from now on."""
        return self._handles.pop(name)

    def let_go(self) -> None:
        """End the execution and all that it has started; its report tells when it is gone."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def close(self) -> None:
        """Let go, and close what nobody has taken."""
        self.let_go()
        self.line.close()
        while self._handles:
            os.close(self._handles.popitem()[1])


class Zygote:
    """One fork server, for all isolated executions of a process.

    Args:
        hidden: files and folders that executions do not see although they lie where code is imported from.
        preload: further modules that are loaded once, such as those of the workflows that are code.
        without: means that are not used, for tests of what is weaker: ``namespaces``, ``root`` (those of the superuser),
            ``view``, ``user``.
    """

    def __init__(
        self, *, hidden: Iterable[Path] = (), preload: Iterable[str] = (), without: Collection[str] = ()
    ) -> None:
        self._hidden, self._preload, self._without = [*hidden], [*PRELOAD, *preload], [*without]
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder: Path | None = None
        self._lock: int | None = None
        self._reasons: tuple[str, ...] = ()
        self._containment: Containment | None = None
        self._starting = asyncio.Lock()
        self._number = 0

    @property
    def containment(self) -> Containment:
        """What holds of executions here, found out by trying; none is known before ``start``."""
        return self._containment or Containment(held=())

    @property
    def pid(self) -> int | None:
        """The server's process, while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> None:
        """Start the server, where it does not run yet, and find out what it can hold.

        Raises:
            Fault: ``unavailable``; this is no Linux, or the server does not come up.
        """
        async with self._starting:
            if self.pid is not None:
                return
            if sys.platform != "linux":
                raise Fault("unavailable", f"Isolated executions need Linux, and this is {sys.platform}: run it async")
            await asyncio.to_thread(self._end)
            await asyncio.to_thread(self._begin)
            try:
                async with asyncio.timeout(STARTING):
                    await self._greet()
            except (TimeoutError, OSError, ValueError) as err:
                await asyncio.to_thread(self._end)
                raise Fault("unavailable", f"The fork server did not come up: {type(err).__name__} {err}") from err

    async def aclose(self) -> None:
        """End the server; executions that are at work go on until they end."""
        async with self._starting:
            await asyncio.to_thread(self._end)

    async def __aenter__(self) -> Zygote:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    @asynccontextmanager
    async def forked(self, isolation: Isolation) -> AsyncIterator[Fork]:
        """A confined fork that waits for its job; when the block ends, it and all that it has started are gone.

        Raises:
            Fault: ``unavailable``; the server cannot be reached.
        """
        await self.start()
        fork = self._fork(isolation)
        try:
            yield fork
        finally:
            fork.close()

    # -- the server ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        swept(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._folder.chmod(0o711)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self._folder / "view").mkdir()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = json.dumps([os.path.abspath(each) for each in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _MAIN, path, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        self._control = ours

    async def _greet(self) -> None:
        told = {
            "preload": self._preload,
            "without": self._without,
            "hidden": [str(path.absolute()) for path in self._hidden],
            "folder": f"{self._folder}/view",
        }
        assert self._control is not None, "the server has just been begun"
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._control, json.dumps(told).encode())
        answer = await loop.sock_recv(self._control, 65_536)
        self._reasons = tuple(json.loads(answer)["reasons"])
        self._containment = await self._probed()

    async def _probed(self) -> Containment:
        """What holds of a fork that has nothing to do."""
        from cogwork.isolation.reports import Reports

        fork = self._fork(Isolation())
        try:
            async with Reports(fork.take("report")) as reports:
                return containment_of(await reports.confined(), self._reasons)
        finally:
            fork.close()

    def _fork(self, isolation: Isolation) -> Fork:
        """A fork of the server, once it is there.

        Raises:
            Fault: ``unavailable``; the server cannot be reached.
        """
        ours, theirs = socket.socketpair()
        (out, out_w), (err, err_w), (life_r, life), (report, report_w) = (os.pipe() for _ in range(4))
        fork = Fork(ours, life, out=out, err=err, report=report)
        theirs_all = (theirs.detach(), out_w, err_w, life_r, report_w)
        try:
            self._order(isolation, theirs_all)
        except BaseException:
            fork.close()
            raise
        finally:
            for each in theirs_all:
                os.close(each)
        return fork

    def _order(self, isolation: Isolation, handles: tuple[int, ...]) -> None:
        """Order a fork with these handles.

        Raises:
            Fault: ``unavailable``; the server cannot be reached.
        """
        self._number += 1
        limits = isolation.model_dump(exclude={"require"})
        order = {"number": self._number, "limits": limits, "folder": f"{self._folder}/{self._number}"}
        try:
            if self._control is None:
                raise OSError(errno.ENOTCONN, "it is not started")
            socket.send_fds(self._control, [json.dumps(order).encode()], handles)
        except OSError as err:
            raise Fault("unavailable", f"The fork server cannot be reached: {err.strerror or err}") from err

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def containment_of(told: dict[str, Any] | None, reasons: Iterable[str] = ()) -> Containment:
    """The containment that a fork tells of itself.

    Raises:
        Fault: ``unavailable``; it could not be confined at all.
    """
    if told is None:
        raise Fault(
            "unavailable", "The fork could not be confined: its limits could not be set, or it was ended at once"
        )
    held = tuple(each for each in HOLDS if each in told["held"])
    return Containment(held=held, reasons=tuple(dict.fromkeys((*reasons, *told["reasons"]))))


def swept(folder: Path) -> list[Path]:
    """Remove what fork servers have left in a folder whose worker is gone; what was removed."""
    removed = []
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            handle = os.open(left / "lock", os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
                removed.append(left)
            finally:
                os.close(handle)
    return removed


def _environment() -> dict[str, str]:
    """All that executions find in their environment, and what has LangGraph read nothing but plain data."""
    kept = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "LANGGRAPH_STRICT_MSGPACK": "true"}
    zone = os.environ.get("TZ")
    return {**kept, "TZ": zone} if zone else kept
