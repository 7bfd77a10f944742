"""Threads at calls that were given up: neither the end of a run nor the end of the process waits for them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 0.5
"""Seconds that threads which are about to end are given to do so."""


class Unawaited(ThreadPoolExecutor):
    """The executor of a run's event loop, whose closing leaves a blocking call behind.

    A thread cannot be cancelled: a tool that blocks would hold up Ctrl-C, a timeout or the end of a failed run for as long
    as it likes.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no further calls and wait for none, whatever is asked."""
        super().shutdown(wait=False, cancel_futures=True)


def leave(code: int) -> None:
    """End the process with the exit code if threads are left that Python would wait for; else return."""
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    left = [thread for thread in threads if not thread.daemon]
    for thread in left:
        thread.join(PATIENCE / len(left))
    if any(thread.is_alive() for thread in left):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
