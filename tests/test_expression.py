"""What expressions mean: references, operators, functions, positions of errors, and types."""

from typing import Any

import pytest

from nodes.expression import Expression, ExpressionError, compile_condition, compile_expression

NAMES: dict[str, Any] = {
    "step": {"items": [{"name": "first"}, {"name": "last"}], "user": {"email": "a@b.c"}, "none": None, "n": 5},
    "ok": True,
    "no": False,
    "empty": None,
    "numbers": [3, 1, 2],
    "people": [
        {"name": "Zoe", "age": 30, "team": "x", "boss": {"name": "Al"}},
        {"name": "Al", "age": 40, "team": "y"},
        {"name": "Bo", "age": 20, "team": "x", "boss": None},
    ],
    "steps": {"a-b": {"status": "done"}, "c": {"output": {"x": 1}}},
    "odd": {"in": 1, "items": 2, "keys": 3, "default": 4, "not": 5, "null": 6, "None": 7},
}


def value(source: str) -> Any:
    return compile_expression(source).evaluate(NAMES)


def refusal(source: str, names: dict[str, Any] | None = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(NAMES if names is None else names)
    return caught.value


VALUES = {
    "step.items[0].name": "first",
    "step.items[-1].name": "last",
    "step['items'][1]['name']": "last",
    "step.items[step.n - 4].name": "last",
    "step[first(['n'])]": 5,
    "steps['a-b'].status": "done",
    "odd.in + odd.items + odd.keys + odd.default + odd.not + odd.null + odd.None": 28,
    "null": None,
    "[1, 2.5, 'a', \"b\", true, null,]": [1, 2.5, "a", "b", True, None],
    "{'k': {'v': [1]}, \"w\": 2}": {"k": {"v": [1]}, "w": 2},
    r"'it\'s \u00e9\ud83d\ude00\n'": "it's é😀\n",
    "-9223372036854775808": -(2**63),
    "1e3": 1000.0,
    "1 + 2 * 3 - 4 / 2": 5,
    "(1 + 2) * 3": 9,
    "7 / 2": 3.5,
    "6 / 3": 2,
    "-7 % 3": 2,
    "- -5": 5,
    "-step.n | abs": -5,
    "'a' + 'b' + 'c'": "abc",
    "[1] + [2]": [1, 2],
    "1 == 1.0": True,
    "true == 1": False,
    "[true] == [1]": False,
    "{'a': [1, 2]} == {'a': [1.0, 2]}": True,
    "empty == null": True,
    "step.n == null": False,
    "'1' == 1": False,
    "'b' > 'a' and 2 >= 2.0": True,
    "2 in numbers": True,
    "true in [1]": False,
    "9 not in numbers": True,
    "'mai' in 'email'": True,
    "'email' in step.user": True,
    "not ok or ok && !no": True,
    "!no == true": True,
    "not no == true": True,
    "ok ? 'yes' : 'no'": "yes",
    "no ? 1 : ok ? 2 : 3": 2,
    "ok ? 5 : 1": 5,
    "no and nothing.at.all": False,
    "ok or nothing.at.all": True,
    "no ? nothing.at.all : 1": 1,
    "step.n | default: 0 > 3": True,
    "step.zz | default: 0 > 3": False,
    "not step.zz | default: false": True,
    "nobody?.url | default: nothing?.text | default: 'Not published.'": "Not published.",
    "step.none | default('x')": "x",
    "default(nothing.at.all, 'x')": "x",
    "nothing | default: 'x' | upper": "X",
    "numbers | sort | join: ', '": "1, 2, 3",
    "numbers|size": 3,
    "'a-b' | replace: '-', '+'": "a+b",
    "[numbers | join: '/', 2]": ["3/1/2", 2],
    "ok ? 'a' | upper : 'b'": "A",
    "nothing?.b": None,
    "nothing?.b.c.d": None,
    "nothing?.[0].x": None,
    "nothing?.[other.thing]": None,
    "step.none?.b.c": None,
    "step?.zz": None,
    "step.zz?.y": None,
    "step?.user.email": "a@b.c",
    "has(step.user.email) and not has(step.none) and not has(nothing.x)": True,
    "coalesce(nothing, step.none, 0)": 0,
    "coalesce(nothing, empty)": None,
}


@pytest.mark.req("T2")
@pytest.mark.parametrize("source", VALUES)
def test_an_expression_has_this_value(source: str) -> None:
    found = value(source)
    assert found == VALUES[source]
    assert type(found) is type(VALUES[source])


CALLS = {
    "size('abc') + size(numbers) + size(odd)": 13,
    "count(numbers)": 3,
    "count(people, 'team', 'x')": 2,
    "lower('AB') + upper('ab') + trim('  c ')": "abABc",
    "join([1, 'a', null, true, [2]])": "1atrue[2]",
    "split('a,b', ',')": ["a", "b"],
    "split(' a  b ')": ["a", "b"],
    "keys({'a': 1}) + values({'a': 1})": ["a", 1],
    "[contains(numbers, 3), contains('abc', 'x'), contains(odd, 'in')]": [True, False, True],
    "[starts_with('abc', 'a'), ends_with('abc', 'a')]": [True, False],
    "[round(2.5), round(-2.5), round(2.345, 2), floor(-1.5), ceil(1.2), abs(-3)]": [3, -3, 2.35, -2, 2, 3],
    "[min(numbers), max(4, 7, 5), min('b', 'a'), sum(numbers), sum([])]": [1, 7, "a", 6, 0],
    "[sort(numbers), reverse(numbers), reverse('ab')]": [[1, 2, 3], [2, 1, 3], "ba"],
    "unique([1, 1.0, true, 'a', 'a', [1], [1.0]])": [1, True, "a", [1]],
    "[first(numbers), last(numbers), first([]) | default: 0]": [3, 2, 0],
    "[slice(numbers, 1), slice('abcd', 1, -1)]": [[1, 2], "bc"],
    "[range(3), range(1, 3), range(5, 0, -2)]": [[0, 1, 2], [1, 2], [5, 3, 1]],
    "flatten([[1], 2, [[3]]])": [1, 2, [3]],
    "json({'a': [1, null, 'é']})": '{"a":[1,null,"é"]}',
    "parse_json('{\"a\": [1, 2.5]}').a": [1, 2.5],
    "[string(1), string('a'), string([1]), string(true), string(null)]": ["1", "a", "[1]", "true", ""],
    "[int('12'), int(3.9), number('2.5'), number('7'), bool('True'), bool(false)]": [12, 3, 2.5, 7, True, False],
    "[type(1), type('a'), type(null), type([]), type({}), type(ok)]": [
        *("number", "string", "null", "list", "object", "boolean"),
    ],
    "[date('2026-11-21T23:59:00Z'), date('2026-11-21')]": ["2026-11-21", "2026-11-21"],
    "map(people, 'age')": [30, 40, 20],
    "pluck(people, 'boss?.name')": ["Al", None, None],
    "pluck([[1, 2], [3]], '0')": [1, 3],
    "where(people, 'team', 'x') | map: 'name'": ["Zoe", "Bo"],
    "where([{'done': true}, {'done': 1}, {}], 'done') | size": 1,
    "sort_by(people, 'name') | map: 'name'": ["Al", "Bo", "Zoe"],
    "group_by(people, 'team').x | map: 'age'": [30, 20],
}


@pytest.mark.parametrize("source", CALLS)
def test_a_function_gives_this_value(source: str) -> None:
    assert value(source) == CALLS[source]


REFUSALS = {
    "step.zz": ("missing", 0),
    "1 + step.zz": ("missing", 4),
    "nothing": ("missing", 0),
    "nothing.b?.c": ("missing", 0),
    "step.none.x": ("missing", 0),
    "numbers[3]": ("missing", 0),
    "first([])": ("missing", 0),
    "pluck(people, 'boss.name')": ("missing", 0),
    "step.n.x": ("type", 0),
    "'abc'[0]": ("type", 0),
    "numbers.x": ("type", 0),
    "step[0]": ("type", 0),
    "step[true]": ("type", 0),
    "ok and step.n": ("type", 7),
    "not 'yes'": ("type", 4),
    "empty ? 1 : 2": ("type", 0),
    "1 < null": ("type", 0),
    "1 < 'a'": ("type", 0),
    "true < false": ("type", 0),
    "[1] < [2]": ("type", 0),
    "true + 1": ("type", 5),
    "1 + 2 + 'a'": ("type", 6),
    "'a' * 3": ("type", 4),
    "-'a'": ("type", 1),
    "upper(1)": ("type", 6),
    "1 in 2": ("type", 0),
    "sort([1, 'a'])": ("type", 0),
    "sort([true])": ("type", 0),
    "slice(numbers, 0.5)": ("type", 0),
    "1 / 0": ("value", 2),
    "5 % 0.0": ("value", 2),
    "int('1.5')": ("value", 0),
    "number('nan')": ("value", 0),
    "bool('yes')": ("value", 0),
    "date('soon')": ("value", 0),
    "parse_json('[NaN]')": ("value", 0),
    "parse_json('{')": ("value", 0),
    "9223372036854775807 + 1": ("limit", 20),
    "9223372036854775808": ("limit", 0),
    "1e308 * 10": ("limit", 6),
    "": ("syntax", 0),
    "  ": ("syntax", 2),
    "1 +": ("syntax", 3),
    "a b": ("syntax", 2),
    "a = 1": ("syntax", 2),
    "a ?? 1": ("syntax", 2),
    "1 < 2 < 3": ("syntax", 6),
    "a.b()": ("syntax", 3),
    "a.0": ("syntax", 2),
    "a[0": ("syntax", 3),
    "(a": ("syntax", 2),
    "()": ("syntax", 1),
    "'open": ("syntax", 0),
    "12abc": ("syntax", 0),
    "a @ b": ("syntax", 2),
    "{a: 1}": ("syntax", 1),
    "a ? b": ("syntax", 5),
    "True": ("syntax", 0),
    "sizes(a)": ("syntax", 0),
    "a | uper": ("syntax", 4),
    "size()": ("syntax", 0),
    "size(a, b)": ("syntax", 0),
    "a | default": ("syntax", 4),
    r"'\x'": ("syntax", 1),
    r"'\ud800'": ("syntax", 0),
    "{{ a }}": ("syntax", 1),
    "and": ("syntax", 0),
}


@pytest.mark.parametrize("source", REFUSALS)
def test_a_wrong_expression_is_refused_with_kind_and_place(source: str) -> None:
    error = refusal(source)
    kind, position = REFUSALS[source]
    assert error.kind == kind
    assert error.position == position
    assert error.source == source
    assert error.message in str(error)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("a = 1", "use `==`"),
        ("sizes(a)", "did you mean `size`?"),
        ("a ?? 1", "| default"),
        ("True", "write `true`"),
        ("1 + 'a'", "string(x)"),
        ("a | uper", "did you mean `upper`?"),
    ],
)
def test_a_refusal_says_what_to_write_instead(source: str, advice: str) -> None:
    assert advice in refusal(source).message


