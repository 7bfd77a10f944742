"""What the official conformance runner looks for on a server: small tools, resources and prompts, mounted beside our own.

``python -m tests.conformance`` serves them with our server on loopback and runs both releases of the runner against it.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
import warnings
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.subscriptions import PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from cogwork.server.mcp.asking import can_ask, modern
from cogwork.server.mcp.door import Answer, Call, Contents, Context, Extras, Got, Prompt, Resource, Template, Tool
from state.errors import Fault
from tests.mcp_door import house
from tests.peers import HERE, node22

PAUSE = 0.05
"""Seconds between two tellings, as the runner asks for."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _picture() -> str:
    """One red pixel as PNG."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + _chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def _sound() -> str:
    """No samples at all, as WAV."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 0)
    return b64encode(b"RIFF" + struct.pack("<I", len(body)) + body).decode()


PICTURE, SOUND = _picture(), _sound()


def text(said: str) -> types.TextContent:
    """Text in a result."""
    return types.TextContent(text=said)


def held(uri: str, said: str, kind: str = "text/plain") -> types.EmbeddedResource:
    """A resource in a result."""
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=kind, text=said))


def form(message: str, **properties: Any) -> types.ElicitRequest:
    """A form that asks for these, all of them."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def question(said: str, most: int) -> types.CreateMessageRequest:
    """A question to the client's model."""
    told = types.SamplingMessage(role="user", content=text(said))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[told], max_tokens=most))


@contextmanager
def earlier() -> Iterator[None]:
    """What protocols before 2026 have, and the SDK warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


# -- tools that answer at once -------------------------------------------------------------------------------


def says(*content: Any) -> Callable[[Call], Awaitable[Answer]]:
    """A tool that gives this."""

    async def call(call: Call) -> Answer:
        return types.CallToolResult(content=list(content))

    return call


async def fails(call: Call) -> Answer:
    """It fails, as every call of it does."""
    raise Fault("tool_error", "This tool intentionally returns an error for testing")


async def logs(call: Call) -> Answer:
    """Three lines of the log."""
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        with earlier():
            await call.ctx.session.send_log_message("info", said, related_request_id=call.ctx.request_id)
        await asyncio.sleep(PAUSE)
    return types.CallToolResult(content=[text("It has logged.")])


async def progresses(call: Call) -> Answer:
    """From 0 to 100."""
    for done in (0, 50, 100):
        await call.ctx.session.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(PAUSE)
    return types.CallToolResult(content=[text("It has come to 100.")])


async def reconnects(call: Call) -> Answer:
    """It lets the connection go, and answers whoever comes back for the rest."""
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
    await asyncio.sleep(2 * PAUSE)
    return types.CallToolResult(content=[text("This is what came after the connection.")])


async def streams(call: Call) -> Answer:
    """Something on the stream before the answer, and nothing that asks."""
    await call.ctx.session.report_progress(1, 2, "half")
    return types.CallToolResult(content=[text("Done.")])


def triggers(event: Any) -> Callable[[Call], Awaitable[Answer]]:
    """A tool after which a list has changed."""

    async def call(call: Call) -> Answer:
        await call.door.bus.publish(event())
        return types.CallToolResult(content=[text("The list has changed.")])

    return call


# -- tools that ask the client -------------------------------------------------------------------------------


async def samples(call: Call) -> Answer:
    """What the client's model says to the prompt."""
    if not call.ctx.session.check_client_capability(types.ClientCapabilities(sampling=types.SamplingCapability())):
        raise Fault("refused", "the client has no model to ask")
    request = question(str(call.arguments.get("prompt")), 100)
    with earlier():
        answer = await call.ctx.session.create_message(
            request.params.messages, max_tokens=100, related_request_id=call.ctx.request_id
        )
    said = getattr(answer.content, "text", "")
    return types.CallToolResult(content=[text(f"LLM response: {said}")])


def elicits(told: str, said: str, schema: Any) -> Callable[[Call], Awaitable[Answer]]:
    """A tool that shows a form; ``{message}`` is its argument."""

    async def call(call: Call) -> Answer:
        if not can_ask(call.ctx):
            raise Fault("refused", "the client cannot show a form")
        message = told.format(message=call.arguments.get("message", ""))
        result = await call.ctx.session.elicit_form(message, schema, call.ctx.request_id)
        content = json.dumps(result.content)
        return types.CallToolResult(content=[text(said.format(action=result.action, content=content))])

    return call


