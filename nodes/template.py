"""Texts with islands of expressions, and JSON values whose strings are such texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from nodes.expression import Expression, ExpressionError, Fault, Inference, Reference, compile_expression
from nodes.expression.data import KINDS, text
from nodes.expression.errors import Kind, Refusal
from nodes.expression.islands import Island, split
from nodes.expression.limits import DATA_DEPTH, RESULT, Meter
from nodes.expression.schemas import constant, list_of, object_of
from state.values import Json, Schema

_CACHED: Final = 2_048
_CACHED_LENGTH: Final = 8_192

Part = str | tuple[Expression, int]


class Template:
    """A text with islands; immutable and safe to share.

    A text that is one island and nothing else but white space keeps the type of its value. Otherwise the
    values become text: strings as they are, null as nothing, everything else as compact JSON. There is one
    pass: what a value contains is never read as a template.
    """

    __slots__ = ("_island", "_parts", "is_island", "references", "source")

    source: str
    references: tuple[Reference, ...]
    is_island: bool

    def __init__(self, source: str, parts: list[Part]) -> None:
        self.source = source
        self._parts = parts
        self._island = _only_island(parts)
        self.is_island = self._island is not None
        self.references = tuple(
            replace(reference, start=reference.start + part[1], end=reference.end + part[1])
            for part in parts
            if not isinstance(part, str)
            for reference in part[0].references
        )

    def __repr__(self) -> str:
        return f"Template({self.source!r})"

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Those of its islands, in order."""
        return tuple(part[0] for part in self._parts if not isinstance(part, str))

    def render(self, names: Mapping[str, Json]) -> Json:
        """The value of the only island, or the text.

        Raises:
            ExpressionError: placed in the text of the template.
        """
        if self._island is not None:
            expression, start = self._island
            try:
                return expression.evaluate(names)
            except ExpressionError as error:
                raise _moved(error, self.source, start) from None
        return self._text(names)

    def infer(self, schemas: Mapping[str, Schema]) -> Inference:
        """What is known before any run."""
        faults: list[Fault] = []
        known: Schema = {"type": "string"}
        for part in self._parts:
            if isinstance(part, str):
                continue
            expression, start = part
            found = expression.infer(schemas)
            faults += [replace(fault, start=fault.start + start, end=fault.end + start) for fault in found.faults]
            if self.is_island:
                known = found.schema
        if all(isinstance(part, str) for part in self._parts):
            known = constant("".join(map(str, self._parts)))
        return Inference(schema=known, faults=tuple(faults))

    def _text(self, names: Mapping[str, Json]) -> str:
        meter = Meter()
        made: list[str] = []
        length = 0
        for part in self._parts:
            if isinstance(part, str):
                made.append(part)
                continue
            expression, start = part
            try:
                made.append(text(expression.evaluate(names), meter))
                length += len(made[-1])
                if length > RESULT:
                    meter.write(length)
            except ExpressionError as error:
                raise _moved(error, self.source, start) from None
            except Refusal as refusal:
                raise refusal.at(start).public(self.source) from None
        return "".join(made)


def parse_template(source: str) -> Template:
    """Read a text with `{{ … }}` and `${ … }` islands; nodes.expression.islands tells the escapes.

    Raises:
        ExpressionError: placed in the text of the template.
    """
    if type(source) is not str:
        raise ExpressionError(f"a template is text, not {type(source).__name__}", kind="type")
    return _cached(source) if len(source) <= _CACHED_LENGTH else _parsed(source)


class TemplateError(ExpressionError):
    """An ExpressionError at a place inside a JSON value; `pointer` is its JSON pointer."""

    def __init__(self, error: ExpressionError, pointer: str) -> None:
        super().__init__(error.message, kind=error.kind, source=error.source, position=error.position)
        self.pointer = pointer

    def __str__(self) -> str:
        return f"{self.pointer or 'the value'}: {super().__str__()}"


