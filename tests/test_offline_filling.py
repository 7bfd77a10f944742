"""Values by schema from the offline model: they fit, and they hold what the material says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.models.filling import fill
from cogwork.models.material import Material, read
from cogwork.models.passages import sentences
from state.schemas import faults

TEXT = {"type": "string"}
TICKET = """Subject: Refund
The app charged me twice (order 8841) and I am very angry. Contact: ana@example.org. This happened on 2026-10-02."""


def material(text: str) -> Material:
    """The material of one message."""
    from langchain_core.messages import HumanMessage

    return read([HumanMessage(text)])


def one(text: str, name: str, schema: dict[str, Any]) -> Any:
    """The value of one required property."""
    whole = {"type": "object", "properties": {name: schema}, "required": [name]}
    value = fill(whole, material(text))
    assert faults(whole, value) == []
    return value[name]


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("order", {"type": "integer"}, 8841),
        ("email", TEXT, "ana@example.org"),
        ("happened", {"type": "string", "format": "date"}, "2026-10-02"),
        ("subject", TEXT, "Refund"),
        ("sentiment", {"enum": ["positive", "neutral", "negative"]}, "negative"),
        ("category", {"enum": ["bug", "billing", "other"]}, "billing"),
        ("angry", {"type": "boolean"}, True),
        ("happy", {"type": "boolean"}, False),
        ("version", {"const": 2}, 2),
        ("color", {"enum": ["red", "unknown"]}, "unknown"),
        ("lang", {"enum": ["en", "de"], "default": "de"}, "de"),
        ("code", {"type": "string", "pattern": r"^\d{4}$"}, "8841"),
    ],
)
def test_a_field_is_filled_by_what_its_name_asks_for(name: str, schema: dict[str, Any], expected: Any) -> None:
    assert one(f"Read this ticket.\n\n## Ticket\n\n{TICKET}", name, schema) == expected


def test_one_object_per_sentence_with_its_own_facts() -> None:
    person = {
        "type": "object",
        "properties": {"name": TEXT, "age": {"type": "integer"}, "city": TEXT},
        "required": ["name", "age"],
    }
    found = one(
        "Extract the persons.\n\nText:\nAna Silva (34) lives in Porto. Bo Lind (41) lives in Oslo.",
        "persons",
        {"type": "array", "items": person},
    )
    assert found == [{"name": "Ana Silva", "age": 34, "city": "Porto"}, {"name": "Bo Lind", "age": 41, "city": "Oslo"}]


def test_one_object_per_record_by_its_keys() -> None:
    text = 'Rate these: [{"id": 1, "text": "The app is slow"}, {"id": 2, "text": "I love it"}]'
    item = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "mood": {"enum": ["positive", "negative"]}},
        "required": ["id", "mood"],
    }
    assert one(text, "ratings", {"type": "array", "items": item}) == [
        {"id": 1, "mood": "negative"},
        {"id": 2, "mood": "positive"},
    ]


def test_a_list_holds_the_bullets_under_its_name() -> None:
    text = "Read.\n\n## Risks\n\n- The gate jams\n- The crew is small\n\n## Costs\n\n- Paint"
    assert one(text, "risks", {"type": "array", "items": TEXT}) == ["The gate jams", "The crew is small"]
    assert one(text, "risks", {"type": "array", "items": TEXT, "maxItems": 1}) == ["The gate jams"]


def test_what_the_material_does_not_hold_stays_an_honest_empty() -> None:
    assert one("List the risks.\n\nContext: The sea is calm.", "deadline", {"type": ["string", "null"]}) is None


def test_optional_fields_without_anything_to_say_are_left_out() -> None:
    schema = {"type": "object", "properties": {"owner": TEXT, "answer": TEXT}, "required": ["answer"]}
    assert "owner" not in fill(schema, material("is it calm? the sea is calm."))


def test_a_schema_with_references_is_filled() -> None:
    schema = {
        "$ref": "#/$defs/note",
        "$defs": {"note": {"type": "object", "properties": {"title": TEXT}, "required": ["title"]}},
    }
    assert fill(schema, material("Name it.\n\n## Text\n\nThe gate jams."))["title"] == "The gate jams"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[[[[",
        '{"a": [{"b": {"c": [1, null, "x"]}}]}',
        "```json\n{broken\n```",
        "x" * 50_000,
        "[" * 20_000,
        "[1," * 20_000,
        "- \n- \n",
        "é 東京。新しい橋。",
    ],
)
def test_odd_material_still_fits(text: str) -> None:
    schema = {
        "type": "object",
        "properties": {"title": TEXT, "steps": {"type": "array", "items": TEXT}, "n": {"type": "number"}},
    }
    assert faults(schema, fill({**schema, "required": ["title", "steps", "n"]}, material(text))) == []


_LEAVES = st.one_of(
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 40)),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.just({"type": "number"}),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.builds(
        lambda values: {"enum": values},
        st.lists(st.sampled_from(["high", "low", 3, None, True]), min_size=1, max_size=3),
    ),
)
_NAMES = st.sampled_from(
    [
        "title",
        "summary",
        "steps",
        "depends_on",
        "causes",
        "citations",
        "quote",
        "line",
        "id",
        "owner",
        "count",
        "code",
        "tags",
        "items",
        "next_step",
        "when",
    ]
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_NAMES, inner, max_size=4).map(
        lambda fields: {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    )


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    sized = st.tuples(inner, st.integers(0, 2), st.integers(0, 3))
    return sized.map(lambda p: {"type": "array", "items": p[0], "minItems": p[1], "maxItems": p[1] + p[2]})


SCHEMAS = st.recursive(_LEAVES, lambda inner: _objects(inner) | _arrays(inner), max_leaves=8)
MATERIALS = st.sampled_from(
    [
        TICKET,
        "Plan: write the parser, then test it.",
        'Explain: {"type": "KeyError", "message": "x", "frames": [{"file": "a.py", "line": 3}]}',
        'Question: Why?\nPassages: [{"path": "a.md", "line": 2, "text": "Because the gate jams. It is old."}]',
        '[{"signature": "E1", "count": 4, "sample": "timeout"}, {"signature": "E2", "count": 2}]',
        "",
    ]
)


@given(SCHEMAS, MATERIALS)
@settings(max_examples=300, deadline=None)
def test_what_is_filled_fits_its_schema(schema: dict[str, Any], text: str) -> None:
    assert faults(schema, fill(schema, material(text))) == []


@given(st.text(alphabet="ab.!? \n-#|1)'\"。", max_size=200))
def test_sentences_are_verbatim_slices_in_order(text: str) -> None:
    at = 0
    for sentence in sentences(text):
        at = text.index(sentence, at) + len(sentence)
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_every_object_of_a_list_keeps_its_own_record() -> None:
    text = 'Copy.\n\n## Data\n\n```json\n{"rows": [{"id": 1, "city": "Oslo"}, {"id": 2, "city": "Porto"}]}\n```'
    row = {"type": "object", "properties": {"id": {"type": "integer"}, "city": TEXT}, "required": ["id", "city"]}
    assert one(text, "rows", {"type": "array", "items": row}) == [{"id": 1, "city": "Oslo"}, {"id": 2, "city": "Porto"}]
