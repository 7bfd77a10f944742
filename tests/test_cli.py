"""The command line: what a person types, sees and gets back, in one process and across several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.root import cli

pytestmark = pytest.mark.timeout(900)
"""Many processes one after the other, each of seconds on a loaded machine."""
HOUSE = Path(__file__).resolve().parent.parent
Cogwork = Callable[..., Result]

ASKS = """
cogwork: v1
name: asks
description: Two words go through a loop, then a person is asked.
input:
  words: {type: array, items: {type: string}, default: [one, two]}
  limit: {type: integer, default: 1}
  loud: {type: boolean, default: false}
nodes:
  each:
    for_each: input.words
    nodes: {say: {type: transform, set: "{{ upper(item) }}"}}
  many:
    type: condition
    cases: [{if: "size(input.words) > input.limit", then: ask}]
    else: few
  ask:
    type: human
    ask: "Keep {{ size(each) }} words?"
    show: {words: "{{ each }}"}
    form:
      decision: {enum: [keep, drop]}
      comment: {type: string, default: ""}
  few: {type: transform, set: few}
  after: {type: transform, set: "{{ few }}!"}
output: {decision: "{{ ask?.decision | default: 'none' }}", loud: "{{ input.loud }}", words: "{{ each }}"}
"""
TWO = """
cogwork: v1
name: two
nodes:
  first: {type: human, ask: "First?", form: {ok: {type: boolean}}}
  second: {type: human, ask: "Second?", form: {ok: {type: boolean}, count: {type: integer, default: 1}}}
output: {first: "{{ first.ok }}", second: "{{ second.count }}"}
"""
FAILS = """
cogwork: v1
name: fails
nodes:
  read: {type: tool, tool: text.read, args: {path: nothere.txt}}
  next: {type: transform, set: "{{ json(read) }}"}
