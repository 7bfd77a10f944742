"""Several worker processes under one command: begun together, begun anew when they die, ended together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Final

from cogwork.cli import exits, render

AGAIN_SECONDS: Final = 1.0
"""The wait before a worker that has died is begun anew; twice as long after each death within ``QUIET_SECONDS``."""
QUIET_SECONDS: Final = 60.0
LONGEST: Final = 60.0


def several(count: int, concurrency: int | None, labels: list[str]) -> int:
    """Run so many workers until they are asked to end; the exit code."""
    command = [sys.executable, "-m", "cogwork", "worker", "--processes", "1"]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    command += [part for label in labels for part in ("--label", label)]
    running = [subprocess.Popen(command) for _ in range(count)]
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
                running[index] = subprocess.Popen(command)
    codes = [process.wait() for process in running]
    return exits.DONE if not any(codes) else exits.FAILED
