"""The operations of an OpenAPI document: what each takes, what it answers, and which cannot be offered, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from cogwork.tools.openapi.document import Document, UnusableDocument
from cogwork.tools.openapi.schemas import Bundle
from state.schemas import schema_fault
from state.values import Json, Schema

Where: TypeAlias = Literal["path", "query", "header", "cookie"]
METHODS: Final = ("get", "head", "options", "put", "delete", "post", "patch")
MAX_OPERATIONS: Final = 10_000
_WHERE: Final = ("path", "query", "header", "cookie")
_OWN_HEADERS: Final = frozenset(
    (
        *(
            "accept",
            "accept-encoding",
            "authorization",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
        ),
        *("cookie", "expect", "host", "idempotency-key", "proxy-authorization", "te", "trailer", "transfer-encoding"),
        "upgrade",
    )
)
"""Headers that are never an argument: they belong to the settings or to the connection."""
_STYLES: Final = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: the argument it is taken from, its name in the request, and how lists and objects are written."""

    argument: str
    name: str
    where: Where
    style: str
    explode: bool
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation; the argument ``body`` is sent as ``media`` where there is one."""

    name: str
    method: str
    path: str
    description: str
    parameters: tuple[Parameter, ...]
    media: str | None
    args_schema: Schema
    output_schema: Schema


def operations(document: Document) -> tuple[list[Operation], dict[str, str]]:
    """Every operation that can be offered, and of the others by name why not.

    Raises:
        UnusableDocument: the document has no paths.
    """
    paths = document.root.get("paths") or {}
    if not isinstance(paths, Mapping):
        raise UnusableDocument("Its paths are no object")
    made: dict[str, Operation] = {}
    left_out: dict[str, str] = {}
    for path, method, item, raw in _all(document, paths):
        name = operation_name(method, path, raw.get("operationId") if isinstance(raw, Mapping) else None)
        if name in made:
            left_out[f"{name}_{method}"] = f"{method.upper()} {path}: another operation is named {name} too"
            continue
        try:
            made[name] = _operation(document, name, method, path, item, document.object(raw, "the operation"))
        except (UnusableDocument, RecursionError) as error:
            left_out[name] = f"{method.upper()} {path}: {error}"
    return list(made.values()), left_out


def operation_name(method: str, path: str, given: Json) -> str:
    """The operation's name as a part of a tool's: its ``operationId``, else made of method and path."""
    text = given if isinstance(given, str) and given.strip() else f"{method} {path.replace('/', ' ')}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:100] or method


def _all(document: Document, paths: Mapping[str, Json]) -> Iterator[tuple[str, str, Mapping[str, Json], Json]]:
    left = MAX_OPERATIONS
    for path, value in paths.items():
        try:
            item = document.object(value, f"the path {path}")
        except UnusableDocument:
            continue
        for method in METHODS:
            if method in item and str(path).startswith("/") and left > 0:
                left -= 1
                yield str(path), method, item, item[method]


def _operation(
    document: Document, name: str, method: str, path: str, item: Mapping[str, Json], raw: Mapping[str, Json]
) -> Operation:
    bundle = Bundle(document, "request")
    parameters, properties, required = _parameters(
        document, bundle, [*_list(item, "parameters"), *_list(raw, "parameters")]
    )
    if missing := set(re.findall(r"{([^{}]*)}", path)) ^ {p.name for p in parameters if p.where == "path"}:
        raise UnusableDocument(f"its path and its parameters differ in {', '.join(sorted(missing))}")
    media = None
    if raw.get("requestBody") is not None:
        media, properties["body"], needed = _body(document, bundle, raw["requestBody"])
        required = [*required, "body"] if needed else required
    args = bundle.whole(
        {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    )
    if fault := schema_fault(args):
        raise UnusableDocument(f"the schema of its parameters is not usable: {fault}")
    said = [raw.get("summary"), raw.get("description")]
    return Operation(
        name=name,
        method=method.upper(),
        path=path,
        description="\n".join(text.strip() for text in said if isinstance(text, str) and text.strip())
        or f"{method.upper()} {path}",
        parameters=parameters,
        media=media,
        args_schema=args,
        output_schema=_output(document, raw.get("responses")),
    )


def _list(owner: Mapping[str, Json], key: str) -> list[Json]:
    value = owner.get(key)
    return value if isinstance(value, list) else []


def _parameters(
    document: Document, bundle: Bundle, listed: Sequence[Json]
) -> tuple[tuple[Parameter, ...], dict[str, Any], list[str]]:
    """The parameters, with the properties and required names of their arguments; an operation's replace those of its path."""
    found: dict[tuple[str, str], Mapping[str, Json]] = {}
    for each in listed:
        raw = document.object(each, "a parameter")
        name, where = raw.get("name"), raw.get("in")
        if not isinstance(name, str) or where not in _WHERE:
            raise UnusableDocument("one of its parameters has no name, or is in no known place")
        if where != "header" or name.lower() not in _OWN_HEADERS:
            found[name, str(where)] = raw
    names = [name for name, _ in found]
    made, properties, required = [], dict[str, Any](), list[str]()
    for (name, where), raw in found.items():
        argument = f"{where}_{name}" if names.count(name) > 1 or name == "body" else name
        made.append(_parameter(argument, name, cast(Where, where), raw))
        properties[argument] = _described(bundle.schema(_schema_of(raw)), raw)
        if where == "path" or raw.get("required") is True:
            required.append(argument)
    return tuple(made), properties, required


