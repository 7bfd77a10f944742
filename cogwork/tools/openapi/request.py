"""The arguments of an operation as a request: where each goes, and how it is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from cogwork.tools.openapi.operations import Operation, Parameter, is_form, is_json
from state.errors import Fault
from state.values import Json, normalise

_JOINED: Final = {"spaceDelimited": " ", "pipeDelimited": "|"}
_UNFIT_HEADER: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A request without its host: ``path`` and ``query`` are encoded."""

    path: str
    query: str
    headers: dict[str, str]
    content: bytes


def parts(operation: Operation, args: Mapping[str, Json]) -> Parts:
    """The request for these arguments, which fit the operation's schema.

    Raises:
        Fault: ``invalid_input`` where an argument cannot stand where it belongs.
    """
    args = normalise(args)
    path, query, headers, cookies = operation.path, list[tuple[str, str]](), dict[str, str](), list[str]()
    for parameter in operation.parameters:
        if parameter.argument not in args:
            continue
        value = args[parameter.argument]
        match parameter.where:
            case "path":
                path = path.replace(f"{{{parameter.name}}}", _segment(parameter, value))
            case "query":
                query.extend(_pairs(parameter, value))
            case "header":
                headers[parameter.name] = _line(parameter, _simple(parameter, value))
            case "cookie":
                cookies.append(f"{quote(parameter.name)}={quote(_simple(parameter, value), safe='')}")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    content = b""
    if operation.media is not None and "body" in args:
        headers["Content-Type"] = _line(None, operation.media)
        content = _content(operation, operation.media, args["body"])
    return Parts(path=path, query=urlencode(query, quote_via=quote), headers=headers, content=content)


def _segment(parameter: Parameter, value: Json) -> str:
    """A part of the path, from which no value can step out."""
    text = _simple(parameter, value)
    if text in ("", ".", ".."):
        raise Fault(
            "invalid_input",
            f"The argument {parameter.argument} may not be {text!r}: it is a part of a path",
            origin="tool",
        )
    return quote(text, safe=",")


def _pairs(parameter: Parameter, value: Json) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if parameter.as_json or not isinstance(value, dict | list):
        yield name, _simple(parameter, value)
    elif parameter.style == "deepObject":
        yield from _nested(name, value)
    elif not parameter.explode:
        joint = _JOINED.get(parameter.style)
        yield name, joint.join(map(_text, value)) if joint and isinstance(value, list) else _simple(parameter, value)
    elif isinstance(value, dict):
        yield from ((key, _text(each)) for key, each in value.items())
    else:
        yield from ((name, _text(each)) for each in value)


def _nested(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """A value of any depth as ``name[key][0]``."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nested(f"{name}[{key}]", each)
    else:
        yield name, _text(value)


def _simple(parameter: Parameter, value: Json) -> str:
    if parameter.as_json:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, dict):
        joint = "=" if parameter.explode else ","
        return ",".join(f"{key}{joint}{_text(each)}" for key, each in value.items())
    return _text(value)


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _line(parameter: Parameter | None, text: str) -> str:
    if _UNFIT_HEADER.search(text):
        of = "The type of the body" if parameter is None else f"The argument {parameter.argument}"
        raise Fault("invalid_input", f"{of} goes into a header, and may hold printable ASCII only", origin="tool")
    return text


def _content(operation: Operation, media: str, body: Json) -> bytes:
    if is_json(media):
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    if isinstance(body, dict) and is_form(media):
        return urlencode([pair for name, each in body.items() for pair in _fields(operation, name, each)]).encode()
    return _text(body).encode()


def _fields(operation: Operation, name: str, value: Json) -> Iterator[tuple[str, str]]:
    if name in operation.nested:
        yield from _nested(name, value)
    else:
        yield from ((name, _text(each)) for each in (value if isinstance(value, list) else [value]))
