"""The rules of the static checks: one idea per module, each a function from the facts to its problems."""

from collections.abc import Callable, Iterator
from typing import Final

from graphs.analysis.rules import arguments, fallbacks, groups
from graphs.analysis.rules.approval import approval
from graphs.analysis.rules.bindings import bindings
from graphs.analysis.rules.budgets import budgets
from graphs.analysis.rules.calling import calling
from graphs.analysis.rules.clashes import clashes
from graphs.analysis.rules.effects import effects
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.guards import guards
from graphs.analysis.rules.idle import idle_limits
from graphs.analysis.rules.joins import joins
from graphs.analysis.rules.literal import literal
from graphs.analysis.rules.loops import lists, loops
from graphs.analysis.rules.mismatch import mismatch
from graphs.analysis.rules.races import races
from graphs.analysis.rules.reach import reach
from graphs.analysis.rules.schemas import schemas
from graphs.analysis.rules.secrets import secrets
from graphs.analysis.rules.spec_tests import spec_tests
from graphs.analysis.rules.talking import talking
from graphs.analysis.rules.triggers import triggers
from graphs.analysis.rules.undoing import undoing
from graphs.analysis.rules.usage import usage
from state.problems import Problem

Rule = Callable[[Facts], Iterator[Problem]]

LOCAL: Final[tuple[Rule, ...]] = (
    bindings,
    arguments.names,
    schemas,
    clashes,
    groups.members,
    secrets,
    idle_limits,
    usage,
    literal,
    spec_tests,
    triggers,
    fallbacks.shape,
    budgets,
    lists,
    effects,
    talking,
    calling,
)
"""Rules that look at one place at a time."""
TYPED: Final[tuple[Rule, ...]] = (mismatch, arguments.types, fallbacks.results, groups.order)
"""Rules that follow the steps in their order; a ring of edges has none."""
SOUND: Final[tuple[Rule, ...]] = (guards, fallbacks.standins, undoing, reach, joins, races, loops, approval)
"""Rules over all edges and references; they need every name to be known."""
