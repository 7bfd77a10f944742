"""Chains of tool calls: run one after the other, at once or by condition, with their results as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command
from typer.testing import CliRunner, Result
from typing_extensions import TypedDict

import cogwork
from cogwork.cli.root import cli
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from state.errors import Asked, Fault, InputRefused, SpecError
from state.services import CallContext
from state.values import Json

pytestmark = [pytest.mark.req("X8", "T3")]


class Said(TypedDict):
    """What was said."""

    said: str


class Bench:
    """Tools that keep a log; ``shout`` fails for what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self.refuses: set[str] = set()
        self.settings = Settings(state_dir=folder / "state", workflows=[folder])

        @cogwork.tool(effect="read")
        def shout(text: str) -> Said:
            self.log.append(text)
            if text in self.refuses:
                raise Fault("rate_limited", f"{text} is too much", origin="tool", retry_after=7, details={"text": text})
            return {"said": text.upper()}

        @cogwork.tool(name="asks.first", effect="write")
        async def asks(what: str, context: CallContext) -> str:
            if "q" not in context.answers:
                form = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
                raise Asked("q", f"Really {what}?", form)
            return f"{what} {context.answers['q']['answer']['ok']}"

        self.tools = [shout, asks]

    def run(self, request: Any, **more: Any) -> dict[str, Any]:
        """The integrated results of a chain."""
        return cogwork.run_chain(request, tools=self.tools, settings=self.settings, **more)

    def codes(self, *calls: dict[str, Json], **more: Json) -> set[str]:
        """The codes for which a chain is refused."""
        with pytest.raises(SpecError) as refused:
            self.run({"chain": list(calls), **more})
        return {problem.code for problem in refused.value.problems}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh bench."""
    return Bench(tmp_path)


def shout(text: str, **more: Json) -> dict[str, Json]:
    """A call of the tool that shouts."""
    return {"tool": "shout", "args": {"text": text}, **more}


def ids(entries: list[dict[str, Json]]) -> list[str]:
    """The ids of the calls in a list of results."""
    return [entry["id"] for entry in entries]


# -- orchestrations ----------------------------------------------------------------------------------------------


def test_a_sequential_chain_hands_each_result_on_as_previous(bench: Bench) -> None:
    done = bench.run([shout("a"), shout("{{ previous.said }}!"), shout("{{ previous.said }} after {{ shout.said }}")])
    assert bench.log == ["a", "A!", "A! after A"]
    assert (done["status"], done["output"]) == ("complete", {"said": "A! AFTER A"})
    assert (done["successful"], done["failed"]) == (["shout", "shout_2", "shout_3"], [])
    assert done["results"]["shout_2"] == {"said": "A!"}


def test_a_failed_call_ends_a_sequential_chain_as_partial_and_says_why(bench: Bench) -> None:
    bench.refuses = {"b"}
    done = bench.run([shout("a"), shout("b", id="second"), shout("c", id="third")])
    assert bench.log == ["a", "b"]
    assert (done["status"], done["output"], done["successful"]) == ("partial", {"said": "A"}, ["shout"])
    assert done["failed"] == [
        {
            "id": "second",
            "tool": "shout",
            "class": "rate_limited",
            "message": "b is too much",
            "origin": "tool",
            "recoverable": True,
            "retry_after": 7,
            "details": {"text": "b"},
        }
    ]
    assert [(each["id"], each["by"]) for each in done["metadata"]["not_made"]] == [("third", "second")]


def test_a_chain_of_which_nothing_succeeds_has_failed(bench: Bench) -> None:
    bench.refuses = {"a"}
    done = bench.run([shout("a"), shout("{{ previous.said }}")])
    assert (done["status"], done["output"], done["successful"]) == ("failed", None, [])
    assert ids(done["failed"]) == ["shout"]


def test_the_calls_of_a_parallel_chain_do_not_wait_for_each_other_and_fail_each_for_itself(bench: Bench) -> None:
    bench.refuses = {"b"}
    done = bench.run({"chain": [shout("a"), shout("b"), shout("c")], "orchestration": "parallel"})
    assert sorted(bench.log) == ["a", "b", "c"]
    assert (done["status"], ids(done["failed"])) == ("partial", ["shout_2"])
    assert done["output"] == {"shout": {"said": "A"}, "shout_2": None, "shout_3": {"said": "C"}}
    workflow = cogwork.chain([shout("a"), shout("b")], "parallel", tools=bench.tools, settings=bench.settings)
    assert [step.depends_on for step in workflow.spec.nodes.values()][:2] == [[], []]


@pytest.mark.parametrize(
    ("refused", "made", "status"),
    [
        (set(), ["a", "A", "last"], "complete"),
        ({"a"}, ["a", "mend"], "partial"),
        ({"a", "mend"}, ["a", "mend"], "failed"),
    ],
)
def test_a_conditional_chain_takes_the_calls_whose_conditions_hold(
    bench: Bench, refused: set[str], made: list[str], status: str
) -> None:
    bench.refuses = refused
    calls = [
        shout("a", id="first"),
        shout("{{ first?.said }}", id="good", when="steps.first.success"),
        shout("mend", id="bad", when="steps.first.error?.class == 'rate_limited'"),
        shout("last", id="last"),
    ]
    done = bench.run({"chain": calls, "orchestration": "conditional"})
    assert (bench.log, done["status"]) == (made, status)


def test_in_a_conditional_chain_previous_is_null_where_the_call_before_has_no_value(bench: Bench) -> None:
    calls = [
        shout("a", id="a"),
        shout("never", id="b", when="previous.said == 'B'"),
        shout("{{ previous }}|{{ previous.said }}|{{ a?.said }}", id="c", when="previous == null"),
    ]
    done = bench.run({"chain": calls, "orchestration": "conditional"})
    assert bench.log == ["a", "||A"]
    assert (done["status"], ids(done["metadata"]["not_made"])) == ("complete", ["b"])
    assert done["metadata"]["not_made"][0]["reason"] == "when_false"


# -- the request -------------------------------------------------------------------------------------------------


def test_the_request_of_the_documents_runs_as_it_is(bench: Bench) -> None:
    request = {
        "chain": [
            {"toolName": "shout", "parameters": {"text": "{{ previous_results.draft.text }}"}},
            {
                "toolName": "shout",
                "parameters": {"text": "{{ context.session.id }}"},
                "executionOptions": {"timeout": 5},
            },
        ],
        "orchestration": "parallel",
        "context": {
            "workflowExecutionId": "exec-1",
            "stepId": "send",
            "sessionContext": {"session": {"id": "s-1"}},
            "previousStepResults": {"draft": {"text": "{{ run.id }}"}},
        },
    }
    done = bench.run(request)
    assert sorted(bench.log) == ["s-1", "{{ run.id }}"]
    assert done["status"] == "complete"
    loaded = cogwork.load(request)
    assert loaded.dialect == "tool_chain"
    assert loaded.spec.metadata["requested_by"] == {"run": "exec-1", "step": "send"}
    assert "s-1" not in loaded.spec.model_dump_json()


def test_names_that_the_chain_leaves_open_are_its_input(bench: Bench) -> None:
    request = [shout("{{ word }}"), shout("{{ other | default: 'none' }}")]
    assert bench.run(request, input={"word": "x"})["status"] == "complete"
    assert bench.log == ["x", "none"]
    with pytest.raises(InputRefused, match="word"):
        bench.run(request)


@pytest.mark.parametrize(
    ("calls", "more", "code"),
    [
        ([], {}, "missing_key"),
        ([{"args": {"text": "a"}}], {}, "missing_key"),
        ([{"tool": "shuot", "args": {"text": "a"}}], {}, "unknown_tool"),
        ([{"tool": "shout", "args": {"texts": "a"}}], {}, "unknown_argument"),
        ([shout("{{ previous.said }}")], {}, "unknown_reference"),
        ([shout("a"), shout("{{ previous.said }}")], {"orchestration": "parallel"}, "unknown_reference"),
        ([shout("a"), shout("{{ previous.sad }}")], {}, "type_mismatch"),
        ([shout("a"), shout("b")], {"orchestration": "spiral"}, "bad_value"),
        ([shout("a", when="true")], {}, "unknown_key"),
        ([shout("a", id="x"), shout("b", id="x")], {}, "duplicate_key"),
        ([shout("a", id="chain_result")], {}, "duplicate_key"),
        ([shout("a", tooll="b")], {}, "unknown_key"),
        ([shout("{{ later.said }}"), shout("b", id="later")], {}, "cycle"),
    ],
)
def test_what_is_wrong_with_a_chain_is_found_before_anything_is_called(
    bench: Bench, calls: list[dict[str, Json]], more: dict[str, Json], code: str
) -> None:
    assert code in bench.codes(*calls, **more)
    assert bench.log == []


def test_a_workflow_that_is_no_chain_is_refused(bench: Bench) -> None:
    with pytest.raises(SpecError, match="no tool chain"):
        bench.run({"cogwork": "v1", "name": "n", "nodes": {"a": {"type": "transform", "set": 1}}})


def test_what_a_tool_returns_is_data_and_never_read_as_language(bench: Bench) -> None:
    done = bench.run([shout("{{ '{{ run.id }}' }}"), shout("{{ previous.said }}", id="again")])
    assert bench.log == ["{{ run.id }}", "{{ RUN.ID }}"]
    assert done["status"] == "complete"


# -- runs --------------------------------------------------------------------------------------------------------


def test_a_chain_tells_how_often_it_tried_how_long_it_took_and_which_run_it_was(bench: Bench) -> None:
    bench.refuses = {"a"}
    retried = shout("a", executionOptions={"retry": {"max_retries": 2, "backoff": 0.001, "on": ["invalid_input"]}})
    done = bench.run([retried])
    assert done["metadata"]["attempts"] == {"shout": 1}
    retried["executionOptions"]["retry"]["on"] = ["invalid_output"]
    about = bench.run([retried])["metadata"]
    assert (about["orchestration"], len(about["run"]), about["usage"], about["seconds"] >= 0) == (
        "sequential",
        32,
        {},
        True,
    )


def test_a_chain_whose_tool_asks_a_person_rests_and_goes_on_with_the_answer(bench: Bench, tmp_path: Path) -> None:
    request = [{"tool": "asks.first", "args": {"what": "it"}}, shout("{{ previous }}")]
    with SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
        rests = bench.run(request, checkpointer=saver)
        assert (rests["status"], rests["questions"][0]["ask"]) == ("paused", "Really it?")
        workflow = cogwork.chain(request, tools=bench.tools, settings=bench.settings)
        graph = cogwork.compile(workflow, checkpointer=saver, tools=bench.tools, settings=bench.settings)
        done = graph.invoke(Command(resume={"ok": True}), {"configurable": {"thread_id": rests["thread"]}})
    assert (done["output"]["status"], bench.log) == ("complete", ["it True"])


async def test_without_checkpoints_a_call_that_asks_has_failed_and_the_chain_says_so(bench: Bench) -> None:
    request = {"chain": [{"tool": "asks.first", "args": {"what": "it"}}, shout("b")], "orchestration": "parallel"}
    done = await cogwork.arun_chain(request, tools=bench.tools, settings=bench.settings)
    assert (done["status"], done["failed"][0]["class"]) == ("partial", "refused")


# -- the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs one command in a folder with a file to read."""
    for name in ("COGWORK_PYTHON_TOOLS", "COGWORK_WORKFLOWS", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("alpha\n", encoding="utf-8")
    return lambda *words: CliRunner().invoke(cli, list(words))


def read(path: str) -> dict[str, Json]:
    """A call that reads a file."""
    return {"tool": "text.read", "args": {"path": path}}


def test_the_command_runs_a_chain_from_json_or_a_file_and_exits_by_how_it_went(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    whole = command("chain", json.dumps({"chain": [read("{{ path }}")]}), "-i", "path=a.txt", "--json")
    assert (whole.exit_code, json.loads(whole.stdout.splitlines()[-1])["output"]["status"]) == (0, "complete")
    chain = "orchestration: parallel\nchain:\n- {tool: text.read, args: {path: a.txt}}\n- {tool: text.read, args: {path: no}}\n"
    (tmp_path / "both.yaml").write_text(chain, encoding="utf-8")
    part = command("chain", "both.yaml")
    assert (part.exit_code, part.stdout.splitlines()[0]) == (1, "status: partial")
    assert "error: text.read: 'no' does not exist" in part.stderr
    assert command("chain", json.dumps([{"tool": "text.raed"}])).exit_code == 1
    assert command("chain", "nowhere.yaml").exit_code == 4
    assert command("check", "both.yaml").exit_code == 0


def test_the_command_calls_one_tool_with_values_that_are_data(command: Callable[..., Result]) -> None:
    done = command("call", "text.read", "-i", "path=a.txt", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["output"]["text"] == "alpha\n"
    failed = command("call", "text.read", "-i", "path={{ run.id }}")
    assert (failed.exit_code, "'{{ run.id }}' does not exist" in failed.stderr) == (1, True)
    unknown = command("call", "text.raed")
    assert (unknown.exit_code, "did you mean 'text.read'?" in unknown.stderr) == (1, True)
    wrong = command("call", "text.read", "-i", "pth=a.txt")
    assert (wrong.exit_code, "text.read has no input 'pth'" in wrong.stderr) == (2, True)
