"""The tool that runs Python that others wrote, in a child process with limits."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from cogwork.tools.function import FunctionTool
from cogwork.tools.sandbox import Sandbox
from state.errors import Fault

MAX_FILES: Final = 200
REFUSAL: Final = (
    "Running Python is not allowed here: set COGWORK_ALLOW_PYTHON=true, or allow_python = true in cogwork.toml."
)
# Not -I, which would keep a program from importing the files beside it; there is no environment to ignore but ours.
_PYTHON: Final = (sys.executable, "-E", "-s", "-B", "-X", "utf8")
_TESTS: Final = """
import importlib.util, inspect, sys, unittest
sys.path.insert(0, ".")
spec = importlib.util.spec_from_file_location("tests_under_run", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
suite = unittest.defaultTestLoader.loadTestsFromModule(module)
for name, found in vars(module).items():
    if name.startswith("test") and inspect.isfunction(found) and not inspect.signature(found).parameters:
        suite.addTest(unittest.FunctionTestCase(found, description=name))
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
"""


class PythonRun(TypedDict):
    """How a program ended. ``passed``: by itself, with exit code 0 (tests: at least one ran and none failed).

    ``containment`` names what the program could not get around, ``not_contained`` what it was not kept from.
    ``ended_by`` is time, processes or output when a limit ended it; ``truncated`` when output was cut at 64 KiB.
    """

    exit_code: int | None
    passed: bool
    stdout: str
    stderr: str
    truncated: bool
    timed_out: bool
    ended_by: str | None
    duration_s: float
    containment: list[str]
    not_contained: list[str]


class PythonAllowed(TypedDict):
    """Whether ``python.run`` runs anything here; ``reason`` says what to set where it does not, else it is empty."""

    allowed: bool
    reason: str


def python_tools(sandbox: Sandbox | None) -> list[FunctionTool]:
    """The tools of this module; without a sandbox ``python.run`` is there, so that specs can name it, and refuses."""
    running = FunctionTool.from_function(
        partial(run, sandbox or Sandbox()), name="python.run", effect="write", idempotent=False, needs_approval=True
    )
    reason = "" if sandbox else REFUSAL
    return [
        running if sandbox else replace(running, function=_refuse),
        FunctionTool.from_function(partial(allowed, reason), name="python.allowed", effect="none"),
    ]


def allowed(reason: str) -> PythonAllowed:
    """Tell whether the settings allow python.run, so that nobody is asked to approve what would be refused."""
    return PythonAllowed(allowed=not reason, reason=reason)


def _refuse(**_: Any) -> None:
    raise Fault("permission_denied", REFUSAL, origin="tool")


async def run(
    sandbox: Sandbox,
    code: Annotated[str | None, "A program; it becomes the file main.py."] = None,
    files: Annotated[dict[str, str] | None, "Files by relative name, such as pkg/mod.py."] = None,
    entry: Annotated[str | None, "The file to run; main.py, or the only file, when not given."] = None,
    test: Annotated[str | None, "A test file to run instead: unittest cases and plain test functions."] = None,
    stdin: Annotated[str, "What the program reads."] = "",
    timeout_s: Annotated[float, Field(gt=0, le=300, description="Seconds after which it is ended.")] = 30.0,
    memory_mb: Annotated[int, Field(ge=64, le=8_192, description="Memory of each of its processes.")] = 512,
) -> PythonRun:
    """Run a Python program, or its tests, in a child process with limits and without network where the platform can."""
    given = _files(code, files)
    command = _command(given, entry, test)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="python-run-"))
    try:
        await asyncio.to_thread(_lay_out, folder, given)
        outcome = await sandbox.run(command, folder, timeout_s=timeout_s, memory_mb=memory_mb, stdin=stdin)
    finally:
        await asyncio.to_thread(_remove, folder)
    return PythonRun(
        exit_code=outcome.exit_code,
        passed=outcome.exit_code == 0 and outcome.ended_by is None,
        stdout=_placeless(outcome.stdout, folder),
        stderr=_placeless(outcome.stderr, folder),
        truncated=outcome.truncated,
        timed_out=outcome.ended_by == "time",
        ended_by=outcome.ended_by,
        duration_s=outcome.duration_s,
        containment=list(outcome.held),
        not_contained=list(outcome.missing),
    )


def _files(code: str | None, files: Mapping[str, str] | None) -> dict[PurePosixPath, str]:
    """The program's files by their names, each of which stays in its folder.

    Raises:
        Fault: ``invalid_input`` for nothing to run, too many files or a name that leads out.
    """
    given = {_name(name): text for name, text in (files or {}).items()}
    if code is not None:
        given[PurePosixPath("main.py")] = code
    if not given or len(given) > MAX_FILES:
        raise _unfit(f"Give a program as code or files, at most {MAX_FILES} of them.")
    return given


def _name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or len(name) > 200:
        raise _unfit(f"{name[:80]!r} is no file's name; give a relative one, without '..'.")
    return path


def _command(given: Mapping[PurePosixPath, str], entry: str | None, test: str | None) -> tuple[str, ...]:
    if test is not None and entry is not None:
        raise _unfit("Give either entry or test, not both.")
    wanted = test or entry or ("main.py" if PurePosixPath("main.py") in given else str(next(iter(given))))
    if test is None and entry is None and len(given) > 1 and wanted != "main.py":
        raise _unfit("There are several files and none is main.py; name the one to run in entry or test.")
    if _name(wanted) not in given:
        raise _unfit(f"{wanted!r} is not among the files: {', '.join(map(str, given))}.")
    target = str(_name(wanted))
    return (*_PYTHON, "-c", _TESTS, target) if test is not None else (*_PYTHON, f"./{target}")


def _lay_out(folder: Path, given: Mapping[PurePosixPath, str]) -> None:
    try:
        for name, text in given.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise _unfit(f"The files cannot stand together in one folder: {error.strerror}.") from error


def _remove(folder: Path) -> None:
    """Removes the folder, even where the program took away its own permissions."""

    def allowed(function: Callable[..., Any], path: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            if not Path(path).is_symlink():
                Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=allowed)


def _placeless(text: str, folder: Path) -> str:
    """What was printed, with the files named as they were given."""
    return text.replace(f"{folder}/./", "").replace(f"{folder}/", "")


def _unfit(message: str) -> Fault:
    return Fault("invalid_input", message, origin="tool")
