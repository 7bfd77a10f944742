"""What a tool says of itself, as the words that a search can find; tools come from anywhere, so all of it is bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from state.services import Tool
from state.values import Json

MAX_DESCRIPTION: Final = 4_000
"""Characters of a description that are searched."""
MAX_PARAMETERS: Final = 8_000
"""Characters of the names and descriptions of all parameters together."""
MAX_DEPTH: Final = 6
MAX_SCHEMAS: Final = 500
MAX_QUERY: Final = 4_000
"""Characters of a query that are read."""
MAX_WORDS: Final = 64
"""Different words of a query that are looked for."""
_SEAM: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])")
"""Where words meet in a name such as ``getHTTPStatus2``."""
_WORD: Final = re.compile(r"[^\W_]+")
_STOP: Final = frozenset(
    _WORD.findall(
        "a about am an and any are as at be by can could do does for from get give has have help how i if in into is it its "
        "like looking m me my need of on or out please provide s some so t tell that the their them there this to us use using "
        "want was we what when where which who why will with would you your"
    )
)


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one tool: its ``name`` whole and in words, its ``description``, and what is said of its ``parameters``."""

    name: str
    description: str
    parameters: str

    @property
    def meaning(self) -> str:
        """What is embedded: the name in words, and the description."""
        return f"{' '.join(words(self.name.split(' ', 1)[0]))}: {self.description}"

    @property
    def digest(self) -> str:
        """The same for the same texts."""
        return sha256("\0".join((self.name, self.description, self.parameters)).encode()).hexdigest()


def wording(tool: Tool) -> Wording:
    """The texts of a tool."""
    name = _clean(tool.name)
    parts = " ".join(words(name))
    parameters = " ".join(_parameters(tool.args_schema))
    return Wording(f"{name} {parts}", _clean(tool.description[:MAX_DESCRIPTION]), _clean(parameters[:MAX_PARAMETERS]))


def words(text: str) -> list[str]:
    """The words of a text, in lower case; names such as ``readFile`` and ``read_file`` fall into theirs."""
    return _WORD.findall(_SEAM.sub(" ", text).lower())


def wanted(query: str) -> list[str]:
    """The words that a query is about, each once: without those that say nothing, unless it has no others."""
    text = _clean(query[:MAX_QUERY])
    found = [*words(text), *_WORD.findall(text.lower())]
    telling = [word for word in found if word not in _STOP]
    return list(dict.fromkeys(telling or found))[:MAX_WORDS]


def asked(query: str) -> str:
    """The query as it is embedded."""
    return _clean(query[:MAX_QUERY])


def _parameters(schema: Mapping[str, Json]) -> Iterator[str]:
    """The names and descriptions within a schema, the outermost first."""
    level: list[Any] = [schema]
    left = MAX_SCHEMAS
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for each in level[:left]:
            yield from _said(each, below)
        left -= len(level)
        level = below
        if left <= 0:
            return


def _said(schema: Any, below: list[Any]) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        described = inner.get("description") if isinstance(inner, Mapping) else None
        yield " ".join(words(str(name)))
        if isinstance(described, str):
            yield described
        below.append(inner)
    below.append(schema.get("items"))
    for several in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
        below.extend(several if isinstance(several, list) else ())


def _clean(text: str) -> str:
    """Without what no database takes: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")
