"""Isolated executions: the same runs in processes of their own, whatever becomes of these, their workers and their limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from langgraph.checkpoint.memory import InMemorySaver

from cogwork.app import App
from cogwork.isolation import Isolation, Job, Zygote, isolated_events
from cogwork.isolation.frames import Broken, bounded, unpacked
from cogwork.isolation.zygote import PREFIX, swept
from cogwork.secrets import SecretSource, SecretStore
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.keeping import request
from graphs.language.dump import to_dict
from graphs.language.load import load
from state.errors import AnswerRefused, Asked, Fault, InputRefused, NotResumable, Owned
from state.events import Event
from state.services import CallContext, Services, Variable
from tests.clusters import schema
from tests.conftest import Stage, do, say
from tests.fakes import FakeTool, calls, fake_prompt, fake_services, unconsumed
from tests.hostile import TRIALS, Trial, World, attempt, lacking, orphans, world
from tests.threads import until

pytestmark = [pytest.mark.req("M2", "M9"), pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]
HOUSE = Path(__file__).parent.parent
MODES = {"superuser": (), "user_namespaces": ("root",), "limits_only": ("namespaces", "user")}


@pytest.fixture(scope="module")
def zygotes() -> Iterator[dict[str, Zygote]]:
    """Fork servers by what they use, each started when it is first wanted."""
    started: dict[str, Zygote] = {}
    os.environ["HOSTILE_CANARY"] = "canary-of-the-worker"
    yield started
    del os.environ["HOSTILE_CANARY"]
    for each in started.values():
        asyncio.run(each.aclose())


def _started(zygotes: dict[str, Zygote], mode: str) -> Zygote:
    if mode not in zygotes:
        made = Zygote(without=MODES[mode])
        asyncio.run(made.start())
        zygotes[mode] = made
    return zygotes[mode]


@pytest.fixture
def zygote(zygotes: dict[str, Zygote]) -> Zygote:
    """The strongest fork server that there is here."""
    return _started(zygotes, "superuser")


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteCheckpoints]:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as opened:
        yield opened


def bundle(spec: dict[str, Any], *used: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The canonical documents of a workflow and of those that it uses."""
    documents = (
        {"cogwork": "v1", "name": f"staged{number or ''}", **each} for number, each in enumerate((spec, *used))
    )
    return tuple(to_dict(load(each).spec) for each in documents)


class Isolated:
    """A spec on a thread, run in isolation as often as it is asked."""

    def __init__(self, zygote: Zygote, services: Services, saver: Any, spec: dict[str, Any], **about: Any) -> None:
        self.zygote, self.services, self.saver, self.spec = zygote, services, saver, spec
        self.limits = about.pop("limits", Isolation(wall_s=60))
        self.about = {"thread": "isolated", **about}

    async def go(self, **job: Any) -> list[Event]:
        """The events of one stretch."""
        return [event async for event in self.events(**job)]

    def events(self, **job: Any) -> AsyncIterator[Event]:
        """The same, as they come."""
        made = Job(**{"bundle": bundle(self.spec), **self.about, **job})
        return isolated_events(self.zygote, made, services=self.services, saver=self.saver, isolation=self.limits)

    async def values(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        found = await self.saver.aget_tuple({"configurable": {"thread_id": self.about["thread"]}})
        return dict(found.checkpoint["channel_values"]) if found is not None else {}


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.step) for event in events]


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def offspring(process: int) -> set[int]:
    """The processes that have come of one."""
    found = [process]
    for each in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{each}/task"):
                found += map(int, Path(f"/proc/{each}/task/{thread}/children").read_text().split())
    return set(found[1:])


async def _alone(zygote: Zygote) -> None:
    """Nothing is left of what the server has forked; a keeper that has told of the end is about to exit."""
    server = zygote.pid
    assert server is not None
    await until(lambda: not offspring(server))


# -- the same as without isolation -------------------------------------------------------------------------