class Value:
    """A JSON value whose strings (not its keys) are templates; immutable and safe to share."""

    __slots__ = ("_constant", "_fields", "_items", "_pointer", "_template", "references")

    references: tuple[tuple[str, Reference], ...]

    def __init__(self, value: Json, pointer: str, depth: int) -> None:
        self._pointer = pointer
        self._constant = value
        self._template: Template | None = None
        self._fields: dict[str, Value] | None = None
        self._items: list[Value] | None = None
        if depth > DATA_DEPTH:
            raise self._refused("limit", f"the value is nested more than {DATA_DEPTH} levels deep")
        match KINDS.get(type(value)):
            case "string":
                self._template = self._parsed(value)
            case "list":
                self._items = [Value(item, f"{pointer}/{i}", depth + 1) for i, item in enumerate(value)]
            case "object":
                self._fields = {key: Value(item, self._below(key), depth + 1) for key, item in value.items()}
            case None:
                raise self._refused("type", f"a Python {type(value).__name__} is not JSON data")
        self.references = self._collected()

    def __repr__(self) -> str:
        return f"Value({self._constant!r})"

    @property
    def inner(self) -> "Template | Mapping[str, Value] | Sequence[Value] | None":
        """The template that it is, its fields, its elements; None for any other constant."""
        return next((part for part in (self._template, self._fields, self._items) if part is not None), None)

    @property
    def constant(self) -> Json:
        """The value as it is written."""
        return self._constant

    def evaluate(self, names: Mapping[str, Json]) -> Json:
        """The value with every template rendered; lists and objects are new ones.

        Raises:
            TemplateError: with the pointer of the string at fault.
        """
        if self._template is not None:
            try:
                return self._template.render(names)
            except ExpressionError as error:
                raise TemplateError(error, self._pointer) from None
        if self._fields is not None:
            return {key: part.evaluate(names) for key, part in self._fields.items()}
        if self._items is not None:
            return [part.evaluate(names) for part in self._items]
        return self._constant

    def infer(self, schemas: Mapping[str, Schema]) -> Inference:
        """What is known before any run; every fault carries its pointer."""
        if self._template is not None:
            found = self._template.infer(schemas)
            faults = tuple(replace(fault, pointer=self._pointer) for fault in found.faults)
            return Inference(schema=found.schema, faults=faults)
        if self._fields is not None:
            fields = {key: part.infer(schemas) for key, part in self._fields.items()}
            return Inference(
                schema=object_of({key: part.schema for key, part in fields.items()}), faults=_faults(fields.values())
            )
        if self._items is not None:
            items = [part.infer(schemas) for part in self._items]
            return Inference(schema=list_of([part.schema for part in items]), faults=_faults(items))
        return Inference(schema=constant(self._constant))

    def _parsed(self, source: str) -> Template:
        try:
            return parse_template(source)
        except ExpressionError as error:
            raise TemplateError(error, self._pointer) from None

    def _below(self, key: object) -> str:
        if type(key) is not str:
            raise self._refused("type", f"a key is a Python {type(key).__name__}, not a string")
        return f"{self._pointer}/{key.replace('~', '~0').replace('/', '~1')}"

    def _refused(self, kind: Kind, message: str) -> TemplateError:
        return TemplateError(ExpressionError(message, kind=kind), self._pointer)

    def _collected(self) -> tuple[tuple[str, Reference], ...]:
        if self._template is not None:
            return tuple((self._pointer, reference) for reference in self._template.references)
        parts = [*(self._fields or {}).values(), *(self._items or [])]
        return tuple(found for part in parts for found in part.references)


def compile_value(value: Json) -> Value:
    """Read every string of a JSON value as a template.

    Raises:
        TemplateError: with the pointer of what cannot be read.
    """
    return Value(value, "", 0)


def _parsed(source: str) -> Template:
    try:
        pieces = split(source)
    except Refusal as refusal:
        raise refusal.public(source) from None
    return Template(source, [piece if isinstance(piece, str) else _compiled(piece, source) for piece in pieces])


_cached = lru_cache(maxsize=_CACHED)(_parsed)


def _compiled(island: Island, source: str) -> tuple[Expression, int]:
    try:
        return compile_expression(island.source), island.start
    except ExpressionError as error:
        raise _moved(error, source, island.start) from None


def _moved(error: ExpressionError, source: str, offset: int) -> ExpressionError:
    """The same error, placed in the surrounding text."""
    return ExpressionError(error.message, kind=error.kind, source=source, position=error.position + offset)


def _only_island(parts: list[Part]) -> tuple[Expression, int] | None:
    islands = [part for part in parts if not isinstance(part, str)]
    blank = all(part.isspace() for part in parts if isinstance(part, str))
    return islands[0] if len(islands) == 1 and blank else None


def _faults(found: Iterable[Inference]) -> tuple[Fault, ...]:
    return tuple(fault for inference in found for fault in inference.faults)