async def lacks(call: Call) -> Answer:
    """It needs a model of the client's, and says so."""
    if not call.ctx.session.check_client_capability(types.ClientCapabilities(sampling=types.SamplingCapability())):
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling", {"requiredCapabilities": {"sampling": {}}}
        )
    return types.CallToolResult(content=[text("The client has a model.")])


Requests = dict[str, Any]


def needed(requests: Requests, state: str | None = None) -> types.InputRequiredResult:
    """What is asked before there is a result."""
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def given(params: Any, key: str, wanted: str) -> Any:
    """What the client gave under that key, where it is what was asked for; else None."""
    response = (params.input_responses or {}).get(key)
    found = response.model_dump(by_alias=True, mode="json") if hasattr(response, "model_dump") else response
    return found if isinstance(found, dict) and found.get(wanted) is not None else None


def asks(requests: Requests, wanted: dict[str, str], state: str | None = None) -> Callable[[Call], Awaitable[Answer]]:
    """A tool that asks for all of these once; ``wanted`` is which field each answer must have."""

    async def call(call: Call) -> Answer:
        answers = {key: given(call.params, key, field) for key, field in wanted.items()}
        if state is not None and call.params.request_state not in (None, state):
            raise MCPError(types.INVALID_PARAMS, "That is not what was said before")
        if any(answer is None for answer in answers.values()):
            return needed(requests, state)
        marked = "state-ok: " if state is not None and call.params.request_state == state else ""
        return types.CallToolResult(content=[text(f"{marked}{json.dumps(answers)}")])

    return call


async def rounds(call: Call) -> Answer:
    """Two questions, one after the other."""
    state = json.loads(call.params.request_state or "{}")
    name = given(call.params, "step1", "content") or state.get("name")
    if name is None:
        return needed({"step1": form("Step 1: What is your name?", name={"type": "string"})}, json.dumps({"at": 1}))
    colour = given(call.params, "step2", "content")
    if colour is None:
        asked = {"step2": form("Step 2: What is your favorite color?", color={"type": "string"})}
        return needed(asked, json.dumps({"at": 2, "name": name}))
    return types.CallToolResult(content=[text(json.dumps([name, colour]))])


async def heeds_capabilities(call: Call) -> Answer:
    """Only what the client can do is asked of it."""
    capabilities = call.ctx.session.client_capabilities or types.ClientCapabilities()
    requests: Requests = {}
    if capabilities.sampling is not None:
        requests["model"] = question("Say something", 20)
    if can_ask(call.ctx):
        requests["person"] = form("Say something", said={"type": "string"})
    if not requests or call.params.input_responses:
        return types.CallToolResult(content=[text("Nothing is needed.")])
    return needed(requests)


ASK_NAME: Requests = {"user_name": form("What is your name?", name={"type": "string"})}
CONFIRM: Requests = {"confirm": form("Please confirm", ok={"type": "boolean"})}
ROOTS: Requests = {"client_roots": types.ListRootsRequest()}
GREETING: Requests = {"greeting": question("Generate a greeting", 50)}
CAPITAL: Requests = {"capital_question": question("What is the capital of France?", 100)}
DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}
NUMBERED = ["option1", "option2", "option3"]


def titled(word: str) -> list[dict[str, str]]:
    """Choices with titles."""
    return [{"const": f"value{n}", "title": f"{nth} {word}"} for n, nth in ((1, "First"), (2, "Second"), (3, "Third"))]


