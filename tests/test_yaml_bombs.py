"""Hostile and random texts: the reader refuses them with one placed problem, or they are harmless, and quickly so."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs.language import yaml as reader
from graphs.language.source import Source
from graphs.language.yaml import read_json, read_yaml
from state.errors import SpecError

HARMLESS = ""
LAUGHS = "a: &a [x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [*{a}, *{a}]}}\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)

DEEP = "".join(" " * i + f"k{i}:\n" for i in range(60))

BOMBS = {
    "billion laughs": (LAUGHS, "yaml_alias"),
    "billion laughs as keys": ("? &a [x, x]\n: ? *a\n  : *a\n", "yaml_alias"),
    "an alias to itself": ("&a [*a]", "yaml_alias"),
    "merge bomb": (MERGES, "yaml_alias"),
    "merge without anchors": ("<<: [{a: 1}, {a: 2}]", "yaml_merge"),
    "merge of a merge": ("a:\n  <<:\n    <<:\n      <<: {}\n", "yaml_merge"),
    "anchors on everything": ("&r\n" + "".join(f"&k{i} k{i}: &v{i} v\n" for i in range(20_000)), "yaml_alias"),
    "aliases without anchors": ("[" + "*a, " * 200_000 + "]", "yaml_alias"),
    "an endless anchor": ("&" + "a" * 900_000 + " x", "yaml_alias"),
    "open brackets": ("[" * 100_000, "too_large"),
    "open brackets on lines": ("[\n" * 100_000, "too_large"),
    "open and closed brackets": ("[" * 100_000 + "]" * 100_000, "too_large"),
    "brackets in a block": ("a:\n  b:\n    - " + "[" * 100_000, "too_large"),
    "open braces": ("{" * 100_000, "key_not_text"),
    "nested flow mappings": ("{a: " * 200_000, "too_large"),
    "brackets as keys": ("{[" * 100_000, "key_not_text"),
    "brackets as explicit keys": ("? [\n" * 100_000, "key_not_text"),
    "mappings in lists": ("[{a: " * 100_000, "too_large"),
    "closing brackets": ("]" * 100_000, "yaml_syntax"),
    "dashes on one line": ("- " * 100_000, "too_large"),
    "questions on one line": ("? " * 100_000, "key_not_text"),
    "deep indentation": ("".join(" " * i + "a:\n" for i in range(1_300)), "too_large"),
    "deep lists in lists": ("".join(" " * i + "-\n" for i in range(1_300)), "too_large"),
    "a flat list of 240,000": ("- a\n" * 240_000, "too_large"),
    "a flow list of 490,000": ("[" + "a," * 490_000 + "]", "too_large"),
    "80,000 keys": ("".join(f"k{i}: 1\n" for i in range(80_000)), "too_large"),
    "a file too large": ("a: " + "x" * 1_000_000, "too_large"),
    "a file too large in bytes alone": ("a: " + "é" * 500_000, "too_large"),
    "a long key above many values": ("? " + "k" * 400_000 + "\n:\n" + "  - a\n" * 90_000, "too_large"),
    "300,000 empty lines": ("\n" * 300_000, "empty"),
    "300,000 comments": ("#\n" * 300_000, "empty"),
    "300,000 lines of one text": ("a\n" * 300_000, HARMLESS),
    "a huge plain text": ("a: " + "x" * 900_000, HARMLESS),
    "a huge quoted text": ('"' + "\\n" * 450_000 + '"', HARMLESS),
    "a huge block text": ("a: |\n" + "  x\n" * 200_000, HARMLESS),
    "blank lines in a block": ("a: >\n" + "\n" * 900_000, HARMLESS),
    "quotes within quotes": ("'" * 900_000, HARMLESS),
    "a number of 900,000 digits": ("1" * 900_000, "number_too_large"),
    "a hexadecimal of 900,000 digits": ("0x" + "f" * 900_000, "number_too_large"),
    "a number of 900,000 zeros": ("0" * 900_000, HARMLESS),
    "a fraction of 900,000 digits": ("1." + "1" * 900_000, HARMLESS),
    "an endless exponent": ("1e" + "9" * 900_000, "number_too_large"),
    "tag that makes an object": ("!!python/object/apply:os.system ['true']", "yaml_tag"),
    "tag that makes a module": ("a: !!python/module:os", "yaml_tag"),
    "tag that makes a name": ("a: !!python/name:os.system", "yaml_tag"),
    "tag for bytes": ("a: !!binary R0lGODlh", "yaml_tag"),
    "tag for a set": ("!!set {a, b}", "yaml_tag"),
    "tag for an ordered map": ("!!omap [a: 1]", "yaml_tag"),
    "tag for a time": ("a: !!timestamp 2026-13-45", "yaml_tag"),
    "tag for a float": ("a: !!float x", "yaml_tag"),
    "tag of one's own": ("a: !env HOME", "yaml_tag"),
    "tag in full": ("a: !<tag:yaml.org,2002:int> 1", "yaml_tag"),
    "tag on a key": ("!!str 1: a", "yaml_tag"),
    "tag with an unknown handle": ("a: !e!x 1", "yaml_syntax"),
    "an endless tag": ("!" * 900_000, "yaml_tag"),
    "a duplicate key far down": (DEEP + " " * 60 + "x: 1\n" + " " * 60 + "x: 2\n", "duplicate_key"),
    "a duplicate of an escaped key": ('{a: 1, "\\x61": 2}', "duplicate_key"),
    "100,000 duplicate keys": ("a: 1\n" * 100_000, "duplicate_key"),
    "an unterminated double quote": ('a: "' + "x\n " * 200_000, "yaml_syntax"),
    "an unterminated single quote": ("a: '" + "x\n " * 200_000, "yaml_syntax"),
    "colons": (":" * 900_000, "yaml_syntax"),
    "commas": ("[" + "," * 100_000, "yaml_syntax"),
    "tabs": ("\t" * 900_000, "yaml_syntax"),
    "directives": ("%a b\n" * 150_000, "yaml_syntax"),
    "a version beyond reach": ("%YAML 1." + "9" * 5_000 + "\n---\na", "yaml_syntax"),
    "200,000 documents": ("---\n" * 200_000, "several_documents"),
    "a NUL": ("a: b\0", "yaml_syntax"),
    "terminal codes": ("a: \x1b]0;x\x07", "yaml_syntax"),
    "half a surrogate pair": ('a: "\\ud800"', "yaml_syntax"),
    "an escape beyond Unicode": ('a: "\\UFFFFFFFF"', "yaml_syntax"),
}  # fmt: skip


def outcome(source: str, read=read_yaml) -> str:
    """The code of the one placed problem, or HARMLESS; a harmless value can be shown and dumped."""
    try:
        result = read(source, file="bomb.yaml")
    except SpecError as err:
        (problem,) = err.problems
        assert problem.line >= 1 and problem.column >= 1 and problem.hint
        assert len(str(problem)) < 1_500
        return problem.code
    assert isinstance(result, Source)
    json.dumps(result.value, allow_nan=False).encode()
    return HARMLESS


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_harmless_within_seconds(name: str) -> None:
    source, code = BOMBS[name]
    started = time.process_time()
    assert outcome(source) == code
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_reaches_past_the_json_reader(name: str) -> None:
    started = time.process_time()
    outcome(BOMBS[name][0], read_json)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", [name for name, (source, _) in BOMBS.items() if len(source) <= 250_000])
def test_the_parser_without_libyaml_refuses_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The one patch here: which parser is used is decided when PyYAML is installed, and no caller may choose it.
    monkeypatch.setattr(reader, "_LOADER", yaml.SafeLoader)
    source, code = BOMBS[name]
    assert outcome(source) == code


PIECES = [
    *("a", "1", "- ", "? ", ": ", ":", ", ", "[", "]", "{", "}", "\n", "\n  ", "\n    ", " ", "\t", "#", "&a ", "*a"),
    *("!t ", "'", '"', "|", ">", "\\", "\\u", "\\ud800", "%", "@", "`", "---", "...", "<<", "~", ".inf", "0x", "\r"),
    *("\ufeff", "\x85", "\u2028", "é", "😀", "\0", "{{ ", " }}", "%YAML 1.1\n---\n", "\U0010ffff", "%TAG ! x\n"),
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
TEXTS = st.text(max_size=60) | MARKUP


@settings(max_examples=1_000, deadline=None)
@given(TEXTS)
def test_random_text_is_read_or_refused_and_nothing_else_happens(source: str) -> None:
    outcome(source)
    outcome(source, read_json)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused_and_nothing_else_happens(source: bytes) -> None:
    for read in (read_yaml, read_json):
        try:
            read(source)
        except SpecError as err:
            assert len(err.problems) == 1


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=MARKUP)
def test_both_parsers_never_disagree_about_a_value(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def value() -> object:
        try:
            return read_yaml(source).value
        except SpecError:
            return SpecError

    monkeypatch.undo()
    with_c = value()
    monkeypatch.setattr(reader, "_LOADER", yaml.SafeLoader)
    without = value()
    assert with_c == without or SpecError in (with_c, without)


PRINTABLE = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"], include_characters="\n\t\0", exclude_characters="\ufeff"
    ),
    max_size=12,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4), max_leaves=20
)


def same(left: object, right: object) -> bool:
    return json.dumps(left) == json.dumps(right)


@settings(max_examples=500, deadline=None)
@given(VALUES.filter(lambda value: value is not None))
def test_json_text_means_the_same_to_both_readers(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        by_json, by_yaml = read_json(text), read_yaml(text)
        assert same(by_json.value, value) and same(by_yaml.value, value)
        assert by_json.marks == by_yaml.marks
        assert by_json.key_marks == by_yaml.key_marks
        assert by_json.raw == by_yaml.raw


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_json_with_escapes_is_read_as_written(value: object) -> None:
    assert same(read_json(json.dumps(value)).value, value)


@settings(max_examples=500, deadline=None)
@given(st.floats() | st.integers())
def test_a_number_is_read_exactly_or_refused(number: float | int) -> None:
    text = json.dumps(number)
    code = outcome(text, read_json)
    if isinstance(number, int):
        assert code == (HARMLESS if -(2**63) <= number < 2**63 else "number_too_large")
    else:
        assert code == (HARMLESS if math.isfinite(number) else "number_not_finite")
    if code == HARMLESS:
        assert same(read_yaml(text).value, number)
