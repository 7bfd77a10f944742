"""Features that could break without any other test seeing it: each of these was found by breaking one on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

import cogwork
from cogwork.cli.root import cli
from cogwork.cli.why import Case
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.owners import Owners
from cogwork.store.runs import Runs
from graphs.analysis.picture import mermaid, scene, svg
from graphs.build import build
from graphs.graph import WorkflowGraph
from graphs.language.dump import to_dict
from graphs.language.load import load
from nodes.expression.compiled import compile_expression
from nodes.expression.errors import ExpressionError
from state.errors import WorkflowFailed
from state.services import Services
from tests.conftest import Stage, ask, causes, choose, do, say
from tests.fakes import ScriptedModel, ScriptedModels, fake_prompt, fake_services

# -- joins and failure policies --------------------------------------------------------------------------------


@pytest.mark.req("X5")
async def test_a_join_of_at_least_two_waits_for_two_and_for_no_third(stage: Stage) -> None:
    nodes = {
        "a": do(),
        "b": do(turns=20),
        "slow": do(turns=90),
        "gone": do(when="false"),
        "two": do(depends_on=["a", "b", "slow"], join={"at_least": 2}),
        "three": do(depends_on=["a", "b", "gone"], join={"at_least": 3}),
    }
    state = await stage.run({"nodes": nodes})
    assert stage.before("b", "two") and not stage.before("slow", "two")
    assert causes(state)["three"] == ("when_false", "gone")


async def waits(stage: Stage, attempts: int, **policy: Any) -> list[float]:
    """The seconds between so many attempts of a step that always fails."""
    node = do(fault="connection", retry={"max_attempts": attempts, **policy})
    events = [event async for event in stage.graph({"nodes": {"a": node}}).aevents({})]
    return [event.data["wait"] for event in events if event.kind == "step.retry"]


@pytest.mark.req("T4")
async def test_each_wait_before_a_retry_is_longer_by_the_multiplier_up_to_the_bound(stage: Stage) -> None:
    policy = {"backoff": "10ms", "multiplier": 3, "max_backoff": "50ms", "jitter": False}
    assert await waits(stage, 5, **policy) == [0.01, 0.03, 0.05, 0.05]


async def test_waits_with_jitter_differ_and_are_never_shorter(stage: Stage) -> None:
    found = await waits(stage, 6, backoff="20ms", multiplier=1, jitter=True)
    assert len(set(found)) > 1
    assert all(0.02 <= wait <= 0.03 for wait in found)


@pytest.mark.req("T4")
@pytest.mark.parametrize(
    ("effect", "fault", "attempts"), [("write", "timeout", 1), ("write", "rate_limited", 2), ("read", "timeout", 2)]
)
async def test_a_write_that_may_have_been_done_is_not_tried_again(
    stage: Stage, effect: Any, fault: str, attempts: int
) -> None:
    policy = {"max_attempts": 2, "backoff": "1ms"}
    with pytest.raises(WorkflowFailed):
        await stage.run({"nodes": {"a": do(effect=effect, fault=fault, retry=policy)}})
    assert stage.paths() == ["a"] * attempts


# -- loops -----------------------------------------------------------------------------------------------------


async def test_a_loop_with_exactly_the_share_of_good_items_that_is_needed_is_done(stage: Stage) -> None:
    body = {"a": do("{{ item }}", fault="{{ item > 2 ? 'tool_error' : '' }}")}
    loop = {"for_each": [1, 2, 3, 4], "nodes": body, "on_item_error": "skip", "min_success": 0.5}
    assert await stage.output({"nodes": {"loop": loop}, "output": "{{ loop }}"}) == [1, 2]


@pytest.mark.parametrize(("until", "exhausted"), [("a == 1", False), ("a > 5", True)])
async def test_the_record_of_a_repeat_says_whether_it_was_exhausted(stage: Stage, until: str, exhausted: bool) -> None:
    repeat = {"max_iterations": 2, "until": until, "on_exhausted": "keep"}
    state = await stage.run({"nodes": {"loop": {"repeat": repeat, "nodes": {"a": do("{{ iteration }}")}}}})
    record = state["nodes"]["loop"]
    assert (record["status"], record["count"], record["exhausted"]) == ("done", 2, exhausted)


async def test_within_a_loop_the_cause_of_a_skip_names_the_instance_where_it_began(stage: Stage) -> None:
    body = {"q": choose(("item > 1", "big"), otherwise="small"), "big": do(1), "small": do(2)}
    loop = {"for_each": [1, 2], "nodes": body, "output": "item"}
    state = await stage.run({"nodes": {"loop": loop}})
    assert causes(state) == {
        "loop[0].big": ("not_selected", "loop[0].q"),
        "loop[1].small": ("not_selected", "loop[1].q"),
    }


# -- runs of a thread ------------------------------------------------------------------------------------------


@pytest.mark.req("X5")
async def test_a_new_run_on_a_thread_begins_without_the_records_values_and_output_of_the_one_before(
    stage: Stage,
) -> None:
    body = {"a": do("{{ item }}", fault="{{ item == 0 ? 'tool_error' : '' }}")}
    nodes = {"loop": {"for_each": "input.list", "max_parallel": 1, "nodes": body}}
    spec = {"input": {"list": {"type": "array"}}, "nodes": nodes, "output": "{{ loop }}"}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    assert (await graph.ainvoke({"list": [1, 2, 3]}, config))["output"] == [1, 2, 3]
    state = await graph.ainvoke({"list": [4]}, config)
    assert sorted(state["nodes"]) == sorted(state["results"]) == ["loop", "loop[0]", "loop[0].a"]
    with pytest.raises(WorkflowFailed):
        await graph.ainvoke({"list": [0]}, config)
    values = (await graph.aget_state(config)).values
    assert (values["run"]["status"], values.get("output"), values["results"]) == ("failed", None, {})


def test_a_checkpoint_file_given_by_its_path_is_as_durable_as_the_settings_say(tmp_path: Path) -> None:
    spec = {"cogwork": "v1", "name": "one", "nodes": {"a": say(1)}}
    app = cogwork.App(settings=Settings(synchronous="NORMAL"))
    saver = app.compile(spec, checkpointer=tmp_path / "c.sqlite").checkpointer
    assert isinstance(saver, SqliteCheckpoints)
    with saver:
        assert saver.conn.execute("PRAGMA synchronous").fetchone()[0] == 1


async def test_a_chain_longer_than_langgraphs_own_limit_of_supersteps_runs_to_its_end(stage: Stage) -> None:
    nodes = {"s0": say(0), **{f"s{index}": say(f"{{{{ s{index - 1} + 1 }}}}") for index in range(1, 40)}}
    assert await stage.output({"nodes": nodes, "output": "{{ s39 }}"}) == 39


async def test_only_the_known_parts_of_a_context_come_into_the_state(stage: Stage) -> None:
    graph = stage.graph({"nodes": {"a": say(1)}})
    state = await graph.ainvoke({}, context={"user": "Ada", "token": "hush"})
    assert state["run"]["context"] == {"user": "Ada"}


@pytest.mark.parametrize("make", [do, say])
async def test_a_value_that_does_not_fit_the_output_that_its_step_declares_fails_the_step(
    stage: Stage, make: Any
) -> None:
    spec = {"input": {"x": {}}, "nodes": {"a": make("{{ input.x }}", output={"n": "integer"})}}
    assert (await stage.run(spec, x={"n": 1}))["results"]["a"] == {"n": 1}
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run(spec, x={"n": "many"})
    assert (failed.value.error["class"], failed.value.error["node"]) == ("invalid_output", "a")


# -- streams ---------------------------------------------------------------------------------------------------

LANES = {
    "nodes": {
        "a": do(turns=1),
        "b": do("{{ a }}", turns=1),
        "slow": do(turns=60),
        "end": say(["{{ b }}", "{{ slow }}"]),
    }
}


@pytest.mark.req("D6")
async def test_streams_of_several_modes_and_of_the_newer_form_show_no_yields_either(stage: Stage) -> None:
    graph, both = stage.graph(LANES), ["updates", "tasks"]
    pairs = [chunk async for chunk in graph.astream({}, stream_mode=both)]
    parts = [chunk async for chunk in graph.astream({}, stream_mode=both, version="v2")]
    for told in (pairs, [(part["type"], part["data"]) for part in parts]):
        assert sorted(name for mode, data in told if mode == "updates" for name in data) == ["a", "b", "end", "slow"]
        tasks = [data for mode, data in told if mode == "tasks"]
        started = {task["name"]: task["id"] for task in tasks if "result" not in task}
        ended = {task["name"]: task["id"] for task in tasks if "result" in task}
        assert len(tasks) == 8 and started == ended


async def test_events_that_are_only_printed_are_told_too(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    async for _ in stage.graph(LANES).astream({}, stream_mode="values", print_mode="custom"):
        pass
    assert "step.finished" in capsys.readouterr().out


@pytest.mark.req("X4")
async def test_drawings_have_the_steps_and_edges_of_the_spec_at_any_size(stage: Stage) -> None:
    nodes = {"s0": do(), **{f"s{index}": do(f"{{{{ s{index - 1} }}}}") for index in range(1, 260)}}
    graph = stage.graph({"nodes": nodes})
    for drawn in (graph.get_graph(), await graph.aget_graph()):
        assert list(drawn.nodes) == ["__start__", *nodes, "__end__"]
        assert len(drawn.edges) == 261


async def test_choices_are_drawn_dotted_and_labelled(stage: Stage) -> None:
    nodes = {"q": choose(("run.attempt > 1", "a"), otherwise="b"), "a": do(), "b": do(depends_on=["q"])}
    edges = {(e.source, e.target): (e.data, e.conditional) for e in stage.graph({"nodes": nodes}).get_graph().edges}
    assert (edges["q", "a"], edges["q", "b"]) == (("run.attempt > 1", True), ("else", True))
    assert edges["__start__", "q"] == (None, False)


# -- checks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "codes"), [("", ["unapproved"]), ("when", []), ("condition", [])])
def test_python_is_run_only_behind_a_person(asked: str, codes: list[str]) -> None:
    nodes: dict[str, Any] = {"code": {"type": "tool", "tool": "python.run", "args": {"code": "print(1)"}}}
    if asked:
        nodes["q"] = {"type": "human", "ask": "Run it?", "form": {"ok": {"type": "boolean"}}}
    if asked == "when":
        nodes["code"]["when"] = "q.ok"
    if asked == "condition":
        nodes["way"] = choose(("q.ok", "code"))
    app = cogwork.App(settings=Settings(allow_python=True))
    found = app.check({"cogwork": "v1", "name": "runs", "nodes": nodes})
    assert [problem.code for problem in found] == codes


SURELY_SETTLED = {
    "what every parent waited for": {
        "base": say(1),
        **{name: say("{{ base }}") for name in ("one", "two")},
        "left": say("{{ one }}"),
        "right": say("{{ two }}"),
        "first": say("{{ base }}", depends_on=["left", "right"], join="any"),
    },
    "the condition that chose the step": {
        "way": choose(("run.attempt == 1", "first"), otherwise="last"),
        **{name: say(1) for name in ("left", "right", "last")},
        "first": say("{{ way.selected }}", depends_on=["left", "right"], join="any"),
    },
}


@pytest.mark.parametrize("nodes", SURELY_SETTLED.values(), ids=SURELY_SETTLED)
def test_what_is_surely_settled_may_be_read_under_a_hasty_join(nodes: dict[str, Any]) -> None:
    assert [str(problem) for problem in cogwork.check({"cogwork": "v1", "name": "hasty", "nodes": nodes})] == []


def test_the_result_of_a_loop_that_starts_early_may_not_read_what_is_still_at_work() -> None:
    each = {"for_each": "[1]", "nodes": {"i": say("{{ item }}")}, "output": "[i, a]"}
    nodes = {"a": say(1), "b": say(2), "each": {**each, "depends_on": ["b"], "join": "any"}}
    found = cogwork.check({"cogwork": "v1", "name": "hasty", "nodes": nodes})
    assert [(problem.code, problem.pointer) for problem in found] == [("maybe_unfinished", "/nodes/each/output")]


# -- modes, prompts and models ---------------------------------------------------------------------------------


def graph_of(spec: dict[str, Any], services: Services) -> WorkflowGraph:
    """The graph of a spec with these services."""
    return build(load({"cogwork": "v1", "name": "gap", **spec}), services, lambda name, user: None)


@pytest.mark.req("D5")
async def test_a_step_asks_with_the_prompt_and_the_model_of_its_own_mode_else_of_the_workflows() -> None:
    prompts = {name: fake_prompt(name, user=name) for name in ("say", "coding/say", "planning/say")}
    model = ScriptedModel(answers=["one", "two"])
    services = fake_services(models={"m": model}, prompts=prompts)
    nodes = {
        "a": {"type": "llm", "prompt": "say"},
        "b": {"type": "llm", "prompt": "say", "mode": "planning", "depends_on": ["a"]},
    }
    await graph_of({"mode": "coding", "nodes": nodes}, services).ainvoke({})
    assert isinstance(services.models, ScriptedModels)
    assert [mode for _, mode, _ in services.models.wanted] == ["coding", "planning"]
    assert [asked[-1].text for asked in model.asked] == ["coding/say", "planning/say"]


async def test_the_call_settings_of_a_step_reach_its_model() -> None:
    services, settings = fake_services(models={"m": ["one"]}), {"temperature": 0.5, "max_tokens": 7, "stop": ["END"]}
    await graph_of({"nodes": {"a": {"type": "llm", "prompt": "Say one.", **settings}}}, services).ainvoke({})
    assert isinstance(services.models, ScriptedModels)
    assert services.models.wanted == [(None, None, settings)]


class Cut(ScriptedModel):
    """A model whose answers end at its token limit."""

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        message = AIMessageChunk(content=self._next(messages), response_metadata={"finish_reason": "length"})
        yield ChatGenerationChunk(message=message)


@pytest.mark.req("D6")
async def test_events_bring_each_token_with_the_path_of_its_step_unless_they_are_not_wanted() -> None:
    ask_each = {"for_each": [1, 2], "max_parallel": 1, "nodes": {"a": {"type": "llm", "prompt": "Say {{ item }}."}}}
    for tokens in (True, False):
        services = fake_services(models={"m": ["on", "tw"]})
        events = [e async for e in graph_of({"nodes": {"each": ask_each}}, services).aevents({}, tokens=tokens)]
        told = [(event.step, event.data["text"]) for event in events if event.kind == "step.token"]
        assert told == (
            [(f"each[{i}].a", text) for i, text in ((0, "o"), (0, "n"), (1, "t"), (1, "w"))] if tokens else []
        )


@pytest.mark.parametrize("text", ['{"n": 1', '{"n": 1}'])
async def test_a_value_that_was_cut_at_the_token_limit_is_not_believed_and_not_asked_for_again(text: str) -> None:
    services = fake_services(models={"m": Cut(answers=[text])})
    node = {"type": "llm", "prompt": "Count to a hundred.", "output": {"n": "integer"}}
    with pytest.raises(WorkflowFailed, match="ended at its token limit"):
        await graph_of({"nodes": {"a": node}}, services).ainvoke({})


@pytest.mark.req("D5", "X7")
def test_the_prompt_folders_and_the_models_of_the_settings_serve_their_modes(tmp_path: Path) -> None:
    (tmp_path / "modes" / "generic").mkdir(parents=True)
    (tmp_path / "modes" / "generic" / "answer.md").write_text("---\nversion: 1\n---\n# User\nmine\n")
    app = cogwork.App(settings=Settings(prompts=[tmp_path], models={"coding": "offline"}, model="offline:extract"))
    found = app.services.prompts.find("answer", mode="generic")
    assert found is not None and found.render({}).user == "mine"
    assert app.services.prompts.find("write", mode="coding") is not None
    names = {mode: app.services.models.chosen(None, mode=mode) for mode in ("coding", "generic")}  # type: ignore[attr-defined]
    assert names == {"coding": "offline", "generic": "offline:extract"}


# -- settings and folders --------------------------------------------------------------------------------------


def test_arguments_outrank_the_environment_and_the_environment_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cogwork.toml").write_text('state_dir = "file"\nmodel = "offline"\nsynchronous = "NORMAL"\n')
    monkeypatch.setenv("COGWORK_STATE_DIR", "environment")
    monkeypatch.setenv("COGWORK_MODEL", "openai:environment")
    found = Settings(model="openai:argument")
    assert (found.model, found.state_dir, found.synchronous) == ("openai:argument", Path("environment"), "NORMAL")


def test_the_tools_and_models_that_the_settings_do_not_allow_cannot_be_named() -> None:
    nodes = {
        "read": {"type": "tool", "tool": "text.read", "args": {"path": "a.txt"}},
        "log": {"type": "tool", "tool": "git.log", "args": {}},
        "say": {"type": "llm", "prompt": "Say one.", "model": "offline"},
        "tell": {"type": "llm", "prompt": "Say two.", "model": "offline:extract"},
    }
    app = cogwork.App(settings=Settings(tools=["git.*"], allowed_models=["offline:*"], model="offline:extract"))
    found = app.check({"cogwork": "v1", "name": "bounded", "nodes": nodes})
    assert [(problem.code, problem.pointer) for problem in found] == [
        ("unknown_tool", "/nodes/read/tool"),
        ("unknown_model", "/nodes/say/model"),
    ]


@pytest.mark.req("R5")
def test_a_workflow_uses_the_one_beside_it_by_path_and_ones_own_before_that_of_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"else/part": 7, "workflows/planning": 8}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(f"name: mine\nnodes: {{a: {{type: transform, set: {value}}}}}\n")
    both = "name: both\nnodes: {one: {use: ./part.yaml}, two: {use: planning}}\noutput: ['{{ one }}', '{{ two }}']\n"
    (tmp_path / "else" / "both.yaml").write_text(both)
    monkeypatch.chdir(tmp_path)
    assert cogwork.compile(tmp_path / "else" / "both.yaml").invoke({})["output"] == [7, 8]


# -- expressions -----------------------------------------------------------------------------------------------


def test_not_binds_looser_than_a_comparison() -> None:
    assert compile_expression("not a == 1").evaluate({"a": 2}) is True


@pytest.mark.parametrize(
    ("source", "kind"),
    [("a.b | default: 0", "type"), ("coalesce(a / 0, 1)", "value"), ("(" * 60 + "a" + ")" * 60, "limit")],
)
def test_a_default_covers_what_is_missing_and_no_mistake_and_depth_is_bounded(source: str, kind: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(source).evaluate({"a": 5})
    assert refused.value.kind == kind


# -- dialects --------------------------------------------------------------------------------------------------


def fields(document: dict[str, Any], name: str, *keys: str) -> list[Any]:
    """Some fields of one step in the canonical form of a document; None where they hold their default."""
    node: Any = to_dict(load(document).spec)["nodes"][name]  # type: ignore[index,call-overload]
    return [node.get(key) for key in keys]


@pytest.mark.req("T1", "T4")
def test_the_policies_and_the_output_of_a_tool_template_are_carried_over() -> None:
    undo = {"tool_name": "u", "parameters": {"x": "{{ repo }}"}}
    first = {"max_retries": 1, "on_failure": "continue", "fallback_step": "b", "compensation": undo}
    steps = [{"step_id": "a", "tool_name": "t", **first}, {"step_id": "b", "tool_name": "t", "on_failure": "abort"}]
    document = {"name": "n", "steps": steps, "output": {"n": "{{ a.n }}", "repo": "{{ repo }}"}}
    assert fields(document, "a", "retry", "on_error", "fallback", "undo") == [
        {"max_attempts": 2},
        "skip",
        [{"node": "b"}],
        {"tool": "u", "args": {"x": "{{ input.repo }}"}},
    ]
    assert fields(document, "b", "on_error") == [None]
    assert load(document).spec.output == {"n": "{{ a.n }}", "repo": "{{ input.repo }}"}


@pytest.mark.req("E5")
def test_an_agent_step_without_a_mapping_is_given_what_the_steps_before_it_gave() -> None:
    last = {"id": "b", "agent_id": "y", "depends_on": ["b_agent"], "condition": "${b_agent.ok} == true"}
    steps = [{"id": "b_agent", "agent_id": "x"}, {**last, "output_mapping": {"said": "${output}"}}]
    document = {"name": "n", "steps": steps, "output": "${b.said}"}
    spec = load(document).spec
    assert (list(spec.nodes), spec.output) == (["b_agent", "b_agent_", "b"], "${b.said}")
    given, when = fields(document, "b_agent_", "with", "when")
    assert (given, when) == ({"b_agent": "{{ b_agent }}"}, "${b_agent.ok} == true")


@pytest.mark.req("X4")
def test_a_graph_definition_may_list_its_nodes_and_label_its_edges() -> None:
    tool = {"tool": "t", "timeoutSeconds": 5, "onError": "skip"}
    form = {"properties": {"ok": {"type": "boolean"}}}
    document = {
        "name": "g",
        "nodes": [
            {"id": "q", "type": "condition", "configuration": {"expression": "x > 1"}},
            {"id": "a", "type": "tool", "configuration": tool},
            {"id": "h", "type": "human", "configuration": {"question": "Well?"}, "outputSchema": form},
            {"id": "c", "type": "transform", "configuration": {"set": "{{ total | default: 3 }}"}},
        ],
        "edges": [
            {"from": "q", "to": "a", "label": "x > 5"},
            {"from": "q", "to": "h", "condition": "false"},
            {"from": "q", "to": "c", "condition": "otherwise"},
        ],
        "stateSchema": {"properties": {"total": {"type": "integer"}}},
    }
    assert fields(document, "q", "cases", "else") == [[{"if": "input.x > 5", "then": "a"}], ["h", "c"]]
    assert fields(document, "a", "timeout", "on_error") == [5, "skip"]
    assert fields(document, "h", "form") == [{"type": "object", **form}]
    assert load(document).spec.input["properties"]["total"] == {"default": None, "type": "integer"}


def test_the_steps_of_an_agent_file_may_say_their_own_order_and_conditions() -> None:
    steps = [
        {"agent": "r"},
        {"agent": "w", "depends_on": [], "condition": "${user_input} == 'go'", "output": {"to": "user"}},
        {"agent": "r", "id": "z", "depends_on": ["r"], "output": {"to": "user"}},
    ]
    document = {"name": "one", "agents": [{"r": "Reads"}, {"w": "Writes"}], "steps": steps}
    assert fields(document, "w", "depends_on", "when") == [None, "${input.user_input} == 'go'"]
    assert fields(document, "z", "depends_on") == [["r"]]
    assert load(document).spec.output == {"w": "{{ w }}", "z": "{{ z }}"}


# -- the command line ------------------------------------------------------------------------------------------

CHOSEN = """
name: chosen
nodes:
  big: {type: condition, cases: [{if: run.attempt > 1, then: large}], else: small}
  large: {type: transform, set: large}
  small: {type: transform, set: small}
  ok: {type: human, ask: "Fine?", form: {ok: {type: boolean}}}
  after: {type: tool, tool: text.read, args: {path: "{{ ok.ok ? 'gone.txt' : small }}"}}
  last: {type: transform, set: "{{ after }}"}
