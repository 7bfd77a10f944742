"""The command line: ``cogwork``."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any


def main(tools: Iterable[Any] = ()) -> None:
    """Run the command that ``sys.argv`` names; its exit code is raised as ``SystemExit``.

    ``tools`` are known to the workflows besides the built-in ones, as with ``cogwork.app``: a program of one's own is so the
    command line of its tools.
    """
    from cogwork.cli.root import main as entry

    try:
        entry(tuple(tools))
    except SystemExit as end:
        if threading.active_count() > 1 and isinstance(end.code, int):
            from cogwork.cli.threads import leave

            leave(end.code)
        raise
