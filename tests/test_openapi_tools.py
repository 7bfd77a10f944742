"""The operations of an OpenAPI document are tools: what they take, what they answer, and how they fail."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cogwork.app import App
from cogwork.settings import Settings
from cogwork.tools.openapi.answers import retry_after
from cogwork.tools.openapi.document import Document, UnusableDocument
from cogwork.tools.openapi.operations import operations
from cogwork.tools.toolbox import checked_call
from state.errors import Fault
from state.schemas import schema_fault
from state.services import CallContext, Tool
from tests.web import serving

WORDS = [
    *(
        "type",
        "enum",
        "const",
        "format",
        "pattern",
        "required",
        "minimum",
        "exclusiveMinimum",
        "multipleOf",
        "minLength",
    ),
    *(
        "properties",
        "dependentSchemas",
        "items",
        "additionalProperties",
        "allOf",
        "anyOf",
        "not",
        "nullable",
        "$ref",
        "$id",
    ),
    *(
        "readOnly",
        "description",
        "default",
        "uniqueItems",
        "prefixItems",
        "$dynamicRef",
        "$anchor",
        "patternProperties",
    ),
]
CANARY = "canary-4711-token"
PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "minLength": 1},
        "tag": {"type": "string", "nullable": True},
        "parent": {"$ref": "#/components/schemas/Pet"},
    },
}
JSON_PET = {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}
ID = {"name": "petId", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Whose."}
SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [
        {"url": "{scheme}://api.example/v{n}", "variables": {"scheme": {"default": "https"}, "n": {"default": 2}}}
    ],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List pets.",
                "description": "All of the shop.",
                "parameters": [
                    {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {
                        "name": "ids",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "integer"}},
                    },
                    {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"$ref": "#/components/parameters/limit"},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                    {"name": "flavour", "in": "cookie", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"description": "", "content": {"application/json": {}}}},
            },
            "post": {
                "operationId": "addPet",
                "requestBody": {"required": True, "content": JSON_PET},
                "responses": {"201": {"description": "", "content": JSON_PET}},
            },
        },
        "/pets/{petId}": {
            "parameters": [ID],
            "get": {"operationId": "getPet", "responses": {"200": {"description": "", "content": JSON_PET}}},
            "put": {
                "operationId": "putPet",
                "requestBody": {"content": JSON_PET},
                "responses": {"200": {"description": "", "content": JSON_PET}, "204": {"description": ""}},
            },
            "delete": {"responses": {"204": {"description": ""}}},
        },
        "/form": {
            "post": {
                "operationId": "sendForm",
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {
                            "schema": {"type": "object"},
                            "encoding": {"owner": {"style": "deepObject", "explode": True}},
                        }
                    }
                },
                "responses": {"200": {"description": "", "content": {"text/plain": {}}}},
            }
        },
        "/upload": {
            "post": {"operationId": "upload", "requestBody": {"content": {"multipart/form-data": {}}}, "responses": {}}
        },
        "/remote": {
            "get": {
                "operationId": "remote",
                "parameters": [{"name": "a", "in": "query", "schema": {"$ref": "https://evil.example/schema.json"}}],
                "responses": {},
            }
        },
        "/status/{code}": {
            "parameters": [{"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "getStatus", "responses": {}},
            "post": {"operationId": "postStatus", "responses": {}},
        },
    },
    "components": {
        "schemas": {"Pet": PET},
        "parameters": {
            "limit": {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 100},
            }
        },
    },
}


class Shop:
    """The service that the document describes; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Response | None = None
        self.app = Starlette(
            routes=[Route("/{path:path}", self.serve, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])]
        )
        self.port = 0

    async def serve(self, request: Request) -> Response:
        """Whatever the test said, else what the request was."""
        body = await request.body()
        asked = {
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.scope["query_string"].decode(),
            "headers": dict(request.headers),
            "body": body.decode(),
        }
        self.asked.append(asked)
        if self.answer is not None:
            return self.answer
        if "/status/" in request.url.path:
            status, *wait = request.url.path.rsplit("/", 1)[-1].split("-")
            headers = {"Retry-After": wait[0]} if wait else {}
            return PlainTextResponse(f"because {request.headers.get('authorization')}", int(status), headers)
        if request.method == "DELETE":
            return Response(status_code=204)
        if request.url.path.endswith("/form"):
            return PlainTextResponse(body.decode())
        if request.url.path.endswith("/pets") and request.method == "GET":
            return JSONResponse(asked)
        return JSONResponse({"id": 7, "name": "Rex"}, 201 if request.method == "POST" else 200)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that runs."""
    made = Shop()
    with serving(made.app) as made.port:
        yield made


def opened(
    folder: Path, shop: Shop, document: Any = SHOP, *, path: str = "", state: Path | None = None, **more: Any
) -> App:
    """cogwork with the shop's tools, by a document that is written into the folder, or by the one at ``path``."""
    if not path:
        path = str(folder / "shop.json")
        Path(path).write_text(document if isinstance(document, str) else json.dumps(document))
    at = f"127.0.0.1:{shop.port}"
    source: dict[str, Any] = {
        "document": path,
        "base_url": f"http://{at}/v2/",
        "private_hosts": [at],
        "headers": {"Authorization": f"Bearer {CANARY}"},
        **more,
    }
    return App(settings=Settings(state_dir=state or folder / "state", openapi={"shop": source}))  # type: ignore[arg-type]


