"""Plain JSON as XML, and back without loss; the types are attributes, and what XML cannot hold is written as JSON.

An object's field is an element of its name where that is a plain name, else ``<entry key="…">``. A text with characters that XML
has no place for (most control characters) or would change (carriage returns) is a JSON string, marked ``encoding="json"``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from state.values import MAX_DEPTH, Json

_NAME: Final = re.compile(r"(?!xml)[a-z_][a-z0-9_.-]{0,99}", re.IGNORECASE | re.ASCII)
_UNFIT: Final = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTRY: Final = "entry"
_ITEM: Final = "item"
_DEEPEST: Final = MAX_DEPTH + 8


class UnreadableXml(ValueError):
    """A text that is not XML of the form that ``to_xml`` writes."""


def to_xml(value: Json, root: str = "response") -> str:
    """The value as an XML document, indented; ``from_xml`` gives it back.

    Raises:
        ValueError: it is no plain JSON.
    """
    element = ET.Element(root)
    _fill(element, value, 0)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(element, encoding="unicode")}\n'


def _fill(element: ET.Element, value: Json, depth: int) -> None:
    match value:
        case None:
            element.set("type", "null")
        case bool():
            element.set("type", "boolean")
            element.text = "true" if value else "false"
        case int():
            element.set("type", "integer")
            element.text = str(value)
        case float():
            element.set("type", "number")
            element.text = json.dumps(value, allow_nan=False)
        case str():
            element.set("type", "string")
            _say(element, value)
        case Mapping():
            element.set("type", "object")
            _lay(element, [(_field(name), inner) for name, inner in value.items()], depth)
        case list() | tuple():
            element.set("type", "array")
            _lay(element, [(ET.Element(_ITEM), inner) for inner in value], depth)
        case _:
            raise ValueError(f"{type(value).__name__} is no plain JSON")


def _lay(element: ET.Element, inner: list[tuple[ET.Element, Json]], depth: int) -> None:
    """Put the inner elements into one, each on a line of its own."""
    for child, value in inner:
        _fill(child, value, depth + 1)
        child.tail = "\n" + "  " * (depth + 1)
        element.append(child)
    if inner:
        element.text = "\n" + "  " * (depth + 1)
        inner[-1][0].tail = "\n" + "  " * depth


def _field(name: str) -> ET.Element:
    if _NAME.fullmatch(name) and name not in (_ENTRY, _ITEM):
        return ET.Element(name)
    made = ET.Element(_ENTRY)
    if _UNFIT.search(name):
        made.set("key-encoding", "json")
    made.set("key", json.dumps(name) if _UNFIT.search(name) else name)
    return made


def _say(element: ET.Element, text: str) -> None:
    if _UNFIT.search(text):
        element.set("encoding", "json")
    element.text = json.dumps(text) if _UNFIT.search(text) else text


def from_xml(text: str) -> Json:
    """The value of a document that ``to_xml`` wrote. Nothing is expanded or fetched: a document type is refused.

    Raises:
        UnreadableXml: it is not of that form.
    """
    parser = ET.XMLParser(target=_Tree())
    try:
        parser.feed(text)
        return _value(parser.close())
    except (ET.ParseError, ValueError, KeyError) as error:
        raise UnreadableXml(f"It is no XML of the form that cogwork writes: {error}") from error


class _Tree(ET.TreeBuilder):
    """Builds elements, and refuses what could define entities, and nesting without end."""

    depth = 0

    def doctype(self, *_: Any) -> None:
        """A document type has no place here."""
        raise UnreadableXml("it has a document type")

    def start(self, tag: Any, attrs: Any) -> Any:
        """An element begins."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnreadableXml(f"it is nested deeper than {_DEEPEST} levels")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> Any:
        """An element ends."""
        self.depth -= 1
        return super().end(tag)


def _value(element: ET.Element) -> Json:
    text = element.text or ""
    match element.get("type"):
        case "null":
            return None
        case "boolean":
            return {"true": True, "false": False}[text]
        case "integer":
            return int(text)
        case "number":
            return _finite(float(text))
        case "string":
            return _text(text, element.get("encoding"))
        case "object":
            return {_name(child): _value(child) for child in element}
        case "array":
            return [_value(child) for child in element]
        case other:
            raise UnreadableXml(f"the element {element.tag} has the type {other!r}")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise UnreadableXml(f"{number} is no number of JSON")
    return number


def _name(element: ET.Element) -> str:
    if element.tag != _ENTRY:
        return str(element.tag)
    return _text(element.attrib["key"], element.get("key-encoding"))


def _text(text: str, encoding: str | None) -> str:
    if encoding is None:
        return text
    said = json.loads(text)
    if encoding != "json" or not isinstance(said, str):
        raise UnreadableXml("a text is in no known encoding")
    return said
