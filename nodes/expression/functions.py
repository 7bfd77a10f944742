"""The fixed table of functions that expressions may call, with the kinds that they take and give.

An implementation gets the meter and arguments whose kinds have been checked and paid for by their
length; it pays for what it walks beyond that and for what it makes. `has`, `default` and `coalesce` are
listed for their arity and types; evaluation treats them itself, because they catch what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from state.values import Json, Schema

from . import lists, scalars
from .data import KINDS, DataKind, kind
from .schemas import element, kinds, known, list_like

Kinds = frozenset[DataKind]

ANY: Final[Kinds] = frozenset(KINDS.values())
TEXT: Final[Kinds] = frozenset(("string",))
NUMBER: Final[Kinds] = frozenset(("number",))
LIST: Final[Kinds] = frozenset(("list",))
OBJECT: Final[Kinds] = frozenset(("object",))
SIZED: Final[Kinds] = TEXT | LIST | OBJECT
SEQUENCE: Final[Kinds] = TEXT | LIST
SCALAR: Final[Kinds] = ANY - LIST - OBJECT

STRING_SCHEMA: Final[Schema] = {"type": "string"}
NUMBER_SCHEMA: Final[Schema] = {"type": "number"}
INTEGER_SCHEMA: Final[Schema] = {"type": "integer"}
BOOLEAN_SCHEMA: Final[Schema] = {"type": "boolean"}
LIST_SCHEMA: Final[Schema] = {"type": "array"}
STRINGS_SCHEMA: Final[Schema] = {"type": "array", "items": {"type": "string"}}
OBJECT_SCHEMA: Final[Schema] = {"type": "object"}

Gives = Schema | Callable[[list[Schema]], Schema]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One entry of the table; `takes` holds the kinds per argument, the last one repeats."""

    call: Callable[..., Json]
    least: int
    most: int | None
    takes: tuple[Kinds, ...]
    gives: Gives

    def accepts(self, index: int) -> Kinds:
        """The kinds that the argument at this index may have."""
        return self.takes[min(index, len(self.takes) - 1)]


def _same(arguments: list[Schema]) -> Schema:
    return list_like(arguments[0])


def _element(arguments: list[Schema]) -> Schema:
    return element(known(arguments[0]))


def _list_or_text(arguments: list[Schema]) -> Schema:
    match kinds(arguments[0]):
        case found if found == {"string"}:
            return STRING_SCHEMA
        case found if found == {"list"}:
            return list_like(arguments[0])
    return {}


def _entry(call: Callable[..., Json], takes: tuple[Kinds, ...], gives: Gives, least: int | None = None) -> Function:
    most = len(takes)
    return Function(call=call, least=most if least is None else least, most=most, takes=takes, gives=gives)


def _lazy(*_: Json) -> Json:
    raise NotImplementedError("evaluated by the compiler of expressions")


def _type(meter: object, value: Json) -> str:
    return kind(value)


FUNCTIONS: Final[dict[str, Function]] = {
    "size": _entry(lists.size, (SIZED,), INTEGER_SCHEMA),
    "count": _entry(lists.count, (SIZED, TEXT, ANY), INTEGER_SCHEMA, least=1),
    "lower": _entry(scalars.lower, (TEXT,), STRING_SCHEMA),
    "upper": _entry(scalars.upper, (TEXT,), STRING_SCHEMA),
    "trim": _entry(scalars.trim, (TEXT,), STRING_SCHEMA),
    "join": _entry(scalars.join, (LIST, TEXT), STRING_SCHEMA, least=1),
    "split": _entry(scalars.split, (TEXT, TEXT), STRINGS_SCHEMA, least=1),
    "replace": _entry(scalars.replace, (TEXT, TEXT, TEXT), STRING_SCHEMA),
    "starts_with": _entry(scalars.starts_with, (TEXT, TEXT), BOOLEAN_SCHEMA),
    "ends_with": _entry(scalars.ends_with, (TEXT, TEXT), BOOLEAN_SCHEMA),
    "contains": _entry(lists.contains, (SIZED, ANY), BOOLEAN_SCHEMA),
    "keys": _entry(lists.keys, (OBJECT,), STRINGS_SCHEMA),
    "values": _entry(lists.values, (OBJECT,), LIST_SCHEMA),
    "round": _entry(scalars.rounded, (NUMBER, NUMBER), NUMBER_SCHEMA, least=1),
    "floor": _entry(scalars.floor, (NUMBER,), INTEGER_SCHEMA),
    "ceil": _entry(scalars.ceil, (NUMBER,), INTEGER_SCHEMA),
    "abs": _entry(scalars.absolute, (NUMBER,), NUMBER_SCHEMA),
    "min": Function(call=lists.least, least=1, most=None, takes=(LIST | NUMBER | TEXT, NUMBER | TEXT), gives={}),
    "max": Function(call=lists.greatest, least=1, most=None, takes=(LIST | NUMBER | TEXT, NUMBER | TEXT), gives={}),
    "sum": _entry(lists.total, (LIST,), NUMBER_SCHEMA),
    "sort": _entry(lists.ordered, (LIST,), _same),
    "sort_by": _entry(lists.ordered_by, (LIST, TEXT), _same),
    "unique": _entry(lists.unique, (LIST,), _same),
    "reverse": _entry(lists.backwards, (SEQUENCE,), _list_or_text),
    "first": _entry(lists.first, (LIST,), _element),
    "last": _entry(lists.last, (LIST,), _element),
    "slice": _entry(lists.part, (SEQUENCE, NUMBER, NUMBER), _list_or_text, least=2),
    "range": _entry(lists.numbers, (NUMBER, NUMBER, NUMBER), {"type": "array", "items": INTEGER_SCHEMA}, least=1),
    "flatten": _entry(lists.flat, (LIST,), LIST_SCHEMA),
    "map": _entry(lists.pluck, (LIST, TEXT), LIST_SCHEMA),
    "pluck": _entry(lists.pluck, (LIST, TEXT), LIST_SCHEMA),
    "where": _entry(lists.where, (LIST, TEXT, ANY), _same, least=2),
    "group_by": _entry(lists.groups, (LIST, TEXT), OBJECT_SCHEMA),
    "json": _entry(scalars.to_json, (ANY,), STRING_SCHEMA),
    "parse_json": _entry(scalars.parse_json, (TEXT,), {}),
    "string": _entry(scalars.string, (ANY,), STRING_SCHEMA),
    "int": _entry(scalars.integer, (NUMBER | TEXT,), INTEGER_SCHEMA),
    "number": _entry(scalars.numeric, (NUMBER | TEXT,), NUMBER_SCHEMA),
    "bool": _entry(scalars.boolean, (TEXT | {"boolean"},), BOOLEAN_SCHEMA),
    "date": _entry(scalars.date, (TEXT,), {"type": "string", "format": "date"}),
    "type": _entry(_type, (ANY,), STRING_SCHEMA),
    "default": _entry(_lazy, (ANY, ANY), {}),
    "has": _entry(_lazy, (ANY,), BOOLEAN_SCHEMA),
    "coalesce": Function(call=_lazy, least=1, most=None, takes=(ANY,), gives={}),
}