def tool(app: App, name: str) -> Tool:
    found = app.services.tools.find(name)
    assert found is not None, (name, list(app.services.tools.names()))
    return found


async def called(app: App, name: str, **args: Any) -> Any:
    context = CallContext(run="r", step="s", idempotency_key="r:s[0]:1")
    return await checked_call(tool(app, name), args, context)


async def failed(app: App, name: str, **args: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        await called(app, name, **args)
    return caught.value


# -- what the document says ------------------------------------------------------------------------------------------------


@pytest.mark.req("X8")
def test_each_operation_is_a_tool_with_its_schemas_and_the_effect_of_its_method(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    names = [name for name in app.services.tools.names() if name.startswith("shop.")]
    assert names == [
        "shop.addPet", "shop.delete_pets_petId", "shop.getPet", "shop.getStatus", "shop.listPets", "shop.postStatus",
        "shop.putPet", "shop.sendForm",
    ]  # fmt: skip
    effects = {name: (tool(app, name).effect, tool(app, name).idempotent) for name in names}
    assert effects["shop.getPet"] == ("read", True)
    assert effects["shop.addPet"] == ("write", False)
    assert effects["shop.putPet"] == effects["shop.delete_pets_petId"] == ("write", True)
    listing = tool(app, "shop.listPets")
    assert listing.description == "List pets.\nAll of the shop."
    assert set(listing.args_schema["properties"]) == {"tags", "ids", "filter", "limit", "X-Trace", "flavour"}
    assert listing.args_schema["properties"]["limit"] == {"type": "integer", "exclusiveMinimum": 0, "maximum": 100}
    adding = tool(app, "shop.addPet")
    assert adding.args_schema["required"] == ["body"]
    assert adding.args_schema["$defs"]["Pet"]["required"] == ["name"], (
        "what only the service says is not required of us"
    )
    assert adding.args_schema["$defs"]["Pet"]["properties"]["tag"] == {"type": ["string", "null"]}
    assert adding.output_schema["$defs"]["Pet"]["required"] == ["id", "name"]
    assert tool(app, "shop.putPet").output_schema["anyOf"] == [{"$ref": "#/$defs/Pet"}, {"type": "null"}]
    assert tool(app, "shop.getPet").args_schema["properties"]["petId"]["description"] == "Whose."


def test_the_settings_choose_operations_and_say_their_effects(tmp_path: Path, shop: Shop) -> None:
    more = {"allow": ["*Pet*"], "effects": {"addPet": "read", "del*": "write"}, "idempotent": ["postStatus", "addPet"]}
    app = opened(tmp_path, shop, **more)
    names = [name for name in app.services.tools.names() if name.startswith("shop.")]
    assert names == ["shop.addPet", "shop.getPet", "shop.listPets", "shop.putPet"]
    assert (tool(app, "shop.addPet").effect, tool(app, "shop.addPet").idempotent) == ("read", True)


def test_an_operation_that_cannot_be_offered_says_why_and_the_others_are_there(tmp_path: Path, shop: Shop) -> None:
    tools = opened(tmp_path, shop).services.tools
    assert "multipart/form-data" in str(tools.problem("shop.upload"))
    assert "outside of the document" in str(tools.problem("shop.remote"))
    assert tools.problem("shop.getPet") is None
    assert shop.asked == []


def test_documents_are_read_as_yaml_too_and_in_version_3_1(tmp_path: Path, shop: Shop) -> None:
    newer = json.loads(json.dumps(SHOP)) | {"openapi": "3.1.0"}
    newer["components"]["schemas"]["Pet"]["properties"]["tag"] = {
        "type": ["string", "null"],
        "$id": "https://x.example/",
    }
    newer["components"]["parameters"]["limit"]["schema"] = {"type": "integer", "exclusiveMinimum": 0}
    text = yaml.safe_dump(newer).replace("'200':", "200:")
    app = opened(tmp_path, shop, text)
    assert tool(app, "shop.listPets").args_schema["properties"]["limit"] == {"type": "integer", "exclusiveMinimum": 0}
    assert tool(app, "shop.addPet").args_schema["$defs"]["Pet"]["properties"]["tag"] == {"type": ["string", "null"]}
    assert tool(app, "shop.getPet").output_schema["$ref"] == "#/$defs/Pet"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("a: [", "neither JSON nor YAML"),
        ("[]", "no OpenAPI document"),
        ('{"swagger": "2.0"}', "no field openapi"),
        ('{"openapi": "4.0.0"}', "openapi: 4.0.0"),
        ('{"openapi": "3.0.0", "paths": []}', None),
        ('{"openapi": "3.0.0", "paths": 7}', "paths"),
        ("{" * 100_000, "no JSON"),
        ('{"openapi": "3.1.0", "a": ' + "[" * 5_000 + "]" * 5_000 + "}", None),
    ],
)
def test_a_document_that_cannot_be_used_is_told_of_and_nothing_else_breaks(
    text: str, said: str | None, tmp_path: Path, shop: Shop
) -> None:
    tools = opened(tmp_path, shop, text).services.tools
    assert tools.find("text.read") is not None
    if said is not None:
        assert said in str(tools.problem("shop.anything"))
        assert "shop.json" in str(tools.problem("shop.anything"))


