"""Find the islands `{{ … }}` and `${ … }` in a text.

`\\{{` and `$${` stand for a literal `{{` and `${`, and `\\\\{{` for a backslash before an island. A dollar sign
directly before `{{` is text, so `${{price}}` is a price in dollars; an object literal in the other form
takes a space: `${ {'a': 1} }`. Quotes and braces inside of an island are respected.
"""

import re
from typing import Final, NamedTuple

from .errors import Refusal

_OPENING: Final = re.compile(r"\\\\(?=\{\{)|\\\{\{|\$\$\{(?!\{)|\$(?=\{\{)|\{\{|\$\{")
_LITERAL: Final = {"\\\\": "\\", "\\{{": "{{", "$${": "${", "$": "$"}
_INNER: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|["'{}]""", re.DOTALL)


class Island(NamedTuple):
    """The source between the braces and where it begins in the text."""

    source: str
    start: int


def split(text: str) -> list[str | Island]:
    """The text as literal parts and islands, in order; empty literal parts are left out."""
    parts: list[str | Island] = []
    literal: list[str] = []
    position = 0
    while found := _OPENING.search(text, position):
        literal.append(text[position : found.start()])
        position = found.end()
        if found.group() in _LITERAL:
            literal.append(_LITERAL[found.group()])
            continue
        if before := "".join(literal):
            parts.append(before)
        literal = []
        closing = "}}" if found.group() == "{{" else "}"
        end = _end(text, position, closing, found.start())
        parts.append(Island(text[position:end], position))
        position = end + len(closing)
    if rest := "".join([*literal, text[position:]]):
        parts.append(rest)
    return parts


def _end(text: str, position: int, closing: str, opened: int) -> int:
    """Where the closing braces of the island stand."""
    depth = 0
    for found in _INNER.finditer(text, position):
        match found.group():
            case "{":
                depth += 1
            case "}" if depth:
                depth -= 1
            case "}" if text.startswith(closing, found.start()):
                return found.start()
            case "'" | '"':
                raise Refusal("syntax", "a string inside of the island is never closed", found.start())
    raise Refusal("syntax", f"the island is never closed by `{closing}`", opened)