"""


def test_runs_are_told_apart_and_why_tells_choices_waits_and_what_will_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chosen.yaml").write_text(CHOSEN)

    def told(code: int, *words: str) -> str:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == code, result.output
        return result.output

    for thread in ("one-1", "one-2"):
        told(3, "run", "chosen.yaml", "--thread", thread)
    assert "'one' may mean one-2 or one-1" in told(4, "status", "one")
    assert "It was chosen by big:" in told(0, "why", "one-1", "small")
    assert "after has not begun.\n  It waits for ok, which is asking a person." in told(0, "why", "one-1", "after")
    with Owners(Path(".cogwork", "checkpoints.sqlite.owners")).held("three"):
        assert "Somebody else works on 'three'" in told(4, "run", "chosen.yaml", "--thread", "three")
    told(1, "resume", "one-1", "-a", "ok=true")
    assert "It will not: the run failed at after" in told(0, "why", "one-1", "last")


async def test_why_tells_how_many_attempts_a_step_took(stage: Stage) -> None:
    graph = stage.graph({"nodes": {"a": do(fault="timeout", until=1, retry={"max_attempts": 2, "backoff": "1ms"})}})
    assert "It took 2 attempts." in Case(graph.plan, await graph.ainvoke({})).explanation("a")


def test_a_run_that_a_process_works_on_is_running(stage: Stage, tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as saver:
        stage.graph({"nodes": {"q": ask()}}, saver).invoke({}, {"configurable": {"thread_id": "t"}})
        assert [run.status for run in Runs(saver, lambda thread: thread == "t")] == ["running"]
        assert [run.status for run in Runs(saver, lambda thread: False)] == ["paused"]


def test_a_mermaid_chart_has_choices_states_and_bodies_and_nothing_breaks_out_of_it(stage: Stage) -> None:
    each = {"for_each": [1], "nodes": {"inner": do("{{ item }}")}}
    nodes = {"q": choose(("run.id == '\"<b>'", "a"), otherwise="each"), "a": do(), "each": each}
    chart = mermaid(scene(stage.graph({"nodes": nodes}).plan, {"a": "failed"}))
    assert "-. \"run.id == '#quot;#lt;b#gt;'\" .-> n1" in chart
    assert "class n1 failed" in chart and "classDef failed" in chart
    assert 'subgraph n2 ["each' in chart and '"inner<br/>' in chart
    drawn = svg(scene(stage.graph({"nodes": nodes}).plan, {}))
    assert drawn.count('marker-end="url(#a)"') == 2 and ">inner</text>" in drawn
