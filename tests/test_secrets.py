"""Secrets: named in arguments, known to the call alone, and taken out of whatever comes back."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langgraph.types import Command
from pydantic import BaseModel, Field, SecretStr

import cogwork
from cogwork.origins import WrongSettings
from cogwork.secrets import SecretSource, SecretStore, keys_of
from cogwork.settings import Settings
from graphs.build import build
from graphs.graph import WorkflowGraph
from nodes.secrecy import revealed
from state.errors import Asked, Fault, InDoubt, SpecError, WorkflowFailed
from state.services import CallContext, Services

pytestmark = [pytest.mark.req("X8"), pytest.mark.req("T3")]

TOKEN = 'gh"p_/ä+Q7&z 81'
HEAD = "cogwork: v1\nname: secretive\n"


class Calls:
    """Tools that note what they were really called with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.then: Callable[[Any], Any] = lambda token: "ok"

    def tools(self) -> list[Any]:
        """``fetch`` reads, ``send`` writes."""

        async def fetch(token: Any) -> Any:
            self.seen.append(token)
            return self.then(token)

        async def send(token: Any) -> Any:
            self.seen.append(token)
            return self.then(token)

        return [
            cogwork.tool(name="fetch", description="Fetch.", effect="read")(fetch),
            cogwork.tool(name="send", description="Send.", effect="write")(send),
        ]


@pytest.fixture
def calls() -> Calls:
    """Nothing called yet."""
    return Calls()


def settings(tmp_path: Path, **more: Any) -> Settings:
    """Settings that hold the token under the name ``github``."""
    return Settings(secrets={"github": SecretStr(TOKEN)}, state_dir=tmp_path / "state", **more)


def compiled(calls: Calls, tmp_path: Path, nodes: str, rest: str = "") -> WorkflowGraph:
    """The graph of these nodes, its checkpoints in a file."""
    spec = f"{HEAD}nodes:\n{nodes}{rest}"
    return cogwork.compile(
        spec, tools=calls.tools(), settings=settings(tmp_path), checkpointer=str(tmp_path / "runs.sqlite")
    )


THREAD: Any = {"configurable": {"thread_id": "one"}}


async def test_the_tool_gets_the_secret_and_everybody_else_its_name(calls: Calls, tmp_path: Path) -> None:
    calls.then = lambda token: {"you sent": token, f"{token}!": [token]}
    graph = compiled(calls, tmp_path, "  a: {type: tool, tool: fetch, args: {token: {deep: ['secret://github']}}}\n")
    state = await graph.ainvoke({}, THREAD)
    assert calls.seen == [{"deep": [TOKEN]}]
    named = {"deep": ["secret://github"]}
    assert state["results"]["a"]["you sent"] == named
    assert list(state["results"]["a"].values())[1] == [named]
    assert TOKEN not in json.dumps(state, default=str, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"https://x.test/?key={quote_plus(TOKEN)}&q=1",
        re.sub("%..", lambda found: found[0].lower(), quote_plus(TOKEN)),
        json.dumps({"token": TOKEN}),
        json.dumps(json.dumps([TOKEN])),
        repr(TOKEN),
        html.escape(f"<{TOKEN}>"),
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(f"x:{TOKEN}".encode()).decode(),
        base64.b64encode(f"ab:{TOKEN}".encode()).decode(),
        base64.b64encode(f"abc:{TOKEN}:more".encode()).decode(),
        TOKEN.encode().hex(),
    ],
)
async def test_a_result_that_holds_the_secret_in_any_usual_form_holds_its_name_instead(
    calls: Calls, tmp_path: Path, text: str
) -> None:
    calls.then = lambda token: {"text": f"before {text} after"}
    graph = compiled(calls, tmp_path, "  a: {type: tool, tool: fetch, args: {token: secret://github}}\n")
    told = (await graph.ainvoke({}, THREAD))["results"]["a"]["text"]
    assert told.startswith("before ") and told.endswith(" after")
    assert "secret://github" in told
    assert len(told) < len(text) + 30


@pytest.mark.req("X12")
@pytest.mark.parametrize("tail", ["", "x" * 1970, "x" * 1976])
async def test_a_failure_says_why_without_the_secret_even_where_its_message_is_cut(
    calls: Calls, tmp_path: Path, tail: str
) -> None:
    def fails(token: str) -> None:
        raise ValueError(f"{tail}401 for {token}")

    calls.then = fails
    graph = compiled(calls, tmp_path, "  a: {type: tool, tool: fetch, args: {token: secret://github}}\n")
    with pytest.raises(WorkflowFailed) as failed:
        await graph.ainvoke({}, THREAD)
    assert "ValueError" in failed.value.error["message"]
    assert TOKEN[:3] not in failed.value.error["message"]
    assert tail or failed.value.error["message"] == "ValueError: 401 for secret://github"


