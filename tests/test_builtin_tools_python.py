"""Programs that others wrote: what they give, and how the harm they try is contained."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from cogwork.tools.builtin import builtin_tools
from cogwork.tools.toolbox import Toolbox, checked_call
from state.errors import Fault
from state.services import CallContext

CONTEXT = CallContext(run="r", step="s", idempotency_key="k")


async def run(**args: Any) -> Any:
    """The result of ``python.run``."""
    tool = Toolbox(builtin_tools(roots=[], write_roots=[], allow_python=True)).find("python.run")
    assert tool is not None
    return await checked_call(tool, args, CONTEXT)


def left(marker: str) -> list[str]:
    """The command lines of processes that still bear the marker."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(place.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in found if marker in line]


@pytest.mark.parametrize("allow", [True, False])
async def test_whether_python_runs_can_be_asked_before_a_person_is(allow: bool) -> None:
    tool = Toolbox(builtin_tools(roots=[], write_roots=[], allow_python=allow)).find("python.allowed")
    assert tool is not None

    told = await checked_call(tool, {}, CONTEXT)

    assert (told["allowed"], "COGWORK_ALLOW_PYTHON" in told["reason"]) == (allow, not allow)


async def test_python_that_is_not_allowed_can_be_named_and_refuses_to_run() -> None:
    on, off = (
        Toolbox(builtin_tools(roots=[], write_roots=[], allow_python=allow)).find("python.run")
        for allow in (True, False)
    )
    assert on is not None and off is not None

    with pytest.raises(Fault, match="set COGWORK_ALLOW_PYTHON=true") as refused:
        await checked_call(off, {"code": "print(1)"}, CONTEXT)

    assert refused.value.fault_class == "permission_denied"
    assert (off.args_schema, off.output_schema, off.effect) == (on.args_schema, on.output_schema, on.effect)


def test_running_python_is_declared_as_a_write_that_must_not_be_repeated() -> None:
    tool = Toolbox(builtin_tools(roots=[], write_roots=[], allow_python=True)).find("python.run")

    assert tool is not None
    assert (tool.effect, tool.idempotent) == ("write", False)


async def test_a_program_reads_prints_and_ends() -> None:
    done = await run(code="import sys; print(sys.stdin.read().upper()); sys.exit(3)", stdin="héllo")

    assert (done["stdout"], done["exit_code"], done["passed"]) == ("HÉLLO\n", 3, False)
    assert (done["timed_out"], done["ended_by"], done["truncated"]) == (False, None, False)


async def test_files_import_each_other_and_traces_name_them_as_given() -> None:
    done = await run(files={"main.py": "import pkg.calc", "pkg/calc.py": "1/0", "pkg/__init__.py": ""})

    assert 'File "main.py", line 1' in done["stderr"]
    assert 'File "pkg/calc.py", line 1' in done["stderr"]
    assert done["stderr"].endswith("ZeroDivisionError: division by zero\n")


CALC = "def double(n):\n    return n + n\n"


@pytest.mark.parametrize(
    ("test", "passed"),
    [
        ("from calc import double\ndef test_two(): assert double(2) == 4\n", True),
        ("from calc import double\ndef test_two(): assert double(2) == 5\n", False),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_x(self): self.assertTrue(True)\n", True),
        ("x = 1\n", False),
        ("import nothing_like_this\n", False),
        ("def test_x(: pass\n", False),
    ],
    ids=["passes", "fails", "unittest", "no tests", "import error", "syntax error"],
)
async def test_tests_pass_only_when_some_ran_and_none_failed(test: str, passed: bool) -> None:
    done = await run(files={"calc.py": CALC, "test_calc.py": test}, test="test_calc.py")

    assert done["passed"] is passed


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "as code or files"),
        ({"files": {"../x.py": ""}}, "no file's name"),
        ({"files": {"/tmp/x.py": ""}}, "no file's name"),
        ({"files": {"a.py": "", "b.py": ""}}, "none is main.py"),
        ({"files": {"a.py": ""}, "test": "b.py"}, "not among the files"),
        ({"files": {"a": "", "a/b.py": ""}, "entry": "a"}, "cannot stand together"),
        ({"code": "", "timeout_s": 0}, "/timeout_s"),
        ({"code": "", "memory_mb": 1}, "/memory_mb"),
    ],
)
async def test_what_cannot_be_run_is_refused(args: dict[str, Any], said: str) -> None:
    with pytest.raises(Fault) as raised:
        await run(**args)
    assert raised.value.fault_class == "invalid_input"
    assert said in raised.value.message


