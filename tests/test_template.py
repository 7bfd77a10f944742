"""Texts with islands, and JSON values that hold such texts."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.expression import ExpressionError
from nodes.template import TemplateError, compile_value, parse_template

NAMES: dict[str, Any] = {
    "variable_name": "direct",
    "step_id": {
        "field": 7,
        "user": {"email": "a@b.c"},
        "items": [{"name": "one"}],
        "success": True,
        "none": None,
        "list": [1, {"k": 2.0}],
    },
    "input": {"repo": "r", "evil": "{{ step_id.field }} ${step_id.field}"},
}


def rendered(text: str) -> Any:
    return parse_template(text).render(NAMES)


@pytest.mark.req("T2")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{variable_name}}", "direct"),
        ("{{step_id.field}}", 7),
        ("{{step_id.user.email}}", "a@b.c"),
        ("{{step_id.items[0].name}}", "one"),
        ("{{step_id.success ? 'yes' : 'no'}}", "yes"),
        ("{{missing_name|default:'fallback'}}", "fallback"),
        ("{{variable_name|default:'fallback'}}", "direct"),
        ("${input.repo}", "r"),
        ("${step_id.items[0].name | upper}", "ONE"),
    ],
)
def test_every_documented_substitution_works(text: str, value: Any) -> None:
    assert rendered(text) == value


@pytest.mark.req("T2")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ step_id.list }}", [1, {"k": 2.0}]),
        ("  {{ step_id.success }}\n", True),
        ("{{ step_id.none }}", None),
        ("${ {'a': {'b': 1}} }", {"a": {"b": 1}}),
        ("{{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
    ],
)
def test_a_text_that_is_one_island_keeps_its_type(text: str, value: Any) -> None:
    assert parse_template(text).is_island
    assert rendered(text) == value


@pytest.mark.req("T2")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain { text } $5 }}", "plain { text } $5 }}"),
        ("n={{ step_id.field }}!", "n=7!"),
        ("{{variable_name}}{{variable_name}}", "directdirect"),
        ("[{{ step_id.none }}]", "[]"),
        ("is {{ step_id.success }}", "is true"),
        ("a {{ step_id.list }} ${step_id.user}", 'a [1,{"k":2.0}] {"email":"a@b.c"}'),
        ("{{ '}}' }} ${'}'} {{ \"'}}\" }}", "}} } '}}"),
        ("{{ 'it\\'s }}' }}.", "it's }}."),
        (r"\{{ not.an.island }}", "{{ not.an.island }}"),
        ("$${not.an.island}", "${not.an.island}"),
        (r"C:\\{{variable_name}}", "C:\\direct"),
        ("${{step_id.field}}", "$7"),
        ("\\ $ \\{ $$ {", "\\ $ \\{ $$ {"),
    ],
)
def test_mixed_text_becomes_text(text: str, value: str) -> None:
    assert not parse_template(text).is_island
    assert rendered(text) == value


def test_what_a_value_contains_is_never_read_again() -> None:
    assert rendered("{{ input.evil }}") == NAMES["input"]["evil"]
    assert rendered("x {{ input.evil }}") == "x " + NAMES["input"]["evil"]


@pytest.mark.parametrize(
    ("text", "kind", "position"),
    [
        ("ab {{ a.b", "syntax", 3),
        ("ab ${ a.b", "syntax", 3),
        ("{{ a }} {{ b }", "syntax", 8),
        ("{{ it's }}", "syntax", 5),
        ("{{}}", "syntax", 2),
        ("x {{ a b }}", "syntax", 7),
        ("x {{ step_id.zz }}", "missing", 5),
        ("{{ step_id.field.x }}", "type", 3),
        ("a ${ step_id.field and true }", "type", 5),
    ],
)
def test_an_error_is_placed_in_the_whole_text(text: str, kind: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        rendered(text)
    assert (caught.value.kind, caught.value.position, caught.value.source) == (kind, position, text)


def test_references_are_placed_in_the_whole_text() -> None:
    text = "a {{ x.y }} ${ z?.w }"
    found = [(text[one.start : one.end], one.guarded) for one in parse_template(text).references]
    assert found == [("x.y", False), ("z?.w", True)]


def test_faults_are_placed_in_the_whole_text() -> None:
    text = "a {{ draft.titel }}"
    schemas = {"draft": {"type": "object", "properties": {"title": {"type": "string"}}}}
    inference = parse_template(text).infer(schemas)
    (fault,) = inference.faults
    assert text[fault.start : fault.end] == "draft.titel"
    assert fault.hint == "did you mean `title`?"
    assert inference.schema == {"type": "string"}


def test_the_schema_of_a_template_is_that_of_its_island_or_text() -> None:
    schemas = {"n": {"type": "integer"}}
    assert parse_template("{{ n }}").infer(schemas).schema == {"type": "integer"}
    assert parse_template("n {{ n }}").infer(schemas).schema == {"type": "string"}
    assert parse_template("n").infer(schemas).schema == {"type": "string", "const": "n"}


VALUE = {"a": ["{{step_id.field}}", {"c/d": "repo {{input.repo}}"}], "k": 1, "{{x}}": None}


@pytest.mark.req("T2")
def test_a_value_renders_its_strings_but_not_its_keys() -> None:
    assert compile_value(VALUE).evaluate(NAMES) == {"a": [7, {"c/d": "repo r"}], "k": 1, "{{x}}": None}


def test_a_value_gives_new_containers_every_time() -> None:
    value = compile_value({"a": [1]})
    value.evaluate({})["a"].append(2)
    assert value.evaluate({}) == {"a": [1]}


def test_references_of_a_value_carry_pointers() -> None:
    found = [(pointer, one.root, one.path) for pointer, one in compile_value(VALUE).references]
    assert found == [("/a/0", "step_id", ("field",)), ("/a/1/c~1d", "input", ("repo",))]


def test_the_schema_of_a_value_is_made_of_its_parts() -> None:
    inference = compile_value({"a": ["{{n}}", "x"], "k": 1}).infer({"n": {"type": "integer"}})
    assert inference.schema == {
        "type": "object",
        "properties": {
            "a": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string", "const": "x"}],
                "minItems": 2,
                "maxItems": 2,
            },
            "k": {"type": "integer", "const": 1},
        },
        "required": ["a", "k"],
        "additionalProperties": False,
    }


def test_faults_of_a_value_carry_pointers() -> None:
    faults = compile_value({"a": ["{{ n.x }}"]}).infer({"n": {"type": "integer"}}).faults
    assert [fault.pointer for fault in faults] == ["/a/0"]


def test_errors_of_a_value_carry_pointers_and_survive_pickling() -> None:
    with pytest.raises(TemplateError) as unread:
        compile_value({"a": {"b~c": "{{"}})
    with pytest.raises(TemplateError) as unmet:
        compile_value({"a": ["ok", "{{ nothing }}"]}).evaluate({})
    assert (unread.value.pointer, unmet.value.pointer) == ("/a/b~0c", "/a/1")
    copy = pickle.loads(pickle.dumps(unmet.value))
    assert (str(copy), copy.pointer, copy.kind) == (str(unmet.value), "/a/1", "missing")


@pytest.mark.parametrize("value", [object(), {"a": (1,)}, {1: "a"}, [b"x"], {"a": {2: 3}}])
def test_a_value_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TemplateError):
        compile_value(value)


@given(st.text(max_size=60))
def test_a_text_without_braces_stays_itself(text: str) -> None:
    plain = text.replace("{", "(")
    assert parse_template(plain).render({}) == plain


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_text_around_an_island_and_its_value_stay_themselves(before: str, value: str, after: str) -> None:
    before, after = before.replace("{", "").replace("\\", "").replace("$", ""), after.replace("{", "")
    text = parse_template(f"{before}|{{{{ x }}}}|{after}").render({"x": value})
    assert text == f"{before}|{value}|{after}"
