"""Executions on other instances, which are processes of their own: they look like local ones, and nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.workflow_engine import WorkflowEngine
from state.errors import AnswerRefused
from tests.instances import TOKEN, Served, engine_of, ledger, sections, served
from tests.threads import until

pytestmark = pytest.mark.req("M5")
LABELS: dict[str, Any] = {"one": {"labels": ["eu", "gpu"]}, "two": {"labels": ["us", "gpu"]}}
SECONDS = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Two instances, for the tests that kill none."""
    with served(tmp_path_factory.mktemp("instances"), **LABELS) as made:
        yield made


@asynccontextmanager
async def home(made: dict[str, Served], name: str, **given: Any) -> AsyncIterator[WorkflowEngine]:
    """An engine that knows the instances, with a state of its own."""
    folder = next(iter(made.values())).folder
    given = {"instances": sections(made, **LABELS), "remote": {"look": 0.2, "lost_after": 1.0}, **given}
    async with engine_of(folder, name, **given) as engine:
        yield engine


async def came_to(engine: WorkflowEngine, name: str, status: str) -> Any:
    """The execution once it has this status."""

    async def so() -> bool:
        return (await engine.get_execution_status(name))["status"] == status

    await until(so)
    return await engine.parts.executions.get(name)


async def test_an_execution_on_another_instance_looks_like_one_that_ran_here(house: dict[str, Served]) -> None:
    async with home(house, "looks") as engine:
        handle = await engine.execute_workflow("reading", {"n": 1}, target="two", tags=["mine"], metadata={"for": "me"})
        result = await handle.wait(SECONDS)
        told = [(each.seq, each.event.kind, each.event.step) async for each in engine.follow(handle.id)]
    execution = result.execution
    assert (execution.status, execution.mode, result.output, execution.tags) == ("completed", "remote", 3, ("mine",))
    assert execution.metadata["for"] == "me"
    assert execution.metadata["remote"]["instance"] == "two"
    assert [(step["path"], step["status"]) for step in result.steps] == [("one", "done"), ("two", "done")]
    assert told == [
        (1, "run.started", ""),
        (2, "step.started", "one"),
        (3, "step.finished", "one"),
        (4, "step.started", "two"),
        (5, "step.finished", "two"),
        (6, "run.completed", ""),
    ]


async def test_a_question_asked_there_is_answered_here(house: dict[str, Served]) -> None:
    async with home(house, "answers") as engine:
        handle = await engine.execute_workflow("asking", {}, target="one")
        asked = await handle.wait(SECONDS)
        assert (asked.execution.status, asked.execution.reason) == ("paused", "human")
        assert [question["at"] for question in asked.execution.questions] == ["who"]
        with pytest.raises(AnswerRefused):
            await handle.resume({"name": 7})
        result = await (await handle.resume({"name": "Ada"})).wait(SECONDS)
    assert (result.execution.status, result.output) == ("completed", "Hello, Ada!")