@pytest.mark.req("X12")
async def test_a_fault_of_the_tools_own_loses_the_secret_from_message_details_and_causes(
    calls: Calls, tmp_path: Path
) -> None:
    raised: list[Fault] = []

    def fails(token: str) -> None:
        try:
            raise OSError(f"no route for {token}")
        except OSError as error:
            raised.append(
                Fault("unavailable", f"gone: {token}"[:14], origin="tool", details={"sent": {token: [token]}})
            )
            raise raised[0] from error

    calls.then = fails
    graph = compiled(calls, tmp_path, "  a: {type: tool, tool: fetch, args: {token: secret://github}}\n")
    with pytest.raises(WorkflowFailed) as failed:
        await graph.ainvoke({}, THREAD)
    assert failed.value.error["message"] == "gone: secret://github"
    assert failed.value.error["details"] == {"sent": {"secret://github": ["secret://github"]}}
    assert raised[0].__cause__ is None and raised[0].__context__ is None


async def test_a_reference_that_came_in_as_data_stays_text(calls: Calls, tmp_path: Path) -> None:
    calls.then = lambda token: "secret://github"
    nodes = (
        "  a: {type: tool, tool: fetch, args: {token: '{{ input.text }}'}}\n"
        "  b: {type: tool, tool: fetch, args: {token: '{{ a }}'}}\n"
        "  c: {type: tool, tool: fetch, args: {token: ['{{ a }}', secret://github]}}\n"
    )
    graph = compiled(calls, tmp_path, nodes, "input: {text: string}\n")
    await graph.ainvoke({"text": "secret://github"}, THREAD)
    assert calls.seen == ["secret://github", "secret://github", ["secret://github", TOKEN]]


async def test_undoing_and_fallbacks_get_the_secret_too(calls: Calls, tmp_path: Path) -> None:
    nodes = (
        "  a: {type: tool, tool: send, args: {token: first},"
        " undo: {tool: send, args: {token: {s: secret://github, v: '{{ output }}'}}}}\n"
        "  b: {type: tool, tool: gone, depends_on: a, args: {token: secret://github}, fallback: [{tool: fetch}, {tool: fetch,"
        " args: {token: ['secret://github']}}]}\n"
    )

    def then(token: Any) -> str:
        if token in (TOKEN, [TOKEN]):
            raise Fault("tool_error", f"not with {token}")
        return "sent"

    async def gone(token: str) -> None:
        calls.seen.append(f"gone {token}")
        raise Fault("tool_error", "gone")

    calls.then = then
    graph = cogwork.compile(
        f"{HEAD}nodes:\n{nodes}",
        tools=[*calls.tools(), cogwork.tool(name="gone", description="Fail.", effect="read")(gone)],
        settings=settings(tmp_path),
        checkpointer=str(tmp_path / "runs.sqlite"),
    )
    with pytest.raises(WorkflowFailed):
        await graph.ainvoke({}, THREAD)
    assert calls.seen == ["first", f"gone {TOKEN}", TOKEN, [TOKEN], {"s": TOKEN, "v": "sent"}]
    state = (await graph.aget_state(THREAD)).values
    assert state["run"]["undo"]["done"] == ["a"]
    assert state["nodes"]["a"]["undo"]["args"]["token"]["s"] == "secret://github"
    assert TOKEN not in json.dumps(state, default=str, ensure_ascii=False)


async def test_what_is_kept_for_reuse_is_found_by_the_name_of_the_secret(calls: Calls, tmp_path: Path) -> None:
    calls.then = lambda token: f"for {token}"
    spec = f"{HEAD}nodes:\n  a: {{type: tool, tool: fetch, cache: 1h, args: {{token: secret://github}}}}\n"
    for value in (TOKEN, "another one"):
        chosen = Settings(secrets={"github": SecretStr(value)}, state_dir=tmp_path)
        state = await cogwork.compile(spec, tools=calls.tools(), settings=chosen).ainvoke({})
        assert state["results"]["a"] == "for secret://github"
    assert calls.seen == [TOKEN]


