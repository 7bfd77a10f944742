"""What is written is read back as the same spec, whatever its texts look like."""

from __future__ import annotations

import json

import yaml
from hypothesis import given, settings

from graphs.language.dump import digest, to_dict, to_json, to_yaml
from graphs.language.load import load
from graphs.language.spec import WorkflowSpec
from tests.strategies import specs

PLAIN = """
name: greet
nodes:
  hello: {type: transform, set: "Hello {{ input.who }}"}
input: {who: string}
"""


@settings(max_examples=500, deadline=None)
@given(specs())
def test_a_spec_written_in_any_form_is_read_back_as_itself(spec: WorkflowSpec) -> None:
    assert load(to_dict(spec)).spec == spec
    assert load(to_yaml(spec)).spec == spec
    assert load(to_json(spec)).spec == spec
    assert load(spec).spec == spec


@settings(max_examples=50, deadline=None)
@given(specs())
def test_texts_stay_texts_for_readers_of_yaml_1_1(spec: WorkflowSpec) -> None:
    read = yaml.safe_load(to_yaml(spec))

    assert read["description" if "description" in read else "name"] == (spec.description or spec.name)
    assert read.get("version", "1") == spec.version


@settings(max_examples=50, deadline=None)
@given(specs())
def test_the_digest_does_not_depend_on_the_form(spec: WorkflowSpec) -> None:
    assert digest(load(to_yaml(spec)).spec) == digest(load(to_json(spec)).spec) == digest(spec)


def test_defaults_are_left_out_and_the_order_is_that_of_reading() -> None:
    spec = load(PLAIN).spec

    assert list(to_dict(spec)) == ["cogwork", "name", "input", "nodes"]
    assert to_dict(spec)["nodes"] == {"hello": {"type": "transform", "set": "Hello {{ input.who }}"}}


def test_a_null_that_says_something_is_kept() -> None:
    spec = load("name: nothing\nnodes: {none: {type: transform, set: null}}").spec

    assert to_dict(spec)["nodes"]["none"] == {"type": "transform", "set": None}


def test_digests_differ_where_specs_do() -> None:
    one, two = load(PLAIN), load(PLAIN.replace("Hello", "Hallo"))

    assert digest(one.spec) != digest(two.spec)
    assert digest(load(json.dumps(to_dict(one.spec)) + "\n").spec) == digest(one.spec)
