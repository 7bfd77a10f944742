"""The syntax tree of an expression, and the references that stand in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from state.values import Json

from .errors import Refusal
from .limits import DEPTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One place where an expression reads a name.

    `path` holds field names and indexes, None for a computed one. `guarded` claims that the absence of
    the referenced value itself (of the step, for `steps.x`) cannot raise.
    """

    root: str
    path: tuple[str | int | None, ...]
    guarded: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A literal scalar."""

    value: Json
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A root name."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One `.field` or `[index]`; `key` is a node when the index is computed."""

    key: "str | int | Node"
    optional: bool
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A value and the links that lead into it."""

    base: "Node"
    links: tuple[Link, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary:
    """`not` or unary minus."""

    operator: str
    operand: "Node"
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logic:
    """Operands joined by one of `and`, `or`."""

    operator: str
    operands: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two operands and one of == != < <= > >= in, not in."""

    operator: str
    left: "Node"
    right: "Node"
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Operands of one precedence, computed from left to right; each operator has its own position."""

    first: "Node"
    rest: tuple[tuple[str, int, "Node"], ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ternary:
    """condition ? chosen : other."""

    condition: "Node"
    chosen: "Node"
    other: "Node"
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function of the fixed table with its arguments; a pipe's left side is the first one."""

    function: str
    arguments: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLiteral:
    """[a, b]."""

    elements: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLiteral:
    """{'key': value}."""

    fields: tuple[tuple[str, "Node"], ...]
    start: int
    end: int


Node = Union[  # noqa: UP007 - the members refer to each other by name
    Constant, Name, Chain, Unary, Logic, Comparison, Arithmetic, Ternary, Call, ListLiteral, ObjectLiteral
]


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node, in source order."""
    match node:
        case Constant() | Name():
            return ()
        case Chain():
            return (node.base, *(link.key for link in node.links if not isinstance(link.key, str | int)))
        case Unary():
            return (node.operand,)
        case Logic():
            return node.operands
        case Comparison():
            return (node.left, node.right)
        case Arithmetic():
            return (node.first, *(operand for _, _, operand in node.rest))
        case Ternary():
            return (node.condition, node.chosen, node.other)
        case Call():
            return node.arguments
        case ListLiteral():
            return node.elements
        case ObjectLiteral():
            return tuple(value for _, value in node.fields)


def nodes(tree: Node) -> Iterator[Node]:
    """Every node of the tree, parents first; refuses a tree that is too deep."""
    waiting: list[tuple[Node, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEPTH:
            raise Refusal("limit", f"the expression is nested more than {DEPTH} levels deep", node.start)
        yield node
        waiting.extend((child, depth + 1) for child in reversed(children(node)))


def references(tree: Node) -> tuple[Reference, ...]:
    """Every reference of the tree in source order."""
    found: list[Reference] = []
    waiting: list[tuple[Node, bool]] = [(tree, False)]
    while waiting:
        node, guarded = waiting.pop()
        if isinstance(node, Name):
            found.append(_reference(node, (), guarded, node.end))
            continue
        parts = list(zip(children(node), _guards(node, guarded), strict=True))
        if isinstance(node, Chain) and isinstance(node.base, Name):
            found.append(_reference(node.base, node.links, guarded, node.end))
            parts = parts[1:]
        waiting.extend(reversed(parts))
    return tuple(sorted(found, key=lambda reference: reference.start))


def _guards(node: Node, guarded: bool) -> list[bool]:
    count = len(children(node))
    if isinstance(node, Call) and node.function in ("has", "coalesce"):
        return [True] * count
    if isinstance(node, Call) and node.function == "default":
        return [True, guarded]
    return [guarded] * count


def _reference(name: Name, links: tuple[Link, ...], guarded: bool, end: int) -> Reference:
    path = tuple(link.key if isinstance(link.key, str | int) else None for link in links)
    own = _absence_is_safe(name.name, links)
    return Reference(root=name.name, path=path, guarded=guarded or own, start=name.start, end=end)


def _absence_is_safe(root: str, links: tuple[Link, ...]) -> bool:
    if root != "steps":
        return bool(links) and links[0].optional
    if len(links) == 1:
        return links[0].optional
    return len(links) > 1 and links[1].optional
