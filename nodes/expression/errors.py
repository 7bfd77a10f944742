"""What can go wrong with an expression: one public error, and the refusal that becomes it.

ValueError
└── ExpressionError          any fault of an expression or of the data it meets
    └── TemplateError        the same inside a JSON value, with the JSON pointer (nodes.template)
"""

from typing import Literal

Kind = Literal["syntax", "limit", "missing", "type", "value"]

_EXCERPT = 60


class ExpressionError(ValueError):
    """An expression that cannot be read, or that cannot be computed from the given data.

    `position` counts characters of `source` from 0. Messages name fields and types, never values.
    """

    def __init__(self, message: str, *, kind: Kind, source: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.kind: Kind = kind
        self.source = source
        self.position = position

    def __str__(self) -> str:
        if not self.source:
            return self.message
        return f"{self.message} (at character {self.position + 1} of `{excerpt(self.source, self.position)}`)"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (type(self), self.message, self.__dict__)


class Refusal(Exception):
    """A fault on its way up to where the source text is known; never leaves this package."""

    def __init__(self, kind: Kind, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.position = position

    def at(self, position: int) -> "Refusal":
        """The same refusal, placed there unless something deeper has placed it already."""
        if self.position is None:
            self.position = position
        return self

    def public(self, source: str) -> ExpressionError:
        """The error that callers see."""
        return ExpressionError(self.message, kind=self.kind, source=source, position=self.position or 0)


def excerpt(source: str, position: int) -> str:
    """A single line of the source around the position, short enough for a message."""
    if len(source) > _EXCERPT:
        start = max(0, position - _EXCERPT // 2)
        end = start + _EXCERPT
        source = ("…" if start else "") + source[start:end] + ("…" if end < len(source) else "")
    return source.replace("\n", " ").replace("\x00", "\\0")


def _rebuilt(cls: type[ExpressionError], message: str, fields: dict[str, object]) -> ExpressionError:
    error = cls.__new__(cls, message)
    error.__dict__.update(fields)
    return error
