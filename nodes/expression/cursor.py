"""A cursor over the tokens of an expression: what stands here, what must stand here."""

from collections.abc import Callable
from typing import TypeVar

from .errors import Refusal
from .tokens import Token

T = TypeVar("T")


class Cursor:
    """Where the parser stands; `bracketed` says that commas belong to a surrounding bracket."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.index = 0
        self.bracketed = False

    @property
    def token(self) -> Token:
        """The token that is read next."""
        return self.tokens[self.index]

    @property
    def following(self) -> Token:
        """The token after that."""
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)]

    @property
    def passed(self) -> int:
        """Where the last token that was taken ends."""
        return self.tokens[self.index - 1].end

    def take(self) -> Token:
        """The current token; moves on to the next, but never past the end."""
        token = self.token
        if token.kind != "end":
            self.index += 1
        return token

    def at(self, *values: str) -> bool:
        """Whether the current token is one of these operators."""
        return self.token.kind == "operator" and self.token.value in values

    def expect(self, value: str, purpose: str) -> Token:
        """Take that operator or say what it is missing for."""
        if not self.at(value):
            self.refuse_assignment()
            found = shown(self.token)
            raise Refusal("syntax", f"expected `{value}` {purpose}, found {found}", self.token.start)
        return self.take()

    def finish(self) -> None:
        """Refuse what follows a complete expression."""
        self.refuse_assignment()
        if self.token.kind != "end":
            found = shown(self.token)
            raise Refusal("syntax", f"unexpected {found} after a complete expression", self.token.start)

    def refuse_assignment(self) -> None:
        """Refuse a single `=` here, with the advice that it needs."""
        if self.at("="):
            raise Refusal("syntax", "a single `=` compares nothing; use `==`", self.token.start)

    def inside(self, bracketed: bool, read: Callable[[], T]) -> T:
        """Read something whose commas do or do not belong to a bracket."""
        before, self.bracketed = self.bracketed, bracketed
        result = read()
        self.bracketed = before
        return result

    def listed(self, closing: str, read: Callable[[], T]) -> list[T]:
        """Take an opening bracket, what stands between commas, and the closing bracket."""
        opening = self.take()
        found: list[T] = []
        while not self.at(closing):
            found.append(self.inside(True, read))
            if not self.at(","):
                break
            self.take()
        self.expect(closing, f"to close `{opening.value}`")
        return found


def shown(token: Token) -> str:
    """A token as messages name it."""
    if token.kind == "end":
        return "the end"
    if token.kind == "string":
        return "a string"
    return f"`{token.value}`"