def test_a_document_that_is_not_there_is_told_of(tmp_path: Path, shop: Shop) -> None:
    tools = opened(tmp_path, shop).services.tools
    assert tools.problem("shop.unheard") is None
    app = App(settings=Settings(openapi={"shop": {"document": str(tmp_path / "gone.yaml")}}))  # type: ignore[dict-item]
    assert "gone.yaml" in str(app.services.tools.problem("shop.getPet"))
    assert app.services.tools.problem("shopping.list") is None


def _with(path: str, operation: Any) -> Document:
    return Document({"openapi": "3.1.0", "paths": {path: operation}}, old=False)


@pytest.mark.parametrize(
    ("path", "item", "said"),
    [
        ("/a/{b}", {"get": {}}, "differ in b"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "path", "schema": {}}]}}, "differ in b"),
        ("/a", {"get": {"parameters": [{"in": "query"}]}}, "no name"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "space"}]}}, "no known place"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "query", "style": "matrix"}]}}, "matrix"),
        ("/a", {"get": {"parameters": [{"$ref": "#/nowhere"}]}}, "does not hold"),
        ("/a", {"get": {"parameters": [{"$ref": "other.yaml#/x"}]}}, "outside"),
        (
            "/a",
            {"get": {"parameters": [{"name": "b", "in": "query", "schema": {"type": "nonsense"}}]}},
            "type: 'nonsense'",
        ),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "query", "schema": {"type": [{}]}}]}}, "means nothing"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "query", "schema": {"required": True}}]}}, "means nothing"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "query", "schema": {"minLength": -1}}]}}, "means nothing"),
        ("/a", {"get": {"parameters": [{"name": "b", "in": "query", "schema": 7}]}}, "no object"),
        ("/a", {"get": 7}, "no object"),
        ("/a", {"get": {"$ref": "#/paths/~1a/get"}}, "refers to itself"),
    ],
)
def test_a_faulty_operation_is_left_out_with_the_reason(path: str, item: Any, said: str) -> None:
    found, left_out = operations(_with(path, item))
    assert found == []
    (reason,) = left_out.values()
    assert said in reason


