"""What a schema says about a value, and what an untrusted schema cannot make us do."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from state.plain_schemas import surely_fits
from state.schemas import faults, schema_fault, with_defaults

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^(a+)+$"},
        "age": {"type": "integer", "minimum": 0},
        "born": {"type": "string", "format": "date"},
        "key": {"type": "string", "maxLength": 4, "writeOnly": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_fitting_value_has_no_faults() -> None:
    assert faults(PERSON, {"name": "aaa", "age": 1.0, "born": "2026-01-31"}) == []


def test_an_empty_schema_takes_everything() -> None:
    assert faults({}, {"any": ["thing"]}) == []


def test_each_fault_names_its_place_and_what_was_expected() -> None:
    found = faults(PERSON, {"nme": 1, "age": "x", "born": "soon"})

    assert '/age: "x" is string, expected integer' in found
    assert '/born: "soon" is not a valid date' in found
    assert "/name: is missing, expected string" in found
    assert "/nme: is not known here; did you mean 'name'?" in found


def test_a_value_marked_as_secret_is_not_repeated() -> None:
    assert faults(PERSON, {"name": "a", "key": "hunter22"}) == ["/key: the value is longer than 4 characters"]


def test_the_closest_alternative_is_explained() -> None:
    schema = {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["q"]}]}

    assert faults(schema, {"a": 1}) == ["/q: is missing (the closest of 2 alternatives)"]


def test_no_more_sentences_than_the_limit() -> None:
    assert len(faults({"items": {"type": "string"}}, list(range(1000)), limit=3)) == 3


def test_a_pattern_made_to_backtrack_runs_in_linear_time() -> None:
    begun = time.process_time()

    assert faults(PERSON, {"name": "a" * 200_000 + "b"})
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "https://example.org/x.json"}, "leads outside"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "leads outside"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"type": "objekt"}, "/type"),
        ({"pattern": "(?=x)"}, "look-around"),
        ({"pattern": "("}, "not usable"),
        ({"default": {1, 2}}, "not plain JSON"),
        ([], "array"),
    ],
)
def test_an_unusable_schema_says_why(schema: Any, said: str) -> None:
    assert said in (schema_fault(schema) or "")


def test_a_usable_schema_has_no_fault() -> None:
    assert schema_fault(PERSON) is None
    assert schema_fault({"properties": {"$ref": {"type": "string"}, "default": {}}}) is None


def test_a_property_named_like_a_reference_is_no_reference() -> None:
    assert schema_fault({"enum": [{"$ref": "https://example.org"}]}) is None


def test_nothing_fits_an_unusable_schema() -> None:
    assert "not usable" in faults({"$ref": "https://example.org/x.json"}, 1)[0]


def test_a_schema_that_refers_to_itself_without_end_is_given_up() -> None:
    assert "without end" in faults({"$ref": "#"}, 1)[0]


@pytest.mark.slow
def test_a_schema_that_doubles_its_work_at_each_level_is_given_up() -> None:
    levels = {f"l{i}": {"allOf": [{"$ref": f"#/$defs/l{i + 1}"}] * 2} for i in range(30)}

    assert "too often" in faults({"$ref": "#/$defs/l0", "$defs": levels | {"l30": {}}}, 1)[0]


def test_an_inner_dialect_does_not_bring_back_the_backtracking_patterns() -> None:
    inner = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}
    begun = time.process_time()

    assert faults({"items": inner}, ["a" * 5000 + "b"])
    assert time.process_time() - begun < 20


def test_named_patterns_decide_which_properties_are_known() -> None:
    schema = {"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False}

    assert faults(schema, {"x-a": 1}) == []
    assert faults(schema, {"x-a": "1"}) == ['/x-a: "1" is string, expected integer']
    assert "/y: is not known here" in faults(schema, {"y": 1})[0]


def test_defaults_are_filled_at_every_depth_without_touching_the_value() -> None:
    schema = {
        "properties": {
            "limit": {"default": 5},
            "options": {"$ref": "#/$defs/options", "default": {}},
            "rows": {"items": {"properties": {"n": {"default": 0}}}},
            "maybe": {"anyOf": [{"$ref": "#/$defs/options"}, {"type": "null"}]},
        },
        "$defs": {"options": {"type": "object", "properties": {"deep": {"default": [1]}}}},
    }
    value: dict[str, Any] = {"rows": [{}, {"n": 7}], "maybe": {}}

    full = with_defaults(schema, value)

    assert full == {
        "limit": 5,
        "options": {"deep": [1]},
        "rows": [{"n": 0}, {"n": 7}],
        "maybe": {"deep": [1]},
    }
    assert value == {"rows": [{}, {"n": 7}], "maybe": {}}
    full["options"]["deep"].append(2)
    assert schema["$defs"]["options"]["properties"]["deep"]["default"] == [1]  # type: ignore[index]


def test_defaults_that_refer_to_themselves_end() -> None:
    node = {"properties": {"left": {"$ref": "#", "default": {}}, "right": {"$ref": "#", "default": {}}}}

    assert set(with_defaults(node, {})) == {"left", "right"}


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": "integer"}, {"type": "string", "default": "x"}, {"default": {}}, {"const": 1, "default": 1}]
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner).map(
            lambda p: {"type": "object", "properties": p, "default": {}}
        ),
        inner.map(lambda s: {"type": "array", "items": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"anyOf": s}),
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner)),
    max_leaves=8,
)


@given(SCHEMAS, VALUES)
def test_filling_defaults_twice_is_filling_them_once(schema: dict[str, Any], value: Any) -> None:
    once = with_defaults(schema, value)

    assert with_defaults(schema, once) == once


@given(SCHEMAS, VALUES)
def test_every_fault_is_one_sentence_with_a_place(schema: dict[str, Any], value: Any) -> None:
    assert all(":" in fault and "\n" not in fault for fault in faults(schema, value))


SIMPLE = st.recursive(
    st.sampled_from([{"type": t} for t in ("string", "integer", "number", "boolean", "null")] + [{}, {"title": "x"}]),
    lambda inner: st.builds(
        lambda properties, needed, closed: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in needed],
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.sets(st.sampled_from("abc")),
        st.booleans(),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.just("x"),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@given(SIMPLE, VALUES)
def test_the_quick_way_never_accepts_what_the_validator_refuses(schema: dict[str, Any], value: Any) -> None:
    if surely_fits(schema, value):
        assert Draft202012Validator(schema).is_valid(value)


class _Form(dict[str, Any]):
    """A schema that can be watched."""


def test_schemas_that_come_but_once_are_let_go_when_others_have_come() -> None:
    first = _Form(PERSON)
    watched = weakref.ref(first)
    assert faults(first, {"name": "aaa"}) == faults(first, {"name": "aaa"}) == []
    del first
    for _ in range(600):
        assert faults(dict(PERSON), {"name": 1})
    gc.collect()
    assert watched() is None
