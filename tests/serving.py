"""``cogwork serve`` as a process of its own, for tests of what reaches it from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

HOUSE = Path(__file__).resolve().parent.parent
WAIT_SECONDS = 60.0
_ADDRESS = re.compile(r"cogwork serves at (https?://\S+)")
_CODE = re.compile(r"/sign-in\?code=(\S+)")


class Serving:
    """A server in ``folder``: its workflows are the files there, its state is below it."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self.said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cogwork", "serve", "--port", "0", *arguments],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(HOUSE), "COGWORK_WORKFLOWS": '["."]', "COLUMNS": "400", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _told(self, pattern: re.Pattern[str]) -> str:
        """What the server says in the form of a pattern."""
        for line in self.said:
            if found := pattern.search(line):
                return found[1]
        while (line := self._lines.get(timeout=WAIT_SECONDS)) is not None:
            if found := pattern.search(line):
                return found[1]
        raise AssertionError("the server ended: " + "".join(self.said))

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        return self._told(_ADDRESS)

    @property
    def code(self) -> str:
        """The word that signs a person in once."""
        return self._told(_CODE)

    def terminate(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **environment: str) -> Iterator[Serving]:
    """A server that is killed after the block, if it still runs."""
    made = Serving(folder, *arguments, **environment)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.kill()
