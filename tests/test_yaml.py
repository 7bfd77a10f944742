"""What the text reader makes of YAML, JSON and files, and where it says that things stand."""

from __future__ import annotations

import json

import pytest

from graphs.language.source import Mark, Source
from graphs.language.yaml import read_json, read_yaml
from state.errors import SpecError
from state.problems import Problem


def refused(text: str | bytes, reader=read_yaml) -> Problem:
    """The one problem that a refused text has."""
    with pytest.raises(SpecError) as caught:
        reader(text, file="flow.yaml")
    (problem,) = caught.value.problems
    assert problem.file == "flow.yaml"
    assert problem.line >= 1 and problem.column >= 1
    assert problem.hint
    return problem


def placed(problem: Problem) -> tuple[str, int, int]:
    return (problem.code, problem.line, problem.column)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, None) for word in ("~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0xfF", 255),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0x7fffffffffffffff", 2**63 - 1),
        ("0" * 900, 0),
        ("1.10", 1.1),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e-3", -0.0015),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
    ],
)
def test_unquoted_words_and_numbers_mean_what_the_core_schema_says(text: str, value: object) -> None:
    read = read_yaml(f"a: {text}")
    assert read.value == {"a": value} and type(read.value["a"]) is type(value)
    assert read.raw == {"/a": text}


@pytest.mark.parametrize(
    "text",
    [
        *("NO", "no", "yes", "on", "Off", "y", "nULL", "tRUE", "inf", "nan", "Infinity", "12:30", "12:30:45"),
        *("2026-01-31", "2026-13-45", "1_000", "0b1", "0x", "0o8", "-0x1", "1e", "1.2.3", "v1", "+", "-.", ".", "e3"),
        *("1 000", "١٢", "²", "<", "=", "=x", "a b", "${x.output}", "http://example.org:80/a#b"),
    ],
)
def test_everything_else_is_text(text: str) -> None:
    read = read_yaml(f"a: {text}")
    assert read.value == {"a": text}
    assert read.raw == {}


@pytest.mark.parametrize("style", ["'{}'", '"{}"', "|-\n  {}", ">-\n  {}"])
@pytest.mark.parametrize("text", ["1.10", "true", "null", "<<", ".inf", "99999999999999999999"])
def test_quotes_and_blocks_always_make_text(style: str, text: str) -> None:
    read = read_yaml("a: " + style.format(text))
    assert read.value == {"a": text}
    assert read.raw == {}


def test_a_missing_value_is_null_and_its_source_text_is_empty() -> None:
    read = read_yaml("a:\nb: [~]")
    assert read.value == {"a": None, "b": [None]}
    assert read.raw == {"/a": "", "/b/0": "~"}


def test_keys_that_older_yaml_takes_for_booleans_and_times_are_text() -> None:
    read = read_yaml("on: 1\nyes: 2\nNO: 3\n12:30: 4\n'true': 5\n'<<': 6\n? long\n: 7")
    assert read.value == {"on": 1, "yes": 2, "NO": 3, "12:30": 4, "true": 5, "<<": 6, "long": 7}


def test_block_texts_keep_their_line_breaks_and_unicode() -> None:
    read = read_yaml("a: |\n  Grüße 👋\n  two\nb: >\n  one\n  line\n")
    assert read.value == {"a": "Grüße 👋\ntwo\n", "b": "one line\n"}


@pytest.mark.parametrize("text", ["a: 1", b"a: 1", "\ufeffa: 1", b"\xef\xbb\xbfa: 1", "---\na: 1\n...\n", "a: 1\r\n"])
def test_bytes_marks_of_order_and_document_markers_change_nothing(text: str | bytes) -> None:
    read = read_yaml(text)
    assert read.value == {"a": 1}
    assert read.marks["/a"].column == 4


