"""Changing the references of a text or condition where they stand, found by the expressions' own parser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from graphs.language.dialects.draft import Draft, under
from graphs.language.dialects.entry import Picked
from graphs.language.spec import RESERVED, object_schema
from nodes.base import NAME
from nodes.expression import ExpressionError, Reference, compile_condition
from nodes.expression.errors import Refusal
from nodes.expression.tokens import tokens
from nodes.template import parse_template
from state.values import Json

Change: TypeAlias = Callable[[Reference, str, str], str | None]
"""Given a reference, its text and its source pointer, the text that takes its place; None leaves it."""
_ROOTS: Final = RESERVED - {"input", "output"}


def rewritten_value(value: Json, change: Change, pointer: str) -> Json:
    """The value with the references of all its texts changed; what cannot be read stays for the checks to report."""
    if isinstance(value, str):
        try:
            return _spliced(value, parse_template(value).references, change, pointer)
        except ExpressionError:
            return value
    if isinstance(value, Mapping):
        return {key: rewritten_value(inner, change, under(pointer, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [rewritten_value(inner, change, under(pointer, index)) for index, inner in enumerate(value)]
    return value


def rewritten_condition(value: Json, change: Change, pointer: str) -> Json:
    """The condition with its references changed and a single ``=`` doubled."""
    if not isinstance(value, str):
        return value
    try:
        plain = _spliced(value, compile_condition(value, single_equals=True).references, change, pointer)
        return _with_double_equals(plain)
    except (ExpressionError, Refusal):
        return value


def value_of(step: str) -> str:
    """The expression for a step's value: its bare name where that can be written."""
    return step if NAME.fullmatch(step) and step not in RESERVED else f"steps['{step}'].output"


def _spliced(text: str, references: tuple[Reference, ...], change: Change, pointer: str) -> str:
    changed = [(r, change(r, text[r.start : r.end], pointer)) for r in sorted(references, key=lambda r: r.start)]
    for reference, new in reversed(changed):
        if new is not None:
            text = text[: reference.start] + new + text[reference.end :]
    return text


def _with_double_equals(text: str) -> str:
    for token in reversed(tokens(text, islands=True)):
        if (token.kind, token.value) == ("operator", "="):
            text = f"{text[: token.start]}=={text[token.end :]}"
    return text


@dataclass(slots=True)
class Inputs:
    """The workflow's input, gathered from the names that the texts read and that no step bears.

    A name whose every use can do without it (``default``) may be left out of the input; ``whole`` says that some text
    reads the input itself.
    """

    steps: frozenset[str]
    declared: dict[str, Json] = field(default_factory=dict)
    needed: dict[str, bool] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    def read(self, name: str, *, guarded: bool, pointer: str) -> None:
        """Note a use of an input."""
        self.needed[name] = self.needed.get(name, False) or not guarded
        self.places.setdefault(name, pointer)

    def note(self, reference: Reference, text: str, pointer: str) -> str | None:
        """Note what the reference reads; a free name becomes a field of the input."""
        if reference.root == "input":
            self.whole = self.whole or not reference.path
            if reference.path and isinstance(reference.path[0], str):
                self.read(reference.path[0], guarded=reference.guarded, pointer=pointer)
            return None
        if reference.root in self.steps or reference.root in _ROOTS:
            return None
        self.read(reference.root, guarded=reference.guarded, pointer=pointer)
        return f"input.{text}"

    def schema(self) -> dict[str, Json]:
        """The input as a map of properties."""
        found = {name: {} if needed else {"default": None} for name, needed in self.needed.items()}
        return {**found, **self.declared}

    def declare(self, draft: Draft, found: Picked | None) -> None:
        """Write the input into the draft; ``found`` is where the document declares inputs itself."""
        if found is not None and isinstance(found.value, Mapping):
            self.declared = dict(found.value)
        schema = self.schema()
        if not schema and not self.whole:
            return
        # A text that reads the input as a whole takes whatever there is.
        draft.value["input"] = {**object_schema(schema), "additionalProperties": True} if self.whole else schema
        draft.origin["/input"] = found.pointer if found else ""
        for name, pointer in self.places.items():
            if name not in self.declared:
                draft.origin[under("/input/properties", name)] = pointer
