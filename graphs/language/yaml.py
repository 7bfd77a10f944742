"""Reads YAML and JSON text into a Source: plain data with places, nothing executed, nothing guessed, everything bounded.

YAML means the 1.2 core schema without anchors, aliases, tags and merge keys. The parser's events are taken one by one,
so depth and size are refused before they cost anything; no reader here recurses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import inf, isinf
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from yaml import events

from graphs.language.source import START, Draft, Mark, Source, Text, brief, file_bytes, refusal, unplaced
from state.errors import SpecError
from state.values import Json

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ENDINGS: Final = (".yaml", ".yml", ".json")
_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML forbids, three separators that 1.1 parsers take for line breaks and 1.2 does not, and stray byte order marks."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DIGITS: Final = 22
"""A 64-bit number has no more digits, even in base 8; longer ones never reach ``int``."""

_SYNTAX_HINTS: Final = (
    ("cannot start any token", "Indent with spaces, not tabs; quote a text that begins with @, ` or %."),
    ("mapping values are not allowed", "Quote a text that contains ': ', or check the indentation."),
    ("expected ':'", "Write `key: value`, and quote a text that spans lines."),
    ("end of stream", "Close the quote or bracket that is still open."),
    ("expected ',' or", "Close the bracket or put a comma; quote a text that contains brackets, commas or '{{'."),
    ("tag", "Remove the tag (`!…`), or quote the text."),
    ("escape", "Double the backslash, or use single quotes."),
    ("expected", "Check the indentation of this line and of the one before, and quote texts with special characters."),
)


def read_file(path: str | Path) -> Source:
    """Read a .yaml, .yml or .json file; every failure is a SpecError that names the file."""
    path, file = Path(path), str(path)
    data = file_bytes(path)
    if path.suffix.lower() not in _ENDINGS:
        message = f"The file's ending {brief(path.suffix)} says neither YAML nor JSON"
        raise unplaced("file_unreadable", message, file, f"End its name with {', '.join(_ENDINGS)}.")
    return read_json(data, file=file) if path.suffix.lower() == ".json" else read_yaml(data, file=file)


def read_yaml(text: str | bytes, *, file: str = "", number_keys: bool = False) -> Source:
    """Read one YAML document; every failure is a SpecError with one placed problem. ``number_keys`` may be keys, as text."""
    given = Text.of(text, file)
    if found := _UNREADABLE.search(given.body):
        message = f"The character U+{ord(found[0]):04X} cannot stand in YAML"
        hint = f'Remove it, or write it in double quotes as "\\u{ord(found[0]):04x}".'
        raise refusal("yaml_syntax", message, file, given.mark(found.start()), hint=hint)
    draft = Draft(file, number_keys=number_keys)
    for event in _events(given):
        _take(event, draft)
    return draft.source()


def _events(given: Text) -> Iterator[events.Event]:
    """The parser's events; whatever the parser raises becomes a placed problem."""
    try:
        yield from yaml.parse(given.body, Loader=_LOADER)
    except yaml.MarkedYAMLError as err:
        raise _syntax(err, given) from err
    except (yaml.YAMLError, ValueError, OverflowError) as err:
        # The pure-Python parser lets chr() fail on escapes beyond Unicode and does not say where.
        message, hint = f"This is not YAML: {brief(str(err), 120)}", "Check the escapes in double quotes."
        raise refusal("yaml_syntax", message, given.file, hint=hint) from err


def _syntax(err: yaml.MarkedYAMLError, given: Text) -> SpecError:
    mark = START if err.problem_mark is None else _mark(err.problem_mark)
    what = (err.problem or "the text cannot be read")[:200]
    since = f" that begins on line {err.context_mark.line + 1}" if err.context_mark else ""
    context = f", {err.context}{since}" if err.context and "next token" not in err.context else ""
    hint = next((hint for needle, hint in _SYNTAX_HINTS if needle in what), "Check quotes, brackets and indentation.")
    return refusal("yaml_syntax", f"This is not YAML: {what}{context}", given.file, mark, hint=hint)


def _mark(place: Any) -> Mark:
    """The parser's place, counted from 1."""
    return Mark(place.line + 1, place.column + 1)


