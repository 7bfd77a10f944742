"""What a model is told: the conversation so far, within what the model takes, and what the record says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

import cogwork
from cogwork.settings import Settings
from nodes.base import Outcome
from prompts.conversation import Turn, trimmed
from prompts.partials import parse_prompt
from prompts.template import PromptTemplate
from state.errors import Fault
from state.services import Services
from state.values import Json
from tests.fakes import ScriptedModel, ScriptedModels, fake_services
from tests.works import Work, node

pytestmark = pytest.mark.req("X7")

ASK = parse_prompt(
    """---
version: 3
variables:
  question: string
  notes: {type: string, default: "", priority: 1}
context: [project]
---
# User
{{ question }}
{{ notes }}
{{#if context.project}}
Project: {{ context.project }}
{{/if}}
""",
    name="ask",
)


@dataclass(slots=True)
class Sized(ScriptedModels):
    """Models of which it is known how much they take."""

    takes: int = 0

    def context_length(self, name: str) -> int | None:
        return self.takes


@dataclass(slots=True)
class Asked:
    """One llm step with a model that remembers what it was told."""

    spec: Mapping[str, Json]
    takes: int | None = None
    messages: tuple[BaseMessage, ...] = ()
    context: Json = None
    prompt: PromptTemplate = ASK

    def work(self) -> tuple[Work, ScriptedModel]:
        model = ScriptedModel(answers=["fine"])
        services = fake_services(models={"m": model}, prompts={"ask": self.prompt})
        if self.takes is not None:
            models = Sized({"m": model}, takes=self.takes)
            services = Services(tools=services.tools, models=models, prompts=services.prompts)
        made = node(type="llm", **self.spec)
        more = {"messages": self.messages, "context": self.context or {}}
        return Work(node=made, services=services, more=more), model

    async def run(self) -> tuple[list[tuple[str, str]], Outcome]:
        work, model = self.work()
        outcome = await work.run()
        return [(message.type, str(message.text)) for message in model.asked[0]], outcome

    async def fault(self) -> Fault:
        work, model = self.work()
        fault = await work.fault()
        assert not model.asked
        return fault


THREAD = (
    HumanMessage("one"),
    AIMessage("first"),
    HumanMessage("two"),
    AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "c1"}, {"name": "t", "args": {}, "id": "c2"}]),
    ToolMessage("r1", tool_call_id="c1"),
    ToolMessage("r2", tool_call_id="c2"),
    AIMessage("second"),
)
NOW: dict[str, Json] = {"prompt": "What now?"}


# -- conversations -----------------------------------------------------------------------------------------------


async def test_the_threads_messages_stand_between_instructions_and_question() -> None:
    told, outcome = await Asked({**NOW, "system": "Be kind.", "history": True}, messages=THREAD[:2]).run()
    assert told == [("system", "Be kind."), ("human", "one"), ("ai", "first"), ("human", "What now?")]
    assert [message.type for message in outcome.messages] == ["human", "ai"]


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (7, ["human", "ai", "human", "ai", "tool", "tool", "ai"]),
        (6, ["human", "ai", "tool", "tool", "ai"]),
        (5, ["human", "ai", "tool", "tool", "ai"]),
        (4, []),
        (0, []),
    ],
)
async def test_trimming_never_parts_a_tool_call_from_its_results(most: int, kept: list[str]) -> None:
    told, outcome = await Asked({**NOW, "history": {"max_messages": most}}, messages=THREAD).run()
    assert [kind for kind, _ in told[:-1]] == kept
    left = 7 - len(kept)
    said = outcome.prompt.get("shortened")
    assert said is None if not left else said[0]["how"] == f"left out the oldest {left} of 7 messages"


async def test_a_bound_of_tokens_keeps_the_latest() -> None:
    long = tuple(HumanMessage("word " * 100) if n % 2 == 0 else AIMessage(f"answer {n}") for n in range(10))
    told, outcome = await Asked({**NOW, "history": {"max_tokens": 230}}, messages=long).run()
    assert [text for _, text in told[:-1]] == [str(message.content) for message in long[-4:]]
    (cut,) = outcome.prompt["shortened"]
    assert (cut["variable"], cut["how"]) == ("history", "left out the oldest 6 of 10 messages")
    assert cut["dropped"] > 300


def test_half_a_pair_of_call_and_result_is_left_out() -> None:
    turns = [
        Turn(role="tool", text="lost", answers="c0"),
        Turn(role="user", text="hi"),
        Turn(role="assistant", text="", calls=("c1", "c2")),
        Turn(role="tool", text="r1", answers="c1"),
        Turn(role="user", text="bye"),
    ]
    kept, _ = trimmed(turns, len, max_messages=10)
    assert [turn.text for turn in kept] == ["hi", "bye"]


async def test_the_contexts_history_is_told_in_order_of_time_with_roles_mapped_and_merged() -> None:
    history: Json = [
        {"role": "ai", "content": "Hello.", "timestamp": "2026-11-21T09:01:00Z"},
        {"role": "human", "content": "Hi.", "timestamp": "2026-11-21T09:00:00"},
        {"role": "assistant", "content": "What is it?", "timestamp": "2026-11-21T11:02:00+02:00"},
    ]
    spec = {**NOW, "history": {"from": "context"}}
    told, outcome = await Asked(spec, context={"history": history}, messages=THREAD).run()
    assert told == [("human", "Hi."), ("ai", "Hello.\n\nWhat is it?"), ("human", "What now?")]
    assert outcome.messages == ()


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ({"role": "user"}, "must be a list"),
        ([{"role": "system", "content": "obey"}], "entry 0: instructions belong into the prompt"),
        ([{"role": "user", "content": "x"}, {"role": "robot", "content": "x"}], "entry 1: the role must be one of"),
        ([{"role": ["user"], "content": "x"}], "entry 0: the role must be one of"),
        ([{"role": "user", "content": 3}], "entry 0: the content must be text"),
        ([{"role": "user", "content": "x", "timestamp": "noon"}], "the timestamp must be ISO 8601"),
        ([{"role": "user", "content": "x", "tool_calls": []}], "unknown key 'tool_calls'"),
        (["hi"], "entry 0: it is no object"),
    ],
)
async def test_a_history_that_is_no_conversation_is_invalid_input(history: Json, says: str) -> None:
    fault = await Asked({**NOW, "history": {"from": "context"}}, context={"history": history}).fault()
    assert (fault.fault_class, fault.stage) == ("invalid_input", "render")
    assert says in fault.message


# -- what a model takes ------------------------------------------------------------------------------------------


async def test_a_prompt_beyond_what_the_model_takes_is_refused_before_the_call() -> None:
    fault = await Asked({"prompt": "why? " * 1000, "max_tokens": 100, "model": "m"}, takes=600).fault()
    assert (fault.fault_class, fault.stage) == ("invalid_input", "render")
    details: Any = fault.details
    assert details["over"] == details["tokens"] - details["limit"] > 1000
    assert "The model 'm' takes 600 tokens, 100 of them for its answer." in fault.message


async def test_what_may_give_way_does_and_the_record_says_so() -> None:
    values: Json = {"question": "Why?", "notes": "It rains. " * 500}
    told, outcome = await Asked({"prompt": "ask", "with": values, "max_tokens": 100}, takes=600).run()
    assert told[0][1].startswith("Why?\nIt rains.") and told[0][1].endswith("[…]")
    about = outcome.prompt
    assert (about["name"], about["version"], about["exact"]) == ("ask", "3", False)
    assert about["tokens"] <= 500
    assert [cut["variable"] for cut in about["shortened"]] == ["notes"]


async def test_old_messages_give_way_before_the_prompt_does() -> None:
    long = tuple(HumanMessage("word " * 100) if n % 2 == 0 else AIMessage(f"answer {n}") for n in range(10))
    spec: dict[str, Json] = {"prompt": "ask", "with": {"question": "Why?", "notes": "It rains. " * 50}}
    told, outcome = await Asked({**spec, "max_tokens": 100, "history": True}, takes=600, messages=long).run()
    assert len(told) == 7
    assert [cut["variable"] for cut in outcome.prompt["shortened"]] == ["history"]
    assert told[-1][1].count("It rains.") == 50


async def test_the_schema_of_the_answer_counts_as_well() -> None:
    fields: Json = {f"field_{n}": {"type": "string", "description": "what it is about"} for n in range(40)}
    schema: Json = {"type": "object", "properties": fields}
    assert (await Asked({**NOW, "max_tokens": 100, "output": schema}, takes=600).fault()).fault_class == "invalid_input"


async def test_without_bounds_nothing_is_counted() -> None:
    _, outcome = await Asked(
        {"prompt": "ask", "with": {"question": "Why?"}},
        prompt=parse_prompt("---\nvariables: {question: string}\n---\n# User\n{{ question }}\n", name="ask"),
    ).run()
    assert outcome.prompt == {"name": "ask", "version": "1"}


# -- in a run ----------------------------------------------------------------------------------------------------

PROMPT = """---
version: {version}
variables:
  topic: string
  notes: {{type: string, priority: 1}}
context: [preferences.tone]
budget: 60
---
# User
Write about {{{{ topic }}}}.
{{{{#if context.preferences.tone}}}}
Tone: {{{{ context.preferences.tone }}}}
{{{{/if}}}}
Material:
{{{{ notes }}}}
"""
SPEC: dict[str, Any] = {
    "cogwork": "v1",
    "name": "writes",
    "input": {"notes": "string"},
    "nodes": {
        "draft": {
            "type": "llm",
            "prompt": "write@1",
            "with": {"topic": "rain", "notes": "{{ input.notes }}"},
            "model": "offline",
        }
    },
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "write@1.md").write_text(PROMPT.format(version=1))
    (folder / "write@2.md").write_text(PROMPT.format(version=2).replace("Write about", "Say something of"))
    return Settings(prompts=[folder], state_dir=tmp_path / "state")


def test_the_record_and_the_event_of_a_step_tell_version_and_what_was_left_out(settings: Settings) -> None:
    graph = cogwork.compile(SPEC, settings=settings)
    given = {"notes": "Rain falls. " * 100}
    events = list(graph.events(given, {"configurable": {"thread_id": "t"}}, context={"preferences": {"tone": "dry"}}))
    (finished,) = [event for event in events if event.kind == "step.finished" and event.step == "draft"]
    about = finished.data["prompt"]
    assert (about["name"], about["version"]) == ("write", "1")
    (cut,) = about["shortened"]
    assert cut["variable"] == "notes" and cut["dropped"] > 200 and cut["how"].startswith("kept the first ")


def test_check_finds_a_version_that_is_not_there(settings: Settings) -> None:
    spec = {**SPEC, "nodes": {"draft": {**SPEC["nodes"]["draft"], "prompt": "write@3"}}}
    (problem,) = cogwork.check(spec, settings=settings)
    assert (problem.code, problem.pointer) == ("unknown_prompt", "/nodes/draft/prompt")
    assert problem.hint.startswith("its version is 2")


def test_instructions_in_a_threads_messages_are_not_passed_on() -> None:
    from nodes.telling import _turns

    assert [turn.text for turn in _turns([SystemMessage("obey"), HumanMessage("hi")])] == ["hi"]


def test_why_says_which_version_a_model_was_told_and_what_was_left_out() -> None:
    from cogwork.cli.reasons import remarks
    from cogwork.cli.recorded import served

    cut = {"variable": "notes", "dropped": 1200, "how": "kept the first 3 of 9 items"}
    record = {"status": "done", "prompt": {"name": "write", "version": "2", "shortened": [cut]}}
    assert list(served(record)) == [
        "Its prompt was version 2 of write.",
        "Of notes, 1,200 tokens were left out so that the prompt fits: kept the first 3 of 9 items.",
    ]
    assert remarks(record) == ["prompt shortened: notes −1,200 tokens"]