async def test_one_that_goes_on_there_by_itself_goes_on_here(house: dict[str, Served]) -> None:
    async with home(house, "follows") as engine:
        handle = await engine.execute_workflow("asking", {}, target="one")
        asked = await handle.wait(SECONDS)
        there = asked.execution.metadata["remote"]["execution_id"]
        async with httpx2.AsyncClient(
            base_url=house["one"].url, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as client:
            await client.post(f"/api/v1/executions/{there}/resume", json={"answers": {"name": "Bob"}})
        execution = await came_to(engine, handle.id, "completed")
        assert (await engine.get_execution_result(execution.id)).output == "Hello, Bob!"


async def test_pause_resume_and_cancel_go_through(house: dict[str, Served]) -> None:
    hold = house["one"].hold("look")
    try:
        async with home(house, "moves") as engine:
            handle = await engine.execute_workflow("reading", {"n": 1}, target="one")
            before = ledger(house["one"].folder)["begin one one"]
            await until(lambda: ledger(house["one"].folder)["begin one one"] > before)
            assert await engine.pause_execution(handle.id, "a look")
            assert (await came_to(engine, handle.id, "paused")).reason == "requested"
            await handle.resume()
            await came_to(engine, handle.id, "running")
            assert await handle.cancel("enough")
            ended = await came_to(engine, handle.id, "cancelled")
            async with httpx2.AsyncClient(
                base_url=house["one"].url, headers={"Authorization": f"Bearer {TOKEN}"}
            ) as client:
                there = await client.get(f"/api/v1/executions/{ended.metadata['remote']['execution_id']}")
            assert there.json()["status"] == "cancelled"
    finally:
        hold.unlink()


@pytest.mark.parametrize(
    ("policy", "cases"),
    [
        (
            "local",
            [
                ({"labels": ["eu"]}, ["one"]),
                ({"labels": ["us"], "policy": "round_robin"}, ["two"]),
                ({"labels": ["home"]}, ["here"]),
                ({"mode": "remote", "labels": ["us"]}, ["two"]),
            ],
        ),
        ("round_robin", [({}, ["one", "two"]), ({"target": "local"}, ["here"])]),
        ("label", [({}, ["here"]), ({"labels": ["eu", "gpu"]}, ["one"])]),
    ],
)
async def test_the_target_the_labels_and_the_policy_say_where_it_runs(
    house: dict[str, Served], policy: str, cases: list[tuple[dict[str, Any], list[str]]]
) -> None:
    async with home(house, f"where-{policy}", labels=["home"], remote={"policy": policy}) as engine:
        for options, expected in cases:
            found = [await engine.execute_workflow("reading", {"n": 1}, options) for _ in expected]
            results = [await each.wait(SECONDS) for each in found]
            assert {each.execution.status for each in results} == {"completed"}
            where = [each.execution.metadata.get("remote", {}).get("instance", "here") for each in results]
            assert sorted(where) == expected


async def test_round_robin_gives_every_instance_the_same_and_least_loaded_the_idle_one_more(
    house: dict[str, Served],
) -> None:
    async with home(house, "balance") as engine:
        turns = [await engine.execute_workflow("reading", {"n": 1}, policy="round_robin") for _ in range(8)]
        where = [(await each.wait(SECONDS)).execution.metadata["remote"]["instance"] for each in turns]
        assert (where.count("one"), where.count("two")) == (4, 4)
        hold = house["one"].hold("look")
        try:
            busy = [await engine.execute_workflow("reading", {"n": 1}, target="one") for _ in range(6)]
            for each in busy:
                await came_to(engine, each.id, "running")
            others = [await engine.execute_workflow("reading", {"n": 1}, policy="least_loaded") for _ in range(4)]
            where = [(await each.wait(SECONDS)).execution.metadata["remote"]["instance"] for each in others]
            assert where == ["two"] * 4
        finally:
            hold.unlink()
        assert {(await each.wait(SECONDS)).execution.status for each in busy} == {"completed"}


@pytest.mark.req("M9")
async def test_a_token_that_is_not_taken_is_said_and_what_may_go_elsewhere_goes_to_the_next(
    house: dict[str, Served],
) -> None:
    tokens = {"wrong": "not valid", "expired-token": "expired"}
    given = {token: {"url": house["one"].url, "token": token} for token in tokens}
    given |= sections({"two": house["two"]})
    async with home(house, "tokens", instances=given) as engine:
        for token, said in tokens.items():
            result = await (await engine.execute_workflow("reading", {"n": 1}, target=token)).wait(SECONDS)
            error = result.execution.error or {}
            assert (result.execution.status, error["class"]) == ("failed", "permission_denied")
            assert said in error["message"]
            assert error["details"] == {"begun": False}
        found = [await engine.execute_workflow("reading", {"n": 1}, policy="round_robin") for _ in range(2)]
        results = [await each.wait(SECONDS) for each in found]
        assert [each.execution.metadata["remote"]["instance"] for each in results] == ["two", "two"]


@pytest.mark.req("M9")
async def test_only_instances_of_the_settings_are_ever_asked(house: dict[str, Served]) -> None:
    async with home(house, "targets") as engine:
        for target in ("nobody", "http://169.254.169.254/", "../one", "one@evil.example.org", "ONE"):
            with pytest.raises(EngineError, match="the settings have one, two, local") as caught:
                await engine.execute_workflow("reading", {"n": 1}, target=target)
            assert caught.value.code == "invalid_input"


async def test_what_is_of_this_instance_is_not_sent_elsewhere(house: dict[str, Served]) -> None:
    spec = {"cogwork": "v1", "name": "given", "nodes": {"one": {"type": "transform", "set": 1}}, "output": "{{ one }}"}
    async with home(house, "stays", remote={"policy": "round_robin"}) as engine:
        with pytest.raises(EngineError, match="given as a spec or file"):
            await engine.execute_workflow(spec, {}, target="one")
        with pytest.raises(EngineError, match="its context is of this instance"):
            await engine.execute_workflow("reading", {"n": 1}, target="one", context={"a": 1})
        result = await (await engine.execute_workflow(spec, {})).wait(SECONDS)
        assert (result.execution.mode, result.output) == ("async", 1)


# -- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.req("M9")
async def test_when_an_instance_is_killed_what_reads_goes_on_elsewhere_and_the_rest_waits_or_asks(
    tmp_path: Path,
) -> None:
    with served(tmp_path, **LABELS) as made:
        async with home(made, "home") as engine:
            hold = made["one"].hold("look")
            reads = await engine.execute_workflow("reading", {"n": 1}, policy="round_robin")
            await until(lambda: ledger(tmp_path)["begin one one"] == 1)
            options: dict[str, Any] = {"labels": ["eu"]}
            waits, moved, over = [await engine.execute_workflow("writing", {"n": 1}, options) for _ in range(3)]
            await until(lambda: ledger(tmp_path)["begin one two"] == 3)
            made["one"].kill()
            for each in (waits, moved, over):
                doubtful = await came_to(engine, each.id, "paused")
                assert (doubtful.reason, "it may change something" in doubtful.questions[0]["ask"]) == (
                    "in_doubt",
                    True,
                )
            read = await reads.wait(SECONDS)
            assert (read.execution.status, read.output) == ("completed", 3)
            assert read.execution.metadata["remote"]["instance"] == "two"
            with pytest.raises(AnswerRefused):
                await waits.resume({"decision": "perhaps"})
            await moved.resume({"decision": "elsewhere"})
            nowhere = await came_to(engine, moved.id, "failed")
            assert "there is none that may" in nowhere.error["message"]
            await over.resume({"decision": "give_up"})
            assert (await came_to(engine, over.id, "failed")).error["class"] == "unavailable"
            hold.unlink()
            made["one"].start().ready()
            await came_to(engine, waits.id, "completed")
            assert (await engine.get_execution_result(waits.id)).output == 3
    assert [ledger(tmp_path)[f"begin {name} write"] for name in ("one", "two")] == [3, 0]
    assert ledger(tmp_path)["end two two"] == 1


async def test_the_record_is_taken_up_again_when_the_process_that_mirrors_is_killed(house: dict[str, Served]) -> None:
    folder = house["one"].folder
    given = {"instances": sections({"one": house["one"]}), "remote": {"look": 0.2, "lost_after": 5.0}}
    before = ledger(folder)

    def noted(line: str) -> bool:
        return ledger(folder)[line] == before[line] + 1

    with served(folder, home=given) as homes:
        hold = house["one"].hold("look")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(base_url=homes["home"].url, headers=headers, timeout=60) as client:
            body = {"workflow": "reading", "input": {"n": 1}, "options": {"target": "one"}}
            name = (await client.post("/api/v1/executions", json=body)).json()["execution_id"]
            await until(lambda: noted("begin one one"))
            homes["home"].kill()
            hold.unlink()
            await until(lambda: noted("end one two"))
            homes["home"].start().ready()

            async def over() -> bool:
                return bool((await client.get(f"/api/v1/executions/{name}")).json()["status"] == "completed")

            await until(over)
            answer = await client.get(f"/api/v1/executions/{name}/result")
            told = (await client.get(f"/api/v1/executions/{name}/events")).json()["events"]
    assert answer.json()["output"]["primary_result"] == 3
    kinds = [each["event"] for each in told if each["step"]]
    assert kinds == ["step.started", "step.finished", "step.started", "step.finished"]
    assert noted("begin one one")


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def line(house: dict[str, Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line of a place that knows the instances, and where no worker is."""
    from typer.testing import CliRunner

    one, two = house["one"], house["two"]
    (tmp_path / "cogwork.toml").write_text(
        f'[instances.one]\nurl = "{one.url}"\ntoken = "{TOKEN}"\nlabels = ["eu"]\n'
        f'[instances.two]\nurl = "{two.url}"\ntoken = "wrong"\n'
    )
    monkeypatch.chdir(tmp_path)

    def said(*words: str) -> Any:
        return CliRunner().invoke(cli, [*words])

    return said


def test_the_command_line_starts_follows_answers_and_ends_what_runs_elsewhere(line: Any) -> None:
    begun = line("start", "reading", "-i", "n=1", "--on", "one", "--json")
    name = json.loads(begun.stdout)["execution_id"]
    followed = line("follow", name, "--json")
    assert json.loads(followed.stdout.splitlines()[-1])["event"] == "run.completed"
    result = json.loads(line("result", name, "--json").stdout)
    assert (result["status"], result["output"]["primary_result"]) == ("completed", 3)
    asking = line("start", "asking", "--label", "eu", "--wait", "--json")
    assert asking.exit_code == 3
    name = json.loads(asking.stdout)["execution_id"]
    answered = line("resume", name, "-a", "name=Ada", "--json")
    assert (answered.exit_code, json.loads(answered.stdout)["status"]) == (0, "completed")
    name = json.loads(line("start", "asking", "--on", "one", "--wait", "--json").stdout)["execution_id"]
    assert json.loads(line("cancel", name, "--wait", "--json").stdout)["status"] == "cancelled"
    assert json.loads(line("status", name, "--json").stdout)["status"] == "cancelled"


def test_the_command_instances_tells_how_each_stands(line: Any) -> None:
    told = line("instances", "--json")
    one, two = json.loads(told.stdout)["instances"]
    assert told.exit_code == 3
    assert (one["name"], one["status"], one["labels"]) == ("one", "ready", ["eu"])
    assert (two["status"], "401" in two["trouble"]) == ("unreachable", True)
    assert TOKEN not in told.stdout
    table = line("instances").stdout
    assert "INSTANCE" in table
    assert "unreachable" in table
