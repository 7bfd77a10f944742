"""Whatever is put into a document, loading it gives workflows or problems, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.language.load import load_all
from graphs.language.yaml import read_file
from state.errors import SpecError
from tests.strategies import constants, scalars

DOCUMENTS = [read_file(path).value for path in sorted((Path(__file__).parent / "documents").iterdir())]
FRAGMENTS = st.sampled_from(
    [
        "{{ a",
        "${}",
        "a b",
        "{{ output.x }}",
        "{{ steps.a }}",
        "x = 1",
        0,
        -1,
        [],
        {},
        [[]],
        {"type": []},
        {"id": {}},
        [None],
    ]
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way] * bool(way) + [place for key, part in inner for place in places(part, (*way, key))]


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A document with a few values replaced, removed or renamed."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)))
        holder = document
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(("replace", "remove", "add"))):
            case "replace":
                holder[last] = copy.deepcopy(draw(FRAGMENTS | constants))
            case "remove":
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(["type", "for_each", "repeat", "use", "steps", "agent", "odd"]))] = draw(
                    scalars
                )
        if not places(document):
            break
    return document


@settings(max_examples=300, deadline=None)
@given(spoilt())
def test_a_spoilt_document_gives_workflows_or_problems(document: Any) -> None:
    try:
        found = load_all(document)
    except SpecError as error:
        assert error.problems and all(problem.code and problem.message for problem in error.problems)
    else:
        assert found