def test_values_never_appear_in_messages() -> None:
    names = {"secret": "s3cr3t", "key": {"token": "s3cr3t"}}
    for source in ("secret.x", "int(secret)", "secret and true", "secret + 1", "key['token'].x", "date(secret)"):
        assert "s3cr3t" not in str(refusal(source, names))


def test_foreign_objects_are_no_data() -> None:
    class Text(str):
        pass

    for alien in (object(), Text("x"), (1, 2), {1}, b"x"):
        for source in ("x", "x.y", "x[0]", "x == 1", "x + 1", "size(x)", "string(x)", "x in [1]", "not x", "[x]", "-x"):
            assert refusal(source, {"x": alien}).kind == "type"


def test_evaluation_never_changes_its_input() -> None:
    names = {"l": [3, [1], 2], "n": [2, 1]}
    for source in ("l + [1]", "reverse(l)", "sort(n)", "flatten(l)", "unique(l)", "[l, n]"):
        compile_expression(source).evaluate(names)
    assert names == {"l": [3, [1], 2], "n": [2, 1]}


def test_the_same_source_is_compiled_once() -> None:
    assert compile_expression("a.b + 1") is compile_expression("a.b + 1")


def references(source: str) -> list[tuple[Any, ...]]:
    found = compile_expression(source).references
    return [(one.root, one.path, one.guarded, source[one.start : one.end]) for one in found]


