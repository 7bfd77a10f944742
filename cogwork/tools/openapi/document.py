"""An OpenAPI document as it was read, and what is found in it by reference; nothing outside of it is ever looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from graphs.language.yaml import read_yaml
from state.errors import SpecError
from state.values import Json

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_HOPS: Final = 32


class UnusableDocument(ValueError):
    """A document, or a part of it, that cannot be used; the sentence says what and where."""


@dataclass(frozen=True, slots=True)
class Document:
    """The document's values; ``old`` is OpenAPI 3.0, whose schemas are not quite JSON Schema."""

    root: Mapping[str, Json]
    old: bool

    @classmethod
    def read(cls, text: bytes) -> Document:
        """The document in that JSON or YAML text.

        Raises:
            UnusableDocument: it is neither, too large, or no OpenAPI 3.0 or 3.1.
        """
        root = _values(text)
        version = root.get("openapi") if isinstance(root, dict) else None
        if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
            told = f"openapi: {version}" if version is not None else "no field openapi"
            raise UnusableDocument(f"It is no OpenAPI document of version 3.0 or 3.1 (it has {told})")
        return cls(root, version.startswith("3.0"))

    def at(self, reference: Json) -> Any:
        """What a reference such as ``#/components/schemas/Pet`` means.

        Raises:
            UnusableDocument: it leads out of the document, or nowhere.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnusableDocument(f"it refers to {str(reference)[:100]!r}, which is outside of the document")
        found: Any = self.root
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, Mapping) and key in found:
                found = found[key]
            else:
                raise UnusableDocument(f"it refers to {reference[:100]!r}, which the document does not hold")
        return found

    def object(self, value: Json, what: str) -> Mapping[str, Json]:
        """The object that ``value`` is, or that it refers to.

        Raises:
            UnusableDocument: it is no object.
        """
        for _ in range(MAX_HOPS):
            if not isinstance(value, Mapping):
                raise UnusableDocument(f"{what} is no object")
            if "$ref" not in value:
                return value
            value = self.at(value["$ref"])
        raise UnusableDocument(f"{what} refers to itself")


def _values(text: bytes) -> Json:
    if len(text) > MAX_BYTES:
        raise UnusableDocument(f"It is larger than {MAX_BYTES:,} bytes")
    if text.lstrip()[:1] in (b"{", b"\xef"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnusableDocument(f"It is no JSON: {error}") from error
    try:
        return read_yaml(text, number_keys=True).value
    except SpecError as error:
        raise UnusableDocument(f"It is neither JSON nor YAML that can be read: {error.problems[0].message}") from error
