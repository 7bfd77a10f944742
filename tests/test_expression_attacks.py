"""Hostile expressions, templates and data: each is refused or harmless, fast, with one type of error."""

import copy
import json
import string
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.expression import ExpressionError, compile_condition, compile_expression
from nodes.template import compile_value, parse_template

PATIENCE = 20.0
"""Seconds of this process's own work, many times what is needed: what grows without bound takes any time it is given."""
LARGEST = 1_100_000

NAMES: dict[str, Any] = {
    "x": {"items": [1, 2, 3], "name": "n", "__class__": "just a key"},
    "s": "a" * 900_000,
    "small": "ab" * 500,
    "l": list(range(50_000)),
    "rows": [{"k": i, "t": "y" * 50} for i in range(10_000)],
    "big": 10**40,
    "max": 2**63 - 1,
    "inf": float("inf"),
    "nan": float("nan"),
    "zeros": "[" * 5_000,
    "commas": "[" + "0," * 400_000 + "0]",
    "digits": "9" * 100_000,
}

ESCAPES = [
    "''.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "().__class__",
    "[].__class__.__base__",
    "x.__class__.__mro__",
    "x.__init__.__globals__",
    "x['__class__']['__bases__']",
    "x.items()",
    "x.items.__self__",
    "x?.__dict__.x",
    "l.append(1)",
    "s.format(x)",
    "'{0.__class__}'.format(x)",
    "'%1000000000d' % 1",
    "'{:>1000000000}' + ''",
    "f'{x.__class__}'",
    "__import__('os').system('id')",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr(x, '__class__')",
    "globals()",
    "self.__init__",
    "lambda: 1",
    "[a for a in l]",
    "x if x else x",
    "import os",
    "x; x",
    "x := 1",
    "`id`",
    "$(id)",
    "#{7*7}",
    "<%= 7*7 %>",
    "{% for a in l %}{% endfor %}",
    "cycler.__init__.__globals__.os",
    "config.items()",
    "{{''.__class__}}",
    "x | attr('__class__')",
    "x | map('__class__')",
    "pluck([x], '__class__.__mro__')",
    "pluck(l, '__class__')",
    "pluck(rows, '" + "k." * 1_000 + "k')",
    "where(rows, '__class__', 1)",
    "group_by(rows, '__class__')",
    "default.__globals__",
    "size.__globals__",
    "has(size.__code__)",
    "keys(x).__class__",
    "parse_json('{\"__class__\": 1}').__class__.__mro__",
]

RESOURCES = [
    "9 ** 9 ** 9",
    "9999999999 * 9999999999 * 9999999999",
    "max * max",
    "big * big",
    "big + 1",
    "string(big)",
    "json([big])",
    "-big",
    "abs(big)",
    "range(big)",
    "range(0, big)",
    "range(max)",
    "range(-max, max)",
    "range(10000000)",
    "range(1, 2, 0)",
    "l[big]",
    "l[max]",
    "slice(l, big)",
    "round(1e308, 15)",
    "round(0.1, 1000000)",
    "floor(inf)",
    "int(nan)",
    "inf + 1",
    "json(inf)",
    "1e999",
    "1e308 * 1e308",
    "int(digits)",
    "number(digits)",
    "parse_json(digits)",
    "parse_json(zeros)",
    "parse_json(commas)",
    "date(digits)",
    "9" * 4_000,
    "0." + "9" * 4_000,
    "'a' * 1000000000",
    "s * 1000",
    "s + s",
    "s" + " + s" * 1_000,
    "small" + " + small" * 400,
    "[s, s]",
    "[" + "s, " * 1_000 + "s]",
    "{" + "'a': s, " * 400 + "}",
    "[" + "[l, l], " * 300 + "]",
    "l" + " + l" * 900,
    "json([s, s])",
    "join([s, s])",
    "join(l, s)",
    "join(range(5000), small)",
    "replace(s, 'a', small)",
    "replace(replace(replace(small, 'a', small), 'a', small), 'a', small)",
    "replace(s, '', 'x')",
    "split(s, 'a')",
    "split(s, '')",
    "size(" + " + ".join(["json(rows)"] * 40) + ")",
    "l == l" + " and l == l" * 300,
    "rows == rows" + " and rows == rows" * 200,
    "-1 in l" + " or -1 in l" * 300,
    "'b' in s" + " or 'b' in s" * 300,
    "unique(rows) == unique(rows)",
    "sort(l) == sort(l) or sort(l) == l",
    "sort_by(rows, 't')",
    "max(l)" + " + max(l)" * 300,
    "flatten([" + "l, " * 300 + "])",
    "upper(s)" + " + upper(s)" * 100,
    "s < s" + " or s < s" * 500,
    "contains(s, 'aab')" + " or contains(s, 'aab')" * 150,
]