def test_references_tell_root_path_and_place() -> None:
    assert references("1 + steps['a-b'].x[0] * b[c.d].e") == [
        ("steps", ("a-b", "x", 0), False, "steps['a-b'].x[0]"),
        ("b", (None, "e"), False, "b[c.d].e"),
        ("c", ("d",), False, "c.d"),
    ]


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        ("a", [False]),
        ("a.b", [False]),
        ("a?.b", [True]),
        ("a?.b.c", [True]),
        ("a.b?.c", [False]),
        ("a.b | default: 1", [True]),
        ("(a.b + 1) | default: c", [True, False]),
        ("default(a.b, c.d) | default: 1", [True, True]),
        ("has(a.b) and a.b", [True, False]),
        ("coalesce(a, b.c)", [True, True]),
        ("a ? b : c", [False, False, False]),
        ("a == null", [False]),
        ("steps.a", [False]),
        ("steps?.a", [True]),
        ("steps?.a.b", [False]),
        ("steps.a?.b", [True]),
        ("steps.a.b?.c", [False]),
        ("(a?.b).c", [True]),
    ],
)
def test_a_reference_is_guarded_when_its_absence_cannot_raise(source: str, guarded: list[bool]) -> None:
    assert [one.guarded for one in compile_expression(source).references] == guarded


