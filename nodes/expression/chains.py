"""Follow references into data: fields, indexes, and the null-safe `?.`.

A read that finds nothing is `missing`. `a?.b` is null when `a` is absent or null, or has no `b`, and then the rest
of the chain is skipped. `?.` guards only the read before it: in `a.b?.c` an
absent `a` is still missing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from state.values import Json

from .data import described
from .errors import Refusal
from .limits import Meter
from .syntax import Chain, Link, Name, Node

Closure = Callable[[Mapping[str, Json], Meter], Json]
Names = Mapping[str, Json]

_ABSENT: Final = object()


class _Step(NamedTuple):
    """A link made ready: the constant key, or the closure that computes it."""

    key: str | int | None
    computed: Closure | None
    optional: bool
    start: int
    owner: str


def root(node: Name) -> Closure:
    """Read a name; an absent one is missing."""
    name, start = node.name, node.start

    def run(names: Names, meter: Meter) -> Json:
        try:
            return names[name]
        except KeyError:
            raise Refusal("missing", f"`{name}` is missing", start) from None

    return run


def chain(node: Chain, source: str, compiled: Callable[[Node], Closure]) -> Closure:
    """Read along the links; the common chain of constant keys from a name has a short way."""
    owners = _owners(node, source)
    if isinstance(node.base, Name) and not any(_is_special(link) for link in node.links):
        return _plain(node.base, node.links, owners)
    steps = [_step(link, owner, node, compiled) for link, owner in zip(node.links, owners, strict=True)]
    if isinstance(node.base, Name):
        name = node.base.name
        return _stepping(lambda names, meter: names.get(name, _ABSENT), steps, name, node.start)
    return _stepping(compiled(node.base), steps, "the value", node.start)


def _is_special(link: Link) -> bool:
    return link.optional or not isinstance(link.key, str | int)


def _owners(node: Chain, source: str) -> list[str]:
    """For each link, the text of what it reads from."""
    ends = [node.base.end, *(link.end for link in node.links[:-1])]
    return [source[node.start : end] for end in ends]


def _step(link: Link, owner: str, node: Chain, compiled: Callable[[Node], Closure]) -> _Step:
    if isinstance(link.key, str | int):
        return _Step(link.key, None, link.optional, node.start, owner)
    return _Step(None, compiled(link.key), link.optional, node.start, owner)


def _plain(base: Name, links: tuple[Link, ...], owners: list[str]) -> Closure:
    name, start = base.name, base.start
    wanted: list[tuple[Json, type[Any], str]] = [
        (link.key, dict if isinstance(link.key, str) else list, owner)
        for link, owner in zip(links, owners, strict=True)
    ]

    def run(names: Names, meter: Meter) -> Json:
        try:
            value = names[name]
        except KeyError:
            raise Refusal("missing", f"`{name}` is missing", start) from None
        for key, container, owner in wanted:
            if type(value) is not container:
                raise _unreadable(value, key, owner, start)
            try:
                value = value[key]
            except LookupError:
                raise _lacking(key, owner, start) from None
        return value

    return run


def _stepping(base: Closure, steps: list[_Step], name: str, start: int) -> Closure:
    guards = [step.optional for step in steps] + [False]

    def run(names: Names, meter: Meter) -> Json:
        value = base(names, meter)
        if value is _ABSENT:
            if guards[0]:
                return None
            raise Refusal("missing", f"`{name}` is missing", start)
        for index, step in enumerate(steps):
            if step.optional and value is None:
                return None
            value = _read(value, step, names, meter)
            if value is _ABSENT:
                if guards[index + 1]:
                    return None
                if step.optional:
                    return None
                raise _lacking(_key(step, names, meter), step.owner, step.start)
        return value

    return run


def _read(value: Json, step: _Step, names: Names, meter: Meter) -> Json:
    key: Json = _key(step, names, meter)
    if type(value) is not (dict if type(key) is str else list):
        raise _unreadable(value, key, step.owner, step.start)
    try:
        return value[key]
    except LookupError:
        return _ABSENT


def _key(step: _Step, names: Names, meter: Meter) -> str | int:
    if step.computed is None:
        return step.key  # type: ignore[return-value]
    key = step.computed(names, meter)
    if type(key) is str or type(key) is int:
        return key
    try:
        found = described(key)
    except Refusal as refusal:
        raise refusal.at(step.start) from None
    raise Refusal("type", f"an index is a string or an integer, not {found}", step.start)


def _lacking(key: Json, owner: str, start: int) -> Refusal:
    what = f"field `{key[:80]}`" if isinstance(key, str) else f"element [{key}]"
    return Refusal("missing", f"`{owner}` has no {what}", start)


def _unreadable(value: Json, key: Json, owner: str, start: int) -> Refusal:
    if value is None:
        return Refusal("missing", f"`{owner}` is null", start)
    try:
        found = described(value)
    except Refusal as refusal:
        return refusal.at(start)
    what = "fields" if isinstance(key, str) else "elements that an index can name"
    return Refusal("type", f"`{owner}` is {found} and has no {what}", start)
