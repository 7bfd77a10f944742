"""Compiled expressions: read once, cached, evaluated often."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from state.values import Json, Schema

from .data import KINDS, described, size
from .errors import ExpressionError, Refusal
from .evaluate import closure
from .limits import Meter
from .parse import parse
from .syntax import Arithmetic, ListLiteral, Node, ObjectLiteral, Reference, nodes, references
from .types import Inference, infer

_CACHED: Final = 2_048


class Expression:
    """An expression ready to be evaluated; immutable and safe to share.

    Results may share parts with the names that they come from: treat both as frozen.
    """

    __slots__ = ("_builds", "_run", "_tree", "references", "source")

    source: str
    references: tuple[Reference, ...]

    def __init__(self, source: str, tree: Node) -> None:
        self.source = source
        self._builds = any(isinstance(node, _BUILDERS) for node in nodes(tree))
        self.references = references(tree)
        self._tree = tree
        self._run = closure(tree, source)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    @property
    def tree(self) -> Node:
        """Its syntax tree."""
        return self._tree

    def evaluate(self, names: Mapping[str, Json]) -> Json:
        """The value for these roots; a root that is absent counts as missing.

        Raises:
            ExpressionError: and nothing else, whatever the data holds.
        """
        try:
            meter = Meter()
            value = self._run(names, meter)
            if type(value) not in KINDS:
                described(value)
            if self._builds:
                size(value, meter)
            return value
        except Refusal as refusal:
            raise refusal.public(self.source) from None
        except (RecursionError, MemoryError):
            raise ExpressionError("the data is too deep or too large", kind="limit", source=self.source) from None

    def infer(self, schemas: Mapping[str, Schema]) -> Inference:
        """What is known before any run: the schema of the value, and what is surely wrong."""
        return infer(self._tree, self.source, schemas)


_BUILDERS: Final = (Arithmetic, ListLiteral, ObjectLiteral)


def compile_expression(source: str) -> Expression:
    """Read a bare expression.

    Raises:
        ExpressionError: for whatever is no expression.
    """
    return _compiled(_text(source), False, False)


def compile_condition(source: str, *, single_equals: bool = False) -> Expression:
    """Read the text of `when`, `if`, `until`, `for_each` and the like.

    Takes a bare expression, one island, or islands mixed with operators as in `{{a.ok}} == true`; each
    island is a sub-expression of its own. `single_equals` reads `=` as `==`.

    Raises:
        ExpressionError: for whatever is no expression; positions refer to this text.
    """
    return _compiled(_text(source), True, single_equals)


@lru_cache(maxsize=_CACHED)
def _compiled(source: str, islands: bool, single_equals: bool) -> Expression:
    return _guarded(source, lambda: Expression(source, parse(source, islands=islands, single_equals=single_equals)))


def _guarded(source: str, make: Callable[[], Expression]) -> Expression:
    try:
        return make()
    except Refusal as refusal:
        raise refusal.public(source) from None
    except RecursionError:
        raise ExpressionError("too little stack is left", kind="limit", source=source) from None


def _text(source: object) -> str:
    if type(source) is not str:
        raise ExpressionError(f"an expression is text, not {type(source).__name__}", kind="type")
    return source