def test_values_and_keys_know_their_places() -> None:
    read = read_yaml("name: demo\nnodes:\n  - id: é1\n    'a/b~c': [x, {y: 1}]\n", file="demo.yaml")
    assert read.marks == {
        "": Mark(1, 1),
        "/name": Mark(1, 7),
        "/nodes": Mark(3, 3),
        "/nodes/0": Mark(3, 5),
        "/nodes/0/id": Mark(3, 9),
        "/nodes/0/a~1b~0c": Mark(4, 14),
        "/nodes/0/a~1b~0c/0": Mark(4, 15),
        "/nodes/0/a~1b~0c/1": Mark(4, 18),
        "/nodes/0/a~1b~0c/1/y": Mark(4, 22),
    }
    assert read.key_marks["/nodes/0/a~1b~0c"] == Mark(4, 5)
    assert set(read.key_marks) == {pointer for pointer in read.marks if not pointer.rpartition("/")[2].isdigit()} - {""}


def test_a_place_that_is_missing_falls_back_to_the_nearest_ancestor() -> None:
    read = read_yaml("nodes:\n  - id: a\n")
    assert read.place("/nodes/0/tool/name") == Mark(2, 5)
    assert read.place("/elsewhere") == read.place("") == Mark(1, 1)
    assert Source(value={"a": 1}).place("/a") == Mark(0, 0)


def test_a_problem_points_at_the_value_or_on_request_at_the_key() -> None:
    read = read_yaml("nodes:\n  - id: a\n", file="demo.yaml")
    assert read.problem("bad", "Bad", "/nodes/0/id", "mend it", "warning") == Problem(
        code="bad",
        message="Bad",
        pointer="/nodes/0/id",
        hint="mend it",
        severity="warning",
        file="demo.yaml",
        line=2,
        column=9,
    )
    assert placed(read.problem("bad", "Bad", "/nodes/0/id", key=True)) == ("bad", 2, 5)
    assert placed(read.problem("bad", "Bad", "/nodes/0", key=True)) == ("bad", 2, 5)
    assert Source(value={}).problem("bad", "Bad", "/a").line == 0


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3", "duplicate_key", 5, 3),
        ("a: 1\n'a': 2", "duplicate_key", 2, 1),
        ("a: &x 1", "yaml_alias", 1, 4),
        ("&x a: 1", "yaml_alias", 1, 1),
        ("a: *x", "yaml_alias", 1, 4),
        ("b: 1\n<<: {a: 1}", "yaml_merge", 2, 1),
        ("a: !!str 1", "yaml_tag", 1, 4),
        ("a: ! x", "yaml_tag", 1, 4),
        ("%TAG ! tag:example.org,2000:\n---\na: 1", "yaml_tag", 1, 1),
        ("1: a", "key_not_text", 1, 1),
        ("a:\n  true: b", "key_not_text", 2, 3),
        ("~: a", "key_not_text", 1, 1),
        ("?\n: a", "key_not_text", 1, 2),
        ("? [a]\n: b", "key_not_text", 1, 3),
        ("a: {{ x.y }}", "key_not_text", 1, 5),
        ("a: .inf", "number_not_finite", 1, 4),
        ("a: -.INF", "number_not_finite", 1, 4),
        ("a: .NaN", "number_not_finite", 1, 4),
        ("a: 9223372036854775808", "number_too_large", 1, 4),
        ("a: 0xffffffffffffffff", "number_too_large", 1, 4),
        ("a: 1e999", "number_too_large", 1, 4),
        ("a: 1\n---\nb: 2", "several_documents", 2, 1),
        ("", "empty", 1, 1),
        ("# nothing\n---\n", "empty", 1, 1),
        ("a: 'x\nb: 1", "yaml_syntax", 2, 5),
        ("a: [1, 2\nb: 3", "yaml_syntax", 2, 2),
        ("a: b: c", "yaml_syntax", 1, 5),
        ("a:\n\tb: 1", "yaml_syntax", 2, 1),
        ("a: @x", "yaml_syntax", 1, 4),
        ('a: "\\d"', "yaml_syntax", 1, 5),
        ("a: 1\nb: x\x00y", "yaml_syntax", 2, 5),
        ("a: \x1b[0m", "yaml_syntax", 1, 4),
        ("a: x\u2028y", "yaml_syntax", 1, 5),
        ("a: 1\n\ufeffb: 2", "yaml_syntax", 2, 1),
        ("a: \ud800", "yaml_syntax", 1, 4),
        (b"a: 1\nb: \xc3\xa9\xff", "not_utf8", 2, 5),
        ("a: 1".encode("utf-16"), "not_utf8", 1, 1),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text: str | bytes, code: str, line: int, column: int) -> None:
    assert placed(refused(text)) == (code, line, column)