async def test_what_a_call_asks_a_person_holds_no_secret(tmp_path: Path) -> None:
    async def asks(token: str, context: CallContext) -> Any:
        """Ask."""
        if "q" in context.answers:
            return [token, context.answers["q"]]
        form = {"type": "object", "properties": {"ok": {"type": "boolean", "description": f"send {token}"}}}
        raise Asked("q", f"Send {token}?", form, kept={"token": token}, show={"header": f"Bearer {token}"})

    graph = cogwork.compile(
        f"{HEAD}nodes:\n  a: {{type: tool, tool: asks, args: {{token: secret://github}}}}\n",
        tools=[asks],
        settings=settings(tmp_path),
        checkpointer=str(tmp_path / "runs.sqlite"),
    )
    state = await graph.ainvoke({}, THREAD)
    asked = state["__interrupt__"][0].value
    assert asked["ask"] == "Send secret://github?"
    assert asked["form"]["properties"]["ok"]["description"] == "send secret://github"
    assert asked["show"] == {"header": "Bearer secret://github", "tool": "asks"}
    state = await graph.ainvoke(Command(resume={"ok": True}), THREAD)
    kept = {"token": "secret://github"}
    assert state["results"]["a"] == ["secret://github", {"answer": {"ok": True}, "kept": kept}]


async def test_progress_is_told_without_the_secret(tmp_path: Path) -> None:
    async def slow(token: str, context: CallContext) -> str:
        """Go slowly."""
        context.progress(1, 2, f"logged in with {token}")
        return "done"

    graph = cogwork.compile(
        f"{HEAD}nodes:\n  a: {{type: tool, tool: slow, args: {{token: secret://github}}}}\n",
        tools=[slow],
        settings=settings(tmp_path),
    )
    told = [event async for event in graph.aevents({}) if event.kind == "step.progress"]
    assert [event.data["message"] for event in told] == ["logged in with secret://github"]


async def test_a_secret_that_does_not_fit_the_tool_is_refused_without_being_shown(tmp_path: Path) -> None:
    async def short(token: Annotated[str, Field(max_length=15, pattern="^[a-z:/]+$")]) -> str:
        """Take a short token."""
        return token

    graph = cogwork.compile(
        f"{HEAD}nodes:\n  a: {{type: tool, tool: short, args: {{token: secret://github}}}}\n",
        tools=[short],
        settings=settings(tmp_path),
    )
    with pytest.raises(WorkflowFailed) as failed:
        await graph.ainvoke({})
    assert failed.value.error["class"] == "invalid_input"
    assert "a secret among them is not what the tool expects" in failed.value.error["message"]
    assert TOKEN[:6] not in failed.value.error["message"]


def test_an_unknown_secret_is_found_by_check_with_the_one_that_was_meant(calls: Calls, tmp_path: Path) -> None:
    spec = f"{HEAD}nodes:\n  a: {{type: tool, tool: fetch, args: {{token: secret://githup}}}}\n"
    problems = cogwork.check(spec, tools=calls.tools(), settings=settings(tmp_path))
    assert [(p.code, p.pointer) for p in problems] == [("unknown_secret", "/nodes/a/args/token")]
    assert "did you mean 'github'" in problems[0].message


def test_a_secret_without_a_value_is_found_by_check_with_the_reason(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "big").write_text("x" * 70_000)
    sources = {
        "a": SecretSource(env="COGWORK_TEST_NOT_SET"),
        "b": SecretSource(file=tmp_path / "none"),
        "c": SecretStr("short"),
        "d": SecretSource(file=tmp_path / "big"),
        "secret": SecretStr("secret"),
    }
    args = ", ".join(f"{name}: 'secret://{name}'" for name in sources)
    spec = f"{HEAD}nodes:\n  n: {{type: tool, tool: fetch, args: {{token: {{{args}}}}}}}\n"
    chosen = Settings(secrets=sources, state_dir=tmp_path)
    problems = cogwork.check(spec, tools=calls.tools(), settings=chosen)
    assert [p.code for p in problems] == ["unknown_secret"] * 5
    reasons = ["is not set", "cannot be read", "shorter than 6", "larger than 64 KiB", "part of its own reference"]
    told = "\n".join(p.message for p in problems)
    assert all(reason in told for reason in reasons), told