ENUMS = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": NUMBERED},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": NUMBERED}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    },
}
CONTACT = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
DIALECT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
HEADERS = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}
MIXED = (
    text("Multiple content types test:"),
    types.ImageContent(data=PICTURE, mime_type="image/png"),
    held("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
)


def tool(name: str, call: Callable[[Call], Awaitable[Answer]], schema: Any = None, **properties: Any) -> Tool:
    """A tool of that name; the properties are its arguments."""
    takes = schema or {"type": "object", "properties": properties, "required": list(properties)}
    shown = types.Tool(name=name, description=f"{name}, for the conformance runner", input_schema=takes)
    return Tool(shown, call)


def tools() -> list[Tool]:
    """All of them."""
    done = "Elicitation completed: action={action}, content={content}"
    word = {"type": "string"}
    return [
        tool("test_simple_text", says(text("This is a simple text response for testing."))),
        tool("test_image_content", says(types.ImageContent(data=PICTURE, mime_type="image/png"))),
        tool("test_audio_content", says(types.AudioContent(data=SOUND, mime_type="audio/wav"))),
        tool(
            "test_embedded_resource",
            says(held("test://embedded-resource", "This is an embedded resource content.")),
        ),
        tool("test_multiple_content_types", says(*MIXED)),
        tool("test_error_handling", fails),
        tool("test_tool_with_logging", logs),
        tool("test_logging_tool", logs),
        tool("test_tool_with_progress", progresses),
        tool("test_reconnection", reconnects),
        tool("test_streaming_elicitation", streams),
        tool("test_trigger_tool_change", triggers(ToolsListChanged)),
        tool("test_trigger_prompt_change", triggers(PromptsListChanged)),
        tool("test_sampling", samples, prompt=word),
        tool(
            "test_elicitation",
            elicits("{message}", "User response: <action: {action}, content: {content}>", CONTACT),
            message=word,
        ),
        tool("test_elicitation_sep1034_defaults", elicits("Please review", done, DEFAULTS)),
        tool("test_elicitation_sep1330_enums", elicits("Please choose", done, ENUMS)),
        tool("json_schema_2020_12_tool", says(text("It fits.")), DIALECT),
        tool("test_custom_headers", says(text("The header fits.")), HEADERS),
        tool("test_missing_capability", lacks),
        *asking_tools(),
    ]


def asking_tools() -> list[Tool]:
    """Those that ask in rounds."""
    prefix = "test_input_required_result_"
    every = {**ASK_NAME, **GREETING, **ROOTS}
    wanted = {"user_name": "content", "greeting": "content", "client_roots": "roots"}
    confirmed = {"confirm": "content"}
    return [
        tool(f"{prefix}elicitation", asks(ASK_NAME, {"user_name": "content"})),
        tool(f"{prefix}sampling", asks(CAPITAL, {"capital_question": "content"})),
        tool(f"{prefix}list_roots", asks(ROOTS, {"client_roots": "roots"})),
        tool(f"{prefix}request_state", asks(CONFIRM, confirmed, "asked")),
        tool(f"{prefix}tampered_state", asks(CONFIRM, confirmed, "asked once")),
        tool(f"{prefix}multiple_inputs", asks(every, wanted, "all of them")),
        tool(f"{prefix}multi_round", rounds),
        tool(f"{prefix}capabilities", heeds_capabilities),
    ]


# -- resources -----------------------------------------------------------------------------------------------


def resources() -> list[Resource]:
    """A text, a picture, and what is watched."""

    async def words(ctx: Context) -> Contents:
        said = "This is the content of the static text resource."
        return types.TextResourceContents(uri="test://static-text", mime_type="text/plain", text=said)

    async def picture(ctx: Context) -> Contents:
        return types.BlobResourceContents(uri="test://static-binary", mime_type="image/png", blob=PICTURE)

    async def watched(ctx: Context) -> Contents:
        return types.TextResourceContents(uri="test://watched-resource", mime_type="text/plain", text="As it was.")

    def shown(uri: str, kind: str) -> types.Resource:
        return types.Resource(uri=uri, name=uri.rpartition("/")[2], description=f"{uri}, for tests", mime_type=kind)

    return [
        Resource(shown("test://static-text", "text/plain"), words),
        Resource(shown("test://static-binary", "image/png"), picture),
        Resource(shown("test://watched-resource", "text/plain"), watched),
    ]


async def templated(ctx: Context, uri: str) -> Contents | None:
    """What is under ``test://template/{id}/data``."""
    if not uri.startswith("test://template/") or not uri.endswith("/data"):
        return None
    id = uri.removeprefix("test://template/").removesuffix("/data")
    said = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
    return types.TextResourceContents(uri=uri, mime_type="application/json", text=said)


# -- prompts -------------------------------------------------------------------------------------------------


def prompt(name: str, get: Callable[[Any], list[Any]], *arguments: str) -> Prompt:
    """A prompt of that name, whose contents ``get`` makes of its arguments."""

    async def got(ctx: Context, params: types.GetPromptRequestParams) -> Got:
        contents = get(params.arguments or {})
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=each) for each in contents])

    takes = [types.PromptArgument(name=each, description=each, required=True) for each in arguments]
    shown = types.Prompt(name=name, description=f"{name}, for the conformance runner", arguments=takes)
    return Prompt(shown, got, lambda argument, typed: [f"{typed}{end}" for end in ("", "ing", "ed")])