def test_schemas_without_end_are_left_out() -> None:
    deep: Any = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    found, left_out = operations(_with("/a", {"get": {"parameters": [{"name": "b", "in": "query", "schema": deep}]}}))
    assert (found, "nested too deep" in left_out["get_a"]) == ([], True)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=4)
        | st.sampled_from(["string", "object", "#/paths", "(?=x)"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
        max_leaves=12,
    )
)
def test_whatever_a_schema_holds_the_operation_is_left_out_or_its_schema_is_usable(schema: Any) -> None:
    path = {"get": {"parameters": [{"name": "b", "in": "query", "schema": schema}]}}
    for old in (True, False):
        found, left_out = operations(Document({"paths": {"/a": path}}, old=old))
        assert len(found) + len(left_out) == 1
        for each in found:
            assert schema_fault(each.args_schema) is None


def test_of_two_operations_with_one_name_the_second_is_left_out() -> None:
    found, left_out = operations(_with("/a", {"get": {"operationId": "x"}, "post": {"operationId": "x"}}))
    assert ([each.method for each in found], list(left_out)) == (["GET"], ["x_post"])


def test_a_document_refers_to_nothing_outside_of_itself() -> None:
    with pytest.raises(UnusableDocument, match="outside"):
        Document({}, old=True).at("file:///etc/passwd")


# -- requests --------------------------------------------------------------------------------------------------------------


