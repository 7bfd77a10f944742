"""The bounds of the expression language and the meter that keeps one evaluation inside them.

The language has no loops and no user-defined functions, so an evaluation takes at most one step per
character of its source. Only functions that walk data can take longer: they pay the meter per element
and per character before they work.
"""

from typing import Final

from .errors import Refusal

SOURCE: Final = 4_096
DEPTH: Final = 48
ELEMENTS: Final = 100_000
TEXT: Final = 8_000_000
RESULT: Final = 1_000_000
DATA_DEPTH: Final = 100
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1


class Meter:
    """What one evaluation may still spend."""

    __slots__ = ("elements", "text")

    def __init__(self) -> None:
        self.elements = ELEMENTS
        self.text = TEXT

    def walk(self, count: int) -> None:
        """Pay for looking at so many elements of lists and objects."""
        self.elements -= count
        if self.elements < 0:
            raise Refusal("limit", f"the expression looks at more than {ELEMENTS:,} elements")

    def read(self, length: int) -> None:
        """Pay for processing so many characters of text."""
        self.text -= length
        if self.text < 0:
            raise Refusal("limit", f"the expression processes more than {TEXT:,} characters of text")

    def write(self, length: int) -> None:
        """Pay for making a text of that length."""
        if length > RESULT:
            raise Refusal("limit", f"the result is larger than {RESULT:,} characters")
        self.read(length)