"""
FAULTY = """
cogwork: v1
name: faulty
nodes:
  read: {type: tool, tool: text.raed, args: {path: a.txt}}
  next: {type: transform, set: "{{ raed }}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a few workflows, without settings from outside."""
    for name in [name for name in os.environ if name.startswith(("COGWORK_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, text in {"asks": ASKS, "two": TWO, "fails": FAILS, "faulty": FAULTY}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def cogwork(folder: Path) -> Cogwork:
    """Runs one command in this process."""
    runner = CliRunner()
    return lambda *words, **more: runner.invoke(cli, [str(word) for word in words], **more)


def process(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run(command(*words), cwd=folder, env=clean(), capture_output=True, text=True, timeout=280, **more)


@contextmanager
def started(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A command at work and its standard error; ended with force where the test does not end it."""
    running = subprocess.Popen(command(*words), cwd=folder, env=clean(), stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    with running:
        try:
            yield running, running.stderr
        finally:
            running.kill()


def read_until(said: IO[str], beginning: str) -> None:
    """Read lines up to the one that begins so; fails where the command ends before."""
    seen = []
    for line in said:
        if line.startswith(beginning):
            return
        seen.append(line)
    raise AssertionError("".join(seen))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cogwork", *words]


def clean() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COGWORK_", "OPENAI_"))}
    return {**kept, "PYTHONPATH": str(HOUSE), "NO_COLOR": "1"}


def last(result: Result) -> dict[str, Any]:
    """The result line of a ``--json`` run."""
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


# -- run and resume ------------------------------------------------------------------------------------------------


@pytest.mark.req("D4")
def test_a_run_rests_in_one_process_and_is_resumed_in_another(folder: Path) -> None:
    first = process(folder, "run", "asks.yaml", "--thread", "t1")
    assert first.returncode == 3, first.stderr
    assert "Keep 2 words?" in first.stdout
    assert "cogwork resume t1 -a decision=keep" in first.stdout
    second = process(folder, "resume", "t1", "-a", "decision=keep")
    assert second.returncode == 0, second.stderr
    assert "decision: keep" in second.stdout


def test_the_printed_command_resumes_as_it_is(cogwork: Cogwork) -> None:
    rested = cogwork("run", "asks.yaml", "--json")
    words = last(rested)["resume"].split()
    assert rested.exit_code == 3
    assert words[0] == "cogwork"
    assert cogwork(*words[1:]).exit_code == 0


def test_a_new_run_gets_a_short_thread_of_its_own(cogwork: Cogwork) -> None:
    threads = {last(cogwork("run", "asks.yaml", "--json"))["thread"] for _ in range(3)}
    assert len(threads) == 3
    assert all(thread.startswith("asks-") and len(thread) == len("asks-") + 6 for thread in threads)


def test_inputs_are_read_by_the_schema(cogwork: Cogwork) -> None:
    done = cogwork("run", "asks.yaml", "-i", "words=10", "-i", "limit=5", "-i", "loud=yes", "--json")
    assert done.exit_code == 0
    assert last(done)["output"] == {"decision": "none", "loud": True, "words": ["10"]}


def test_a_list_is_given_by_repeating_its_name(cogwork: Cogwork) -> None:
    done = cogwork("run", "asks.yaml", "-i", "words=a", "-i", "words=b", "-i", "limit=9", "--json")
    assert last(done)["output"]["words"] == ["A", "B"]


@pytest.mark.parametrize("how", ["json", "file", "stdin"])
def test_all_inputs_may_come_as_an_object(cogwork: Cogwork, folder: Path, how: str) -> None:
    (folder / "in.yaml").write_text("words: [x]\nlimit: 3\n", encoding="utf-8")
    given = {"json": '{"words": ["x"], "limit": 3}', "file": "in.yaml", "stdin": "-"}[how]
    done = cogwork("run", "asks.yaml", "--input", given, "--json", input='{"words": ["x"], "limit": 3}')
    assert last(done)["output"]["words"] == ["X"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-i", "wrods=a"], "did you mean 'words'?"),
        (["-i", "words"], "name=value"),
        (["-i", "limit=many"], "/limit"),
        (["-i", "limit=1", "-i", "limit=2"], "is no list"),
        (["--input", "[1]"], "no such file"),
        (["--input", "{"], "not JSON"),
    ],
)
def test_a_wrong_input_is_refused_before_anything_runs(cogwork: Cogwork, words: list[str], said: str) -> None:
    result = cogwork("run", "asks.yaml", *words)
    assert result.exit_code in (2, 4)
    assert said in result.stderr.lower() or said in result.stderr
    assert "Traceback" not in result.output
    assert json.loads(cogwork("list", "--json").stdout) == []


def test_answers_may_be_given_with_the_run(cogwork: Cogwork) -> None:
    done = cogwork("run", "asks.yaml", "--answer", 'ask={"decision": "drop"}', "--json")
    assert (done.exit_code, last(done)["output"]["decision"]) == (0, "drop")


def test_several_questions_are_answered_by_step_and_field(cogwork: Cogwork) -> None:
    rested = cogwork("run", "two.yaml", "--thread", "t")
    assert "-a first.ok=true" in rested.stdout
    assert cogwork("resume", "t", "-a", "ok=true").exit_code == 2
    half = cogwork("resume", "t", "-a", "first.ok=true")
    assert half.exit_code == 3
    assert "Second?" in half.stdout
    assert "First?" not in half.stdout
    done = cogwork("resume", "t", "-a", "ok=false", "-a", "count=7", "--json")
    assert last(done)["output"] == {"first": True, "second": 7}


@pytest.mark.parametrize(
    "answer", [["-a", "decision=maybe"], ["-a", "decison=keep"], ["--answer", "ask={"], ["-a", "x"]]
)
def test_a_wrong_answer_is_refused_and_the_question_stays_open(cogwork: Cogwork, answer: list[str]) -> None:
    cogwork("run", "asks.yaml", "--thread", "t")
    refused = cogwork("resume", "t", *answer)
    assert refused.exit_code == 2
    assert "error:" in refused.stderr
    assert json.loads(cogwork("status", "t", "--json").stdout)["status"] == "paused"
    assert cogwork("resume", "t", "-a", "decision=keep").exit_code == 0


def test_an_answer_to_a_step_that_asks_nothing_is_refused(cogwork: Cogwork) -> None:
    cogwork("run", "asks.yaml", "--thread", "t")
    refused = cogwork("resume", "t", "--answer", "many={}")
    assert refused.exit_code == 2
    assert "Nothing is asked at 'many'" in refused.stderr


def test_resuming_without_an_answer_asks_again(cogwork: Cogwork) -> None:
    cogwork("run", "asks.yaml", "--thread", "t")
    again = cogwork("resume", "t")
    assert again.exit_code == 3
    assert "Keep 2 words?" in again.stdout


def test_an_unknown_run_is_not_found_and_a_near_one_is_named(cogwork: Cogwork) -> None:
    cogwork("run", "asks.yaml", "--thread", "asks-abc123")
    missing = cogwork("resume", "asks-abc124")
    assert missing.exit_code == 4
    assert "did you mean asks-abc123?" in missing.stderr


def test_a_run_is_found_by_the_beginning_of_its_name_or_id(cogwork: Cogwork) -> None:
    run = last(cogwork("run", "asks.yaml", "--thread", "asks-abc", "--json"))["run"]
    for name in ("asks-a", run, run[:10]):
        assert json.loads(cogwork("status", name, "--json").stdout)["thread"] == "asks-abc"


def test_a_finished_run_cannot_be_resumed(cogwork: Cogwork) -> None:
    cogwork("run", "asks.yaml", "-i", "limit=5", "--thread", "t")
    refused = cogwork("resume", "t")
    assert refused.exit_code == 4
    assert "completed" in refused.stderr


def test_a_run_goes_on_with_the_workflow_it_began_with(cogwork: Cogwork, folder: Path) -> None:
    cogwork("run", "asks.yaml", "--thread", "t")
    (folder / "asks.yaml").write_text("no longer a workflow", encoding="utf-8")
    assert cogwork("resume", "t", "-a", "decision=keep").exit_code == 0


def test_a_run_whose_workflow_was_not_kept_says_so(cogwork: Cogwork, folder: Path) -> None:
    cogwork("run", "asks.yaml", "--thread", "t")
    for kept in (folder / ".cogwork").glob("records.sqlite*"):
        kept.unlink()
    refused = cogwork("resume", "t", "-a", "decision=keep")
    assert refused.exit_code == 4
    assert "cannot go on" in refused.stderr


def test_nothing_is_kept_without_checkpoints(cogwork: Cogwork, folder: Path) -> None:
    rested = cogwork("run", "asks.yaml", "--no-checkpoint")
    assert rested.exit_code == 3
    assert "nothing of this run was kept" in rested.stderr
    assert not (folder / ".cogwork").exists()


def test_a_failed_run_says_where_and_how_to_learn_more(cogwork: Cogwork) -> None:
    failed = cogwork("run", "fails.yaml", "--thread", "t")
    assert failed.exit_code == 1
    assert "failed at read" in failed.stderr
    assert "cogwork why t read" in failed.stderr


def test_json_is_one_object_a_line_and_the_result_comes_last(cogwork: Cogwork) -> None:
    result = cogwork("run", "asks.yaml", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[0]["event"] == "run.started"
    assert events[-1]["event"] == "result"
    assert events[-1]["status"] == "paused"
    assert events[-1]["questions"][0]["at"] == "ask"
    assert result.stderr == ""


def test_progress_goes_to_standard_error_and_the_result_to_standard_output(folder: Path) -> None:
    done = process(folder, "run", "asks.yaml", "-i", "limit=5")
    assert done.returncode == 0
    assert "– ask  not chosen by many" in done.stderr
    assert done.stdout.startswith("decision: none\n")
    assert "\x1b" not in done.stdout + done.stderr


def test_an_unknown_workflow_is_not_found_and_a_near_one_is_named(cogwork: Cogwork) -> None:
    missing = cogwork("run", "incident_triag")
    assert missing.exit_code == 4
    assert "incident_triage" in missing.stderr


def test_a_faulty_workflow_is_not_run(cogwork: Cogwork) -> None:
    refused = cogwork("run", "faulty.yaml")
    assert refused.exit_code == 1
    assert "unknown_tool" in refused.stderr


def test_ctrl_c_leaves_the_run_resumable_and_says_how(folder: Path) -> None:
    (folder / "long.yaml").write_text(
        "cogwork: v1\nname: long\nnodes:\n"
        "  start: {type: transform, set: {n: 1}}\n"
        "  rounds:\n    depends_on: start\n"
        "    repeat: {max_iterations: 10000, until: iteration >= 9999}\n"
        "    nodes: {n: {type: transform, set: '{{ iteration }}'}}\n",
        encoding="utf-8",
    )
    with started(folder, "run", "long.yaml", "--thread", "t") as (running, said):
        read_until(said, "✓ rounds[0]")
        assert "running" in process(folder, "status", "t").stdout
        other = process(folder, "resume", "t")
        assert (other.returncode, "Somebody else" in other.stderr) == (4, True)
        running.send_signal(signal.SIGINT)
        rest = said.read()
        assert running.wait() == 130
    assert "cogwork resume t" in rest
    assert "Traceback" not in rest
    assert json.loads(process(folder, "status", "t", "--json").stdout)["status"] == "unfinished"


def test_ctrl_c_waits_for_no_tool_that_blocks_its_thread(folder: Path) -> None:
    (folder / "blocked.py").write_text(
        "import sys, threading\n"
        "from cogwork.app import app\n"
        "from cogwork.cli import main, root\n"
        "from cogwork.cli.answers import Given\n"
        "from cogwork.cli.drive import Drive\n"
        "def block() -> None:\n"
        "    print('blocked', file=sys.stderr, flush=True)\n"
        "    threading.Event().wait()\n"
        "@root.cli.command()\n"
        "def drive() -> None:\n"
        "    spec = {'cogwork': 'v1', 'name': 'blocked', 'nodes': {'a': {'type': 'tool', 'tool': 'block'}}}\n"
        "    graph = app(tools=[block]).compile(spec, checkpointer='c.sqlite')\n"
        "    drive = Drive(graph=graph, thread='t', given=Given(), json=False, interactive=False)\n"
        "    raise SystemExit(drive.go({}))\n"
        "sys.argv = ['cogwork', 'drive']\n"
        "main()\n",
        encoding="utf-8",
    )
    words = [sys.executable, "blocked.py"]
    with subprocess.Popen(words, cwd=folder, env=clean(), stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            read_until(running.stderr, "blocked")
            running.send_signal(signal.SIGINT)
            rest = running.stderr.read()
            assert running.wait() == 130
        finally:
            running.kill()
    assert "cogwork resume t" in rest
    assert "Traceback" not in rest


def test_a_killed_run_is_unfinished_and_goes_on(folder: Path) -> None:
    (folder / "long.yaml").write_text(
        "cogwork: v1\nname: long\nnodes:\n"
        "  rounds:\n"
        "    repeat: {max_iterations: 400, until: iteration >= 300}\n"
        "    nodes: {n: {type: transform, set: '{{ iteration }}'}}\n"
        "output: '{{ rounds }}'\n",
        encoding="utf-8",
    )
    with started(folder, "run", "long.yaml", "--thread", "t") as (running, said):
        read_until(said, "✓ rounds[2]")
        running.kill()
    assert json.loads(process(folder, "list", "--status", "unfinished", "--json").stdout)[0]["thread"] == "t"
    done = process(folder, "resume", "t")
    assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr
    assert "rounds[0]" not in done.stderr


def test_help_imports_little_and_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['cogwork', '--help']\n"
        "from cogwork.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'langgraph', 'langchain_core', 'jsonschema', 'rich.live', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert len(sys.modules) < 600, len(sys.modules)"  # what its time depends on, and not on the machine's load
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=clean(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