SHAPES = [
    "[" * 100_000,
    "(" * 100_000,
    "{" * 100_000,
    "!" * 100_000,
    "-" * 100_000 + "1",
    "." * 100_000,
    "a" + ".a" * 100_000,
    "1" + "+1" * 100_000,
    "not " * 100_000,
    "[" * 4_000,
    "(" * 2_000 + "1" + ")" * 2_000,
    "[" * 2_000 + "]" * 2_000,
    "{'a':" * 700 + "1" + "}" * 700,
    "!" * 4_000 + "true",
    "-" * 4_000 + "1",
    "not " * 1_000 + "true",
    "x" + ".a" * 2_000,
    "x" + "?.a" * 1_300,
    "x" + "[0]" * 1_300,
    "x[" * 2_000,
    "1" + "+1" * 2_000,
    "1" + "*1" * 2_000,
    "true" + " and true" * 440,
    "true" + "?1:true" * 580,
    "1" + "|string" * 580,
    "1" + "|default:1" * 400,
    "string(" * 580,
    "a=" * 2_000,
    "1" + "<1" * 2_000,
    "'" + "\\" * 4_000,
    '"' * 4_001,
    "'" + "a" * 5_000 + "'",
    "a" * 4_096,
    "\x00",
    "a\x00b",
    "'a\x00b'",
    r"'\u0000'",
    r"'\ud800'",
    "ａ.ｂ",
    "х.items",
    "x.\u202eitems",
    "x\u200b.items",
    "\ufeff1",
    "x.\u202e",
    "١٢٣",
    "²",
    "𝒳",
    "\ud800",
    "\x1b[31m",
    "a\u2028b",
    "//",
    "/*",
    "a # b",
    "?.",
    "?.a",
    "a?.",
    "a?.?.b",
    "a..b",
    "|",
    "|size",
    "x|",
    "x||",
    "x | | size",
    "x | size:",
    ":",
    ",",
    "not",
    "not in",
    "in",
    "a not",
    "a not b",
    "{'a'}",
    "{'a':}",
    "{,}",
    "[,]",
    "f(,)",
]

ATTACKS = [*ESCAPES, *RESOURCES, *SHAPES]


def attempt(act: Callable[[], Any]) -> Any:
    """What the act gives, or the error that refuses it; fails when it takes long."""
    started = time.process_time()
    try:
        return act()
    except ExpressionError as error:
        assert str(error)
        assert 0 <= error.position <= len(error.source)
        return error
    finally:
        assert time.process_time() - started < PATIENCE


def plain(value: Any) -> bool:
    """Whether the value is JSON of built-in types and of a bounded size."""
    if value is NAMES.get("big") or isinstance(value, float):
        return True
    return len(json.dumps(value, ensure_ascii=False)) <= LARGEST


@pytest.mark.parametrize("source", ATTACKS, ids=range(len(ATTACKS)))
def test_an_attack_is_refused_or_harmless(source: str) -> None:
    for read in (compile_expression, compile_condition):
        found = attempt(lambda: read(source).evaluate(NAMES))  # noqa: B023
        assert isinstance(found, ExpressionError) or plain(found)
        assert attempt(lambda: read(source).infer({})) is not None  # noqa: B023


@pytest.mark.parametrize("source", ATTACKS, ids=range(len(ATTACKS)))
def test_an_attack_in_a_template_is_refused_or_harmless(source: str) -> None:
    for text in (source, f"{{{{ {source} }}}}", f"a ${{{source}}} b", f"{{{{{source}", f"{{{{ x }}}}{source}"):
        found = attempt(lambda: parse_template(text).render(NAMES))  # noqa: B023
        assert isinstance(found, ExpressionError) or plain(found)


@pytest.mark.parametrize("source", ESCAPES, ids=range(len(ESCAPES)))
def test_an_escape_never_reaches_a_python_object(source: str) -> None:
    found = attempt(lambda: compile_expression(source).evaluate(NAMES))
    assert isinstance(found, ExpressionError | str | int | list | dict | bool | None)
    assert "<class" not in str(found)
    assert "object at 0x" not in str(found)


def test_the_result_of_a_template_is_never_read_again() -> None:
    names = {"evil": "{{ secret }} ${secret}", "secret": "s3cr3t", "rows": ["{{secret}}"]}
    for text in ("{{evil}}", "a {{evil}}", "{{ evil + '' }}", "{{ rows }}", "{{ '{{secret}}' }}", "x ${rows} y"):
        assert "s3cr3t" not in str(parse_template(text).render(names))


def test_many_islands_cannot_multiply_a_large_text() -> None:
    for text in ("{{s}}" * 1_000, "{{l}}" * 1_000, "{{" * 100_000, "${" * 100_000, "{{'" * 50_000, "\\" * 100_000):
        found = attempt(lambda: parse_template(text).render(NAMES))  # noqa: B023
        assert isinstance(found, ExpressionError) or plain(found)