def _take(event: events.Event, draft: Draft) -> None:
    """Hand one event to the draft, or refuse it."""
    mark = _mark(event.start_mark)
    match event:
        case events.ScalarEvent():
            _refuse_decoration(event, draft, mark)
            _take_scalar(event, draft, mark)
        case events.CollectionStartEvent():
            _refuse_decoration(event, draft, mark)
            if draft.awaits_key:
                hint = 'Make the key a text; if this is an expression, quote the whole value: "{{ … }}".'
                raise draft.refusal("key_not_text", "A mapping or list stands where a key must be", mark, hint)
            draft.open({} if isinstance(event, events.MappingStartEvent) else [], mark)
        case events.MappingEndEvent() | events.SequenceEndEvent():
            draft.close()
        case events.AliasEvent():
            hint = f"Write the value out; if this is a text, quote it: {brief(f'*{event.anchor}')}."
            raise draft.refusal(
                "yaml_alias", f"Aliases such as {brief(f'*{event.anchor}')} are not allowed", mark, hint
            )
        case events.DocumentStartEvent():
            _take_document(event, draft, mark)


def _take_document(event: events.DocumentStartEvent, draft: Draft, mark: Mark) -> None:
    if draft.marks:
        hint = "Keep one document per file; remove the line `---`."
        raise draft.refusal("several_documents", "A second document begins here", mark, hint)
    if event.tags:
        raise draft.refusal("yaml_tag", "Tag directives are not allowed", mark, "Remove the line `%TAG`.")


def _refuse_decoration(event: events.ScalarEvent | events.CollectionStartEvent, draft: Draft, mark: Mark) -> None:
    """Refuse an anchor or a tag on the value or key."""
    if event.anchor is not None:
        hint = f"Remove it and write values out; if this is a text, quote it: {brief(f'&{event.anchor}')}."
        raise draft.refusal("yaml_alias", f"Anchors such as {brief(f'&{event.anchor}')} are not allowed", mark, hint)
    if event.tag is not None:
        hint = "Remove it: quotes make a text, everything else has its plain type. If this is a text, quote it."
        raise draft.refusal("yaml_tag", f"Tags such as {brief(event.tag)} are not allowed", mark, hint)


def _take_scalar(event: events.ScalarEvent, draft: Draft, mark: Mark) -> None:
    text: str = event.value
    plain = not event.style  # '' from the C parser, None from the Python one
    value = _resolved(text, draft, mark) if plain else text
    if isinstance(value, str) and _SURROGATE.search(value):
        hint = "Write the character itself or its \\U escape."
        raise draft.refusal("yaml_syntax", "Half a surrogate pair is no character", mark, hint)
    if not draft.awaits_key:
        draft.scalar(value, mark, None if isinstance(value, str) else text)
    elif draft.number_keys and type(value) is int:
        draft.key(text, mark)
    elif not isinstance(value, str):
        hint = f'Quote it: "{text}".' if len(text) < 40 else "Quote it."
        raise draft.refusal("key_not_text", f"The key {brief(text)} is not a text", mark, hint)
    elif plain and value == "<<":
        hint = "Write the keys out, or quote '<<' if it is a name."
        raise draft.refusal("yaml_merge", "Merge keys (`<<`) are not allowed", mark, hint)
    else:
        draft.key(value, mark)


