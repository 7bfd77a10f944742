"""The published schema says yes to what loads and no to what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from graphs.language.dump import to_dict
from graphs.language.load import load
from graphs.language.schema import language_schema
from graphs.language.spec import WorkflowSpec
from graphs.language.yaml import read_yaml
from state.errors import SpecError
from state.services import CallContext, Effect
from state.values import Json, Schema
from tests.strategies import specs

DOCUMENTS = Path(__file__).parent / "documents"
VALIDATOR = Draft202012Validator(language_schema())


@dataclass(frozen=True)
class Search:
    """A tool with one required text, a number and a list."""

    name: str = "text.search"
    description: str = "Look for text."
    args_schema: Schema = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "limit": {"$ref": "#/$defs/Count"},
                "within": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["query"],
            "additionalProperties": False,
            "$defs": {"Count": {"type": "integer", "minimum": 1}},
        }
    )
    output_schema: Schema = field(default_factory=dict)
    effect: Effect = "read"
    idempotent: bool = True

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        raise NotImplementedError


class OneTool:
    """A toolbox with the search alone."""

    def find(self, name: str) -> Search | None:
        return Search() if name == "text.search" else None

    def names(self) -> Iterable[str]:
        return ["text.search"]


def step(fields: str) -> dict[str, Any]:
    """A workflow of one step, written in flow style."""
    value = read_yaml(f"name: n\nnodes:\n  a: {{{fields}}}\n").value
    assert isinstance(value, dict)
    return value


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(language_schema())
    Draft202012Validator.check_schema(language_schema(OneTool()))


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.canonical.yaml")), ids=lambda path: path.stem)
def test_the_canonical_documents_fit(path: Path) -> None:
    value = read_yaml(path.read_text()).value

    assert load(path) and not list(VALIDATOR.iter_errors(value))


@settings(max_examples=60, deadline=None)
@given(specs())
def test_every_spec_fits(spec: WorkflowSpec) -> None:
    assert not list(VALIDATOR.iter_errors(to_dict(spec)))


@pytest.mark.parametrize(
    "fields",
    [
        "type: llm, prompt: p, timeout: 1h30m, cache: 3",
        "type: llm, prompt: 5, model: null, output: {a: string, b: {type: integer}, c: true}",
        "type: tool, tool: t, depends_on: b, output: {type: object, properties: {}}",
        "type: condition, cases: [{if: true, then: b}, {if: x, then: [c, d]}], else: e, match: all",
        "type: human, ask: q, form: {ok: boolean}, on_timeout: {ok: false}",
        "for_each: input.list, max_parallel: 2, type: llm, prompt: p, output: {a: string}",
        "for_each: [1, 2], use: other, with: {x: 1}, when: true, output: do",
        "repeat: {max_iterations: 2, until: do.ok}, type: tool, tool: t, retry: {on: [timeout]}",
        "repeat: {max_iterations: 2}, nodes: {b: {use: c}}, output: {x: b}",
        "use: other, on_error: {then: b}, join: {at_least: 2}",
    ],
)
def test_what_loads_fits(fields: str) -> None:
    document = step(fields)

    assert load(f"name: n\nnodes:\n  a: {{{fields}}}\n")
    assert not list(VALIDATOR.iter_errors(document))


@pytest.mark.parametrize(
    "fields",
    [
        "type: tol",
        "prompt: p",
        "type: llm",
        "type: llm, prompt: p, timeout: soon",
        "type: llm, prompt: p, ask: q",
        "type: llm, prompt: p, output: {a: strng}",
        "type: llm, prompt: p, when: 5",
        "type: llm, prompt: p, join: most",
        "type: tool, tool: t, arguments: {}",
        "type: condition, cases: []",
        "for_each: x",
        "for_each: x, type: llm",
        "for_each: x, type: human, ask: q, prompt: p",
        "for_each: x, repeat: {max_iterations: 2}, use: b",
        "repeat: {until: x}, use: b",
        "use: b, args: {}",
        "type: transform, set: 1, metadata: 5",
        "for_each: x, nodes: {'a.b': {use: c}}",
        "for_each: x, nodes: {output: {use: c}}",
    ],
)
def test_what_does_not_load_does_not_fit(fields: str) -> None:
    with pytest.raises(SpecError):
        load(f"name: n\nnodes:\n  a: {{{fields}}}\n")
    assert list(VALIDATOR.iter_errors(step(fields)))


@pytest.mark.parametrize(
    ("args", "fits"),
    [
        ("{query: x, limit: 3}", True),
        ("{query: '{{ a }}', limit: '{{ b }}', within: ['${c}', 2]}", True),
        ("{query: x, within: '{{ b }}'}", True),
        ("{query: x, limit: many}", False),
        ("{query: x, limit: 0}", False),
        ("{limit: 3}", False),
        ("{query: x, lmit: 3}", False),
    ],
)
def test_the_arguments_of_known_tools_are_judged(args: str, fits: bool) -> None:
    validator = Draft202012Validator(language_schema(OneTool()))

    for wrapped in ("", "for_each: x, "):
        document = step(f"{wrapped}type: tool, tool: text.search, args: {args}")
        assert (not list(validator.iter_errors(document))) is fits
    undone = step(f"type: llm, prompt: Hello you, undo: {{tool: text.search, args: {args}}}")
    assert (not list(validator.iter_errors(undone))) is fits


def test_tools_that_are_not_known_do_not_fit() -> None:
    validator = Draft202012Validator(language_schema(OneTool()))

    assert list(validator.iter_errors(step("type: tool, tool: text.serch, args: {query: x}")))
    assert list(validator.iter_errors(step("type: tool, tool: text.search")))
