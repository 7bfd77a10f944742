"""Functions over lists and objects.

A field path such as `user.name` or `items.0.id` leads into each element; a `?` after a segment, as in
`user?.name`, gives null where that segment is missing.
"""

from collections.abc import Callable
from typing import Final

from state.values import Json

from .data import described, equal, identity, kind, number, text
from .errors import Refusal
from .limits import Meter

_RANGE: Final = 10_000
_MISSING: Final = object()


def size(meter: Meter, value: Json) -> int:
    """How many elements, fields or characters."""
    return len(value)


def count(meter: Meter, value: Json, path: str | None = None, wanted: Json = True) -> int:
    """How many elements, or how many whose field has the wanted value."""
    if path is None:
        return len(value)
    if type(value) is not list:
        raise Refusal("type", f"`count` by a field needs a list, not {described(value)}")
    return len(where(meter, value, path, wanted))


def contains(meter: Meter, value: Json, wanted: Json) -> bool:
    """Whether a list has the element, an object the key, or a text the part."""
    if type(value) is list:
        return any(equal(item, wanted, meter) for item in value)
    if type(wanted) is not str:
        raise Refusal("type", f"{described(value)} cannot contain {described(wanted)}")
    return wanted in value


def keys(meter: Meter, value: dict[str, Json]) -> list[str]:
    """The keys of an object."""
    return list(value)


def values(meter: Meter, value: dict[str, Json]) -> list[Json]:
    """The values of an object."""
    return list(value.values())


def least(meter: Meter, first: Json, *others: Json) -> Json:
    """The least element of a list, or of the arguments."""
    return _extreme(meter, min, first, others)


def greatest(meter: Meter, first: Json, *others: Json) -> Json:
    """The greatest element of a list, or of the arguments."""
    return _extreme(meter, max, first, others)


def total(meter: Meter, items: list[Json]) -> Json:
    """The sum of a list of numbers."""
    result: int | float = 0
    for item in items:
        if kind(item) != "number":
            raise Refusal("type", f"`sum` needs numbers, not {described(item)}")
        result = number(result + number(item))
    return result


def ordered(meter: Meter, items: list[Json]) -> list[Json]:
    """The list in ascending order; all numbers or all texts."""
    return sorted(_comparable(meter, items))


def ordered_by(meter: Meter, items: list[Json], path: str) -> list[Json]:
    """The list in ascending order of a field; equal elements keep their order."""
    fields = _comparable(meter, pluck(meter, items, path))
    order = sorted(range(len(items)), key=fields.__getitem__)
    return [items[index] for index in order]


def unique(meter: Meter, items: list[Json]) -> list[Json]:
    """The list without repetitions; the first of equals stays."""
    found: dict[object, Json] = {}
    for item in items:
        found.setdefault(identity(item, meter), item)
    return list(found.values())


def backwards(meter: Meter, value: Json) -> Json:
    """The list or text from its end to its beginning."""
    return value[::-1]


def first(meter: Meter, items: list[Json]) -> Json:
    """The first element; missing in an empty list."""
    return _at(items, 0)


def last(meter: Meter, items: list[Json]) -> Json:
    """The last element; missing in an empty list."""
    return _at(items, -1)


def part(meter: Meter, value: Json, start: float, end: float | None = None) -> Json:
    """The part from `start` up to but without `end`; negative positions count from the end."""
    return value[_whole(start) : None if end is None else _whole(end)]


def numbers(meter: Meter, start: float, end: float | None = None, step: float = 1) -> list[int]:
    """The integers from `start` (0 if alone) up to but without `end`."""
    if step == 0:
        raise Refusal("value", "the step of a `range` cannot be 0")
    found = range(_whole(start)) if end is None else range(_whole(start), _whole(end), _whole(step))
    # len() of a range refuses what exceeds the machine's word; slicing bounds it first.
    if len(found[: _RANGE + 1]) > _RANGE:
        raise Refusal("limit", f"a `range` has at most {_RANGE:,} elements")
    return list(found)


def flat(meter: Meter, items: list[Json]) -> list[Json]:
    """The list with the elements of its lists in their place, one level deep."""
    result: list[Json] = []
    for item in items:
        if type(item) is list:
            meter.walk(len(item))
            result.extend(item)
        else:
            result.append(item)
    return result


def pluck(meter: Meter, items: list[Json], path: str) -> list[Json]:
    """The field of every element."""
    reads = _reader(meter, items, path)
    found = [reads(item) for item in items]
    if any(value is _MISSING for value in found):
        raise Refusal("missing", "an element of the list lacks the field")
    return found


def where(meter: Meter, items: list[Json], path: str, wanted: Json = True) -> list[Json]:
    """The elements whose field has the wanted value; those without the field are left out."""
    reads = _reader(meter, items, path)
    found = ((item, reads(item)) for item in items)
    return [item for item, value in found if value is not _MISSING and equal(value, wanted, meter)]


def groups(meter: Meter, items: list[Json], path: str) -> dict[str, list[Json]]:
    """The elements by the text of their field."""
    result: dict[str, list[Json]] = {}
    for item, value in zip(items, pluck(meter, items, path), strict=True):
        result.setdefault(text(value, meter), []).append(item)
    return result


def _at(items: list[Json], index: int) -> Json:
    if not items:
        raise Refusal("missing", "the list is empty")
    return items[index]


def _whole(value: float) -> int:
    if type(value) is not int:
        raise Refusal("type", "a position must be an integer")
    return int(number(value))


def _extreme(meter: Meter, choose: Callable[[list[Json]], Json], start: Json, others: tuple[Json, ...]) -> Json:
    if others and type(start) is list:
        raise Refusal("type", "`min` and `max` take one list or several values, not both")
    items = start if type(start) is list else [start, *others]
    if not items:
        raise Refusal("missing", "the list is empty")
    return choose(_comparable(meter, items))


def _comparable(meter: Meter, items: list[Json]) -> list[Json]:
    found = {kind(item) for item in items}
    if not (found <= {"number"} or found <= {"string"}):
        raise Refusal("type", f"only all numbers or all strings can be ordered, not {', '.join(sorted(found))}")
    if "string" in found:
        # Each comparison may read a whole text, and there are about twenty per element.
        meter.read(sum(map(len, items)))
    return items


def _reader(meter: Meter, items: list[Json], path: str) -> Callable[[Json], Json]:
    segments = [(part.removesuffix("?"), part.endswith("?")) for part in path.split(".", 50)]
    if len(segments) > 50 or any(not name for name, _ in segments):
        raise Refusal("value", "a field path looks like `name` or `user.name`")
    meter.walk(len(items) * len(segments))

    def read(value: Json) -> Json:
        for index, (name, optional) in enumerate(segments, 1):
            value = _field(value, name)
            if value is _MISSING or (value is None and index < len(segments)):
                return None if optional else _MISSING
        return value

    return read


def _field(value: Json, name: str) -> Json:
    if type(value) is dict:
        return value.get(name, _MISSING)
    if type(value) is list and name.isascii() and name.isdigit() and len(name) < 10:
        return value[int(name)] if int(name) < len(value) else _MISSING
    return _MISSING
