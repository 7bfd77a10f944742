"""Parse an expression into its syntax tree: a Pratt parser with bounded depth (nodes.expression.precedence)."""

from difflib import get_close_matches
from typing import Final

from state.values import Json

from .cursor import Cursor, shown
from .errors import Refusal
from .functions import FUNCTIONS
from .limits import DEPTH, INTEGER_MAX
from .precedence import BINDING, Power
from .syntax import (
    Arithmetic,
    Call,
    Chain,
    Comparison,
    Constant,
    Link,
    ListLiteral,
    Logic,
    Name,
    Node,
    ObjectLiteral,
    Ternary,
    Unary,
)
from .tokens import ISLAND_CLOSE, ISLAND_OPEN, Token, tokens

_LITERALS: Final[dict[str, Json]] = {"null": None, "true": True, "false": False}
_PYTHON: Final = {"True": "true", "False": "false", "None": "null"}
_KEYWORDS: Final = frozenset(("and", "or", "not", "in"))


def parse(source: str, *, islands: bool = False, single_equals: bool = False) -> Node:
    """The syntax tree of the source; `islands` accepts `{{ }}` and `${ }` as parentheses."""
    parser = _Parser(tokens(source, islands=islands), single_equals)
    tree = parser.expression(0)
    parser.finish()
    return tree