FIVE: dict[str, Any] = {
    "input": {"topic": {"type": "string"}},
    "nodes": {
        "look": {"type": "tool", "tool": "t.look", "args": {"topic": "${input.topic}"}},
        "draft": {"type": "llm", "prompt": "Write of ${look}", "model": "m"},
        "well": {"type": "human", "ask": "Well?", "form": {"ok": {"type": "boolean"}}, "depends_on": ["draft"]},
        "which": {"type": "condition", "cases": [{"if": "well.ok", "then": "good"}], "else": "bad"},
        "good": {"type": "transform", "set": {"text": "${draft}"}},
        "bad": {"type": "transform", "set": {"text": "none"}},
    },
}


def five() -> Services:
    return fake_services({"t.look": FakeTool(results=[{"found": 3}])}, {"m": ["A fine text."]})


async def test_a_workflow_of_all_kinds_gives_the_same_events_and_outputs_as_without_isolation(
    zygote: Zygote, saver: SqliteCheckpoints
) -> None:
    from langgraph.types import Command

    from graphs.build import build

    services = five()
    graph = build(load(bundle(FIVE)[0]), services, lambda name, user: None, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "plain"}}
    plain = [event async for event in graph.aevents({"topic": "tea"}, config)]
    plain += [event async for event in graph.aevents(Command(resume={"well": {"ok": True}}), config)]
    run = Isolated(zygote, five(), saver, FIVE, tokens=True)
    isolated = await run.go(input={"topic": "tea"})
    assert isolated[-1].kind == "run.paused"
    assert isolated[-1].data["questions"][0]["form"] == plain[len(isolated) - 1].data["questions"][0]["form"]
    isolated += await run.go(answers={"well": {"ok": True}})
    assert told(isolated) == told(plain)
    assert isolated[-1].data["output"] == plain[-1].data["output"] == {"good": {"text": "A fine text."}}
    tokens = [event.data["text"] for event in isolated if event.kind == "step.token"]
    assert tokens == [event.data["text"] for event in plain if event.kind == "step.token"] and len(tokens) == 2
    assert [*unconsumed(run.services)] == []
    assert (await run.values())["run"]["digest"] == graph.digest