@pytest.mark.req("X13")
def test_secrets_come_from_the_file_of_settings_the_environment_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from a file\n")
    (tmp_path / "cogwork.toml").write_text(
        '[secrets]\nplain = "plain value"\nvariable = {env = "SOME_KEY"}\nmounted = {file = "key"}\nover = "not this"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_KEY", "from a variable")
    monkeypatch.setenv("COGWORK_SECRETS__OVER", "0123456")
    held = cogwork.App().secrets
    assert held.names() == ["mounted", "over", "plain", "variable"]
    assert held.resolve({"all": [f"<secret://{name}>" for name in held.names()]}) == {
        "all": ["<from a file>", "<0123456>", "<plain value>", "<from a variable>"]
    }
    assert held.redact([123456, 1234567, "0123456", "x0123456x"]) == [
        *(123456, 1234567, "secret://over", "xsecret://overx")
    ]


def test_settings_show_no_secret_and_say_what_is_wrong_with_one_without_showing_it() -> None:
    assert TOKEN not in repr(Settings(secrets={"github": SecretStr(TOKEN)}))
    with pytest.raises(WrongSettings) as refused:
        Settings(secrets={"github": {"env": "A", "file": TOKEN}})  # type: ignore[dict-item]
    assert "a secret comes from one place" in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_what_holds_no_secret_is_given_back_as_it_is_and_a_key_that_is_a_word_is_no_secret() -> None:
    held = SecretStore({"a": SecretStr("hunter-2")}, {}, {"key": SecretStr("ollama"), "long": SecretStr("k" * 20)})
    value = {"text": ["ollama run hunter", 2, None, True, 1.5]}
    assert held.redact(value) is value
    assert held.redact([f"Bearer {'k' * 20}"]) == ["Bearer [long]"]
    with pytest.raises(Fault, match="There is no secret 'key'"):
        held.resolve("secret://key")


def test_keys_are_hidden_wherever_the_settings_hold_them() -> None:
    class Endpoint(BaseModel):
        url: str
        api_key: SecretStr | None = None

    class Whole(BaseModel):
        openai_api_key: SecretStr | None = SecretStr("a" * 20)
        endpoints: dict[str, list[Endpoint]] = {
            "x": [Endpoint(url="u", api_key=SecretStr("b" * 20)), Endpoint(url="v")]
        }
        secrets: dict[str, SecretStr] = {"named": SecretStr("c" * 20)}

    keys = {name: key.get_secret_value()[0] for name, key in keys_of(Whole()).items()}
    assert keys == {"openai_api_key": "a", "endpoints.x.0.api_key": "b"}
    app = cogwork.App(settings=Settings(openai_api_key=SecretStr("d" * 20)))
    assert app.secrets.redact(f"sent {'d' * 20}") == "sent [openai_api_key]"


async def test_a_model_that_cannot_even_be_made_says_so_without_a_key(tmp_path: Path) -> None:
    class Broken:
        def find(self, name: str | None, **_: Any) -> Any:
            raise Fault("invalid_input", f"no model with {TOKEN}", origin="model")

        def problem(self, name: str) -> None:
            return None

        def price(self, name: str) -> None:
            return None

        def fallbacks(self, mode: str | None) -> tuple[str, ...]:
            return ()

    app = cogwork.App(settings=settings(tmp_path))
    given = Services(tools=app.services.tools, models=Broken(), prompts=app.services.prompts, secrets=app.secrets)  # type: ignore[arg-type]
    spec = f"{HEAD}nodes: {{a: {{type: llm, prompt: Say it.}}}}\n"
    with pytest.raises(WorkflowFailed, match="no model with secret://github"):
        await build(cogwork.load(spec), given, app.resolve).ainvoke({})


def test_a_text_cut_within_a_secret_loses_its_rest_and_only_there() -> None:
    held = SecretStore({"a": SecretStr("abcdefghijklmnop")}, {})
    assert held.redact("x abcdefghij", cut=True) == "x secret://a"
    assert held.redact("x abcdefghij y", cut=True) == "x abcdefghij y"
    assert held.redact("x abcdefghij") == "x abcdefghij"


def test_the_lines_of_a_key_of_several_lines_are_hidden_one_by_one() -> None:
    lines = [
        "-----BEGIN KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwgg",
        "q83vASNFZ4mrze8BI0VniavN7wEjRWeJ",
        "-----END KEY-----",
    ]
    held = SecretStore({"pem": SecretStr("\n".join(lines) + "\n")}, {})
    assert held.redact(f"at line 2: {lines[1]}") == "at line 2: secret://pem"
    assert held.redact(lines[0]) == lines[0]


def test_a_doubt_holds_no_secret(tmp_path: Path) -> None:
    async def timed_out(token: str) -> None:
        """Lose the connection."""
        raise ConnectionResetError(f"while sending {token}")

    graph = cogwork.compile(
        f"{HEAD}nodes:\n  a: {{type: tool, tool: timed_out, args: {{token: secret://github}}}}\n",
        tools=[timed_out],
        settings=settings(tmp_path),
        checkpointer=str(tmp_path / "runs.sqlite"),
    )
    question = graph.invoke({}, THREAD)["__interrupt__"][0].value
    assert question["kind"] == "in_doubt"
    assert "while sending secret://github" in question["ask"]
    assert question["show"]["args"] == {"token": "secret://github"}
    assert issubclass(InDoubt, Fault)


# -- which tools are given a secret ------------------------------------------------------------------------------

GUARDED = {"github": {"value": TOKEN, "tools": ["fe*"]}}


def guarded(calls: Calls, tmp_path: Path, node: str) -> WorkflowGraph:
    """The graph of one node, where the settings give the secret to ``fetch`` alone."""
    chosen = Settings(secrets=GUARDED, state_dir=tmp_path / "state")
    return cogwork.compile(f"{HEAD}nodes:\n  a: {node}\n", tools=calls.tools(), settings=chosen)


def test_a_tool_that_the_settings_name_is_given_the_secret(calls: Calls, tmp_path: Path) -> None:
    node = "{type: tool, tool: fetch, args: {token: secret://github}}"
    assert guarded(calls, tmp_path, node).invoke({})["output"] == "ok"
    assert calls.seen == [TOKEN]


@pytest.mark.parametrize(
    ("node", "pointer"),
    [
        ("{type: tool, tool: send, args: {token: secret://github}}", "/nodes/a/args/token"),
        (
            "{type: tool, tool: fetch, args: {token: x}, undo: {tool: send, args: {token: secret://github}}}",
            "/nodes/a/undo/args/token",
        ),
        (
            "{type: tool, tool: fetch, args: {token: x}, fallback: [{tool: send, args: {token: secret://github}}]}",
            "/nodes/a/fallback/0/args/token",
        ),
        ("{type: tool, tool: fetch, args: {token: secret://github}, fallback: [{tool: send}]}", "/nodes/a/args/token"),
    ],
)
def test_no_other_tool_is_given_it_by_a_step_its_fallbacks_or_its_undo(
    calls: Calls, tmp_path: Path, node: str, pointer: str
) -> None:
    with pytest.raises(SpecError) as raised:
        guarded(calls, tmp_path, node)
    errors = [problem for problem in raised.value.problems if problem.severity == "error"]
    assert [(problem.code, problem.pointer) for problem in errors] == [("secret_refused", pointer)]
    assert "is not for send: the settings give it to fe*" in errors[0].message
    assert TOKEN not in str(raised.value)


def test_a_secret_that_the_settings_have_taken_from_a_tool_is_refused_at_the_call_too() -> None:
    held = SecretStore({"github": SecretSource(value=SecretStr(TOKEN), tools=("fe*",))}, {})
    written = {"token": "secret://github"}
    assert revealed(written, written, held, "fetch") == {"token": TOKEN}
    with pytest.raises(Fault, match="is not for send") as refused:
        revealed(written, written, held, "send")
    assert refused.value.fault_class == "permission_denied"


@pytest.mark.parametrize(
    "source", [{}, {"tools": ["x"]}, {"env": "A", "value": "long-enough"}, {"file": "a", "env": "B"}]
)
def test_a_secret_comes_from_exactly_one_place(source: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="comes from one place"):
        SecretSource.model_validate(source)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=6, max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=9),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
def test_no_encoding_of_a_text_around_a_secret_gives_it_back(value: str, before: str, after: str) -> None:
    assume(value not in "secret://it" and value not in before + after)
    held, whole = SecretStore({"it": SecretStr(value)}, {}), f"{before}{value}{after}"
    assert value not in held.redact(whole)
    assert quote_plus(value) not in held.redact(quote_plus(whole))
    assert json.dumps(value)[1:-1] not in held.redact(json.dumps(whole))
    encoded = held.redact(base64.b64encode(whole.encode()).decode())
    assert "secret://it" in encoded
    assert whole not in held.redact({whole: [whole]})


async def test_a_workflow_with_a_secret_is_simulated_without_it(calls: Calls, tmp_path: Path) -> None:
    spec = f"{HEAD}nodes:\n  a: {{type: tool, tool: fetch, args: {{token: secret://github}}}}\n"
    report = cogwork.simulate(spec, tools=calls.tools(), settings=settings(tmp_path))
    assert "completed" in str(report.to_dict())
    assert TOKEN not in json.dumps(report.to_dict(), ensure_ascii=False, default=str)
    assert calls.seen == []