async def test_a_program_sees_no_environment_and_only_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "hunter2")

    done = await run(code="import os; print(sorted(os.environ)); print(os.listdir())")

    assert "API_KEY" not in done["stdout"]
    assert "['main.py']" in done["stdout"]


async def test_its_folder_is_gone_afterwards() -> None:
    code = "import os; print(os.getcwd()); os.makedirs('a/b'); os.chmod('a', 0); os.symlink('/', 'root')"

    folder = Path((await run(code=code))["stdout"].strip())

    assert not folder.exists()
    assert Path("/usr").exists()


async def test_an_endless_program_is_ended_in_time() -> None:
    begun = time.perf_counter()

    done = await run(code="while True: pass", timeout_s=0.5)

    assert (done["timed_out"], done["ended_by"], done["passed"]) == (True, "time", False)
    assert time.perf_counter() - begun < 120


async def test_endless_output_is_cut_and_ended() -> None:
    done = await run(code="while True: print('x' * 10_000)", timeout_s=20)

    assert done["ended_by"] == "output"
    assert (len(done["stdout"]), done["truncated"]) == (64 * 1024, True)


async def test_memory_is_limited() -> None:
    done = await run(code="x = bytearray(4 * 1024 ** 3)", memory_mb=256)

    assert "MemoryError" in done["stderr"]
    assert done["passed"] is False


async def test_files_are_limited_in_size() -> None:
    done = await run(code="open('big', 'wb').write(b'x' * 64 * 1024 ** 2)")

    assert done["passed"] is False


async def test_a_program_that_multiplies_is_ended() -> None:
    done = await run(code="import os\nwhile True: os.fork()", timeout_s=10)

    assert done["ended_by"] in ("processes", "time")
    if "processes" in done["containment"]:
        assert done["ended_by"] == "processes"


async def test_a_process_that_detaches_itself_ends_with_the_program() -> None:
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', 'detached-marker-1'])\n"
        "print('done')\n"
    )

    done = await run(code=code, timeout_s=10)

    assert done["stdout"] == "done\n"
    if "processes" not in done["containment"]:
        pytest.skip("this platform has no process namespaces")
    assert left("detached-marker-1") == []


async def test_cancelling_ends_the_program() -> None:
    code = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'while True: pass', 'cancel-marker-1'])"
    call = asyncio.create_task(run(code=code, timeout_s=60))
    while not left("cancel-marker-1"):
        await asyncio.sleep(0.02)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert left("cancel-marker-1") == []


async def test_there_is_no_network_where_the_result_says_so() -> None:
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError as e: print(e.errno)"

    done = await run(code=code)

    assert "files" in done["not_contained"]
    assert ("network" in done["containment"]) != ("network" in done["not_contained"])
    if "network" in done["containment"]:
        assert done["stdout"] in ("101\n", "99\n")


async def test_input_that_is_not_read_does_no_harm() -> None:
    assert (await run(code="print(1)", stdin="x" * 1_000_000))["stdout"] == "1\n"


async def test_without_namespaces_time_and_processes_are_still_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    endless = await run(code="while True: pass", timeout_s=0.5)
    many = await run(code="import os\nwhile True: os.fork()", timeout_s=5)

    assert endless["not_contained"] == ["files", "network", "processes"]
    assert endless["ended_by"] == "time"
    assert many["passed"] is False
