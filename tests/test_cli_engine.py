"""Executions from the command line: asked for, run by a worker process, followed, answered, told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GREET = """
cogwork: v1
name: greet
input: {name: {type: string, default: you}}
nodes:
  hello: {type: transform, set: {text: "hello {{ input.name }}"}}
  sure: {type: human, ask: "Send?", form: {go: {enum: [yes, no]}}}
  done: {type: transform, set: {text: "{{ hello.text }}: {{ sure.go }}"}}
output: "{{ done.text }}"
"""
PLAIN = (
    'cogwork: v1\nname: plain\ninput: {n: {type: integer}}\nnodes: {a: {type: transform, set: {x: "{{ input.n }}"}}}\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two workflows."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "greet.yaml").write_text(GREET)
    (tmp_path / "workflows" / "plain.yaml").write_text(PLAIN)
    return tmp_path


@pytest.fixture
def worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that takes from the queue."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cogwork", "worker"], cwd=folder, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    assert process.stderr is not None
    assert "takes executions" in process.stderr.readline()
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return {**{k: v for k, v in os.environ.items() if not k.startswith("COGWORK_")}, "PYTHONPATH": path}


def _run(folder: Path, *words: str, code: int = 0, stdin: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "cogwork", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        input=stdin,
        env=_environment(),
        timeout=120,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


@pytest.mark.req("E2", "M2", "M7", "X3")
def test_an_execution_is_asked_for_run_by_a_worker_answered_followed_and_told(
    folder: Path, worker: subprocess.Popen[str]
) -> None:
    asked = _run(folder, "start", "greet", "-i", "name=Ada", "--key", "k1", "--tag", "t", "--wait", "--json", code=3)
    assert asked["status"] == "paused" and asked["questions"][0]["at"] == "sure"
    again = _run(folder, "start", "greet", "-i", "name=Ada", "--key", "k1", "--json", code=3)
    assert again["execution_id"] == asked["execution_id"]
    _run(folder, "resume", asked["execution_id"], "-a", "go=yes", "--no-input")
    told = _run(folder, "result", asked["execution_id"], "--json")
    assert told["status"] == "completed" and told["output"]["primary_result"] == "hello Ada: yes"
    lines = _run(folder, "follow", asked["execution_id"]).splitlines()
    assert "run.started" in lines[0] and "run.completed" in lines[-1]
    page = _run(folder, "executions", "--tag", "t", "--status", "completed", "--json")
    assert [each["execution_id"] for each in page["executions"]] == [asked["execution_id"]]
    batch = _run(folder, "batch", "plain", "-", "--wait", "--json", stdin='{"n": 1}\n{"n": 2}\n')
    assert batch["counts"] == {"completed": 2}
    assert "no JSON" in _run(folder, "batch", "plain", "-", code=2, stdin="{\n")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, "it ends in order"
    waiting = _run(folder, "start", "plain", "-i", "n=1", "--json")
    assert waiting["status"] == "pending"
    cancelled = _run(folder, "executions", "--status", "pending")
    assert waiting["execution_id"] in cancelled


@pytest.mark.req("E1", "E7")
def test_what_is_asked_for_wrongly_is_refused_with_what_to_do(folder: Path) -> None:
    assert "did you mean" in _run(folder, "start", "plaim", "-i", "n=1", code=4)
    assert "priority" in _run(folder, "start", "plain", "-i", "n=1", "--priority", "urgent", code=2)
    assert "There is no queue" in _run(folder, "start", "plain", "-i", "n=1", "--queue", "fast", code=2)
    assert "There is no execution" in _run(folder, "result", "nothing", code=4)
    assert "There is no status" in _run(folder, "executions", "--status", "broken", code=2)