@pytest.mark.parametrize("source", ["a?.b", "a?.b.c", "a.b | default: 1", "has(a.b)", "steps.a?.b.c", "coalesce(a.b)"])
def test_guarded_references_survive_an_absent_root(source: str) -> None:
    assert all(one.guarded for one in compile_expression(source).references)
    compile_expression(source).evaluate({"steps": {}})


def condition(source: str, names: dict[str, Any]) -> Any:
    return compile_condition(source).evaluate(names)


@pytest.mark.req("T2")
def test_conditions_take_bare_whole_island_and_mixed_forms() -> None:
    names = {"step1": {"success": True}, "a": {"b": 0.9}}
    for source in ("step1.success == true", "{{ step1.success == true }}", "${step1.success}"):
        assert condition(source, names) is True
    assert condition("{{step1.success}} == true", names) is True
    assert condition("${a.b} > 0.8 && {{ step1.success }}", names) is True
    assert condition("{{step1}}.success", names) is True
    assert condition("{{ {'k': {'v': 1}} }} == ${ {'k': {'v': 1}} }", names) is True


def test_an_island_in_a_condition_is_a_unit() -> None:
    names = {"x": True, "y": False}
    assert condition("{{ x or y }} and false", names) is False
    assert compile_expression("x or y and false").evaluate(names) is True