async def test_the_last_event_says_what_held_and_what_was_used(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    events = await Isolated(zygote, five(), saver, {"nodes": {"a": say(1)}}).go(input={})
    about = events[-1].data["isolation"]
    assert {*about["held"]}.isdisjoint(about["missing"]) and {"memory", "wall", "environment"} <= {*about["held"]}
    assert 0 < about["cpu_s"] < 10 and about["memory_mb"] > 10


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_is_the_same_in_the_weaker_containments_which_name_what_is_missing(
    zygotes: dict[str, Zygote], saver: SqliteCheckpoints, mode: str
) -> None:
    zygote = await asyncio.to_thread(_started, zygotes, mode)
    run = Isolated(zygote, five(), saver, FIVE)
    await run.go(input={"topic": "tea"})
    last = (await run.go(answers={"well": {"ok": False}}))[-1]
    assert last.data["output"] == {"bad": {"text": "none"}}
    missing = {*last.data["isolation"]["missing"]}
    if mode == "limits_only":
        assert {"network", "files", "disk", "orphans", "signals"} <= missing and last.data["isolation"]["reasons"]


async def test_postgresql_keeps_an_isolated_run_as_well(zygote: Zygote) -> None:
    from cogwork.store.postgres import PostgresCheckpoints

    with schema() as url, PostgresCheckpoints(url) as kept:
        run = Isolated(zygote, five(), kept, FIVE)
        assert (await run.go(input={"topic": "tea"}))[-1].kind == "run.paused"
        assert (await run.go(answers={"well": {"ok": True}}))[-1].kind == "run.completed"


async def test_eight_at_once_end_each_with_its_own_output(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    spec = {"input": {"n": {"type": "integer"}}, "nodes": {"a": do("${input.n}"), "b": say("${a}")}}
    runs = [Isolated(zygote, stage.services, saver, spec, thread=f"t{number}") for number in range(8)]
    ended = await asyncio.gather(*(run.go(input={"n": number}) for number, run in enumerate(runs)))
    assert [events[-1].data["output"] for events in ended] == [*range(8)]


async def test_a_used_workflow_comes_with_the_bundle(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    inner = {"name": "inner", "input": {"n": {"type": "integer"}}, "nodes": {"x": say("${input.n + 1}")}}
    spec = {"nodes": {"a": {"use": "inner", "with": {"n": 4}}}}
    run = Isolated(zygote, five(), saver, spec, bundle=bundle(spec, inner))
    assert (await run.go(input={}))[-1].data["output"] == 5


# -- what is refused ---------------------------------------------------------------------------------------


async def test_what_is_refused_before_anything_runs_raises_as_without_isolation(
    zygote: Zygote, saver: SqliteCheckpoints
) -> None:
    run = Isolated(zygote, five(), saver, FIVE)
    with pytest.raises(InputRefused, match="topic"):
        await run.go(input={"topic": 3})
    with pytest.raises(NotResumable, match="holds no run"):
        await run.go()
    await run.go(input={"topic": "tea"})
    with pytest.raises(AnswerRefused, match="well"):
        await run.go(answers={"well": {"ok": "perhaps"}})
    with pytest.raises(NotResumable, match="waits for an answer"):
        await run.go(input={"topic": "tea"})


async def test_a_thread_that_somebody_works_on_is_refused(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    async with saver.owners.held("isolated"):
        with pytest.raises(Owned):
            await Isolated(zygote, five(), saver, FIVE).go(input={"topic": "tea"})


async def test_a_containment_that_is_required_and_missing_refuses_the_run(
    zygotes: dict[str, Zygote], saver: SqliteCheckpoints
) -> None:
    weak = await asyncio.to_thread(_started, zygotes, "limits_only")
    limits = Isolation(require=frozenset({"network", "memory"}))
    with pytest.raises(Fault, match="wants what does not hold here: network") as refused:
        await Isolated(weak, five(), saver, FIVE, limits=limits).go(input={"topic": "tea"})
    assert refused.value.fault_class == "refused"
    assert not await Isolated(weak, five(), saver, FIVE).values()


async def test_what_the_store_fails_with_is_raised_and_the_run_can_be_resumed(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    run = Isolated(zygote, stage.services, saver, {"nodes": {"a": do(1), "b": do(2, depends_on=["a"])}})
    whole, count = saver.aput, iter(range(100))

    async def failing(*given: Any) -> Any:
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        return await whole(*given)

    saver.aput = failing  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        await run.go(input={})
    del saver.aput
    assert (await run.go())[-1].kind == "run.completed"
    assert stage.paths().count("a") == 1


# -- tools, models, prompts, secrets -----------------------------------------------------------------------


async def test_tools_are_called_by_the_worker_and_fail_there_as_anywhere(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    nodes = {
        "a": do(1, fault="unavailable", until=1, retry={"max_attempts": 2, "backoff": 0.01}),
        "b": do(2, fault="refused", on_error="skip"),
        "c": do(3, effect="write"),
    }
    events = await Isolated(zygote, stage.services, saver, {"nodes": nodes}).go(input={})
    assert events[-1].kind == "run.completed"
    assert [event.data["error"]["class"] for event in events if event.kind == "step.retry"] == ["unavailable"]
    assert stage.paths().count("a") == 2 and stage.paths().count("c") == 1
    run = events[0].run
    assert {f"{run}:a:0", f"{run}:c:0"} <= {*stage.keys}


async def test_a_call_in_doubt_becomes_a_question(zygote: Zygote, saver: SqliteCheckpoints, stage: Stage) -> None:
    spec = {"nodes": {"a": do(1, effect="write", fault="timeout")}}
    last = (await Isolated(zygote, stage.services, saver, spec).go(input={}))[-1]
    assert (last.kind, last.data["reason"]) == ("run.paused", "in_doubt")


async def test_progress_spending_and_questions_of_a_tool_come_through(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    class Asking(FakeTool):
        async def call(self, args: Any, context: CallContext) -> Any:
            if "sure" not in context.answers:
                raise Asked(
                    "sure", "Sure?", {"type": "object", "properties": {"ok": {"type": "boolean"}}}, kept={"n": 1}
                )
            context.progress(1, 2, "halfway")
            context.spend({"total_tokens": 7})
            return [context.answers["sure"], context.within.context if context.within else None]

    services = fake_services({"t.ask": Asking()})
    spec = {"nodes": {"a": {"type": "tool", "tool": "t.ask"}}}
    run = Isolated(zygote, services, saver, spec, context={"user": "ann"})
    paused = (await run.go(input={}))[-1]
    question = paused.data["questions"][0]
    assert question["ask"] == "Sure?"
    events = await run.go(answers={question["at"]: {"ok": True}})
    assert events[-1].data["output"] == [{"answer": {"ok": True}, "kept": {"n": 1}}, {"user": "ann"}]
    assert [event.data["message"] for event in events if event.kind == "step.progress"] == ["halfway"]
    assert events[-1].data["usage"]["total_tokens"] == 7


async def test_an_agent_with_tools_and_a_schema_works_as_anywhere(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    spec = {
        "nodes": {
            "a": {
                "type": "llm",
                "prompt": "Find it",
                "model": "m",
                "tools": ["t.look"],
                "output": {"n": {"type": "integer"}},
            }
        }
    }
    tools = {"t.look": FakeTool(results=[3], args_schema={"type": "object", "properties": {"q": {"type": "string"}}})}
    services = fake_services(tools, {"m": [calls(("t_look", {"q": "x"}), tokens=5), json.dumps({"n": 3})]})
    events = await Isolated(zygote, services, saver, spec).go(input={})
    assert events[-1].data["output"] == {"n": 3}, events[-1].data
    assert events[-1].data["usage"]["total_tokens"] == 5
    assert [*unconsumed(services)] == []


async def test_a_failing_model_fails_with_its_class(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    failing = [Fault("rate_limited", "slower", origin="model", retry_after=1)]
    spec = {"nodes": {"a": {"type": "llm", "prompt": "Say hello", "model": "m", "retry": {"max_attempts": 1}}}}
    last = (await Isolated(zygote, fake_services(models={"m": failing}), saver, spec).go(input={}))[-1]
    assert (last.kind, last.data["error"]["class"], last.data["error"]["retry_after"]) == (
        "run.failed",
        "rate_limited",
        1,
    )


async def test_prompt_files_are_rendered_by_the_worker(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    prompts = {"greet": fake_prompt("greet", Variable(name="who", schema={"type": "string"}), user="Greet.")}
    services = fake_services(models={"m": ["Hello"]}, prompts=prompts)
    spec = {"nodes": {"a": {"type": "llm", "prompt": "greet", "with": {"who": "Ann"}, "model": "m"}}}
    last = (await Isolated(zygote, services, saver, spec).go(input={}))[-1]
    assert last.data.get("output") == "Hello", last.data
    assert services.models.models["m"].asked[0][-1].text == "Greet."  # type: ignore[attr-defined]


async def test_secrets_are_put_in_by_the_worker_and_never_reach_the_execution(
    zygote: Zygote, saver: SqliteCheckpoints
) -> None:
    tool = FakeTool(fn=lambda key: f"the key is {key}")
    sources = {"token": SecretSource(value="s3cret-value", tools=("t.mine",))}  # type: ignore[arg-type]
    services = replace(
        fake_services({"t.mine": tool, "t.other": FakeTool(fn=lambda key: key)}), secrets=SecretStore(sources, {})
    )
    spec = {"nodes": {"a": {"type": "tool", "tool": "t.mine", "args": {"key": "secret://token"}}}}
    run = Isolated(zygote, services, saver, spec)
    events = await run.go(input={})
    assert tool.calls[0][0] == {"key": "s3cret-value"}
    assert events[-1].data["output"] == "the key is secret://token"
    assert "s3cret" not in repr(events) and "s3cret" not in repr(await run.values())


async def test_a_workflow_called_as_a_tool_is_kept_under_its_own_thread(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").write_text("cogwork: v1\nname: sub\nnodes:\n  x: {type: transform, set: 4}\n")
    app = App(settings=Settings(state_dir=tmp_path / "state", workflows=[tmp_path]))
    with app.checkpoints() as kept:
        run = Isolated(zygote, app.services, kept, {"nodes": {"a": {"type": "tool", "tool": "workflow.sub"}}})
        assert (await run.go(input={}))[-1].data["output"] == 4
        assert sorted(thread.partition("-")[0] for thread in kept.threads()) == ["isolated", "within"]


# -- stopping ----------------------------------------------------------------------------------------------


async def test_pause_and_resume_repeat_no_finished_step(zygote: Zygote, saver: SqliteCheckpoints, stage: Stage) -> None:
    spec = {"nodes": {"a": do(1), "b": do(2, hold="door", depends_on=["a"]), "c": do(3, depends_on=["b"])}}
    run = Isolated(zygote, stage.services, saver, spec)
    going = asyncio.create_task(run.go(input={}))
    await until(lambda: "b" in stage.paths())
    await saver.requests.make("isolated", request("pause", "later"))
    last = (await going)[-1]
    assert (last.kind, last.data["reason"]) == ("run.paused", "requested")
    stage.door("door").set()
    assert (await run.go())[-1].kind == "run.completed"
    assert stage.paths().count("a") == 1 and stage.paths().count("c") == 1


async def test_cancelling_cuts_off_what_is_read_and_runs_finally(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    spec = {"nodes": {"a": do(1, hold="never")}, "finally": {"nodes": {"z": do(9)}}}
    going = asyncio.create_task(Isolated(zygote, stage.services, saver, spec).go(input={}))
    await until(lambda: "a" in stage.paths())
    await saver.requests.make("isolated", request("cancel", "enough"))
    events = await going
    assert events[-1].kind == "run.cancelled"
    assert stage.paths("cancel") == ["a"] and any(path.endswith("z") for path in stage.paths("end"))


async def test_code_that_lies_where_executions_have_their_folder_is_read(
    saver: SqliteCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import os
        from typing import TypedDict
        from langgraph.graph import END, START, StateGraph

        class State(TypedDict, total=False):
            where: str
            other: int

        def look(state):
            from lies_in_tmp_too import OTHER
            open("written", "w").close()
            return {"where": os.getcwd(), "other": OTHER}

        def graph():
            return StateGraph(State).add_node("look", look).add_edge(START, "look").add_edge("look", END)
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        Path(folder, "lies_in_tmp.py").write_text(textwrap.dedent(code))
        Path(folder, "lies_in_tmp_too.py").write_text("OTHER = 7")
        monkeypatch.syspath_prepend(folder)
        async with Zygote() as zygote:
            job = {"bundle": (), "reference": "lies_in_tmp:graph"}
            run = Isolated(zygote, five(), saver, {"nodes": {"a": say(1)}}, **job)
            events = await run.go(input={})
    assert (events[-1].kind, (await run.values())["other"]) == ("run.completed", 7)


async def test_code_that_does_not_heed_a_cancellation_is_ended(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    limits = Isolation(heed_s=0.1, wall_s=60)
    job = {"bundle": (), "reference": "tests.hostile:graph", "arguments": {"attack": "sleeps"}}
    run = Isolated(zygote, five(), saver, {"nodes": {"a": say(1)}}, limits=limits, **job)
    events: list[Event] = []
    async for event in run.events(input={}):
        events.append(event)
        if event.kind == "run.started":
            await saver.requests.make("isolated", request("cancel", "enough"))
    assert (events[-1].kind, events[-1].data["error"]["message"]) == ("run.cancelled", "enough")


async def test_closing_the_iterator_ends_the_process_and_the_calls(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    await _alone(zygote)
    assert zygote.pid is not None
    before = offspring(zygote.pid)
    events = Isolated(zygote, stage.services, saver, {"nodes": {"a": do(1, hold="never")}}).events(input={})
    async for event in events:
        if event.kind == "step.started":
            break
    await until(lambda: "a" in stage.paths())
    begun = offspring(zygote.pid) - before
    assert len(begun) == 2
    await events.aclose()  # type: ignore[attr-defined]
    assert stage.paths("cancel") == ["a"]
    await until(lambda: not any(map(alive, begun)))
    assert not saver.owners.alive("isolated")


async def test_a_cancelled_caller_leaves_nothing_and_the_run_can_be_resumed(
    zygote: Zygote, saver: SqliteCheckpoints, stage: Stage
) -> None:
    run = Isolated(zygote, stage.services, saver, {"nodes": {"a": do(1), "b": do(2, hold="door", depends_on=["a"])}})
    going = asyncio.create_task(run.go(input={}))
    await until(lambda: "b" in stage.paths())
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    await _alone(zygote)
    stage.door("door").set()
    assert (await run.go())[-1].data["output"] == 2
    assert stage.paths().count("a") == 1


async def test_a_hundred_stretches_leave_no_handle_and_no_folder(zygote: Zygote, saver: SqliteCheckpoints) -> None:
    handles, run = [], Isolated(zygote, five(), saver, {"nodes": {"a": say(1)}})
    for number in range(12):
        await run.go(input={}, thread=f"t{number}")
        handles.append(len(os.listdir("/proc/self/fd")))
    assert handles[-1] <= handles[1]
    await _alone(zygote)


# -- deaths ------------------------------------------------------------------------------------------------

WORKER = """
    import asyncio, sys
    from pathlib import Path
    from cogwork.isolation import Isolation, Job, Zygote, isolated_events
    from cogwork.store.checkpoints import SqliteCheckpoints
    from tests.fakes import FakeTool, fake_services
    from tests.test_isolation import bundle, STEPS

    folder = Path(sys.argv[1])

    async def step(word):
        with (folder / "log").open("a") as log:
            log.write(word + "\\n")
        if word == "b" and sys.argv[2] == "stay":
            print("stays", flush=True)
            await asyncio.sleep(600)
        return word

    async def main():
        job = Job(thread="t", bundle=bundle(STEPS), input={})
        if sys.argv[2] == "orphan":
            job = Job(thread="t", reference="tests.hostile:graph", arguments={"attack": "orphan_and_stay"}, input={})
        services = fake_services({"t.step": FakeTool(fn=step)})
        with SqliteCheckpoints(folder / "c.sqlite") as saver:
            async with Zygote() as zygote:
                async for event in isolated_events(zygote, job, services=services, saver=saver):
                    print(event.kind, zygote.pid, flush=True)

    asyncio.run(main())
"""
STEPS: dict[str, Any] = {
    "nodes": {
        word: {"type": "tool", "tool": "t.step", "args": {"word": word}, "depends_on": before}
        for word, before in (("a", []), ("b", ["a"]), ("c", ["b"]))
    }
}


async def _killed(folder: Path, how: str, ready: Callable[[], bool]) -> set[int]:
    """The processes that a worker had when it was killed, once ``ready`` says that it is time."""
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder), how]
    with (folder / "said").open("w") as said:
        worker = subprocess.Popen(command, cwd=HOUSE, stdout=said, stderr=said)
    try:
        await until(lambda: ready() or worker.poll() is not None)
        left = offspring(worker.pid)
        assert len(left) >= 3, (folder / "said").read_text()  # the server, a keeper, an execution
        return left
    finally:
        worker.kill()
        worker.wait()


async def test_a_worker_killed_outright_leaves_no_process_and_its_run_is_resumed_without_repeating_a_step(
    zygote: Zygote, tmp_path: Path
) -> None:
    left = await _killed(tmp_path, "stay", lambda: "stays" in (tmp_path / "said").read_text())
    await until(lambda: not any(map(alive, left)))
    log = tmp_path / "log"

    async def step(word: str) -> str:
        with log.open("a") as opened:
            opened.write(f"{word} again\n")
        return word

    services = fake_services({"t.step": FakeTool(fn=step)})
    with SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
        events = await Isolated(zygote, services, saver, STEPS, thread="t").go()
    assert events[-1].data["output"] == "c"
    assert log.read_text().split("\n")[:-1] == ["a", "b", "b again", "c again"]


async def test_daemons_of_an_execution_die_with_the_worker(tmp_path: Path) -> None:
    left = await _killed(tmp_path, "orphan", lambda: bool(orphans()))
    await until(lambda: not any(map(alive, left)) and not orphans())


async def test_a_fork_server_that_was_killed_is_started_again(saver: SqliteCheckpoints) -> None:
    async with Zygote() as mine:
        first = mine.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: mine.pid is None)
        assert (await Isolated(mine, five(), saver, {"nodes": {"a": say(1)}}).go(input={}))[-1].kind == "run.completed"
        assert mine.pid not in (None, first)


def test_what_dead_workers_have_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    import fcntl

    for name in (f"{PREFIX}dead", f"{PREFIX}alive", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    with (tmp_path / f"{PREFIX}alive" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [path.name for path in swept(tmp_path)] == [f"{PREFIX}dead"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PREFIX}alive", "other"]


# -- hostile code ------------------------------------------------------------------------------------------


@pytest.fixture
async def at_stake(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "state") as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trial", TRIALS, ids=[trial.attack for trial in TRIALS])
async def test_an_attack_is_contained(zygotes: dict[str, Zygote], at_stake: World, trial: Trial, mode: str) -> None:
    zygote = await asyncio.to_thread(_started, zygotes, mode)
    if missing := lacking(trial, zygote):
        pytest.skip(f"not made where this is missing: {', '.join(missing)}")
    result = await attempt(trial, zygote, at_stake)
    assert result.contained, (result.ended, result.message, result.loot)
    await _alone(zygote)


async def test_the_error_of_a_broken_limit_names_it_and_shows_what_was_printed(
    zygote: Zygote, saver: SqliteCheckpoints
) -> None:
    job = {"bundle": (), "reference": "tests.hostile:graph", "arguments": {"attack": "output"}}
    limits = Isolation(output_bytes=5000)
    last = (await Isolated(zygote, five(), saver, {"nodes": {"a": say(1)}}, limits=limits, **job).go(input={}))[-1]
    error = last.data["error"]
    assert (error["class"], error["details"]["limit"]) == ("refused", "output")
    assert "5,000 bytes" in error["message"] and "flood" in error["details"]["output"]


# -- the messages ------------------------------------------------------------------------------------------


@given(some.binary(max_size=400))
def test_no_bytes_of_a_message_do_more_than_break_the_protocol(data: bytes) -> None:
    with contextlib.suppress(Broken):
        assert isinstance(unpacked(data), dict)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**63), 2**64 - 1) | some.floats() | some.text() | some.binary(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=30,
)


@given(some.dictionaries(some.text(), JSON))
def test_counting_reads_every_message_to_its_end(message: dict[str, Any]) -> None:
    import ormsgpack

    from cogwork.isolation import frames

    data = ormsgpack.packb(message)
    frames._count(data)
    with pytest.raises(Broken):
        frames._count(data[:-1])


def test_few_bytes_that_stand_for_very_many_values_are_refused_before_any_is_made() -> None:
    with pytest.raises(Broken, match="too many"):
        bounded(b"\xdd\x00\x98\x96\x80" + b"\x90" * 10_000_000)
    bounded(b"\xc6\x00\x98\x96\x80" + b"\x90" * 10_000_000)
