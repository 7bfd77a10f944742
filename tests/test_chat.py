"""``cogwork chat``, ``sessions`` and ``memory`` at the command line, with the offline model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cogwork.cli import chat, sessions
from cogwork.cli.root import Door

ASKS = """
cogwork: v1
name: asks
input: {request: string}
nodes:
  ok: {type: human, ask: "Send it?", form: {approved: {type: boolean}}}
output: {answer: "{{ ok.approved ? input.request : 'Not sent.' }}"}
"""
REMEMBERS = """
cogwork: v1
name: remembers
input: {request: string, other: {type: integer, default: 1}}
nodes:
  said: {type: transform, set: "{{ map(context.history, 'content') }}"}
  known: {type: transform, set: "{{ map(context.session.memory, 'content') }}"}
output: {answer: "{{ join(said, '|') }} & {{ join(known, '|') }}", n: "{{ input.other }}"}
"""
FAILS = """
cogwork: v1
name: fails
input: {request: string}
nodes:
  read: {type: tool, tool: text.read, args: {path: "{{ input.request }}"}}
output: {answer: "{{ read.text }}"}
"""


class Shell:
    """The commands, in a folder with three workflows."""

    def __init__(self) -> None:
        self.app = typer.Typer(cls=Door)
        self.app.callback()(lambda: None)
        self.app.command("chat")(chat.chat)
        self.app.add_typer(sessions.sessions)
        self.app.add_typer(sessions.memory)

    def run(self, *words: str, lines: str = "", code: int = 0) -> str:
        done = CliRunner().invoke(self.app, list(words), input=lines)
        assert done.exit_code == code, (done.output, done.exception)
        self.errors = done.stderr
        return done.stdout

    def json(self, *words: str, lines: str = "") -> Any:
        return json.loads(self.run(*words, "--json", lines=lines))

    def events(self, *words: str, lines: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("chat", *words, "--json", lines=lines).splitlines()]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COGWORK_MODEL", "COGWORK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, text in (("asks", ASKS), ("remembers", REMEMBERS), ("fails", FAILS)):
        Path(f"{name}.yaml").write_text(text)
    return Shell()


@pytest.mark.req("X9")
def test_the_second_turn_of_an_offline_chat_sees_the_first(shell: Shell) -> None:
    said = shell.run("chat", lines="My parcel is blue. I live in Bern.\nWhere do I live?\n")
    assert "I live in Bern." in said.split("Where do I live?")[-1].split("\n\n")[-2]


@pytest.mark.req("X9", "X10")
def test_a_session_goes_on_another_day_with_what_was_said_and_is_remembered(shell: Shell) -> None:
    shell.run("chat", "remembers.yaml", lines="One.\n/remember preference: request two is dear\n")
    (session,) = shell.json("sessions")["sessions"]
    last = shell.events("--session", session["id"], lines="Request two.\n")[-1]
    assert (last["event"], last["status"], last["output"]["n"]) == ("turn", "completed", 1)
    assert last["answer"] == "One.| &  & request two is dear"
    shown = shell.json("sessions", "show", session["id"])
    assert shown["metadata"] == {"workflow": "remembers.yaml"}
    assert [m["content"] for m in shown["conversations"][0]["messages"]][::2] == ["One.", "Request two."]


@pytest.mark.req("X9")
def test_topics_and_new_conversations_begin_without_history(shell: Shell) -> None:
    lines = "One.\n/topic travel\nTwo.\n/topic -\nThree.\n/new\nFour.\n"
    answers = [e["answer"] for e in shell.events("remembers.yaml", lines=lines) if e["event"] == "turn"]
    assert answers[0] == answers[1] == answers[3] == " & "
    assert answers[2].startswith("One.|")
    assert "Two." not in answers[2]


@pytest.mark.req("X9")
def test_a_question_of_the_workflow_is_answered_by_the_next_lines_and_else_stays_open(shell: Shell) -> None:
    assert "Go." in shell.run("chat", "asks.yaml", lines="Go.\nperhaps\ntrue\n")
    turn = shell.events("asks.yaml", lines="Go.\n")[-1]
    assert (turn["status"], turn["questions"][0]["at"]) == ("paused", "ok")
    shell.run("chat", "asks.yaml", "--no-input", lines="Go.\n")
    assert "cogwork resume asks-" in shell.errors


@pytest.mark.req("X9")
def test_what_goes_wrong_is_told_and_the_chat_goes_on(shell: Shell) -> None:
    shell.run("chat", "fails.yaml", lines="no-such-file\n/topc\n/mode codng\n/forget abc\n/history x\n//slash\n")
    for told in ("no-such-file", "did you mean /topic?", "There is no mode 'codng'", "There is no memory 'abc'"):
        assert told in shell.errors
    (session,) = shell.json("sessions")["sessions"]
    shown = shell.json("sessions", "show", session["id"])
    assert [m["content"] for m in shown["conversations"][0]["messages"]] == ["no-such-file", "/slash"]


def test_every_command_of_a_chat_is_one_json_event_for_programs(shell: Shell) -> None:
    said = "/help;/history 5;/find hi;/remember The sky.;/memory sky;/mode coding;/last;/session;/topic a;/topic;/new"
    lines = "Hi.\n" + said.replace(";", "\n")
    kinds = [e["event"] for e in shell.events("remembers.yaml", lines=lines) if e["event"].startswith("chat.")]
    assert kinds == [
        *("chat.help", "chat.messages", "chat.messages", "chat.remembered", "chat.memory", "chat.mode", "chat.last"),
        *("chat.session", "chat.topic", "chat.topics", "chat.conversation"),
    ]


def test_lines_go_on_after_a_backslash_and_an_input_can_be_named(shell: Shell) -> None:
    events = shell.events("asks.yaml", "--field", "request", lines="One\\\ntwo\n/history\n")
    assert next(e for e in events if e["event"] == "chat.messages")["messages"][0]["content"] == "One\ntwo"
    shell.run("chat", "asks.yaml", "--field", "nothing", code=2)
    assert "it has request" in shell.errors
    shell.run("chat", "--session", "chat-none", code=4)
    assert "There is no session 'chat-none'" in shell.errors


@pytest.mark.req("X10")
def test_sessions_are_listed_shown_and_ended(shell: Shell) -> None:
    assert "begin one with: cogwork chat" in shell.run("sessions")
    shell.run("chat", "remembers.yaml", lines="One.\n")
    (session,) = shell.json("sessions", "--status", "active")["sessions"]
    assert session["id"] in shell.run("sessions", "--user", "me")
    assert "One." in shell.run("sessions", "show", session["id"])
    shell.run("sessions", "end", session["id"])
    assert shell.json("sessions", "--status", "active")["sessions"] == []
    shell.run("chat", "--session", session["id"], code=1)
    assert "was ended at" in shell.errors


@pytest.mark.req("X9")
def test_memory_is_added_searched_listed_and_forgotten(shell: Shell) -> None:
    added = shell.json("memory", "add", "Ana ships on Fridays.", "--type", "procedural", "--tag", "post")
    shell.run("memory", "add", "Only here.", "--project", "shop")
    assert [e["content"] for e in shell.json("memory", "search", "shipping")] == ["Ana ships on Fridays."]
    assert len(shell.json("memory")) == 1
    assert len(shell.json("memory", "--project", "shop")) == 2
    assert shell.json("memory", "--user", "bob") == []
    shell.run("memory", "forget", added["id"][:6])
    assert shell.json("memory") == []
    shell.run("memory", "add", "x", "--type", "rumour", code=2)
    assert "it is factual, procedural, episodic, preference" in shell.errors