def test_deep_data_is_refused_without_a_crash() -> None:
    deep: Any = []
    for _ in range(200_000):
        deep = [deep]
    try:
        for source in ("x == x", "json(x)", "string(x)", "[x]", "unique([x])", "x in [x]", "flatten(x)", "x + x"):
            attempt(lambda: compile_expression(source).evaluate({"x": deep}))  # noqa: B023
        attempt(lambda: parse_template("a {{x}}").render({"x": deep}))
        assert isinstance(attempt(lambda: compile_value(deep)), ExpressionError)
    finally:
        while deep:
            deep = deep.pop()


def test_data_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for source in ("x == x", "json(x)", "[x]", "unique(x)"):
        assert isinstance(attempt(lambda: compile_expression(source).evaluate({"x": loop})), ExpressionError)  # noqa: B023


TOKENS = st.sampled_from(
    [
        *("a", "x", "x.items", "steps", "l", "null", "true", "false", "1", "2.5", "-1", "'s'", '"t"', "'", '"'),
        *("+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "not", "in", "not in", "&&", "||"),
        *("!", "?", ":", "?.", ".", ",", "|", "(", ")", "[", "]", "{", "}", "{{", "}}", "${", "$", "\\", "="),
        *("size(", "| default:", "| join:", "first(", "has(", "coalesce(", "| map: 'k'", "range(", "replace(", "sort("),
        *("json(", "min(", "slice(", "| where: 'k', 1", "count(", " ", "\n", "{'k':", "[0]", ".name", "['k']"),
    ]
)
SOUP = st.lists(TOKENS, max_size=25).map(" ".join) | st.lists(TOKENS, max_size=25).map("".join)
TEXTS = st.text(max_size=200) | st.text(alphabet=string.punctuation + "ax1 ", max_size=60) | SOUP
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["k", "items", "name"]), inner),
    max_leaves=12,
)
READERS = [compile_expression, compile_condition, parse_template, compile_value]


@settings(max_examples=400, deadline=None)
@given(TEXTS, DATA, DATA)
def test_no_text_and_no_data_raise_anything_else(source: str, a: Any, x: Any) -> None:
    names = {"a": a, "x": x, "l": [a, x], "steps": {"a": a}}
    before = copy.deepcopy(names)
    for read in READERS:
        try:
            compiled: Any = read(source)
            compiled.infer({"a": {"type": "object", "properties": {"k": {"type": "string"}}}})
            for run in ("evaluate", "render"):
                if hasattr(compiled, run):
                    getattr(compiled, run)(names)
        except ExpressionError as error:
            assert 0 <= error.position <= len(error.source)
    assert names == before


@settings(max_examples=200, deadline=None)
@given(SOUP, DATA)
def test_evaluation_is_repeatable(source: str, x: Any) -> None:
    try:
        expression = compile_expression(source)
        first = expression.evaluate({"x": x, "a": x})
    except ExpressionError:
        return
    assert repr(expression.evaluate({"x": x, "a": x})) == repr(first)


@given(st.integers(-(2**53), 2**53))
def test_integers_equal_the_same_floats(number: int) -> None:
    names = {"i": number, "f": float(number)}
    assert compile_expression("i == f and [i] == [f] and i in [f] and i <= f and i >= f").evaluate(names) is True


@given(DATA, DATA)
def test_equality_is_symmetric_and_reflexive(a: Any, x: Any) -> None:
    equal = compile_expression("a == x").evaluate({"a": a, "x": x})
    assert equal is compile_expression("x == a").evaluate({"a": a, "x": x})
    assert compile_expression("a == a").evaluate({"a": a}) is True
    assert equal is not compile_expression("a != x").evaluate({"a": a, "x": x})


@given(DATA)
def test_only_numbers_equal_numbers_and_only_null_equals_null(a: Any) -> None:
    is_number = type(a) in (int, float)
    assert is_number or compile_expression("a == 0 or a == 1").evaluate({"a": a}) is False
    assert compile_expression("a == null").evaluate({"a": a}) is (a is None)


@settings(max_examples=200, deadline=None)
@given(SOUP, DATA)
def test_guarded_references_never_raise_missing_for_their_root(source: str, x: Any) -> None:
    try:
        expression = compile_expression(source)
    except ExpressionError:
        return
    if all(reference.guarded for reference in expression.references):
        try:
            expression.evaluate({"steps": {}})
        except ExpressionError as error:
            assert not error.message.endswith("is missing")


@given(DATA)
def test_json_and_parse_json_are_inverse(a: Any) -> None:
    result = compile_expression("parse_json(json(a)) == a").evaluate({"a": _finite(a)})
    assert result is True


def _finite(value: Any) -> Any:
    """Without infinities, which JSON does not know."""
    return json.loads(json.dumps(value).replace("-Infinity", "0").replace("Infinity", "0"))
