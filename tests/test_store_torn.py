"""The write-ahead log torn after a kill, and a file system that may only be read: nothing wrong, nothing lost beyond it.

``COGWORK_TEST_TORN=3000 pytest tests/test_store_torn.py`` tears so many logs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from langgraph.constants import START

from cogwork.store.checkpoints import SqliteCheckpoints, StoreError
from tests.conftest import Stage, say

HOUSE = Path(__file__).resolve().parent.parent
TEARS = int(os.environ.get("COGWORK_TEST_TORN", "36"))
STEPS = 24
CONFIG: Any = {"configurable": {"thread_id": "t"}}
SPEC: Any = {
    "nodes": {
        "n0": say(0),
        **{f"n{i}": say(f"{{{{ n{i - 1} + 1 }}}}", depends_on=[f"n{i - 1}"]) for i in range(1, STEPS)},
    },
    "output": f"{{{{ n{STEPS - 1} }}}}",
}
CHILD = """
import os, signal, sys
from cogwork.store.checkpoints import SqliteCheckpoints
from tests.conftest import Stage
from tests.test_store_torn import CONFIG, SPEC, STEPS

class Fatal(SqliteCheckpoints):
    puts = 0
    def put(self, *args, **kwargs):
        Fatal.puts += 1
        if Fatal.puts == STEPS - 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().put(*args, **kwargs)

Stage().graph(SPEC, Fatal(sys.argv[1])).invoke({}, CONFIG)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that was killed near its end, and its log."""
    path = tmp_path_factory.mktemp("killed") / "c.sqlite"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path


def _with_log(killed: Path, folder: Path, log: bytes) -> Path:
    folder.mkdir()
    shutil.copy(killed, folder / "c.sqlite")
    (folder / "c.sqlite-wal").write_bytes(log)
    return folder / "c.sqlite"


def _torn(log: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(log))
    how = rng.choice(["truncate", "flip", "zero"])
    if how == "truncate":
        return log[:at]
    if how == "flip":
        return log[:at] + bytes([log[at] ^ (1 << rng.randrange(8))]) + log[at + 1 :]
    return log[:at] + bytes(min(4096, len(log) - at)) + log[at + 4096 :]


def _committed(log: bytes, torn: bytes) -> int:
    """Where the last transaction ends that lies wholly before the first byte that differs."""
    same = next((at for at, (a, b) in enumerate(zip(log, torn, strict=False)) if a != b), min(len(log), len(torn)))
    frame = 24 + int.from_bytes(log[8:12], "big")
    ends = range(32 + frame, len(log) + 1, frame)
    return max((end for end in ends if end <= same and any(log[end - frame + 4 : end - frame + 8])), default=0)


def _has_begun(state: Any) -> bool:
    return bool(state.created_at) and START not in state.next


def _settled(path: Path) -> list[str]:
    with SqliteCheckpoints(path) as saver:
        return list(Stage().graph(SPEC, saver).get_state(CONFIG).values.get("path", []))


@pytest.mark.req("D4", "X5")
def test_a_torn_log_loses_nothing_that_was_committed_before_the_tear(killed: Path, tmp_path: Path) -> None:
    log = killed.with_name("c.sqlite-wal").read_bytes()
    whole = _settled(_with_log(killed, tmp_path / "whole", log))
    assert len(whole) > STEPS // 2
    refused = resumed = 0
    for number in range(TEARS):
        torn = _torn(log, random.Random(number))
        path = _with_log(killed, tmp_path / f"torn-{number}", torn)
        kept = _settled(_with_log(killed, tmp_path / f"kept-{number}", log[: _committed(log, torn)]))
        try:
            assert _settled(path) == kept, number
            with SqliteCheckpoints(path) as saver:
                graph = Stage().graph(SPEC, saver)
                state = graph.invoke(None if _has_begun(graph.get_state(CONFIG)) else {}, CONFIG)
        except StoreError as err:
            assert str(path) in str(err)
            refused += 1
            continue
        assert state["output"] == STEPS - 1 and state["path"] == [f"n{i}" for i in range(STEPS)]
        resumed += 1
    assert resumed + refused == TEARS and resumed > TEARS * 3 // 4


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root, to mount a file system")
def test_a_file_system_that_may_only_be_read_is_refused_and_nothing_is_lost(killed: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    try:
        path = _with_log(killed, place / "store", killed.with_name("c.sqlite-wal").read_bytes())
        before = _settled(path)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(StoreError, match=r"c\.sqlite cannot be used: it may only be read"):
            SqliteCheckpoints(path)
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        assert _settled(path) == before
        with SqliteCheckpoints(path) as saver:
            assert Stage().graph(SPEC, saver).invoke(None, CONFIG)["output"] == STEPS - 1
    finally:
        subprocess.run(["umount", str(place)], check=True)