def test_hints_say_what_to_write_instead() -> None:
    assert "quote the whole value" in refused("a: {{ x.y }}").hint
    assert 'Quote it: "1"' in refused("1: a").hint
    assert "tabs" in refused("a:\n\tb: 1").hint
    assert "quote it: '*x'" in refused("a: *x").hint
    assert "first on line 1" in refused("a: 1\nb: 2\na: 3").message
    assert "begins on line 1" in refused("a: 'x\nb: 1").message


def test_json_is_read_with_the_same_places_and_source_texts() -> None:
    read = read_json('{"a": 1.10,\n "b": [true, {"c/d": "\\ud83d\\ude00"}]}\n', file="demo.json")
    assert read.value == {"a": 1.1, "b": [True, {"c/d": "😀"}]}
    assert read.raw == {"/a": "1.10", "/b/0": "true"}
    assert read.marks["/b/1/c~1d"] == Mark(2, 22)
    assert read.key_marks["/b/1/c~1d"] == Mark(2, 15)
    assert read.file == "demo.json"


@pytest.mark.parametrize("text", ["0", "-0", "1e5", "1E-2", "-1.25", "null", '"x"', "[]", "{}", ' \t\r\n["/", "\\/"] '])
def test_json_agrees_with_the_standard_parser(text: str) -> None:
    read = read_json(text).value
    assert read == json.loads(text) and type(read) is type(json.loads(text))


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        *(
            (word, "json_syntax", 2)
            for word in ("[01]", "[+1]", "[1.]", "[.5]", "[-]", "[0x1]", "[1e]", "[tru]", "['a']")
        ),
        *(
            (word, "json_syntax", 2)
            for word in ("{a: 1}", "{1: 1}", "[,1]", "{,}", "[}", "{]", "[True]", "[١]", "[undefined]")
        ),
        *(
            (word, "json_syntax", 2)
            for word in ('["a\nb"]', '["a\tb"]', '["\\x"]', '["\\u12"]', '["abc', '["\\ud800"]')
        ),
        ("[1,]", "json_syntax", 4),
        ("[1 2]", "json_syntax", 4),
        ("[1", "json_syntax", 3),
        ("{", "json_syntax", 2),
        ('{"a" 1}', "json_syntax", 6),
        ('{"a":}', "json_syntax", 6),
        ('{"a":1,}', "json_syntax", 8),
        ("{} x", "json_syntax", 4),
        ("{}{}", "json_syntax", 3),
        ("// x", "json_syntax", 1),
        ("\x0c1", "json_syntax", 1),
        ("\xa01", "json_syntax", 1),
        ("]", "json_syntax", 1),
        ('["\ud800"]', "json_syntax", 2),
        ('{"\\udc00": 1}', "json_syntax", 2),
        ('{"a":1,"\\u0061":2}', "duplicate_key", 8),
        ("[NaN]", "number_not_finite", 2),
        ("[-Infinity]", "number_not_finite", 2),
        ("[1e999]", "number_too_large", 2),
        ("[9223372036854775808]", "number_too_large", 2),
        ("", "empty", 1),
        (" \n ", "empty", 1),
        (b"[\xff]", "not_utf8", 2),
        ("[" * 100_000, "too_large", 65),
        ('{"a":' * 100_000, "too_large", 321),
        ("[" + "1," * 60_000 + "1]", "too_large", 100_000),
        (" " * 1_000_001, "too_large", 1),
        ('"' + "\\" * 900_000, "json_syntax", 1),
        ("1" * 900_000, "number_too_large", 1),
        ("[" + " " * 900_000 + "}", "json_syntax", 900_002),
    ],
)
def test_json_is_strict_and_bounded(text: str | bytes, code: str, column: int) -> None:
    assert placed(refused(text, read_json)) == (code, 1, column)
