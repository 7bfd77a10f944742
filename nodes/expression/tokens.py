"""Cut the text of an expression into tokens, islands included where a condition may hold them."""

import re
from typing import Final, Literal, NamedTuple

from .errors import Refusal
from .limits import INTEGER_MAX, SOURCE

TokenKind = Literal["name", "number", "string", "operator", "end"]


class Token(NamedTuple):
    """A piece of the source; `value` is the parsed value of a literal, else the text itself."""

    kind: TokenKind
    value: str | int | float
    start: int
    end: int


ISLAND_OPEN: Final = "{{"
ISLAND_CLOSE: Final = "}}"

_PIECE: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?!\w))
    |(?P<name>[^\W\d]\w*)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<operator>\?\.|\?\?|==|!=|<=|>=|&&|\|\||[()\[\]{}.,:?|<>!+\-*/%=$])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", **{c: c for c in "'\"\\/"}}
_WORDS: Final = {"&&": "and", "||": "or", "!": "!"}
_QUOTED_ISLAND: Final = re.compile(r"\{\{.*\}\}|\$\{.*\}", re.DOTALL)


def tokens(source: str, *, islands: bool = False) -> list[Token]:
    """The tokens of the source, closed by one of kind `end`.

    With `islands`, `{{ … }}` and `${ … }` outside of strings become the operators `{{` and `}}`.
    """
    if len(source) > SOURCE:
        raise Refusal("limit", f"the expression is longer than {SOURCE:,} characters", SOURCE)
    found: list[Token] = []
    braces: list[str] = []
    position = 0
    while position < len(source):
        token = _island_edge(source, position, braces) if islands else None
        if token is None:
            match = _PIECE.match(source, position)
            if match is None:
                raise _unreadable(source, position)
            position = match.end()
            if match.lastgroup == "space":
                continue
            token = _token(match)
            _follow_braces(token, braces)
            if islands and token.kind == "string":
                _refuse_quoted_island(token)
        found.append(token)
        position = token.end
    if braces and braces[-1] != "{":
        raise Refusal("syntax", f"the island is never closed by `{braces[-1]}`", found[-1].start)
    found.append(Token("end", "", len(source), len(source)))
    return found


def _island_edge(source: str, position: int, braces: list[str]) -> Token | None:
    """The opening or closing of an island at this place; `braces` holds what each open brace waits for."""
    if not braces and source.startswith("{{", position):
        braces.append("}}")
        return Token("operator", ISLAND_OPEN, position, position + 2)
    if not braces and source.startswith("${", position):
        braces.append("}")
        return Token("operator", ISLAND_OPEN, position, position + 2)
    if braces and braces[-1] != "{" and source.startswith(braces[-1], position):
        width = len(braces.pop())
        return Token("operator", ISLAND_CLOSE, position, position + width)
    return None


def _follow_braces(token: Token, braces: list[str]) -> None:
    if token.kind == "operator" and token.value == "{":
        braces.append("{")
    elif token.kind == "operator" and token.value == "}" and braces and braces[-1] == "{":
        braces.pop()


def _refuse_quoted_island(token: Token) -> None:
    if _QUOTED_ISLAND.search(str(token.value)):
        raise Refusal("syntax", "a quoted island would be compared as plain text; drop the quotes", token.start)


def _token(match: re.Match[str]) -> Token:
    text, start, end = match.group(), match.start(), match.end()
    match match.lastgroup:
        case "number":
            return Token("number", _number(text, start), start, end)
        case "string":
            return Token("string", _string(text, start), start, end)
        case "name":
            return Token("name", text, start, end)
        case _:
            return _operator(text, start, end)


def _operator(text: str, start: int, end: int) -> Token:
    if text == "??":
        raise Refusal("syntax", "there is no operator `??`; write `| default: value`", start)
    if text == "$":
        raise Refusal("syntax", "unexpected `$`", start)
    return Token("operator", _WORDS.get(text, text), start, end)


def _number(text: str, start: int) -> int | float:
    if text.isdigit():
        value = int(text)
        if value > INTEGER_MAX + 1:
            raise Refusal("limit", "the integer does not fit into 64 bits", start)
        return value
    number = float(text)
    if number == float("inf"):
        raise Refusal("limit", "the number is too large", start)
    return number


def _string(text: str, start: int) -> str:
    body = text[1:-1]
    if "\\" in body:
        body = _ESCAPE.sub(lambda match: _unescaped(match, start), body)
        body = _joined_surrogates(body, start)
    if "\x00" in body:
        raise Refusal("syntax", "a string may not hold the null character", start)
    return body


def _unescaped(match: re.Match[str], start: int) -> str:
    code, letter = match.groups()
    if code is not None:
        return chr(int(code, 16))
    if letter not in _ESCAPED:
        raise Refusal("syntax", f"unknown escape `\\{letter}` in a string", start + 1 + match.start())
    return _ESCAPED[letter]


def _joined_surrogates(text: str, start: int) -> str:
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Refusal("syntax", "a string holds half of a surrogate pair", start) from None


def _unreadable(source: str, position: int) -> Refusal:
    character = source[position]
    if character in "'\"":
        return Refusal("syntax", "the string is never closed", position)
    if character.isdigit():
        return Refusal("syntax", "a name cannot begin with a digit", position)
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return Refusal("syntax", f"unexpected `{shown}`", position)