def _resolved(text: str, draft: Draft, mark: Mark) -> str | int | float | bool | None:
    """What an unquoted scalar means in the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    if _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text):
        return _number(text, draft, mark)
    if _NOT_FINITE.fullmatch(text):
        raise _not_finite(text, draft, mark)
    return text


def _number(text: str, draft: Draft, mark: Mark) -> int | float:
    number = _integer(text) if _INTEGER.fullmatch(text) else float(text)
    if isinstance(number, float) and isinf(number):
        message = f"The number {brief(text)} does not fit into 64 bits"
        raise draft.refusal("number_too_large", message, mark, "Quote it to make it a text.")
    return number


def _integer(text: str) -> int | float:
    """The whole number, or infinity when it does not fit into 64 bits."""
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    digits = (text[2:] if base != 10 else text.lstrip("+-")).lstrip("0") or "0"
    number = int(digits, base) if len(digits) <= _DIGITS else inf
    number = -number if text[0] == "-" else number
    return number if -(1 << 63) <= number < 1 << 63 else inf


def _not_finite(text: str, draft: Draft, mark: Mark) -> SpecError:
    message = f"{brief(text)} is not a finite number"
    return draft.refusal("number_not_finite", message, mark, "Quote it to make it a text, or leave the field out.")


class _Token(NamedTuple):
    kind: str
    """The bracket, comma or colon itself, or ``string``, ``number``, ``word``, ``end``."""
    text: str
    mark: Mark


_TOKEN: Final = re.compile(
    r"""[ \t\n\r]*+(?:(?P<sign>[\[\]{}:,])
    |(?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")
    |(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)(?![\w.+-])
    |(?P<word>-?[A-Za-z_]++)|(?P<end>\Z))""",
    re.VERBOSE,
)
_VALUE: Final = frozenset({"{", "[", "string", "number", "word"})


def read_json(text: str | bytes, *, file: str = "") -> Source:
    """Read one JSON value (RFC 8259, strictly); every failure is a SpecError with one placed problem."""
    given, draft = Text.of(text, file), Draft(file)
    wanted = _VALUE | {"end"}
    for token in _tokens(given):
        if token.kind not in wanted:
            raise _unexpected(token, wanted, draft)
        wanted = _take_token(token, draft)
    return draft.source()


def _tokens(given: Text) -> Iterator[_Token]:
    offset, end = 0, False
    while not end:
        found = _TOKEN.match(given.body, offset)
        if not found or not found.lastgroup:
            offset = offset + len(given.body[offset:]) - len(given.body[offset:].lstrip(" \t\n\r"))
            raise _not_json(given, offset)
        text = found[found.lastgroup]
        kind = text if found.lastgroup == "sign" else found.lastgroup
        yield _Token(kind, text, given.mark(found.start(found.lastgroup)))
        offset, end = found.end(), kind == "end"


def _not_json(given: Text, offset: int) -> SpecError:
    message = f"{brief(given.body[offset : offset + 20])} is not JSON"
    hint = "Put texts in double quotes, write numbers like 0.5, and leave out comments."
    if given.body[offset : offset + 1] == '"':
        hint = "Close the quote, and write line breaks as \\n, tabs as \\t and backslashes as \\\\."
    return refusal("json_syntax", message, given.file, given.mark(offset), hint=hint)


def _unexpected(token: _Token, wanted: frozenset[str], draft: Draft) -> SpecError:
    names = {"string": "a quoted key", "end": "the end of the text"}
    expected = "a value" if wanted >= _VALUE else " or ".join(names.get(kind, f"'{kind}'") for kind in sorted(wanted))
    found = f"{brief(token.text)} stands" if token.text else "the text ends"
    hint = "Check commas, colons, quotes and brackets around this place."
    return draft.refusal("json_syntax", f"Expected {expected} where {found}", token.mark, hint)


def _take_token(token: _Token, draft: Draft) -> frozenset[str]:
    """Hand one token to the draft and say what may follow."""
    match token.kind:
        case "{":
            draft.open({}, token.mark)
            return frozenset({"string", "}"})
        case "[":
            draft.open([], token.mark)
            return _VALUE | {"]"}
        case "}" | "]":
            draft.close()
        case ",":
            return frozenset({"string"}) if draft.inside is dict else _VALUE
        case ":":
            return _VALUE
        case "string" if draft.awaits_key:
            draft.key(_string(token, draft), token.mark)
            return frozenset({":"})
        case "string":
            draft.scalar(_string(token, draft), token.mark)
        case "number" | "word":
            draft.scalar(_literal(token, draft), token.mark, token.text)
    if draft.inside is None:
        return frozenset({"end"})
    return frozenset({",", "}" if draft.inside is dict else "]"})


def _string(token: _Token, draft: Draft) -> str:
    text: str = json.loads(token.text)
    if _SURROGATE.search(text):
        hint = "Write the character itself, or both halves of the pair."
        raise draft.refusal("json_syntax", "Half a surrogate pair is no character", token.mark, hint)
    return text


def _literal(token: _Token, draft: Draft) -> Json:
    if token.kind == "number":
        return _number(token.text, draft, token.mark)
    if token.text in ("true", "false", "null"):
        return _WORDS[token.text]
    if token.text.lstrip("-") in ("NaN", "Infinity"):
        raise _not_finite(token.text, draft, token.mark)
    raise draft.refusal("json_syntax", f"{brief(token.text)} is not JSON", token.mark, "Put texts in double quotes.")
