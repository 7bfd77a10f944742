"""Several worker processes under one command: begun together, begun anew when they die, ended together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Final

from cogwork.cli import exits, render
from cogwork.settings import environment

AGAIN_SECONDS: Final = 1.0
"""The wait before a worker that has died is begun anew; twice as long after each death within ``QUIET_SECONDS``."""
QUIET_SECONDS: Final = 60.0
LONGEST: Final = 60.0
PORT: Final = "COGWORK_OBSERVABILITY__METRICS_PORT"


def several(count: int, concurrency: int | None, labels: list[str], port: int | None = None) -> int:
    """Run so many workers until they are asked to end; the exit code. Those who watch find the first at ``port``, the others at
    those after it."""
    command = [sys.executable, "-m", "cogwork", "worker", "--processes", "1"]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    command += [part for label in labels for part in ("--label", label)]

    def begun(index: int) -> subprocess.Popen[bytes]:
        own = {PORT: str(port + index)} if port else {}
        return subprocess.Popen(command, env={**environment(), **own})

    running = [begun(index) for index in range(count)]
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        for process in running:
            process.send_signal(signal.SIGTERM)

    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, end)
    wait, died = AGAIN_SECONDS, 0.0
    while not ending:
        time.sleep(0.2)
        for index, process in enumerate(running):
            if process.poll() is None or ending:
                continue
            wait = AGAIN_SECONDS if time.monotonic() - died > QUIET_SECONDS else min(2 * wait, LONGEST)
            died = time.monotonic()
            render.note((f"a worker ended with {process.returncode}; another begins in {wait:g} s", "yellow"))
            time.sleep(wait)
            if not ending:
                running[index] = begun(index)
    codes = [process.wait() for process in running]
    return exits.DONE if not any(codes) else exits.FAILED