async def test_arguments_go_where_the_document_says(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    await called(
        app, "shop.listPets", tags=["a b", "c&d"], ids=[1, 2], filter={"age": 3}, limit=5, flavour="mint; x",
        **{"X-Trace": "t1"},
    )  # fmt: skip
    (asked,) = shop.asked
    assert (asked["method"], asked["path"]) == ("GET", "/v2/pets")
    assert asked["query"] == "tags=a%20b&tags=c%26d&ids=1%2C2&filter%5Bage%5D=3&limit=5"
    assert asked["headers"]["x-trace"] == "t1"
    assert asked["headers"]["cookie"] == "flavour=mint%3B%20x"
    assert asked["headers"]["authorization"] == f"Bearer {CANARY}"
    assert "idempotency-key" not in asked["headers"]


async def test_a_body_is_sent_and_a_write_carries_the_key_of_its_call(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    assert await called(app, "shop.addPet", body={"name": "Rex"}) == {"id": 7, "name": "Rex"}
    form = {"a": "x y", "b": [1, 2], "owner": {"names": ["Ann"], "age": 3}}
    assert await called(app, "shop.sendForm", body=form) == "a=x+y&b=1&b=2&owner%5Bnames%5D%5B0%5D=Ann&owner%5Bage%5D=3"
    assert await called(app, "shop.delete_pets_petId", petId="7") is None
    adding, sent, deleting = shop.asked
    assert json.loads(adding["body"]) == {"name": "Rex"}
    assert adding["headers"]["content-type"] == "application/json"
    assert sent["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert {each["headers"]["idempotency-key"] for each in (adding, sent, deleting)} == {"r:s[0]:1"}


@pytest.mark.parametrize("value", ["a/b", "a?b=c", "a#b", "%2e%2e", "../x", "a b", "ü", "{petId}", "a;b", "\\"])
async def test_a_part_of_the_path_stays_one_part(value: str, tmp_path: Path, shop: Shop) -> None:
    await called(opened(tmp_path, shop), "shop.getPet", petId=value)
    path = shop.asked[0]["path"]
    assert path.startswith("/v2/pets/")
    assert path.count("/") == 3
    assert shop.asked[0]["query"] == ""


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_part_of_the_path_cannot_lead_out_of_it(value: str, tmp_path: Path, shop: Shop) -> None:
    assert (await failed(opened(tmp_path, shop), "shop.getPet", petId=value)).fault_class == "invalid_input"
    assert shop.asked == []


async def test_no_argument_replaces_a_header_of_the_settings_or_adds_lines(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop, headers={"x-trace": "ours", "Authorization": f"Bearer {CANARY}"})
    await called(app, "shop.listPets", **{"X-Trace": "theirs"})
    assert shop.asked[0]["headers"]["x-trace"] == "ours"
    fault = await failed(opened(tmp_path, shop), "shop.listPets", **{"X-Trace": "a\r\nX-Admin: 1"})
    assert fault.fault_class == "invalid_input"
    assert len(shop.asked) == 1


async def test_half_a_character_is_replaced_wherever_it_goes(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    await called(app, "shop.getPet", petId="a\ud800b")
    await called(app, "shop.listPets", tags=["\udfff"], filter={"\ud800": "x"}, flavour="\ud800")
    await called(app, "shop.addPet", body={"name": "\ud800"})
    await called(app, "shop.sendForm", body={"\ud800": "\udfff"})
    assert shop.asked[0]["path"] == "/v2/pets/a%EF%BF%BDb"
    assert json.loads(shop.asked[2]["body"]) == {"name": "\ufffd"}
    assert len(shop.asked) == 4


async def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    for args in ({"body": {"name": ""}}, {"body": {"name": 7}}, {}, {"body": {"name": "a"}, "more": 1}):
        assert (await failed(app, "shop.addPet", **args)).stage == "arguments"
    assert shop.asked == []


# -- answers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.req("X12")
@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        ("400", "invalid_input", "invalid_input"),
        ("401", "permission_denied", "permission_denied"),
        ("403", "permission_denied", "permission_denied"),
        ("404", "invalid_input", "invalid_input"),
        ("408", "timeout", "timeout"),
        ("409", "invalid_input", "invalid_input"),
        ("422", "invalid_input", "invalid_input"),
        ("429", "rate_limited", "rate_limited"),
        ("429-7", "rate_limited", "rate_limited"),
        ("302", "tool_error", "tool_error"),
        ("500", "unavailable", "connection"),
        ("501", "tool_error", "tool_error"),
        ("502", "unavailable", "connection"),
        ("503", "unavailable", "connection"),
        ("503-7", "unavailable", "unavailable"),
        ("504", "unavailable", "connection"),
    ],
)
async def test_the_class_of_a_failure_follows_its_status_and_a_write_that_broke_stays_in_doubt(
    status: str, read: str, write: str, tmp_path: Path, shop: Shop
) -> None:
    app = opened(tmp_path, shop)
    faults = [await failed(app, name, code=status) for name in ("shop.getStatus", "shop.postStatus")]
    assert [fault.fault_class for fault in faults] == [read, write]
    assert {fault.retry_after for fault in faults} == {7.0 if "-" in status else None}
    assert status[:3] in faults[0].message
    assert "GET /status/{code}" in faults[0].message
    once = opened(tmp_path, shop, idempotent=["postStatus"])
    assert (await failed(once, "shop.postStatus", code=status)).fault_class == read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("7", 7.0), (" 7 ", 7.0), ("9" * 400, 86_400.0), ("soon", None), ("-3", None), ("", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 21 Oct 9015 07:28:00 GMT", 86_400.0), ("Wed, 99 Oct 2015", None)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_and_as_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("<html>", 200, media_type="text/html"), "does not fit"),
        (Response("{broken", 200, media_type="application/json"), "says it is JSON"),
        (Response("[" * 100_000, 200, media_type="application/json"), "says it is JSON"),
        (Response('{"id": "seven", "name": "Rex"}', 200, media_type="application/json"), "/id"),
        (Response(b"\x89PNG", 200, media_type="image/png"), "image/png"),
        (Response(b"\xff\xfe", 200, media_type="text/plain"), "not UTF-8"),
        (Response('{"id": 7, "name": "' + "x" * 2_000 + '"}', 200, media_type="application/json"), "larger than"),
    ],
    ids=["html", "broken", "deep", "misfit", "picture", "latin", "large"],
)
async def test_an_answer_that_is_not_what_was_promised_is_no_result(
    answer: Response, said: str, tmp_path: Path, shop: Shop
) -> None:
    shop.answer = answer
    fault = await failed(
        opened(tmp_path, shop, max_bytes=1_000_000 if said != "larger than" else 1_000), "shop.getPet", petId="7"
    )
    assert fault.fault_class == "invalid_output"
    assert said in fault.message


async def test_an_answer_is_data_and_is_not_evaluated(tmp_path: Path, shop: Shop) -> None:
    shop.answer = JSONResponse({"id": 7, "name": "{{ run.id }} ${HOME} secret://key"})
    spec = {
        "cogwork": "v1",
        "name": "asks",
        "nodes": {"pet": {"type": "tool", "tool": "shop.getPet", "args": {"petId": "7"}}},
        "output": "{{ pet.name }}",
    }
    graph = opened(tmp_path, shop).compile(spec)
    assert (await graph.ainvoke({}))["output"] == "{{ run.id }} ${HOME} secret://key"


@pytest.mark.req("X8")
async def test_a_workflow_with_a_misspelt_argument_is_refused_by_the_check(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    spec = {
        "cogwork": "v1",
        "name": "asks",
        "nodes": {"pet": {"type": "tool", "tool": "shop.getPet", "args": {"petID": "7"}}},
    }
    assert {problem.code for problem in app.check(spec)} & {"unknown_argument", "missing_argument"}


async def test_a_secret_of_the_settings_is_in_no_result_fault_log_or_file(
    tmp_path: Path, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = opened(tmp_path, shop, query={"api_key": "canary-0815"})
    echoed = await called(app, "shop.listPets")
    fault = await failed(app, "shop.getStatus", code="500")
    assert shop.asked[0]["query"] == "api_key=canary-0815"
    assert "because Bearer ***" in fault.message or "because ***" in fault.message
    bad = {"type": "tool", "tool": "shop.getStatus", "args": {"code": "404"}, "on_error": "skip"}
    nodes = {"pets": {"type": "tool", "tool": "shop.listPets"}, "bad": bad}
    spec = {"cogwork": "v1", "name": "asks", "nodes": nodes, "output": "{{ json(pets) }}"}
    saver = app.checkpoints()
    with saver:
        state = await app.compile(spec, checkpointer=saver).ainvoke({}, {"configurable": {"thread_id": "t"}})
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    seen = [
        str(echoed),
        repr(fault),
        str(fault.record(node="n")),
        caplog.text,
        repr(app),
        str(state),
        repr(app.services),
    ]
    for canary in (CANARY, "canary-0815"):
        assert canary.encode() not in kept
        assert not [text for text in seen if canary in text]


# -- the service comes and goes --------------------------------------------------------------------------------------------


@pytest.mark.req("X12")
async def test_a_dead_service_is_left_alone_until_it_answers_again(tmp_path: Path) -> None:
    shop, now = Shop(), [0.0]
    with serving(shop.app) as shop.port:
        app = opened(tmp_path, shop, idempotent=["*"])
        app.breakers.clock = lambda: now[0]
        assert await called(app, "shop.getPet", petId="7")
    for _ in range(5):
        assert "ConnectError" in (await failed(app, "shop.getPet", petId="7")).message
    refused = await failed(app, "shop.getPet", petId="7")
    assert refused.fault_class == "unavailable"
    assert "http:shop is left alone" in refused.message
    assert refused.retry_after == 30.0
    now[0] = 31.0
    with serving(shop.app, shop.port):
        assert await called(app, "shop.getPet", petId="7")
    assert [health["state"] for health in app.breakers.health()] == ["closed"]


async def test_a_refusal_of_the_call_does_not_count_against_the_service(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    for _ in range(10):
        await failed(app, "shop.getStatus", code="404")
    assert app.breakers.of("http:shop").state == "closed"


async def test_a_call_ends_at_its_deadline(tmp_path: Path) -> None:
    async def stall(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    shop = Shop()
    with serving(stall) as shop.port:
        app = opened(tmp_path, shop, timeout=0.3)
        assert (await failed(app, "shop.addPet", body={"name": "Rex"})).fault_class == "timeout"


# -- where it is -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"base_url": "http://127.0.0.1:9/", "private_hosts": []}, "not in the list"),
        ({"base_url": None, "private_hosts": []}, "api.example"),
        ({"base_url": "https://user:pw@api.example/", "hosts": ["api.example"]}, "plainly scheme"),
        ({"base_url": "https://api.example/?x=1", "hosts": ["api.example"]}, "plainly scheme"),
        ({"base_url": "http://api.example/", "hosts": ["api.example"]}, "without encryption"),
        ({"base_url": "https://api.example:99999/", "hosts": ["api.example"]}, "no URL"),
        ({"base_url": "/v2", "hosts": ["api.example"]}, "plainly scheme"),
        ({"path": "https://other.example/openapi.json"}, "not in the list"),
        ({"path": "https://169.254.169.254/latest", "hosts": ["169.254.169.254"]}, "leads to 169.254.169.254"),
        ({"path": "file:///etc/passwd"}, "neither https nor http"),
    ],
)
def test_a_service_beyond_the_allowed_hosts_has_no_tools(
    more: dict[str, Any], said: str, tmp_path: Path, shop: Shop
) -> None:
    assert said in str(opened(tmp_path, shop, **more).services.tools.problem("shop.getPet"))


def test_the_address_in_the_document_serves_where_its_host_is_allowed(tmp_path: Path, shop: Shop) -> None:
    found: Any = tool(opened(tmp_path, shop, base_url=None, hosts=["api.example"]), "shop.getPet")
    assert found.service.base_url == "https://api.example/v2"


def test_a_document_is_fetched_without_secrets_kept_and_used_again_when_its_server_is_gone(tmp_path: Path) -> None:
    shop = Shop()
    relative = json.loads(json.dumps(SHOP)) | {"servers": [{"url": "/v3"}]}
    shop.answer = JSONResponse(relative)
    with serving(shop.app) as shop.port:
        at = {"path": f"http://127.0.0.1:{shop.port}/openapi.json", "base_url": None}
        found: Any = tool(opened(tmp_path, shop, **at), "shop.getPet")
        assert found.service.base_url == f"http://127.0.0.1:{shop.port}/v3"
    assert "authorization" not in shop.asked[0]["headers"]
    assert tool(opened(tmp_path, shop, **at), "shop.getPet")
    gone = opened(tmp_path, shop, **at, state=tmp_path / "fresh").services.tools
    assert "ConnectError" in str(gone.problem("shop.getPet"))
    assert gone.find("text.read") is not None


@pytest.mark.parametrize(
    "source",
    [
        {"document": "x", "hosts": ["https://api.example"]},
        {"document": "x", "hosts": ["*.example"]},
        {"document": "x", "timeout": 0},
        {"document": "x", "effects": {"a": "destroy"}},
        {"document": "x", "surprise": 1},
        {},
    ],
)
def test_settings_that_make_no_sense_are_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="openapi"):
        Settings(openapi={"shop": source})  # type: ignore[dict-item]


def test_a_service_needs_a_name_that_tools_can_begin_with() -> None:
    with pytest.raises(ValueError, match="is no name"):
        Settings(openapi={"my shop": {"document": "x"}})  # type: ignore[dict-item]


async def test_a_secret_is_taken_from_the_environment(
    tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.json").write_text(json.dumps(SHOP))
    (tmp_path / "cogwork.toml").write_text(
        f"""
        [openapi.shop]
        document = "shop.json"
        base_url = "http://127.0.0.1:{shop.port}/v2/"
        private_hosts = ["127.0.0.1:{shop.port}"]
        headers = {{Authorization = "Bearer ${{SHOP_TOKEN}}"}}
        query = {{key = "${{SHOP_TOKEN}}"}}
        """
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_TOKEN", "from-outside")
    await called(App(settings=Settings()), "shop.listPets")
    assert shop.asked[0]["headers"]["authorization"] == "Bearer from-outside"
    assert shop.asked[0]["query"] == "key=from-outside"
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(ValueError, match="SHOP_TOKEN"):
        Settings()


# -- within a run, and with documents of others -----------------------------------------------------------------------------


@pytest.mark.req("X12", "T3")
async def test_a_write_whose_service_broke_is_asked_about_and_never_sent_again(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop)
    step = {"type": "tool", "tool": "shop.postStatus", "args": {"code": "502"}, "retry": {"max_attempts": 3}}
    spec = {"cogwork": "v1", "name": "posts", "nodes": {"post": step}, "output": "{{ post }}"}
    with app.checkpoints() as saver:
        state = await app.compile(spec, checkpointer=saver).ainvoke({}, {"configurable": {"thread_id": "t"}})
    (asked,) = state["__interrupt__"]
    assert asked.value["kind"] == "in_doubt"
    assert asked.value["show"]["tool"] == "shop.postStatus"
    assert len(shop.asked) == 1


@pytest.mark.req("X12")
async def test_a_write_that_recognises_its_key_is_tried_again_with_the_same_one(tmp_path: Path, shop: Shop) -> None:
    app = opened(tmp_path, shop, idempotent=["postStatus"])
    retry = {"max_attempts": 3, "backoff": "1ms"}
    step = {"type": "tool", "tool": "shop.postStatus", "args": {"code": "502"}, "retry": retry, "on_error": "skip"}
    spec = {"cogwork": "v1", "name": "posts", "nodes": {"post": step}, "output": "{{ post | default: 'none' }}"}
    with app.checkpoints() as saver:
        state = await app.compile(spec, checkpointer=saver).ainvoke({}, {"configurable": {"thread_id": "t"}})
    assert state["output"] == "none"
    assert len(shop.asked) == 3
    assert len({asked["headers"]["idempotency-key"] for asked in shop.asked}) == 1


def test_the_document_of_a_server_of_others_gives_a_tool_for_each_of_its_operations() -> None:
    spec = importlib.util.find_spec("langgraph_api")
    path = Path(str(spec.origin)).parent.parent / "openapi.json" if spec is not None else Path("none")
    if not path.is_file():
        pytest.skip("langgraph-api, whose document this reads, is not installed")
    text = path.read_bytes()
    found, left_out = operations(Document.read(text))
    methods = sum(
        len(item.keys() & {"get", "put", "post", "delete", "patch"}) for item in json.loads(text)["paths"].values()
    )
    assert (len(found), left_out) == (methods, {})
    assert all(schema_fault(each.args_schema) is None for each in found)
    assert sum(bool(each.output_schema) for each in found) > 30
