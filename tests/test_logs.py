"""Log lines: what they say, what they are about, and that they hold no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cogwork.observability.logs import OURS, configured
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from cogwork.workflow_engine import WorkflowEngine
from state.bearing import bearing, borne

pytestmark = pytest.mark.req("M8")
CANARY = "canary-91aa-do-not-tell"
log = logging.getLogger("cogwork.tests")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The loggers are as they were afterwards."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in OURS}
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(folder: Path, form: str = "json", level: str = "info") -> io.StringIO:
    """Where log lines go from now on."""
    stream = io.StringIO()
    chosen: Any = {"log_format": form, "log_level": level}
    configured(Settings(state_dir=folder, workflows=[], secrets={"pass": CANARY}, observability=chosen), stream)
    return stream


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_its_time_level_logger_message_template_and_what_it_is_about(tmp_path: Path) -> None:
    stream = lines(tmp_path)
    with bearing(execution_id="e-1", run="r"), bearing(step="look"):
        log.warning("Tried %s times", 3, extra={"request_id": "q-7"})
    (line,) = read(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "cogwork.tests",
        "message": "Tried 3 times",
        "template": "Tried %s times",
        "execution_id": "e-1",
        "run": "r",
        "step": "look",
        "request_id": "q-7",
    }
    assert borne() == {}


def test_a_line_of_text_says_the_same_and_is_one_line(tmp_path: Path) -> None:
    stream = lines(tmp_path, "text")
    with bearing(run="r"):
        log.info("Two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("info    cogwork.tests: Two\\nlines run=r")


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_in_a_message_a_field_or_a_traceback(form: str, tmp_path: Path) -> None:
    stream = lines(tmp_path, form)
    log.error("It is %s", CANARY, extra={"header": f"Bearer {CANARY}"})
    try:
        raise ValueError(f"wrong password {CANARY}")
    except ValueError:
        log.exception("Failed")
    assert CANARY not in stream.getvalue()
    assert stream.getvalue().count("secret://pass") >= 3


def test_the_level_is_that_of_the_settings_and_asking_again_writes_nothing_twice(tmp_path: Path) -> None:
    first = lines(tmp_path, level="debug")
    log.debug("once")
    second = lines(tmp_path, level="error")
    log.warning("not told")
    log.error("told")
    logging.getLogger("somebody.else").info("not ours")
    assert [line["message"] for line in read(first)] == ["once"]
    assert [line["message"] for line in read(second)] == ["told"]


async def test_what_a_tool_logs_says_of_which_execution_run_and_step_it_is(tmp_path: Path) -> None:
    stream = lines(tmp_path)

    async def tell(word: str) -> str:
        log.info("Told %s", word)
        return word

    tool = FunctionTool.from_function(tell, name="test.tell", description="Tell.", effect="read")
    spec = {
        "cogwork": "v1",
        "name": "tells",
        "nodes": {"a": {"type": "tool", "tool": "test.tell", "args": {"word": "x"}}},
    }
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), tools=[tool]) as engine:
        execution = await engine.execute_workflow(spec, {})
        result = await execution.wait()
    (line,) = [line for line in read(stream) if line["logger"] == "cogwork.tests"]
    assert line["execution_id"] == line["thread"] == execution.id
    assert line["step"] == "a" and line["run"] == result["run"]
