"""A subject with what is derived from it, each derivation made once and only when a rule asks for it."""

from __future__ import annotations

from functools import cached_property

from graphs.analysis.rules.presence import Presences
from graphs.analysis.rules.settling import Settling
from graphs.analysis.rules.subject import Subject
from graphs.analysis.rules.types import Types


class Facts(Subject):
    """What the rules ask: when steps run, what is settled before them, and what type their values have."""

    @cached_property
    def presences(self) -> Presences:
        """When each step runs."""
        return Presences(self)

    @cached_property
    def settling(self) -> Settling:
        """What is settled before each step."""
        return Settling(self, self.presences)

    @cached_property
    def types(self) -> Types:
        """The types of all values."""
        return Types(self)