@pytest.mark.parametrize(
    "source", ["{{ a", "${ a", "{{ a }", "a }}", "{{ {{ a }} }}", "'{{a}}' == 1", "{{}}", "{{ a ) }}"]
)
def test_a_broken_island_in_a_condition_is_a_syntax_error(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(source)
    assert caught.value.kind == "syntax"
    assert caught.value.source == source


def test_positions_in_a_condition_refer_to_the_whole_text() -> None:
    source = "{{ ok }} and ${ a.b }"
    reference = compile_condition(source).references[1]
    assert source[reference.start : reference.end] == "a.b"


def test_a_dialect_may_read_a_single_equals_as_comparison() -> None:
    assert compile_condition("a.b = 'x'", single_equals=True).evaluate({"a": {"b": "x"}}) is True
    with pytest.raises(ExpressionError):
        compile_condition("a.b = 'x'")


SCHEMAS: dict[str, dict[str, Any]] = {
    "draft": {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "n": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "decision": {"enum": ["publish", "reject"]},
            "owner": {"anyOf": [{"$ref": "#/$defs/User"}, {"type": "null"}]},
        },
        "$defs": {"User": {"type": "object", "properties": {"email": {"type": "string"}}}},
    },
    "open": {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": True},
    "closed": {"type": "object", "additionalProperties": False},
    "any": {},
}


def inferred(source: str) -> tuple[Any, list[str]]:
    inference = compile_expression(source).infer(SCHEMAS)
    return inference.schema, [f"{fault.message} {fault.hint}" for fault in inference.faults]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("draft.titel", "did you mean `title`?"),
        ("draft?.titel", "did you mean `title`?"),
        ("draft.title.x", "is a string"),
        ("draft.n[0]", "is a number"),
        ("draft.tags.name", "is a list"),
        ("draft.tags[0].nam", "did you mean `name`?"),
        ("draft.owner.emial", "did you mean `email`?"),
        ("closed.x", "no field `x`"),
        ("draft.n + draft.title", "cannot join"),
        ("draft.title * 2", "needs two numbers"),
        ("draft.title > 3", "cannot order"),
        ("draft.n == '1'", "never equal"),
        ("draft.decision == 'publsh'", "did you mean `publish`?"),
        ("draft.tags and true", "size(draft.tags) > 0"),
        ("not draft.n", "needs a boolean"),
        ("draft.title ? 1 : 2", "draft.title != ''"),
        ("upper(draft.n)", "takes a string"),
        ("draft.tags | map: 'nam'", "did you mean `name`?"),
        ("1 in draft.n", "cannot look for"),
        ("-draft.title", "needs a number"),
        ("draft[draft.tags]", "index"),
    ],
)
def test_what_is_surely_wrong_is_a_fault_before_any_run(source: str, part: str) -> None:
    faults = inferred(source)[1]
    assert len(faults) == 1
    assert part in faults[0]


@pytest.mark.parametrize(
    "source",
    [
        "unknown.x.y[0] + 1",
        "any.x and any.y > 3",
        "open.y.z",
        "draft.owner.email",
        "draft.owner?.email | default: 3",
        "draft.owner == null",
        "draft.tags | where: 'name', 'x' | first",
        "draft.decision == 'publish'",
        "draft[any]",
        "draft.n + 1.5",
        "(any ? draft.n : draft.title) + 1",
    ],
)
def test_what_may_be_right_is_no_fault(source: str) -> None:
    assert inferred(source)[1] == []


@pytest.mark.parametrize(
    ("source", "schema"),
    [
        ("draft.title", {"type": "string"}),
        ("draft.n + 1", {"type": "integer"}),
        ("draft.n / 2", {"type": "number"}),
        ("draft.n > 1", {"type": "boolean"}),
        ("draft.tags[0].name", {"type": "string"}),
        ("draft.tags | map: 'name'", {"type": "array", "items": {"type": "string"}}),
        ("draft.tags | map: 'name' | first | upper", {"type": "string"}),
        ("draft?.title", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("draft?.title | default: draft.title", {"type": "string"}),
        ("any.x | default: 1", {}),
        ("draft.n ? 1 : 1", {"type": "integer", "const": 1}),
        ("size(any)", {"type": "integer"}),
        ("{'a': draft.n}", {
            "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False,
        }),
    ],
)  # fmt: skip
def test_the_schema_of_the_value_is_inferred(source: str, schema: dict[str, Any]) -> None:
    assert inferred(source)[0] == schema


def test_recursive_and_broken_schemas_are_unknown() -> None:
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}] * 60}}}
    for schema in (loop, {"type": []}, {"type": 7}, {"$ref": 3}, {"properties": 1}, {"enum": []}, {"anyOf": [1]}):
        assert compile_expression("x.y.z > 1 and x[0]").infer({"x": schema}).faults == ()


def test_expressions_show_their_source() -> None:
    assert isinstance(compile_expression("a"), Expression)
    assert repr(compile_expression("a")) == "Expression('a')"