def asking_prompt() -> Prompt:
    """A prompt that asks first."""

    async def got(ctx: Context, params: types.GetPromptRequestParams) -> Got:
        answer = given(params, "user_context", "content")
        if answer is None and modern(ctx):
            asked = {"user_context": form("What context should the prompt use?", context={"type": "string"})}
            return needed(asked)
        said = text(f"Use this context: {json.dumps(answer)}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=said)])

    return Prompt(types.Prompt(name="test_input_required_result_prompt", description="It asks first"), got)


def prompts() -> list[Prompt]:
    """All of them."""
    picture = types.ImageContent(data=PICTURE, mime_type="image/png")
    return [
        prompt("test_simple_prompt", lambda given: [text("This is a simple prompt for testing.")]),
        prompt(
            "test_prompt_with_arguments",
            lambda given: [text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'")],
            "arg1",
            "arg2",
        ),
        prompt(
            "test_prompt_with_embedded_resource",
            lambda given: [
                held(given.get("resourceUri", "test://example-resource"), "Embedded resource content for testing."),
                text("Please process the embedded resource above."),
            ],
            "resourceUri",
        ),
        prompt("test_prompt_with_image", lambda given: [picture, text("Please analyze the image above.")]),
        asking_prompt(),
    ]


def extras() -> Extras:
    """All that the runner looks for."""
    data = types.ResourceTemplate(
        uri_template="test://template/{id}/data", name="data", description="Data by id", mime_type="application/json"
    )
    return Extras(tools=tools(), resources=resources(), templates=[Template(data, templated)], prompts=prompts())


# -- running -------------------------------------------------------------------------------------------------

STABLE, NEXT = "@modelcontextprotocol/conformance", "conformance-next"
"""The packages of the stable release, and of the one that knows the protocol of 2026."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a scenario: how many of its checks have which status, and what was said of those that did not succeed."""

    scenario: str
    counts: dict[str, int]
    said: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all went well, without a warning."""
        return not self.said and self.counts.get("SUCCESS", 0) > 0


async def judged(url: str, package: str, folder: Path, *options: str) -> dict[str, Verdict]:
    """What the runner says of the server at that address, by scenario; extensions are left out."""
    program = HERE / "node_modules" / package / "dist" / "index.js"
    command = [str(node22()), str(program), "server", "--url", url, "--suite", "all", "-o", str(folder), *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"PATH": "/usr/bin:/bin"}
    )
    said, _ = await process.communicate()
    found = {}
    for file in sorted(folder.glob("server-*/checks.json")):
        name = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", file.parent.name)
        checks = json.loads(file.read_text())
        told = tuple(f"{c['status']} {c['id']}: {c.get('errorMessage')}" for c in checks if c["status"] not in GOOD)
        found[name] = Verdict(scenario=name, counts=dict(Counter(c["status"] for c in checks)), said=told)
    assert found, said.decode()[-2000:]
    return found


GOOD = ("SUCCESS", "INFO", "SKIPPED")


async def main(folder: Path) -> int:
    """Run both releases and say what came of it; how many scenarios did not pass."""
    async with house(folder) as home, home.served(extras=extras(), token=True) as served:
        failed = 0
        for package, *options in (
            (STABLE,),
            (NEXT, "--spec-version", "2025-11-25"),
            (NEXT, "--spec-version", "2026-07-28"),
        ):
            found = await judged(served.url, package, folder / f"{len(options)}{options[-1:]}", *options)
            for each in found.values():
                failed += not each.passed
                sys.stdout.write(
                    f"{package} {' '.join(options)} {each.scenario}: {each.counts} {' '.join(each.said)}\n"
                )
        return failed


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(min(asyncio.run(main(Path(temporary))), 1))
