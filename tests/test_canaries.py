"""Canaries in keys, headers, the environment, the settings and secrets of calls: no door of a run lets one of them out."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote_plus

import pytest
from langgraph.types import Command
from typer.testing import CliRunner

import cogwork
from cogwork.app import App
from cogwork.cli.context import TOOLS
from cogwork.cli.root import cli
from state.errors import CogworkError, Fault, WorkflowFailed
from state.services import CallContext

pytestmark = [pytest.mark.req("X12"), pytest.mark.req("X8")]

CANARIES = {
    "key": "sk_canary+of/the:model Zq8Jw2",
    "plain": "canary&in=the settings-Xv7Lk1",
    "file": 'canary "in a file" <Rt5Mn9>',
    "variable": "canary/of/the/environment+Pd3Hs6",
    "nested": "canary-of-a-nested-variable-Bf4Gy0",
    "configured": "canary-of-the-caller-Wc6Te8",
}
ASKED = ("plain", "file", "variable", "nested")
SPEC = f"""
cogwork: v1
name: canaries
limits: {{max_steps: 50}}
nodes:
  echo:
    type: tool
    tool: echo
    cache: 1h
    args: {{of: {{{", ".join(f"{name}: 'secret://{name}'" for name in ASKED)}}}}}
  wrote:
    type: tool
    tool: write
    depends_on: echo
    args: {{of: secret://plain}}
    undo: {{tool: write, args: {{of: secret://variable}}}}
  ask: {{type: human, ask: "Go on after {{{{ echo }}}} {{{{ wrote }}}}?", form: {{ok: boolean}}}}
  model:
    type: llm
    model: openai:tiny
    prompt: "Say {{{{ echo }}}} {{{{ ask.ok }}}}"
    on_error: skip
    retry: {{max_attempts: 2, backoff: 1ms}}
  skipped: {{type: tool, tool: fails, on_error: skip, depends_on: [model, ask], args: {{of: [secret://file, secret://plain]}}}}
  last:
    type: tool
    tool: fails
    depends_on: [skipped, ask]
    retry: {{max_attempts: 2, backoff: 1ms, on: [tool_error]}}
    args: {{of: secret://nested}}
    fallback: [{{tool: faults, args: {{of: secret://variable}}}}]
finally:
  nodes:
    told: {{type: transform, set: "{{{{ run.error }}}}"}}
"""


def _forms(of: Any) -> list[str]:
    """What services make of what they are sent."""
    values = list(of.values()) if isinstance(of, dict) else of if isinstance(of, list) else [of]
    texts = [f"you sent {value}" for value in values] + [os.environ["CANARY_VARIABLE"], os.environ["OPENAI_API_KEY"]]
    encoded = [base64.b64encode(f"user:{text}".encode()).decode() for text in texts]
    return [*texts, *encoded, *map(quote_plus, texts), json.dumps(texts), repr(texts)]


async def echo(of: Any, context: CallContext) -> Any:
    """Repeat what it was sent, in many forms, and tell of it on the way."""
    forms = _forms(of)
    for number, form in enumerate(forms):
        context.progress(number, len(forms), form)
    return {"forms": forms, "sent": of, **dict.fromkeys(forms, True)}


async def write(of: Any) -> str:
    """Write, and repeat it."""
    return str(_forms(of))


async def fails(of: Any) -> None:
    """Fail with all of it, beyond what a message may hold."""
    try:
        raise OSError(str(_forms(of)))
    except OSError as error:
        raise RuntimeError("x" * 1900 + f" {_forms(of)}") from error


async def faults(of: Any) -> None:
    """Fail with a fault of its own."""
    raise Fault(
        "tool_error", f"no: {_forms(of)}", origin="tool", details={"forms": {form: form for form in _forms(of)}}
    )


TOOLBOX = (
    cogwork.tool(effect="read", description="Repeat.")(echo),
    cogwork.tool(effect="write", description="Write.")(write),
    cogwork.tool(effect="read", description="Fail.")(fails),
    cogwork.tool(effect="read", description="Fail.")(faults),
)


class Provider(BaseHTTPRequestHandler):
    """An endpoint that refuses every request and repeats the key that it was sent."""

    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers["content-length"]))
        key = str(self.headers["authorization"])
        self.keys.append(key)
        body = json.dumps({"error": {"message": f"bad key {key} {quote_plus(key)}", "type": key}}).encode()
        self.send_response(500)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@dataclass
class Watch:
    """What came out of each door."""

    folder: Path
    told: dict[str, str] = field(default_factory=dict)

    def hears(self, door: str, said: Any) -> None:
        """Note what a door let out."""
        self.told[door] = self.told.get(door, "") + f"\n{said}"

    def reads_files(self) -> None:
        """Note every byte that was written, what is not in the database proper yet among it."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                self.hears(f"the file {path.name}", path.read_bytes().decode("latin-1"))

    def leaks(self) -> list[tuple[str, str]]:
        """Canary and door, for each canary that came out at one."""
        found = []
        for name, canary in CANARIES.items():
            raw = canary.encode()
            forms = [canary, quote_plus(canary), json.dumps(canary)[1:-1], raw.decode("latin-1"), canary[:12]]
            forms += [base64.b64encode(b"\0" * n + raw).decode()[4:-4] for n in range(3)]
            found += [(name, door) for door, said in self.told.items() if any(form in said for form in forms)]
        return found


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Watch]:
    """A working folder whose settings hold the canaries, and a model's provider on the loopback."""
    settings, kept = tmp_path / "settings", tmp_path / "kept"
    settings.mkdir()
    (settings / "key").write_text(CANARIES["file"] + "\n")
    plain = json.dumps(CANARIES["plain"])
    (settings / "cogwork.toml").write_text(
        f'state_dir = "{kept}"\n[secrets]\nplain = {plain}\nfile = {{file = "key"}}\nvariable = {{env = "CANARY_VARIABLE"}}\n'
    )
    (settings / "canaries.yaml").write_text(SPEC)
    monkeypatch.chdir(settings)
    monkeypatch.setenv("OPENAI_API_KEY", CANARIES["key"])
    monkeypatch.setenv("CANARY_VARIABLE", CANARIES["variable"])
    monkeypatch.setenv("COGWORK_SECRETS__NESTED", CANARIES["nested"])
    caplog.set_level(logging.DEBUG)
    Provider.keys.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Watch(kept)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def served_the_canaries(watch: Watch) -> bool:
    """Whether the canaries were really used: the key reached the provider, and the calls' names stand where theirs would."""
    reached = any(CANARIES["key"] in key for key in Provider.keys)
    return reached and all(f"secret://{name}" in "".join(watch.told.values()) for name in ASKED)


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "messages", "debug", "tasks", "checkpoints"])
async def test_no_stream_mode_lets_a_secret_out(watch: Watch, mode: Any) -> None:
    app = App(tools=TOOLBOX)
    with app.checkpoints() as saver:
        graph = app.compile("canaries.yaml", checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "one", "api_key": CANARIES["configured"]}}
        with pytest.raises(WorkflowFailed) as failed:
            for given in ({}, Command(resume={"ok": True})):
                async for chunk in graph.astream(given, config, stream_mode=[mode, "values"]):
                    watch.hears(f"stream {mode}", chunk)
        watch.hears("the failure", json.dumps(failed.value.error))
    assert served_the_canaries(watch)
    told = _without_what_the_caller_gave(watch) if mode in ("debug", "checkpoints") else watch.leaks()
    assert told == []


def _without_what_the_caller_gave(watch: Watch) -> list[tuple[str, str]]:
    """LangGraph tells the caller's own configuration back to the caller in these modes, and keeps none of it."""
    return [leak for leak in watch.leaks() if leak[0] != "configured"]


async def test_no_event_state_history_file_or_log_holds_a_secret(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(tools=TOOLBOX)
    thread: Any = {"configurable": {"thread_id": "one"}}
    config: Any = {"configurable": {"thread_id": "one", "api_key": CANARIES["configured"]}}
    with app.checkpoints() as saver:
        graph = app.compile("canaries.yaml", checkpointer=saver)
        app.specs().keep(graph)
        for given in ({}, Command(resume={"ok": True})):
            async for event in graph.aevents(given, config):
                watch.hears(f"the event {event.kind}", event.to_dict())
        watch.hears("the state", await graph.aget_state(thread))
        async for snapshot in graph.aget_state_history(thread):
            watch.hears("the history", snapshot)
        for call in (await saver.calls.of_run("one", (await graph.aget_state(thread)).values["run"]["id"])).values():
            watch.hears("the record of calls", call)
        watch.reads_files()
        assert {"the file cache.sqlite", "the file checkpoints.sqlite", "the file checkpoints.sqlite-wal"} <= set(
            watch.told
        )
    watch.reads_files()
    for record in caplog.records:
        watch.hears("the log", f"{record.getMessage()} {record.exc_info} {caplog.handler.format(record)}")
    kinds = {door.removeprefix("the event ") for door in watch.told if door.startswith("the event ")}
    assert {"step.progress", "step.retry", "step.fallback", "step.waiting", "step.undone", "run.failed"} <= kinds
    assert "the log" in watch.told
    assert served_the_canaries(watch)
    assert watch.leaks() == []


def test_no_exception_that_reaches_the_caller_leads_back_to_a_secret(watch: Watch) -> None:
    graph = App(tools=TOOLBOX).compile("canaries.yaml", checkpointer="kept.sqlite")
    thread: Any = {"configurable": {"thread_id": "one"}}
    graph.invoke({}, thread)
    with pytest.raises(CogworkError) as failed:
        graph.invoke(Command(resume={"ok": True}), thread)
    watch.hears("the traceback", failed.getrepr(style="long", chain=True, funcargs=False))
    seen: list[BaseException | None] = [failed.value]
    while seen[-1] is not None:
        watch.hears("the exceptions", repr(seen[-1]))
        seen.append(seen[-1].__cause__ or seen[-1].__context__)
    watch.hears("the state", graph.get_state(thread))
    assert served_the_canaries(watch)
    assert watch.leaks() == []


def test_no_command_prints_a_secret(watch: Watch) -> None:
    runner = CliRunner()
    token = TOOLS.set(TOOLBOX)

    def cogwork_says(*args: str) -> str:
        result = runner.invoke(cli, list(args))
        said = f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        watch.hears(f"cogwork {' '.join(args)}", said)
        return said

    try:
        cogwork_says("check", "canaries.yaml")
        cogwork_says("run", "canaries.yaml", "--thread", "one", "--no-input")
        cogwork_says("status", "one")
        cogwork_says("status", "one", "--json")
        assert "RuntimeError" in cogwork_says("resume", "one", "-a", "ok=true", "--no-input")
        cogwork_says("run", "canaries.yaml", "--json", "--no-checkpoint", "-a", "ok=true")
        for command in ("show", "why", "status"):
            cogwork_says(command, "one")
            cogwork_says(command, "one", "--json")
        for step in ("echo", "wrote", "model", "skipped", "last", "finally.told"):
            cogwork_says("show", "one", step)
            cogwork_says("why", "one", step, "--json")
        cogwork_says("list", "--json")
        cogwork_says("tools", "--json")
        cogwork_says("simulate", "canaries.yaml")
        cogwork_says("--debug", "show", "nothing")
    finally:
        TOOLS.reset(token)
    watch.reads_files()
    assert served_the_canaries(watch)
    assert watch.leaks() == []


def test_the_watch_finds_what_is_let_out() -> None:
    watch = Watch(Path())
    for name, canary in CANARIES.items():
        watch.hears(name, f"<{canary}>")
        watch.hears(f"{name} quoted", quote_plus(f"a {canary}"))
        watch.hears(f"{name} encoded", base64.b64encode(f"user:{canary}".encode()).decode())
    assert {door for _, door in watch.leaks()} == set(watch.told)
