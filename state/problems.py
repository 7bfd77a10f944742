"""A fault in a spec: coded, placed and explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]


_USUAL_HINTS: Final[dict[str, str]] = {
    "argument_type": "give a value that fits the tool's schema; `cogwork tools` shows it",
    "bad_value": "write one of the values that the message names",
    "bad_default": "change the default, or the schema that it has to fit",
    "missing_key": "add it",
    "prompt": "see docs/prompts.md",
    "type_mismatch": "change the expression, or convert the value, for instance with string(x) or number(x)",
    "unknown_model": "name a model of the settings, such as offline or openai:gpt-4o-mini",
    "wrong_type": "write it in the form that the message names; docs/language.md shows each field",
}
"""What to do about a problem whose own sentence says all but that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault: ``code`` never changes its meaning; ``line`` and ``column`` count from 1, 0 where the source has no text."""

    code: str
    message: str
    pointer: str = ""
    hint: str = ""
    severity: Severity = "error"
    file: str = ""
    line: int = 0
    column: int = 0

    def __post_init__(self) -> None:
        if not self.hint:
            object.__setattr__(self, "hint", _USUAL_HINTS.get(self.code, ""))

    def __str__(self) -> str:
        place = f"{self.file or '<spec>'}:{self.line}:{self.column}" if self.line else self.file or "<spec>"
        where = f" at {self.pointer}" if self.pointer else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {self.severity} {self.code}: {self.message}{where}{hint}"

    def sort_key(self) -> tuple[str, int, int, str, str, str]:
        """The stable order: by place, then by code and text."""
        return (self.file, self.line, self.column, self.pointer, self.code, self.message)
