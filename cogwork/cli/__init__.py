"""The command line: ``cogwork``."""

from __future__ import annotations

import threading


def main() -> None:
    """Run the command that ``sys.argv`` names; its exit code is raised as ``SystemExit``."""
    from cogwork.cli.root import main as entry

    try:
        entry()
    except SystemExit as end:
        if threading.active_count() > 1 and isinstance(end.code, int):
            from cogwork.cli.threads import leave

            leave(end.code)
        raise