class _Parser(Cursor):
    """Reads nodes by binding power; counts its own recursion."""

    def __init__(self, found: list[Token], single_equals: bool) -> None:
        super().__init__(found)
        self.depth = 0
        self.single_equals = single_equals

    def expression(self, binding: int) -> Node:
        """Everything from here that binds tighter than `binding`."""
        self.depth += 1
        if self.depth > DEPTH:
            message = f"the expression is nested more than {DEPTH} levels deep"
            raise Refusal("limit", message, self.token.start)
        left = self._prefix(binding)
        while (operator := self._infix()) and BINDING[operator] > binding:
            left = self._continued(left, operator)
        self.depth -= 1
        return left

    def _infix(self) -> str | None:
        token = self.token
        if token.kind == "operator" and token.value == "=" and self.single_equals:
            return "=="
        if token.kind == "name" and token.value == "not":
            after = self.following
            return "not in" if (after.kind, after.value) == ("name", "in") else None
        if token.kind not in ("operator", "name"):
            return None
        return str(token.value) if token.value in BINDING else None

    def _continued(self, left: Node, operator: str) -> Node:
        match BINDING[operator]:
            case Power.TERNARY:
                return self._ternary(left)
            case Power.OR | Power.AND:
                return self._logic(left, operator)
            case Power.COMPARISON:
                return self._comparison(left, operator)
            case Power.PIPE:
                return self._pipe(left)
            case level:
                return self._arithmetic(left, level)

    def _ternary(self, condition: Node) -> Node:
        self.take()
        chosen = self.inside(False, self._whole)
        self.expect(":", "between the two values of `?`")
        other = self._whole()
        return Ternary(condition=condition, chosen=chosen, other=other, start=condition.start, end=other.end)

    def _logic(self, left: Node, operator: str) -> Node:
        operands = [left]
        while self._infix() == operator:
            self.take()
            operands.append(self.expression(BINDING[operator]))
        return Logic(operator=operator, operands=tuple(operands), start=left.start, end=operands[-1].end)

    def _comparison(self, left: Node, operator: str) -> Node:
        self.take()
        if operator == "not in":
            self.take()
        right = self.expression(Power.COMPARISON)
        again = self._infix()
        if again and BINDING[again] == Power.COMPARISON:
            raise Refusal("syntax", "comparisons do not chain; join two with `and`", self.token.start)
        return Comparison(operator=operator, left=left, right=right, start=left.start, end=right.end)

    def _arithmetic(self, left: Node, level: int) -> Node:
        rest: list[tuple[str, int, Node]] = []
        while (operator := self._infix()) and BINDING[operator] == level:
            start = self.take().start
            rest.append((operator, start, self.expression(level)))
        return Arithmetic(first=left, rest=tuple(rest), start=left.start, end=rest[-1][2].end)

    def _pipe(self, left: Node) -> Node:
        self.take()
        name = self.take()
        if name.kind != "name":
            raise Refusal("syntax", f"expected the name of a function after `|`, found {shown(name)}", name.start)
        least, most = _arity(name)
        arguments = [left]
        if self.at("("):
            arguments += self.listed(")", self._whole)
        elif self.at(":") and (most is None or most > 1):
            self.take()
            arguments.append(self.expression(Power.PIPE))
            allowed = least if self.bracketed else most
            while self.at(",") and (allowed is None or len(arguments) < allowed):
                self.take()
                arguments.append(self.expression(Power.PIPE))
        return self._call(name, arguments, left.start)

    def _call(self, name: Token, arguments: list[Node], start: int) -> Call:
        least, most = _arity(name)
        if len(arguments) < least or (most is not None and len(arguments) > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            message = f"`{name.value}` takes {wanted} arguments, not {len(arguments)}"
            raise Refusal("syntax", message, name.start)
        return Call(function=str(name.value), arguments=tuple(arguments), start=start, end=self.passed)

    def _prefix(self, binding: int) -> Node:
        token = self.token
        if token.kind == "name" and token.value == "not":
            return self._unary("not", max(binding, Power.NOT))
        if self.at("!"):
            return self._unary("not", max(binding, Power.UNARY))
        if self.at("-"):
            return self._negative(binding)
        return self._linked(self._primary())

    def _unary(self, operator: str, binding: int) -> Node:
        start = self.take().start
        # `binding` itself is still allowed on the right: `not not x`, `- -x | f`.
        operand = self.expression(binding)
        return Unary(operator=operator, operand=operand, start=start, end=operand.end)

    def _negative(self, binding: int) -> Node:
        after = self.following
        if after.kind == "number":
            start = self.take().start
            self.take()
            return self._linked(Constant(value=-after.value, start=start, end=after.end))  # type: ignore[operator]
        return self._unary("-", max(binding, Power.UNARY))

    def _primary(self) -> Node:
        token = self.take()
        match token.kind, token.value:
            case "name", word if word not in _KEYWORDS:
                return self._named(token)
            case "string", _:
                return Constant(value=token.value, start=token.start, end=token.end)
            case "number", value:
                if value == INTEGER_MAX + 1 and isinstance(value, int):
                    raise Refusal("limit", "the integer does not fit into 64 bits", token.start)
                return Constant(value=value, start=token.start, end=token.end)
            case "operator", "(":
                return self._group(")", "to close `(`")
            case "operator", value if value == ISLAND_OPEN:
                return self._group(ISLAND_CLOSE, "to close the island")
            case "operator", "[":
                self.index -= 1
                elements = self.listed("]", self._whole)
                return ListLiteral(elements=tuple(elements), start=token.start, end=self.passed)
            case "operator", "{":
                self.index -= 1
                fields = self.listed("}", self._field)
                return ObjectLiteral(fields=tuple(fields), start=token.start, end=self.passed)
        raise Refusal("syntax", f"expected a value, found {shown(token)}", token.start)

    def _named(self, token: Token) -> Node:
        word = str(token.value)
        if self.at("("):
            _arity(token)
            return self._call(token, self.listed(")", self._whole), token.start)
        if word in _PYTHON:
            raise Refusal("syntax", f"`{word}` is no literal here; write `{_PYTHON[word]}`", token.start)
        if word in _LITERALS:
            return Constant(value=_LITERALS[word], start=token.start, end=token.end)
        return Name(name=word, start=token.start, end=token.end)

    def _group(self, closing: str, purpose: str) -> Node:
        if self.at(closing):
            raise Refusal("syntax", "there is nothing inside", self.token.start)
        inner = self.inside(False, self._whole)
        self.expect(closing, purpose)
        return inner

    def _whole(self) -> Node:
        return self.expression(0)

    def _field(self) -> tuple[str, Node]:
        key = self.take()
        if key.kind != "string":
            raise Refusal("syntax", f"a key is a quoted string, found {shown(key)}", key.start)
        self.expect(":", "between key and value")
        return str(key.value), self._whole()

    def _linked(self, base: Node) -> Node:
        links: list[Link] = []
        while self.at(".", "?.", "["):
            links.append(self._link())
        if self.at("("):
            message = "only the functions of the language can be called, as in `size(x)` or `x | size`"
            raise Refusal("syntax", message, self.token.start)
        if not links:
            return base
        if isinstance(base, Chain) and not any(link.optional for link in base.links):
            links, base = [*base.links, *links], base.base
        return Chain(base=base, links=tuple(links), start=base.start, end=self.passed)

    def _link(self) -> Link:
        optional = self.at("?.")
        if self.at("["):
            return self._index(False)
        self.take()
        if optional and self.at("["):
            return self._index(True)
        token = self.take()
        if token.kind == "number":
            raise Refusal("syntax", "an element is written `[0]`, not `.0`", token.start)
        if token.kind != "name":
            raise Refusal("syntax", f"expected a field name after the dot, found {shown(token)}", token.start)
        return Link(key=str(token.value), optional=optional, end=token.end)

    def _index(self, optional: bool) -> Link:
        self.take()
        key = self.inside(False, self._whole)
        end = self.expect("]", "to close `[`").end
        if isinstance(key, Constant) and type(key.value) in (str, int):
            return Link(key=key.value, optional=optional, end=end)
        return Link(key=key, optional=optional, end=end)


def _arity(name: Token) -> tuple[int, int | None]:
    function = FUNCTIONS.get(str(name.value))
    if function is not None:
        return function.least, function.most
    near = get_close_matches(str(name.value), FUNCTIONS, n=1)
    advice = f"; did you mean `{near[0]}`?" if near else ""
    raise Refusal("syntax", f"there is no function `{name.value}`{advice}", name.start)
