"""The operations of an OpenAPI document: what each takes, what it answers, and which cannot be offered, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from cogwork.tools.openapi.document import Document, UnusableDocument
from cogwork.tools.openapi.schemas import Part, Schemas
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
    nested: frozenset[str] = frozenset()
    """Fields of a form whose lists and objects are written out as ``field[key]``."""
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
    reading = _Reading(document)
    made: dict[str, Operation] = {}
    left_out: dict[str, str] = {}
    for path, method, item, raw in _all(document, paths):
        name = operation_name(method, path, raw.get("operationId") if isinstance(raw, Mapping) else None)
        if name in made:
            left_out[f"{name}_{method}"] = f"{method.upper()} {path}: another operation is named {name} too"
            continue
        try:
            made[name] = reading.operation(name, method, path, item, document.object(raw, "the operation"))
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


class _Reading:
    """The operations of one document, which share the schemas they refer to."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._asked, self._answered = Schemas(document, "request"), Schemas(document, "response")

    def operation(
        self, name: str, method: str, path: str, item: Mapping[str, Json], raw: Mapping[str, Json]
    ) -> Operation:
        """One operation of the path ``item``.

        Raises:
            UnusableDocument: it cannot be offered.
        """
        parameters, schemas, required = self._parameters([*_list(item, "parameters"), *_list(raw, "parameters")])
        if missing := set(re.findall(r"{([^{}]*)}", path)) ^ {p.name for p in parameters if p.where == "path"}:
            raise UnusableDocument(f"its path and its parameters differ in {', '.join(sorted(missing))}")
        media, nested = None, frozenset[str]()
        if raw.get("requestBody") is not None:
            body = self._document.object(raw["requestBody"], "its body")
            media, nested, schemas["body"] = self._body(body)
            required = [*required, "body"] if body.get("required") is True else required
        properties = {argument: part.schema for argument, part in schemas.items()}
        args = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        said = [text.strip() for key in ("summary", "description") if isinstance(text := raw.get(key), str)]
        return Operation(
            name=name,
            method=method.upper(),
            path=path,
            description="\n".join(filter(None, said)) or f"{method.upper()} {path}",
            parameters=parameters,
            media=media,
            nested=nested,
            args_schema=self._asked.whole(args, (name for part in schemas.values() for name in part.names)),
            output_schema=self._output(raw.get("responses")),
        )

    def _parameters(self, listed: Sequence[Json]) -> tuple[tuple[Parameter, ...], dict[str, Part], list[str]]:
        """The parameters, with the schemas and required names of their arguments; an operation's replace those of its path."""
        found: dict[tuple[str, str], Mapping[str, Json]] = {}
        for each in listed:
            raw = self._document.object(each, "a parameter")
            name, where = raw.get("name"), raw.get("in")
            if not isinstance(name, str) or where not in _WHERE:
                raise UnusableDocument("one of its parameters has no name, or is in no known place")
            if where != "header" or name.lower() not in _OWN_HEADERS:
                found[name, str(where)] = raw
        names = [name for name, _ in found]
        made, schemas, required = [], dict[str, Part](), list[str]()
        for (name, where), raw in found.items():
            argument = f"{where}_{name}" if names.count(name) > 1 or name == "body" else name
            made.append(_parameter(argument, name, cast(Where, where), raw))
            schemas[argument] = _described(self._asked.part(_schema_of(raw)), raw)
            if where == "path" or raw.get("required") is True:
                required.append(argument)
        return tuple(made), schemas, required

    def _body(self, raw: Mapping[str, Json]) -> tuple[str, frozenset[str], Part]:
        """The media type of the request's body, what is nested in a form, and the schema."""
        content = raw.get("content")
        content = content if isinstance(content, Mapping) else {}
        for fits in (is_json, is_form, lambda kind: kind.startswith("text/")):
            if kind := next((kind for kind in content if fits(str(kind).lower())), None):
                held = self._document.object(content[kind], "its body")
                media = "application/json" if kind == "*/*" else str(kind)
                return media, _nested(held), _described(self._asked.part(held.get("schema", {})), raw)
        kinds = ", ".join(map(str, content)) or "of no type"
        raise UnusableDocument(f"its body is {kinds}, and neither JSON, a form nor text")

    def _output(self, responses: Json) -> Schema:
        """The schema of the answers that mean success; empty where it is not known for all of them."""
        try:
            good = [each for status, each in responses.items() if str(status).startswith("2")]
            parts = [self._answer(each) for each in good]
            made = [part.schema for part in parts]
            different = [each for index, each in enumerate(made) if each not in made[:index]]
            if not different or True in different or {} in different:
                return {}
            schema = different[0] if len(different) == 1 else {"anyOf": different}
            return self._answered.whole(schema, (name for part in parts for name in part.names))
        except (UnusableDocument, AttributeError, RecursionError):
            return {}

    def _answer(self, value: Json) -> Part:
        """The schema of one response: null where it has no body, nothing known where that is no JSON."""
        content = self._document.object(value, "a response").get("content")
        if not isinstance(content, Mapping) or not content:
            return Part({"type": "null"})
        kind = next((kind for kind in content if is_json(str(kind))), None)
        if kind is None:
            return Part({})
        return self._answered.part(self._document.object(content[kind], "a response").get("schema", {}))


def _list(owner: Mapping[str, Json], key: str) -> list[Json]:
    value = owner.get(key)
    return value if isinstance(value, list) else []


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


def _described(part: Part, raw: Mapping[str, Json]) -> Part:
    said = raw.get("description")
    if not isinstance(said, str) or not isinstance(part.schema, dict) or "$ref" in part.schema:
        return part
    return Part({**part.schema, "description": said}, part.names)


def _nested(held: Mapping[str, Json]) -> frozenset[str]:
    encoding = held.get("encoding")
    fields = encoding.items() if isinstance(encoding, Mapping) else ()
    return frozenset(name for name, how in fields if isinstance(how, Mapping) and how.get("style") == "deepObject")


def is_json(media: str) -> bool:
    """Whether a media type means JSON."""
    kind = media.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json", "*/*") or kind.endswith("+json")


def is_form(media: str) -> bool:
    """Whether a media type means the fields of a form."""
    return media.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
