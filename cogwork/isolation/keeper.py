"""The process above an isolated execution: it ends it when the worker is gone or a limit is broken, and tells how it ended."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cogwork.isolation.confined import Confinement, Footing, apart, confine
from cogwork.isolation.limits import MB

TICK: Final = 0.05
LINE: Final = 3
"""The descriptor of the execution's line to its worker."""
NO_MEMORY: Final = 86
"""The exit code of an execution that has said itself that it has no memory left."""
_SWEEPS: Final = 400
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def keep(order: Mapping[str, Any], handles: list[int], footing: Footing) -> None:
    """Start the execution of an order, watch it to its end, and leave nothing of it; never returns.

    ``handles`` are its line, its two outputs, the worker's lifeline and where to report.
    """
    line, out, err, lifeline, report = handles
    found = Confinement()
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    from cogwork.isolation import kernel

    kernel.adopt_orphans()
    fresh = _resident(os.getpid())
    alone = apart(footing, found)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _become_execution(order, footing, found, (line, out, err), write, alone=alone)
    for handle in (write, line, out, err):
        os.close(handle)
    _silent()
    told = _read_all(read)
    _tell(report, {"started": child, "confined": json.loads(told) if told else None})
    limit = _watched(child, lifeline, order, fresh, alone=alone)
    status, used = _ended(child, alone=alone)
    with suppress(OSError):
        shutil.rmtree(order["folder"])
    _tell(report, {"ended": _about(status, used, limit, order["limits"])})
    os._exit(0)


def _become_execution(
    order: Mapping[str, Any],
    footing: Footing,
    found: Confinement,
    handles: tuple[int, int, int],
    told: int,
    *,
    alone: bool,
) -> None:
    """In the fork: confine it, tell what holds, and go on to what it is for; never returns."""
    code = 1
    try:
        confine(order, footing, found, alone=alone)
        os.write(told, json.dumps(found.told()).encode())
        os.close(told)
        line = _only(*handles)
        from cogwork.isolation.child import run

        code = run(line)
    except MemoryError:
        code = NO_MEMORY
    finally:
        os._exit(code)


def _only(line: int, out: int, err: int) -> int:
    """Keep three outputs and the line, and close all else."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    high = max(line, out, err, nothing, LINE) + 1
    line, out, err, nothing = (os.dup2(each, high + index) for index, each in enumerate((line, out, err, nothing)))
    for target, source in enumerate((nothing, out, err, line)):
        os.dup2(source, target, inheritable=target < LINE)
    os.closerange(LINE + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] + high + 4)
    return LINE


def _silent() -> None:
    nothing = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    os.close(nothing)


def _watched(child: int, lifeline: int, order: Mapping[str, Any], fresh: int, *, alone: bool) -> str | None:
    """Wait for the end of the execution, or for a reason to bring it about: the limit that it broke, or ``gone``."""
    limits, folder = order["limits"], order["folder"]
    waiting, handle = select.poll(), os.pidfd_open(child)
    for each in (lifeline, handle):
        waiting.register(each, select.POLLIN | select.POLLHUP)
    count = 0
    while True:
        ready = dict(waiting.poll(TICK * 1000))
        if handle in ready:
            return None
        if lifeline in ready:
            return "gone"
        count += 1
        members = _descendants(child)
        if len(members) > limits["processes"]:
            return "processes"
        if len(members) > 1 and sum(map(_resident, members)) > fresh + limits["memory_mb"] * MB:
            return "memory"
        if sum(map(_used, members)) > limits["cpu_s"]:
            return "cpu"
        if count % 4 == 0 and os.path.isdir(folder) and _held_by(folder) > limits["disk_mb"] * MB:
            return "files"


def _ended(child: int, *, alone: bool) -> tuple[int, resource.struct_rusage]:
    """End the execution and all that it started, and wait for it; the first process's status, and what it used."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    if not alone:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    for _ in range(_SWEEPS if not alone else 1):
        left = _descendants(os.getpid())[1:]
        for each in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            break
        time.sleep(0.002)
    return status, used


def _about(status: int, used: resource.struct_rusage, limit: str | None, limits: Mapping[str, Any]) -> dict[str, Any]:
    cpu = used.ru_utime + used.ru_stime
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    # The kernel counts whole ticks against its limit, which may be more than was used.
    if limit is None and ended_by in (signal.SIGKILL, signal.SIGXCPU) and cpu >= limits["cpu_s"] / 2:
        limit = "cpu"
    if limit is None and code == NO_MEMORY:
        limit = "memory"
    return {
        "exit_code": code,
        "signal": ended_by,
        "limit": limit,
        "cpu_s": round(cpu, 3),
        "memory_mb": round(used.ru_maxrss / 1024, 1),
    }


def _descendants(process: int) -> list[int]:
    """The process and all that have come of it, as far as they live."""
    found = [process]
    for each in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{each}/task"):
                found += map(int, Path(f"/proc/{each}/task/{thread}/children").read_text().split())
    return found


def _resident(process: int) -> int:
    """The bytes of memory of the process, those that it shares counted in part."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) * 1024
    with suppress(OSError, ValueError, IndexError):
        _, resident, shared, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
        return (resident - shared) * resource.getpagesize()
    return 0


def _used(process: int) -> float:
    """The processor time of the process and of those children of it that have ended, in seconds."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def _held_by(folder: str) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total


def _read_all(handle: int) -> bytes:
    found = b""
    while chunk := os.read(handle, 65_536):
        found += chunk
    os.close(handle)
    return found


def _tell(handle: int, what: Mapping[str, Any]) -> None:
    with suppress(OSError):
        os.write(handle, json.dumps(what).encode() + b"\n")