def _parameter(argument: str, name: str, where: Where, raw: Mapping[str, Json]) -> Parameter:
    style = raw.get("style") or _STYLES[where]
    if style not in ("simple", "form", "spaceDelimited", "pipeDelimited", "deepObject"):
        raise UnusableDocument(f"its parameter {name} is written in the style {style!r}, which is not supported")
    explode = raw.get("explode")
    return Parameter(
        argument=argument,
        name=name,
        where=where,
        style=str(style),
        explode=explode if isinstance(explode, bool) else style == "form",
        as_json="content" in raw,
    )


def _schema_of(raw: Mapping[str, Json]) -> Json:
    content = raw.get("content")
    if not isinstance(content, Mapping) or not content:
        return raw.get("schema", {})
    only = next(iter(content.values()))
    return only.get("schema", {}) if isinstance(only, Mapping) else {}


def _described(schema: Json, raw: Mapping[str, Json]) -> Json:
    said = raw.get("description")
    if not isinstance(said, str) or not isinstance(schema, dict) or "$ref" in schema:
        return schema
    return {**schema, "description": said}


def _body(document: Document, bundle: Bundle, value: Json) -> tuple[str, Json, bool]:
    """The media type, schema and necessity of the request's body."""
    raw = document.object(value, "its body")
    content = raw.get("content")
    content = content if isinstance(content, Mapping) else {}
    kinds = list(content)
    for fits in (
        is_json,
        lambda kind: kind.startswith("application/x-www-form-urlencoded"),
        lambda kind: kind.startswith("text/"),
    ):
        if kind := next((kind for kind in kinds if fits(str(kind).lower())), None):
            held = document.object(content[kind], "its body")
            media = "application/json" if kind == "*/*" else kind
            return media, _described(bundle.schema(held.get("schema", {})), raw), raw.get("required") is True
    raise UnusableDocument(
        f"its body is {', '.join(map(str, kinds)) or 'of no type'}, and neither JSON, a form nor text"
    )


def is_json(media: str) -> bool:
    """Whether a media type means JSON."""
    kind = media.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json", "*/*") or kind.endswith("+json")


def _output(document: Document, responses: Json) -> Schema:
    """The schema of the answers that mean success; empty where it is not known for all of them."""
    bundle, made = Bundle(document, "response"), list[Json]()
    try:
        for status, value in responses.items() if isinstance(responses, Mapping) else ():
            if str(status).startswith("2"):
                made.append(_answer(document, bundle, value))
        different = [each for index, each in enumerate(made) if each not in made[:index]]
        if not different or True in different or {} in different:
            return {}
        whole = bundle.whole(different[0] if len(different) == 1 else {"anyOf": different})
    except (UnusableDocument, RecursionError):
        return {}
    return whole if schema_fault(whole) is None else {}


def _answer(document: Document, bundle: Bundle, value: Json) -> Json:
    """The schema of one response: null where it has no body, nothing known where that is no JSON."""
    content = document.object(value, "a response").get("content")
    if not isinstance(content, Mapping) or not content:
        return {"type": "null"}
    kind = next((kind for kind in content if is_json(str(kind))), None)
    return {} if kind is None else bundle.schema(document.object(content[kind], "a response").get("schema", {}))
